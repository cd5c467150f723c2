"""A broker and a server that come and go under a running flow: all that was taken arrives, in order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.end_to_end.living import Living, living
from tests.peers.mosquitto import Mosquitto, free_port
from tests.peers.raw_http import Asked, always, serve, text
from tests.store_and_forward.listener import Listener, once

pytestmark = pytest.mark.anyio

FLOW = """
flow: bess
nodes:
  in: {{type: http-in, route: POST /in, rate_limit: 100000/s}}
  out: {{type: {sink}, from: in, retry: {{first: 20ms, max: 50ms}}, queue: {{size: 500, when_full: drop_oldest{more}}}}}
"""
MORE = ["", ", durable: true"]
WHILE = 10
"""Messages in each state of the peer."""


async def put(flow: Living, first: int) -> int:
    for number in range(first, first + WHILE):
        answer = await flow.http.post("/in", json={"soc_percent": number})
        assert answer.status_code == 200
    return first + WHILE


async def answered(flow: Living, count: int) -> None:
    await flow.until(lambda: len(flow.seen.get("out", ())) == count, f"{count} answers")


@pytest.mark.parametrize("more", MORE)
async def test_a_broker(tmp_path: Path, more: str) -> None:
    broker = Mosquitto(tmp_path / "broker", persistence=True)
    broker.start()
    async with Listener(broker):
        pass  # from now on its session keeps what is published
    sink = f'mqtt-out, broker: "{broker.url}", topic: out, qos: 1'
    try:
        async with living(tmp_path / "data", text=FLOW.format(sink=sink, more=more)) as flow:
            count = 0
            for _ in range(3):
                await flow.until(lambda: flow.node("out")["connected"] is True, "it is connected")
                count = await put(flow, count)
                broker.stop()
                await flow.until(lambda: flow.node("out")["connected"] is False, "it is missed")
                count = await put(flow, count)
                broker.start()
            await flow.until(lambda: flow.node("out")["inbox"] == 0, "nothing waits")
            async with Listener(broker) as listener:
                await flow.until(lambda: len(once(listener.heard)) >= count, "all are there")
                assert once(listener.heard) == list(range(count))
            assert flow.node("out")["dropped"] == {}
    finally:
        broker.kill()


@pytest.mark.parametrize("more", MORE)
async def test_a_web_server(tmp_path: Path, more: str) -> None:
    port, got, count = free_port(), list[int](), 0
    sink = f'http-out, url: "http://127.0.0.1:{port}/"'
    async with living(tmp_path / "data", text=FLOW.format(sink=sink, more=more)) as flow:
        for _ in range(3):
            async with serve(always(text("{}")), port=port) as server:
                count = await put(flow, count)
                await flow.until(lambda: flow.node("out")["inbox"] == 0, "nothing waits")
                await flow.until(lambda: flow.node("out")["connected"] is True, "it is there")
                await answered(flow, count)
                got += [json.loads(one.body)["soc_percent"] for one in server.asked]
            count = await put(flow, count)
            await flow.until(lambda: flow.node("out")["connected"] is False, "it is missed")
        async with serve(always(text("{}")), port=port) as server:
            await answered(flow, count)
            got += [json.loads(one.body)["soc_percent"] for one in server.asked]
        assert once(got) == list(range(count))
        assert flow.node("out")["dropped"] == {}


CUT_OFF = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nxx"
RECORDS = [{"soc_percent": one, "active_power_mw": 0, "temperature_c": 20} for one in range(3)]


async def test_an_exchange_that_asks_to_wait_and_one_whose_answer_breaks_off(tmp_path: Path) -> None:
    replies = always(text("", "503 Later", more="retry-after: 1\r\n"), CUT_OFF, text("{}"))

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await replies(asked, writer)
        if len(server.asked) == 2:
            writer.close()

    async with serve(reply) as server:
        sink = f'exchange-out, send: telemetry, url: "{server.url}"'
        async with living(tmp_path / "data", text=FLOW.format(sink=sink, more=", durable: true")) as flow:
            loop = asyncio.get_running_loop()
            began = loop.time()
            for record in RECORDS:
                (await flow.http.post("/in", json=record)).raise_for_status()
            await answered(flow, 3)
            assert loop.time() - began >= 1
            assert [json.loads(one.body) for one in server.asked] == [RECORDS[0], *RECORDS]
            assert flow.node("out")["errors"] == {"retry": 1}
