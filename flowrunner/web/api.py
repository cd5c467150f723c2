"""``/api/v1``: what runs, what it last saw, what is wrong, and manual entries.

To add a route: one ``Endpoint`` in ``endpoints``, with a summary and the type of what it gives (a TypedDict such as
those of ``flowrunner.shown``, or a Struct). The handler's docstring is its description; ``/api/v1/openapi.json`` and
the tests that call the API as it is described there follow from the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from flowrunner import shown, views
from flowrunner.engine import Engine, Unknown
from flowrunner.errors import Reject
from flowrunner.http import TokenBuckets, parse_json, refusal, retry_after
from flowrunner.web import body
from flowrunner.web.answer import answer, ok, repeated
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.guard import Handler
from flowrunner.web.people.gate import Gate
from flowrunner.web.people.person import A_NAME, client, said_by

MAX_BODY = 65_536
"""Bytes of a request to the API."""
ENTRIES_PER_SECOND = 10.0
"""Manual entries of one client: persons type, they do not stream."""
ENTRY_KEYS = ("values", "reason", "by")
ENTRIES = "/api/v1/flows/{flow}/nodes/{node}/values"
MAX_VALUES = 100
"""Values of one entry."""


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """A manual entry."""

    values: Annotated[
        dict[Annotated[str, Meta(max_length=64)], float | None],
        Meta(min_length=1, max_length=MAX_VALUES, description="Field → number; null takes the value back."),
    ]
    reason: Annotated[str, Meta(max_length=500, description="For the log.")] = ""
    by: Annotated[str, Meta(max_length=500, description=A_NAME)] = ""


class Entered(TypedDict):
    """What became of an entry."""

    status: Literal["OK"]
    accepted: Annotated[shown.MessageShown, Meta(description="The record that the flow took.")]


def endpoints(engine: Engine) -> list[Endpoint]:
    """The API's routes; each is behind the key."""
    api = _Api(engine)
    return [
        Endpoint("GET", "/api/v1/flows", api.flows, "The flows that run", gives=list[shown.FlowLine]),
        Endpoint(
            "GET", "/api/v1/flows/{flow}", api.flow, "One flow: its nodes and wires", gives=shown.FlowShown
        ),
        Endpoint(
            "GET", "/api/v1/flows/{flow}/nodes/{node}", api.node, "One node: its state and its newest messages",
            gives=shown.NodeShown,
        ),
        Endpoint(
            "POST", ENTRIES, api.enter, "Enter values by hand",
            takes=Entry,
            max_body=MAX_BODY,
            gives=Entered,
            refuses={
                422: {"value": "The entry or one of its values is wrong; the detail names it."},
                429: {"too-fast": f"One client enters more than {ENTRIES_PER_SECOND:g} times a second."},
                503: {"full": "The flow cannot take more now."},
            },
        ),
        Endpoint(
            "GET", "/api/v1/problems", api.problems, "What is wrong in the files", gives=list[shown.ProblemShown]
        ),
        Endpoint(
            "GET", "/api/v1/config", api.config, "What runs, as it was bound, secrets masked", gives=shown.RunningShown,
        ),
    ]  # fmt: skip


def routes(rows: Iterable[Endpoint], gate: Gate) -> list[BaseRoute]:
    """What the rows say, for who has the role. Rows of one path are one route, which knows its methods."""
    paths: dict[str, dict[str, Handler]] = {}
    for row in rows:
        handle = gate.guarded(known(row.handle), row.needs) if row.key else row.handle
        paths.setdefault(row.path, {})[row.method] = handle
    return [Route(path, by_method(handlers), methods=[*handlers]) for path, handlers in paths.items()]


def by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: Request) -> ASGIApp:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


def known(handle: Handler) -> Handler:
    """The same handler; refused are a parameter that comes twice, and what is not known to the engine."""

    async def checked(request: Request) -> ASGIApp:
        twice = repeated(request)
        if twice is not None:
            return answer(twice)
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
        """Every flow of this engine, whether it is ready or not."""
        return ok(self.engine.flows())

    async def flow(self, request: Request) -> Bytes:
        """A flow with its nodes, its wires and what of it does not run."""
        return ok(self.engine.flow(request.path_params["flow"]))

    async def node(self, request: Request) -> Bytes:
        """A node with its counters and the newest message of each port."""
        return ok(self.engine.node(request.path_params["flow"], request.path_params["node"]))

    async def problems(self, request: Request) -> Bytes:
        """Findings of the check of the files that run, sorted by place, and behind them those of newer files that were
        refused: these are gone as soon as the files are good, or again what runs. Only newer files have errors."""
        engine = self.engine
        return ok(views.problems([*engine.problems, *engine.troubles()], engine.last_reload))

    async def config(self, request: Request) -> Bytes:
        """Every node's options after substitution, by flow, and how what runs came to run."""
        return ok(self.engine.config())

    async def enter(self, request: Request) -> Bytes:
        """Give a manual-in values: all are taken, or none. They are marked as manual and expire as the node says."""
        wait = self.buckets.take(client(request), self.engine.clock.now())
        if wait > 0:
            detail = "too many entries; try again in a second"
            return answer(refusal(429, "too-fast", detail, headers=retry_after(wait)))
        raw = await body.json_text(request, MAX_BODY)
        if not isinstance(raw, bytes):
            return answer(raw)
        try:
            entry = parse_json(raw)
        except ValueError as error:
            return answer(refusal(400, "not-json", str(error)))
        wrong = _wrong_entry(entry)
        if wrong or not isinstance(entry, dict):
            return answer(refusal(422, "value", wrong))
        flow, node = request.path_params["flow"], request.path_params["node"]
        by = said_by(request, entry.get("by", ""), most=500)
        reason, origin = entry.get("reason", ""), client(request)
        try:
            taken = await self.engine.enter(flow, node, entry["values"], by=by, reason=reason, origin=origin)
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
