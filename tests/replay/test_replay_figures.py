"""Money and energy, from orders to months: the pure part against a recomputation."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.market import Market, midnight
from flowrunner.orders import Order
from flowrunner.replay import figures
from flowrunner.replay.plant import SlotFlow
from flowrunner.units import Duration

VIENNA = ZoneInfo("Europe/Vienna")
MARKET = Market(name="m", slot_ns=Duration.parse("15min"), gate_closure_ns=Duration.parse("5min"))
FIRST, LAST = date(2024, 3, 30), date(2024, 4, 1)
SLOTS = [slot for day in (FIRST, date(2024, 3, 31), LAST) for slot in MARKET.of_day(day, VIENNA)]


def order(place: int, side: str, mwh: float, price: float, state: str = "filled") -> Order:
    slot = SLOTS[place]
    return Order(
        id=f"{place}-{side}", market="m", delivery_start=slot.start, delivery_end=slot.end, side=side,  # type: ignore[arg-type]
        quantity_mwh=mwh, requested_mwh=mwh, limited_by="", limit_price_eur_mwh=price, order_type="LIMIT",
        time_in_force="GFD", flow="f", guard="g", rule="r", state=state, mode="live", created_at=0, updated_at=0,  # type: ignore[arg-type]
        good_until=0, open_mwh=0.0, filled_mwh=mwh if state == "filled" else 0.0,
        average_price_eur_mwh=price if state == "filled" else None,
    )  # fmt: skip


def test_buy_one_at_fifty_and_sell_one_at_a_hundred_and_fifty() -> None:
    money = figures.Money.of([order(0, "BUY", 1.0, 50.0), order(5, "SELL", 1.0, 150.0)])
    assert (money.revenue, money.cost, money.profit) == (150.0, 50.0, 100.0)


def test_for_a_negative_price_the_buyer_is_paid() -> None:
    money = figures.Money.of([order(0, "BUY", 2.0, -45.5), order(1, "SELL", 1.0, -10.0)])
    assert (money.revenue, money.cost) == (91.0, 10.0)


def test_what_was_not_filled_costs_nothing() -> None:
    money = figures.Money.of([order(0, "BUY", 2.0, 45.5, "unfilled"), order(1, "SELL", 2.0, 45.5, "rejected")])
    assert (money.revenue, money.cost) == (0.0, 0.0)


FILLED = st.builds(
    order,
    st.integers(0, len(SLOTS) - 1),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(1, 5000).map(lambda kwh: kwh / 1000),
    st.integers(-50_000, 400_000).map(lambda cents: cents / 100),
    st.sampled_from(["filled", "filled", "unfilled", "expired", "rejected"]),
)


@given(st.lists(FILLED, max_size=60))
def test_days_months_and_series_are_the_whole(orders: list[Order]) -> None:
    flows = [SlotFlow(slot.start, 0.25, 0.125, -0.125, 0.13, 50.0) for slot in SLOTS]
    days = figures.by_day(orders, flows, FIRST, LAST, VIENNA)
    daily, monthly = figures.daily(days, VIENNA, 10.0), figures.months(days, 10.0)
    profit = sum(
        (one.filled_mwh if one.side == "SELL" else -one.filled_mwh) * one.average_price_eur_mwh
        for one in orders
        if one.average_price_eur_mwh is not None
    )
    assert figures.Money.of(orders).profit == pytest.approx(profit, abs=1e-6)
    for part in (daily, monthly):
        assert sum(one["profit_eur"] for one in part) == pytest.approx(profit, abs=1e-4)
        assert sum(one["orders"] for one in part) == len(orders)
        assert sum(one["bought_mwh"] for one in part) == pytest.approx(0.25 * len(SLOTS))
    assert [one["hours"] for one in daily] == [24, 23, 24]
    assert [one["month"] for one in monthly] == ["2024-03", "2024-04"]
    columns = figures.series(flows, [None] * len(flows), orders, MARKET.slot_ns)["slots"]
    assert columns["profit_eur"][-1] == pytest.approx(profit, abs=0.006)


def test_what_is_delivered_behind_the_last_day_has_a_day_of_its_own() -> None:
    behind = midnight(LAST + timedelta(days=1), VIENNA)
    late = SlotFlow(behind, 1.0, 0.0, -1.0, 0.0, 60.0)
    nothing = SlotFlow(behind + MARKET.slot_ns, 0.0, 0.0, 0.0, 0.0, 60.0)
    days = figures.by_day([], [late, nothing], FIRST, LAST, VIENNA)
    assert list(days) == [FIRST, date(2024, 3, 31), LAST, date(2024, 4, 2)]
    assert days[date(2024, 4, 2)].flows == [late]
