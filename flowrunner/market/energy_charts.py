"""Energy-Charts of Fraunhofer ISE: day-ahead prices of European bidding zones (https://api.energy-charts.info)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from flowrunner.http import parse_json
from flowrunner.market.prices import MOST_PRICES, BadPrices, Price, curve_of, finite, spaced

URL = "https://api.energy-charts.info"
PATH = "/price"
_SECOND = 1_000_000_000
_LATEST_S = 253_402_300_799


class _Answer(msgspec.Struct, frozen=True):
    unix_seconds: list[int]
    price: list[float | None]
    unit: str
    deprecated: bool = False


def query(zone: str, first: date, last: date) -> Mapping[str, str]:
    """The parameters that ask for the prices of local days; ``last`` is the last of them."""
    return {"bzn": zone, "start": first.isoformat(), "end": last.isoformat()}


def parse(body: bytes) -> list[Price]:
    """The prices of an answer of ``/price``; a price that is null is missing. BadPrices for what is not understood.

    The answer has starts only: each price is for the least distance between two of them, see ``prices.spaced``.
    """
    answer = _answer(body)
    if answer.unit.replace(" ", "").casefold() != "eur/mwh":
        raise BadPrices(f"the unit is {answer.unit[:20]!r}, not 'EUR / MWh'")
    if len(answer.unix_seconds) != len(answer.price):
        raise BadPrices(f"there are {len(answer.unix_seconds)} times and {len(answer.price)} prices")
    if len(answer.price) > MOST_PRICES:
        raise BadPrices(f"more than {MOST_PRICES} prices in one answer")
    if not answer.price:
        raise BadPrices("there is no price in it")
    if not all(0 <= one <= _LATEST_S for one in answer.unix_seconds):
        raise BadPrices("unix_seconds has a number that is no time in seconds")
    starts = [one * _SECOND for one in answer.unix_seconds]
    length = spaced(starts)
    return curve_of(
        Price(start, start + length, finite(price, f"price {place}"))
        for place, (start, price) in enumerate(zip(starts, answer.price, strict=True), 1)
        if price is not None
    )


def deprecated(body: bytes) -> bool:
    """Whether the source says that this way to ask for prices will go. BadPrices as ``parse``."""
    return _answer(body).deprecated


def _answer(body: bytes) -> _Answer:
    try:
        return msgspec.convert(parse_json(body), _Answer)
    except ValueError as error:
        raise BadPrices(f"the answer of Energy-Charts is not understood: {error}") from None
