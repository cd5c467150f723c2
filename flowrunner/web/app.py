"""The application: health, metrics, the API, and one catch-all that looks in the engine's table of routes."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.routing import Route

from flowrunner import http
from flowrunner.engine import Engine
from flowrunner.http import refusal
from flowrunner.web import api, body
from flowrunner.web.answer import answer, ok
from flowrunner.web.guard import Guard, keyed

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def make_app(engine: Engine, *, key: str, hosts: Iterable[str]) -> Starlette:
    """``key`` guards the API and the metrics; "" (loopback only) leaves them open."""

    async def live(request: Request) -> Bytes:
        return ok({"status": "live"})

    async def ready(request: Request) -> Bytes:
        waiting = engine.not_ready()
        if not waiting:
            return ok({"status": "ready"})
        nodes = [{"node": address, "state": state} for address, state in waiting.items()]
        return ok({"status": "not ready", "nodes": nodes}, status=503)

    async def metrics(request: Request) -> Bytes:
        from flowrunner.web import metrics as page  # late: nobody else needs it, and start-up is dear

        text, media = page.text(engine)
        return Bytes(text, media_type=media)

    async def flow_route(request: Request) -> Bytes:
        return await _flow_route(engine, request)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", keyed(key, metrics)),
            *api.routes(engine, key),
            Route("/{path:path}", flow_route, methods=METHODS),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _plain, Exception: _defect},
    )


async def _flow_route(engine: Engine, request: Request) -> Bytes:
    path = unquote(request.url.path)
    method = "GET" if request.method == "HEAD" else request.method
    route = engine.routes.get((method, path))
    if route is None:
        allowed = sorted(one for one, known in engine.routes if known == path)
        if not allowed:
            return answer(refusal(404, "no-route", f"there is nothing at {path[:200]}"))
        refused = refusal(405, "method", f"{path[:200]} takes {', '.join(allowed)}")
        return answer(http.Response(status=405, body=refused.body, headers={"allow": ", ".join(allowed)}))
    raw = b"" if method == "GET" else await body.read(request, route.max_body)
    return answer(
        await engine.request(
            route,
            http.Request(
                method=method,
                path=path,
                headers=dict(request.headers),
                query=dict(request.query_params),
                body=raw,
                client=request.client.host if request.client else "",
            ),
        )
    )


async def _plain(request: Request, error: Exception) -> Bytes:
    """Refusals of the router in the same form as all others."""
    status = getattr(error, "status_code", 500)
    headers = getattr(error, "headers", None) or {}
    refused = refusal(status, "refused", str(getattr(error, "detail", "")))
    return answer(http.Response(status=status, body=refused.body, headers=headers))


async def _defect(request: Request, error: Exception) -> Bytes:
    return answer(refusal(500, "internal", "this request failed inside; the log says why"))
