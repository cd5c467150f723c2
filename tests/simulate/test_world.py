"""The simulated world, seen by real clients: one battery behind registers, messages and its control."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.clock import ScaledClock
from flowrunner.errors import UsageError
from flowrunner.market import Market, Slot
from flowrunner.mqtt.address import parse_address
from flowrunner.mqtt.settings import Settings
from flowrunner.orders import Order
from flowrunner.simulate import Elsewhere, Places, World
from flowrunner.simulate.broker import Mosquitto as WorldMosquitto
from flowrunner.units import SECOND, Duration, iso
from tests.peers.mosquitto import Mosquitto
from tests.peers.until import until
from tests.simulate.living_world import KINDS, MARKET, NOON, VIENNA, broker, heard, http, living_world, registers

pytestmark = pytest.mark.anyio

MINUTE = 60 * SECOND
QUARTER = Slot(NOON + 15 * MINUTE, NOON + 30 * MINUTE)


def an_order(slot: Slot = QUARTER, **more: Any) -> dict[str, Any]:
    return {
        "market": "epex_at", "delivery_start": iso(slot.start), "delivery_end": iso(slot.end), "side": "SELL",
        "quantity_mwh": 1.0, "limit_price_eur_mwh": 0.0,
    } | more  # fmt: skip


async def place(world: World, **more: Any) -> Any:
    async with http(world, headers={"X-API-KEY": world.places.api_key}) as client:
        answer = await client.post("/orders", json=an_order(**more))
        assert answer.status_code == 200, answer.text
        return answer.json()


async def seen(world: World) -> Any:
    async with http(world) as client:
        return (await client.get("/world")).json()


def paper(name: str, slot: Slot = QUARTER, market: str = "epex_at") -> Order:
    return Order(
        id=name, market=market, delivery_start=slot.start, delivery_end=slot.end, side="BUY", quantity_mwh=0.5,
        requested_mwh=0.5, limited_by="", limit_price_eur_mwh=50.0, order_type="LIMIT", time_in_force="GFD",
        flow="bess", guard="guard", rule="buy", state="paper", mode="paper", created_at=NOON, updated_at=NOON,
        good_until=slot.start, open_mwh=0.5,
    )  # fmt: skip


# ---- one battery, three faces ----


@pytest.mark.parametrize("kind", KINDS)
async def test_registers_messages_and_control_agree(tmp_path: Path, kind: str) -> None:
    async with (
        living_world(tmp_path, ScaledClock(NOON, 60), soc_percent=75.5, broker=broker(tmp_path, kind)) as world,
        heard(world) as messages,
    ):
        await until(lambda: len(messages.get("bess/temperature", [])) > 1, "the sensor told its values twice")
        told = {topic: json.loads(payloads[-1]) for topic, payloads in messages.items()}
        assert await registers(world) == {"soc_percent": 75.5, "active_power_mw": 0.0, "temperature_c": 25.0}
        battery = (await seen(world))["battery"]
    assert {topic: (one["value"], one["unit"]) for topic, one in told.items()} == {
        "bess/soc": (75.5, "%"), "bess/power": (0.0, "MW"), "bess/temperature": (pytest.approx(25.0, abs=0.2), "°C"),
    }  # fmt: skip
    assert all(one["timestamp"].startswith("2026-03-04T11:0") for one in told.values())
    assert (battery["soc_percent"], battery["active_power_mw"]) == (75.5, 0.0)


async def test_another_battery_stands_there_at_once(tmp_path: Path) -> None:
    async with living_world(tmp_path) as world:
        world.device.advance()
        world.battery.hvac_failed = True
        world.place_battery(soc_percent=10, temperature_c=45)
        assert await registers(world) == {"soc_percent": 10.0, "active_power_mw": 0.0, "temperature_c": 45.0}
        assert (await seen(world))["faults"] == ["hvac"]


# ---- orders ----


async def test_an_accepted_order_moves_the_battery_in_its_slot_and_not_before(tmp_path: Path) -> None:
    async with living_world(tmp_path, ScaledClock(NOON, 1200), soc_percent=50) as world:
        answer = await place(world)
        (delivery,) = (await seen(world))["deliveries"]
        assert (delivery["order_id"], delivery["side"], delivery["quantity_mwh"]) == (answer["order_id"], "SELL", 1.0)
        assert (delivery["start"], delivery["end"]) == (iso(QUARTER.start), iso(QUARTER.end))
        await until(lambda: world.clock.now() > QUARTER.start - 5 * MINUTE, "shortly before")
        found = await registers(world)
        if world.clock.now() < QUARTER.start:
            assert (found["soc_percent"], found["active_power_mw"]) == (50.0, 0.0)
        await until(lambda: world.clock.now() > QUARTER.start + 5 * MINUTE, "in the middle of it")
        assert (await registers(world))["active_power_mw"] == 4.0
        await until(lambda: world.clock.now() > QUARTER.end, "its end")
        found = await registers(world)
    assert found["active_power_mw"] == 0.0
    assert found["soc_percent"] == pytest.approx(50 - 100 * 1.0 / 0.95 / 10, abs=0.02)


async def test_the_good_exchange_moves_the_battery_by_what_was_traded(tmp_path: Path) -> None:
    """The book holds 10 MWh within 2 EUR of the mark; what is not traded is not delivered."""
    async with living_world(tmp_path, character="good", price=lambda slot: 100.0) as world:
        await place(
            world, side="SELL", quantity_mwh=3.0, limit_price_eur_mwh=100.0, time_in_force="IOC", client_order_id="a"
        )
        await place(world, side="SELL", quantity_mwh=3.0, limit_price_eur_mwh=150.0, client_order_id="b")
        assert [one["quantity_mwh"] for one in (await seen(world))["deliveries"]] == [2.0]
        await place(world, side="BUY", quantity_mwh=3.0, limit_price_eur_mwh=101.0, client_order_id="c")
        assert sorted((one.side, one.quantity_mwh) for one in world.schedule.deliveries) == [
            ("BUY", 1.0), ("BUY", 2.0), ("SELL", 2.0),
        ]  # fmt: skip


async def test_paper_orders_are_followed_once(tmp_path: Path) -> None:
    async with living_world(tmp_path) as world:
        over = Slot(NOON - 30 * MINUTE, NOON - 15 * MINUTE)
        for _ in range(2):
            world.follow(paper("one"))
            world.follow(paper("elsewhere", market="epex_de"))
            world.follow(paper("over", over))
        assert [one.order_id for one in world.schedule.deliveries] == ["one"]
        assert (await seen(world))["deliveries"][0]["side"] == "BUY"


async def test_two_markets(tmp_path: Path) -> None:
    hour = Market(name="hours", slot_ns=Duration.parse("1h"), gate_closure_ns=Duration.parse("5min"))
    asked = []

    def price(slot: Slot) -> float:
        asked.append(slot.end - slot.start)
        return 50.0

    async with living_world(tmp_path, markets=[MARKET, hour], price=price) as world, http(world) as client:
        asked.clear()
        answer = await client.get("/market/prices", params={"market": "hours"})
        assert answer.json()["mark"] == 50.0
        assert set(asked) == {Duration.parse("1h")}


# ---- start and stop ----


@pytest.fixture
def taken() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def open_files() -> set[str]:
    found = set()
    for one in os.listdir("/proc/self/fd"):  # noqa: PTH208  (Path would follow what is closed meanwhile)
        try:
            found.add(f"{one} {Path(f'/proc/self/fd/{one}').readlink()}")
        except FileNotFoundError:  # the one that listed the others
            continue
    return found


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("kind", KINDS)
async def test_stop_leaves_nothing(tmp_path: Path, kind: str) -> None:
    async with living_world(tmp_path, broker=broker(tmp_path, kind)):  # what is made once only
        pass
    tasks, files, before = asyncio.all_tasks(), open_files(), children()
    made = broker(tmp_path, kind)
    async with living_world(tmp_path, ScaledClock(NOON, 60), broker=made) as world, heard(world) as messages:
        await registers(world)
        await seen(world)
        await until(lambda: bool(messages), "the sensor told something")
        assert len(open_files()) > len(files)
    await world.stop()
    assert asyncio.all_tasks() == tasks
    assert open_files() == files
    assert children() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["modbus", "mqtt", "exchange"])
async def test_a_port_that_is_taken(tmp_path: Path, what: str, kind: str, taken: int) -> None:
    tasks, files, before = asyncio.all_tasks(), open_files(), children()
    places = msgspec.structs.replace(Places(), **{f"{what}_port": taken})
    made = broker(tmp_path, kind, places.mqtt_port)
    world = World(ScaledClock(NOON, 1), tmp_path, places=places, markets=[MARKET], zone=VIENNA, broker=made)
    named = {"modbus": "battery", "mqtt": "broker", "exchange": "exchange"}[what]
    with pytest.raises(UsageError, match=f"simulated {named} cannot listen on 127.0.0.1:{taken}"):
        await world.start()
    assert (asyncio.all_tasks(), open_files(), children()) == (tasks, files, before)


async def test_places_beyond_loopback_are_named_as_this_machine_reaches_them(tmp_path: Path) -> None:
    places = Places(host="0.0.0.0", modbus_port=1, exchange_port=2, mqtt_host="::", mqtt_port=3)
    found = places.environment()
    assert (found["BESS_MODBUS_HOST"], found["EXCHANGE_URL"]) == ("127.0.0.1", "http://127.0.0.1:2")
    assert (found["BESS_MQTT_BROKER"], places.broker) == ("[::1]", "mqtt://[::1]:3")
    assert not places.is_loopback
    assert all(Places(host=host).is_loopback for host in ("127.0.0.1", "::1", "localhost"))


# ---- brokers ----


async def test_a_broker_that_dies_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = broker(tmp_path, "mosquitto")
    assert isinstance(made, WorldMosquitto)
    async with living_world(tmp_path, ScaledClock(NOON, 60), broker=made) as world, heard(world) as messages:
        await until(lambda: "bess/soc" in messages, "the sensor told something")
        first, port = made.pid, made.port
        assert first is not None
        messages.clear()
        os.kill(first, signal.SIGKILL)
        await until(lambda: bool(messages), "the sensor is heard again")
        assert made.port == port
        assert made.pid != first
    assert "mosquitto ended (exit code -9); it is started again" in caplog.messages


async def test_a_broker_that_is_there_already(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "theirs", users={"bess": "sesame"}) as theirs:
        settings = Settings(address=parse_address(theirs.url), username="bess", password="sesame")
        clock = ScaledClock(NOON, 60)
        async with living_world(tmp_path, clock, broker=Elsewhere(settings)) as world, heard(world) as messages:
            await until(lambda: "bess/soc" in messages, "the sensor told something")
            assert world.places.mqtt_port == theirs.port
        async with living_world(tmp_path, broker=Elsewhere(settings)):  # it was not ours to stop
            pass


async def test_a_given_broker_may_come_later(tmp_path: Path) -> None:
    theirs = Mosquitto(tmp_path / "theirs")
    settings = Settings(address=parse_address(theirs.url))
    async with living_world(tmp_path, ScaledClock(NOON, 60), broker=Elsewhere(settings)) as world:
        with theirs:
            async with heard(world) as messages:
                await until(lambda: "bess/soc" in messages, "the sensor told something")
