"""The battery's flow trades in virtual time: the scenarios that must hold, their edges, and what must never trade."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.market import Slot
from flowrunner.message import JSON, FieldInfo, Instant
from flowrunner.modbus import decode
from flowrunner.orders import Journal, Order
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import Duration, iso

BESS = (Path(__file__).resolve().parents[2] / "flows" / "bess.yaml").read_text(encoding="utf-8")
EVERYTHING = {"BESS_MODBUS_ENABLED": "true", "BESS_MQTT_ENABLED": "true"}
PEERS = ["modbus", "mqtt", "price", "mirror"]
SECOND = 10**9
QUARTER = 900 * SECOND


def play(story: Any, *, text: str = BESS, stubs: list[str] = PEERS, **run: Any) -> Any:
    return run_flow(text, story, environment=EVERYTHING, stubs=stubs, **run)


def slot(rig: Rig) -> Slot:
    """The delivery slot of an order made now."""
    market = rig.engine.graph.nodes["bess/price"].market
    assert market is not None
    return market.delivery(rig.now)


async def price(rig: Rig, eur: float | None, own: Slot | None = None, fetched: Instant | None = None) -> None:
    """The price node speaks: a price for the slot of an order made now unless told; None: it has none."""
    own, at = own or slot(rig), rig.now if fetched is None else fetched
    info = FieldInfo(
        at=at, received_at=at, source="price", unit="EUR/MWh", valid_from=own.start, valid_until=own.end,
        quality="bad" if eur is None else "good",
    )  # fmt: skip
    await rig.emit("price", {} if eur is None else {"price_eur_mwh": eur}, fields={"price_eur_mwh": info})


async def battery(rig: Rig, soc: float, temperature: float = 25.0, power: float = 0.0) -> None:
    """Telemetry by REST."""
    body = {"soc_percent": soc, "active_power_mw": power, "temperature_c": temperature}
    answer = await rig.request("POST", "/api/bess/telemetry", msgspec.json.encode(body))
    assert answer.status == 200


async def registers(rig: Rig, *words: int) -> None:
    """A poll of registers 0 to 2, decoded as the flow's own register map says."""
    known = rig.worker("modbus").node.options.registers
    readings = {name: decode(one, [word & 0xFFFF]) for (name, one), word in zip(known.items(), words, strict=True)}
    infos = {
        name: FieldInfo(at=rig.now, received_at=rig.now, source="modbus", quality=one.quality)
        for name, one in readings.items()
    }
    payload = {name: one.value for name, one in readings.items() if one.quality == "good"}
    await rig.emit("modbus", payload, fields=infos)


def journal(rig: Rig) -> Journal:
    return rig.worker("guard").ctx.journal


def orders(rig: Rig) -> list[Order]:
    """Oldest first."""
    return journal(rig).orders()[::-1]


def seen(rig: Rig) -> list[tuple[str, float, float | None, str]]:
    """Side, MWh, EUR/MWh and delivery of every order in the journal, oldest first."""
    return [
        (one.side, one.quantity_mwh, one.limit_price_eur_mwh, iso(one.delivery_start)[11:16]) for one in orders(rig)
    ]


def blocked(rig: Rig) -> list[tuple[str, str]]:
    """Reason and text of what left by the guard's port, in order."""
    return [(one["reason"], one["text"]) for one in rig.payloads("guard", "blocked")]


def reasons(rig: Rig) -> list[str]:
    return [reason for reason, _ in blocked(rig)]


# ---- S1 and S2 ----------------------------------------------------------------------------------------------------


def test_s1_empty_and_cheap_in_the_night_full_and_dear_in_the_evening() -> None:
    async def night(rig: Rig) -> None:
        await price(rig, 50)
        for _ in range(10):
            await battery(rig, 20)
            await rig.advance("30s")
        assert seen(rig) == [("BUY", 1.0, 50.0, "01:15")], "02:15 in Vienna"
        (order,) = orders(rig)
        assert (order.id, order.state, order.mode) == ("epex_at-20250125T0115Z-BUY", "paper", "paper")
        assert [one["order"] for one in rig.payloads("exchange")] == [order.id]
        assert rig.dropped("guard")["repeat"] >= 9
        assert blocked(rig) == []

    async def evening(rig: Rig) -> None:
        await price(rig, 150)
        for _ in range(10):
            await battery(rig, 80)
            await rig.advance("30s")
        assert seen(rig) == [("SELL", 1.0, 150.0, "17:15")]

    play(night, start="2025-01-25T02:00:00+01:00")
    play(evening, start="2025-01-25T18:00:00+01:00")


