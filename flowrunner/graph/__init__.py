"""Flow files → one checked graph, or every problem that they have. Pure: texts in, values out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flowrunner.errors import Problem
from flowrunner.flowfile import Branch, Document, Items, Leaf, Tree, find, load, mark_of, substitute
from flowrunner.graph.build import Head, Part, read_head, read_parts
from flowrunner.graph.model import ERROR_PORT, FlowHead, Graph, GraphNode, Wire
from flowrunner.graph.names import Shapes
from flowrunner.graph.wiring import UNREADABLE, Link, in_order, wire_up
from flowrunner.logs import MASK, Secrets
from flowrunner.node import RetryPolicy
from flowrunner.registry import Registry
from flowrunner.shape import ANYTHING

__all__ = ["ERROR_PORT", "Checked", "FlowHead", "Graph", "GraphNode", "Wire", "check_flows"]


class Checked(msgspec.Struct):
    """The outcome of a check. ``graph`` is None when any problem is an error."""

    graph: Graph | None
    problems: list[Problem]


def check_flows(
    texts: Mapping[str, str], environment: Mapping[str, str], registry: Registry, *, simulated: bool = False
) -> Checked:
    """Check all files that one engine is to run, in one pass. ``texts``: file name (as shown) → text.

    ``simulated``: the flows will meet a simulated world and nothing else.
    """
    documents = [load(text, file) for file, text in texts.items()]
    heads: list[Head] = []
    parts: dict[str, Part] = {}
    flows: dict[str, list[str]] = {}
    for document in documents:
        if document.problems and not document.root.items:
            flows[UNREADABLE] = []
            continue
        document.root.items.pop("tests", None)  # a slip in a test keeps no plant from running; `testing` checks them
        substitute(document, environment)
        head = read_head(document, simulated=simulated)
        _claim_name(head, heads)
        heads.append(head)
        flows[head.name] = []
        for part in read_parts(head, registry):
            parts[part.address] = part
            flows[head.name].append(part.id)
    wiring = wire_up(parts, flows)
    order = in_order(parts, wiring)
    shapes = Shapes(parts, wiring)
    for address in order:
        shapes.visit(address)
    _check_claims(parts[address] for address in order)
    secrets = {value for document in documents for value in document.secrets}
    secrets |= {ref.text for part in parts.values() for ref in part.refs if ref.kind == "secret" and ref.text}
    mask = Secrets(secrets)
    problems = _problems(documents, mask)
    if any(one.severity == "error" for one in problems):
        return Checked(None, problems)
    nodes = {address: _node(parts[address], shapes, wiring.links[address], mask) for address in order}
    _feed(nodes)
    return Checked(Graph({head.name: _head(head, mask) for head in heads}, nodes, wiring.disabled, secrets), problems)


def _problems(documents: list[Document], secrets: Secrets) -> list[Problem]:
    """All, in order of place and without secrets. What an alias repeats is one mistake, said once."""
    found: dict[tuple[str, int, int, str, str], Problem] = {}
    for one in sorted((one for document in documents for one in document.problems), key=lambda one: one.order):
        message, hint, path = secrets.mask(one.message), secrets.mask(one.hint), secrets.mask(one.path)
        clean = msgspec.structs.replace(one, message=message, hint=hint, path=path)
        found.setdefault((one.file, one.line, one.column, one.code, message), clean)
    return list(found.values())


def _feed(nodes: dict[str, GraphNode]) -> None:
    """Readers come after what they read, so going backwards sees every reader first."""
    for reader in reversed(nodes.values()):
        for wire in reader.wires:
            source = nodes[wire.source]
            source.feeds = source.feeds | reader.feeds | {reader.kind.name}


def _claim_name(head: Head, heads: list[Head]) -> None:
    """Two files with one name would be one flow: refused, and the second gets a name of its own for the check."""
    for other in heads:
        if other.name == head.name and head.name:
            mark = head.document.root.items["flow"].mark
            head.document.report(
                mark, "duplicate-flow", f"the flow {head.name!r} is here twice", path="flow",
                hint=f"the first is in {other.document.file}",
            )  # fmt: skip
            head.name = f"{head.name} ({head.document.file})"
    if not head.name:
        head.name = f"({head.document.file})"


def _check_claims(parts: Iterable[Part]) -> None:
    """Things that only one node may have."""
    owners: dict[str, Part] = {}
    for part in parts:
        for claim in part.claims:
            owner = owners.setdefault(claim, part)
            if owner is not part:
                kind, _, what = claim.partition(":")
                path = [*part.path, kind] if kind in part.data else part.path
                part.report(
                    mark_of(part.document.root, path), "claim", f"{what!r} is taken: two nodes cannot have one {kind}",
                    path, f"the other is {owner.id!r} at {owner.document.file}:{owner.mark.line}",
                )  # fmt: skip


def _head(head: Head, secrets: Secrets) -> FlowHead:
    shown = _masked(head.vars, head.document.root.items.get("vars"), secrets)
    return FlowHead(head.name, head.document.file, head.title, head.timezone, shown, _digest(head.document))


def _digest(document: Document) -> str:
    return hashlib.sha256(document.text.encode()).hexdigest()[:16]


def _shown(part: Part, secrets: Secrets) -> dict[str, Any]:
    """The node's data without its secrets: whole where an option is one, and wherever one stands in a text."""
    data: dict[str, Any] = _masked(part.data, find(part.document.root, part.path), secrets)
    for ref in part.refs:
        if ref.kind == "secret" and ref.text:
            at: Any = data
            for step in ref.path[2:-1]:
                at = at[step]
            at[ref.path[-1]] = MASK
    return data


