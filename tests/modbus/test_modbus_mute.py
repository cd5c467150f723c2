"""A unit that falls mute behind a gateway: the others feel it once, and it finds its way back."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from flowrunner.errors import NotConnected
from flowrunner.modbus import Device, Poller, Register, Request
from flowrunner.modbus import device as module
from flowrunner.modbus.plan import Span
from tests.modbus.raw_device import raw_device
from tests.peers.modbus_server import ModbusServer
from tests.peers.until import until

pytestmark = pytest.mark.anyio

SOON = 2.0
"""A timeout that only a broken test waits for."""
SHORT = 0.05
FIRST = Request("holding", (Span(0, 1, "x"),))


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with ModbusServer(units=(1, 2)) as server:
        server.set(0, [7500, 2500, 283])
        server.set(0, [20, 21], unit=2)
        yield server


@pytest.fixture
async def device(server: ModbusServer) -> AsyncIterator[Device]:
    device = Device("127.0.0.1", server.port)
    yield device
    await device.close()


async def mute(server: ModbusServer, device: Device, timeout: float = SHORT) -> None:  # noqa: ASYNC109  # of the read
    """Unit 2 falls mute and unit 1 has its line again."""
    server.silence(2)
    with pytest.raises(NotConnected, match="unit 2: no answer within"):
        await device.read(2, FIRST, timeout)
    assert await device.read(1, FIRST, SOON) == [7500]


async def test_the_others_feel_the_first_timeout_only(server: ModbusServer, device: Device) -> None:
    await mute(server, device)
    for _ in range(3):
        pending = asyncio.ensure_future(device.read(2, FIRST, 0.3))
        reads = 0
        while not pending.done():
            assert await device.read(1, FIRST, SOON) == [7500]
            reads += 1
        assert reads > 2, "one of its timeouts, and it were one or two"
        with pytest.raises(NotConnected, match=r"unit 2: no answer within 0\.3 s"):
            await pending
    assert device.connections(1) == 2, "its line is still the one after the first timeout"


async def test_of_several_who_wait_for_a_mute_unit_one_is_felt(server: ModbusServer, device: Device) -> None:
    server.silence(2)
    crowd = [asyncio.ensure_future(device.read(2, FIRST, 0.3)) for _ in range(4)]
    started = time.monotonic()
    assert await device.read(1, FIRST, SOON) == [7500]
    assert time.monotonic() - started < 0.55
    await device.close()
    assert {type(one) for one in await asyncio.gather(*crowd, return_exceptions=True)} == {NotConnected}


async def test_it_comes_back_and_returns_to_the_shared_line(server: ModbusServer, device: Device) -> None:
    await mute(server, device)
    server.silence(2, silent=False)
    before = server.connections
    assert await device.read(2, FIRST, SOON) == [20]
    assert server.connections == before + 1, "its own"
    for _ in range(3):
        assert await device.read(2, FIRST, SOON) == [20]
        assert await device.read(1, FIRST, SOON) == [7500]
    assert server.connections == before + 1, "both on the shared one"
    assert server._server is not None
    open_ones = server._server.active_connections
    await until(lambda: len(open_ones) <= 1, "its own connection ends")


async def test_its_line_becomes_the_shared_one_where_there_is_none(server: ModbusServer, device: Device) -> None:
    server.silence(2)
    with pytest.raises(NotConnected):
        await device.read(2, FIRST, SHORT)
    server.silence(2, silent=False)
    assert await device.read(2, FIRST, SOON) == [20]
    assert await device.read(1, FIRST, SOON) == [7500]
    assert server.connections == 2


async def test_closing_hangs_up_on_a_mute_unit_too(server: ModbusServer, device: Device) -> None:
    await mute(server, device)
    count = len(server.requests)
    read = asyncio.ensure_future(device.read(2, FIRST, SOON))
    await server.seen(count + 1)
    await device.close()
    with pytest.raises(NotConnected, match="hung up"):
        await asyncio.wait_for(read, SOON / 2)
    assert not device.connected


async def test_a_mute_unit_does_not_make_the_others_forget_their_splits(server: ModbusServer, device: Device) -> None:
    await mute(server, device)
    poller = Poller(device, 1, {"a": Register(address=0), "b": Register(address=4), "c": Register(address=2)})
    server.set(4, 5)
    await poller.poll()
    server.requests.clear()
    with pytest.raises(NotConnected):
        await device.read(2, FIRST, SHORT)
    await poller.poll()
    assert (0, 5) not in [(one.address, one.count) for one in server.requests], "known to be refused"


@pytest.mark.parametrize("kicks", ["new", "old"])
async def test_a_gateway_that_takes_one_connection_only(kicks: str) -> None:
    """It drops the second connection, or the first one for the second: then the second is not tried again soon."""
    lines: list[asyncio.StreamWriter] = []
    silent, tried = {2}, 0

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        if lines:
            if kicks == "new":
                return
            lines.pop().close()
        lines.append(writer)
        while question := await reader.read(12):
            if question[6] not in silent:
                writer.write(question[:4] + b"\0\5" + question[6:8] + b"\2\0" + question[6:7])
        if writer in lines:
            lines.remove(writer)

    async with raw_device(gateway) as device:
        with pytest.raises(NotConnected, match="unit 2: no answer within"):
            await device.read(2, FIRST, SHORT)
        await until(lambda: not lines, "the gateway hears of the end")
        assert await device.read(1, FIRST, SOON) == [1]
        with pytest.raises(NotConnected):
            await device.read(2, FIRST, SHORT)
        await until(lambda: kicks == "new" or not lines, "the gateway hears of the end")
        assert await device.read(1, FIRST, SOON) == [1]
        before = tried
        started = time.monotonic()
        for _ in range(5):
            with pytest.raises(NotConnected, match=r"unit 2: .* a second connection is refused: .* after 0\.5 s"):
                await device.read(2, FIRST, SHORT)
            assert await device.read(1, FIRST, SOON) == [1]
        assert time.monotonic() - started < SHORT * module.REFUSED_SHARE, "at once"
        assert tried == before, "and without a connection"
        silent.clear()

        async def answers() -> bool:
            try:
                return await device.read(2, FIRST, SHORT) == [2]
            except NotConnected:
                return False

        await until(answers, "it is asked again", SOON, every_s=SHORT)  # as its node does
        assert await device.read(1, FIRST, SOON) == [1]
        assert tried == before, "on the shared connection"


async def test_a_gateway_that_never_looks_at_the_second_connection() -> None:
    """To the client such a line looks mute: so now and then the unit is asked on the shared one."""
    silent, served = {2}, asyncio.Lock()

    async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with served:
            while question := await reader.read(12):
                if question[6] not in silent:
                    writer.write(question[:4] + b"\0\5" + question[6:8] + b"\2\0" + question[6:7])

    async with raw_device(gateway) as device:
        with pytest.raises(NotConnected):
            await device.read(2, FIRST, 0.01)
        assert await device.read(1, FIRST, SOON) == [1]
        silent.clear()
        async with asyncio.timeout(SOON + 0.01 * module.MUTE_SHARE):
            while True:
                try:
                    assert await device.read(2, FIRST, 0.01) == [2]
                    break
                except NotConnected:
                    assert await device.read(1, FIRST, SOON) == [1]
