"""How a field went, from what store-outs keep, and what is published already of the time to come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Annotated, NamedTuple, TypedDict

from msgspec import Meta

from flowrunner import shown
from flowrunner.engine import Engine
from flowrunner.graph import Graph, Output
from flowrunner.message import Instant
from flowrunner.shape import EITHER
from flowrunner.store import FILE_NAME, reading
from flowrunner.store.thinned import thinned
from flowrunner.units import iso
from flowrunner.web.dashboard.carried import Keeper, Ways, shape_of
from flowrunner.web.dashboard.course import Course, Reader, course
from flowrunner.web.dashboard.once import OncePerGraph

MS = 1_000_000
POINTS = 300
MOST_POINTS = 1000
MOST_KEYS = 100
"""Keys that are named in an answer."""


class Asked(NamedTuple):
    """Which value, from when to when, and in how many points at most."""

    output: Output
    field: str
    since: Instant
    until: Instant
    points: int = POINTS
    key: str | None = None
    """Of which site or device; None: of the one with the newest value."""


Interval = tuple[Instant, Instant, float]
"""From when to when which value counts."""
Ahead = tuple[str, list[Interval]]


class KeeperShown(TypedDict):
    """Who keeps it: a store-out, by which wire it gets there, and what it is called there."""

    node: str
    wire: str
    field: str


class AheadShown(TypedDict):
    """What is published of the time to come: from when to when which value counts; all are planned. Seconds since
    1970."""

    t: list[float]
    until: list[float]
    value: list[float]
    source: Annotated[str, Meta(description="The node that knows it.")]


_Period = TypedDict("_Period", {"from": shown.Time, "to": shown.Time})


class SeriesShown(_Period):
    """The course of a field, in columns of the same length. Where `last` is null, a gap begins."""

    node: str
    port: str
    field: str
    key: Annotated[str, Meta(description='The site or device that it is about; "" where there is only one.')]
    keys: Annotated[
        list[str], Meta(description="All that values are kept of in this time, up to 100, the newest first.")
    ]
    unit: str | None
    t: Annotated[list[float], Meta(description="Seconds since 1970.")]
    min: list[float | None]
    max: list[float | None]
    last: list[float | None]
    manual: Annotated[list[bool], Meta(description="Whether a person entered a value of this point.")]
    every_s: Annotated[float | None, Meta(description="Seconds between two values usually.")]
    sampled: Annotated[bool, Meta(description="More is kept than was looked at: least and most are of a selection.")]
    keeper: KeeperShown | None
    detail: Annotated[str, Meta(description="Why there is nothing, or an empty text.")]
    snippet: Annotated[str, Meta(description="What to write so that it is kept, or an empty text.")]
    ahead: AheadShown | None


class Read(NamedTuple):
    """A course as it was read. ``keeper`` None: nobody keeps it."""

    asked: Asked
    unit: str | None
    course: Course
    sampled: bool
    keeper: Keeper | None
    key: str = ""
    keys: Sequence[str] = ()
    """All that there are values of, the newest first."""


class _Found(NamedTuple):
    """What the disk has."""

    courses: list[tuple[str, Course]]
    sampled: bool
    unit: str | None
    keys: list[str]


class Series:
    """Reads courses, one at a time for the whole engine and beside the loop of the flows."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._ways = OncePerGraph(Ways)

    async def read(self, asked: Asked) -> Read:
        """The course of a value of a node that runs, of one key. UsageError when what is kept cannot be read."""
        return (await self.read_each(asked, 1))[0]

    async def read_each(self, asked: Asked, most: int) -> list[Read]:
        """The same for each key, at most so many and at least one; values of two keys are never one course."""
        graph = self.engine.graph
        unit = shape_of(graph, asked.output).units.get(asked.field)
        unit = None if unit is None or EITHER in unit else unit
        kept = self._ways.of(graph).keepers(asked.output, asked.field)
        if not kept:
            return [Read(asked, unit, Course([], 0), False, None, asked.key or "")]
        # one store-out may get it by several wires; what is the nearest is read
        nearest = kept[0]
        wires = frozenset(
            one.wire for one in kept if (one.address, one.field) == (nearest.address, nearest.field)
        )  # fmt: skip
        market = graph.nodes[asked.output.address].market
        # a value may be told before it counts: a price is, by a slot and the closing time of its gate
        before = 0 if market is None else market.slot_ns + market.gate_closure_ns
        async with self.engine.reading:
            found = await asyncio.to_thread(partial(self._read, asked, nearest, wires, before, most))
        unit = unit or found.unit
        return [Read(asked, unit, course, found.sampled, nearest, key, found.keys) for key, course in found.courses]

    def _read(self, asked: Asked, keeper: Keeper, wires: frozenset[str], before: int, most: int) -> _Found:
        flow, _, node = keeper.address.partition("/")
        values = Reader(keeper.field)
        work = partial(
            thinned, take=values.take, flow=flow, node=node, wires=wires, since=asked.since - before, until=asked.until,
            buckets=asked.points,
        )  # fmt: skip
        store = self.engine.store
        if store.folder is None:
            sampled = store.read(work)
        else:  # by a connection of its own: others wait for the store's while it reads
            with reading(store.folder / FILE_NAME) as kept:
                sampled = kept.read(work)
        now, keys = self.engine.clock.now(), values.keys
        wanted = keys[:most] if asked.key is None else [asked.key]
        courses = [
            (key, course(values.points(key), asked.since, asked.until, now, asked.points)) for key in wanted or [""]
        ]
        return _Found(courses, sampled, values.unit, keys)

    def ahead(self, output: Output, field: str, now: Instant) -> Ahead | None:
        """(who knows it, the intervals): only what is published, from ``now`` on. None: nobody can know it."""
        for address in self._ways.of(self.engine.graph).announcers(output, field):
            worker = self.engine.runtime.workers.get(address)
            if worker is not None:
                known: list[Interval] = getattr(worker.node, "ahead")(field, now)  # noqa: B009  (found by presence)
                return address, known
        return None

    def shown(self, read: Read) -> SeriesShown:
        """As the API gives it."""
        asked, buckets, every = read.asked, read.course.buckets, read.course.every
        ahead = self.ahead(asked.output, asked.field, self.engine.clock.now())
        lacks = lacking(self.engine.graph, asked) if read.keeper is None else ("", "")
        keeper = read.keeper
        return {
            "node": asked.output.address, "port": asked.output.port, "field": asked.field,
            "key": read.key, "keys": list(read.keys[:MOST_KEYS]), "unit": read.unit,
            "from": iso(asked.since), "to": iso(asked.until),
            "t": [_seconds(one.at) for one in buckets], "min": [one.least for one in buckets],
            "max": [one.most for one in buckets], "last": [one.last for one in buckets],
            "manual": [one.manual for one in buckets], "every_s": _seconds(every) or None, "sampled": read.sampled,
            "keeper": None if keeper is None else {
                "node": keeper.address, "wire": keeper.wire, "field": keeper.field,
            },
            "detail": lacks[0], "snippet": lacks[1],
            "ahead": None if ahead is None else {
                "t": [_seconds(begin) for begin, _, _ in ahead[1]],
                "until": [_seconds(end) for _, end, _ in ahead[1]],
                "value": [value for _, _, value in ahead[1]],
                "source": ahead[0],
            },
        }  # fmt: skip


def lacking(graph: Graph, asked: Asked) -> tuple[str, str]:
    """What to say, and what to write, where nobody keeps a value."""
    flow, _, node = asked.output.address.partition("/")
    source = node if asked.output.port == "out" else f"{node}.{asked.output.port}"
    taken = {one.id for one in graph.nodes.values() if one.flow == flow}
    name = next(one for one in ("history", f"{node}-history", f"{node}-history-2") if one not in taken)
    detail = f"no store-out keeps {asked.field!r} of {asked.output.address}; add one under nodes:"
    return detail, f"{name}: {{type: store-out, from: {source}, keep: 90d}}"


def _seconds(instant: Instant) -> float:
    return instant // MS / 1000
