"""What streams say of orders, put together: a trade is an increment, and what is passed on is the whole."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from flowrunner.exchange.adapter import Told
from flowrunner.exchange.likeness import ENDS, Row, traded_by
from flowrunner.fields import is_number
from flowrunner.message import JSON

ORDERS = 1000
"""The newest so many orders are kept apart; what is said of an older one later begins anew."""


class _Known(msgspec.Struct):
    traded_mwh: float = 0.0
    value_eur: float = 0.0
    priced: bool = True
    said_mwh: float = 0.0
    """By the stream of orders, which tells the whole by itself."""

    @property
    def average(self) -> float | None:
        return self.value_eur / self.traded_mwh if self.priced and self.traded_mwh > 0 else None


class Fills:
    """Per order what was traded in all: by the trades that were seen (a lower bound: none is told twice), or by the
    order's own word where that is more."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def order(self, said: JSON, one: Row) -> Told:
        """News of an order. Quantities that the frame does not tell, or not as a number, are left out."""
        filled, average, client_id = (said.get(name) for name in ("filled_mwh", "average_price", "client_order_id"))
        filled = filled if is_number(filled) and filled >= 0 else None
        average = average if filled and is_number(average) else None
        if filled is None:  # a word of an order: its quantity is that of the whole order
            filled = traded_by(one)
        if filled is not None:
            known = self._of(one.order_id)
            known.said_mwh = max(known.said_mwh, filled)
            if known.traded_mwh > filled * (1 + 1e-9):  # the stream of trades was faster
                filled, average = known.traded_mwh, known.average
        return Told(
            exchange_id=one.order_id,
            client_order_id=client_id if isinstance(client_id, str) else "",
            status=one.status,
            filled_mwh=filled,
            average_price_eur_mwh=average,
            ended=one.status in ENDS,
        )

    def trade(self, one: Row) -> Told | None:
        """News of an order by one of its trades; None where the stream of orders has told as much already."""
        known = self._of(one.order_id)
        known.traded_mwh += one.quantity_mwh
        known.value_eur += one.quantity_mwh * (one.price or 0.0)
        known.priced = known.priced and one.price is not None
        if known.traded_mwh <= known.said_mwh * (1 + 1e-9):
            return None
        return Told(exchange_id=one.order_id, filled_mwh=known.traded_mwh, average_price_eur_mwh=known.average)

    def _of(self, order_id: str) -> _Known:
        known = self._known.setdefault(order_id, _Known())
        self._known.move_to_end(order_id)
        if len(self._known) > ORDERS:
            self._known.popitem(last=False)
        return known


def traded(order_id: str, rows: list[Row]) -> Told | None:
    """What the trades of one order in a list come to, a lower bound: older ones have left it. None without any, and
    where one of them is of nothing or less."""
    ours = [one for one in rows if one.order_id == order_id]
    if not ours or any(one.quantity_mwh <= 0 for one in ours):
        return None
    fills = Fills()
    return [fills.trade(one) for one in ours][-1]
