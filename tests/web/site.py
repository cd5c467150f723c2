"""A flow behind the real HTTP server, in the test's own loop, and a client for it."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from flowrunner.clock import LiveClock, ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.logs import Secrets
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.reloading import Reloader, Sources
from flowrunner.store import Store
from flowrunner.store.people import Role, add_key, add_user
from flowrunner.web import Server, listen
from flowrunner.web.people import passwords
from flowrunner.web.people.person import csrf_token, digest
from tests.peers.until import until

PATIENCE_S = 10.0
PASSWORD = "correct horse battery staple"
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

    def __init__(self, engine: Engine, server: Server, http: httpx2.AsyncClient, reloader: Reloader) -> None:
        self.engine, self.server, self.http, self.reloader = engine, server, http, reloader
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

    async def log_in(self, name: str, password: str = PASSWORD, **headers: str) -> httpx2.Response:
        """As the log-in page's form does; the client keeps the cookies."""
        return await self.http.post("/login", data={"name": name, "password": password}, headers=headers)

    @property
    def csrf(self) -> dict[str, str]:
        """The header of the client's session."""
        return {"x-csrf-token": csrf_token(self.http.cookies[self.server.people.cookie])}

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what, PATIENCE_S)


@functools.cache
def hashed_password() -> str:
    """Of PASSWORD: computed once, it takes its time."""
    return passwords.hashed(PASSWORD)


def key_of(name: str) -> str:
    return f"key of {name}"


async def _let_in(store: Store, users: Mapping[str, Role], keys: Mapping[str, Role]) -> None:
    def work(sql: sqlite3.Connection) -> None:
        for name, role in users.items():
            add_user(sql, name, role, hashed_password(), 0)
        for name, role in keys.items():
            add_key(sql, name, role, digest(key_of(name)), 0)

    if users or keys:
        await store.submit(work)


@asynccontextmanager
async def site(
    text: str = FLOW,
    *,
    environment: Mapping[str, str] | None = None,
    nodes: Sequence[Path] = (),
    request_s: float = 30.0,
    host: str = "127.0.0.1",
    speed: float = 1.0,
    folder: Path | None = None,
    data: Path | None = None,
    users: Mapping[str, Role] | None = None,
    keys: Mapping[str, Role] | None = None,
) -> AsyncIterator[Site]:
    """``folder``: the flow is a file there, ``site.yaml``, and can be reloaded. ``data``: the store is there. ``users``
    have PASSWORD, ``keys`` are ``key_of(name)``."""
    environment = environment or {}
    registry = Registry(nodes)
    file = Path("site.yaml") if folder is None else folder / "site.yaml"
    if folder is not None:
        file.write_text(text, "utf-8")
    checked = check_flows({str(file): text}, environment, registry)
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    clock = LiveClock() if speed == 1.0 else ScaledClock(time.time_ns(), speed)
    engine = Engine(checked, store=Store.open(data), clock=clock)
    await _let_in(engine.store, users or {}, keys or {})
    reloader = Reloader(engine, Sources([file], lambda: environment, None, registry), Secrets())
    reload = None if folder is None else reloader.reload
    server = Server(engine, listen(host, 0), environment, host, reload=reload, request_s=request_s)
    base = f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
    try:
        await engine.start()
        await server.start()
        async with httpx2.AsyncClient(base_url=base, trust_env=False) as http:
            yield Site(engine, server, http, reloader)
    finally:
        await server.close()
        await reloader.close(PATIENCE_S)
        await engine.stop()
