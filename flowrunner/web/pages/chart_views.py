"""A chart as lanes to draw, and the same figures as a table. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from flowrunner.message import Instant
from flowrunner.units import SECOND, from_datetime, to_datetime
from flowrunner.web.dashboard.course import Bucket
from flowrunner.web.dashboard.tiles import Line, Tile
from flowrunner.web.pages import formats
from flowrunner.web.pages.event_times import Translate, Zone
from flowrunner.web.pages.tile_values import DECIMALS, UNITS

Span = Literal["day", "24h", "7d", "30d"]
SPANS: tuple[Span, ...] = ("day", "24h", "7d", "30d")
DAY = 86_400 * SECOND
HOUR = 3600 * SECOND
LATEST = 15 * 60 * SECOND
"""So long the last value of a series still stands in the table."""
TONES = {"step": ("price", "tone-1", "tone-2", "tone-3"), "line": ("soc", "tone-1", "tone-2", "tone-3")}
MOST_KEYS = 4
"""Sites or devices whose values one series draws, each as a line of its own; there are so many tones."""
AHEAD = DAY // 2
"""So far beyond now the last 24 hours show what is published of the time to come."""
TABLE_STEP = {"day": HOUR, "24h": HOUR, "7d": 6 * HOUR, "30d": 24 * HOUR}
MS = 1_000_000
LENGTHS: dict[Span, int] = {"24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
"""Of the periods that end now."""


class Drawn(NamedTuple):
    """One series as it was kept. A bucket of None begins a gap, which the next one ends."""

    spec: Line
    buckets: Sequence[Bucket]
    ahead: Sequence[tuple[Instant, Instant, float]]
    every: int
    """Nanoseconds between two buckets at most where nothing is missing; 0: not known."""
    snippet: str = ""
    """What to write so that it is kept; "" where it is."""
    site: str = ""
    """The key of its values; "" where they have none."""
    left: int = 0
    """Further keys that are not drawn."""


def period(span: Span, now: Instant, zone: str) -> tuple[Instant, Instant]:
    """From when to when a chart goes: the local day, or so long until now; what is ahead is shown with the day."""
    if span == "day":
        local = to_datetime(now, ZoneInfo(zone))
        begin = datetime(local.year, local.month, local.day, tzinfo=local.tzinfo)
        end = begin.date() + timedelta(days=1)
        return from_datetime(begin), from_datetime(datetime(end.year, end.month, end.day, tzinfo=local.tzinfo))
    return now - LENGTHS[span], now


def opening(tile: Tile) -> Span:
    """The period that a chart opens on: its own."""
    return next((name for name, length in LENGTHS.items() if length == tile["span"]), "24h")


def opening_of(tiles: Sequence[Tile]) -> Span | None:
    """That of all charts of a page, where they agree."""
    found = {opening(tile) for tile in tiles if tile["tile"] == "chart"}
    return found.pop() if len(found) == 1 else None


def until(span: Span, now: Instant, end: Instant, ahead: Sequence[tuple[Instant, Instant, float]]) -> Instant:
    """Where a chart ends: the last 24 hours go on as far as something is published, for half a day at most."""
    if span != "24h" or not ahead:
        return end
    return max(end, min(ahead[-1][1], now + AHEAD))


def points(kind: str, span: Span) -> int:
    """How many buckets a series gets: as many as can be told apart."""
    if kind == "bars":
        return {"day": 96, "24h": 96, "7d": 84, "30d": 90}[span]
    return 300


class Teller:
    """Says charts in one language and zone."""

    def __init__(
        self, *, t: Translate, lang: str, zone: str, now: Instant, marks: Mapping[str, Sequence[float]]
    ) -> None:
        """``marks``: what is marked of a value, by its key: node|port|field."""
        self.t, self.lang, self.zone, self.now, self.marks = t, lang, zone, now, marks

    def told(self, drawn: Sequence[Drawn], span: Span, bounds: tuple[Instant, Instant]) -> dict[str, Any]:
        """What the template and chart.js read: keys, heads, rows, drawing, whether anything is kept or ahead."""
        lanes: dict[tuple[str, str], dict[str, Any]] = {}
        keys: list[dict[str, Any]] = []
        sites = {one.site for one in drawn}
        several = {key(one.spec) for one in drawn if sum(key(one.spec) == key(other.spec) for other in drawn) > 1}
        for one in drawn:
            spec, kind, unit = one.spec, str(one.spec.get("kind") or "line"), one.spec["unit"] or ""
            title, name = self.title(spec), key(spec)
            if name in several and kind == "bars":
                kind = "line"  # bars of several sites would hide each other
            lane = lanes.setdefault((kind, unit), {
                "title": title, "unit": UNITS.get(unit, unit), "raw_unit": unit, "decimals": spec["decimals"],
                "kind": kind, "marks": list(self.marks.get(name) or spec.get("marks") or ()),
                "min": spec.get("min") if unit == "%" else None, "max": spec.get("max") if unit == "%" else None,
                "series": [],
            })  # fmt: skip
            said = f"{title} {one.site}" if one.site and (name in several or len(sites - {""}) > 1) else title
            keys += self._keys(kind, len(lane["series"]), said, unit)
            if one.left:
                keys.append({"tone": "", "title": self.t("dashboard.keys-not-drawn", n=one.left), "bar": None})
            lane["series"].append({
                "key": name, "site": one.site, "title": said, "every": one.every // MS,
                "points": [_point(bucket, bounds[0], one.every if kind == "bars" else 0) for bucket in one.buckets],
                "ahead": [[begin // MS, end // MS, value] for begin, end, value in one.ahead],
            })  # fmt: skip
        order = {"step": 0, "bars": 1, "line": 2}
        shown = sorted(lanes.values(), key=lambda lane: order.get(lane["kind"], 3))
        begin, end = bounds
        return {
            "keys": keys,
            "ahead": any(one.ahead for one in drawn),
            "kept": any(one.buckets or one.ahead for one in drawn),
            "heads": [self._head(one.spec, one.site) for one in drawn],
            "rows": self._rows(drawn, span, bounds),
            "snippet": "\n  ".join(dict.fromkeys(one.snippet for one in drawn if one.snippet)),
            "drawing": {"from": begin // MS, "to": end // MS, "slides": span != "day", "lanes": shown},
        }

    def title(self, spec: Line) -> str:
        return spec["title"]["de" if self.lang == "de" else "en"] or spec["field"]

    def _head(self, spec: Line, site: str) -> str:
        unit = spec["unit"] or ""
        return " ".join(part for part in (self.title(spec), site, UNITS.get(unit, unit)) if part)

    def _keys(self, kind: str, place: int, title: str, unit: str) -> list[dict[str, Any]]:
        if kind == "bars" and unit in ("MW", "kW", "W"):
            both = (("ch", "dashboard.charging"), ("di", "dashboard.discharging"))
            return [{"tone": tone, "title": self.t(word), "bar": True} for tone, word in both]
        if kind == "bars":
            return [{"tone": "di", "title": title, "bar": True}]
        tones = TONES.get(kind, TONES["line"])
        return [{"tone": tones[place % len(tones)], "title": title, "bar": False}]

    def _rows(self, drawn: Sequence[Drawn], span: Span, bounds: tuple[Instant, Instant]) -> list[list[str]]:
        zone, rows = Zone(ZoneInfo(self.zone), self.zone), []
        for at in _instants(drawn, TABLE_STEP[span], bounds):
            values = [value_at(one, at, self.now) for one in drawn]
            if any(value is not None for value in values):
                time = zone.minutes(at) if span in ("day", "24h") else f"{zone.day(at):%d.%m.} {zone.minutes(at)}"
                rows.append([time, *(self._figure(one, value) for one, value in zip(drawn, values, strict=True))])
        return rows

    def _figure(self, one: Drawn, value: float | None) -> str:
        if value is None:
            return "–"
        return formats.number(value, self.lang, DECIMALS.get(one.spec["unit"] or ""))


def _instants(drawn: Sequence[Drawn], step: int, bounds: tuple[Instant, Instant]) -> list[Instant]:
    """Of the table: whole hours, and the newest that is known."""
    begin, end = bounds
    regular = range(begin + -begin % HOUR, end + 1, step)
    newest = max(
        (one.buckets[-1].at for one in drawn if one.buckets and one.buckets[-1].last is not None), default=None
    )
    return sorted({*regular, *([] if newest is None else [newest])})


def value_at(one: Drawn, at: Instant, now: Instant) -> float | None:
    """What was known, or is planned, of an instant; None in a gap. What was measured says nothing of the time after
    ``now``."""
    place = bisect_right(one.buckets, at, key=lambda bucket: bucket.at)
    if place and at <= now:
        before = one.buckets[place - 1]
        if before.last is not None and (place < len(one.buckets) or at - before.at <= max(one.every * 3 // 2, LATEST)):
            return before.last
    return next((value for begin, end, value in one.ahead if begin <= at < end), None)


def key(spec: Line) -> str:
    """Of a value: node|port|field."""
    return f"{spec['node']}|{spec['port']}|{spec['field']}"


def _point(one: Bucket, since: Instant, width: int) -> list[float | None]:
    """Milliseconds, last; and least and most where these are others. A bar stands where its part of the time begins."""
    at = (since + (one.at - since) // width * width if width and one.last is not None else one.at) // MS
    return [at, one.last] if one.least == one.most else [at, one.last, one.least, one.most]
