"""Modbus, MQTT and REST at once, and by hand: one merged record, each field with where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.living import living, publish
from tests.peers.modbus_server import ModbusServer
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto

pytestmark = pytest.mark.anyio


def environment(device: ModbusServer | None = None, broker: Mosquitto | None = None) -> dict[str, str]:
    """What the first user sets."""
    found: dict[str, str] = {}
    if device is not None:
        found |= {"BESS_MODBUS_ENABLED": "true", "BESS_MODBUS_HOST": "127.0.0.1", "BESS_MODBUS_PORT": str(device.port)}
    if broker is not None:
        found |= {"BESS_MQTT_ENABLED": "true", "BESS_MQTT_BROKER": "127.0.0.1", "BESS_MQTT_PORT": str(broker.port)}
    return found


async def test_each_field_comes_from_the_best_source(tmp_path: Path) -> None:
    async with ModbusServer() as device:
        device.set(0, [7500, 0xF63C, 0x8000])  # 75.00 %, -2.5 MW, and no temperature
        with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
            async with living(tmp_path / "data", environment=environment(device, broker)) as flow:
                await broker.subscribed("bess/soc", "bess/power", "bess/temperature")
                answer = await flow.post({"soc_percent": 11, "active_power_mw": 1, "temperature_c": 11})
                assert answer.status_code == 200
                await publish(broker.port, "bess/temperature", '{"value": 28.3, "unit": "°C"}')
                await publish(broker.port, "bess/soc", '{"value": 22, "unit": "%"}')
                status = await flow.until_status(
                    lambda one: one["temperature_c"] == 28.3 and one["soc_percent"] == 75.0, "modbus and mqtt are in"
                )
                assert status["status"] == "online"
                assert status["active_power_mw"] == -2.5  # not 63.036 MW
                sources = {name: one["source"] for name, one in status["fields"].items()}
                assert sources == {"soc_percent": "modbus", "active_power_mw": "modbus", "temperature_c": "mqtt"}
                assert {one["unit"] for one in status["fields"].values()} == {"%", "MW", "°C"}

                entry = {"values": {"temperature_c": 99}, "reason": "thermometer by hand"}
                by_hand = await flow.http.post("/api/v1/flows/bess/nodes/manual/values", json=entry)
                assert by_hand.status_code == 200
                status = await flow.status()
                assert status["fields"]["temperature_c"]["source"] == "mqtt"  # a manual value only falls back
                assert (await flow.http.get("/health/ready")).status_code == 200


async def test_kilowatts_are_converted_and_unknown_units_refused(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        async with living(tmp_path / "data", environment=environment(broker=broker)) as flow:
            await broker.subscribed("bess/soc", "bess/power", "bess/temperature")
            await publish(broker.port, "bess/power", '{"value": -2500, "unit": "kW"}')
            status = await flow.until_status(lambda one: one["active_power_mw"] is not None, "the power is in")
            assert status["active_power_mw"] == -2.5
            await publish(broker.port, "bess/power", '{"value": 3, "unit": "horses"}')
            status = await flow.until_status(lambda one: one["active_power_mw"] is None, "the power is bad")
            assert status["fields"]["active_power_mw"]["quality"] == "bad"
            assert "horses" in flow.node("mqtt")["last_error"]


async def test_one_topic_alone_does_not_wipe_the_others(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        async with living(tmp_path / "data", environment=environment(broker=broker)) as flow:
            await broker.subscribed("bess/soc", "bess/power", "bess/temperature")
            await publish(broker.port, "bess/soc", "75.5")
            await publish(broker.port, "bess/power", "1.5")
            await publish(broker.port, "bess/soc", "76")
            status = await flow.until_status(lambda one: one["soc_percent"] == 76, "the second state of charge is in")
            assert status["active_power_mw"] == 1.5
            assert status["temperature_c"] is None  # never 0
            assert status["status"] == "stale"


async def test_a_retained_message_is_shown_but_marked(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        await publish(broker.port, "bess/soc", "75.5", retain=True)
        async with living(tmp_path / "data", environment=environment(broker=broker)) as flow:
            status = await flow.until_status(lambda one: one["soc_percent"] == 75.5, "the retained value is in")
            assert status["fields"]["soc_percent"]["quality"] == "uncertain"
            assert status["fields"]["soc_percent"]["stale"] is True


async def test_values_and_ages_survive_a_restart(tmp_path: Path) -> None:
    async with living(tmp_path / "data") as flow:
        await flow.post({"soc_percent": 75.5, "active_power_mw": 1, "temperature_c": 20})
        before = await flow.status()
    async with living(tmp_path / "data") as flow:
        after = await flow.status()
        assert after["soc_percent"] == 75.5
        assert after["fields"]["soc_percent"]["at"] == before["fields"]["soc_percent"]["at"]
        assert flow.node("overheated")["received"] == 0  # a restart is no news
        await flow.post({"soc_percent": 70})
        assert (await flow.status())["active_power_mw"] == 1
