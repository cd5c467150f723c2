"""risk-guard: every reason for which there is no order, said once with its numbers; counts are the journal's."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from flowrunner.market import Slot
from flowrunner.message import JSON, FieldInfo
from flowrunner.orders import Order
from flowrunner.store import FILE_NAME, Store
from flowrunner.testing import Rig
from tests.orders.guarded import DESK, FLOW, MINUTE, QUARTER, blocked, journal, orders, play, slot, wish

SECOND = 10**9
ENERGY = "energy: {capacity_mwh: 10, min_soc: 5, max_soc: 95, efficiency: 0.9}"
WISH: dict[str, JSON] = {"side": "BUY", "quantity_mwh": 1, "limit_price_eur_mwh": 50}


def about(rig: Rig, **changes: Any) -> FieldInfo:
    given: dict[str, Any] = {"at": rig.now, "received_at": rig.now, "source": "meter"} | changes
    return FieldInfo(**given)


def texts(order: Order) -> tuple[str, float, str]:
    return order.side, order.quantity_mwh, order.limited_by


def test_without_a_limit_the_wish_becomes_the_order() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, price=-500.25, mwh=3)
        (order,) = orders(rig)
        assert order == Order(
            id="epex_at-20250125T0115Z-BUY", market="epex_at", delivery_start=slot(rig).start,
            delivery_end=slot(rig).end, side="BUY", quantity_mwh=3.0, requested_mwh=3.0, limited_by="",
            limit_price_eur_mwh=-500.25, order_type="LIMIT", time_in_force="GFD", flow="site", guard="guard",
            rule="buy", state="paper", mode="paper", created_at=rig.now, updated_at=rig.now,
            good_until=slot(rig).start - 5 * MINUTE, open_mwh=3.0,
        )  # fmt: skip
        (left,) = rig.payloads("guard")
        assert left["order"] == order.id
        assert (left["state"], left["delivery_start"], left["delivery_end"]) == (
            "intent", "2025-01-25T01:15:00.000Z", "2025-01-25T01:30:00.000Z",
        )  # fmt: skip
        assert all(type(left[name]) is float for name in ("quantity_mwh", "requested_mwh"))

    play("", story)


def test_a_quantity_that_is_a_very_large_whole_number() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, mwh=10**30)
        assert [one.requested_mwh for one in orders(rig)] == [1e30]

    play("", story)


# ---- what is no wish ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"side": "buy"}, "side is 'buy', not BUY or SELL"),
        ({"side": None}, "side is None, not BUY or SELL"),
        ({"quantity_mwh": 0}, "quantity_mwh is 0, not a number above 0"),
        ({"quantity_mwh": -1}, "quantity_mwh is -1, not a number above 0"),
        ({"quantity_mwh": True}, "quantity_mwh is True, not a number above 0"),
        ({"quantity_mwh": "1"}, "quantity_mwh is '1', not a number above 0"),
        ({"quantity_mwh": float("nan")}, "quantity_mwh is nan, not a number above 0"),
        ({"quantity_mwh": float("inf")}, "quantity_mwh is inf, not a number above 0"),
        ({"limit_price_eur_mwh": None}, "limit_price_eur_mwh is None, not a number"),
        ({"limit_price_eur_mwh": float("nan")}, "limit_price_eur_mwh is nan, not a number"),
        ({"limit_price_eur_mwh": "50", "order_type": "MARKET"}, "limit_price_eur_mwh is '50', not a number"),
        ({"order_type": "ICEBERG"}, "order_type 'ICEBERG' or time_in_force 'GFD' is not known"),
        ({"time_in_force": "gfd"}, "order_type 'LIMIT' or time_in_force 'gfd' is not known"),
    ],
)
def test_what_is_no_wish_is_an_error(changes: dict[str, JSON], said: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", WISH | changes)
        assert rig.errors("guard") == {"not-an-intent": 1}
        assert rig.worker("guard").counters.last_error.endswith(said)
        assert journal(rig).orders() == []
        assert blocked(rig) == []

    play("", story, flow=DESK)


def test_a_wish_that_a_node_on_the_way_kept_is_not_one_of_now() -> None:
    """A merge behind a rule repeats the rule's words with every record that comes by another way."""
    flow = FLOW.replace("from: [buy, sell]", "from: kept").replace(
        "  guard:", "  tick: {type: inject, every: 1min, payload: {tick: 1}}\n"
        "  kept: {type: merge, from: [buy, tick]}\n  guard:",
    )  # fmt: skip

    async def story(rig: Rig) -> None:
        await wish(rig)
        assert len(orders(rig)) == 1
        await rig.advance("15min")
        assert len(orders(rig)) == 1
        assert rig.errors("guard")["not-an-intent"] >= 14
        await wish(rig)
        assert len(orders(rig)) == 2

    play("", story, flow=flow)


