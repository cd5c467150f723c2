"""Prices as a market knew them: those of a local day from 12:45 of the day before on."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from flowrunner.errors import UsageError
from flowrunner.market import BadPrices, Market, Slot, local_day, midnight
from flowrunner.market.price_file import read
from flowrunner.market.prices import Curve
from flowrunner.market.publication import Publication
from flowrunner.message import Instant
from flowrunner.units import Duration

DAY = timedelta(days=1)


class Published:
    """The prices of one market. ``at`` is what a slot was really traded for; ``seen`` is what of it was known."""

    def __init__(self, curve: Curve, market: Market, zone: ZoneInfo) -> None:
        self.market = market
        self.zone = zone
        self._curve = curve
        self._unit = min(one.end - one.start for one in curve.prices)
        self._of = {one.start: one.eur_mwh for one in curve.prices}
        """By the begin of the market time unit; all of a file are of one length, and at full multiples of it."""
        self._publication = Publication(zone)

    @property
    def turn(self) -> Instant:
        """When more becomes known; good after ``seen``."""
        return self._publication.turn

    def at(self, slot: Slot) -> float | None:
        """EUR/MWh; None where no price is for the whole slot."""
        begin = slot.start - slot.start % self._unit
        return self._of.get(begin) if slot.end <= begin + self._unit else None

    def seen(self, slot: Slot, now: Instant) -> float | None:
        """The same, where it was published by ``now``."""
        return self.at(slot) if slot.end <= self._publication.known_until(now) else None

    def days(self) -> tuple[date, date]:
        """The first and the last local day of which all is there, from midnight to midnight. UsageError: none."""
        begin, end = self._curve.prices[0].start, self._curve.prices[-1].end
        first, last = local_day(begin, self.zone), local_day(end, self.zone) - DAY
        if midnight(first, self.zone) < begin:
            first += DAY
        if last < first:
            raise UsageError(f"the prices cover no whole day of {self.zone.key}")
        return first, last


def published(name: str, market: Market, zone: ZoneInfo) -> Published:
    """The prices of a file. UsageError when it cannot be read or has no prices for this market's slots."""
    try:
        curve = Curve.of(read(name))
    except OSError as error:
        raise UsageError(f"--prices: {name} cannot be read: {error.strerror}") from None
    except BadPrices as error:
        raise UsageError(f"--prices: {name}: {error}") from None
    except ValueError as error:  # not shipped
        raise UsageError(f"--prices: {error}") from None
    unit = Duration(min(one.end - one.start for one in curve.prices))
    if market.slot_ns > unit:
        slot = Duration(market.slot_ns)
        raise UsageError(
            f"--prices: {name} has prices for {unit}, and the flow's market has slots of {slot}: no slot has a "
            f"price of its own; write 'slot: {unit}' in the flow's market"
        )
    return Published(curve, market, zone)
