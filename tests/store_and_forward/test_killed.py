"""The program as a process, killed again and again while its peers are away: all that was taken arrives, in order."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.peers.mosquitto import Mosquitto, free_port
from tests.peers.program import Program
from tests.peers.raw_http import RawServer, always, serve, text
from tests.peers.until import until
from tests.store_and_forward.listener import Listener, once

pytestmark = pytest.mark.anyio

FLOW = """
flow: relay
nodes:
  in: {{type: http-in, route: POST /in, rate_limit: 100000/s}}
  broker: {{type: mqtt-out, from: in, broker: "{broker}", topic: "out", qos: 1, {kept}}}
  web: {{type: http-out, from: in, url: "{url}/web", {kept}}}
  exchange: {{type: exchange-out, from: in, send: telemetry, url: "{url}", {kept}}}
"""
KEPT = "retry: {first: 50ms, max: 100ms}, queue: {durable: true, size: 5000, when_full: drop_oldest, max_age: 1d}"
COUNT = 30


class Relay:
    """``killed()`` is one life of the program, ended by SIGKILL."""

    def __init__(self, folder: Path, broker: str, url: str) -> None:
        self._file, self._data = folder / "flow.yaml", folder / "data"
        self._file.write_text(FLOW.format(broker=broker, url=url, kept=KEPT))
        self.next = 0

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[Program]:
        program = Program(self._file, data=self._data)
        await asyncio.to_thread(program.__enter__)
        try:
            yield program
        finally:
            await asyncio.to_thread(program.end, signal.SIGKILL)

    async def take(self, program: Program, count: int) -> None:
        """Give it so many numbers; each is answered only when it is safe."""
        async with httpx2.AsyncClient(base_url=program.url, trust_env=False) as http:
            for _ in range(count):
                record = {"soc_percent": self.next, "active_power_mw": 0, "temperature_c": 20}
                answer = await http.post("/in", json=record)
                assert answer.status_code == 200, answer.text
                self.next += 1


def heard(server: RawServer, path: str) -> list[Any]:
    return [json.loads(one.body)["soc_percent"] for one in server.asked if one.line.startswith(f"POST {path} ")]


async def test_all_that_was_taken_arrives_in_order(tmp_path: Path) -> None:
    port = free_port()
    broker = Mosquitto(tmp_path / "broker", persistence=True)
    broker.start()
    async with Listener(broker):
        pass  # its session is there
    broker.stop()
    relay = Relay(tmp_path, broker.url, f"http://127.0.0.1:{port}")
    for _ in range(2):
        async with relay.killed() as program:
            await relay.take(program, COUNT)
    answer = always(text("{}"))
    broker.start()
    try:
        async with serve(answer, port=port) as server, Listener(broker) as listener:
            async with relay.killed() as program:
                await asyncio.gather(relay.take(program, COUNT), server.until(COUNT))  # killed in the middle of it
            async with relay.killed() as program:
                await relay.take(program, COUNT)
                everything = list(range(4 * COUNT))

                def all_there() -> bool:
                    return all(
                        len(once(one)) >= len(everything)
                        for one in (heard(server, "/web"), heard(server, "/telemetry/bess"), listener.heard)
                    )

                await until(all_there, lambda: f"{len(server.asked)} requests, {len(listener.heard)} of the broker")
            assert once(heard(server, "/web")) == everything
            assert once(heard(server, "/telemetry/bess")) == everything
            assert once(listener.heard) == everything
            keys: dict[Any, set[str | None]] = {}
            for one in server.asked:
                if one.line.startswith("POST /web "):
                    keys.setdefault(json.loads(one.body)["soc_percent"], set()).add(one.header("idempotency-key"))
            assert all(len(found) == 1 for found in keys.values()), "a repeat has the key of the first"
            assert len(set.union(*keys.values())) == len(everything)
    finally:
        broker.kill()