def test_s2_in_paper() -> None:
    async def noon(rig: Rig) -> None:
        await price(rig, 200)
        await battery(rig, 90)
        assert seen(rig) == [("SELL", 1.0, 200.0, "11:15")]

    async def late(rig: Rig) -> None:
        await price(rig, 30)
        await battery(rig, 10)
        assert seen(rig) == [("BUY", 1.0, 30.0, "22:15")]

    play(noon, start="2025-01-25T12:00:00+01:00")
    play(late, start="2025-01-25T23:00:00+01:00")


def test_each_slot_has_its_own_order() -> None:
    async def story(rig: Rig) -> None:
        for _ in range(60):
            await price(rig, 50)
            await battery(rig, 20)
            await rig.advance("30s")
        assert [delivery for *_, delivery in seen(rig)] == ["01:15", "01:30", "01:45"]

    play(story)


@pytest.mark.parametrize(
    ("soc", "eur", "expected"),
    [
        (30.0, 50, []), (29.9, 50, ["BUY"]), (70.0, 150, []), (70.1, 150, ["SELL"]),
        (20, 60, ["BUY"]), (20, 60.01, []), (80, 120, ["SELL"]), (80, 119.99, []),
        (20, 0.0, ["BUY"]), (20, -45.5, ["BUY"]), (20, 150, []), (80, 50, []), (50, 0.0, []), (50, 500, []),
    ],
)  # fmt: skip
def test_edges_of_the_rules(soc: float, eur: float, expected: list[str]) -> None:
    async def story(rig: Rig) -> None:
        await price(rig, eur)
        await battery(rig, soc)
        assert [(one.side, one.limit_price_eur_mwh) for one in orders(rig)] == [(side, eur) for side in expected]
        assert blocked(rig) == []

    play(story)


# ---- S3: heat and power -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "trades"), [(40.0, True), (40.1, False), (45.0, False)])
@pytest.mark.parametrize(("soc", "eur"), [(20, 50), (80, 150)])
def test_no_order_above_40_degrees(temperature: float, trades: bool, soc: float, eur: float) -> None:
    async def story(rig: Rig) -> None:
        await price(rig, eur)
        await battery(rig, soc, temperature)
        assert len(orders(rig)) == trades
        assert reasons(rig) == ([] if trades else ["stopped"])
        if not trades:
            assert blocked(rig)[0][1].endswith("overheated is above")

    play(story)


@pytest.mark.parametrize(
    ("power", "quantity", "by"),
    [(5.0, 1.0, ""), (-5.0, 1.0, ""), (5.1, 0.5, "power-limit"), (5.2, 0.5, "power-limit"), (-5.2, 0.5, "power-limit")],
)
def test_power_beyond_5_mw_makes_the_order_smaller_and_says_so(power: float, quantity: float, by: str) -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await battery(rig, 20, power=power)
        (order,) = orders(rig)
        assert (order.quantity_mwh, order.requested_mwh, order.limited_by) == (quantity, 1.0, by)
        (told,) = rig.payloads("exchange")
        assert (told["quantity_mwh"], told["requested_mwh"], told["limited_by"]) == (quantity, 1.0, by)

    play(story)


def test_s3_hot_until_below_38_for_5_minutes_whatever_else_happens() -> None:
    async def story(rig: Rig) -> None:
        await rig.enter("manual", {"temperature_c": 25})
        for degrees in [450] * 4 + [399] * 4 + [380] * 12 + [379] * 10:
            await price(rig, 50)
            await registers(rig, 2000, 0, degrees)
            await rig.advance("30s")
        assert orders(rig) == []
        assert reasons(rig) == ["stopped"] * 2, "once for each slot, although it was asked for every 30 s"
        assert sum(one.count for one in journal(rig).refusals()) >= 30
        await price(rig, 50)
        await registers(rig, 2000, 0, 379)
        assert len(orders(rig)) == 1

    play(story)


def test_s3_a_source_of_prices_that_is_away_does_not_unlock() -> None:
    async def story(rig: Rig) -> None:
        await battery(rig, 20, 45)
        for _ in range(20):
            await rig.advance("30s")
            await battery(rig, 20, 45)
        assert orders(rig) == []
        await price(rig, 50)
        await battery(rig, 20, 39)
        assert (orders(rig), reasons(rig)) == ([], ["stopped"]), "it was hot, and is not below 38"

    play(story)


