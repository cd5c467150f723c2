"""How a value went: points in buckets, each with least, most and last; a gap stays a gap. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from flowrunner.fields import is_number
from flowrunner.message import Instant
from flowrunner.store.thinned import Kept

GAP = 3
"""So many times the usual distance without a value is a gap."""


class Point(NamedTuple):
    """One value. ``until``: the end of the interval that it is for, where it has one."""

    at: Instant
    value: float
    manual: bool = False
    until: Instant | None = None


class Bucket(NamedTuple):
    """The values of a part of the time. All are None where a gap begins."""

    at: Instant
    least: float | None
    most: float | None
    last: float | None
    manual: bool


class Course(NamedTuple):
    """``every``: nanoseconds between two values usually; 0 where that is not known."""

    buckets: list[Bucket]
    every: int


class Reader:
    """Reads one field out of rows, and nothing else of them: payloads may be large. Values of different keys (sites,
    devices) are different values."""

    def __init__(self, field: str) -> None:
        self._field = field
        only = msgspec.defstruct("Only", [("it", Any, None)], rename={"it": field})
        self._record: msgspec.json.Decoder[Any] = msgspec.json.Decoder(only)
        self._found: dict[str, dict[Instant, Point]] = {}
        self.unit: str | None = None
        """The newest that was kept with a value."""

    def take(self, row: Kept) -> None:
        """What was bad then is no value; one that rows repeat counts once."""
        point = self._point(row)
        if point is not None:
            self._found.setdefault(row.key, {})[point.at] = point

    @property
    def keys(self) -> list[str]:
        """All that there are values of, the one with the newest value first."""
        newest = {key: max(points) for key, points in self._found.items()}
        return sorted(newest, key=lambda key: (-newest[key], key))

    def points(self, key: str = "") -> list[Point]:
        """Those of one key, in the order of time."""
        return sorted(self._found.get(key, {}).values())

    def _point(self, row: Kept) -> Point | None:
        try:
            value: Any = self._record.decode(row.payload).it
        except msgspec.ValidationError:  # no record: a message is its own value
            value = msgspec.json.decode(row.payload) if self._field == "value" else None
        own: Any = {}
        if row.fields != b"{}":
            own = self._record.decode(row.fields).it or {}
        if not is_number(value) or own.get("quality", row.quality) == "bad":
            return None
        self.unit = own.get("unit") or self.unit
        manual = own.get("origin", row.origin) == "manual"
        begin, end = own.get("valid_from"), own.get("valid_until")
        if begin is not None and end is not None:  # what it is for counts, not when it was told
            return Point(begin, float(value), manual, end)
        return Point(own.get("at", row.at), float(value), manual)


def course(points: Sequence[Point], since: Instant, until: Instant, now: Instant, most: int) -> Course:
    """``points`` in order, from ``since`` to ``until``, as at most ``most`` buckets and the gaps between them."""
    width = max(-(-(until - since) // most), 1)
    inside = [one for one in points if since <= (one.until or one.at) and one.at < until]
    every = _usual(inside)
    longest = max(GAP * every, width)
    buckets: list[Bucket] = []
    held: list[Point] = []
    for place, one in enumerate(inside):
        held.append(one)
        after = inside[place + 1] if place + 1 < len(inside) else None
        begins_gap = _gap(one, min(until, now) if after is None else after.at, longest, width)
        if after is None or (after.at - since) // width != (one.at - since) // width:
            values = [point.value for point in held]
            buckets.append(Bucket(one.at, min(values), max(values), one.value, any(point.manual for point in held)))
            held = []
        if begins_gap:
            begin = one.until if one.until is not None else one.at + (every or width)
            buckets.append(Bucket(begin, None, None, None, False))
    return Course(buckets, every)


def _gap(one: Point, after: Instant, longest: int, width: int) -> bool:
    """Whether nothing is known between a value and the next one, or the end. Of a value with an interval it is known
    until when it counts."""
    if one.until is not None:
        return after - one.until > width
    return after - one.at > longest


def _usual(points: Sequence[Point]) -> int:
    """The distance between two values that most have: the median."""
    lengths = [one.until - one.at for one in points if one.until is not None]
    distances = lengths or [after.at - before.at for before, after in itertools.pairwise(points)]
    return int(statistics.median(distances)) if distances else 0
