"""Broker and device die and come back: values go stale, then fresh, and nothing else stops."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.end_to_end.living import living, publish
from tests.end_to_end.test_three_ways import environment
from tests.peers.modbus_server import ModbusServer
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto

pytestmark = pytest.mark.anyio

SPEED = 60.0
"""90 s until stale are 1.5 s here, a poll every 30 s is one every 0.5 s."""


async def test_device_and_broker_die_and_come_back(tmp_path: Path) -> None:
    async with ModbusServer() as device:
        device.set(0, [7500, 2500, 283])
        with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
            env = environment(device, broker)
            async with living(tmp_path / "data", environment=env, speed=SPEED) as flow:
                await flow.until_status(lambda one: one["status"] == "online", "the device's values are in")
                await flow.until(lambda: flow.node("mqtt")["connected"] is True, "mqtt is connected")
                await broker.subscribed("bess/soc")

                await device.kill()
                await flow.until(lambda: flow.node("modbus")["connected"] is False, "the device is seen as gone")
                status = await flow.until_status(lambda one: one["status"] != "online", "the values are stale")
                assert status["soc_percent"] == 75.0  # the last value, with its age
                assert status["fields"]["soc_percent"]["reason"] == "stale"
                ready = await flow.http.get("/health/ready")
                assert ready.status_code == 503
                assert ready.json()["nodes"] == [{"node": "bess/modbus", "state": "disconnected"}]

                await publish(broker.port, "bess/soc", "50")  # the others go on
                await flow.until_status(lambda one: one["fields"]["soc_percent"]["source"] == "mqtt", "mqtt takes over")
                assert (await flow.post({"temperature_c": 21})).status_code == 200

                broker.kill()
                await flow.until(lambda: flow.node("mqtt")["connected"] is False, "the broker is seen as gone")
                assert (await flow.post({"soc_percent": 33})).status_code == 200

                await device.start()
                device.set(0, [8000, 2600, 290])
                status = await flow.until_status(
                    lambda one: one["status"] == "online" and one["soc_percent"] == 80.0, "the device is back"
                )
                assert {one["source"] for one in status["fields"].values()} == {"modbus"}

                broker.start()
                await flow.until(lambda: flow.node("mqtt")["connected"] is True, "the broker is back")
                await broker.subscribed("bess/soc")
                before = flow.node("mqtt")["sent"]
                await publish(broker.port, "bess/soc", "51")  # subscribed again
                await flow.until(lambda: flow.node("mqtt")["sent"] > before, "mqtt hears again")
                assert (await flow.http.get("/health/ready")).status_code == 200


async def test_start_with_every_peer_away(tmp_path: Path) -> None:
    """A peer that is down at the start is no error of the flow: it waits, and everything else works."""
    device, broker = ModbusServer(), Mosquitto(tmp_path / "broker")
    await device.start()
    device.set(0, [7500, 2500, 283])
    await device.stop()
    async with living(tmp_path / "data", environment=environment(device, broker)) as flow:
        assert (await flow.post({"soc_percent": 40})).status_code == 200
        assert (await flow.status())["soc_percent"] == 40
        await flow.until(lambda: flow.node("mqtt")["connected"] is False, "the broker is missed")
        await device.start()
        broker.start()
        try:
            await flow.until_status(lambda one: one["soc_percent"] == 75.0, "the device came up later")
            await flow.until(lambda: flow.node("mqtt")["connected"] is True, "the broker came up later")
        finally:
            broker.kill()
            await device.stop()


DEVICES = """
flow: plant
nodes:
  dead: {{type: modbus-in, host: 127.0.0.1, port: {port}, unit_id: 1, every: 50ms, timeout: 400ms,
         registers: {{v: {{address: 0}}}}}}
  alive: {{type: modbus-in, host: 127.0.0.1, port: {other}, every: 50ms, timeout: 400ms,
          registers: {{v: {{address: 0}}}}}}
  same-device: {{type: modbus-in, host: 127.0.0.1, port: {other}, every: 50ms, timeout: 400ms,
                registers: {{w: {{address: 1}}}}}}
