"""When day-ahead prices become known: those of a local day at 12:45 of the day before.

The coupled auction of SDAC is published at about 12:45 Central European Time (nemo-committee.eu, SDAC procedures).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flowrunner.market.slots import local_day, midnight
from flowrunner.message import Instant
from flowrunner.units import SECOND

PUBLISHED = time(12, 45)
"""Local time at which the day-ahead prices of the next day are known."""
DAY = timedelta(days=1)


class Publication:
    """What is known when, in one zone. Asked for the same time again and again it costs next to nothing."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.turn: Instant = 0
        """When more becomes known; good after :meth:`known_until`."""
        self._since: Instant = 0
        self._until: Instant = 0

    def known_until(self, now: Instant) -> Instant:
        """The end of the last local day whose prices are published at ``now``."""
        if not self._since <= now < self.turn:
            today = local_day(now, self.zone)
            if now >= _published(today, self.zone):
                today += DAY
            self._since = _published(today - DAY, self.zone)
            self.turn = _published(today, self.zone)
            self._until = midnight(today + DAY, self.zone)
        return self._until


def _published(before: date, zone: ZoneInfo) -> Instant:
    return int(datetime.combine(before, PUBLISHED, zone).astimezone(UTC).timestamp()) * SECOND
