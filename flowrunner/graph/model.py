"""The graph: what runs, and how it is wired. Plain values, no tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.errors import Problem
from flowrunner.flowfile import AnyTile
from flowrunner.market import Market
from flowrunner.message import JSON
from flowrunner.node import Node, Queue, RetryPolicy
from flowrunner.registry import NodeType
from flowrunner.shape import ANYTHING, Shape

Outgoing: TypeAlias = Mapping[str, list[tuple[str, str]]]
"""Port → (address of the reader, name of the wire there), in the order of the readers."""
ERROR_PORT = "error"
ERROR_SHAPE = Shape({"node": "text", "code": "text", "reason": "text", "message": None})
"""What leaves by every node's error port."""
STATUS_PORT = "status"
STATUS_SHAPE = Shape({"node": "text", "state": "text", "connected": "bool", "reason": "text", "since": "text"})
"""What leaves by every node's status port, whenever its state changes."""
PORTS_OF_ALL = {ERROR_PORT: ERROR_SHAPE, STATUS_PORT: STATUS_SHAPE}
"""Ports that every node has beside those of its type."""


class Wire(msgspec.Struct, frozen=True):
    """One wire. Addresses are ``flow/id``; ``name`` is how the reader's file calls it: ``id.port``."""

    source: str
    port: str
    reader: str
    name: str
    listens: bool = False
    """The reader only listens: it is no work of the source to serve it, and what it hears is handled by nobody yet."""


@dataclass(slots=True)
class GraphNode:
    """A node that is to run."""

    address: str
    flow: str
    id: str
    kind: NodeType
    node: Node
    key: str
    queue: Queue
    retry: RetryPolicy
    shown: dict[str, Any]
    """The node as bound from the file, its secrets masked: for display."""
    digest: str
    """Type, options and code: equal digests mean that nothing about the node changed."""
    file: str
    line: int
    zone: ZoneInfo
    vars: Mapping[str, JSON]
    market: Market | None = None
    flow_digest: str = ""
    """Hash of the text of its file."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Option → the environment variable or var that it was wholly taken from (``api_key: ${BESS_API_KEY:-}``)."""
    wires: list[Wire] = field(default_factory=list)
    incoming: Shape = ANYTHING
    shapes: dict[str, Shape] = field(default_factory=dict)
    about: Mapping[str, Shape] = field(default_factory=dict)
    """Other nodes that its options name (kinds ``verdict`` and ``origin``) → what leaves them by ``out``."""
    feeds: frozenset[str] = frozenset()
    """The types of all nodes that its messages can reach."""

    @property
    def ports(self) -> list[str]:
        return [*self.shapes, *PORTS_OF_ALL]


class Output(NamedTuple):
    """What leaves a node by a port; ``address`` is ``flow/id``."""

    address: str
    port: str


class PlacedTile(msgspec.Struct, frozen=True):
    """A tile of a dashboard, and what it shows."""

    tile: AnyTile
    line: int
    """Of its begin in the file."""
    shows: tuple[Output | None, ...] = ()
    """One for each of its ``from`` or ``series``, in their order; None: that node does not run."""


class FlowHead(msgspec.Struct, frozen=True):
    """What a flow's file says beside its nodes."""

    name: str
    file: str
    title: str | dict[str, str] | None
    timezone: str
    vars: Mapping[str, JSON]
    digest: str
    """Hash of the file's text."""
    market: Market | None = None
    text: str = ""
    """The file as it runs, its secrets masked."""
    dashboard: tuple[PlacedTile, ...] | None = None
    """None: the file has none. Tiles of which nothing runs are left out."""


class Places(NamedTuple):
    """Where the nodes of a file stand, in its order: each name first on its line, all in one column, none in {}."""

    ids: list[str]
    lines: list[int]
    column: int
    end: int
    """The line at which the last node has ended for sure."""
    values: int
    """How many values the file has."""


class Seen(NamedTuple):
    """What a graph was made of, so that the next check need not look again at what is still the same."""

    texts: Mapping[str, str]
    environment: Mapping[str, str]
    kinds: tuple[NodeType, ...]
    places: Mapping[str, Places]
    """Of the files whose nodes can be read one by one."""
    problems: list[Problem]


@dataclass(slots=True)
class Graph:
    """All flows of one engine. ``nodes`` are in topological order: sources first."""

    flows: dict[str, FlowHead]
    nodes: dict[str, GraphNode]
    disabled: dict[str, str]
    """Address → why the node does not run."""
    secrets: set[str] = field(default_factory=set)
    seen: Seen | None = field(default=None, repr=False, compare=False)
    """None: made in some other way than by a check of files."""
    moved: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    """Address → line, of nodes that are those of the graph before and stand on another line now."""
    _outgoing: Mapping[str, Outgoing] | None = field(default=None, repr=False, compare=False)

    @property
    def outgoing(self) -> Mapping[str, Outgoing]:
        """The wires as the writers see them, by address of the writer."""
        if self._outgoing is None:
            found: dict[str, dict[str, list[tuple[str, str]]]] = {}
            for node in self.nodes.values():
                for wire in node.wires:
                    found.setdefault(wire.source, {}).setdefault(wire.port, []).append((wire.reader, wire.name))
            self._outgoing = found
        return self._outgoing

    @outgoing.setter
    def outgoing(self, same: Mapping[str, Outgoing]) -> None:
        """Those of the graph before, where no wire is another."""
        self._outgoing = same

    def settle(self) -> None:
        """It runs from now on: the nodes that ran before learn what their file says now and where they stand in it."""
        for node in self.nodes.values():
            node.flow_digest = self.flows[node.flow].digest
        for address, line in self.moved.items():
            self.nodes[address].line = line

    @property
    def keeps_orders(self) -> bool:
        """Whether any of its nodes works with the journal of orders."""
        return any(one.node.keeps_orders for one in self.nodes.values())
