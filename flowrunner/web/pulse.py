"""How long a server has been there, and how late its loop comes to its calls: what a busy engine shows first."""

from __future__ import annotations

import asyncio
from collections import deque

from flowrunner.clock.io_time import later, stopwatch

EVERY_S = 0.1
KEPT = 600
"""Looks of the last minute."""


class Pulse:
    """A call every tenth of a second that notes how late it came: some microseconds of work each."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)
        self._begun = self._due = stopwatch()
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From within the loop that is looked at."""
        self._begun = stopwatch()
        self._wait()

    def close(self) -> None:
        """Safe to repeat."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    @property
    def up_s(self) -> float:
        """Seconds since the start."""
        return stopwatch() - self._begun

    def late_s(self, share: float = 0.99) -> float | None:
        """Of the last minute's calls that ``share`` came at most so many seconds late; None before the first."""
        found = sorted(self._late)
        return found[min(len(found) - 1, int(len(found) * share))] if found else None

    def _wait(self) -> None:
        self._due = stopwatch() + EVERY_S
        self._next = later(EVERY_S, self._look)

    def _look(self) -> None:
        self._late.append(max(0.0, stopwatch() - self._due))
        self._wait()
