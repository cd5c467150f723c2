"""Where a value goes: which other outputs carry the very same field, and which store-outs keep it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from flowrunner.graph import PORTS_OF_ALL, Graph, GraphNode, Output, Wire
from flowrunner.shape import ANYTHING, Shape

SAME = "\N{WORD JOINER}the very same value"
"""In the place of a unit: what a node makes anew has another one, or none. So its own shapes tell what it only passes
on."""


class Carrier(NamedTuple):
    """An output that carries a value: under which name, and how many nodes behind the first one."""

    field: str
    depth: int


class Keeper(NamedTuple):
    """A store-out that keeps a value: by which wire and under which name it gets there."""

    address: str
    wire: str
    field: str
    depth: int


class Ways:
    """The ways of one graph. Made once for many questions: what was found is kept."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._place = {address: place for place, address in enumerate(graph.nodes)}
        self._nodes = [*graph.nodes.values()]
        self._readers: dict[str, set[int]] = {}
        for place, node in enumerate(self._nodes):
            for wire in node.wires:
                if not wire.listens:
                    self._readers.setdefault(wire.source, set()).add(place)
        self._found: dict[tuple[Output, str], dict[Output, Carrier]] = {}

    def carriers(self, start: Output, field: str) -> dict[Output, Carrier]:
        """Every output whose ``field`` is, always and unchanged, that of ``start``; ``start`` too.

        Where several inputs of a node may bring the field, what leaves it is not that of one of them.
        """
        if (start, field) in self._found:
            return self._found[start, field]
        found = self._found[start, field] = {start: Carrier(field, 0)}
        waiting = sorted(self._readers.get(start.address, ()))  # the graph's order: sources first
        seen = set(waiting)
        while waiting:
            node = self._nodes[heapq.heappop(waiting)]
            news = False
            for name, depth in _brought(self.graph, node, found).items():
                for port, shape in _marked(node, name).items():
                    for passed in (one for one, unit in shape.units.items() if unit == SAME):
                        found.setdefault(Output(node.address, port), Carrier(passed, depth + 1))
                        news = True
            for place in self._readers.get(node.address, ()) if news else ():
                if place not in seen:
                    seen.add(place)
                    heapq.heappush(waiting, place)
        return found

    def behind(self, outputs: Iterable[Output]) -> Iterator[tuple[GraphNode, Wire]]:
        """Every wire from one of some outputs, with the node that it leads to; in the order of the graph."""
        wanted = {*outputs}
        places = {place for one in wanted for place in self._readers.get(one.address, ())}
        for place in sorted(places):
            node = self._nodes[place]
            yield from ((node, wire) for wire in node.wires if Output(wire.source, wire.port) in wanted)

    def keepers(self, start: Output, field: str) -> list[Keeper]:
        """Who keeps it, the nearest first."""
        found = self.carriers(start, field)
        kept = []
        for node, wire in self.behind(found):
            if node.kind.name == "store-out":
                carrier = found[Output(wire.source, wire.port)]
                kept.append(Keeper(node.address, wire.name, carrier.field, carrier.depth))
        return sorted(kept, key=lambda one: one.depth)

    def sources(
        self, output: Output, field: str, enough: Callable[[Output], bool] = lambda _: False
    ) -> Iterator[Output]:
        """Outputs whose value it may be: all from which the field comes, the nearest first; ``output`` itself too.
        Behind one that is ``enough`` nothing is looked for."""
        waiting, seen = [output], {output}
        while waiting:
            one = waiting.pop(0)
            yield one
            node = self.graph.nodes.get(one.address)
            for wire in node.wires if node is not None and not enough(one) else ():
                source = Output(wire.source, wire.port)
                if source not in seen and not wire.listens and field in shape_of(self.graph, source).fields:
                    seen.add(source)
                    waiting.append(source)

    def announcers(self, output: Output, field: str) -> Iterator[str]:
        """Nodes that may know of the time to come what the field will be: those from which it comes unchanged."""
        for source in self.sources(output, field):
            node = self.graph.nodes.get(source.address)
            if node is not None and hasattr(node.node, "ahead"):
                same = self.carriers(source, field).get(output)
                if same is not None and same.field == field:
                    yield source.address


def _brought(graph: Graph, node: GraphNode, found: Mapping[Output, Carrier]) -> dict[str, int]:
    """The names under which the value, and nothing else, comes in, and the least depth of where it comes from."""
    names: dict[str, int] = {}
    others: list[Shape] = []
    for wire in node.wires:
        carrier = found.get(Output(wire.source, wire.port))
        if wire.listens:
            continue
        if carrier is None:
            others.append(shape_of(graph, Output(wire.source, wire.port)))
        else:
            names[carrier.field] = min(carrier.depth, names.get(carrier.field, carrier.depth))
    return {name: depth for name, depth in names.items() if not any(one.open or name in one.fields for one in others)}


def _marked(node: GraphNode, name: str) -> Mapping[str, Shape]:
    """What leaves a node whose input ``name`` is marked."""
    units = {**node.incoming.units, name: SAME}
    fields = {name: None, **node.incoming.fields}
    try:
        out = node.node.emits(msgspec.structs.replace(node.incoming, fields=fields, units=units))
    except Exception:  # any node type may be asked, also one's own: one that cannot say it passes nothing on
        return {}
    return dict.fromkeys(node.node.ports, out) if isinstance(out, Shape) else out


def shape_of(graph: Graph, output: Output) -> Shape:
    """What leaves there, as far as it is known."""
    if output.port in PORTS_OF_ALL:
        return PORTS_OF_ALL[output.port]
    node = graph.nodes.get(output.address)
    return ANYTHING if node is None else node.shapes.get(output.port, ANYTHING)
