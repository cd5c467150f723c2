"""Days and minutes in a reader's language and a flow's zone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flowrunner.engine import Engine
from flowrunner.message import Instant
from flowrunner.units import from_datetime, parse_instant, to_datetime

Translate = Callable[..., str]
DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "de": ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
}
MONTHS = {
    "en": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December"),
    "de": ("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober",
           "November", "Dezember"),
}  # fmt: skip


class Zone(NamedTuple):
    """The zone that a page tells its times in, and how it is called."""

    zone: tzinfo
    name: str

    def day(self, instant: Instant) -> date:
        """The local day."""
        return to_datetime(instant, self.zone).date()

    def minutes(self, instant: Instant, of: date | None = None) -> str:
        """``16:15``; where that is on another day than ``of``, with its date: ``27.01. 00:15`` reads alike in both
        languages."""
        moment = to_datetime(instant, self.zone)
        return f"{moment:%H:%M}" if of in (None, moment.date()) else f"{moment:%d.%m. %H:%M}"

    def seconds(self, instant: Instant) -> str:
        """``16:15:07``."""
        return f"{to_datetime(instant, self.zone):%H:%M:%S}"

    def field(self, instant: Instant | None) -> str:
        """As an ``<input type=datetime-local>`` has it; "" for none."""
        return "" if instant is None else f"{to_datetime(instant, self.zone):%Y-%m-%dT%H:%M}"

    def instant(self, text: str) -> Instant:
        """What such an input, or an ISO time with its zone, says. ValueError for what is no time. An hour that comes
        twice is the first of the two."""
        try:
            moment = datetime.fromisoformat(text.strip())
            return parse_instant(text) if moment.tzinfo is not None else from_datetime(moment.replace(tzinfo=self.zone))
        except (ValueError, OverflowError):
            raise ValueError(f"{text[:60]!r} is not a time; write it like 2025-01-25T20:30") from None


UTC_ZONE = Zone(UTC, "UTC")


def zone_of(engine: Engine, flows: Iterable[str]) -> Zone:
    """The zone of these flows, where they have one in common; UTC else."""
    names = {head.timezone for name, head in engine.graph.flows.items() if name in set(flows)}
    return Zone(ZoneInfo(*names), *names) if len(names) == 1 and names != {"UTC"} else UTC_ZONE


def long_date(day: date, lang: str) -> str:
    """``Samstag, 25. Januar 2025``, ``Saturday, 25 January 2025``."""
    names = "de" if lang == "de" else "en"
    dot = "." if names == "de" else ""
    return f"{DAYS[names][day.weekday()]}, {day.day}{dot} {MONTHS[names][day.month - 1]} {day.year}"


def heading(day: date, today: date, lang: str, t: Translate) -> str:
    """The same, with today and yesterday in words."""
    near = {today: "events.today", today - timedelta(days=1): "events.yesterday"}.get(day)
    return f"{t(near)} · {long_date(day, lang)}" if near else long_date(day, lang)
