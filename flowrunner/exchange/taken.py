"""Which orders an exchange was seen to have: a list that lacks one of them says nothing of another."""

from __future__ import annotations

from collections import OrderedDict

from flowrunner.exchange.likeness import LEEWAY_NS, SHOWN, Row
from flowrunner.message import Instant

KEPT = 200
"""The newest so many are remembered; twice what a list shows."""


class Taken:
    """Of one exchange, in one run."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, Instant] = OrderedDict()

    def note(self, order_id: str, sent: Instant) -> None:
        """The exchange has this order. ``sent``: when it was sent, by our clock."""
        self._sent[order_id] = sent
        if len(self._sent) > KEPT:
            self._sent.popitem(last=False)

    def lacking(self, seen: list[Row], offset_ns: int | None) -> str:
        """The id of an order that must be in the list and is not, or "": the exchange has lost it, or the list is not
        that of all orders. ``offset_ns`` as `likeness.search` has it."""
        shown = {one.order_id for one in seen}
        oldest = min((one.at for one in seen), default=0)
        for order_id, sent in self._sent.items():
            fits = len(seen) < SHOWN or sent + (offset_ns or 0) - LEEWAY_NS > oldest
            if fits and order_id not in shown:
                return order_id
        return ""
