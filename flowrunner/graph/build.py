"""Flow files → nodes: each bound by its own type's schema, decoded and asked for contradictions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.errors import Mark, did_you_mean
from flowrunner.flowfile import Branch, Document, FlowFile, Leaf, find, is_name, mark_of, spell, zone_of
from flowrunner.flowfile.document import Step
from flowrunner.message import JSON
from flowrunner.node import Node
from flowrunner.registry import BrokenType, Envelope, NodeType, Registry
from flowrunner.schema import Ref, bind, decode, schema_of


@dataclass(slots=True)
class Part:
    """A node of a file on its way into the graph; ``node`` is None when something about it is wrong."""

    document: Document
    flow: str
    id: str
    path: list[Step]
    mark: Mark
    kind: NodeType | None = None
    node: Node | None = None
    envelope: Envelope | None = None
    data: dict[str, Any] = field(default_factory=dict)
    refs: list[Ref] = field(default_factory=list)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    vars: dict[str, JSON] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.flow}/{self.id}"

    @property
    def variables(self) -> dict[str, str]:
        """Option → the variable that it was wholly taken from."""
        tree = find(self.document.root, self.path)
        leaves = tree.items.items() if isinstance(tree, Branch) else ()
        return {
            name: one.substituted for name, one in leaves if isinstance(one, Leaf) and one.substituted[:1].isalpha()
        }

    @property
    def digest(self) -> str:
        assert self.kind is not None  # noqa: S101  (only parts that became nodes are asked)
        text = msgspec.json.encode([self.kind.name, self.kind.code_hash, self.data, self.vars], order="sorted")
        return hashlib.sha256(text).hexdigest()[:16]

    def report(self, mark: Mark, code: str, message: str, path: list[Step], hint: str = "", **more: Any) -> None:
        self.document.report(mark, code, message, path=spell(path), hint=hint, **more)


@dataclass(slots=True)
class Head:
    """The head of one file."""

    document: Document
    name: str
    title: str | dict[str, str] | None = None
    timezone: str = "UTC"
    vars: dict[str, JSON] = field(default_factory=dict)


def read_head(document: Document) -> Head:
    """Bind the top of a file."""
    bound = bind(document, [], schema_of(FlowFile), "a flow")
    named = document.root.items.get("flow")
    name = named.text if isinstance(named, Leaf) and is_name(named.text) else ""
    data = bound.data or {}
    head = Head(document, name, data.get("title"), data.get("timezone", "UTC"), data.get("vars", {}))
    try:
        zone_of(head.timezone)
    except ValueError as error:
        leaf = find(document.root, ["timezone"])
        document.report(leaf.mark, "timezone", str(error), path="timezone", hint="like Europe/Vienna or UTC")
        head.timezone = "UTC"
    return head


def read_parts(head: Head, registry: Registry) -> list[Part]:
    """Every node of a file, the wrong ones too."""
    nodes = head.document.root.items.get("nodes")
    if not isinstance(nodes, Branch):
        return []
    return [_read(head, id, registry) for id in nodes.items]  # noqa: A001


def _read(head: Head, id: str, registry: Registry) -> Part:  # noqa: A002
    document = head.document
    path: list[Step] = ["nodes", id]
    mark = mark_of(document.root, path)
    part = Part(document, head.name, id, path, mark, zone=zone_of(head.timezone), vars=head.vars)
    if not is_name(id):
        hint = "small letters, digits and single dashes, like battery-north"
        if "." in id:
            hint += "; '.' is kept for ports"
        part.report(mark, "node-id", f"{id!r} cannot be a node id", path, hint)
    tree = find(document.root, path)
    if not isinstance(tree, Branch):
        part.report(mark, "type", "a node is a map of options", path, "write 'type: …' below it")
        return part
    part.kind = _type_of(part, tree, registry)
    if part.kind is None:
        return part
    bound = bind(document, path, part.kind.schema(), part.kind.name)
    part.refs = bound.refs
    if bound.data is None:
        return part
    part.data = bound.data
    envelope_keys = {one.encode_name for one in msgspec.structs.fields(Envelope)}
    part.envelope = decode({key: value for key, value in bound.data.items() if key in envelope_keys}, Envelope)
    options = {key: value for key, value in bound.data.items() if key not in envelope_keys}
    try:
        node = part.kind.cls(id, decode(options, part.kind.cls.Options))
    except msgspec.ValidationError as error:  # the schema lets through what the type does not: say it all the same
        part.report(mark, "value", str(error), path)
        return part
    faults = list(node.check())
    for fault in faults:
        place: list[Step] = [*path, *(step for step in fault.option.split(".") if step)]
        part.report(mark_of(document.root, place), "contradiction", fault.message, place, fault.hint)
    if not faults:
        part.node = node
    return part


def _type_of(part: Part, tree: Branch, registry: Registry) -> NodeType | None:
    leaf = tree.items.get("type")
    if leaf is None:
        part.report(part.mark, "missing-option", "'type' is missing", part.path, "`flowrunner nodes` lists the types")
        return None
    if not isinstance(leaf, Leaf) or not isinstance(leaf.value, str):
        part.report(leaf.mark, "type", "a node type is a name", [*part.path, "type"])
        return None
    try:
        return registry.get(leaf.value)
    except KeyError:
        hint = did_you_mean(leaf.value, registry.names) or "`flowrunner nodes` lists the types"
        part.report(leaf.mark, "unknown-type", f"unknown node type {leaf.value!r}", [*part.path, "type"], hint)
    except BrokenType as error:
        part.report(leaf.mark, "broken-type", str(error), [*part.path, "type"])
    return None
