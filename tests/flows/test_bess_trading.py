"""The battery's flow trades in virtual time: what its own tests, flows/bess.test.yaml, cannot say: registers as
they are on the wire, a retained message, other names, the story of an order, prices of foreign slots."""

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
from flowrunner.units import iso

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


# ---- faults: zero orders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(0xFFFF, 0, 250), (2000, 0, 0x8000), (2000, 0x8000, 250), (0xFFFF, 0x8000, 0x8000)])
def test_registers_that_mean_no_value(words: tuple[int, int, int]) -> None:
    async def story(rig: Rig) -> None:
        await price(rig, 50)
        await registers(rig, *words)
        assert orders(rig) == []
        await registers(rig, 2000, 0, 250)
        assert len(orders(rig)) == 1

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


# ---- restarts, reloads, names -------------------------------------------------------------------------------------


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
        for place in (f"[{was}, ", f"from: {was}\n", f"from: {was}, ", f" {was}]", f" {was}.", f", {was},"):
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
