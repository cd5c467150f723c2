"""A flow that really sends: its engine in the test's loop, an exchange behind a socket, flow time at a speed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from flowrunner.clock import ScaledClock
from flowrunner.engine import Engine
from flowrunner.exchange.simulator import Character
from flowrunner.graph import check_flows
from flowrunner.message import JSON
from flowrunner.orders import Journal, Order, State
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.units import SECOND, parse_instant
from tests.exchange.simulated import KEY, Served, served
from tests.peers.until import until

START = "2026-03-02T12:00:00Z"
"""An order is for 12:15 to 12:30, and its gate closes at 12:10."""
FLOW = """
flow: site
market: {name: AT, slot: 15min, gate_closure: 5min}
nodes:
  hand: {type: manual-in, fields: {soc_percent: {}, active_power_mw: {}, temperature_c: {}, price_eur_mwh: {}}}
  buy:
    type: rule
    from: hand
    when: soc_percent < 50
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  sell:
    type: rule
    from: hand
    when: soc_percent > 50
    then: {side: SELL, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard:
    type: risk-guard
    from: [buy, sell]
    manual: allow
    price: {min: -500, max: 4000}
    max_quantity_mwh: 5
    energy: {capacity_mwh: 1000}
    max_age: {hand: 10min}
  exchange:
    {type: exchange-out, from: guard, send: orders, mode: live, url: "${URL}", api_key: "${KEY}", timeout: "${TIMEOUT}"}
  mirror:
    {type: exchange-out, from: hand, send: telemetry, url: "${URL}", api_key: "${KEY}", retry: {first: 10ms, max: 50ms}}
  log: {type: log, from: [exchange.error, mirror.error, guard.blocked, exchange]}
"""


def an_order(**changes: Any) -> Order:
    """As the flow's guard makes it, but for ``changes``."""
    start = parse_instant(START)
    order = Order(
        id="AT-20260302T1215Z-BUY", market="AT", delivery_start=start + 900 * SECOND,
        delivery_end=start + 1800 * SECOND, side="BUY", quantity_mwh=1.0, requested_mwh=1.0, limited_by="",
        limit_price_eur_mwh=50.0, order_type="LIMIT", time_in_force="GFD", flow="site", guard="guard", rule="buy",
        state="intent", mode="live", created_at=start, updated_at=start, good_until=start + 600 * SECOND, open_mwh=1.0,
    )  # fmt: skip
    return msgspec.structs.replace(order, **changes)


class Trading:
    """``left`` is what has left each port, by ``node.port``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.left: dict[str, list[JSON]] = {}
        for worker in engine.runtime.workers.values():
            worker.tap = self._tap(worker.node.id)

    def _tap(self, node: str) -> Any:
        return lambda port, message: self.left.setdefault(f"{node}.{port}", []).append(message.payload)

    @property
    def journal(self) -> Journal:
        return Journal(self.engine.store)

    @property
    def order(self) -> Order:
        """The newest one."""
        return self.journal.orders()[0]

    def story(self) -> list[tuple[str, str]]:
        """State and reason of each step of the newest order; none without one."""
        found = self.journal.story(self.order.id) if self.journal.orders() else None
        if found is None:
            return []
        return [(one["state"], one["reason"]) for one in found[1]]

    def errors(self, node: str = "exchange") -> list[tuple[str, str]]:
        return [(one["code"], one["reason"]) for one in self.left.get(f"{node}.error", [])]

    async def wish(self, soc: float = 20.0, price: float = 50.0) -> None:
        """A person types a state of charge and a price: below 50 % the flow buys, above it sells."""
        await self.engine.enter("site", "hand", {"soc_percent": soc, "price_eur_mwh": price}, by="test")

    async def battery(self, soc: float, temperature: float = 25.0) -> None:
        values = {"soc_percent": soc, "active_power_mw": 0.5, "temperature_c": temperature, "price_eur_mwh": 50.0}
        await self.engine.enter("site", "hand", values, by="test")

    def reasons(self, port: str = "guard.blocked") -> list[str]:
        return [one["reason"] for one in self.left.get(port, [])]

    async def decides(self, state: State, **changes: Any) -> Order:
        """A person's word on the newest order, as `flowrunner orders resolve` writes it."""
        return await self.journal.advance(self.order.id, state, self.engine.clock.now(), **changes)

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        await until(condition, lambda: what or self.left)

    async def until_order(self, *states: str) -> Order:
        """Until there is an order in one of the states."""
        await self.until(lambda: [one for one in self.journal.orders() if one.state in states], str(states))
        return self.journal.orders()[0]

    async def until_left(self, port: str, count: int = 1) -> list[JSON]:
        await self.until(lambda: len(self.left.get(port, ())) >= count, port)
        return self.left[port]


@asynccontextmanager
async def trading(
    at: Served | str, *, text: str = FLOW, start: str = START, speed: float = 1.0, store: Store | None = None,
    patience: str = "5s",
) -> AsyncIterator[Trading]:  # fmt: skip
    """Run the flow against ``at`` with flow time from ``start`` on, ``speed`` times as fast as ours. A simulated
    exchange gets the same clock, and of a good one the flow knows that it is. The store is closed only when it is the
    flow's own. ``patience``: the node's ``timeout``."""
    clock = ScaledClock(parse_instant(start), speed)
    url = at
    if isinstance(at, Served):
        url, at.exchange.clock = at.server.url, clock.now
        if at.exchange.character == "good":
            text = text.replace('timeout: "${TIMEOUT}"', 'timeout: "${TIMEOUT}", client_order_ids: true')
    environment = {"URL": str(url), "KEY": KEY, "TIMEOUT": patience}
    checked = check_flows({"flow.yaml": text}, environment, Registry(), simulated=True)
    assert checked.graph is not None, [str(one) for one in checked.problems]
    own = store or Store.open(None, inline=True)
    engine = Engine(checked, store=own, clock=clock)
    try:
        await engine.start()
        yield Trading(engine)
    finally:
        await engine.runtime.stop(deadline_s=0.3)
        if store is None:
            await own.close()


@asynccontextmanager
async def venue(character: Character = "plain", **run: Any) -> AsyncIterator[tuple[Served, Trading]]:
    """A simulated exchange, and the flow that trades there. ``run``: as `trading` has it."""
    async with served(character) as at, trading(at, **run) as flow:
        yield at, flow
