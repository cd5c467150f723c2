"""A small flow with a guard, in virtual time: one site, two rules, and what the guard is told to hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flowrunner.market import Market, Slot
from flowrunner.orders import Journal, Order
from flowrunner.testing import Rig, run_flow

MINUTE = 60 * 10**9
QUARTER = 15 * MINUTE
MARKET = Market(name="epex_at", slot_ns=QUARTER, gate_closure_ns=5 * MINUTE)
FLOW = """
flow: site
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  meter: {type: manual-in, fields: {soc_percent: {unit: "%"}, temperature_c: {}, price_eur_mwh: {}, mwh: {}}}
  hot: {type: threshold, from: meter, field: temperature_c, above: 40}
  buy:
    type: rule
    from: hot
    when: soc_percent < 50
    then: {side: BUY, quantity_mwh: mwh, limit_price_eur_mwh: price_eur_mwh}
  sell:
    type: rule
    from: hot
    when: soc_percent > 50
    then: {side: SELL, quantity_mwh: mwh, limit_price_eur_mwh: price_eur_mwh}
  guard: {type: risk-guard, from: [buy, sell], OPTIONS}
  exchange: {type: exchange-out, from: guard, send: orders, url: "http://localhost:9"}
"""
"""At 02:00 in Vienna, where virtual time begins, an order is for 02:15."""
DESK = """
flow: site
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  meter:
    type: http-in
    route: POST /wish
    body: {side: {type: text}, quantity_mwh: {}, limit_price_eur_mwh: {}, order_type: {type: text}, soc_percent: {}}
  guard: {type: risk-guard, from: meter, OPTIONS}
"""
"""Wishes that no rule made: all that they hold counts."""


def play(options: str, story: Callable[[Rig], Awaitable[Any]], *, flow: str = FLOW, **run: Any) -> Any:
    """``options``: of the guard, as in a flow file; empty: no limit at all."""
    return run_flow(flow.replace(", OPTIONS", f", {options}" if options else ""), story, stubs=["meter"], **run)


async def wish(rig: Rig, soc: float = 20, price: float = 50, mwh: float = 1.0, hot: float = 25, **more: Any) -> None:
    """One record: below 50 % it wishes to buy, above to sell."""
    values = {"soc_percent": soc, "temperature_c": hot, "price_eur_mwh": price, "mwh": mwh}
    await rig.emit("meter", values, **more)


def slot(rig: Rig) -> Slot:
    return MARKET.delivery(rig.now)


def journal(rig: Rig) -> Journal:
    return rig.worker("guard").ctx.journal


def orders(rig: Rig) -> list[Order]:
    """Oldest first."""
    return journal(rig).orders()[::-1]


def blocked(rig: Rig) -> list[tuple[str, str]]:
    """What left by the guard's port, in order: the reason, and the sentence behind the order's own words."""
    return [(one["reason"], one["text"].partition("Z: ")[2]) for one in rig.payloads("guard", "blocked")]
