"""The tiles of a dashboard as a page needs them: titles, units and limits put in from what the flow says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from flowrunner.flowfile.dashboard import (
    SPANS,
    ButtonTile,
    ChartSeries,
    ChartTile,
    FormTile,
    Kind,
    PowerTile,
    TableTile,
    TextTile,
    ValueTile,
)
from flowrunner.graph import FlowHead, Graph, Output, PlacedTile
from flowrunner.shape import EITHER
from flowrunner.units import SECOND, canonical_unit
from flowrunner.web.dashboard.carried import Carrier, Ways, shape_of
from flowrunner.web.dashboard.made import made
from flowrunner.web.dashboard.wording import TILES, Named, named, of_field, together
from flowrunner.web.live import Watch

TileKind = Literal[
    "value", "power", "chart", "table", "orders", "alarms", "why", "form", "button", "events", "text"
]  # fmt: skip
POWERS = ("W", "kW", "MW", "GW")
Number = int | float


class Line(TypedDict):
    """One series of a chart, or one line of a table."""

    node: Annotated[str, Meta(description="`flow/id`.")]
    port: str
    field: str
    unit: str | None
    decimals: int | None
    title: Named
    kind: NotRequired[Kind]
    marks: NotRequired[list[Number]]
    min: NotRequired[Annotated[Number | None, Meta(description="What it is not below, as far as the flow says.")]]
    max: NotRequired[Number | None]
    ahead: NotRequired[Annotated[bool, Meta(description="Whether values of the time to come may be known.")]]


class FieldOf(TypedDict):
    """One field of a form."""

    title: Named
    unit: str | None
    min: Number | None
    max: Number | None


_From = TypedDict("_From", {"from": Annotated[list[str], Meta(description="`flow/id` of all nodes that it shows.")]})


class Tile(_From):
    """A tile. What does not belong to its kind is null or empty."""

    tile: TileKind
    id: int
    title: Named
    width: int | None
    node: Annotated[str | None, Meta(description="`flow/id` of the node that it shows.")]
    port: str | None
    field: str | None
    unit: str | None
    decimals: int | None
    min: Number | None
    max: Number | None
    limit: Number | None
    marks: list[Number]
    span: Annotated[int | None, Meta(description="Nanoseconds that a chart shows unless told.")]
    series: list[Line]
    lines: list[Line]
    fields: dict[str, FieldOf]
    values: Annotated[dict[str, Number], Meta(description="What a button enters.")]
    confirm: bool
    expires_after_s: Annotated[float | None, Meta(description="Seconds for which an entry counts; null: for good.")]
    overrides: Annotated[bool, Meta(description="Whether an entry counts at once, against fresh automatic values too.")]
    text: Named | None
    line: Annotated[int, Meta(description="Where it stands in the file; of the flow where it was made.")]
    file: str


class Dashboard(TypedDict):
    """The dashboard of a flow."""

    flow: str
    title: Named
    timezone: str
    made: Annotated[bool, Meta(description="Whether the file has none, and it was made from what the flow emits.")]
    tiles: list[Tile]


def resolved(graph: Graph, flow: str, ways: Ways | None = None) -> Dashboard:
    """The dashboard of a flow of ``graph``; where its file has none, one that is made from what the flow emits.
    ``ways``: those of the graph, where there are many questions about it."""
    head, ways = graph.flows[flow], ways or Ways(graph)
    tiles = made(ways, head) if head.dashboard is None else head.dashboard
    reader = _Reader(ways, head)
    return {
        "flow": flow,
        "title": named(head.title, (flow, flow)),
        "timezone": head.timezone,
        "made": head.dashboard is None,
        "tiles": [reader.tile(place, one) for place, one in enumerate(tiles)],
    }


class Boards:
    """The dashboards of one graph, each made when it is asked for first."""

    def __init__(self, graph: Graph) -> None:
        self._ways = Ways(graph)
        self._made: dict[str, Dashboard] = {}

    def of(self, flow: str) -> Dashboard:
        """That of a flow of the graph; it is shared, and nobody changes it."""
        if flow not in self._made:
            self._made[flow] = resolved(self._ways.graph, flow, self._ways)
        return self._made[flow]


def watches(graph: Graph) -> list[Watch]:
    """Every value that a tile of any flow shows, each once."""
    ways = Ways(graph)
    return watched(tile for flow in graph.flows for tile in resolved(graph, flow, ways)["tiles"])


def watched(tiles: Iterable[Tile]) -> list[Watch]:
    """The values of some tiles, each once."""
    found: dict[Watch, None] = {}
    for tile in tiles:
        if tile["node"] is not None and tile["field"] is not None:
            found[Watch(tile["node"], tile["port"] or "out", tile["field"])] = None
        for line in (*tile["series"], *tile["lines"]):
            found[Watch(line["node"], line["port"], line["field"])] = None
        if tile["tile"] in ("form", "button") and tile["node"] is not None:
            found |= {Watch(tile["node"], "out", field): None for field in tile["fields"]}
    return list(found)


class _Reader:
    """Looks up what the flow says of values."""

    def __init__(self, ways: Ways, head: FlowHead) -> None:
        self.ways, self.graph, self.head = ways, ways.graph, head

    def tile(self, place: int, placed: PlacedTile) -> Tile:
        one = placed.tile
        shows = [output for output in placed.shows if output is not None]
        first = shows[0] if shows and one.tile != "chart" else None
        kind: TileKind = one.tile
        told: Tile = {
            "tile": kind, "id": place, "title": named(one.title, TILES.get(one.tile, ("", ""))), "width": one.width,
            "node": first.address if first is not None else None, "port": first.port if first is not None else None,
            "field": None, "unit": None, "decimals": None, "min": None, "max": None, "limit": None, "marks": [],
            "span": None, "series": [], "lines": [], "from": list(dict.fromkeys(output.address for output in shows)),
            "fields": {}, "values": {}, "confirm": False, "expires_after_s": None, "overrides": False,
            "text": None, "line": placed.line,
            "file": self.head.file,
        }  # fmt: skip
        if isinstance(one, ValueTile | PowerTile) and first is not None:
            self._figure(told, one, first)
        elif isinstance(one, ChartTile):
            pairs = zip(one.series, placed.shows, strict=True)
            told["series"] = [self._series(series, output) for series, output in pairs if output is not None]
            told["span"] = SPANS[one.span]
            told["title"] = named(one.title) if one.title else together([line["title"] for line in told["series"]])
        elif isinstance(one, TableTile) and first is not None:
            names: Sequence[str] = one.fields or [*shape_of(self.graph, first).fields]
            told["lines"] = [self._line(name, first) for name in names]
        elif isinstance(one, FormTile | ButtonTile) and first is not None:
            self._form(told, first)
            if isinstance(one, ButtonTile):
                told["values"], told["confirm"] = one.values, one.confirm
        elif isinstance(one, TextTile):
            told["text"] = named(one.text)
        return told

    def _figure(self, told: Tile, one: ValueTile | PowerTile, first: Output) -> None:
        unit = self._unit(first, one.field, one.unit)
        low, high = self._bounds(first, one.field, unit)
        told |= {
            "title": of_field(one.field, one.title), "field": one.field, "unit": unit,
            "decimals": one.decimals, "min": low if one.min is None else one.min,
            "max": high if one.max is None else one.max, "marks": one.marks,
            "limit": self._limit(first, one.field) if one.limit is None else one.limit,
        }  # fmt: skip

    def _line(self, field: str, output: Output) -> Line:
        return {
            "node": output.address, "port": output.port, "field": field, "unit": self._unit(output, field),
            "decimals": None, "title": of_field(field),
        }  # fmt: skip

    def _series(self, one: ChartSeries, output: Output) -> Line:
        unit = self._unit(output, one.field, one.unit)
        low, high = self._bounds(output, one.field, unit)
        kind: Kind = one.kind or ("bars" if unit in POWERS else "step" if "EUR/" in (unit or "") else "line")
        return self._line(one.field, output) | {
            "unit": unit, "decimals": one.decimals, "title": of_field(one.field, one.title), "kind": kind,
            "marks": one.marks, "min": low, "max": high,
            "ahead": any(True for _ in self.ways.announcers(output, one.field)),
        }  # fmt: skip

    def _form(self, told: Tile, first: Output) -> None:
        options = self.graph.nodes[first.address].node.options
        for name, limits in options.fields.items():
            unit = canonical_unit(limits.unit) if limits.unit else None
            told["fields"][name] = {"title": of_field(name), "unit": unit, "min": limits.min, "max": limits.max}
        expires = getattr(options, "expires_after", None)
        told["expires_after_s"] = None if expires is None else expires / SECOND
        readers = self.graph.outgoing.get(first.address, {}).get(first.port, ())
        nodes = [self.graph.nodes[address].node for address, _ in readers]
        told["overrides"] = any(getattr(one.options, "manual", "") == "override" for one in nodes)

    def _unit(self, output: Output, field: str, given: str | None = None) -> str | None:
        """What the flow says; what the tile says where that is silent or undecided."""
        known = shape_of(self.graph, output).units.get(field, "")
        if known and EITHER not in known:
            return known
        return canonical_unit(given) if given else None

    def _bounds(self, output: Output, field: str, unit: str | None) -> tuple[Number | None, Number | None]:
        """Between which values it lies: what the flow says of it; of a per cent 0 and 100 where that is silent."""
        low, high = self._range(output, field)
        if unit == "%":
            return 0 if low is None else low, 100 if high is None else high
        return low, high

    def _range(self, output: Output, field: str) -> tuple[Number | None, Number | None]:
        """The widest limits of all that the value may come from; None where one of them has none."""
        lows: list[Number | None] = []
        highs: list[Number | None] = []
        for source in self.ways.sources(output, field, lambda one: self._limits_at(one, field) is not None):
            limits = self._limits_at(source, field)
            if limits is not None:
                lows.append(limits[0])
                highs.append(limits[1])
        low = None if None in lows else min((one for one in lows if one is not None), default=None)
        high = None if None in highs else max((one for one in highs if one is not None), default=None)
        return low, high

    def _limits_at(self, source: Output, field: str) -> tuple[Number | None, Number | None] | None:
        """What the node that makes a field says of it; None: it makes none, or says nothing."""
        options = self.graph.nodes[source.address].node.options
        for name in ("fields", "body", "registers"):
            rules = getattr(options, name, None)
            rule = rules.get(field) if isinstance(rules, Mapping) else None
            if rule is not None and hasattr(rule, "min") and hasattr(rule, "max"):
                return rule.min, rule.max
        return None

    def _limit(self, output: Output, field: str) -> Number | None:
        """That of the nearest threshold that judges the very value from above, behind the output or before it."""
        found: list[tuple[int, Number]] = []
        same = self.ways.carriers(output, field)
        found += self._limits(same, same)
        for before in self.ways.sources(output, field):
            carrier = self.ways.carriers(before, field).get(output)
            if carrier is not None and carrier.field == field:
                found += [(carrier.depth, limit) for _, limit in self._limits([before], {before: Carrier(field, 0)})]
        return min(found, key=lambda one: one[0])[1] if found else None

    def _limits(self, outputs: Iterable[Output], named: Mapping[Output, Carrier]) -> Iterator[tuple[int, Number]]:
        """Of every threshold that reads from one of ``outputs``: how far away it is, and its limit."""
        for node, wire in self.ways.behind(outputs):
            carrier = named[Output(wire.source, wire.port)]
            options = node.node.options
            if node.kind.name == "threshold" and options.field == carrier.field and options.above is not None:
                yield carrier.depth, options.above
