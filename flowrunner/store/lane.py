"""A lane to the store: what one node hands over is written in batches, one after the other, while it works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flowrunner.store.writer import StoreFailed

T = TypeVar("T")
CAP = 1000
"""What may wait beside the batch that is being written."""


class Lane(Generic[T]):
    """``write(batch)`` queues a transaction. What it could not write stays first in line and is tried again with
    whatever comes next; ``trouble`` says why, until it has worked."""

    def __init__(self, write: Callable[[list[T]], asyncio.Future[Any]], cap: int = CAP) -> None:
        self.trouble = ""
        self._write = write
        self._cap = cap
        self._waiting: list[tuple[T, Callable[[], None] | None]] = []
        self._writing: asyncio.Future[Any] | None = None

    def __len__(self) -> int:
        """What is not on its way to the disk yet."""
        return len(self._waiting)

    def add(self, one: T, written: Callable[[], None] | None = None) -> None:
        """Write ``one`` as soon as may be. It is kept however full the lane is; see ``room``. ``written`` is called
        when it is on the disk."""
        self._waiting.append((one, written))
        self._go()

    async def room(self) -> None:
        """Return when there is room. StoreFailed when there is none because the store cannot be written."""
        while len(self._waiting) >= self._cap:
            await self._step()

    async def empty(self) -> None:
        """Return when all is on the disk. StoreFailed when that cannot be."""
        while self._waiting or self._writing is not None:
            await self._step()

    async def _step(self) -> None:
        self._go()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await asyncio.sleep(0)  # its callback comes after
        if self.trouble and self._writing is None:
            raise StoreFailed(self.trouble)

    def _go(self) -> None:
        if self._writing is not None or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        try:
            self._writing = self._write([one for one, _ in batch])
        except (StoreFailed, RuntimeError) as error:  # the latter: the store is closed already
            self._failed(batch, error)
        else:
            self._writing.add_done_callback(lambda done: self._written(batch, done))

    def _written(self, batch: list[tuple[T, Callable[[], None] | None]], done: asyncio.Future[Any]) -> None:
        self._writing = None
        error = asyncio.CancelledError("the loop ends") if done.cancelled() else done.exception()
        if error is not None:
            self._failed(batch, error)
        else:
            self.trouble = ""
            for _, written in batch:
                if written is not None:
                    written()
            self._go()

    def _failed(self, batch: list[tuple[T, Callable[[], None] | None]], error: BaseException) -> None:
        self._waiting = batch + self._waiting
        self.trouble = str(error) or type(error).__name__
