"""Whether a wall clock was set back: it is compared with one that nobody can set."""

from __future__ import annotations

from collections.abc import Callable

from flowrunner.units import DURATION_UNITS

TOLERANCE = DURATION_UNITS["ms"] * 100
"""What a wall clock may fall behind between two looks without having been set: time services slow it by up to a twelfth
(chrony's ``maxslewrate``), and who waits looks once a second."""


class Steps:
    """What a wall clock was set back by since this was made. ``wall`` and ``monotonic`` return nanoseconds."""

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], int]) -> None:
        self.set_back = 0
        """Nanoseconds, in all. The wall clock plus this steps back at no look."""
        self._wall = wall
        self._monotonic = monotonic
        self._last = wall()
        self._ahead = self._last - monotonic()

    def look(self) -> int:
        """Nanoseconds by which the wall clock was set back since the last look; 0 when it was not, or forward."""
        before, wall, after = self._monotonic(), self._wall(), self._monotonic()
        fell = self._ahead - (wall - before)  # at the least: we may have been put to sleep between the readings
        stepped = fell if wall < self._last or fell > TOLERANCE else 0
        self.set_back += stepped
        self._last, self._ahead = wall, wall - after
        return stepped
