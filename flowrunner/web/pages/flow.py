"""``/flows/{name}``: a flow as it runs. The table with the newest values is in the page; scripts draw the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from flowrunner.engine import Engine
from flowrunner.graph import GraphNode
from flowrunner.message import Instant, Message
from flowrunner.runtime import Worker
from flowrunner.web.graph import Drawings
from flowrunner.web.graph.api import MS, refused, stale_of
from flowrunner.web.live.words import line, short
from flowrunner.web.pages import formats
from flowrunner.web.pages.face import Face, Page
from flowrunner.web.pages.flow_words import WORDS
from flowrunner.web.pages.words import Translate

__all__ = ["WORDS", "pages"]

ACTIVE_NS = 600 * 10**9
"""A node that was quiet for longer waits; ``flow.js`` has the same."""
SNIPPET = """nodes:
  rest:
    type: http-in
    route: POST /values
    body: {soc_percent: {type: number, min: 0, max: 100, unit: "%"}}
"""
ICONS: Mapping[str, str] = {
    "modbus-in": "plug",
    "mqtt-in": "radio",
    "mqtt-out": "radio",
    "http-in": "globe",
    "http-out": "globe",
    "http-poll": "globe",
    "http-response": "globe",
    "manual-in": "hand",
    "price-in": "euro",
    "scale": "sliders",
    "select": "braces",
    "compute": "braces",
    "filter": "filter",
    "merge": "merge",
    "switch": "merge",
    "threshold": "dash",
    "rule": "brain",
    "risk-guard": "shield",
    "exchange-out": "out",
    "store-out": "db",
    "alarm-out": "bell",
    "log": "log",
    "inject": "clock",
    "on-error": "warn",
    "on-status": "info",
}
"""Node type → symbol; types of one's own have that of a flow."""
SYMBOL = "flow"
FIGURE = re.compile(r"(?<![\w.:-])-?\d+\.?\d*(?![\w.:-])", re.ASCII)
"""In the line of a message."""
CUT = re.compile(r", [^,]*…$")
"""Its end, where it was cut: half a figure is none."""


OF_THE_TEMPLATE = frozenset(
    f"flow.{name}"
    for name in (
        "flows", "show", "mode-value", "mode-rate", "mode-time", "view", "view-graph",
        "view-table", "search", "canvas", "nodes", "node", "state", "last", "age", "place", "legend-warn",
        "legend-flow", "legend-error", "off-title", "zoom-in", "zoom-out", "fit", "empty", "empty-how", "unknown",
        "inspector", "strip", "strip-span", "then-back",
    )
)  # fmt: skip
"""Words that only the server says: scripts are not given them."""
JS_WORDS = tuple(key for key in WORDS if key not in OF_THE_TEMPLATE)


class Tab(NamedTuple):
    """A flow among all."""

    name: str
    href: str
    current: bool
    not_ready: int
    """Nodes."""


class Row(NamedTuple):
    """A node in the table. ``state``: key of its word; ``tone``: "", "warn" or "stale"."""

    id: str
    type: str
    icon: str
    state: str
    tone: str
    last: str
    age: str
    inbox: str
    errors: int
    line: int


class Off(NamedTuple):
    """A node that does not run."""

    id: str
    why: str


def pages(face: Face) -> list[Page]:
    """The pages of this module."""
    flow = _Flow(face)
    return [Page("/flows", flow.first), Page("/flows/{name}", flow.page)]


