"""What a worker's task waits for: like an event, for one who waits, at a sixth of its size. There is one per node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Wake:
    """``set`` is remembered until ``clear``."""

    __slots__ = ("_is_set", "_waiter", "begin")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None
        self.begin: Callable[[], None] | None = None
        """Nobody waits yet: this has somebody come, the first time that it is set."""

    def __bool__(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif self.begin is not None:
            begin, self.begin = self.begin, None
            begin()

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        """Return when it is set. Only one task may wait at a time."""
        if self._is_set:
            return
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            if self._waiter is waiter:
                self._waiter = None
