"""How the trouble of an alarm goes on: only what is known of it is said.

- An alarm that was made by the edge of a ``threshold`` (its port ``above`` or ``below``) comes once and not again, so
  the threshold is asked for its verdict: it still stands there (``going-on``), or it does not any more (``over``).
  Where the threshold does not run, or has judged nothing of that key yet, nobody knows (``unknown``).
- Any other alarm comes again while its trouble goes on (a refused order, an error), or it told of one moment. Nothing
  ends it. ``going-on``: it came within ten minutes; ``quiet``: it did not, which is said in these words and never as
  "over". The ten minutes are those after which the store counts it as news.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flowrunner.graph import Graph
from flowrunner.message import Instant
from flowrunner.node import Node
from flowrunner.store.alarms import SAME_OCCURRENCE
from flowrunner.web.events.event import Course, Event

EDGES = ("above", "below")
"""Ports by which a threshold tells that its verdict has begun."""


class Latch(Protocol):
    verdict: str


class Running(Protocol):
    """What runs a node."""

    @property
    def node(self) -> Node: ...


def course(alarm: Event, graph: Graph, workers: Mapping[str, Running], now: Instant) -> Course:
    """Of an alarm, as of ``now``. It may be asked in any thread: it looks at single values only."""
    reader = graph.nodes.get(f"{alarm.flow}/{alarm.node}")
    wire = next((one for one in reader.wires if one.name == alarm.wire), None) if reader is not None else None
    source = graph.nodes.get(wire.source) if wire is not None else None
    if wire is not None and source is not None and source.kind.name == "threshold" and wire.port in EDGES:
        return _by_verdict(workers.get(wire.source), alarm.key, wire.port)
    if wire is None and alarm.wire.rpartition(".")[2] in EDGES:
        return "unknown"  # it may have been a threshold's; the wire is gone from the file
    return "going-on" if abs(now - alarm.at) <= SAME_OCCURRENCE else "quiet"


def _by_verdict(worker: Running | None, key: str, port: str) -> Course:
    latches: Mapping[str, Latch] = getattr(getattr(worker, "node", None), "latches", {})
    latch = latches.get(key)
    if latch is None:
        return "unknown"
    return "going-on" if latch.verdict == port else "over"
