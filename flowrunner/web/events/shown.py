"""How an event looks to who asks: typed, with its place in the files and a link to its page."""

from __future__ import annotations

from typing import Annotated, TypedDict
from urllib.parse import quote

from msgspec import Meta

from flowrunner import shown
from flowrunner.graph import Graph
from flowrunner.message import JSON, Instant
from flowrunner.units import iso
from flowrunner.web.events.event import Course, Event, Kind, Severity


class TitleShown(TypedDict):
    """What happened, to be said in the reader's language."""

    key: Annotated[str, Meta(description="Of the words that the pages have in two languages.")]
    values: Annotated[dict[str, JSON], Meta(description="For the places in these words.")]


class EventShown(TypedDict):
    """Something that happened. Texts are as they came from outside: show them as text."""

    id: Annotated[str, Meta(description="Unique while nothing comes again; also its place in the list.")]
    kind: Kind
    at: Annotated[shown.Time, Meta(description="When it happened; of what comes again, when it came last.")]
    since: Annotated[shown.Time | None, Meta(description="When it came first, where it came again.")]
    until: Annotated[shown.Time | None, Meta(description="Until when it holds, like a manual entry.")]
    flow: str | None
    node: str | None
    line: Annotated[int | None, Meta(description="Of the node in its file, as it runs now; null: it does not.")]
    file: str | None
    title: TitleShown
    text: str
    who: Annotated[str, Meta(description='Who did it; of an alarm who acknowledged it, "" while nobody has.')]
    origin: Annotated[str, Meta(description='The address that somebody\'s word came from, or "".')]
    severity: Severity
    state: Annotated[
        str, Meta(description="Of alarms open or acknowledged, of orders the step's state, of refusals the reason.")
    ]
    course: Annotated[
        Course | None,
        Meta(
            description="Of an alarm. going-on: its threshold says so, or it came within ten minutes; over: its"
            " threshold is clear; quiet: not repeated for ten minutes, which is not to say that it is over; unknown:"
            " its threshold does not run."
        ),
    ]
    count: Annotated[int, Meta(ge=1, description="How often it came.")]
    detail: Annotated[
        dict[str, JSON], Meta(description="What programs read of it, like the nodes that a reload has changed.")
    ]
    order: Annotated[str | None, Meta(description="The order that it is about.")]
    alarm: Annotated[int | None, Meta(description="What to acknowledge it by.")]
    link: Annotated[str | None, Meta(description="The page where there is more of it, on this server.")]


class EventsShown(TypedDict):
    """A stretch of the list, newest first."""

    events: list[EventShown]
    before: Annotated[str | None, Meta(description="Ask for the rest with it; null: there is none.")]
    looked_back_to: Annotated[
        shown.Time | None,
        Meta(
            description="Where the filters let through so little that the search was ended before the limit was full:"
            " all that is newer was looked at, and `before` goes on from there."
        ),
    ]
    open_alarms: Annotated[int, Meta(ge=0, description="Alarms that nobody has acknowledged, of all flows.")]


def event(one: Event, graph: Graph) -> EventShown:
    spec = graph.nodes.get(f"{one.flow}/{one.node}")
    return {
        "id": str(one.position),
        "kind": one.kind,
        "at": iso(one.at),
        "since": _time(one.since),
        "until": _time(one.until),
        "flow": one.flow or None,
        "node": one.node or None,
        "line": None if spec is None else spec.line,
        "file": None if spec is None else spec.file,
        "title": {"key": one.title, "values": dict(one.values)},
        "text": one.text,
        "who": one.who,
        "origin": one.origin,
        "severity": one.severity,
        "state": one.state,
        "course": one.course,
        "count": one.count,
        "detail": dict(one.detail),
        "order": one.order or None,
        "alarm": one.alarm,
        "link": link(one, graph),
    }


def link(one: Event, graph: Graph) -> str | None:
    """The order's story, else the node in its flow, as far as it still runs."""
    if one.order:
        return f"/orders/{quote(one.order, safe='')}"
    if f"{one.flow}/{one.node}" in graph.nodes:
        return node_page(one.flow, one.node)
    return f"/flows/{quote(one.flow, safe='')}" if one.flow in graph.flows else None


def node_page(flow: str, node: str) -> str:
    """Where a node that runs is shown, in its graph and its file."""
    return f"/flows/{quote(flow, safe='')}#node={quote(node, safe='')}"


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else iso(instant)
