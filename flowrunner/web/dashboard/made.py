"""A dashboard for a flow whose file has none: made from what its nodes emit, so that there is something to look at."""

from __future__ import annotations

from collections.abc import Iterator

from flowrunner.flowfile import AnyTile
from flowrunner.flowfile.dashboard import (
    AlarmsTile,
    ChartSeries,
    ChartTile,
    EventsTile,
    FormTile,
    OrdersTile,
    PowerTile,
    ValueTile,
    WhyTile,
)
from flowrunner.graph import FlowHead, Graph, GraphNode, Output, PlacedTile
from flowrunner.web.dashboard.carried import Ways

DECIDING = ("rule", "risk-guard", "exchange-out")
"""What leaves these is a wish or an order, no measured value."""
MOST_VALUES = 12
MOST_SERIES = 4
BIPOLAR = ("active_power_mw", "active_power_kw")


def made(ways: Ways, head: FlowHead) -> tuple[PlacedTile, ...]:
    """The newest layer of numbers as values, those of them that are kept as a chart, decisions, forms, orders, alarms
    and what happened."""
    return tuple(PlacedTile(tile, 1, shows) for tile, shows in _tiles(ways, head))


def _tiles(ways: Ways, head: FlowHead) -> Iterator[tuple[AnyTile, tuple[Output, ...]]]:
    graph = ways.graph
    mine = [one for one in graph.nodes.values() if one.flow == head.name]
    values = list(_newest(graph, mine))[:MOST_VALUES]
    often = {field for _, field in values if sum(field == other for _, other in values) > 1}
    for node, field in values:
        kind = PowerTile if field in BIPOLAR else ValueTile
        title = f"{field} · {node.id}" if field in often else None
        word = "power" if kind is PowerTile else "value"
        yield kind(tile=word, from_=node.id, field=field, title=title), (Output(node.address, "out"),)  # type: ignore[arg-type]  # the word of that kind
    kept = [(node, field) for node, field in values if ways.keepers(Output(node.address, "out"), field)]
    if kept := kept[:MOST_SERIES]:
        series = [ChartSeries(from_=node.id, field=field) for node, field in kept]
        yield ChartTile(tile="chart", series=series), tuple(Output(node.address, "out") for node, _ in kept)
    if deciding := [one for one in mine if one.kind.name in ("rule", "risk-guard")]:
        yield WhyTile(tile="why", from_=[one.id for one in deciding]), _of(deciding)
    for node in mine:
        if node.kind.cls.manual and hasattr(node.node.options, "fields"):
            yield FormTile(tile="form", from_=node.id), _of([node])
    for node in mine:
        if node.kind.name == "exchange-out" and node.node.options.send == "orders":
            yield OrdersTile(tile="orders", from_=node.id), _of([node])
    if alarms := [one for one in mine if one.kind.name == "alarm-out"]:
        yield AlarmsTile(tile="alarms"), _of(alarms)
    yield EventsTile(tile="events"), ()


def _of(nodes: list[GraphNode]) -> tuple[Output, ...]:
    return tuple(Output(one.address, "out") for one in nodes)


def _newest(graph: Graph, mine: list[GraphNode]) -> Iterator[tuple[GraphNode, str]]:
    """Each number that leaves a node, where no node behind it gives a field of that name."""
    giving = {one.address: _numbers(one) for one in mine}
    later: dict[str, set[str]] = {}
    """Address → the names of all numbers that nodes behind it give."""
    for node in reversed(graph.nodes.values()):
        behind = later.get(node.address, set()) | giving.get(node.address, set())
        for wire in node.wires:
            if not wire.listens:
                later.setdefault(wire.source, set()).update(behind)
    for node in mine:
        for field in node.shapes["out"].fields if "out" in node.shapes else ():
            if field in giving[node.address] and field not in later.get(node.address, set()):
                yield node, field


def _numbers(node: GraphNode) -> set[str]:
    if node.kind.name in DECIDING or "out" not in node.shapes or getattr(node.node.options, "require", None):
        return set()  # a record that waits for all of its fields shows none while one is away
    return {name for name, kind in node.shapes["out"].fields.items() if kind == "number"}
