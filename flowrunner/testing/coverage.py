"""What no test has reached: nodes that no message came to or left, ports that nothing left, clauses that were never
true, or never false."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from flowrunner.errors import Mark
from flowrunner.flowfile import Branch, Items, Leaf, Tree, find, load
from flowrunner.graph import ERROR_PORT, Graph, GraphNode
from flowrunner.testing.playing import Outcome
from flowrunner.testing.suite import Suite
from flowrunner.testing.watching import Watching


class Gap(msgspec.Struct, frozen=True):
    """Something that no test has reached."""

    kind: str
    """node, port or clause."""
    file: str
    line: int
    column: int
    text: str


class Coverage(msgspec.Struct, frozen=True):
    """Of one flow file. Reached and in all, by kind."""

    reached: dict[str, int]
    total: dict[str, int]
    gaps: list[Gap]


def coverage_of(suite: Suite, outcomes: Sequence[Outcome]) -> Coverage:
    """``outcomes``: of all tests of the suite. A node counts also where only the environment of a test enables it; an
    error port counts where somebody reads it."""
    nodes: dict[str, GraphNode] = {}
    off: dict[str, str] = {}
    for graph in _graphs(outcomes):
        nodes |= {address: one for address, one in graph.nodes.items() if one.flow == suite.flow}
        off |= {address: why for address, why in graph.disabled.items() if address.startswith(f"{suite.flow}/")}
    root = load(suite.texts[suite.file], suite.file).root
    reached: dict[str, int] = dict.fromkeys(("node", "port", "clause"), 0)
    total = dict(reached)
    gaps: list[Gap] = []

    def count(kind: str, ok: bool, mark: Mark, text: str) -> None:
        total[kind] += 1
        reached[kind] += ok
        if not ok:
            gaps.append(Gap(kind, suite.file, mark.line, mark.column, text))

    left = {place for one in outcomes if one.watching for place in _left(one.watching, nodes)}
    came = {address for one in outcomes for address in one.received} | {address for address, _ in left}
    for address, why in off.items():
        if address not in nodes:
            name = address.partition("/")[2]
            count("node", False, root_mark(root, name), f"{name}: it does not run in any test ({why})")
    for address, spec in nodes.items():
        mark = Mark(spec.line, root_mark(root, spec.id).column)
        count("node", address in came, mark, f"{spec.id}: no message reached it")
        for port in _ports(spec, nodes.values()):
            count("port", (address, port) in left, mark, f"{spec.id}.{port}: nothing left it")
        for mark, clause, outcomes_seen in _clauses(spec, root, outcomes):
            missing = [word for word, value in (("true", True), ("false", False)) if value not in outcomes_seen]
            text = f"{spec.id}: {clause}: never {' and never '.join(missing)}"
            count("clause", not missing, mark, text)
    order = {"node": 0, "port": 1, "clause": 2}
    return Coverage(reached, total, sorted(gaps, key=lambda gap: (order[gap.kind], gap.line, gap.column, gap.text)))


def _left(watching: Watching, nodes: Mapping[str, GraphNode]) -> Iterator[tuple[str, str]]:
    """Where messages left. What the test put into the mouth of a node that reads from others shows nothing of it."""
    emitted = {id(one) for one in watching.emitted}
    for sent in watching.sent:
        spec = nodes.get(sent.address)
        if id(sent.message) not in emitted or spec is None or not spec.wires:
            yield sent.address, sent.port


def _graphs(outcomes: Iterable[Outcome]) -> Iterator[Graph]:
    return (graph for one in outcomes for graph in one.graphs)


def root_mark(root: Branch, node: str) -> Mark:
    nodes = root.items.get("nodes")
    return nodes.keys.get(node, nodes.mark) if isinstance(nodes, Branch) else root.mark


def _ports(spec: GraphNode, nodes: Iterable[GraphNode]) -> list[str]:
    """Every port that something can leave by."""
    original = getattr(spec.node, "original", spec.node)
    silent = set(original.silent_ports())
    wires = (wire for one in nodes for wire in one.wires if not wire.listens)
    read = any((wire.source, wire.port) == (spec.address, ERROR_PORT) for wire in wires)
    return [*(port for port in spec.shapes if port not in silent), *([ERROR_PORT] if read else [])]


def _clauses(spec: GraphNode, root: Branch, outcomes: Iterable[Outcome]) -> Iterator[tuple[Mark, str, set[bool]]]:
    """Each clause of the conditions of a node, with how it came out."""
    seen: dict[tuple[str, str], set[bool]] = {}
    for one in outcomes:
        if one.watching is None:
            continue
        for text, judged in one.watching.judged.get(spec.address, {}).items():
            for clause, found in judged.clauses.items():
                seen.setdefault((text, clause), set()).update(found)
    for (text, clause), found in seen.items():
        leaf = next((one for one in _leaves(find(root, ["nodes", spec.id])) if one.text == text), None)
        offset = max(text.find(clause), 0)
        yield leaf.mark_at(offset) if leaf is not None else root_mark(root, spec.id), clause, found


def _leaves(tree: Tree) -> Iterator[Leaf]:
    if isinstance(tree, Leaf):
        yield tree
        return
    below = tree.items.values() if isinstance(tree, Branch) else tree.items if isinstance(tree, Items) else []
    for one in below:
        yield from _leaves(one)
