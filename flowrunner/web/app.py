"""The application: health, metrics, the API, and all else is looked up in the engine's table of routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from flowrunner import http
from flowrunner.engine import Engine
from flowrunner.http import refusal
from flowrunner.web import api, body, dashboard, events, graph, health, letters, orders, records, trading
from flowrunner.web import reload as reloads
from flowrunner.web.answer import answer, repeated
from flowrunner.web.guard import HEADERS, Guard
from flowrunner.web.ingress import STOPPING, Ingress
from flowrunner.web.live import Hub, stream
from flowrunner.web.mount import page_routes
from flowrunner.web.openapi import description
from flowrunner.web.pages.face import Face
from flowrunner.web.people import People, session
from flowrunner.web.people.gate import Gate
from flowrunner.web.pulse import Pulse


def make_app(
    engine: Engine, *, people: People, hosts: Iterable[str], reload: reloads.Reload | None = None
) -> Starlette:
    """``people`` may use the API, its description and the metrics, each what their role allows. ``reload``: reads the
    files again, where there are files."""
    gate, hosts = Gate(people, engine.clock), list(hosts)
    rooms = (health, api, graph, orders, trading, records, letters, events, dashboard, session)
    rows = [row for room in rooms for row in room.endpoints(engine)]
    rows += [] if reload is None else reloads.endpoints(reload, engine.clock)
    hub = Hub(engine, dashboard.watches)
    face = Face(engine, hub=hub, people=people)
    rows += stream.endpoints(hub, people.knows)
    rows.append(description(engine, rows, people))

    async def flow_route(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if face.wants_page(request) and all(known != scope["path"] for _, known in engine.routes):
            gate.admits(request, "viewer")  # notes who asks, for what stands around the message
            await face.missing(request)(scope, receive, send)
            return
        response = await _flow_route(engine, request)
        await response(scope, receive, send)

    async def defect(request: Request, error: Exception) -> Bytes:
        said = face.failed(request) if face.wants_page(request) else await _defect(request, error)
        for name, value in HEADERS:  # this one stands around the guard
            said.headers.setdefault(name.decode(), value.decode())
        return said

    app = Starlette(
        routes=[*api.routes(rows, gate), *page_routes(face, gate, engine)],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _plain, Exception: defect},
    )
    app.state.hub, app.state.pulse = hub, Pulse()
    routes = app.routes  # theirs come first, whatever a flow claims

    def ours(path: str) -> bool:
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        return any(route.matches(scope)[0] is not Match.NONE for route in routes)

    app.state.ingress = Ingress(engine, Guard(app, hosts).knows, ours)
    app.router.redirect_slashes = False
    app.router.default = flow_route  # not a catch-all route: that would hide a wrong method on the routes above
    return app


async def _flow_route(engine: Engine, request: Request) -> Bytes:
    path: str = request.scope["path"]
    route = engine.routes.get(("GET" if request.method == "HEAD" else request.method, path))
    if route is None:
        return _no_route(engine, path)
    twice = repeated(request)
    if twice is not None:
        return answer(twice)
    raw = b"" if route.method == "GET" else await body.read(request, route.max_body)
    asked = http.Request(
        method=request.method,
        path=path,
        headers=dict(request.headers),
        query=dict(request.query_params),
        body=raw or b"",
        too_large=raw is None,
        client=request.client.host if request.client else "",
    )
    try:
        return answer(await engine.request(route, asked))
    except asyncio.CancelledError:  # by the server's stop, when its patience is over: this task ends with the answer
        return answer(STOPPING)


def _no_route(engine: Engine, path: str) -> Bytes:
    allowed = sorted(method for method, known in engine.routes if known == path)
    if not allowed:
        return answer(refusal(404, "no-route", f"there is nothing at {path[:200]}"))
    if "GET" in allowed:
        allowed.append("HEAD")
    return answer(_wrong_method(allowed, path))


def _wrong_method(allowed: Iterable[str], path: str) -> http.Response:
    methods = ", ".join(sorted(allowed))
    return refusal(405, "method", f"{path[:200]} takes {methods}", headers={"allow": methods})


async def _plain(request: Request, error: Exception) -> Bytes:
    """Refusals of the router in the same form as all others."""
    status = getattr(error, "status_code", 500)
    if status == 405:
        allowed: str = (getattr(error, "headers", None) or {}).get("Allow", "")
        return answer(_wrong_method(allowed.split(", "), request.scope["path"]))
    return answer(refusal(status, "refused", str(getattr(error, "detail", ""))))


async def _defect(request: Request, error: Exception) -> Bytes:
    return answer(refusal(500, "internal", "this request failed inside; the log says why"))