# ---- the record ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason", "text"),
    [
        ({"quality": "uncertain"}, "uncertain", "soc_percent is uncertain (0.0 s old, from meter)"),
        ({"quality": "bad"}, "bad", "soc_percent is bad (0.0 s old, from meter)"),
        ({"valid_until": 1}, "stale", "soc_percent is stale (0.0 s old, from meter)"),
        ({"at": 2**62}, "untrusted", "soc_percent is from the future (0.0 s old, from meter)"),
    ],
)
def test_a_value_that_must_not_be_used(changes: dict[str, Any], reason: str, text: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", WISH | {"soc_percent": 20}, fields={"soc_percent": about(rig, **changes)})
        assert (journal(rig).orders(), blocked(rig)) == ([], [(reason, text)])
        await rig.emit("meter", WISH | {"soc_percent": 20})
        assert len(journal(rig).orders()) == 1

    play("", story, flow=DESK)


def test_the_state_of_charge_counts_where_the_energy_counts() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", WISH)
        await rig.emit("meter", WISH | {"soc_percent": "20"})
        assert blocked(rig) == [("missing", "soc_percent is missing"), ("bad", "soc_percent is no number")]

    play(ENERGY, story, flow=DESK)


def test_an_uncertain_record_is_uncertain_in_all_its_fields() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", WISH | {"soc_percent": 20}, quality="uncertain")
        assert [reason for reason, _ in blocked(rig)] == ["uncertain"]

    play("", story, flow=DESK)


def test_too_old() -> None:
    async def story(rig: Rig) -> None:
        for age, count in ((91, 0), (90, 1)):
            at = rig.now - age * SECOND
            await wish(rig, at=at)
            assert len(orders(rig)) == count
        assert blocked(rig)[0] == ("stale", "soc_percent is 91.0 s old, from meter; at most 90s is allowed")

    play("max_age: {meter: 90s}", story)


def test_the_shorter_of_two_limits_for_one_value() -> None:
    """``hot`` hands on what ``meter`` brought: both name the same fields, in either order."""
    for limits in ("{meter: 30s, hot: 90s}", "{hot: 90s, meter: 30s}", "{meter: 90s, hot: 30s}"):

        async def story(rig: Rig) -> None:
            await wish(rig, at=rig.now - 31 * SECOND)
            assert [reason for reason, _ in blocked(rig)] == ["stale"]

        play(f"max_age: {limits}", story)


def test_a_limit_of_age_holds_for_values_that_the_rule_does_not_look_at() -> None:
    async def story(rig: Rig) -> None:
        old = about(rig, at=rig.now - 91 * SECOND)
        await wish(rig, fields={"temperature_c": old})
        assert blocked(rig) == [("stale", "temperature_c is 91.0 s old, from meter; at most 90s is allowed")]

    play("max_age: {meter: 90s}", story)


@pytest.mark.parametrize(("shift", "fits"), [(0, True), (-QUARTER, False), (QUARTER, False)])
def test_a_value_with_an_interval_is_for_the_slot(shift: int, fits: bool) -> None:
    async def story(rig: Rig) -> None:
        own = Slot(slot(rig).start + shift, slot(rig).end + shift)
        await wish(rig, fields={"price_eur_mwh": about(rig, valid_from=own.start, valid_until=own.end)})
        assert len(orders(rig)) == fits
        if shift < 0:
            assert blocked(rig) == [
                ("price-slot-mismatch", f"price_eur_mwh is for {own}; the order would be for {slot(rig)}")
            ]

    play("", story)


# ---- thresholds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "verdict"),
    [({"hot": 40.1}, "above"), ({"hot": float("nan")}, "unknown"), ({"hot": None}, "unknown"), ({"hot": 40}, "")],
)
def test_stop_while(record: dict[str, Any], verdict: str) -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, **record)
        assert blocked(rig) == ([("stopped", f"hot is {verdict}")] if verdict else [])
        assert len(orders(rig)) == (not verdict)

    play("stop_while: [hot]", story)


