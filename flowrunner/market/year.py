"""A year of real prices that never ends: the shipped one, shifted by whole weeks. For simulated markets.

Data: Bundesnetzagentur | SMARD.de, see ``data/SOURCES.md``. What it gives are the prices of another day: made for a
world that is simulated, never for a source of a real flow.
"""

from __future__ import annotations

from functools import cache

from flowrunner.market.price_file import SHIPPED, read
from flowrunner.market.prices import Curve, Price
from flowrunner.market.slots import Slot
from flowrunner.message import Instant
from flowrunner.units import DURATION_UNITS

WEEK = 7 * DURATION_UNITS["d"]
HOURLY = "DE-LU-2024.csv"
"""Every hour of 2024 in the bidding zone of Germany and Luxembourg."""


class Weeks:
    """As many whole weeks of a curve as it has, from its first price on, again and again in both directions.

    A wanted instant gets the price of the same weekday and the same hour in UTC; 52 weeks keep the season too.
    ValueError when the curve is shorter than a week or has a gap in them.
    """

    def __init__(self, curve: Curve) -> None:
        if not curve.prices:
            raise ValueError("there is no price to shift")
        self._first = curve.prices[0].start
        self.span = (curve.prices[-1].end - self._first) // WEEK * WEEK
        """Nanoseconds after which it begins again."""
        self._curve = curve.within(self._first, self._first + self.span)
        if self.span == 0:
            raise ValueError("less than a week cannot be shifted by whole weeks")
        if sum(one.end - one.start for one in self._curve.prices) != self.span:
            raise ValueError("the prices have a gap, or one that crosses the end of a week")

    def at(self, instant: Instant) -> Price:
        """The price for ``instant``, with the interval shifted to where it is wanted."""
        shift = (instant - self._first) // self.span * self.span
        found = self._curve.at(instant - shift)
        assert found is not None  # noqa: S101  (checked when it was made: there is no gap)
        return Price(found.start + shift, found.end + shift, found.eur_mwh)

    def for_slot(self, slot: Slot) -> Price | None:
        """The price whose interval holds the whole slot; None when the slot is longer than what prices are for."""
        found = self.at(slot.start)
        return found if found.slot.contains(slot) else None


@cache
def shipped(name: str = HOURLY) -> Weeks:
    """The shipped prices, read once."""
    return Weeks(Curve.of(read(f"{SHIPPED}{name}")))


def shifted(instant: Instant) -> Price:
    """The real price of 2024 of the same weekday and UTC hour, a whole number of 52 weeks away."""
    return shipped().at(instant)
