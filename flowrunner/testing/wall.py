"""The wall round a test: while one plays, nothing in this process reaches a network, this machine's own neither."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowrunner.sockets import BIND, BY_A_NAME, TO_AN_ADDRESS, address_of, name_of, shown

HERE = "this machine"
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
    if (event in TO_AN_ADDRESS or event == BIND) and (host := address_of(args)) is not None:
        _up[-1][shown(host) or HERE] = None
        raise OSError(errno.ENETUNREACH, "a test touches no network")
    if event in BY_A_NAME:
        _up[-1][shown(name_of(args)) or HERE] = None
        raise socket.gaierror(socket.EAI_NONAME, "a test touches no network")
