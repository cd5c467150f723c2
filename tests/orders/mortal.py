"""A program that dies in the middle of what it does, and whose clock is set while it is off."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from flowrunner.clock import VirtualClock
from flowrunner.clock.clocks import Timer
from flowrunner.message import Instant
from flowrunner.store import Store, StoreFailed

T = TypeVar("T")


class SetClock(VirtualClock):
    """A clock that is ``ahead`` of the true time; it is set while no program runs."""

    ahead: Instant = 0

    def now(self) -> Instant:
        return super().now() + self.ahead

    def call_at(self, instant: Instant, call: Callable[[], None]) -> Timer:
        return super().call_at(instant - self.ahead, call)


class MortalStore(Store):
    """The store of one run of the program. What a run that has died hands over goes nowhere."""

    def __init__(self, disk: sqlite3.Connection, folder: Path) -> None:
        super().__init__(disk, None, folder, inline=True)
        self.dead = False
        self.commits: int | None = None
        """The program dies when so many more transactions were written."""

    def submit(self, work: Callable[[Any], T]) -> asyncio.Future[T]:
        if self.dead:
            return asyncio.get_running_loop().create_future()
        future = super().submit(work)
        if self.commits is None or not future.done() or future.exception() is not None:
            return future
        self.commits -= 1
        if self.commits > 0:
            return future
        self.dead = True
        return asyncio.get_running_loop().create_future()

    def save_state(self, *args: Any) -> None:
        if not self.dead:
            super().save_state(*args)

    def drop_state(self, *args: Any) -> None:
        if not self.dead:
            super().drop_state(*args)

    def add_dead_letter(self, letter: Any) -> None:
        if not self.dead:
            super().add_dead_letter(letter)

    async def flush(self) -> None:
        self.commits = None  # the last act of a clean end
        if self.dead:
            raise StoreFailed("the program is dead")
        await super().flush()
