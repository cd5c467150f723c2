"""aWATTar: day-ahead prices of Austria and Germany, by the hour (https://www.awattar.at/services/api).

Since the auction has quarter-hours its hours are their means: a price is what aWATTar publishes, not what one
quarter-hour cost.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowrunner.http import parse_json
from flowrunner.market.prices import MOST_PRICES, TIME_UNITS, BadPrices, Price, curve_of, finite
from flowrunner.message import Instant
from flowrunner.units import Duration

URLS = {
    "AT": "https://api.awattar.at",
    "DE-LU": "https://api.awattar.de",
}
"""Bidding zone → where its prices are."""
PATH = "/v1/marketdata"
_MS = 1_000_000
_LATEST_MS = 253_402_300_799_000


class _Hour(msgspec.Struct, frozen=True):
    start_timestamp: int
    end_timestamp: int
    marketprice: float
    unit: str


class _Answer(msgspec.Struct, frozen=True):
    data: list[_Hour]


def query(start: Instant, end: Instant) -> Mapping[str, str]:
    """The parameters that ask for the prices from ``start`` to ``end``."""
    return {"start": str(start // _MS), "end": str(end // _MS)}


def parse(body: bytes) -> list[Price]:
    """The prices of an answer of ``/v1/marketdata``. BadPrices for what is not understood."""
    try:
        hours = msgspec.convert(parse_json(body), _Answer).data
    except ValueError as error:
        raise BadPrices(f"the answer of aWATTar is not understood: {error}") from None
    if len(hours) > MOST_PRICES:
        raise BadPrices(f"more than {MOST_PRICES} prices in one answer")
    return curve_of(_price(one, f"price {place}") for place, one in enumerate(hours, 1))


def _price(one: _Hour, where: str) -> Price:
    if one.unit.casefold() != "eur/mwh":
        raise BadPrices(f"{where}: the unit is {one.unit[:20]!r}, not 'Eur/MWh'")
    if not 0 <= one.start_timestamp <= one.end_timestamp <= _LATEST_MS:
        raise BadPrices(f"{where}: from {one.start_timestamp} to {one.end_timestamp} ms is no interval")
    start, end = one.start_timestamp * _MS, one.end_timestamp * _MS
    if end - start not in TIME_UNITS:
        raise BadPrices(f"{where}: it is for {Duration(end - start)}; 15, 30 and 60 minutes are known")
    return Price(start, end, finite(one.marketprice, where))
