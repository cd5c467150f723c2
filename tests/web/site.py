"""A flow behind the real HTTP server, in the test's own loop, and a client for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from flowrunner.clock import LiveClock, ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.web import Server, listen
from tests.peers.until import until

PATIENCE_S = 10.0
FLOW = """
flow: site
nodes:
  rest:
    type: http-in
    route: POST /values
    api_key: ${SITE_KEY:-}
    rate_limit: 100000/s
    body:
      soc_percent: {min: 0, max: 100, unit: "%"}
      power_mw: {min: -20, max: 20, unit: MW}
      count: {type: integer}
      name: {type: text}
      on: {type: boolean}
    reply: {json: {status: OK, message: taken}, accepted_as: data}
  hand: {type: manual-in, fields: {soc_percent: {min: 0, max: 100}}, expires_after: 1h}
  record: {type: merge, from: [rest, hand], stale_after: 90s}
  status: {type: http-in, route: GET /status, api_key: "${SITE_KEY:-}", rate_limit: 100000/s, reply_with: record}
"""


class Site:
    """``http`` is a client of the running server; ``record`` is what the flow took."""

    def __init__(self, engine: Engine, server: Server, http: httpx2.AsyncClient) -> None:
        self.engine, self.server, self.http = engine, server, http
        self.port = server.port

    def node(self, node: str, flow: str = "site") -> Any:
        """The node's own object."""
        return self.engine.runtime.workers[f"{flow}/{node}"].node

    def last(self, node: str, port: str = "out", flow: str = "site") -> Message | None:
        return self.engine.runtime.workers[f"{flow}/{node}"].counters.last.get(port)

    @property
    def record(self) -> Any:
        last = self.last("record")
        return None if last is None else last.payload

    def dropped(self, node: str, flow: str = "site") -> dict[str, int]:
        return self.engine.runtime.workers[f"{flow}/{node}"].counters.dropped

    async def post(self, body: bytes | str, path: str = "/values", **headers: str) -> httpx2.Response:
        named = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self.http.post(path, content=body, headers=named)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own, close our side, and read what comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what, PATIENCE_S)


@asynccontextmanager
async def site(
    text: str = FLOW,
    *,
    environment: Mapping[str, str] | None = None,
    nodes: Sequence[Path] = (),
    request_s: float = 30.0,
    host: str = "127.0.0.1",
    speed: float = 1.0,
) -> AsyncIterator[Site]:
    environment = environment or {}
    checked = check_flows({"site.yaml": text}, environment, Registry(nodes))
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    clock = LiveClock() if speed == 1.0 else ScaledClock(time.time_ns(), speed)
    engine = Engine(checked, store=Store.open(None), clock=clock)
    server = Server(engine, listen(host, 0), environment, host, request_s=request_s)
    base = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
    try:
        await engine.start()
        await server.start()
        async with httpx2.AsyncClient(base_url=base, trust_env=False) as http:
            yield Site(engine, server, http)
    finally:
        await server.close()
        await engine.stop()
