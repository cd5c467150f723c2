"""What Python's own sockets are about to do, as the interpreter tells it (audit events): for walls around a program."""

from __future__ import annotations

from typing import Any

TO_AN_ADDRESS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
BIND = "socket.bind"
BY_A_NAME = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
"""The last one is told a whole address."""


def address_of(args: tuple[Any, ...]) -> Any:
    """The host of an event of `TO_AN_ADDRESS` or `BIND`; None where it goes to no host (a Unix socket)."""
    address = args[1]
    return address[0] if isinstance(address, tuple) and address else None


def name_of(args: tuple[Any, ...]) -> Any:
    """What an event of `BY_A_NAME` asks for."""
    return args[0][0] if isinstance(args[0], tuple) and args[0] else args[0]


def shown(host: object) -> str:
    """A host for people, of whatever type it is."""
    text = bytes(host).decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host)
    return text[:100]
