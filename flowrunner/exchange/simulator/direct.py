"""The simulated exchange without a socket: a client of it inside this process, for virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from flowrunner.errors import NotConnected
from flowrunner.exchange.simulator.app import HANG_UP, app
from flowrunner.exchange.simulator.core import Exchange
from flowrunner.httpclient import Answer, HttpClient, NoAnswer
from flowrunner.httpclient.address import shown
from flowrunner.httpclient.client import KEPT_OPEN_S, REPEATABLE, checked
from flowrunner.httpclient.stream import WAITING

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger("flowrunner.exchange.simulator")


class DirectClient(HttpClient):
    """As :class:`HttpClient` against an :class:`ExchangeServer`, in any event loop: the same application answers, armed
    faults included, and each failure means the same. All times are the loop's, so in virtual time a late answer takes
    flow time and no other. Nobody calls ``exchange.advance`` by itself here; every call of the interface does.

    Put it where nodes share their connections, at ``("http", origin, "")``, and they never meet a socket.
    """

    def __init__(self, exchange: Exchange, api_key: str, base: str = "http://127.0.0.1:9100") -> None:
        super().__init__(base, timeout_s=10.0)
        self._app = app(exchange, api_key)
        self._calls: set[_Call] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._kept_until: float | None = None
        """Until when a connection would be used again, in the loop's time."""
        self._away = False

    @property
    def away(self) -> bool:
        """Whether nobody listens at the address. Who goes away hangs up on everybody, and on late answers too."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        if away:
            self._kept_until = None
            for call in self._calls:
                call.hang_up()

    async def close(self) -> None:
        for call in self._calls:
            call.hang_up()
        if self._serving:
            await asyncio.wait(self._serving)
        await super().close()

    async def request(
        self,
        method: str,
        path_or_url: str = "",
        *,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float | None = None,
        fresh: bool = False,
        still: Callable[[], str] | None = None,
    ) -> Answer:
        url = self._url(path_or_url, params or {})
        scope = _scope(url, "http", checked(method, headers or {})) | {"method": method}
        limit = self._timeout_s if timeout_s is None else timeout_s
        where = shown(url)
        try:
            async with asyncio.timeout(limit):
                kept = not fresh and self._kept_until is not None and self._kept_until > _time()
                try:
                    return await self._once(scope, content or b"", where, fresh, still)
                except NoAnswer:
                    if not kept or method not in REPEATABLE:
                        raise
                return await self._once(scope, content or b"", where, True, still)
        except TimeoutError:
            raise NoAnswer(f"{where}: no answer within {limit:g} s") from None

    async def _once(
        self, scope: dict[str, Any], content: bytes, where: str, fresh: bool, still: Callable[[], str] | None
    ) -> Answer:
        self._reach(where)
        await asyncio.sleep(0)  # as on a network, others may act before the request arrives
        self._reach(where)
        if still is not None and (why := still()):
            raise NotConnected(why)
        call = _Call({"type": "http.request", "body": content, "more_body": False})
        self._serve(call, scope | {HANG_UP: call.hang_up})
        if not fresh:
            self._kept_until = None
        answer = await self._heard(call, where)
        if not fresh:
            self._kept_until = _time() + KEPT_OPEN_S
        return answer

    async def _heard(self, call: _Call, where: str) -> Answer:
        status, headers, body = 0, {}, b""
        try:
            while (said := await call.heard()) is not None:
                if said["type"] == "http.response.start":
                    status = said["status"]
                    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in said["headers"]}
                else:
                    body += said.get("body", b"")
                    if not said.get("more_body", False):
                        return Answer(status, headers, body)
        finally:
            call.hang_up()
        raise NoAnswer(f"{where}: the server closed the connection without an answer")

    async def listen(
        self,
        path_or_url: str = "",
        *,
        params: Mapping[str, str | int | float] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[str, None]:
        url = self._url(path_or_url, params or {})
        where = shown(url)
        self._reach(where)
        call = _Call({"type": "websocket.connect"})
        self._serve(call, _scope(url, "websocket", {}) | {"subprotocols": []})
        opened = False
        try:
            while (said := await call.heard()) is not None:
                if said["type"] == "websocket.accept":
                    opened = True
                elif said["type"] == "websocket.send":
                    yield said["text"]
                elif not opened:
                    raise NotConnected(f"{where}: the server answers 403 and opens no stream")
                else:
                    raise NotConnected(f"{where}: the stream ended (code {said.get('code', 1000)})")
        finally:
            call.hang_up()
        raise NotConnected(f"{where}: the stream ended")

    def _reach(self, where: str) -> None:
        if self._closed:
            raise NotConnected(f"{where}: this client is closed")
        if self._away:
            raise NotConnected(f"{where}: connection refused; is the server running, and are host and port right?")

    def _serve(self, call: _Call, scope: dict[str, Any]) -> None:
        """In a task of its own: what has arrived is done, whether or not the client waits for it."""
        self._calls.add(call)
        serving = asyncio.get_running_loop().create_task(call.serve(self._app, scope))
        self._serving.add(serving)

        def done(task: asyncio.Task[None]) -> None:
            self._serving.discard(task)
            self._calls.discard(call)

        serving.add_done_callback(done)


class _Call:
    """One request or stream on its way, as the application's server sees it."""

    def __init__(self, first: dict[str, Any]) -> None:
        self._first: dict[str, Any] | None = first
        self._kind = first["type"].partition(".")[0]
        self._said: deque[dict[str, Any]] = deque()
        self._gone = asyncio.Event()
        self._said_more = asyncio.Event()
        self._heard_more = asyncio.Event()

    def hang_up(self, *, reset: bool = False) -> None:
        """From either side, in either way: what was said before is still heard, and nothing more."""
        for waited_for in (self._gone, self._said_more, self._heard_more):
            waited_for.set()

    async def heard(self) -> dict[str, Any] | None:
        """The next that the application says; None when the connection is gone."""
        while not self._said and not self._gone.is_set():
            self._said_more.clear()
            await self._said_more.wait()
        self._heard_more.set()
        return self._said.popleft() if self._said else None

    async def serve(self, to: Starlette, scope: dict[str, Any]) -> None:
        try:
            await to(scope, self._receive, self._send)
        except Exception:  # as a server does: the client sees what it sees of it
            log.exception("the simulated exchange failed at %s", scope["path"])
        finally:
            self.hang_up()

    async def _receive(self) -> dict[str, Any]:
        first, self._first = self._first, None
        if first is not None:
            return first
        await self._gone.wait()
        return {"type": f"{self._kind}.disconnect", "code": 1006}

    async def _send(self, said: Any) -> None:
        """It waits while the client does not read, as before a full socket."""
        while len(self._said) >= WAITING and not self._gone.is_set():
            self._heard_more.clear()
            await self._heard_more.wait()
        if not self._gone.is_set():
            self._said.append(said)
            self._said_more.set()


def _scope(url: httpx2.URL, kind: str, headers: Mapping[str, str]) -> dict[str, Any]:
    named = {"host": url.netloc.decode("ascii")} | {name.lower(): value for name, value in headers.items()}
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()],
        "client": None,
        "server": None,
    }


def _time() -> float:
    return asyncio.get_running_loop().time()