@pytest.mark.parametrize(("hot", "expected"), [(40, (1.0, "")), (40.1, (0.5, "hot")), (float("nan"), (0.5, "hot"))])
def test_limit_while_reduces_also_where_the_verdict_is_unknown(hot: float, expected: tuple[float, str]) -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, hot=hot)
        (order,) = orders(rig)
        assert (order.quantity_mwh, order.limited_by) == expected
        assert order.requested_mwh == 1.0

    play("limit_while: {hot: {max_quantity_mwh: 0.5}}", story)


def test_limit_while_makes_nothing_larger() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, hot=41, mwh=0.3)
        assert [texts(one) for one in orders(rig)] == [("BUY", 0.3, "")]

    play("limit_while: {hot: {max_quantity_mwh: 0.5}}", story)


def test_a_verdict_of_a_value_that_has_run_out_since() -> None:
    """The record waited; when it comes to the guard, what was judged is stale, and so is the verdict."""

    async def story(rig: Rig) -> None:
        await wish(rig, fields={"temperature_c": about(rig, valid_until=rig.now + 10 * SECOND)})
        message = rig.out("buy")[0]
        await rig.advance("15min")
        await rig.emit("buy", message.payload, fields=message.fields, meta=message.meta)
        assert blocked(rig) == [("stopped", "hot is stale")]

    play("stop_while: [hot]", story)


# ---- a person -----------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, origin="manual")
        await wish(rig, fields={"temperature_c": about(rig, origin="manual")})
        assert orders(rig) == []
        assert blocked(rig) == [("manual", "a person typed soc_percent, temperature_c, price_eur_mwh, mwh")]
        assert [one.count for one in journal(rig).refusals()] == [2]

    async def allowed(rig: Rig) -> None:
        await wish(rig, origin="manual")
        assert (len(orders(rig)), blocked(rig)) == (1, [])

    play("stop_while: [hot]", story)
    play("stop_while: [hot], manual: block", story)
    play("stop_while: [hot], manual: allow", allowed)


def test_a_manual_value_that_took_the_place_of_a_measured_one() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", {"soc_percent": 20, "temperature_c": 25, "price_eur_mwh": 50, "mwh": 1},
                       meta={"overridden": {"temperature_c": [45]}})  # fmt: skip
        assert blocked(rig) == [("manual", "a person typed temperature_c")]

    play("", story)


# ---- the order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "record", "reason", "text"),
    [
        ("price: {min: -500, max: 4000}", {"price": 4000.01}, "price", "4000.01 EUR/MWh is outside of -500 to 4000"),
        ("price: {min: -500, max: 4000}", {"price": -500.5}, "price", "-500.5 EUR/MWh is outside of -500 to 4000"),
        ("price: {min: -500, max: 4000}", {"price": 4000}, "", ""),
        ("price: {min: -500, max: 4000}", {"price": -500}, "", ""),
        ("max_quantity_mwh: 1.0", {"mwh": 1.5}, "quantity", "1.5 MWh is more than 1"),
        ("max_quantity_mwh: 1.0", {"mwh": 1}, "", ""),
        ("max_value_eur: 100", {"mwh": 2, "price": 50.01}, "value", "100.02 EUR is more than 100"),
        ("max_value_eur: 100", {"mwh": 2, "price": -50.01}, "value", "100.02 EUR is more than 100"),
        ("max_value_eur: 100", {"mwh": 2, "price": 50}, "", ""),
        ("max_position_mwh: 1", {"mwh": 1.5}, "position",
         "the day's net position would be 1.5 MWh, at most ±1 is allowed"),
        ("max_position_mwh: 1", {"mwh": 1.5, "soc": 80}, "position",
         "the day's net position would be -1.5 MWh, at most ±1 is allowed"),
        (ENERGY, {"soc": 90, "mwh": 8}, "energy", "from 90 % it would end at 1.1 %, below 5 %"),
        (ENERGY, {"soc": 90, "mwh": 7.65}, "", ""),
        (ENERGY, {"soc": 49, "mwh": 6}, "energy", "from 49 % it would end at 103.0 %, above 95 %"),
        (ENERGY, {"soc": 49, "mwh": 5.1}, "", ""),
    ],
)  # fmt: skip
def test_limits_of_one_order(options: str, record: dict[str, Any], reason: str, text: str) -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, **record)
        assert blocked(rig) == ([(reason, text)] if reason else [])
        assert len(orders(rig)) == (not reason)

    play(options, story)


