"""The exchange of a replay: it takes every order, and settles it when its delivery begins, at the slot's price."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from flowrunner.clock import Clock
from flowrunner.exchange import Outcome, Ticket
from flowrunner.exchange.stand_in import StandIn
from flowrunner.market import Slot
from flowrunner.message import Instant
from flowrunner.orders import Book, Journal, Order
from flowrunner.replay.plant import Plant
from flowrunner.replay.prices import Published
from flowrunner.store import Store

NO_PRICE = "no price is known for its slot"


class Desk(StandIn):
    """Accepts, and tells the settlement."""

    def __init__(self, taken: Callable[[Ticket], None]) -> None:
        super().__init__()
        self._tell = taken

    async def place(self, ticket: Ticket, still: Callable[[], str]) -> Outcome:
        outcome = await super().place(ticket, still)
        if outcome.meaning == "accepted":
            self._tell(ticket)
        return outcome


class Settlement:
    """Orders wait here for their delivery. What is filled is the battery's to deliver."""

    def __init__(self, clock: Clock, store: Store, prices: Published, plant: Plant) -> None:
        self._clock = clock
        self._store = store
        self._journal = Journal(store)
        self._prices = prices
        self._plant = plant
        self._waiting: list[tuple[Instant, str]] = []

    def take(self, ticket: Ticket) -> None:
        heapq.heappush(self._waiting, (ticket.delivery_start, ticket.client_order_id))
        self._clock.call_at(ticket.delivery_start, lambda: self.settle(self._clock.now()))

    @property
    def next(self) -> Instant | None:
        """When the next delivery begins."""
        return self._waiting[0][0] if self._waiting else None

    def settle(self, now: Instant) -> None:
        """All whose delivery has begun. The battery is brought to now first: what lies behind stays as it was."""
        while self._waiting and self._waiting[0][0] <= now:
            start, id = heapq.heappop(self._waiting)  # noqa: A001  (the field's own word)
            order = self._journal.find(id)
            if order is not None and order.state == "accepted":
                self._plant.advance(start)
                self._settle(order, now)

    def _settle(self, order: Order, now: Instant) -> None:
        price = self._prices.at(Slot(order.delivery_start, order.delivery_end))
        if price is None:
            self._advance(order, now, reason=NO_PRICE)
        elif not allows(order, price):
            limit = f"{order.limit_price_eur_mwh:g}"
            self._advance(order, now, reason=f"the slot cost {price:g} EUR/MWh, the limit is {limit}")
        else:
            self._plant.deliver(order.id, order.side, order.delivery_start, order.delivery_end, order.quantity_mwh)
            self._advance(order, now, price=price)

    def _advance(self, order: Order, now: Instant, *, reason: str = "", price: float | None = None) -> None:
        if price is None:
            self._write(lambda book: book.advance(order.id, "unfilled", now, reason=reason))
        else:
            self._write(
                lambda book: book.advance(
                    order.id, "filled", now, filled_mwh=order.quantity_mwh, open_mwh=0.0, average_price_eur_mwh=price
                )
            )

    def _write(self, work: Callable[[Book], object]) -> None:
        """The store of a replay writes at once."""
        self._store.submit(lambda sql: work(Book(sql))).result()


def allows(order: Order, price: float) -> bool:
    """Whether the order's limit lets it trade at a price."""
    limit = order.limit_price_eur_mwh
    if limit is None:
        return True
    return price <= limit if order.side == "BUY" else price >= limit
