"""One connection to a real device: shared, dropped, restored, and never fooled by a late answer."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from flowrunner.errors import NotConnected
from flowrunner.modbus import Device, ModbusException, Request
from flowrunner.modbus.plan import Span
from tests.modbus.raw_device import raw_device
from tests.peers.modbus_server import ModbusServer, Seen
from tests.peers.until import until

pytestmark = pytest.mark.anyio

SOON = 2.0
"""A timeout that only a broken test waits for."""
SHORT = 0.05


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with ModbusServer(units=(1, 2, 3)) as server:
        server.set(0, [7500, 2500, 283])
        server.set(0, [20, 21], unit=2)
        yield server


@pytest.fixture
async def device(server: ModbusServer) -> AsyncIterator[Device]:
    device = Device("127.0.0.1", server.port)
    yield device
    await device.close()


def ask(start: int = 0, count: int = 1, table: Any = "holding") -> Request:
    return Request(table, (Span(start, count, "x"),))


async def test_reads_every_table(server: ModbusServer, device: Device) -> None:
    server.set(5, [1, 65535], table="input")
    server.set(3, [1, 0, 1, 1, 0, 0, 1, 0, 1], table="coil")
    server.set(9, [0, 1], table="discrete")
    assert await device.read(1, ask(0, 3), SOON) == [7500, 2500, 283]
    assert await device.read(1, ask(5, 2, "input"), SOON) == [1, 65535]
    coils = await device.read(1, ask(3, 9, "coil"), SOON)
    assert coils == [True, False, True, True, False, False, True, False, True]
    assert await device.read(1, ask(9, 2, "discrete"), SOON) == [False, True]
    assert device.connected
    assert server.connections == 1
    assert server.requests == [Seen(1, 3, 0, 3), Seen(1, 4, 5, 2), Seen(1, 1, 3, 9), Seen(1, 2, 9, 2)]


async def test_the_longest_reads(server: ModbusServer, device: Device) -> None:
    server.set(1000, list(range(125)))
    server.set(0, [index % 3 == 0 for index in range(2000)], table="coil")
    assert await device.read(1, ask(1000, 125), SOON) == list(range(125))
    assert await device.read(1, ask(0, 2000, "coil"), SOON) == [index % 3 == 0 for index in range(2000)]


@pytest.mark.parametrize(
    ("code", "text"), [(2, "illegal data address (exception 2)"), (6, "device busy (exception 6)")]
)
async def test_an_exception_keeps_the_connection(server: ModbusServer, device: Device, code: int, text: str) -> None:
    server.refuse(code, 1)
    with pytest.raises(ModbusException, match=text.replace("(", r"\(").replace(")", r"\)")) as refused:
        await device.read(1, ask(0, 3), SOON)
    assert refused.value.code == code
    assert await device.read(1, ask(0), SOON) == [7500]
    assert server.connections == 1


async def test_unit_ids_share_one_connection_and_take_turns(server: ModbusServer, device: Device) -> None:
    reads = [device.read(unit, ask(0), SOON) for unit in (1, 2) * 10]
    assert await asyncio.gather(*reads) == [[7500], [20]] * 10
    assert server.connections == 1
    assert [seen.unit for seen in server.requests] == [1, 2] * 10


async def test_a_silent_unit_costs_the_others_its_timeout_and_no_more(server: ModbusServer, device: Device) -> None:
    server.silence(3)
    started = time.monotonic()
    dead, *alive = await asyncio.gather(
        device.read(3, ask(0), SHORT), *(device.read(unit, ask(0), SOON) for unit in (1, 2) * 5), return_exceptions=True
    )
    assert SHORT <= time.monotonic() - started < SHORT + 1.5
    assert isinstance(dead, NotConnected)
    assert str(dead) == (
        f"Modbus device 127.0.0.1:{server.port}, unit 3: no answer within 0.05 s; "
        "check the unit id, and whether the device is on"
    )
    assert alive == [[7500], [20]] * 5


async def test_a_timeout_asks_once(server: ModbusServer, device: Device) -> None:
    server.silence(1)
    with pytest.raises(NotConnected):
        await device.read(1, ask(0), SHORT)
    assert len(server.requests) == 1, "no hidden retries"


async def test_nobody_there(free_port: int) -> None:
    device = Device("127.0.0.1", free_port)
    with pytest.raises(NotConnected, match=f"127.0.0.1:{free_port}: cannot connect: Connection refused; check host"):
        await device.read(1, ask(), SOON)
    assert not device.connected
    await device.close()


@pytest.mark.parametrize("host", ["no such host", "a..b", "", "x" * 70])
async def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(NotConnected, match="cannot connect: "):
        await Device(host, 1).read(1, ask(), SOON)


async def test_a_device_that_is_killed_and_comes_back_on_its_port(server: ModbusServer, device: Device) -> None:
    assert await device.read(1, ask(0), SOON) == [7500]
    await server.kill()
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(NotConnected):
            await device.read(1, ask(0), SOON)
    assert time.monotonic() - started < SOON / 2, "a dead port is known at once"
    await server.start()
    server.set(0, 7600)
    assert await device.read(1, ask(0), SOON) == [7600]
    assert server.connections == 2


async def test_killed_while_it_is_asked(server: ModbusServer, device: Device) -> None:
    server.silence(1)
    read = asyncio.ensure_future(device.read(1, ask(0), SOON))
    await server.seen(1)
    await server.kill()
    with pytest.raises(NotConnected, match="the device closed the connection"):
        await asyncio.wait_for(read, SOON / 2)


async def test_an_idle_connection_that_the_device_closed_is_made_again(server: ModbusServer, device: Device) -> None:
    assert await device.read(1, ask(0), SOON) == [7500]
    await server.drop_connections()
    await until(lambda: not device.connected, "the device hears of it")
    assert await device.read(1, ask(0), SOON) == [7500]
    assert server.connections == device.connections(1) == 2


async def test_closing_frees_who_reads_and_is_not_the_end(server: ModbusServer, device: Device) -> None:
    server.silence(1)
    read = asyncio.ensure_future(device.read(1, ask(0), SOON))
    await server.seen(1)
    await device.close()
    await device.close()
    with pytest.raises(NotConnected, match="hung up"):
        await read
    server.silence(1, silent=False)
    assert await device.read(1, ask(0), SOON) == [7500]


async def test_a_cancelled_read_leaves_the_device_usable(server: ModbusServer, device: Device) -> None:
    server.silence(1)
    read = asyncio.ensure_future(device.read(1, ask(0), SOON))
    await server.seen(1)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    server.silence(1, silent=False)
    assert await device.read(1, ask(1), SOON) == [2500]


async def test_a_cancellation_is_not_lost_when_the_answer_comes_at_that_moment(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowrunner.modbus import line as module

    loop = asyncio.get_running_loop()
    look = module.Line.on_packet

    def look_and_cancel(line: Any, sending: bool, data: bytes) -> bytes:
        if not sending:
            loop.call_soon(read.cancel)  # runs after the answer is in, before the reader wakes
        return look(line, sending, data)

    monkeypatch.setattr(module.Line, "on_packet", look_and_cancel)
    read = asyncio.ensure_future(device.read(1, ask(0), SOON))
    with pytest.raises(asyncio.CancelledError):
        await read


# ---- answers that come too late


def answer(question: bytes, value: int, transaction: bytes = b"") -> bytes:
    return (transaction or question[:2]) + b"\0\0\0\5" + question[6:8] + b"\2" + value.to_bytes(2)


@pytest.mark.parametrize("transaction", ["its own", "zero", "the next one's"])
async def test_a_late_answer_is_never_taken_for_the_next(transaction: str) -> None:
    """The device answers the first question only when it hears the second: first the old value, then the new."""
    first: list[tuple[bytes, asyncio.StreamWriter]] = []

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while question := await reader.read(12):
            if not first:
                first.append((question, writer))
                continue
            old_question, old_writer = first[0]
            number = {"its own": old_question[:2], "zero": b"\0\0", "the next one's": question[:2]}[transaction]
            with suppress(RuntimeError):  # uvloop's way to say that the client has gone
                old_writer.write(answer(old_question, 1111, number))
            writer.write(answer(question, 2222))

    async with raw_device(late) as device:
        with pytest.raises(NotConnected, match="no answer within"):
            await device.read(1, ask(0), SHORT)
        assert await device.read(1, ask(0), SOON) == [2222]


async def test_a_late_answer_that_comes_by_the_next_connection_is_not_taken_either() -> None:
    """A gateway that keeps the number of the transaction, and answers to whoever is connected by then."""
    asked: list[bytes] = []

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while question := await reader.read(12):
            asked.append(question)
            if len(asked) == 2:
                writer.write(answer(asked[0], 1111))
            if len(asked) > 1:
                writer.write(answer(question, 2222))

    async with raw_device(gateway) as device:
        with pytest.raises(NotConnected, match="no answer within"):
            await device.read(1, ask(0), SHORT)
        with pytest.raises(NotConnected, match="not the answer to what was asked"):
            await device.read(1, ask(0), SOON)
        assert await device.read(1, ask(0), SOON) == [2222]
        assert len({question[:2] for question in asked}) == 3


async def test_an_answer_in_single_bytes_is_an_answer() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while question := await reader.read(12):
            for byte in answer(question, 4711):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

    async with raw_device(drip) as device:
        assert [await device.read(1, ask(0), SOON) for _ in range(5)] == [[4711]] * 5
        assert device.connections(1) == 1


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read(12)
        writer.write(answer(question, 1))
        if not hung_up.is_set():
            await go_on.wait()
            writer.write(answer(question, 6666, b"\0\2"))  # a guess at the number of the next request
        await reader.read()
        hung_up.set()

    go_on, hung_up = asyncio.Event(), asyncio.Event()
    async with raw_device(chatty) as device:
        assert await device.read(1, ask(0), SOON) == [1]
        go_on.set()
        await asyncio.wait_for(hung_up.wait(), SOON)
        assert await device.read(1, ask(0), SOON) == [1], "from a new connection"


async def test_pymodbus_says_nothing_itself(free_port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(12)
        writer.write(b"noise")
        await reader.read()

    async with raw_device(noise) as device:
        with pytest.raises(NotConnected):
            await device.read(1, ask(0), SHORT)
        with pytest.raises(NotConnected):
            await Device("127.0.0.1", free_port).read(1, ask(0), SHORT)
    assert [record for record in caplog.records if record.name != "asyncio"] == []


@pytest.fixture
def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
