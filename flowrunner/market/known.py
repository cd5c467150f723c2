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

    def learned(self, prices: list[Price], asked: Question, since: Instant) -> Known:
        """With a newer answer, as far as it was asked for, and without what was over at ``since``."""
        newer = Curve(tuple(prices)).within(asked.start, asked.end)
        return Known(self.of, self.curve.joined(newer).since(since), asked.now)

    def doubted(self, slot: Slot) -> Known:
        """Without what was said of ``slot``."""
        return Known(self.of, self.curve.without(slot), self.fetched)
