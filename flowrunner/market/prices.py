"""Prices with the interval that each is for, and curves of them."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from flowrunner.market.slots import Slot
from flowrunner.message import Instant
from flowrunner.units import DURATION_UNITS, Duration, iso

UNIT = "EUR/MWh"
TIME_UNITS = tuple(minutes * DURATION_UNITS["min"] for minutes in (15, 30, 60))
"""The market time units of European day-ahead auctions, in nanoseconds."""
MOST_PRICES = 40_000
"""Prices of one answer: a year of quarter-hours has 35 136. More is a mistake, or an attack."""
_NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})", re.ASCII)


class BadPrices(ValueError):
    """An answer, a file or a list of prices that is not understood or not believed; the text says what and where."""


class Price(NamedTuple):
    """A price from ``start`` up to, not including, ``end``; negative and zero ones are ordinary."""

    start: Instant
    end: Instant
    eur_mwh: float

    @property
    def slot(self) -> Slot:
        return Slot(self.start, self.end)

    def __str__(self) -> str:
        return f"{self.eur_mwh:g} {UNIT} for {self.slot}"


class Curve(msgspec.Struct, frozen=True):
    """Prices in the order of time, of which no two overlap; there may be gaps. Immutable.

    BadPrices (a ValueError) when they are not in order, overlap, or a price is not a finite number.
    """

    prices: tuple[Price, ...] = ()

    def __post_init__(self) -> None:
        last: Price | None = None
        for one in self.prices:
            if one.end <= one.start:
                raise BadPrices(f"the interval {one.slot} has no length")
            if not math.isfinite(one.eur_mwh):
                raise BadPrices(f"the price for {one.slot} is not a finite number")
            if last is not None and one.start < last.end:
                raise BadPrices(f"two prices for one time: {last} and {one}")
            last = one

    @classmethod
    def of(cls, prices: Iterable[Price]) -> Curve:
        """A curve of prices in any order. The same price twice counts once; any other overlap is BadPrices."""
        return cls(tuple(sorted(set(prices))))

    @property
    def end(self) -> Instant | None:
        """The end of the last price."""
        return self.prices[-1].end if self.prices else None

    def at(self, instant: Instant) -> Price | None:
        """The price whose interval holds ``instant``."""
        place = bisect_right(self.prices, instant, key=_start) - 1
        return self.prices[place] if place >= 0 and instant < self.prices[place].end else None

    def for_slot(self, slot: Slot) -> Price | None:
        """The price whose interval holds the whole slot. None where there is none; a slot that several prices share
        has no price of its own: nobody published a mean."""
        found = self.at(slot.start)
        return found if found is not None and found.slot.contains(slot) else None

    def joined(self, newer: Curve) -> Curve:
        """This curve with a newer answer: its prices take the place of all that they overlap."""
        kept = [one for one in self.prices if not newer._touches(one)]
        return Curve(tuple(sorted([*kept, *newer.prices])))

    def without(self, slot: Slot) -> Curve:
        """This curve without any price that concerns ``slot``."""
        return Curve(tuple(one for one in self.prices if one.end <= slot.start or slot.end <= one.start))

    def within(self, start: Instant, end: Instant) -> Curve:
        """The prices that concern the time from ``start`` to ``end``, uncut."""
        return Curve(tuple(one for one in self.prices if one.start < end and start < one.end))

    def since(self, instant: Instant) -> Curve:
        """This curve without what is over at ``instant``."""
        return Curve(tuple(one for one in self.prices if one.end > instant))

    def _touches(self, price: Price) -> bool:
        place = bisect_right(self.prices, price.start, key=_start)
        before = place > 0 and self.prices[place - 1].end > price.start
        return before or (place < len(self.prices) and self.prices[place].start < price.end)


def curve_of(prices: Iterable[Price]) -> list[Price]:
    """What a parser gives back: in order, free of overlaps, at least one, each at a full multiple of its length.
    BadPrices otherwise."""
    found = list(Curve.of(prices).prices)
    if not found:
        raise BadPrices("there is no price in it")
    for one in found:
        if one.start % (one.end - one.start):
            raise BadPrices(
                f"{iso(one.start)} is not the start of a market time unit of {Duration(one.end - one.start)}"
            )
    return found


def finite(value: float, where: str) -> float:
    """A price that is a number. BadPrices for NaN and infinities."""
    number = float(value)
    if not math.isfinite(number):
        raise BadPrices(f"{where}: the price is not a finite number")
    return number


def number(text: str, where: str) -> float:
    """A price as text: ``85.50``, ``-0.01``. BadPrices for anything else, a decimal comma too."""
    if _NUMBER.fullmatch(text) is None:
        hint = "; write a decimal point" if "," in text else ""
        raise BadPrices(f"{where}: {text[:40]!r} is not a price{hint}")
    return float(text)


def spaced(starts: list[Instant]) -> int:
    """The length of intervals of which only the starts are known: the least distance between two of them, which must
    be a market time unit, and of which every other distance is a multiple (then prices are missing in between).

    No price becomes longer by that than the source says. BadPrices when it cannot be told: one start alone, starts
    that do not rise, another distance.
    """
    if len(starts) < 2:
        raise BadPrices("one time alone does not say how long its price is for")
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    least = min(gaps)
    if least <= 0:
        place = gaps.index(least)
        raise BadPrices(f"the times do not rise: {iso(starts[place + 1])} comes after {iso(starts[place])}")
    if least not in TIME_UNITS:
        place = gaps.index(least)
        raise BadPrices(
            f"{iso(starts[place])} and {iso(starts[place + 1])} are {Duration(least)} apart; "
            "market time units of 15, 30 and 60 minutes are known"
        )
    for place, gap in enumerate(gaps):
        if gap % least:
            raise BadPrices(
                f"{iso(starts[place])} and {iso(starts[place + 1])} are {Duration(gap)} apart, "
                f"others {Duration(least)}: what the prices are for cannot be told"
            )
    return least


def _start(price: Price) -> Instant:
    return price.start
