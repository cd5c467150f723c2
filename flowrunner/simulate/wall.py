"""The wall round a simulated world: this process reaches no other machine, whatever code runs in it."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from typing import Any

from flowrunner.httpclient import is_loopback
from flowrunner.sockets import BY_A_NAME, TO_AN_ADDRESS, address_of, name_of, shown

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
            host = address_of(args)
            if not _is_near(host):
                complain(host)
                raise OSError(errno.ENETUNREACH, "the simulation reaches no other machine")
        elif event in BY_A_NAME:
            name = name_of(args)
            if _is_near(name):
                return
            complain(name)
            raise socket.gaierror(socket.EAI_NONAME, "the simulation knows no other machine")

    def complain(host: object) -> None:
        name = shown(host)
        if name not in said and len(said) < 100:  # once each, however often it is tried
            said.add(name)
            log.warning("something tried to reach %s; in a simulation no other machine is reached", name)

    sys.addaudithook(watch)


def _is_near(host: object) -> bool:
    if host is None or host == "" or host == b"":  # any address of this machine
        return True
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    return isinstance(host, str) and is_loopback(host)
