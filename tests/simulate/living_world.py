"""A simulated world in the test's loop, and what real clients see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2

from flowrunner.clock import Clock, ScaledClock
from flowrunner.market import Market
from flowrunner.modbus import Device, Poller, Reading, Register
from flowrunner.mqtt.client import Client, Packet
from flowrunner.simulate import World
from flowrunner.simulate.broker import Broker, make_broker
from flowrunner.units import Duration, parse_instant
from tests.peers.until import until

SOON = 2.0
VIENNA = ZoneInfo("Europe/Vienna")
MARKET = Market(name="epex_at", slot_ns=Duration.parse("15min"), gate_closure_ns=Duration.parse("5min"))
NOON = parse_instant("2026-03-04T11:00:00Z")
REGISTERS = {
    "soc_percent": Register(address=0, scale=0.01, unit="%", na=[0xFFFF]),
    "active_power_mw": Register(address=1, type="int16", scale=0.001, unit="MW", na=[0x8000]),
    "temperature_c": Register(address=2, type="int16", scale=0.1, unit="°C", na=[0x8000]),
}
KINDS = {"mosquitto": None, "embedded broker": ""}
"""Name of a broker → where to look for mosquitto so that this one is made."""


def broker(folder: Path, kind: str, port: int = 0) -> Broker:
    made = make_broker(folder, "127.0.0.1", port, KINDS[kind])
    assert made.name == kind
    return made


@asynccontextmanager
async def living_world(folder: Path, clock: Clock | None = None, **more: Any) -> AsyncIterator[World]:
    """A world without the daily life of its site, so that only orders move the battery."""
    options: dict[str, Any] = {"markets": [MARKET], "zone": VIENNA, "site": False} | more
    world = World(clock or ScaledClock(NOON, 1), folder, **options)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


async def registers(world: World) -> dict[str, object]:
    """What a Modbus client reads; the quality in place of a value that is none."""
    device = Device(world.places.modbus_host, world.places.modbus_port)
    try:
        readings: dict[str, Reading] = await Poller(device, 1, REGISTERS, timeout=SOON).poll()
    finally:
        await device.close()
    return {name: one.value if one.quality == "good" else one.quality for name, one in readings.items()}


@asynccontextmanager
async def heard(world: World) -> AsyncIterator[dict[str, list[bytes]]]:
    """What an MQTT client hears, by topic."""
    found: dict[str, list[bytes]] = {}

    def take(packet: Packet) -> None:
        found.setdefault(packet.topic, []).append(packet.payload)
        packet.ack()

    client = Client(world.broker.settings())
    client.subscribe("bess/#", 0, take)
    client.start()
    try:
        await until(lambda: client.connected, "the client is connected")
        yield found
    finally:
        await client.close()


def http(world: World, **more: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=world.places.exchange, trust_env=False, **more)
