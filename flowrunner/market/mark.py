"""The price that an exchange gives for a market: its mark (``GET /market/prices?market=``).

The interface says: an unknown market, or a store that is dead, is answered with made-up numbers and status 200. So a
mark is believed only when the answer is about the market that was asked for, is new, and is not that triple.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowrunner.http import parse_json
from flowrunner.market.prices import BadPrices, Price, finite
from flowrunner.market.slots import Slot
from flowrunner.message import FUTURE_TOLERANCE_NS, Instant
from flowrunner.units import Duration, parse_instant

PATH = "/market/prices"
MADE_UP = (85.5, 84.2, 85.1)
"""Mark, EMA and VWAP of an exchange that knows nothing."""


class _Answer(msgspec.Struct, frozen=True):
    mark: float
    ema: float
    vwap: float
    timestamp: str
    market: str


def query(market: str) -> Mapping[str, str]:
    return {"market": market}


def parse(body: bytes, market: str, slot: Slot, now: Instant, oldest: Duration) -> list[Price]:
    """The mark, for the delivery slot ``slot``. BadPrices when it is not understood or not to be believed: made up,
    of another market, with a time that is older than ``oldest`` at ``now`` or ahead of it."""
    try:
        answer = msgspec.convert(parse_json(body), _Answer)
        at = parse_instant(answer.timestamp)
    except ValueError as error:
        raise BadPrices(f"the answer of the exchange is not understood: {error}") from None
    if answer.market != market:
        raise BadPrices(f"the exchange answers about the market {answer.market[:40]!r}, asked was {market!r}")
    if (answer.mark, answer.ema, answer.vwap) == MADE_UP:
        made_up = " / ".join(map(str, MADE_UP))
        raise BadPrices(f"the exchange answers {made_up}: made-up numbers, it has no price of {market!r}")
    if now - at > oldest:
        raise BadPrices(f"the exchange's price is of {answer.timestamp[:40]}: older than {oldest}")
    if at - now > FUTURE_TOLERANCE_NS:
        raise BadPrices(f"the exchange's price is of {answer.timestamp[:40]}: that is ahead of now, a clock is wrong")
    return [Price(slot.start, slot.end, finite(answer.mark, "mark"))]
