"""The application: health, metrics, the API, and all else is looked up in the engine's table of routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.types import Receive, Scope, Send

from flowrunner import http
from flowrunner.engine import Engine
from flowrunner.http import refusal, retry_after
from flowrunner.web import api, body, health, orders, records, trading
from flowrunner.web.answer import answer, repeated
from flowrunner.web.guard import Guard, KeyCheck
from flowrunner.web.openapi import description


def make_app(engine: Engine, *, key: str, hosts: Iterable[str]) -> Starlette:
    """``key`` guards the API, its description and the metrics; "" (loopback only) leaves them open."""
    check = KeyCheck(key, engine.clock)
    rooms = (health, api, orders, trading, records)
    rows = [row for room in rooms for row in room.endpoints(engine)]
    rows.append(description(engine, rows, locked=bool(key)))

    async def flow_route(scope: Scope, receive: Receive, send: Send) -> None:
        response = await _flow_route(engine, Request(scope, receive))
        await response(scope, receive, send)

    app = Starlette(
        routes=api.routes(rows, check),
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _plain, Exception: _defect},
    )
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
        return answer(
            refusal(503, "stopping", "this server stops; the flow gave no answer before", headers=retry_after(5))
        )


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
