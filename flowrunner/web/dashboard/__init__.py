"""What a dashboard shows: its tiles, how values went and what is published ahead, and why was decided what was."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner import shown
from flowrunner.engine import Engine, Unknown
from flowrunner.errors import UsageError
from flowrunner.flowfile.dashboard import SPANS, Span
from flowrunner.graph import Graph, Output
from flowrunner.http import refusal
from flowrunner.message import Instant
from flowrunner.units import parse_instant
from flowrunner.web.answer import answer, ok
from flowrunner.web.dashboard.carried import shape_of
from flowrunner.web.dashboard.once import OncePerGraph
from flowrunner.web.dashboard.series import MOST_POINTS, POINTS, Asked, Series, SeriesShown
from flowrunner.web.dashboard.tiles import Boards, Dashboard, resolved, watches
from flowrunner.web.dashboard.why import WhyShown, why
from flowrunner.web.endpoint import Endpoint, Query

Name = Annotated[str, Meta(min_length=1)]
__all__ = ["Asked", "Series", "endpoints", "resolved", "watches", "why"]


def endpoints(engine: Engine) -> list[Endpoint]:
    """The routes of the dashboards; each is for viewers."""
    api = _Api(engine)
    return [
        Endpoint(
            "GET", "/api/v1/flows/{flow}/dashboard", api.dashboard, "The tiles of a flow", gives=Dashboard
        ),
        Endpoint(
            "GET", "/api/v1/series", api.series, "How a field went, and what is published ahead",
            gives=SeriesShown,
            query=(
                Query("flow", "The flow of the node.", kind=Name, required=True),
                Query("node", "The node that the field leaves.", kind=Name, required=True),
                Query("field", "The field.", kind=Name, required=True),
                Query("key", "Of which site or device; the one with the newest value unless told."),
                Query("port", "By which port it leaves; out unless told."),
                Query("span", "How long until the end; 24h unless told.", kind=Span),
                Query("from", "Begin, included; it counts before span.", kind=shown.Time),
                Query("to", "End, not included; now unless told.", kind=shown.Time),
                Query("points", f"At most so many; {POINTS} unless told.",
                      kind=Annotated[int, Meta(ge=1, le=MOST_POINTS)]),
            ),
            refuses={
                404: {"unknown": "The node does not run, or it gives no such field; the detail says which."},
                422: {"value": "A parameter is wrong; the detail names it."},
                503: {"store": "What is kept cannot be read now."},
            },
        ),
        Endpoint(
            "GET", "/api/v1/flows/{flow}/nodes/{node}/why", api.why, "Why a node decided as it did", gives=WhyShown
        ),
    ]  # fmt: skip


class Wrong(ValueError):
    """A parameter is wrong; the text names it."""


class _Api:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.courses = Series(engine)
        self.boards = OncePerGraph(Boards)

    async def dashboard(self, request: Request) -> Bytes:
        """From `dashboard:` of the file; where it has none, made from what the flow emits. Tiles of nodes that do not
        run are left out."""
        flow = request.path_params["flow"]
        self.engine.flow(flow)  # says what is wrong with the name
        return ok(self.boards.of(self.engine.graph).of(flow))

    async def series(self, request: Request) -> Bytes:
        """From the history of the nearest store-out that keeps the very same field, for one key. Least, most and last
        of each part of the time; where nothing was kept for long a gap is told, and what is ahead is only what is
        published."""
        try:
            asked = _asked(request, self.engine.graph, self.engine.clock.now())
            read = await self.courses.read(asked)
        except Wrong as error:
            return answer(refusal(422, "value", str(error)))
        except Unknown:
            raise
        except UsageError as error:
            return answer(refusal(503, "store", str(error)))
        return ok(self.courses.shown(read))

    async def why(self, request: Request) -> Bytes:
        """The newest decision of a rule, a risk-guard or a threshold, with its numbers, as of its instant."""
        return ok(why(self.engine, request.path_params["flow"], request.path_params["node"]))


def _asked(request: Request, graph: Graph, now: Instant) -> Asked:
    query = request.query_params
    missing = [name for name in ("flow", "node", "field") if not query.get(name)]
    if missing:
        raise Wrong(f"{missing[0]}: it is missing")
    output, field = Output(f"{query['flow']}/{query['node']}", query.get("port", "out")), query["field"]
    if query["flow"] not in graph.flows or output.address not in graph.nodes:
        why = graph.disabled.get(output.address)
        raise Unknown(f"{output.address[:130]!r} does not run" + (f": {why}" if why else ""))
    shape = shape_of(graph, output)
    if output.port not in graph.nodes[output.address].ports:
        known = ", ".join(graph.nodes[output.address].ports)
        raise Unknown(f"{output.address} has no port {output.port[:64]!r}; it has {known}")
    if field not in shape.fields and not shape.open:
        raise Unknown(f"{output.address} gives no {field[:64]!r}; it gives {', '.join(shape.fields) or 'none'}")
    since, until = _period(request, now)
    return Asked(output, field, since, until, _points(query.get("points")), query.get("key"))


def _period(request: Request, now: Instant) -> tuple[Instant, Instant]:
    query = request.query_params
    span = query.get("span")
    if span is not None and span not in SPANS:
        raise Wrong(f"span: {span[:20]!r} is none of {', '.join(SPANS)}")
    until = _instant(request, "to", now)
    return _instant(request, "from", until - SPANS[span or "24h"]), until


def _instant(request: Request, name: str, otherwise: Instant) -> Instant:
    given = request.query_params.get(name)
    try:
        return otherwise if given is None else parse_instant(given)
    except (ValueError, OverflowError) as error:
        raise Wrong(f"{name}: {error}") from None


def _points(given: str | None) -> int:
    if given is None:
        return POINTS
    if not (given.isascii() and given.isdigit() and len(given) <= 4 and 1 <= int(given) <= MOST_POINTS):
        raise Wrong(f"points: {given[:20]!r} is not a whole number from 1 to {MOST_POINTS}")
    return int(given)
