"""How often messages come: from the count of a node and the time of its last message. Pure."""

from __future__ import annotations

from collections import deque

from flowrunner.message import Instant
from flowrunner.units import DURATION_UNITS

WINDOW_S = 10.0
"""Frequent messages: the mean of the last seconds."""
FEWEST = 5
"""Rare messages: the mean over this many changes, however long ago."""


class Rate:
    """The rate of one node, in messages per nanosecond of the clock that ``at`` is of."""

    def __init__(self, window: int) -> None:
        """``window``: nanoseconds."""
        self._window = window
        self._changes: deque[tuple[Instant, int]] = deque()

    def learn(self, count: int, at: Instant | None) -> None:
        """The count as it is now, and when it last changed."""
        if at is None or (self._changes and count == self._changes[-1][1]):
            return
        if self._changes and (count < self._changes[-1][1] or at <= self._changes[-1][0]):
            self._changes.clear()  # a node that was made anew, or a clock that was set back
        self._changes.append((at, count))
        while len(self._changes) > FEWEST and self._changes[1][0] < at - self._window:
            self._changes.popleft()

    def at(self, now: Instant) -> float | None:
        """Messages per nanosecond; None until there is something to tell it by."""
        if len(self._changes) < 2:
            return None
        (first, low), (last, high) = self._changes[0], self._changes[-1]
        gap = (last - first) / (len(self._changes) - 1)
        return (high - low) / (last - first if now - last <= 2 * gap + self._window / 10 else now - first)


def rate_text(rate: float | None) -> str:
    """``12/s``, ``2/min``, ``4/h``: the first unit that gives a number of one or more."""
    if rate is None:
        return "–"
    for unit in ("s", "min", "h"):
        number = rate * DURATION_UNITS[unit]
        if number >= 0.95:
            return f"{_short(number)}/{unit}"
    return "<1/h"


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / min(size, 1e3 if letter == 'k' else size):.0f}{letter}"
    return f"{number:.0f}" if number >= 9.95 else f"{number:.1f}".removesuffix(".0")
