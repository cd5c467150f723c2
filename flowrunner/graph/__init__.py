"""Flow files → one checked graph, or every problem that they have. Pure: texts in, values out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from flowrunner.errors import Problem
from flowrunner.flowfile import Branch, Document, Leaf, Tree, load, mark_of, substitute
from flowrunner.graph.build import Head, Part, read_head, read_parts
from flowrunner.graph.change import Change, change, known
from flowrunner.graph.dashboard import Read, read_dashboard
from flowrunner.graph.edit import after_edit
from flowrunner.graph.model import (
    ERROR_PORT,
    PORTS_OF_ALL,
    STATUS_PORT,
    FlowHead,
    Graph,
    GraphNode,
    Output,
    PlacedTile,
    Places,
    Seen,
    Wire,
)
from flowrunner.graph.names import Shapes
from flowrunner.graph.shown import masked, shown
from flowrunner.graph.text import masked_text
from flowrunner.graph.wiring import UNREADABLE, Link, in_order, wire_up
from flowrunner.logs import Secrets
from flowrunner.node import RetryPolicy
from flowrunner.registry import Registry
from flowrunner.shape import ANYTHING

__all__ = [
    "ERROR_PORT",
    "PORTS_OF_ALL",
    "STATUS_PORT",
    "Change",
    "Checked",
    "FlowHead",
    "Graph",
    "GraphNode",
    "Output",
    "PlacedTile",
    "Wire",
    "change",
    "check_flows",
    "known",
]

_ODD_LINES = re.compile("[\r\x85\u2028\u2029\ufeff]")
SHORTEST_TOLD = 8
"""Of a secret that only the name of a variable tells; what an option or ``${secret:…}`` tells may be shorter."""


class Checked(msgspec.Struct):
    """The outcome of a check. ``graph`` is None when any problem is an error."""

    graph: Graph | None
    problems: list[Problem]


def check_flows(
    texts: Mapping[str, str],
    environment: Mapping[str, str],
    registry: Registry,
    *,
    simulated: bool = False,
    before: Graph | None = None,
) -> Checked:
    """Check all files that one engine is to run, in one pass. ``texts``: file name (as shown) → text.

    ``simulated``: the flows will meet a simulated world and nothing else. ``before``: the graph that runs, of which
    what is still the same is taken over; the outcome is the same without it, only later.
    """
    if before is not None and not simulated and (edited := after_edit(texts, environment, registry, before)):
        return Checked(edited.graph, edited.problems)
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
    tiles = {head.name: read_dashboard(head, parts, flows, wiring, shapes) for head in heads}
    secrets = {value for document in documents for value in document.secrets}
    secrets |= {ref.text for part in parts.values() for ref in part.refs if ref.kind == "secret" and ref.text}
    secrets |= {value for document in documents for value in _told_secrets(document.root)}
    mask = Secrets(secrets)
    problems = _problems(documents, mask)
    if any(one.severity == "error" for one in problems):
        return Checked(None, problems)
    digests = {id(document): _digest(document) for document in documents}
    nodes = {
        address: _node(part := parts[address], shapes, wiring.links[address], mask, digests[id(part.document)])
        for address in order
    }
    _feed(nodes)
    told = {head.name: _head(head, tiles[head.name], parts.values(), mask) for head in heads}
    kinds = tuple({part.kind for part in parts.values() if part.kind is not None})
    places = {one.file: found for one in documents if (found := _places(one)) is not None}
    seen = Seen(dict(texts), dict(environment), kinds, places, problems)
    return Checked(Graph(told, nodes, wiring.disabled, secrets, seen), problems)


def _places(document: Document) -> Places | None:
    """None where the nodes do not stand one below the other, or lines are not what they seem to be."""
    text, root = document.text, document.root
    nodes = root.items.get("nodes")
    if not isinstance(nodes, Branch) or _ODD_LINES.search(text):
        return None
    marks = [nodes.keys[name] for name in nodes.items]
    lines, columns = [mark.line for mark in marks], {mark.column for mark in marks}
    written = text.split("\n")
    head = root.keys["nodes"]
    begin = [one.split("#")[0].strip() for one in written[head.line - 1 : lines[0] - 1]]
    if "".join(begin) != "nodes:" or head.column != 1 or len(columns) != 1 or lines != sorted(set(lines)):
        return None
    (column,) = columns
    if column < 2 or any(written[line - 1][: column - 1].strip(" ") for line in lines):
        return None
    end = min((mark.line for mark in root.keys.values() if mark.line > lines[-1]), default=len(written) + 1)
    return Places(list(nodes.items), lines, column, end, document.values)


def _told_secrets(root: Branch) -> set[str]:
    """What variables say is secret, wherever in a text it stands: a server may repeat all that it was sent. Not what
    is in the key of messages, which everybody sees, and no short words, which would be found in other texts."""
    nodes = root.items.get("nodes")
    named = nodes.items.values() if isinstance(nodes, Branch) else ()
    keys = [one.items.get("key") for one in named if isinstance(one, Branch)]
    seen = {value for leaf in keys if isinstance(leaf, Leaf) for value in leaf.secrets}
    return {value for value in _secrets_in(root) if len(value) >= SHORTEST_TOLD} - seen


def _secrets_in(tree: Tree) -> Iterator[str]:
    if isinstance(tree, Leaf):
        yield from tree.secrets if isinstance(tree.value, str) else ()
        return
    for below in tree.items.values() if isinstance(tree, Branch) else tree.items:
        yield from _secrets_in(below)


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
            if wire.listens:  # what is told of a message is not the message
                continue
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


def _head(head: Head, tiles: list[Read] | None, parts: Iterable[Part], secrets: Secrets) -> FlowHead:
    items = head.document.root.items
    own = [ref.mark for part in parts if part.document is head.document for ref in part.refs if ref.kind == "secret"]
    return FlowHead(
        name=head.name,
        file=head.document.file,
        title=masked(head.title, items.get("title"), secrets),
        timezone=head.timezone,
        vars=masked(head.vars, items.get("vars"), secrets),
        digest=_digest(head.document),
        market=head.market,
        text=masked_text(head.document.text, own, secrets),
        dashboard=None if tiles is None else tuple(one.placed(masked(one.data, one.tree, secrets)) for one in tiles),
    )


def _digest(document: Document) -> str:
    return hashlib.sha256(document.text.encode()).hexdigest()[:16]


def _node(part: Part, shapes: Shapes, links: list[Link], secrets: Secrets, flow_digest: str) -> GraphNode:
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
        shown=shown(part, secrets),
        digest=part.digest,
        file=part.document.file,
        line=part.mark.line,
        zone=part.zone,
        vars=part.vars,
        market=part.market,
        flow_digest=flow_digest,
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
