"""The wall round a simulated world: this process reaches no other machine, whatever code runs in it."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from typing import Any

from flowrunner.httpclient import is_loopback

TO_AN_ADDRESS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
BY_A_NAME = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
"""The last one is told a whole address."""
log = logging.getLogger("flowrunner.simulate")


def wall_in() -> None:
    """From now on, and until the process ends: connections and datagrams to other machines, and questions for their
    names, fail with OSError before a byte leaves. Clients cannot tell it from a network that is away.

    It sees what goes through Python's sockets. An event loop with sockets of its own (uvloop) goes round it, and so
    do other programs that a node starts.
    """
    said: set[str] = set()

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in TO_AN_ADDRESS:
            address = args[1]
            if isinstance(address, tuple) and address and not _is_near(address[0]):
                complain(address[0])
                raise OSError(errno.ENETUNREACH, "the simulation reaches no other machine")
        elif event in BY_A_NAME:
            name = args[0][0] if isinstance(args[0], tuple) and args[0] else args[0]
            if _is_near(name):
                return
            complain(name)
            raise socket.gaierror(socket.EAI_NONAME, "the simulation knows no other machine")

    def complain(host: object) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if name not in said and len(said) < 100:  # once each, however often it is tried
            said.add(name)
            log.warning("something tried to reach %s; in a simulation no other machine is reached", name[:100])

    sys.addaudithook(watch)


def _is_near(host: object) -> bool:
    if host is None or host == "" or host == b"":  # any address of this machine
        return True
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    return isinstance(host, str) and is_loopback(host)
