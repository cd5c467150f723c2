"""The simulated exchange without its HTTP face: gates, throttle, order store, prices, matching."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from flowrunner.exchange.simulator import requests
from flowrunner.exchange.simulator.book import Book, usable
from flowrunner.exchange.simulator.faults import Faults
from flowrunner.exchange.simulator.model import (
    AcceptedOrder,
    Answer,
    Character,
    Order,
    OrderRequest,
    Side,
    Status,
    Telemetry,
    Trade,
)
from flowrunner.message import JSON, Instant
from flowrunner.units import SECOND, iso

SHOWN = 100
"""Lines of ``GET /orders`` and ``GET /trades``."""
KEPT = 5000
"""Orders and trades that are remembered, client ids with them; the oldest go."""
THROTTLE = 120
"""Orders per market and UTC minute; half of it while the battery is hotter than ``HOT_C``."""
HOT_C = 40.0
BUY_FROM_SOC = 15.0
SELL_TO_SOC = 90.0
MADE_UP: dict[str, JSON] = {"mark": 85.5, "ema": 84.2, "vwap": 85.1}
"""What the exchange answers, with 200, when it has no price."""

_MINUTE = 60 * SECOND
_QUARTER = 15 * _MINUTE
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_EMA_QUARTERS = 16


class Exchange:
    """One exchange. Its methods are the calls of the interface and return what is answered.

    ``clock`` gives flow time; the exchange's own clock, which all its stamps and rules go by, is wrong by
    ``clock_offset_ns``. ``price``: a market's price in EUR/MWh at an instant of flow time, None where there is none.
    ``on_accept`` is told of every order taken, ``on_trade`` of every fill (the good character only); both are called
    inside the call that caused them and must not call back. ``faults`` are acted on by the HTTP face.
    """

    def __init__(
        self,
        clock: Callable[[], Instant],
        price: Callable[[str, Instant], float | None],
        *,
        markets: Iterable[str],
        character: Character = "plain",
        on_accept: Callable[[AcceptedOrder], None] | None = None,
        on_trade: Callable[[Trade], None] | None = None,
    ) -> None:
        self.clock = clock
        self.markets = frozenset(markets)
        self.character = character
        self.faults = Faults()
        self.reported: Telemetry | None = None
        """The newest telemetry; before the first, no gate is closed."""
        self._price = price
        self._on_accept = on_accept
        self._on_trade = on_trade
        self._orders: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._trades: deque[Trade] = deque(maxlen=KEPT)
        self._resting: dict[str, list[Order]] = {market: [] for market in self.markets}
        self._books = {market: Book() for market in self.markets}
        self._placed: dict[str, tuple[int, int]] = {}
        """Market → UTC minute and the orders that it took in it."""
        self._listeners: dict[str, list[Callable[[JSON], None]]] = {}

    @property
    def clock_offset_ns(self) -> int:
        """Nanoseconds, up to an hour; negative: behind. The fault ``clock``, as a number."""
        return self.faults.clock_offset_ns

    @clock_offset_ns.setter
    def clock_offset_ns(self, offset: int) -> None:
        self.faults.clear("clock")
        if offset:
            self.faults.arm("clock", seconds=offset / SECOND)

    def own_clock(self) -> Instant:
        """What the exchange takes the time to be."""
        return self.clock() + self.clock_offset_ns

    # ---- the interface ------------------------------------------------------------------------------

    def telemetry(self, body: JSON) -> Answer:
        """POST /telemetry/bess: all three fields, else 422."""
        try:
            self.reported = requests.telemetry(body)
        except requests.Refused as refused:
            return Answer(422, {"detail": refused.details})
        return Answer(200, {"status": "OK"})

    def place(self, body: JSON) -> Answer:
        """POST /orders. Only an answer of 200 has stored the order."""
        self.advance()
        try:
            wanted = requests.order(body, self.markets, with_client_id=self.character == "good")
        except requests.Refused as refused:
            return Answer(422, {"detail": refused.details})
        known = self._known(wanted)
        if known is not None:
            text = f"client_order_id {wanted.client_order_id!r} exists already: order {known.terms.order_id}"
            return Answer(409, {"detail": text})
        closed = self._gate(wanted.side)
        if closed:
            return Answer(400, {"detail": closed})
        now = self.own_clock()
        left = self._throttle_left(wanted.market, now)
        if left <= 0:
            return Answer(429, {"detail": f"Throttle: {self._throttle()} orders per minute in {wanted.market}"})
        self._placed[wanted.market] = (now // _MINUTE, self._placed[wanted.market][1] + 1)
        order = self._store(wanted, now)
        answer: dict[str, JSON] = {
            "order_id": order.terms.order_id,
            "status": "ACCEPTED",
            "timestamp": iso(now),
            "throttle_remaining": left - 1,
        }
        if self.character == "good":
            answer["client_order_id"] = wanted.client_order_id
            self._match_new(order)
        return Answer(200, answer)

    def orders(self) -> Answer:
        """GET /orders: the last 100 of all users, the newest first."""
        self.advance()
        newest = list(self._orders.values())[: -SHOWN - 1 : -1]
        return Answer(200, [order.row() for order in newest])

    def trades(self) -> Answer:
        """GET /trades: the last 100 of all users, the newest first."""
        self.advance()
        newest = list(self._trades)[: -SHOWN - 1 : -1]
        return Answer(200, [trade.row() for trade in newest])

    def prices(self, market: str | None, *, dead: bool = False, stale: bool = False) -> Answer:
        """GET /market/prices. ``dead``, ``stale``: as the faults of that name."""
        if market is None:
            return Answer(422, {"detail": [requests.detail("missing", "Field required", "query", "market")]})
        now = self.clock()
        at = now - _HOUR if stale else now
        mark = None if dead else self._mark(market, at)
        found = MADE_UP if mark is None else {"mark": mark} | self._averages(market, at, mark)
        return Answer(200, found | {"timestamp": iso(at + self.clock_offset_ns), "market": market})

    def find(self, name: str) -> Answer:
        """GET /orders/{id} of the good exchange; ``name`` is an order id or a client's."""
        self.advance()
        order = self._find(name)
        if order is None:
            return Answer(404, {"detail": "Order not found"})
        return Answer(200, order.view())

    def cancel(self, name: str) -> Answer:
        """DELETE /orders/{id} of the good exchange: what is not filled yet is taken back. 409: nothing is open."""
        self.advance()
        order = self._find(name)
        if order is None:
            return Answer(404, {"detail": "Order not found"})
        if not order.is_open:
            return Answer(409, {"detail": f"order {order.terms.order_id} is {order.status}"})
        self._end(order, "CANCELLED")
        return Answer(200, order.view())

    def book(self, market: str) -> dict[str, JSON]:
        """What ``/ws/book/{market}`` shows. KeyError for an unknown market."""
        return {"market": market} | self._books[market].shown() | {"timestamp": iso(self.own_clock())}

    # ---- for the owner of the simulation ------------------------------------------------------------

    def advance(self) -> None:
        """Follow the clock: books get new marks, orders that rest are matched or expire. Calls do it by themselves."""
        now = self.clock()
        for market, book in self._books.items():
            if book.refresh(self._mark(market, now), now // _MINUTE):
                self._resting[market] = [order for order in self._resting[market] if not self._expired(order)]
                for order in sorted(self._resting[market], key=_priority):
                    self._match(order)
                self._tell(f"book/{market}", partial(self.book, market))

    def listen(self, channel: str, hear: Callable[[JSON], None]) -> Callable[[], None]:
        """Call ``hear(data)`` for what happens in ``orders``, ``trades`` or ``book/<market>``; returns how to stop."""
        listeners = self._listeners.setdefault(channel, [])
        listeners.append(hear)

        def stop() -> None:
            if hear in listeners:
                listeners.remove(hear)

        return stop

    # ---- inside -------------------------------------------------------------------------------------

    def _gate(self, side: Side) -> str:
        """Why the side is closed, or ``""``."""
        if self.reported is None:
            return ""
        soc = self.reported.soc_percent
        if side == "BUY" and soc < BUY_FROM_SOC:
            return f"BUY disabled at SoC {soc:.1f}% (<{BUY_FROM_SOC:g}%)"
        if side == "SELL" and soc > SELL_TO_SOC:
            return f"SELL disabled at SoC {soc:.1f}% (>{SELL_TO_SOC:g}%)"
        return ""

    def _throttle(self) -> int:
        hot = self.reported is not None and self.reported.temperature_c > HOT_C
        return THROTTLE // 2 if hot else THROTTLE

    def _throttle_left(self, market: str, now: Instant) -> int:
        minute = now // _MINUTE
        if self._placed.get(market, (-1, 0))[0] != minute:
            self._placed[market] = (minute, 0)
        return self._throttle() - self._placed[market][1]

    def _mark(self, market: str, at: Instant) -> float | None:
        return usable(self._price(market, at)) if market in self.markets else None

    def _averages(self, market: str, at: Instant, mark: float) -> dict[str, JSON]:
        """``ema``: of the quarter-hours of the last four hours; ``vwap``: of the last hour's, each of equal volume."""
        past = [self._mark(market, at - back * _QUARTER) for back in range(_EMA_QUARTERS - 1, 0, -1)]
        known = [price for price in past if price is not None] + [mark]
        ema = known[0]
        for price in known[1:]:
            ema += (price - ema) * 2 / (_EMA_QUARTERS + 1)
        last = known[-4:]
        return {"ema": round(ema, 4), "vwap": round(sum(last) / len(last), 4)}

    def _known(self, wanted: OrderRequest) -> Order | None:
        """The order that has this client id; the plain exchange keeps none."""
        return self._by_client_id.get(wanted.client_order_id or "")

    def _find(self, name: str) -> Order | None:
        return self._orders.get(name) or self._by_client_id.get(name)

    def _store(self, wanted: OrderRequest, now: Instant) -> Order:
        terms = AcceptedOrder(**msgspec.structs.asdict(wanted), order_id=str(uuid.uuid4()), accepted_at=now)
        order = self._orders[terms.order_id] = Order(terms)
        if self.character == "good" and terms.client_order_id is not None:
            self._by_client_id[terms.client_order_id] = order
        if len(self._orders) > KEPT:
            self._forget(next(iter(self._orders.values())))
        self._tell_order(order)
        if self._on_accept is not None:
            self._on_accept(terms)
        return order

    def _forget(self, order: Order) -> None:
        if self.character == "good":
            if order.is_open:
                self._end(order, "EXPIRED")
            self._by_client_id.pop(order.terms.client_order_id or "", None)
        del self._orders[order.terms.order_id]

    def _match_new(self, order: Order) -> None:
        self._match(order)
        if not order.is_open:
            return
        if order.terms.time_in_force == "GFD" and order.terms.order_type == "LIMIT":
            self._resting[order.terms.market].append(order)
        else:
            self._end(order, "CANCELLED")

    def _match(self, order: Order) -> None:
        terms = order.terms
        fills = self._books[terms.market].take(
            terms.side,
            order.left_mwh,
            terms.limit_price_eur_mwh if terms.order_type == "LIMIT" else None,
            whole=terms.time_in_force == "FOK",
        )
        for fill in fills:
            trade = order.fill(fill.quantity_mwh, fill.price_eur_mwh, self.own_clock())
            self._trades.append(trade)
            self._tell("trades", trade.view)
            self._tell_order(order)
            if self._on_trade is not None:
                self._on_trade(trade)
        if fills:
            self._tell(f"book/{terms.market}", partial(self.book, terms.market))

    def _expired(self, order: Order) -> bool:
        """Whether it no longer rests. GFD is good until the UTC day or the time before delivery is over."""
        now = self.own_clock()
        if order.is_open and (now >= order.terms.delivery_start or now // _DAY != order.terms.accepted_at // _DAY):
            self._end(order, "EXPIRED")
        return not order.is_open

    def _end(self, order: Order, status: Status) -> None:
        order.status = status
        self._tell_order(order)

    def _tell_order(self, order: Order) -> None:
        self._tell("orders", order.view if self.character == "good" else order.row)

    def _tell(self, channel: str, data: Callable[[], JSON]) -> None:
        listeners = self._listeners.get(channel)
        if listeners:
            told = data()
            for hear in list(listeners):
                hear(told)


def _priority(order: Order) -> tuple[bool, float]:
    """The best price of each side first; sorted() keeps the older of equals first."""
    limit = order.terms.limit_price_eur_mwh
    return (order.terms.side == "SELL", limit if order.terms.side == "SELL" else -limit)
