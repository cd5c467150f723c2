"""Connections that nodes share: one broker, one device, one exchange, whoever uses it.

They belong to the engine, not to a run of a node, so a changed topic or register list finds them open.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("flowrunner.connections")


class Connections:
    """By key; each is closed when its last owner lets go.

    A connection is forgotten before it is closed: who asks for its key meanwhile gets a new one, never one that
    is about to go.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, Any] = {}
        self._owners: dict[Hashable, set[str]] = {}

    def get(self, owner: str, key: Hashable, make: Callable[[], T]) -> T:
        """The connection at ``key``, made by the first who asks. Never waits: connecting is its own matter."""
        if key not in self._open:
            self._open[key] = make()
        self._owners.setdefault(key, set()).add(owner)
        found: T = self._open[key]
        return found

    async def release(self, owner: str) -> None:
        """``owner`` uses nothing any more. What goes wrong in a close is logged and hides no other."""
        last: list[Any] = []
        for key in [key for key, owners in self._owners.items() if owner in owners]:
            self._owners[key].discard(owner)
            if not self._owners[key]:
                del self._owners[key]
                last.append(self._open.pop(key))
        others = [asyncio.ensure_future(_close(connection, owner)) for connection in last[1:]]
        if last:  # in this very step: a connection then sees the leaving of its nodes and its own end as one
            await _close(last[0], owner)
        await asyncio.gather(*others)


async def _close(connection: Any, owner: str) -> None:
    try:
        result = connection.close()
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # by its type: the text of a connection's settings may hold a password
        kind = type(connection).__name__
        log.error("%s: closing its %s failed: %s: %s", owner, kind, type(error).__name__, error, exc_info=error)