def test_a_gap_of_the_sensor_is_no_time_below_38() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await registers(rig, 2000, 0, 450)
        for _ in range(9):
            await rig.advance("30s")
            await registers(rig, 2000, 0, 370)
        await rig.advance("100s")
        for _ in range(10):
            await price(rig, 50)
            await registers(rig, 2000, 0, 370)
            assert orders(rig) == []
            await rig.advance("30s")
        await registers(rig, 2000, 0, 370)
        assert len(orders(rig)) == 1

    play(story)


# ---- faults: zero orders ------------------------------------------------------------------------------------------


def test_only_the_state_of_charge_is_known() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await rig.request("POST", "/api/bess/telemetry", b'{"soc_percent": 20}')
        assert orders(rig) == []
        assert rig.out("state") == []
        assert rig.dropped("state")["incomplete"] == 2

    play(story)


@pytest.mark.parametrize("missing", ["never", "gone"])
def test_the_price_is_missing(missing: str) -> None:
    async def story(rig: Rig) -> None:
        if missing == "gone":
            await price(rig, 50)
            await price(rig, None)
        await battery(rig, 20)
        assert (orders(rig), blocked(rig)) == ([], [])
        assert rig.out("state") == []

    play(story)


def test_telemetry_older_than_its_limit() -> None:
    async def story(rig: Rig) -> None:
        await battery(rig, 20)
        await rig.advance("90s")
        await price(rig, 50)
        assert orders(rig) == []
        assert "soc_percent is stale" in rig.worker("buy").counters.last_error
        await battery(rig, 20)
        assert len(orders(rig)) == 1

    play(story)


def test_one_stale_value_among_fresh_ones_that_the_rule_does_not_even_mention() -> None:
    async def story(rig: Rig) -> None:
        await battery(rig, 20)
        await rig.advance("89s")
        await rig.request("POST", "/api/bess/telemetry", b'{"soc_percent": 20, "active_power_mw": 0}')
        await rig.advance("1s")
        await price(rig, 50)
        assert orders(rig) == []
        assert reasons(rig) == ["stopped"]
        assert "overheated is unknown" in blocked(rig)[0][1]

    play(story)


@pytest.mark.parametrize("words", [(0xFFFF, 0, 250), (2000, 0, 0x8000), (2000, 0x8000, 250), (0xFFFF, 0x8000, 0x8000)])
def test_registers_that_mean_no_value(words: tuple[int, int, int]) -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await registers(rig, *words)
        assert orders(rig) == []
        await registers(rig, 2000, 0, 250)
        assert len(orders(rig)) == 1

    play(story)


def test_a_sentinel_takes_back_the_good_value_that_was_there() -> None:
    async def story(rig: Rig) -> None:
        await registers(rig, 2000, 0, 250)
        await registers(rig, 2000, 0, 0x8000)
        await price(rig, 50)
        assert orders(rig) == []

    play(story)


def test_a_retained_message_after_a_restart_does_not_trade() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await rig.restart()
        for field, value in (("soc_percent", 20), ("active_power_mw", 0), ("temperature_c", 25)):
            await rig.emit("mqtt", {field: value}, quality="uncertain")
        assert orders(rig) == []
        for field, value in (("soc_percent", 20), ("active_power_mw", 0), ("temperature_c", 25)):
            await rig.emit("mqtt", {field: value}, at=rig.now - 3600 * SECOND)
        assert orders(rig) == [], "accepted, but an hour old"
        for field, value in (("soc_percent", 20), ("active_power_mw", 0), ("temperature_c", 25)):
            await rig.emit("mqtt", {field: value})
        assert len(orders(rig)) == 1

    play(story)


@pytest.mark.parametrize("ahead", ["6s", "1h"])
def test_a_time_in_the_future_does_not_trade(ahead: str) -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        at = rig.now + Duration.parse(ahead)
        await rig.emit("mqtt", {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 25}, at=at)
        assert orders(rig) == []
        await rig.advance("10s")
        assert orders(rig) == [], "it is not believed when its time has come either"

    play(story)


def test_what_a_person_typed_does_not_trade() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await rig.enter("manual", {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 25})
        assert (orders(rig), reasons(rig)) == ([], ["manual"])
        assert blocked(rig)[0][1].endswith(": a person typed soc_percent, active_power_mw, temperature_c")
        await battery(rig, 20)
        assert len(orders(rig)) == 1

    play(story)


