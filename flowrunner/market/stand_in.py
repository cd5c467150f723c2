"""A source of prices that stands in for a real one within a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from flowrunner.market.feed import SourceAway
from flowrunner.market.prices import Price
from flowrunner.market.publication import Publication
from flowrunner.market.slots import Market, Slot
from flowrunner.market.sources import Question
from flowrunner.message import Instant


class StandIn:
    """A `Feed` that says ``values`` (EUR/MWh, None: no price): the first for the delivery slot of its first question
    and all before, the next for the next, the last for all that follow. It tells what is published by then;
    ``one_slot``: of the slot that it is asked for and of no other, as an exchange does. ``timeout_s``: how long a fetch
    may take."""

    notice = ""

    def __init__(
        self,
        market: Market,
        zone: ZoneInfo,
        values: Sequence[float | None],
        *,
        one_slot: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        self.become(values)
        self.trouble = ""
        """Why it cannot be asked, or ""."""
        self.delay_s = 0.0
        self._market = market
        self._published = Publication(zone)
        self._one_slot = one_slot
        self._timeout_s = timeout_s

    def become(self, values: Sequence[float | None]) -> None:
        """From now on these; the first for the delivery slot of the next question."""
        self.values = list(values)
        self._first: Slot | None = None

    async def fetch(self, asked: Question, now: Callable[[], Instant]) -> list[Price]:
        self._first = self._first or asked.slot
        if self.delay_s:
            await asyncio.sleep(min(self.delay_s, self._timeout_s))
        if self.delay_s >= self._timeout_s:
            raise SourceAway(f"no answer within {self._timeout_s:g} s")
        if self.trouble:
            raise SourceAway(self.trouble)
        length = self._market.slot_ns
        begin, end = self._market.current(now()).start, self._published.known_until(now())
        ahead = (Slot(one, one + length) for one in range(begin, end, length))
        slots = [asked.slot] if self._one_slot else ahead
        return [Price(*slot, price) for slot in slots if (price := self._price(slot, self._first)) is not None]

    def _price(self, slot: Slot, first: Slot) -> float | None:
        place = (slot.start - first.start) // self._market.slot_ns
        return self.values[min(max(place, 0), len(self.values) - 1)] if self.values else None

    async def close(self) -> None:
        """Nothing is kept open."""
