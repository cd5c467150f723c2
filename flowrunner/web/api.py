"""``/api/v1``: what runs, what it last saw, what is wrong, and manual entries."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from flowrunner.engine import Engine, Unknown
from flowrunner.errors import Reject
from flowrunner.http import TokenBuckets, parse_json, refusal, retry_after, wrong_media
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.guard import Handler, KeyCheck

MAX_BODY = 65_536
"""Bytes of a request to the API."""
ENTRIES_PER_SECOND = 10.0
"""Manual entries of one client: persons type, they do not stream."""
ENTRY_KEYS = ("values", "reason", "by")
MAX_VALUES = 100
"""Values of one entry."""


def routes(engine: Engine, key: KeyCheck) -> list[BaseRoute]:
    """The API's routes, each behind the key."""
    api = _Api(engine)
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/api/v1/flows", api.flows),
        ("GET", "/api/v1/flows/{flow}", api.flow),
        ("GET", "/api/v1/flows/{flow}/nodes/{node}", api.node),
        ("POST", "/api/v1/flows/{flow}/nodes/{node}/values", api.enter),
        ("GET", "/api/v1/problems", api.problems),
        ("GET", "/api/v1/config", api.config),
        ("GET", "/api/v1/dead-letters", api.dead_letters),
    ]
    return [Route(path, key.guarded(_known(handle)), methods=[method]) for method, path, handle in table]


def _known(handle: Handler) -> Handler:
    async def checked(request: Request) -> ASGIApp:
        try:
            return await handle(request)
        except Unknown as error:
            return answer(refusal(404, "unknown", str(error)))

    return checked


class _Api:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.buckets = TokenBuckets(ENTRIES_PER_SECOND)

    async def flows(self, request: Request) -> Bytes:
        return ok(self.engine.flows())

    async def flow(self, request: Request) -> Bytes:
        return ok(self.engine.flow(request.path_params["flow"]))

    async def node(self, request: Request) -> Bytes:
        return ok(self.engine.node(request.path_params["flow"], request.path_params["node"]))

    async def problems(self, request: Request) -> Bytes:
        return ok(self.engine.problems)

    async def dead_letters(self, request: Request) -> Bytes:
        return ok(self.engine.dead_letters(request.query_params.get("flow")))

    async def config(self, request: Request) -> Bytes:
        return ok(self.engine.config())

    async def enter(self, request: Request) -> Bytes:
        """``{"values": {field: number or null}, "reason": text}`` for a manual-in."""
        client = request.client.host if request.client else ""
        wait = self.buckets.take(client, self.engine.clock.now())
        if wait > 0:
            detail = "too many entries; try again in a second"
            return answer(refusal(429, "too-fast", detail, headers=retry_after(wait)))
        media = wrong_media(request.headers)
        if media:
            return answer(refusal(415, "media-type", media))
        raw = await body.read(request, MAX_BODY)
        if raw is None:
            return answer(refusal(413, "too-large", f"the body is larger than {MAX_BODY} bytes"))
        try:
            entry = parse_json(raw)
        except ValueError as error:
            return answer(refusal(400, "not-json", str(error)))
        wrong = _wrong_entry(entry)
        if wrong or not isinstance(entry, dict):
            return answer(refusal(422, "value", wrong))
        flow, node = request.path_params["flow"], request.path_params["node"]
        by = entry.get("by") or client
        try:
            taken = await self.engine.enter(flow, node, entry["values"], by=by, reason=entry.get("reason", ""))
        except Reject as error:
            if error.code == "full":
                return answer(refusal(503, error.code, error.reason, headers=retry_after(1)))
            return answer(refusal(422, error.code, error.reason))
        return ok({"status": "OK", "accepted": taken})


def _wrong_entry(entry: object) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("values"), dict):
        return 'the body must be {"values": {field: number}}'
    unknown = [key for key in entry if key not in ENTRY_KEYS]
    if unknown:
        return f"{unknown[0][:64]} is not known here; known: {', '.join(ENTRY_KEYS)}"
    if len(entry["values"]) > MAX_VALUES or any(len(name) > 64 for name in entry["values"]):
        return f"there are more than {MAX_VALUES} values, or a name is longer than 64 characters"
    texts = [
        key for key in ("reason", "by") if not isinstance(entry.get(key, ""), str) or len(entry.get(key, "")) > 500
    ]
    return f"{texts[0]} must be a text of at most 500 characters" if texts else ""