def test_a_person_typed_25_while_the_sensor_says_45() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await registers(rig, 2000, 0, 450)
        await rig.enter("manual", {"temperature_c": 25})
        await registers(rig, 2000, 0, 450)
        await rig.advance("91s")  # the sensor falls silent, the person's value is what there is
        await rig.enter("manual", {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 25})
        assert orders(rig) == []
        assert set(reasons(rig)) <= {"stopped", "manual"}

    play(story)


# ---- restarts, reloads, names -------------------------------------------------------------------------------------


def test_a_restart_in_the_same_slot_makes_no_second_order() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await battery(rig, 20)
        for _ in range(3):
            await rig.restart()
            await price(rig, 50)
            await battery(rig, 20)
        assert len(orders(rig)) == len(rig.out("exchange")) == 1
        assert orders(rig)[0].state == "paper"

    play(story)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("flow: bess", "flow: battery"),
        ("  guard:  ", "  watch:  "),
        ("  buy:  ", "  purchase:  "),
        ("  exchange:\n", "  market:\n"),
    ],
    ids=["flow", "guard", "rule", "exchange"],
)
def test_other_names_make_no_second_order(old: str, new: str) -> None:
    """The identity is market, slot and side."""
    renamed = BESS.replace(old, new)
    assert renamed != BESS
    name, was = (new.strip(" :\n"), old.strip(" :\n"))
    if was in ("guard", "buy", "exchange"):
        for place in (f"[{was}, ", f"from: {was}\n", f" {was}]", f" {was}.", f", {was},"):
            renamed = renamed.replace(place, place.replace(was, name))
    flow, guard = ("battery" if was == "flow: bess" else "bess"), ("watch" if was == "guard" else "guard")
    store = Store.open(None, inline=True)

    async def before(rig: Rig) -> None:
        await price(rig, 50)
        await battery(rig, 20)
        assert len(orders(rig)) == 1

    async def after(rig: Rig) -> None:
        own = rig.engine.graph.nodes[f"{flow}/price"].market
        assert own is not None
        await price(rig, 50, own.delivery(rig.now))
        await battery(rig, 20)
        assert len(Journal(store).orders()) == 1
        assert rig.dropped(guard)["repeat"] >= 1
        assert rig.payloads(guard, "blocked") == []

    play(before, store=store)
    play(after, text=renamed, store=store, start="2025-01-25T02:01:00+01:00")


def test_the_other_side_of_the_same_slot_is_refused() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await battery(rig, 20)
        await price(rig, 150)
        await battery(rig, 80)
        assert [one.side for one in orders(rig)] == ["BUY"]
        assert reasons(rig) == ["opposite-order"]
        assert "epex_at-20250125T0115Z-BUY is for the other side" in blocked(rig)[0][1]

    play(story)


def test_every_order_has_its_story() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await registers(rig, 2000, 5200, 250)
        await rig.advance("10s")
        found: tuple[Order, list[dict[str, JSON]]] | None = journal(rig).story("epex_at-20250125T0115Z-BUY")
        assert found is not None
        _, steps = found
        assert [one["state"] for one in steps] == ["intent", "paper"]
        decision = steps[0]["detail"]
        assert [(one["text"], one["outcome"]) for one in decision["clauses"]] == [
            ("soc_percent < 30", True), ("price_eur_mwh <= cheap", True),
        ]  # fmt: skip
        assert decision["verdicts"] == {"overheated": "clear", "power-limit": "above"}
        inputs = decision["inputs"]
        assert set(inputs) == {"soc_percent", "active_power_mw", "temperature_c", "price_eur_mwh"}
        assert {name: (one["value"], one["unit"], one["age_s"]) for name, one in inputs.items()} == {
            "soc_percent": (20.0, "%", 0), "active_power_mw": (5.2, "MW", 0), "temperature_c": (25.0, "°C", 0),
            "price_eur_mwh": (50, "EUR/MWh", 0),
        }  # fmt: skip
        assert {one["source"] for one in inputs.values()} == {"modbus", "price"}
        assert decision["flow_digest"] == rig.worker("guard").ctx.flow_digest != ""
        assert decision["lineage"].startswith("modbus@")
        assert decision["lineage"].endswith("> state > buy")

    play(story)