class _Flow:
    def __init__(self, face: Face) -> None:
        self.face = face
        self.engine: Engine = face.engine
        self.drawings = Drawings()

    async def first(self, request: Request) -> Response:
        """To the first flow of all."""
        name = next(iter(self.engine.graph.flows))
        return RedirectResponse(f"/flows/{quote(name, safe='')}", status_code=303)

    async def page(self, request: Request) -> Response:
        """The page of one flow; everything that is in it stands below the head of the page."""
        engine, t, lang = self.engine, self.face.t(request), self.face.lang(request)
        name: str = request.path_params["name"]
        head = engine.graph.flows.get(name)
        if head is None:
            return self.face.missing(request, t("flow.unknown", flow=name[:64]))
        now = engine.clock.now()
        nodes = sorted((one for one in engine.graph.nodes.values() if one.flow == name), key=lambda one: one.line)
        rows = [self._row(one, now, t, lang) for one in nodes]
        prefix = f"{name}/"
        off = [
            Off(address.removeprefix(prefix), why)
            for address, why in engine.graph.disabled.items()
            if address.startswith(prefix)
        ]
        title = self.face.title(head, request)
        drawn = self.drawings.of(engine.graph, name, engine.generation)
        data = {
            "flow": name,
            "file": head.file,
            "zone": head.timezone,
            "layout": drawn,
            "icons": {one.kind.name: ICONS.get(one.kind.name, SYMBOL) for one in engine.graph.nodes.values()},
            "decides": [one.id for one in nodes if hasattr(one.node, "why")],
            "rows": {row.id: self._begin(one, row) for one, row in zip(nodes, rows, strict=True)},
            "refused": await refused(engine, head),
        }
        return self.face.html(
            request,
            "flow.html",
            title=title,
            crumb=head.file,
            flow=name,
            words=JS_WORDS,
            data=data,
            name=name,
            head=head,
            tabs=self._tabs(name),
            rows=rows,
            off=off,
            wrong=self._wrong(),
            findings=data["refused"],
            running=formats.moment(engine.loaded_at, head.timezone, lang),
            generation=engine.generation,
            snippet=SNIPPET,
        )

    def _tabs(self, current: str) -> list[Tab]:
        waiting = [address.partition("/")[0] for address in self.engine.not_ready()]
        return [
            Tab(name, f"/flows/{quote(name, safe='')}", name == current, waiting.count(name))
            for name in self.engine.graph.flows
        ]

    def _wrong(self) -> str:
        """``refused`` or ``failed`` where a newer file does not run, else nothing."""
        last = self.engine.last_reload
        return last.result if last is not None and last.result in ("refused", "failed") else ""

    # ---- a node ------------------------------------------------------------------------------------------------

    def _row(self, one: GraphNode, now: Instant, t: Translate, lang: str) -> Row:
        worker = self.engine.runtime.workers[one.address]
        counters, inbox = worker.counters, worker.inbox
        state, tone = _state(worker, now)
        last_at = counters.last_at
        size = inbox.queue.size if one.wires else 0
        return Row(
            id=one.id,
            type=one.kind.name,
            icon=ICONS.get(one.kind.name, SYMBOL),
            state=state,
            tone=tone,
            last=self._last(one, t, lang) or "",
            age="" if last_at is None else formats.age((now - last_at) / 10**9, lang),
            inbox=f"{formats.number(len(inbox), lang)}/{formats.number(size, lang)}" if size else formats.NOTHING,
            errors=sum(counters.errors.values()),
            line=one.line,
        )

    def _last(self, one: GraphNode, t: Translate, lang: str) -> str | None:
        worker = self.engine.runtime.workers[one.address]
        if worker.counters.connected is False and worker.counters.last_error:
            return short(worker.counters.last_error, self.engine.runtime.mask)
        message = newest(worker.counters.last)
        if message is not None:
            said = CUT.sub(", …", line(message, self.engine.runtime.mask))
            return FIGURE.sub(lambda found: formats.number(float(found[0]), lang), said)
        received = worker.counters.received
        return t("flow.received", n=formats.number(received, lang)) if received else None

    def _begin(self, one: GraphNode, row: Row) -> dict[str, object]:
        """What the scripts begin with, until the stream says more; without what is nothing."""
        worker = self.engine.runtime.workers[one.address]
        at = worker.counters.last_at
        told = {
            "state": row.state,
            "tone": row.tone,
            "last": row.last,
            "last_at": None if at is None else at // MS,
            "inbox": len(worker.inbox),
            "errors": row.errors,
        }
        return {name: value for name, value in told.items() if value}


def newest(last: Mapping[str, Message]) -> Message | None:
    """What left by ``out``, else the newest by another port, but no error."""
    if "out" in last:
        return last["out"]
    others = [message for port, message in last.items() if port not in ("error", "status")]
    return max(others, key=lambda one: one.received_at, default=None)


def _state(worker: Worker, now: Instant) -> tuple[str, str]:
    """The key of its word, and its tone."""
    counters = worker.counters
    if counters.connected is False:
        return "disconnected", "warn"
    if counters.state == "finished":
        return "finished", ""
    if counters.state != "running":
        return counters.state, "warn" if counters.state != "starting" else ""
    if stale_of(worker, now):
        return "stale", "stale"
    quiet = counters.last_at is None or now - counters.last_at > ACTIVE_NS
    return "waiting" if quiet else "active", ""
