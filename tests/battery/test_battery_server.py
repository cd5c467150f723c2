"""The battery on a real socket, read by our own client and by pymodbus's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymodbus.client import AsyncModbusTcpClient

from flowrunner.battery import Battery, Schedule
from flowrunner.battery.server import FAULTS, BatteryServer, Fault
from flowrunner.errors import NotConnected
from flowrunner.message import Instant
from flowrunner.modbus import Device, ModbusException, Poller, Reading, Register, Request
from flowrunner.modbus.plan import Span
from flowrunner.units import SECOND

pytestmark = pytest.mark.anyio

START = 1_769_295_600 * SECOND
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
SOON = 2.0
"""A timeout that only a broken test waits for."""
SHORT = 0.05

REGISTERS = {
    "soc_percent": Register(address=0, scale=0.01, unit="%", na=[0xFFFF]),
    "active_power_mw": Register(address=1, type="int16", scale=0.001, unit="MW", na=[0x8000]),
    "temperature_c": Register(address=2, type="int16", scale=0.1, unit="°C", na=[0x8000]),
}


class Hand:
    """A clock that a test sets by hand."""

    def __init__(self) -> None:
        self.instant: Instant = START

    def now(self) -> Instant:
        return self.instant


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def battery() -> Battery:
    battery = Battery(at=START, soc_percent=75.5, temperature_c=28.3)
    battery.command(2.5)
    return battery


@pytest.fixture
async def server(battery: Battery, clock: Hand) -> AsyncIterator[BatteryServer]:
    server = BatteryServer(battery, clock.now)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def device(server: BatteryServer) -> AsyncIterator[Device]:
    device = Device(server.host, server.port)
    yield device
    await device.close()


def ask(start: int = 0, count: int = 3, table: str = "holding") -> Request:
    return Request(table, (Span(start, count, "x"),))  # type: ignore[arg-type]  # the names of the tables


async def values(device: Device) -> dict[str, object]:
    readings: dict[str, Reading] = await Poller(device, 1, REGISTERS, timeout=SOON).poll()
    return {name: one.value if one.quality == "good" else one.quality for name, one in readings.items()}


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()


# ---- reading


async def test_a_poll_of_the_first_user(device: Device) -> None:
    assert await values(device) == {"soc_percent": 75.5, "active_power_mw": 2.5, "temperature_c": 28.3}


async def test_every_read_brings_the_battery_to_now(device: Device, clock: Hand) -> None:
    await values(device)
    clock.instant = START + HOUR
    assert (await values(device))["soc_percent"] == 49.18


async def test_input_registers_are_the_same(device: Device) -> None:
    assert await device.read(1, ask(table="input"), SOON) == await device.read(1, ask(), SOON) == [7550, 2500, 283]


async def test_pymodbus_reads_it_and_writes_nothing(server: BatteryServer) -> None:
    client = AsyncModbusTcpClient(server.host, port=server.port, timeout=SOON, retries=0)
    assert await client.connect()
    try:
        assert (await client.read_holding_registers(0, count=3)).registers == [7550, 2500, 283]
        assert (await client.read_input_registers(2)).registers == [283]
        assert (await client.write_register(0, 1)).exception_code == 1
        assert (await client.write_registers(0, [1, 2])).exception_code == 1
        assert (await client.read_coils(0)).exception_code == 1
        assert (await client.read_discrete_inputs(0)).exception_code == 1
        assert (await client.read_holding_registers(0, count=3)).registers == [7550, 2500, 283]
    finally:
        client.close()


@pytest.mark.parametrize(
    ("unit", "start", "count", "code"),
    [(1, 0, 4, 2), (1, 3, 1, 2), (1, 39999, 2, 2), (1, 40195, 3, 2), (1, 65535, 1, 2), (2, 0, 3, 11), (0, 0, 3, 11)],
)
async def test_what_is_not_there_is_an_exception(device: Device, unit: int, start: int, count: int, code: int) -> None:
    with pytest.raises(ModbusException) as refused:
        await device.read(unit, ask(start, count), SOON)
    assert refused.value.code == code
    assert await device.read(1, ask(0, 1), SOON) == [7550]


async def test_another_unit_id(battery: Battery, clock: Hand) -> None:
    server = BatteryServer(battery, clock.now, unit_id=7)
    await server.start()
    device = Device(server.host, server.port)
    try:
        assert await device.read(7, ask(), SOON) == [7550, 2500, 283]
        with pytest.raises(ModbusException):
            await device.read(1, ask(), SOON)
    finally:
        await device.close()
        await server.stop()


async def test_a_walk_through_sunspec(server: BatteryServer) -> None:
    """As a SunSpec client does it: the marker, then header by header to the end; each model read whole."""
    client = AsyncModbusTcpClient(server.host, port=server.port, timeout=SOON, retries=0)
    assert await client.connect()
    try:
        marker = (await client.read_holding_registers(40000, count=2)).registers
        assert b"".join(word.to_bytes(2, "big") for word in marker) == b"SunS"
        at, models = 40002, {}
        while True:
            number, length = (await client.read_holding_registers(at, count=2)).registers
            if number == 0xFFFF:
                break
            models[number] = (await client.read_holding_registers(at + 2, count=length)).registers
            at += 2 + length
    finally:
        client.close()
    assert list(models) == [1, 103, 713, 802]
    power = {number: number - 0x10000 if number > 0x7FFF else number for number in (*models[103], *models[802])}
    assert models[103][12] * 10 ** power[models[103][13]] == 2_500_000
    assert models[713][2] * 10.0 ** power[models[713][6]] == 75.5
    assert models[802][9] * 10.0 ** power[models[802][54]] == 75.5


async def test_our_client_applies_the_scale_factors(device: Device) -> None:
    registers = {
        "soc_percent": Register(address=40142, scale_from="soc_power", na=[0xFFFF]),
        "soc_power": Register(address=40187, type="int16"),
        "power_w": Register(address=40084, type="int16", scale_from="power_power", na=[0x8000]),
        "power_power": Register(address=40085, type="int16"),
        "reserve_percent": Register(address=40140, scale_from="soc_power", na=[0xFFFF]),
    }
    readings = await Poller(device, 1, registers, timeout=SOON).poll()
    assert readings["soc_percent"].value == 75.5
    assert readings["power_w"].value == 2_500_000
    assert readings["reserve_percent"].quality == "bad"


async def test_the_schedule_drives_it(clock: Hand) -> None:
    schedule = Schedule()
    schedule.add("a", START + 15 * MINUTE, START + 30 * MINUTE, "SELL", 1.0)
    server = BatteryServer(Battery(at=START, soc_percent=80), clock.now, schedule=schedule)
    await server.start()
    device = Device(server.host, server.port)
    try:
        assert (await values(device))["active_power_mw"] == 0
        clock.instant = START + 20 * MINUTE
        assert (await values(device))["active_power_mw"] == 4.0
        clock.instant = START + 31 * MINUTE
        seen = await values(device)
    finally:
        await device.close()
        await server.stop()
    assert (seen["soc_percent"], seen["active_power_mw"]) == (69.47, 0)


# ---- faults


async def test_stuck(server: BatteryServer, device: Device, clock: Hand, battery: Battery) -> None:
    clock.instant = START + 30 * MINUTE
    server.set_fault("stuck")
    stuck = await device.read(1, ask(40000, 125), SOON)
    clock.instant = START + HOUR
    battery.advance(clock.instant)
    assert await device.read(1, ask(40000, 125), SOON) == stuck
    assert (await values(device))["soc_percent"] == 62.34
    server.set_fault("stuck")  # again: still the values of the first moment
    assert (await values(device))["soc_percent"] == 62.34
    server.set_fault("stuck", False)
    assert (await values(device))["soc_percent"] == 49.18


async def test_sentinel(server: BatteryServer, device: Device) -> None:
    server.set_fault("sentinel")
    assert await device.read(1, ask(), SOON) == [0xFFFF, 0x8000, 0x8000]
    assert await values(device) == {"soc_percent": "bad", "active_power_mw": "bad", "temperature_c": "bad"}
    server.set_fault("sentinel", False)
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]


async def test_busy(server: BatteryServer, device: Device) -> None:
    server.set_fault("busy")
    with pytest.raises(ModbusException, match="device busy"):
        await device.read(1, ask(), SOON)
    server.set_fault("busy", False)
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]


async def test_mute(server: BatteryServer, device: Device) -> None:
    server.set_fault("mute")
    with pytest.raises(NotConnected, match="no answer"):
        await device.read(1, ask(), SHORT)
    server.set_fault("mute", False)
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]


async def test_drop(server: BatteryServer, device: Device) -> None:
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]
    idle, writer = await asyncio.open_connection(server.host, server.port)
    server.set_fault("drop")
    assert await asyncio.wait_for(idle.read(), SOON) == b""
    await hang_up(writer)
    for _ in range(3):
        with pytest.raises(NotConnected):
            await device.read(1, ask(), SOON)
    server.set_fault("drop", False)
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]


async def test_faults_come_together_and_one_by_one(server: BatteryServer, device: Device, clock: Hand) -> None:
    server.set_fault("sentinel")
    server.set_fault("stuck")
    assert server.faults == {"sentinel", "stuck"}
    clock.instant = START + HOUR
    server.set_fault("sentinel", False)
    assert (await values(device))["soc_percent"] == 75.5
    server.set_fault("stuck", False)
    server.set_fault("stuck", False)
    assert server.faults == set()


async def test_an_unknown_fault_is_refused(server: BatteryServer) -> None:
    with pytest.raises(ValueError, match="no fault 'melted'; choose one of stuck, drop, sentinel, busy, mute"):
        server.set_fault("melted")  # type: ignore[arg-type]  # what a request over the network may say
    assert server.faults == set()


async def test_a_failed_air_conditioning_is_seen_on_the_line(device: Device, battery: Battery, clock: Hand) -> None:
    battery.hvac_failed = True
    battery.hot_day()
    clock.instant = START + HOUR
    assert (await values(device))["temperature_c"] == 31.9  # 28.3 + 65.8 kW for an hour, and a little from outside


# ---- life


@pytest.mark.parametrize("fault", [None, *FAULTS])
async def test_it_stops_clean_and_starts_again_on_its_port(battery: Battery, clock: Hand, fault: Fault | None) -> None:
    before = asyncio.all_tasks()
    server = BatteryServer(battery, clock.now)
    await server.start()
    port = server.port
    reader, writer = await asyncio.open_connection(server.host, port)
    device = Device(server.host, port)
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]
    if fault:
        server.set_fault(fault)
    await server.stop()
    await server.stop()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), SOON) == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(server.host, port)
    assert asyncio.all_tasks() == before
    if fault:
        server.set_fault(fault, False)

    await server.start()
    assert server.port == port
    assert await device.read(1, ask(), SOON) == [7550, 2500, 283]
    await device.close()
    await server.stop()
    await hang_up(writer)


async def test_its_sockets_are_gone_when_stop_returns(server: BatteryServer) -> None:
    def sockets() -> int:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]
        return sum(str(link.readlink()).startswith("socket:") for link in links)

    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(bytes.fromhex("0001 0000 0006 01 03 0000 0001"))
    assert len(await asyncio.wait_for(reader.readexactly(11), SOON)) == 11
    before = sockets()
    await server.stop()
    assert sockets() == before - 2  # the one that listens, and its end of the connection; ours is still there
    await hang_up(writer)


async def test_two_batteries_in_one_loop(server: BatteryServer, device: Device, clock: Hand) -> None:
    other = BatteryServer(Battery(at=START, soc_percent=10), clock.now)
    await other.start()
    second = Device(other.host, other.port)
    try:
        other.set_fault("drop")
        assert (await values(device))["soc_percent"] == 75.5
        other.set_fault("drop", False)
        assert (await values(second))["soc_percent"] == 10
        await other.stop()
        assert (await values(device))["soc_percent"] == 75.5
    finally:
        await second.close()
        await other.stop()


async def test_a_port_that_is_taken(server: BatteryServer, battery: Battery, clock: Hand) -> None:
    other = BatteryServer(battery, clock.now, port=server.port)
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}; choose a free port"):
        await other.start()
    with pytest.raises(RuntimeError, match=r"listens on 127\.0\.0\.1"):
        await server.start()


async def test_many_clients_at_once(server: BatteryServer) -> None:
    devices = [Device(server.host, server.port) for _ in range(10)]
    try:
        answers = await asyncio.gather(*(one.read(1, ask(), SOON) for one in devices for _ in range(5)))
    finally:
        for one in devices:
            await one.close()
    assert answers == [[7550, 2500, 283]] * 50