# ---- slots --------------------------------------------------------------------------------------------------------


def test_the_gate_closes_on_the_second() -> None:
    async def story(rig: Rig) -> None:
        await rig.advance("599s")
        await rig.advance("999ms")  # 02:09:59.999
        await price(rig, 50)
        await battery(rig, 20)
        assert [delivery for *_, delivery in seen(rig)] == ["01:15"]
        await rig.advance("1ms")  # 02:10:00: the gate of 02:15 has closed
        await battery(rig, 20)
        assert len(orders(rig)) == 1, "the price is for another slot"
        await price(rig, 50)
        assert [delivery for *_, delivery in seen(rig)] == ["01:15", "01:30"]

    play(story)


def test_a_price_for_another_slot_is_not_traded_on() -> None:
    async def story(rig: Rig) -> None:
        own = slot(rig)
        await price(rig, 50, Slot(own.start - QUARTER, own.end - QUARTER))  # of the slot that runs now
        await battery(rig, 20)
        assert (orders(rig), reasons(rig)) == ([], ["price-slot-mismatch"])
        text = blocked(rig)[0][1]
        assert "price_eur_mwh is for 2025-01-25T01:00:00.000Z/2025-01-25T01:15:00.000Z" in text
        assert "2025-01-25T01:15:00.000Z/2025-01-25T01:30:00.000Z" in text
        await price(rig, 50, Slot(own.start + QUARTER, own.end + QUARTER))
        assert orders(rig) == []
        await price(rig, 50, Slot(own.start, own.end - 1))
        assert orders(rig) == [], "it must be for the whole slot"
        await price(rig, 50)
        assert len(orders(rig)) == 1

    play(story)


def test_an_hour_has_one_price_for_its_four_quarters() -> None:
    async def story(rig: Rig) -> None:
        hour = Slot(slot(rig).start - QUARTER, slot(rig).start + 3 * QUARTER)
        for _ in range(4):
            await price(rig, 50, hour)
            await battery(rig, 20)
            await rig.advance("15min")
        assert [delivery for *_, delivery in seen(rig)] == ["01:15", "01:30", "01:45"]

    play(story)


def test_a_price_that_was_fetched_too_long_ago() -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50, fetched=rig.now - 601 * SECOND)
        await battery(rig, 20)
        assert (orders(rig), reasons(rig)) == ([], ["stale"])
        assert blocked(rig)[0][1].endswith("price_eur_mwh is 601.0 s old, from price; at most 10min is allowed")
        await price(rig, 50, fetched=rig.now - 600 * SECOND)
        assert len(orders(rig)) == 1

    play(story)


@pytest.mark.parametrize(
    ("start", "deliveries"),
    [
        # the hour from 2 to 3 does not exist: 01:45 is followed by 03:00
        ("2026-03-29T01:35:00+01:00", ["00:45", "01:00", "01:15"]),
        # the hour from 2 to 3 comes twice, an hour apart in UTC
        ("2026-10-25T02:35:00+02:00", ["00:45", "01:00", "01:15"]),
        ("2026-10-25T02:35:00+01:00", ["01:45", "02:00", "02:15"]),
    ],
)
def test_days_on_which_the_clocks_change(start: str, deliveries: list[str]) -> None:
    async def story(rig: Rig) -> None:
        for _ in range(3):
            await price(rig, 50)
            await battery(rig, 20)
            await rig.advance("15min")
        assert [delivery for *_, delivery in seen(rig)] == deliveries

    play(story, start=start)


def test_48_orders_a_day_counted_by_the_local_day() -> None:
    """And from the journal: a restart gives no new ones."""

    async def story(rig: Rig) -> None:
        await rig.advance("30s")
        for count in range(50):
            await price(rig, 150 if count % 2 else 50)
            await battery(rig, 80 if count % 2 else 20)
            await rig.advance("15min")
        assert len(orders(rig)) == 48
        assert set(reasons(rig)) == {"max-orders"}
        assert "48 orders today, at most 48 are allowed" in blocked(rig)[-1][1]
        await rig.restart()
        await price(rig, 50)
        await battery(rig, 20)
        assert len(orders(rig)) == 48
        await rig.advance("11h")
        await rig.advance("15min")
        await price(rig, 50)
        await battery(rig, 20)
        assert len(orders(rig)) == 49, "a new day"

    play(story, start="2025-01-25T00:15:00+01:00")
