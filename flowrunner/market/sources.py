"""The sources of prices on the web: what each is asked, and what its answer means. Pure: who asks is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.market import awattar, energy_charts, entsoe, mark
from flowrunner.market.prices import Price
from flowrunner.market.slots import Market, Slot, local_day, midnight
from flowrunner.market.zones import eic
from flowrunner.message import Instant
from flowrunner.units import Duration


class Question(NamedTuple):
    """What is asked for at ``now``: local days from ``first`` to ``last``, which are ``start`` to ``end``."""

    now: Instant
    slot: Slot
    """The delivery slot of an order made now."""
    first: date
    last: date
    start: Instant
    end: Instant

    @classmethod
    def at(cls, now: Instant, market: Market, zone: ZoneInfo) -> Question:
        """Today and tomorrow in ``zone``, and on to the day of the delivery slot."""
        slot = market.delivery(now)
        first = local_day(now, zone)
        last = max(first + timedelta(days=1), local_day(slot.end - 1, zone))
        return cls(now, slot, first, last, midnight(first, zone), midnight(last + timedelta(days=1), zone))


class WebSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source: where it is, what it is asked, and what its answer means."""

    url: str
    path: ClassVar[str] = ""

    def query(self, asked: Question) -> Mapping[str, str]:
        """The parameters of the request; they may hold a secret."""
        raise NotImplementedError

    def parse(self, body: bytes, asked: Question, arrived: Instant) -> list[Price]:
        """The prices of an answer that came at ``arrived``. BadPrices when it is not understood or not believed."""
        raise NotImplementedError

    def reason(self, body: bytes) -> str:
        """What an answer that is no success says of itself, or ""."""
        return ""

    def notice(self, body: bytes) -> str:
        """What the operator should know beside the prices, or ""."""
        return ""


class Entsoe(WebSource, frozen=True, kw_only=True):
    url: str = entsoe.URL
    zone: str
    token: str
    auction: int = 1

    def query(self, asked: Question) -> Mapping[str, str]:
        return entsoe.query(eic(self.zone), asked.start, asked.end, self.token)

    def parse(self, body: bytes, asked: Question, arrived: Instant) -> list[Price]:
        return entsoe.parse(body, eic(self.zone), self.auction)

    def reason(self, body: bytes) -> str:
        return entsoe.reason(body)


class Awattar(WebSource, frozen=True, kw_only=True):
    path: ClassVar[str] = awattar.PATH

    def query(self, asked: Question) -> Mapping[str, str]:
        return awattar.query(asked.start, asked.end)

    def parse(self, body: bytes, asked: Question, arrived: Instant) -> list[Price]:
        return awattar.parse(body)


class EnergyCharts(WebSource, frozen=True, kw_only=True):
    url: str = energy_charts.URL
    path: ClassVar[str] = energy_charts.PATH
    zone: str

    def query(self, asked: Question) -> Mapping[str, str]:
        return energy_charts.query(self.zone, asked.first, asked.last)

    def parse(self, body: bytes, asked: Question, arrived: Instant) -> list[Price]:
        return energy_charts.parse(body)

    def notice(self, body: bytes) -> str:
        return "Energy-Charts says that this interface is deprecated" if energy_charts.deprecated(body) else ""


class Exchange(WebSource, frozen=True, kw_only=True):
    """Its mark is for the delivery slot of the instant at which it was asked for."""

    path: ClassVar[str] = mark.PATH
    market: str
    oldest: Duration

    def query(self, asked: Question) -> Mapping[str, str]:
        return mark.query(self.market)

    def parse(self, body: bytes, asked: Question, arrived: Instant) -> list[Price]:
        return mark.parse(body, self.market, asked.slot, arrived, self.oldest)
