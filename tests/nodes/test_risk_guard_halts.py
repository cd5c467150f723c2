"""When the guard makes no order at all, and what becomes of one that waits to be sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowrunner.message import FieldInfo
from flowrunner.orders import Order
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from tests.orders.guarded import FLOW, MINUTE, QUARTER, blocked, journal, orders, play, slot, wish

ALONE = FLOW.partition("  exchange:")[0]
"""Nobody takes the orders: they wait."""
LIVE = FLOW.replace("send: orders, ", "send: orders, mode: live, ")
HOT = "stop_while: [hot]"


def waiting(rig: Rig) -> Order:
    (order,) = orders(rig)
    return order


# ---- stopped ------------------------------------------------------------------------------------------------------


def test_no_order_while_trading_is_stopped() -> None:
    async def story(rig: Rig) -> None:
        trading = rig.engine.trading
        trading.switch.stop(by="me", reason="maintenance", now=rig.now)
        await wish(rig)
        await wish(rig)
        said = "trading is stopped since 2025-01-25T01:00:00.000Z by me: maintenance"
        assert (orders(rig), blocked(rig)) == ([], [("trading-stopped", said)])
        await rig.advance("15min")
        await wish(rig)
        assert blocked(rig)[1:] == [("trading-stopped", said)], "and once for each slot"
        await trading.resume(by="me", reason="", now=rig.now)
        await wish(rig)
        assert len(orders(rig)) == 1

    play("", story)


@pytest.mark.parametrize("content", ["", "{}", "whatever", '{"by": 7}', '{"by": "me", "at": "yesterday"}'])
def test_a_file_of_that_name_stops_whatever_it_holds(tmp_path: Path, content: str) -> None:
    store = Store.open(tmp_path, inline=True)

    async def story(rig: Rig) -> None:
        (tmp_path / "STOP-TRADING").write_text(content)
        await wish(rig)
        assert [reason for reason, _ in blocked(rig)] == ["trading-stopped"]
        await rig.restart()
        await rig.advance("15min")
        await wish(rig)
        assert orders(rig) == [], "it survives a restart"
        (tmp_path / "STOP-TRADING").unlink()
        await wish(rig)
        assert len(orders(rig)) == 1

    play("", story, store=store)


def test_what_cannot_be_looked_at_stops(tmp_path: Path) -> None:
    store = Store.open(tmp_path, inline=True)

    async def story(rig: Rig) -> None:
        (tmp_path / "STOP-TRADING").mkdir()
        await wish(rig)
        ((reason, text),) = blocked(rig)
        assert reason == "trading-stopped"
        assert "cannot be read: Is a directory" in text

    play("", story, store=store)


def test_the_order_that_waits_is_withdrawn_when_trading_is_stopped() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig)
        rig.engine.trading.switch.stop(by="me", reason="", now=rig.now)
        assert waiting(rig).state == "intent"
        await wish(rig)
        assert waiting(rig).state == "expired"
        assert waiting(rig).reason.startswith("withdrawn before it was sent: trading is stopped")

    play("", story, flow=ALONE)


# ---- a clock that was set back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("back", "orders_made"), [("01:09:56", 2), ("01:09:54", 1), ("00:30:00", 1)])
def test_a_clock_behind_the_journal(back: str, orders_made: int) -> None:
    """Five seconds are within what clocks are moved in passing; more stops until the time has come again."""
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await wish(rig)
        assert len(orders(rig)) == 1

    async def after(rig: Rig) -> None:
        await wish(rig, soc=20)
        assert len(orders(rig)) == orders_made
        if orders_made == 1:
            ((reason, text),) = blocked(rig)
            assert reason == "clock-set-back"
            known, now = "2025-01-25T01:10:00.000Z", f"2025-01-25T{back}.000Z"
            assert text.startswith(f"the clock was set back: the journal knows {known} already, now it is {now}")

    play("", before, store=store, start="2025-01-25T01:10:00Z")
    play("", after, store=store, start=f"2025-01-25T{back}Z")


def test_it_goes_on_when_the_time_has_come_again_or_a_person_says_so() -> None:
    async def before(rig: Rig) -> None:
        await wish(rig)

    async def caught_up(rig: Rig) -> None:
        await wish(rig)
        assert len(orders(rig)) == 1
        await rig.advance("55min")
        await wish(rig)
        assert len(orders(rig)) == 1, "still five minutes behind; and its own identity is taken"
        await rig.advance("20min")
        await wish(rig)
        assert len(orders(rig)) == 2

    async def settled(rig: Rig) -> None:
        await rig.engine.trading.resume(by="me", reason="that was a wrong clock", now=rig.now)
        await wish(rig)
        assert len(orders(rig)) == 2

    for after in (caught_up, settled):
        store = Store.open(None, inline=True)
        play("", before, store=store, start="2025-01-25T01:00:00Z")
        play("", after, store=store, start="2025-01-25T00:00:00Z")


# ---- an order that waits ------------------------------------------------------------------------------------------


def test_it_is_good_until_its_gate_or_until_its_values_are_too_old() -> None:
    async def story(rig: Rig) -> None:
        await wish(rig, at=rig.now - 30 * 10**9)
        assert waiting(rig).good_until == rig.now + 60 * 10**9
        await rig.advance("50s")
        await wish(rig, at=rig.now - 10**9)
        assert waiting(rig).good_until == rig.now + 89 * 10**9, "judged again by what is newer"
        await rig.advance("8min")
        await wish(rig)
        assert waiting(rig).good_until == slot(rig).start - 5 * MINUTE, "never beyond the gate"
        await rig.advance("15min")
        assert len(orders(rig)) == 1

    play("max_age: {meter: 90s}", story, flow=ALONE)


@pytest.mark.parametrize(
    ("options", "change", "reason"),
    [
        (HOT, {"hot": 41}, "hot is above"),
        ("price: {min: -100, max: 100}", {"price": 101}, "101 EUR/MWh is outside of -100 to 100"),
        ("max_quantity_mwh: 1", {"mwh": 2}, "2 MWh is more than 1"),
        ("", {"price": 40}, "its rule wishes limit_price_eur_mwh 40.0 now, not 50.0"),
        ("", {"mwh": 0.5}, "0.5 MWh would be ordered now, not 1 MWh"),
        ("energy: {capacity_mwh: 10, max_soc: 40}", {"soc": 35}, "from 35 % it would end at 45.0 %, above 40 %"),
    ],
)
def test_it_is_withdrawn_when_it_would_be_refused_now(options: str, change: dict[str, float], reason: str) -> None:
    async def story(rig: Rig) -> None:
        await wish(rig)
        await rig.advance("1s")
        await wish(rig)
        assert (waiting(rig).state, blocked(rig)) == ("intent", []), "a repeat that is as good changes nothing"
        await wish(rig, **change)
        assert (waiting(rig).state, waiting(rig).reason) == ("expired", f"withdrawn before it was sent: {reason}")
        assert [text for _, text in blocked(rig)] == [reason]
        await wish(rig)
        assert waiting(rig).state == "expired", "an identity is decided once"

    play(options, story, flow=ALONE)


@pytest.mark.parametrize(("hot", "state"), [(25, "intent"), (41, "expired")])
def test_another_rule_that_would_be_refused_withdraws_it_only_for_what_stops_all(hot: float, state: str) -> None:
    second = ALONE.replace("from: [buy, sell]", "from: [buy, dear]").replace(
        "  guard:", "  dear:\n    type: rule\n    from: hot\n    when: soc_percent > 50\n"
        "    then: {side: BUY, quantity_mwh: 0.5, limit_price_eur_mwh: 5000}\n  guard:",
    )  # fmt: skip

    async def story(rig: Rig) -> None:
        await wish(rig)
        await wish(rig, soc=80, hot=hot)
        assert (waiting(rig).rule, waiting(rig).state) == ("buy", state)

    play(f"{HOT}, price: {{min: -500, max: 4000}}", story, flow=second)


def test_it_does_not_stand_in_its_own_way() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await wish(rig, soc=20)
        assert (waiting(rig).state, blocked(rig)) == ("intent", [])

    limits = "max_orders: {per_slot: 1, per_minute: 1, per_day: 1}, max_position_mwh: 1"
    play(f"{limits}, energy: {{capacity_mwh: 10, max_soc: 35}}", story, flow=ALONE)


def test_the_age_of_a_verdict_bounds_it_too() -> None:
    """The value that was judged has been left out on the way."""
    text = ALONE.replace(
        "  buy:\n", "  some: {type: select, from: hot, fields: [hot, soc_percent, price_eur_mwh, mwh]}\n  buy:\n"
    ).replace("from: hot\n    when", "from: some\n    when")  # fmt: skip

    async def story(rig: Rig) -> None:
        ages = dict.fromkeys(("soc_percent", "price_eur_mwh", "mwh"), 10**9) | {"temperature_c": 85 * 10**9}
        fields = {
            name: FieldInfo(at=rig.now - age, received_at=rig.now - age, source="meter") for name, age in ages.items()
        }
        await wish(rig, fields=fields)
        assert waiting(rig).good_until == rig.now + 5 * 10**9

    play(f"{HOT}, max_age: {{meter: 90s}}", story, flow=text)


def test_a_paper_order_keeps_its_slot() -> None:
    store = Store.open(None, inline=True)
    needs = "price: {min: -500, max: 4000}, max_quantity_mwh: 5, energy: {capacity_mwh: 100}, max_age: {meter: 90s}"

    async def paper(rig: Rig) -> None:
        await wish(rig)
        assert waiting(rig).mode == "paper"

    async def really(rig: Rig) -> None:
        await wish(rig)
        assert (waiting(rig).mode, [reason for reason, _ in blocked(rig)]) == ("paper", ["paper-order"])

    play(needs, paper, store=store)
    run_flow(LIVE.replace("OPTIONS", needs), really, stubs=["meter", "exchange"], store=store)


# ---- paper and live -----------------------------------------------------------------------------------------------


def test_who_reads_from_the_guard_says_what_its_orders_are() -> None:
    needs = "price: {min: -500, max: 4000}, max_quantity_mwh: 5, energy: {capacity_mwh: 100}, max_age: {meter: 90s}"
    store = Store.open(None, inline=True)

    async def paper(rig: Rig) -> None:
        await wish(rig)
        assert waiting(rig).mode == "paper"

    async def really(rig: Rig) -> None:
        assert rig.engine.trading.switch.stopped is None, "a stub sends nothing"
        await wish(rig)
        (order, _) = orders(rig)[::-1]
        assert (order.mode, order.state) == ("live", "intent")
        assert journal(rig).never_live()

    play(f"{needs}, max_orders: {{per_day: 1}}", paper, store=store)
    run_flow(LIVE.replace("OPTIONS", f"{needs}, max_orders: {{per_day: 1}}"), really, stubs=["meter", "exchange"],
             store=store, start=f"2025-01-25T02:{QUARTER // MINUTE}:00+01:00")  # fmt: skip
