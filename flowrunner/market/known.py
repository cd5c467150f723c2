"""What is known of prices: the kept curve, of what it is, and when it was last fetched."""

from __future__ import annotations

import msgspec

from flowrunner.market.prices import Curve, Price
from flowrunner.market.slots import Slot
from flowrunner.market.sources import Question
from flowrunner.message import Instant


class Known(msgspec.Struct, frozen=True):
    """Immutable; the durable part of a price source. ``of`` tells sources apart: a curve of another one is no use."""

    of: str
    curve: Curve = Curve()
    fetched: Instant | None = None
    """When the source last gave an answer that was understood."""

    def learned(self, prices: list[Price], asked: Question, since: Instant, whole: bool = False) -> Known:
        """With a newer answer, as far as it was asked for, and without what was over at ``since``.

        A price that was there before and is missing between two of the answer counts no longer; in an answer that is
        ``whole``, neither does one before or behind them. An answer with no price for the time that it was asked for
        makes the kept ones no newer.
        """
        newer = Curve(tuple(prices)).within(asked.start, asked.end)
        kept, fetched = self.curve, self.fetched
        if newer.prices:
            kept, fetched = kept.without(Slot(newer.prices[0].start, newer.prices[-1].end)), asked.now
        if whole:
            kept, fetched = Curve(), asked.now
        return Known(self.of, kept.joined(newer).since(since), fetched)

    def doubted(self, slot: Slot) -> Known:
        """Without what was said of ``slot``."""
        return Known(self.of, self.curve.without(slot), self.fetched)
