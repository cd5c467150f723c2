"""The graph: what runs, and how it is wired. Plain values, no tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.market import Market
from flowrunner.message import JSON
from flowrunner.node import Node, Queue, RetryPolicy
from flowrunner.registry import NodeType
from flowrunner.shape import ANYTHING, Shape

ERROR_PORT = "error"
ERROR_SHAPE = Shape({"node": "text", "code": "text", "reason": "text", "message": None})
"""What leaves by every node's error port."""


class Wire(msgspec.Struct, frozen=True):
    """One wire. Addresses are ``flow/id``; ``name`` is how the reader's file calls it: ``id.port``."""

    source: str
    port: str
    reader: str
    name: str


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
        return [*self.shapes, ERROR_PORT]


class FlowHead(msgspec.Struct, frozen=True):
    """What a flow's file says beside its nodes."""

    name: str
    file: str
    title: str | dict[str, str] | None
    timezone: str
    vars: Mapping[str, JSON]
    digest: str
    """Hash of the file's text."""


@dataclass(slots=True)
class Graph:
    """All flows of one engine. ``nodes`` are in topological order: sources first."""

    flows: dict[str, FlowHead]
    nodes: dict[str, GraphNode]
    disabled: dict[str, str]
    """Address → why the node does not run."""
    secrets: set[str] = field(default_factory=set)
