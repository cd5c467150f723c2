"""A flow that lives in the test's loop: real engine, real sockets, flow time as fast as a test wants it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import paho.mqtt.publish

from flowrunner.clock import Clock, LiveClock, ScaledClock
from flowrunner.engine import Engine
from flowrunner.exchange.simulator import Exchange
from flowrunner.exchange.simulator.server import ExchangeServer
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.web import Server, listen
from tests.peers.until import until

LOOK_S = 0.02
"""Between two looks over HTTP: they are work for the loop that the flow lives in."""
BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"


class Living:
    """A running flow and an HTTP client for it."""

    def __init__(self, engine: Engine, http: httpx2.AsyncClient) -> None:
        self.engine = engine
        self.http = http
        self.seen: dict[str, list[Message]] = {}
        """Everything that left a node by ``out``, by node id."""
        for worker in engine.runtime.workers.values():
            worker.tap = self._tap(worker.node.id)

    def _tap(self, node: str) -> Callable[[str, Message], None]:
        def record(port: str, message: Message) -> None:
            if port == "out":
                self.seen.setdefault(node, []).append(message)

        return record

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what)

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        return answer.json()

    async def status(self) -> Any:
        return await self.get("/api/bess/status")

    async def until_status(self, condition: Callable[[Any], bool], what: str) -> Any:
        """Wait until the merged record looks so."""
        found: Any = None

        async def held() -> bool:
            nonlocal found
            found = await self.status()
            return condition(found)

        await until(held, lambda: f"{what}; the status is {found}", every_s=LOOK_S)
        return found

    async def post(self, values: Mapping[str, Any]) -> httpx2.Response:
        return await self.http.post("/api/bess/telemetry", json=dict(values))

    def node(self, node: str, flow: str = "bess") -> Any:
        return self.engine.node(flow, node)


@asynccontextmanager
async def living(
    folder: Path,
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    speed: float = 1.0,
    clock: Clock | None = None,
) -> AsyncIterator[Living]:
    """Run ``text`` (bess.yaml unless told) with its state in ``folder``, flow time ``speed`` times as fast as ours.

    bess.yaml meets a simulated exchange, where ``environment`` names no other.
    """
    clock = clock or (LiveClock() if speed == 1.0 else ScaledClock(time.time_ns(), speed))
    market = Exchange(clock.now, lambda market, at: 90.0, markets=["epex_at"])
    exchange = ExchangeServer(market, "key-of-the-exchange")
    await exchange.start()
    found = {"EXCHANGE_URL": exchange.url, "EXCHANGE_API_KEY": "key-of-the-exchange", **(environment or {})}
    checked = check_flows({"flow.yaml": text or BESS.read_text("utf-8")}, found, Registry())
    assert checked.graph is not None, checked.problems
    store = Store.open(folder)
    try:
        engine = Engine(checked, store=store, clock=clock)
        server = Server(engine, listen("127.0.0.1", 0), {}, "127.0.0.1")
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as http:
            try:
                await engine.start()
                flow = Living(engine, http)  # at once: nothing has moved yet
                await server.start()
                yield flow
            finally:
                await server.close()
                await engine.stop()
    finally:
        await store.close()
        await exchange.stop()


async def publish(port: int, topic: str, payload: str | bytes, *, qos: int = 1, retain: bool = False) -> None:
    """Publish one message with a client of its own, and wait until the broker has it."""
    await asyncio.to_thread(
        paho.mqtt.publish.single, topic, payload, qos=qos, retain=retain, hostname="127.0.0.1", port=port
    )