"""


async def test_a_dead_device_delays_no_other_and_nodes_share_a_connection(tmp_path: Path) -> None:
    async with ModbusServer() as dead, ModbusServer() as alive:
        dead.set(0, 1)
        dead.silence()
        alive.set(0, [5, 6])
        text = DEVICES.format(port=dead.port, other=alive.port)
        async with living(tmp_path / "data", text=text) as flow:
            await flow.until(lambda: flow.node("dead", "plant")["connected"] is False, "the silent device is noticed")
            polls = len(flow.seen["alive"])
            await flow.until(lambda: len(flow.seen["alive"]) >= polls + 20, "twenty more polls of the other device")
            assert "dead" not in flow.seen
            spans = [
                later.at - earlier.at
                for earlier, later in zip(flow.seen["alive"][:-1], flow.seen["alive"][1:], strict=True)
            ]
            assert sorted(spans)[len(spans) // 2] < 200_000_000  # half the timeout of the dead one
            assert alive.connections == 1
            assert {message.payload["w"] for message in flow.seen["same-device"]} == {6}


UNITS = """
flow: plant
nodes:
  mute: {{type: modbus-in, host: 127.0.0.1, port: {port}, unit_id: 2, every: 50ms, timeout: 600ms,
         retry: {{first: 50ms, max: 100ms}},
         registers: {{v: {{address: 0}}}}}}
  alive: {{type: modbus-in, host: 127.0.0.1, port: {port}, unit_id: 1, every: 50ms, timeout: 600ms,
          registers: {{v: {{address: 0, na: [0xFFFF]}}}}}}
"""


async def test_a_mute_unit_does_not_slow_the_others_behind_its_gateway(tmp_path: Path) -> None:
    async with ModbusServer(units=(1, 2)) as gateway:
        gateway.set(0, 5)
        gateway.set(0, 6, unit=2)
        async with living(tmp_path / "data", text=UNITS.format(port=gateway.port)) as flow:
            await flow.until(lambda: "mute" in flow.seen and "alive" in flow.seen, "both are read")
            gateway.silence(2)
            await flow.until(lambda: flow.node("mute", "plant")["connected"] is False, "its silence is noticed")
            await flow.until(lambda: flow.node("alive", "plant")["connected"] is True, "the other one is on")
            first, asked = len(flow.seen["alive"]), len([one for one in gateway.requests if one.unit == 2])
            await flow.until(
                lambda: len([one for one in gateway.requests if one.unit == 2]) >= asked + 3, "three more timeouts"
            )
            polls = flow.seen["alive"][first:]
            gaps = [later.at - earlier.at for earlier, later in pairwise(polls)]
            assert len(polls) >= 15
            assert max(gaps) < 500_000_000, "never the timeout of the mute one"
            gateway.silence(2, silent=False)
            back = len(flow.seen["mute"])
            await flow.until(lambda: len(flow.seen["mute"]) >= back + 5, "it is back")


async def test_a_device_without_any_value_is_not_connected(tmp_path: Path) -> None:
    """All registers say "no value", or the device refuses them: it is shown as a device that is not there."""
    async with ModbusServer(units=(1, 2)) as gateway:
        gateway.set(0, 0xFFFF)
        async with living(tmp_path / "data", text=UNITS.format(port=gateway.port)) as flow:
            for node, unit, reason in (
                ("alive", 1, "no value (0xffff)"),
                ("mute", 2, "illegal data address (exception 2)"),
            ):
                await flow.until(lambda node=node: flow.node(node, "plant")["connected"] is False, node)  # type: ignore[misc]
                assert flow.node(node, "plant")["last_error"] == (
                    f"not-connected: 127.0.0.1:{gateway.port} unit {unit}: no register gives a value: v: {reason}"
                )
                await flow.until(lambda node=node: len(flow.seen[node]) > 5, "it is polled on")  # type: ignore[misc]
                assert flow.node(node, "plant")["errors"] == {"not-connected": 1}
            assert (await flow.http.get("/health/ready")).status_code == 503
            gateway.set(0, 5)
            gateway.set(0, 6, unit=2)
            await flow.until(lambda: flow.node("mute", "plant")["connected"] is True, "values again")
            await flow.until(lambda: flow.node("alive", "plant")["connected"] is True, "values again")
            assert (await flow.http.get("/health/ready")).status_code == 200
