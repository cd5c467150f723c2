"""``/api/v1``: what runs, what it last saw, what is wrong, and manual entries.

To add a route: one ``Endpoint`` in ``endpoints``, with a summary and the type of what it gives (a TypedDict such as
those of ``flowrunner.shown``, or a Struct). The handler's docstring is its description; ``/api/v1/openapi.json`` and
the tests that call the API as it is described there follow from the row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from flowrunner import shown
from flowrunner.engine import Engine, Unknown
from flowrunner.errors import Problem, Reject
from flowrunner.http import TokenBuckets, parse_json, refusal, retry_after
from flowrunner.web import body
from flowrunner.web.answer import answer, ok, repeated
from flowrunner.web.endpoint import Endpoint, Query
from flowrunner.web.guard import Handler, KeyCheck

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
    by: Annotated[str, Meta(max_length=500, description="Who entered it; the client's address unless told.")] = ""


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
        Endpoint("GET", "/api/v1/problems", api.problems, "What is wrong in the files", gives=list[Problem]),
        Endpoint(
            "GET", "/api/v1/config", api.config, "The flows as they were bound, secrets masked",
            gives=dict[str, shown.ConfigShown],
        ),
        Endpoint(
            "GET", "/api/v1/dead-letters", api.dead_letters, "Messages that no node could take, newest first",
            gives=list[shown.DeadLetterShown],
            query=(Query("flow", "Only those of this flow."),),
        ),
    ]  # fmt: skip


def routes(rows: Iterable[Endpoint], key: KeyCheck) -> list[BaseRoute]:
    """What the rows say, behind the key where they say so."""
    return [
        Route(row.path, key.guarded(_known(row.handle)) if row.key else row.handle, methods=[row.method])
        for row in rows
    ]


def _known(handle: Handler) -> Handler:
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
        """Findings of the check of the files, sorted by place. Errors are not among them: such a flow does not run."""
        return ok(self.engine.problems)

    async def dead_letters(self, request: Request) -> Bytes:
        """At most 100 messages that a node rejected and whose error port nobody reads."""
        return ok(self.engine.dead_letters(request.query_params.get("flow")))

    async def config(self, request: Request) -> Bytes:
        """Every node's options after substitution, by flow."""
        return ok(self.engine.config())

    async def enter(self, request: Request) -> Bytes:
        """Give a manual-in values: all are taken, or none. They are marked as manual and expire as the node says."""
        client = request.client.host if request.client else ""
        wait = self.buckets.take(client, self.engine.clock.now())
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
