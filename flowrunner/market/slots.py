"""Delivery slots: the market time units that orders and prices are for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.message import Instant
from flowrunner.units import SECOND, iso


class Slot(NamedTuple):
    """One delivery interval: from ``start`` up to, not including, ``end``."""

    start: Instant
    end: Instant

    @property
    def hours(self) -> float:
        """Its length in hours: 0.25 for a quarter-hour."""
        return (self.end - self.start) / (3600 * SECOND)

    def covers(self, instant: Instant) -> bool:
        return self.start <= instant < self.end

    def contains(self, other: Slot) -> bool:
        return self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"{iso(self.start)}/{iso(self.end)}"


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """A market as orders see it: its name, the length of its slots, and how long before delivery its gate closes.

    Slots are counted in UTC from the epoch: where a zone's offset is a whole number of slots (all of Europe), they
    are the local quarter-hours and hours too, also on the days the clocks change.
    """

    name: str
    slot_ns: int
    gate_closure_ns: int

    def current(self, now: Instant) -> Slot:
        """The slot that is being delivered at ``now``."""
        start = now - now % self.slot_ns
        return Slot(start, start + self.slot_ns)

    def delivery(self, now: Instant) -> Slot:
        """The slot that an order made at ``now`` is for: the first one whose gate has not closed.

        At the very instant of closing the gate counts as closed.
        """
        start = self.delivery_start(now)
        return Slot(start, start + self.slot_ns)

    def delivery_start(self, now: Instant) -> Instant:
        """When the delivery begins that an order made at ``now`` is for."""
        gate = now + self.gate_closure_ns
        return gate - gate % self.slot_ns + self.slot_ns

    def changes_at(self, now: Instant) -> Instant:
        """When :meth:`delivery` gives the next slot: the gate closure of the one that it gives now."""
        return self.delivery_start(now) - self.gate_closure_ns

    def of_day(self, day: date, zone: ZoneInfo) -> Iterator[Slot]:
        """The slots of a local day: 92 or 100 quarter-hours where the clocks change, else 96."""
        start = midnight(day, zone)
        end = midnight(day + timedelta(days=1), zone)
        for one in range(start, end, self.slot_ns):
            yield Slot(one, one + self.slot_ns)

    def position(self, slot: Slot, zone: ZoneInfo) -> int:
        """The slot's number in its local day, from 1."""
        return (slot.start - midnight(local_day(slot.start, zone), zone)) // self.slot_ns + 1


def local_day(instant: Instant, zone: ZoneInfo) -> date:
    """The calendar day of ``instant`` in ``zone``."""
    return datetime.fromtimestamp(instant // SECOND, zone).date()


def day_of(instant: Instant, zone: ZoneInfo) -> Slot:
    """The calendar day of ``instant`` in ``zone``, from midnight to midnight: 23 to 25 hours."""
    day = local_day(instant, zone)
    return Slot(midnight(day, zone), midnight(day + timedelta(days=1), zone))


def midnight(day: date, zone: ZoneInfo) -> Instant:
    """The instant at which ``day`` begins in ``zone``."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return int(local.astimezone(UTC).timestamp()) * SECOND
