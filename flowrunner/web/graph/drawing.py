"""The picture of one flow: its nodes, those of other flows that it reads or that read it, and the wires between.

Made anew only when the wiring is another one; a reload that changes options keeps it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.graph import PORTS_OF_ALL, Graph, GraphNode
from flowrunner.web.graph.layout import HEIGHT, WIDTH, Layout, Line, lay_out

KEPT = 64
"""Pictures that are kept."""
Pixels = Annotated[int, Meta(description="From the upper left corner of the picture.")]


class DrawnNode(msgspec.Struct, frozen=True):
    """A box."""

    id: Annotated[str, Meta(description="The node's id; ``flow/id`` for one of another flow.")]
    flow: str
    type: str
    line: Annotated[int, Meta(ge=1, description="Of its file.")]
    queue: Annotated[int, Meta(ge=0, description="Messages that its inbox holds; 0: it has none.")]
    x: Pixels
    y: Pixels
    ports: Annotated[dict[str, int], Meta(description="Ports in use → pixels below the box's corner.")]


class DrawnWire(msgspec.Struct, frozen=True, rename={"source": "from", "reader": "to"}):
    """A wire between two boxes."""

    source: str
    port: str
    reader: str
    apart: Annotated[bool, Meta(description="Of a port that every node has, ``error`` or ``status``.")]
    d: Annotated[str, Meta(description="As SVG writes a path.")]
    box: Annotated[tuple[int, int, int, int], Meta(description="What it stays in: left, top, right, bottom.")]


class Drawn(msgspec.Struct, frozen=True):
    """A flow as a picture; everything in pixels."""

    flow: str
    digest: Annotated[str, Meta(description="Of the flow's file as it runs.")]
    generation: Annotated[int, Meta(ge=1)]
    width: Annotated[int, Meta(ge=0)]
    height: Annotated[int, Meta(ge=0)]
    box_width: int
    box_height: int
    nodes: list[DrawnNode]
    wires: list[DrawnWire]


class _Wiring(msgspec.Struct, frozen=True):
    """What a layout depends on."""

    addresses: tuple[str, ...]
    lines: tuple[Line, ...]


class Drawings:
    """The pictures of one engine's flows."""

    def __init__(self) -> None:
        self._kept: dict[_Wiring, Layout] = {}

    def of(self, graph: Graph, flow: str, generation: int) -> Drawn:
        """The picture of a flow that runs."""
        nodes, wiring = _wiring(graph, flow)
        layout = self._kept.pop(wiring, None) or lay_out(len(nodes), wiring.lines)
        self._kept[wiring] = layout
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        ids = [one.id if one.flow == flow else one.address for one in nodes]
        return Drawn(
            flow=flow,
            digest=graph.flows[flow].digest,
            generation=generation,
            width=layout.width,
            height=layout.height,
            box_width=WIDTH,
            box_height=HEIGHT,
            nodes=[
                DrawnNode(name, one.flow, one.kind.name, one.line, _queue(one), box.x, box.y, box.ports)
                for name, one, box in zip(ids, nodes, layout.boxes, strict=True)
            ],
            wires=[
                DrawnWire(ids[line.source], line.port, ids[line.reader], line.apart, path.d, path.box)
                for line, path in zip(wiring.lines, layout.paths, strict=True)
            ],
        )


def _queue(one: GraphNode) -> int:
    return one.queue.size if one.wires else 0


def _wiring(graph: Graph, flow: str) -> tuple[list[GraphNode], _Wiring]:
    """Nodes in the order of the file, first those of other flows that come before; and the wires between them."""
    own = sorted((one for one in graph.nodes.values() if one.flow == flow), key=lambda one: one.line)
    mine = {one.address for one in own}
    found = [
        (wire.source, wire.port, reader.address)
        for reader in graph.nodes.values()
        for wire in reader.wires
        if reader.address in mine or wire.source in mine
    ]
    others = dict.fromkeys(address for source, _, reader in found for address in (source, reader))
    nodes = [*(graph.nodes[address] for address in others if address not in mine), *own]
    place = {one.address: index for index, one in enumerate(nodes)}
    lines = {Line(place[source], port, place[reader], port in PORTS_OF_ALL): None for source, port, reader in found}
    return nodes, _Wiring(tuple(one.address for one in nodes), tuple(lines))
