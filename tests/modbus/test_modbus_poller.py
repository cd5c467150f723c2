"""A register map polled from a real device: what is merged, what is split, what is bad, what is no record at all."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowrunner.errors import NotConnected
from flowrunner.modbus import Device, Poller, Reading, Register
from tests.peers.modbus_server import ModbusServer

pytestmark = pytest.mark.anyio

BESS = {
    "soc_percent": Register(address=0, type="uint16", scale=0.01, na=[0xFFFF], min=0, max=100),
    "active_power_mw": Register(address=1, type="int16", scale=0.001, na=[0x8000]),
    "temperature_c": Register(address=2, type="int16", scale=0.1, na=[0x8000]),
}
MISSING = Reading(None, "bad", "illegal data address (exception 2)")


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with ModbusServer(units=(1, 2)) as server:
        server.set(0, [7500, 2500, 283])
        yield server


@pytest.fixture
async def device(server: ModbusServer) -> AsyncIterator[Device]:
    device = Device("127.0.0.1", server.port)
    yield device
    await device.close()


def reg(address: int, type: Any = "uint16", **options: Any) -> Register:  # noqa: A002
    return Register(address=address, type=type, **options)


def asked(server: ModbusServer) -> list[tuple[int, int]]:
    """(address, count) of the requests since the last look."""
    seen = [(request.address, request.count) for request in server.requests]
    server.requests.clear()
    return seen


async def test_the_first_users_battery_in_one_request(server: ModbusServer, device: Device) -> None:
    poller = Poller(device, 1, BESS)
    record = await poller.poll()
    assert record == {
        "soc_percent": Reading(75.0),
        "active_power_mw": Reading(2.5),
        "temperature_c": Reading(28.3),
    }
    assert list(record) == list(BESS)
    server.set(0, [0xFFFF, 0xF63C, 0x8000])
    assert await poller.poll() == {
        "soc_percent": Reading(None, "bad", "no value (0xffff)"),
        "active_power_mw": Reading(-2.5),
        "temperature_c": Reading(None, "bad", "no value (0x8000)"),
    }
    assert asked(server) == [(0, 3)] * 2


async def test_neighbours_are_merged_across_a_gap(server: ModbusServer, device: Device) -> None:
    server.set(0, list(range(40)))
    server.set(7, 1, table="coil")
    registers = {"a": reg(0), "b": reg(9), "far": reg(30), "door": reg(7, "bool", table="coil")}
    record = await Poller(device, 1, registers).poll()
    assert {name: reading.value for name, reading in record.items()} == {"a": 0, "b": 9, "far": 30, "door": True}
    assert asked(server) == [(0, 10), (30, 1), (7, 1)]
    await Poller(device, 1, registers, merge_gap=0).poll()
    assert asked(server) == [(0, 1), (9, 1), (30, 1), (7, 1)]
    await Poller(device, 1, {"a": reg(0), "b": reg(1), "c": reg(2)}, max_registers=2).poll()
    assert asked(server) == [(0, 2), (2, 1)]


async def test_exception_2_splits_and_is_remembered_until_the_device_reconnects(
    server: ModbusServer, device: Device
) -> None:
    server.set(5, [50, 51, 52])
    poller = Poller(device, 1, {"a": reg(0), "b": reg(1), "c": reg(5, "uint32"), "d": reg(7)})
    expected = {"a": Reading(7500), "b": Reading(2500), "c": Reading(50 << 16 | 51), "d": Reading(52)}
    assert await poller.poll() == expected
    assert asked(server) == [(0, 8), (0, 2), (5, 3)], "what is between is illegal: first without it"
    assert await poller.poll() == expected
    assert asked(server) == [(0, 2), (5, 3)], "not tried again"
    server.set(3, [0, 0])
    await server.kill()
    with pytest.raises(NotConnected):
        await poller.poll()
    await server.start()
    assert await poller.poll() == expected
    assert await poller.poll() == expected
    assert asked(server)[-1] == (0, 8), "the device may be another one now"


@pytest.mark.parametrize(
    ("code", "reason"), [(2, "illegal data address (exception 2)"), (3, "illegal data value (exception 3)")]
)
async def test_one_illegal_register_is_bad_and_the_others_are_read(
    server: ModbusServer, device: Device, code: int, reason: str
) -> None:
    server.refuse(code, 1)
    poller = Poller(device, 1, BESS)
    for _ in range(2):
        assert await poller.poll() == {
            "soc_percent": Reading(75.0),
            "active_power_mw": Reading(None, "bad", reason),
            "temperature_c": Reading(28.3),
        }
    assert asked(server) == [(0, 3), (0, 1), (1, 1), (2, 1), (0, 1), (1, 1), (2, 1)]
    server.refuse(0, 1)
    assert (await poller.poll())["active_power_mw"] == Reading(2.5), "it is still asked for, alone"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "illegal function"),
        (4, "device failure"),
        (6, "device busy"),
        (11, "gateway target failed to respond"),
    ],
)
async def test_other_exceptions_are_bad_values_and_nothing_is_split(
    server: ModbusServer, device: Device, code: int, reason: str
) -> None:
    server.set(100, 5)
    server.refuse(code, 1)
    poller = Poller(device, 1, BESS | {"other": reg(100)})
    record = await poller.poll()
    refused = Reading(None, "bad", f"{reason} (exception {code})")
    assert record == dict.fromkeys(BESS, refused) | {"other": Reading(5)}
    assert asked(server) == [(0, 3), (100, 1)]
    server.refuse(0, 1)
    assert (await poller.poll())["soc_percent"] == Reading(75.0)
    assert asked(server) == [(0, 3), (100, 1)]


async def test_a_silent_device_gives_no_partial_record(server: ModbusServer, device: Device) -> None:
    server.set(100, 5)
    poller = Poller(device, 1, BESS | {"other": reg(100)}, timeout=0.05)
    server.silence(1)
    with pytest.raises(NotConnected, match="unit 1: no answer within"):
        await poller.poll()
    server.silence(1, silent=False)
    assert (await poller.poll())["other"] == Reading(5)


async def test_scale_from_a_register_anywhere(server: ModbusServer, device: Device) -> None:
    server.set(40, [0xFFFE, 3, 0x8000, 11])
    server.set(1, 0xF63C)
    server.set(0, 7550)
    registers = {
        "soc": reg(0, "uint16", scale_from="soc_sf"),
        "soc_sf": reg(40, "int16"),
        "power_w": reg(1, "int16", scale_from="power_sf"),
        "power_sf": reg(41, "int16"),
        "none": reg(1, scale_from="none_sf"),
        "none_sf": reg(42, "int16"),
        "wild": reg(1, scale_from="wild_sf"),
        "wild_sf": reg(43, "int16"),
        "lost": reg(1, scale_from="lost_sf"),
        "lost_sf": reg(99, "int16"),
    }
    assert await Poller(device, 1, registers).poll() == {
        "soc": Reading(75.5),
        "soc_sf": Reading(-2),
        "power_w": Reading(-2500000),
        "power_sf": Reading(3),
        "none": Reading(None, "bad", "no value: its scale none_sf has none"),
        "none_sf": Reading(None, "bad", "no value (0x8000: not implemented)"),
        "wild": Reading(None, "bad", "no value: its scale wild_sf has none"),
        "wild_sf": Reading(None, "bad", "11 is not a power of ten from -10 to 10"),
        "lost": Reading(None, "bad", "no value: its scale lost_sf has none"),
        "lost_sf": MISSING,
    }


async def test_a_deadband_keeps_the_last_reported_value(server: ModbusServer, device: Device) -> None:
    poller = Poller(device, 1, {"t": reg(2, "int16", scale=0.1, deadband=0.3, na=[0x8000])})
    seen = []
    for raw in (283, 285, 281, 286, 288, 0x8000, 287, 289, 9, 12):
        server.set(2, raw)
        seen.append((await poller.poll())["t"].value)
    # 28.6 is 0.3 from 28.3, not nearer: reported. After a gap the value is news, however near it is.
    # And 1.2 - 0.9 is 0.3, though not in binary fractions.
    assert seen == [28.3, 28.3, 28.3, 28.6, 28.6, None, 28.7, 28.7, 0.9, 1.2]


async def test_units_on_one_connection(server: ModbusServer, device: Device) -> None:
    server.set(0, [1000, 0, 250], unit=2)
    one, two = Poller(device, 1, BESS), Poller(device, 2, BESS)
    assert (await one.poll())["soc_percent"] == Reading(75.0)
    assert (await two.poll())["soc_percent"] == Reading(10.0)
    assert server.connections == 1
