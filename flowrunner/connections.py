"""Connections that nodes share: one broker, one device, one exchange, whoever uses it.

They belong to the engine, not to a run of a node, so a changed topic or register list finds them open.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Connections:
    """By key; each is closed when its last owner lets go."""

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
        """``owner`` uses nothing any more."""
        for key in [key for key, owners in self._owners.items() if owner in owners]:
            self._owners[key].discard(owner)
            if not self._owners[key]:
                del self._owners[key]
                result = self._open.pop(key).close()
                if inspect.isawaitable(result):
                    await result
