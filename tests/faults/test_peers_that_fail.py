"""A running flow whose device, broker and web server fail in every way there is: it goes on by itself, believes nothing
that is not an answer, and holds nothing more afterwards than before."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.living import Living, living, publish
from tests.peers.modbus_server import ModbusServer
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto
from tests.peers.proxy import Proxy
from tests.peers.until import until

pytestmark = pytest.mark.anyio

QUICK = "retry: {first: 10ms, max: 20ms}"
Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


# ---- a device that does not answer as it should --------------------------------------------------------------------


class Meter:
    """A device whose one register counts its questions. ``mood`` says how it answers; ``honest`` are the values of
    questions that were answered as they should be, in time."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.honest: set[int] = set()
        self.mood: Answering = self.well
        self._old = b""
        self._tasks: set[asyncio.Future[None]] = set()

    def right(self, question: bytes, value: int = 0, **other: bytes) -> bytes:
        number, unit = other.get("number", question[:2]), other.get("unit", question[6:7])
        return number + b"\0\0\0\5" + unit + question[7:8] + b"\2" + (value or self.asked).to_bytes(2)

    async def well(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        self.honest.add(self.asked)
        writer.write(self.right(question))

    async def in_pieces(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        self.honest.add(self.asked)
        for byte in self.right(question):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async def garbage(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(range(40, 80)))

    async def another_transaction(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self.right(question, number=b"\xfe\xdc"))

    async def another_unit(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self.right(question, unit=b"\x09"))

    async def too_short(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self.right(question)[:-1])

    async def too_long(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(self.right(question) * 2)

    async def the_previous_answer(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        print("Q", question.hex(), "old", self._old.hex(), id(writer))
        writer.write(self.right(self._old or question, 40_000))

    async def refused(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(question[:2] + b"\0\0\0\3" + question[6:7] + bytes([question[7] | 0x80, 4]))

    async def silent(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    async def hangs_up(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def resets(self, question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    def was_asked_since(self, asked: int) -> bool:
        return self.asked > asked

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while question := await reader.read(12):
                self.asked += 1
                await self.mood(question, writer)
                self._old = question
        writer.close()

    def joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self.serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def meter() -> AsyncIterator[Meter]:
    device = Meter()
    server = await asyncio.start_server(device.joined, "127.0.0.1", 0)
    device.port = server.sockets[0].getsockname()[1]
    try:
        yield device
    finally:
        server.close()


async def test_only_what_is_an_answer_is_a_value(tmp_path: Path) -> None:
    async with meter() as device:
        text = f"""
flow: site
nodes:
  meter:
    {{type: modbus-in, host: 127.0.0.1, port: {device.port}, every: 10ms, timeout: 50ms, {QUICK},
     registers: {{count: {{address: 0}}}}}}
"""
        async with living(tmp_path / "data", text=text) as flow:
            moods = [
                device.garbage, device.another_transaction, device.another_unit, device.too_short, device.too_long,
                device.the_previous_answer, device.silent, device.hangs_up, device.resets, device.refused,
                device.in_pieces,
            ]  # fmt: skip
            for mood in moods:
                device.mood = mood
                asked = device.asked + 2
                await flow.until(partial(device.was_asked_since, asked), f"it is asked again: {mood.__name__}")
                device.mood = device.well
                await flow.until(partial(speaks, flow, len(values(flow))), f"it is believed again: {mood.__name__}")
            assert set(values(flow)) <= device.honest
            assert values(flow) == sorted(values(flow)), "none is of an earlier question"
            assert flow.node("meter", "site")["connected"] is True


def speaks(flow: Living, before: int) -> bool:
    return len(values(flow)) > before


def values(flow: Living) -> list[int]:
    return [one.payload["count"] for one in flow.seen.get("meter", ()) if one.payload]


# ---- all lines fail again and again --------------------------------------------------------------------------------


def held() -> tuple[int, int]:
    """Tasks and open files of this process, once what is on its way out has gone."""
    gc.collect()
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (names only)


ROUNDS = 12
FAULTS: tuple[Callable[[Proxy], None], ...] = (
    lambda line: line.cut(),
    lambda line: line.cut(reset=False),
    lambda line: line.garble("to_client", lambda data: data[::-1]),
    lambda line: line.freeze(),
    lambda line: line.freeze("to_client"),
)


async def test_outages_leave_nothing_behind(tmp_path: Path) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"x": 1}')
        writer.close()

    web = await asyncio.start_server(page, "127.0.0.1", 0)
    with Mosquitto(tmp_path / "broker", lines=TELLS_WHO_LISTENS) as broker:
        async with (
            ModbusServer() as server,
            Proxy(server.port) as to_device,
            Proxy(broker.port) as to_broker,
            Proxy(web.sockets[0].getsockname()[1]) as to_web,
        ):
            server.set(0, [7])
            text = f"""
flow: site
nodes:
  device:
    {{type: modbus-in, host: 127.0.0.1, port: {to_device.port}, every: 10ms, timeout: 100ms, {QUICK},
     registers: {{x: {{address: 0}}}}}}
  page:
    {{type: http-poll, url: "http://127.0.0.1:{to_web.port}/", every: 10ms, timeout: 100ms, {QUICK},
     fields: {{x: {{}}}}}}
  bus: {{type: mqtt-in, broker: "mqtt://127.0.0.1:{to_broker.port}", topics: {{t: {{field: x}}}}}}
"""
            async with living(tmp_path / "data", text=text) as flow:
                lines = {"device": to_device, "page": to_web}

                def good(node: str) -> int:
                    return sum(1 for one in flow.seen.get(node, ()) if one.payload)

                async def all_well() -> None:
                    for node in lines:
                        before = good(node)
                        await flow.until(lambda: good(node) > before + 1, f"{node} speaks again")  # noqa: B023  (awaited here)

                async def bus_well() -> None:
                    before = good("bus")
                    await flow.until(lambda: flow.node("bus", "site")["connected"] is True, "the bus is there")
                    await publish(broker.port, "t", "5", retain=True)
                    await flow.until(lambda: good("bus") > before, "the bus is heard")

                await all_well()
                await broker.subscribed("t")
                await bus_well()
                tasks, files = held()
                for number in range(ROUNDS):
                    faults = FAULTS[number % len(FAULTS)]
                    for line in lines.values():
                        faults(line)
                        await line.connected(line.connections + 1)
                    if number < 2:
                        FAULTS[number](to_broker)
                        await flow.until(lambda: flow.node("bus", "site")["connected"] is False, "the bus has gone")
                    for line in (*lines.values(), to_broker):
                        line.garble("to_client", None)
                        line.cut()
                        line.thaw()
                    await all_well()
                await bus_well()
                await until(lambda: to_device.open <= 1 and to_web.open <= 1 and to_broker.open <= 1, "one line each")
                after = held()
                assert after[0] <= tasks + 1, "a task more, where one is on its way"
                assert after[1] <= files + 2
    web.close()