def _masked(value: Any, tree: Tree | None, secrets: Secrets) -> Any:
    """``value`` as it may be shown; ``tree`` knows which leaves hold secrets, however short these are."""
    if isinstance(value, dict):
        below = tree.items if isinstance(tree, Branch) else {}
        return {secrets.mask(key): _masked(one, below.get(key), secrets) for key, one in value.items()}
    if isinstance(value, list):
        items = tree.items if isinstance(tree, Items) else [None] * len(value)
        return [_masked(one, item, secrets) for one, item in zip(value, items, strict=True)]
    if isinstance(tree, Leaf) and tree.secrets:
        if not isinstance(value, str) or value in tree.secrets:
            return MASK
        for one in sorted(tree.secrets, key=len, reverse=True):
            value = value.replace(one, MASK)
    return secrets.mask(value) if isinstance(value, str) else value


def _node(part: Part, shapes: Shapes, links: list[Link], secrets: Secrets) -> GraphNode:
    assert part.kind is not None and part.node is not None and part.envelope is not None  # noqa: S101, PT018
    envelope = part.envelope
    return GraphNode(
        address=part.address,
        flow=part.flow,
        id=part.id,
        kind=part.kind,
        node=part.node,
        key=envelope.key,
        queue=envelope.queue or part.node.default_queue,
        retry=envelope.retry or RetryPolicy(),
        shown=_shown(part, secrets),
        digest=part.digest,
        file=part.document.file,
        line=part.mark.line,
        zone=part.zone,
        vars=part.vars,
        market=part.market,
        flow_digest=_digest(part.document),
        variables=part.variables,
        wires=[link.wire for link in links],
        incoming=shapes.incoming[part.address],
        shapes=shapes.outgoing[part.address] or {},
        about={
            ref.text: (shapes.outgoing.get(_address(part, ref.text)) or {}).get("out", ANYTHING)
            for ref in part.refs
            if ref.kind in ("verdict", "origin")
        },
    )


def _address(part: Part, name: str) -> str:
    """Of a node that an option names: ``node`` of the same flow, or ``flow/node``."""
    return name if "/" in name else f"{part.flow}/{name}"