@pytest.mark.parametrize(
    ("options", "reason", "text"),
    [
        ("price: {min: 0, max: 1}", "price",
         "an order without a limit price cannot be held within the price range"),
        ("max_value_eur: 1000", "value", "the value of an order without a limit price is not known"),
    ],
)  # fmt: skip
def test_an_order_without_a_limit_price(options: str, reason: str, text: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", {"side": "SELL", "quantity_mwh": 1, "order_type": "MARKET"})
        assert blocked(rig) == [(reason, text)]

    async def free(rig: Rig) -> None:
        await rig.emit("meter", {"side": "SELL", "quantity_mwh": 1, "order_type": "MARKET"})
        (order,) = journal(rig).orders()
        assert (order.order_type, order.limit_price_eur_mwh) == ("MARKET", None)

    play(options, story, flow=DESK)
    play("", free, flow=DESK)


# ---- counted from the journal -------------------------------------------------------------------------------------


def test_blocked_leaves_once_for_a_rule_slot_and_reason_also_over_a_restart() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await wish(rig, mwh=2)
            await wish(rig, mwh=2.5)  # the same reason with another number
            await rig.restart()
        assert blocked(rig) == [("quantity", "2 MWh is more than 1")]
        (refused,) = journal(rig).refusals()
        assert (refused.rule, refused.side, refused.guard, refused.reason, refused.count) == (
            "buy", "BUY", "guard", "quantity", 6,
        )  # fmt: skip
        await wish(rig, soc=80, mwh=2)
        await rig.advance("15min")
        await wish(rig, mwh=2)
        assert [one["rule"] for one in rig.payloads("guard", "blocked")] == ["buy", "sell", "buy"]
        await wish(rig, mwh=1)
        await wish(rig, mwh=2)
        assert (len(orders(rig)), rig.dropped("guard")["repeat"]) == (1, 1), "what is decided is decided"

    play("max_quantity_mwh: 1", story)


def test_what_was_refused_may_be_ordered_later_in_the_same_slot() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, hot=41)
        await rig.advance("1min")
        await wish(rig, hot=39)
        assert len(orders(rig)) == 1

    play("stop_while: [hot]", story)


OTHER = FLOW.replace("flow: site", "flow: other").partition("  exchange:")[0]


@pytest.mark.parametrize(
    ("limit", "start", "text"),
    [
        ("per_slot: 1", "2025-01-25T02:09:59+01:00", "1 orders for this slot, at most 1 are allowed"),
        ("per_slot: 1", "2025-01-25T02:10:00+01:00", ""),
        ("per_slot: 2", "2025-01-25T02:09:59+01:00", ""),
        ("per_minute: 1", "2025-01-25T02:00:59.999+01:00", "1 orders in this minute, at most 1 are allowed"),
        ("per_minute: 1", "2025-01-25T02:01:00+01:00", ""),
        ("per_day: 1", "2025-01-25T23:59:59.999+01:00", "1 orders today, at most 1 are allowed"),
        ("per_day: 1", "2025-01-26T00:00:00+01:00", ""),
    ],
)
def test_orders_for_a_slot_in_a_minute_and_in_a_day(limit: str, start: str, text: str) -> None:
    """Counted over restarts and flows, for the market, whatever became of them."""
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await wish(rig)
        (order,) = orders(rig)
        await journal(rig).advance(order.id, "expired", rig.now)

    async def then(rig: Rig) -> None:
        await wish(rig, soc=80)
        assert blocked(rig) == ([("max-orders", text)] if text else [])
        assert len(orders(rig)) == (1 if text else 2)

    async def elsewhere(rig: Rig) -> None:
        await wish(rig, soc=80)
        assert blocked(rig) == []

    play("", first, flow=OTHER, store=store)
    play(f"max_orders: {{{limit}}}", then, store=store, start=start)
    play(f"max_orders: {{{limit}}}", elsewhere, flow=FLOW.replace("epex_at", "epex_de"), store=store, start=start)


def test_a_longer_slot_holds_the_orders_of_the_shorter_ones_in_it() -> None:
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await wish(rig)

    async def then(rig: Rig) -> None:
        await wish(rig)
        assert blocked(rig) == [("max-orders", "1 orders for this slot, at most 1 are allowed")]

    early = OTHER.replace("gate_closure: 5min", "gate_closure: 20min")
    play("", first, flow=early, store=store, start="2025-01-25T01:50:00+01:00")
    hourly = FLOW.replace("slot: 15min", "slot: 1h")
    play("max_orders: {per_slot: 1}", then, flow=hourly, store=store, start="2025-01-25T01:51:00+01:00")


