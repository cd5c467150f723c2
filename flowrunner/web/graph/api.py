"""What the flow page asks for: the picture of a flow, its file, what its nodes have to do, and what a type does."""

from __future__ import annotations

import asyncio
import gzip
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.engine import Engine, Unknown
from flowrunner.errors import Severity
from flowrunner.graph import FlowHead, GraphNode
from flowrunner.message import NOT_YET, Instant, Message
from flowrunner.runtime import Worker
from flowrunner.web.answer import encode, ok, takes_gzip
from flowrunner.web.dashboard.made import DECIDING
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.graph import newer
from flowrunner.web.graph.card import Card, card
from flowrunner.web.graph.drawing import Drawings, Drawn
from flowrunner.web.graph.source import Piece, pieces, span

MS = 1_000_000
MOST_FIELDS = 8
"""Stale fields of a node that are named."""
Lines = Annotated[
    list[list[Piece]],
    Meta(description="Line by line, in pieces [what, text]: k key, c comment, n number, s quoted, v ${…}, p sign."),
]


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with the newer file that was refused, and the lines around it."""

    line: Annotated[int, Meta(ge=1)]
    column: Annotated[int, Meta(ge=1)]
    path: str
    code: str
    message: str
    hint: str
    severity: Severity
    first: Annotated[int, Meta(ge=1, description="Number of the first of the lines.")]
    lines: Lines


class Source(msgspec.Struct, frozen=True):
    """The file of a flow."""

    flow: str
    file: str
    digest: str
    lines: Lines
    spans: Annotated[dict[str, tuple[int, int]], Meta(description="Node → its first and its last line.")]
    refused: Annotated[list[Finding], Meta(description="Of a newer file that was refused; what runs is this one.")]


class Work(msgspec.Struct, frozen=True):
    """What a node had to do since it began."""

    received: Annotated[int, Meta(ge=0)]
    sent: Annotated[int, Meta(ge=0)]
    process_seconds: Annotated[float, Meta(ge=0, description="Time spent with the messages that it received.")]
    restarts: Annotated[int, Meta(ge=0)]
    stale: Annotated[list[str], Meta(description="Fields whose newest values must not be used any more.")]
    stale_at: Annotated[int | None, Meta(description="When the oldest of these was true, in milliseconds like `at`.")]


class Works(msgspec.Struct, frozen=True):
    """All nodes of a flow at one instant: the difference of two such answers is a rate."""

    at: Annotated[int, Meta(description="Milliseconds since 1970-01-01T00:00:00Z, flow time.")]
    nodes: dict[str, Work]


def endpoints(engine: Engine) -> list[Endpoint]:
    """The routes of this room."""
    api = _Api(engine)
    flow, node = "/api/v1/flows/{flow}", "/api/v1/flows/{flow}/nodes/{node}"
    return [
        Endpoint("GET", f"{flow}/layout", api.layout, "The picture of a flow", gives=Drawn),
        Endpoint("GET", f"{flow}/source", api.source, "The file of a flow, line by line", gives=Source),
        Endpoint("GET", f"{flow}/refused", api.refused, "What is wrong with the newer file", gives=list[Finding]),
        Endpoint("GET", f"{flow}/work", api.work, "What the nodes of a flow had to do", gives=Works),
        Endpoint("GET", f"{node}/reference", api.reference, "What a node's type does", gives=Card),
    ]


class _Api:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.drawings = Drawings()

    async def layout(self, request: Request) -> Bytes:
        """Where boxes stand and how wires run: readers right of what they read. The same wiring is the same picture."""
        flow = _head(self.engine, request).name
        return await _small(request, self.drawings.of(self.engine.graph, flow, self.engine.generation))

    async def source(self, request: Request) -> Bytes:
        """The file as it runs, secrets masked, and the lines of each node. When a newer file was refused: what is
        wrong with it, with a few of its lines."""
        head = _head(self.engine, request)
        return await _small(request, await source_of(self.engine, head))

    async def refused(self, request: Request) -> Bytes:
        """The errors of a file that was refused, each with a few of its lines; none where the newest file runs."""
        return ok(await refused(self.engine, _head(self.engine, request)))

    async def work(self, request: Request) -> Bytes:
        """Counters of all nodes that one needs for rates and times."""
        head = _head(self.engine, request)
        return ok(works(self.engine, head))

    async def reference(self, request: Request) -> Bytes:
        """Description, ports, an example and the options of the type of a node that runs."""
        head = _head(self.engine, request)
        return await _small(request, card(_node(self.engine, head, request.path_params["node"]).kind))


async def _small(request: Request, body: object) -> Bytes:
    """The answer, compressed where the client takes that.

    The length of what is compressed tells something of it to who sees it on the wire and has a part of the text to
    choose (breachattack.com). In these answers there is nothing to choose and nothing to find: they are made of the
    flow's file, with its secrets masked, and of the node types. Pages, which hold a session's token, and answers with
    values from outside go out as they are."""
    raw = encode(body)
    headers = {"content-type": "application/json", "vary": "accept-encoding"}
    if takes_gzip(request.headers.get("accept-encoding", "")):
        raw = await asyncio.to_thread(gzip.compress, raw, 6, mtime=0)
        headers["content-encoding"] = "gzip"
    return Bytes(raw, headers=headers)


def works(engine: Engine, head: FlowHead) -> Works:
    """The counters of a flow's nodes, and what of their newest messages is stale by now."""
    now = engine.clock.now()
    found = {}
    for worker in engine.runtime.workers.values():
        if worker.spec.flow == head.name:
            one = worker.counters
            newest = one.last.get("out")
            stale = stale_of(worker, now)
            at = min(newest.info(name).at for name in stale) // MS if newest is not None and stale else None
            found[worker.spec.id] = Work(one.received, one.sent, one.process_seconds, one.restarts, stale, at)
    return Works(now // MS, found)


def stale_of(worker: Worker, now: Instant) -> list[str]:
    """The stale fields of a node's newest record; none of a wish or an order, which nobody has to renew."""
    return [] if worker.spec.kind.name in DECIDING else stale_fields(worker.counters.last.get("out"), now)


def stale_fields(message: Message | None, now: Instant) -> list[str]:
    """The fields of a record that are stale; ``["value"]`` where a message that is no record is. One without a value
    makes no record stale that has others: not every source delivers all fields."""
    if message is None:
        return []
    names = (message.payload or message.field_names()) if isinstance(message.payload, dict) else ("value",)
    return [name for name in names if message.info(name).trouble(now) not in ("", NOT_YET)][:MOST_FIELDS]


async def source_of(engine: Engine, head: FlowHead) -> Source:
    """The file as it runs and, after a reload that was refused, what is wrong with the newer one."""
    lines = head.text.split("\n")
    nodes = [one for one in engine.graph.nodes.values() if one.flow == head.name]
    spans = {one.id: span(lines, one.line) for one in nodes}
    return Source(head.name, head.file, head.digest, pieces(head.text), spans, await refused(engine, head))


async def refused(engine: Engine, head: FlowHead) -> list[Finding]:
    """The errors of the newer file of a flow; none where the last reload was taken over."""
    last = engine.last_reload
    if last is None or last.result != "refused":
        return []
    problems = [one for one in last.problems if one.file == head.file and one.severity == "error"]
    if not problems:
        return []
    lines = await asyncio.to_thread(newer.read, head.file, head.name, engine.runtime.mask)
    found = []
    for one in problems:
        first, shown = newer.excerpt(lines, one.line)
        found.append(
            Finding(one.line, one.column, one.path, one.code, one.message, one.hint, one.severity, first, shown)
        )
    return found


def _head(engine: Engine, request: Request) -> FlowHead:
    flow: str = request.path_params["flow"]
    head = engine.graph.flows.get(flow)
    if head is None:
        raise Unknown(f"there is no flow {flow[:64]!r}")
    return head


def _node(engine: Engine, head: FlowHead, name: str) -> GraphNode:
    one = engine.graph.nodes.get(f"{head.name}/{name}")
    if one is None:
        raise Unknown(f"there is no node {name[:64]!r} in the flow {head.name!r}")
    return one
