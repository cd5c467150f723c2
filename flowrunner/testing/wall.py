"""The wall round a test: while one plays, nothing in this process reaches a network, this machine's own neither."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TO_AN_ADDRESS = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"})
BY_A_NAME = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
"""The last one is told a whole address."""
_up: list[dict[str, None]] = []
"""The walls that stand now, with what came against each. A hook of the interpreter stays for good, this does not."""
_hooked: list[bool] = []


@contextmanager
def walled() -> Iterator[dict[str, None]]:
    """Within, sockets and questions for names fail with OSError; what was tried is in the result, in order, once each.

    Without it a node that does not go by the contract (blocking sockets in ``process``) would do harm: it is no
    source and no sink, so nobody cuts it off.
    """
    if not _hooked:
        _hooked.append(True)
        sys.addaudithook(_watch)
    tried: dict[str, None] = {}
    _up.append(tried)
    try:
        yield tried
    finally:
        _up[:] = [one for one in _up if one is not tried]


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if not _up:
        return
    if event in TO_AN_ADDRESS and isinstance(args[1], tuple) and args[1]:
        _up[-1][_name(args[1][0])] = None
        raise OSError(errno.ENETUNREACH, "a test touches no network")
    if event in BY_A_NAME:
        _up[-1][_name(args[0][0] if isinstance(args[0], tuple) and args[0] else args[0])] = None
        raise socket.gaierror(socket.EAI_NONAME, "a test touches no network")


def _name(host: object) -> str:
    text = bytes(host).decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    return text[:100] or "this machine"
