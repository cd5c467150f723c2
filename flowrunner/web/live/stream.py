"""The stream of one reader, and the routes: ``/api/v1/live`` and the strip."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.types import ASGIApp, Receive, Scope, Send

from flowrunner.engine import Unknown
from flowrunner.errors import did_you_mean
from flowrunner.http import refusal, retry_after
from flowrunner.web.answer import answer, ok
from flowrunner.web.connection import TRANSPORT, not_taken
from flowrunner.web.endpoint import Endpoint, Query
from flowrunner.web.live.frame import MS
from flowrunner.web.live.hub import HZ, MOST_READERS, Hub, Reader
from flowrunner.web.live.past import Then
from flowrunner.web.live.strip import Shown
from flowrunner.web.live.tap import MOST_RATE, MOST_TAPS, Feed
from flowrunner.web.people.person import Person

WAITING = 65_536
"""Bytes that the system keeps for one reader, and as many that we do: what is older than that is not worth sending."""
MOST_FRAMES = 100_000
LAST_MS = 9_000_000_000_000
"""The latest time that may be asked for: the year 2255, which an instant still holds."""
HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
"""The last: proxies must not collect it."""
EVENTS = """Server-sent events: `snapshot` first, then `delta` with what has changed, at least one a second, and `tap`
for each message of a tapped node. Columns belong to `i`, places in `names` or `watches` of the snapshot; a column that
is left out has not changed. Whoever misses a delta gets a snapshot."""


def endpoints(hub: Hub, knows: Callable[[Person], bool]) -> list[Endpoint]:
    """The stream and the strip. ``knows``: whether who began to read may go on."""
    api = _Live(hub, knows)
    return [
        Endpoint(
            "GET", "/api/v1/live", api.live_stream, "What is new, as a stream of events",
            gives=Annotated[str, Meta(description=" ".join(EVENTS.split()))],
            media="text/event-stream",
            query=(
                Query("tap", f"Nodes whose messages are sent along: `flow/id`, at most {MOST_TAPS}, with commas."),
                Query(
                    "tap_rate", "Messages a second of each tapped node, at most; what is left out is counted.",
                    kind=Annotated[float, Meta(gt=0, le=MOST_RATE)],
                ),
                Query(
                    "frames", "End after so many frames; without it the stream has no end.",
                    kind=Annotated[int, Meta(ge=1, le=MOST_FRAMES)],
                ),
            ),
            refuses={
                404: {"unknown": "A node that is to be tapped does not run."},
                422: {"value": "A parameter is wrong; the detail says which."},
                503: {
                    "too-many-readers": f"{MOST_READERS} streams are open already.",
                    "stopping": "The server stops.",
                },
            },
        ),
        Endpoint(
            "GET", "/api/v1/flows/{flow}/strip", api.strip, "The last 15 minutes of a flow", gives=Shown,
        ),
        Endpoint(
            "GET", "/api/v1/flows/{flow}/then", api.then, "The nodes of a flow as they were",
            gives=Then,
            query=(
                Query(
                    "at", "When, in milliseconds since 1970-01-01T00:00:00Z, flow time, like `at` of the strip.",
                    kind=Annotated[int, Meta(ge=0, le=LAST_MS)], required=True,
                ),
            ),
            refuses={
                404: {"not-kept": "Nothing is kept of that time."},
                422: {"value": "The time is missing, or is none."},
            },
        ),
    ]  # fmt: skip


class _Wrong(ValueError):
    """A parameter; the text says which and why."""


class _Live:
    def __init__(self, hub: Hub, knows: Callable[[Person], bool]) -> None:
        self.hub, self._knows = hub, knows

    async def live_stream(self, request: Request) -> ASGIApp:
        """Figures of all nodes and the values that dashboards show, as they change; up to ten frames a second. It goes
        on until the client ends it, or may not read any more. While the client does not read, nothing is kept for it:
        it gets a snapshot then, and is dropped when it takes nothing for five seconds."""
        hub = self.hub
        try:
            asked = _asked(request.query_params, hub)
        except _Wrong as error:
            return answer(refusal(422, "value", str(error)))
        if hub.closing:
            return answer(refusal(503, "stopping", "this server stops", headers=retry_after(5)))
        if hub.full:
            text = f"{hub.most_readers} streams are open already; close pages that nobody looks at"
            return answer(refusal(503, "too-many-readers", text, headers=retry_after(5)))
        if request.method == "HEAD":
            return Bytes(headers=HEADERS)
        return Stream(hub, *asked, may=partial(self._knows, request.state.person))

    async def strip(self, request: Request) -> Bytes:
        """Messages per second and errors in steps of five seconds, and marks for reloads and errors."""
        flow: str = request.path_params["flow"]
        if flow not in self.hub.engine.graph.flows:
            raise Unknown(f"there is no flow {flow[:64]!r}")
        return ok(self.hub.strip(flow))

    async def then(self, request: Request) -> Bytes:
        """State, counters and the newest message of each node at the last step up to a time, as far as these are the
        last 15 minutes and a server has run. Nothing is kept of an engine with more than 2,000 nodes."""
        flow: str = request.path_params["flow"]
        if flow not in self.hub.engine.graph.flows:
            raise Unknown(f"there is no flow {flow[:64]!r}")
        given = request.query_params.get("at", "")
        if not (given.isascii() and given.isdigit() and len(given) <= 13 and int(given) <= LAST_MS):
            return answer(refusal(422, "value", f"at: {given[:20]!r} is no number of milliseconds since 1970"))
        found = self.hub.then(flow, int(given) * MS)
        if found is None:
            return answer(refusal(404, "not-kept", f"nothing is kept of the flow {flow!r} at that time"))
        return ok(found)


def _asked(query: Mapping[str, str], hub: Hub) -> tuple[list[Feed], int | None]:
    """The taps, and after how many frames it ends. Unknown for a node that does not run."""
    rate = MOST_RATE
    if (given := query.get("tap_rate")) is not None:
        try:
            rate = float(given) if len(given) <= 20 and given.isascii() else 0.0
        except ValueError:
            rate = 0.0
        if not 0 < rate <= MOST_RATE:
            raise _Wrong(f"tap_rate: {given[:20]!r} is not a number above 0 and up to {MOST_RATE:g}")
    frames = None
    if (given := query.get("frames")) is not None:
        if not (given.isascii() and given.isdigit() and len(given) <= 6 and 1 <= int(given) <= MOST_FRAMES):
            raise _Wrong(f"frames: {given[:20]!r} is not a whole number from 1 to {MOST_FRAMES}")
        frames = int(given)
    nodes = list(dict.fromkeys(query["tap"].split(","))) if query.get("tap") else []
    if len(nodes) > MOST_TAPS:
        raise _Wrong(f"tap: {len(nodes)} nodes are more than {MOST_TAPS}")
    return [Feed(_known(hub, address), rate, HZ) for address in nodes], frames


def _known(hub: Hub, address: str) -> str:
    graph = hub.engine.graph
    if address in graph.disabled:
        raise Unknown(f"{address} does not run: {graph.disabled[address]}")
    if address not in graph.nodes:
        hint = did_you_mean(address, graph.nodes)
        raise Unknown(f"there is no node {address[:130]!r}" + (f", {hint}" if hint else "; it is written as flow/id"))
    return address


class Stream:
    """An ASGI response that has no end of its own. The bound stands around ``send``, where a slow client is waited
    for: when it runs out nothing of that frame has been written, so what is sent next may be a newer one."""

    def __init__(self, hub: Hub, feeds: list[Feed], frames: int | None, *, may: Callable[[], bool]) -> None:
        """``may``: whether the reader still may read; asked every second."""
        self._hub, self._feeds, self._frames, self._may = hub, feeds, frames, may

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hub = self._hub
        transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT, {}).get("transport")
        _narrow(transport)
        reader = Reader(self._feeds, _no_abort if transport is None else transport.abort)
        gone = asyncio.ensure_future(_until_gone(receive))
        gone.add_done_callback(lambda _: reader.news.set())
        try:
            await hub.join(reader)
            headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            taken = await self._serve(reader, gone, send, transport)
            if taken and not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif not taken:
                hub.frozen += 1
                reader.abort()
                await gone  # the server says so when the connection has ended
        finally:
            hub.leave(reader)
            gone.cancel()

    async def _serve(
        self, reader: Reader, gone: asyncio.Future[None], send: Send, transport: asyncio.Transport | None
    ) -> bool:
        """Send until somebody ends it. False: the client takes nothing."""
        hub, frames, beats = self._hub, self._frames, self._hub.beats
        while True:
            reader.at_hand = transport if frames is None else None
            await reader.news.wait()
            reader.at_hand = None
            reader.news.clear()
            if gone.done() or (beats != hub.beats and not self._may()):
                return True
            beats = hub.beats
            before = reader.seq
            if body := hub.take(reader):
                if not await _sent(body, reader, hub, send, transport):
                    return False
                if frames is not None and reader.seq != before:
                    frames -= 1
            if hub.closing or frames == 0:
                return True


async def _sent(body: bytes, reader: Reader, hub: Hub, send: Send, transport: asyncio.Transport | None) -> bool:
    """Send it; when that takes long, what is newest by then. False: the client took nothing for ``hub.frozen_s``."""
    if transport is not None and not transport.get_write_buffer_size():
        await send({"type": "http.response.body", "body": body, "more_body": True})  # there is room: nobody waits
        return True
    while body:
        waiting = 0 if transport is None else not_taken(transport)
        try:
            async with asyncio.timeout(hub.frozen_s):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            return True
        except TimeoutError:
            if transport is None or not_taken(transport) >= waiting:
                return False
        reader.put_back()
        body = hub.take(reader)
    return True


def _narrow(transport: asyncio.Transport | None) -> None:
    """The system would keep megabytes for a client that does not read: frames that are old when they arrive."""
    if transport is None:
        return
    transport.set_write_buffer_limits(high=WAITING)
    sock: Any = transport.get_extra_info("socket")  # asyncio's and uvloop's have no type in common
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WAITING)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _no_abort() -> None:
    """There is no connection that could be ended: the server is not ours."""
