"""Back-pressure at sockets: a broker that holds what is not taken, a reader of the API that never reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import paho.mqtt.publish
import pytest

from flowrunner.web.connection import MAX_AHEAD
from tests.end_to_end.living import living
from tests.peers.mosquitto import TELLS_WHO_LISTENS, Mosquitto
from tests.peers.raw_http import Asked, serve

pytestmark = pytest.mark.anyio

DONE = b"HTTP/1.1 204 No Content\r\n\r\n"
FLOW = """
flow: bess
nodes:
  in: {{type: mqtt-in, broker: "{broker}", topic: news, qos: 1}}
  slow: {{type: http-out, from: in, url: "{url}/", timeout: 60s, queue: {{size: 10}}}}
  fast: {{type: select, from: in, fields: [n], queue: {{size: 10}}}}
"""
COUNT = 2000


async def test_the_broker_holds_what_the_flow_does_not_take(tmp_path: Path) -> None:
    """The sink's server does not answer: mqtt-in stops reading, and no message is lost or kept twice in memory."""
    gate = asyncio.Event()
    got: list[Any] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        got.append(json.loads(asked.body)["n"])
        writer.write(DONE)

    lines = (*TELLS_WHO_LISTENS, "max_queued_messages 0", "max_inflight_messages 0")
    with Mosquitto(tmp_path / "broker", lines=lines) as broker:
        async with serve(reply) as server:
            text = FLOW.format(broker=broker.url, url=server.url)
            async with living(tmp_path / "data", text=text) as flow:
                await broker.subscribed("news")
                messages: list[Any] = [("news", json.dumps({"n": number}), 1, False) for number in range(COUNT)]
                await asyncio.to_thread(paho.mqtt.publish.multiple, messages, hostname="127.0.0.1", port=broker.port)
                await server.until(1)
                node = flow.engine.runtime.workers["bess/in"].node
                inbox = flow.engine.runtime.workers["bess/slow"].inbox
                await flow.until(lambda: len(inbox) == 10, "the inbox is full")
                beat = flow.node("in")["sent"]
                (await flow.http.get("/metrics")).raise_for_status()  # everything else goes on
                await flow.until(lambda: node.packets.qsize() > 0, "packets wait")  # type: ignore[attr-defined]  # mqtt-in's
                held = node.packets.qsize() + len(inbox) + inbox.in_line  # type: ignore[attr-defined]  # mqtt-in's
                assert held < COUNT / 2, "the rest is at the broker"
                assert flow.node("in")["sent"] == beat <= 12, "nothing more is taken in"
                assert len(flow.seen["in"]) == beat
                gate.set()
                await flow.until(lambda: len(got) >= COUNT, "all arrive")
                assert got == list(range(COUNT))
                assert flow.node("in")["dropped"] == flow.node("slow")["dropped"] == {}


QUICK = """
flow: bess
nodes:
  in: {type: http-in, route: POST /in, rate_limit: 100000/s}
  out: {type: select, from: in, fields: [n]}
"""


@pytest.mark.parametrize("at_once", [1, 1000])
async def test_a_reader_that_never_reads_slows_no_flow(tmp_path: Path, at_once: int) -> None:
    """It asks for the metrics again and again, and reads nothing: its own connection stands still, or is closed where
    it asks without end; nothing else happens."""
    async with living(tmp_path, text=QUICK) as flow:
        port = flow.http.base_url.port or 0
        requests = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port * at_once
        with socket.create_connection(("127.0.0.1", port)) as mute:
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mute.setblocking(False)
            hung_up = False
            for number in range(100):
                with contextlib.suppress(BlockingIOError):
                    try:
                        mute.send(requests)
                    except ConnectionError:
                        hung_up = True
                answer = await flow.http.post("/in", json={"n": number})
                assert answer.status_code == 200
            assert [one.payload["n"] for one in flow.seen["out"]] == list(range(100))
            assert hung_up == (at_once > MAX_AHEAD)