def test_the_position_counts_what_was_ordered_for_the_day() -> None:
    async def story(rig: Rig) -> None:
        for soc, expected in ((20, "BUY"), (20, "BUY"), (20, ""), (80, "SELL"), (20, "BUY"), (20, "")):
            before = len(orders(rig))
            await wish(rig, soc=soc)
            assert [one.side for one in orders(rig)[before:]] == ([expected] if expected else [])
            await rig.restart()
            await rig.advance("15min")
        assert blocked(rig)[0] == ("position", "the day's net position would be 3 MWh, at most ±2 is allowed")
        await rig.advance("21h")
        await wish(rig)
        assert len(orders(rig)) == 5, "for another delivery day"

    play("max_position_mwh: 2", story)


def test_the_energy_counts_what_is_ordered_and_not_delivered_yet() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, soc=81, mwh=4)
        await rig.advance("10min")
        await wish(rig, soc=81, mwh=4)
        assert blocked(rig) == [
            ("energy", "from 81 %, with 4 MWh ordered and not delivered, it would end at -7.9 %, below 5 %")
        ]
        await rig.advance("16min")  # 02:26: 11 of its 15 minutes are delivered
        await wish(rig, soc=51, mwh=3.5)
        assert len(orders(rig)) == 1
        assert "with 1.06667 MWh ordered" in blocked(rig)[1][1]
        await rig.advance("4min")
        await wish(rig, soc=51, mwh=3.5)
        assert len(orders(rig)) == 2

    play(ENERGY, story)


def test_what_would_help_is_not_counted_on() -> None:
    """An order to sell may not be filled: it makes no room for one to buy."""

    async def story(rig: Rig) -> None:
        await wish(rig, soc=60, mwh=4)
        await rig.advance("10min")
        await wish(rig, soc=49, mwh=6)
        assert blocked(rig) == [("energy", "from 49 % it would end at 103.0 %, above 95 %")]

    play(ENERGY, story)


def test_no_opposite_order_for_the_same_time_however_long_the_slots() -> None:
    store = Store.open(None, inline=True)
    hourly = FLOW.replace("slot: 15min", "slot: 1h")

    async def first(rig: Rig) -> None:
        await wish(rig, soc=80)
        assert [one.id for one in orders(rig)] == ["epex_at-20250125T0200Z-SELL"]

    async def then(rig: Rig) -> None:
        await wish(rig, soc=20)
        assert blocked(rig) == [
            ("opposite-order", "epex_at-20250125T0200Z-SELL is for the other side of the same slot")
        ]

    play("", first, flow=hourly, store=store)
    play("", then, store=store, start="2025-01-25T03:30:00+01:00")


@pytest.mark.parametrize("state", ["unknown", "sending"])
def test_an_order_of_which_nobody_knows_blocks_its_market(state: str) -> None:
    """Also one that another flow left behind, of a flow that has another name now."""
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await wish(rig)
        (order,) = journal(rig).orders()
        await journal(rig).advance(order.id, "sending", rig.now, mode="live")
        if state == "unknown":
            await journal(rig).advance(order.id, "unknown", rig.now)

    async def then(rig: Rig) -> None:
        await rig.advance("30min")
        await wish(rig)
        assert blocked(rig) == [("market-blocked", "whether the exchange has epex_at-20250125T0115Z-BUY is not known")]

    async def elsewhere(rig: Rig) -> None:
        await wish(rig)
        assert blocked(rig) == []

    alone = FLOW.partition("  exchange:")[0]
    play("", first, flow=alone, store=store)
    play("", then, flow=alone.replace("flow: site", "flow: renamed"), store=store)
    play("", elsewhere, flow=alone.replace("epex_at", "epex_de"), store=store)


def test_no_order_leaves_when_the_journal_cannot_be_written(tmp_path: Path) -> None:
    store = Store.open(tmp_path, inline=True)

    async def story(rig: Rig) -> None:
        await store.submit(lambda sql: sql.execute("PRAGMA busy_timeout = 10") and None)
        by_hand = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        by_hand.execute("BEGIN IMMEDIATE")
        await wish(rig)
        assert (rig.out("guard"), rig.out("exchange"), orders(rig)) == ([], [], [])
        assert "database is locked" in rig.worker("guard").counters.last_error
        by_hand.close()
        await wish(rig)
        assert [one.state for one in orders(rig)] == ["paper"]

    play("", story, store=store)
