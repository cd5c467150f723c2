"""Flow files → nodes: each bound by its own type's schema, decoded and asked for contradictions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from flowrunner.errors import Mark, described, did_you_mean
from flowrunner.flowfile import (
    Branch,
    Document,
    FlowFile,
    Items,
    Leaf,
    MarketHead,
    Tree,
    find,
    is_name,
    mark_of,
    spell,
    zone_of,
)
from flowrunner.flowfile.document import Step
from flowrunner.flowfile.syntax import MISSING_SPACE, missing_space
from flowrunner.market import Market
from flowrunner.message import JSON
from flowrunner.node import Node, Queue, RetryPolicy
from flowrunner.registry import BrokenType, Envelope, NodeType, Registry
from flowrunner.schema import Form, Ref, bind, decode, schema_of
from flowrunner.units import Duration

T = TypeVar("T")
HEAD = Form(schema_of(FlowFile))
ENVELOPE = frozenset(one.encode_name for one in msgspec.structs.fields(Envelope))
NOT_ITS_OWN = ("type", "from", "enabled", "note", "queue")
"""Of a node's data what may change while the node stays the same."""

DAY = Duration.parse("1d")
SHORTEST_SLOT = Duration.parse("1min")
SHORTEST_RETRY = Duration.parse("10ms")


class Input(NamedTuple):
    """One text under ``from``, as it is written."""

    text: str
    mark: Mark
    path: list[Step]


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
    inputs: list[Input] = field(default_factory=list)
    enabled: bool = True
    claims: list[str] = field(default_factory=list)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    vars: dict[str, JSON] = field(default_factory=dict)
    market: Market | None = None
    simulated: bool = False
    open: bool = False
    """Something of its inputs or vars is broken: names that are not known cannot be called wrong."""

    address: str = field(init=False)

    def __post_init__(self) -> None:
        self.address = f"{self.flow}/{self.id}"

    @property
    def variables(self) -> dict[str, str]:
        """Option → the variable that it was wholly taken from."""
        tree = find(self.document.root, self.path)
        leaves = tree.items.items() if isinstance(tree, Branch) else ()
        return {name: one.substituted for name, one in leaves if isinstance(one, Leaf) and one.substituted}

    @property
    def digest(self) -> str:
        assert self.kind is not None  # noqa: S101  (only parts that became nodes are asked)
        own = {name: value for name, value in self.data.items() if name not in NOT_ITS_OWN}
        text = msgspec.json.encode(own).decode()
        used = {name: value for name, value in self.vars.items() if re.search(rf"\b{re.escape(name)}\b", text)}
        known = [self.kind.name, self.kind.code_hash, own, used, self.zone.key, self.market]
        return hashlib.sha256(msgspec.json.encode(known, order="sorted")).hexdigest()[:16]

    def report(self, mark: Mark, code: str, message: str, path: list[Step], hint: str = "", **more: Any) -> None:
        self.document.report(mark, code, message, path=spell(path), hint=hint, **more)

    def ask(self, question: str, call: Callable[[], T]) -> T | None:
        """What a node type's own code says. Where it fails, the type is broken, and the program is not."""
        assert self.kind is not None  # noqa: S101  (only parts with a type are asked)
        try:
            return call()
        except Exception as error:
            message = f"{self.kind.file}: {question} failed: {described(error)}"
            self.report(self.mark, "broken-type", message, self.path, "this is a mistake in the node type")
            return None


@dataclass(slots=True)
class Head:
    """The head of one file."""

    document: Document
    name: str
    title: str | dict[str, str] | None = None
    timezone: str = "UTC"
    vars: dict[str, JSON] = field(default_factory=dict)
    vars_broken: bool = False
    market: Market | None = None
    simulated: bool = False


def read_head(document: Document, *, simulated: bool = False) -> Head:
    """Bind the top of a file. What is right of it counts, also where something else is wrong."""
    root = document.root
    bound = bind(document, [], HEAD, "a flow")
    named = root.items.get("flow")
    name = named.text if isinstance(named, Leaf) and is_name(named.text) else ""
    head = Head(document, name, (bound.data or {}).get("title"), simulated=simulated)
    own = root.items.get("vars", Branch(root.mark))
    for var, leaf in own.items.items() if isinstance(own, Branch) else ():
        if isinstance(leaf, Leaf) and not leaf.broken and leaf.value is not None:
            head.vars[var] = leaf.value
    head.vars_broken = own.broken or not isinstance(own, Branch) or len(head.vars) < len(own.items)
    if (bound.data or {}).get("market"):
        head.market = _market(document, (bound.data or {})["market"])
    zone = root.items.get("timezone")
    if isinstance(zone, Leaf) and isinstance(zone.value, str) and not zone.broken:
        try:
            head.timezone = zone_of(zone.value).key
        except ValueError as error:
            hint = _zone_like(zone.value) or "write it like Europe/Vienna or UTC"
            document.report(zone.mark, "timezone", str(error), path="timezone", hint=hint)
    return head


def _market(document: Document, data: dict[str, Any]) -> Market:
    """The head's market. Slots that do not fill the day are reported."""
    head = decode(data, MarketHead)
    if head.slot < SHORTEST_SLOT or DAY % head.slot:
        mark = mark_of(document.root, ["market", "slot"])
        hint = "electricity markets have 15min, 30min or 1h"
        document.report(mark, "contradiction", f"a day is no whole number of slots of {head.slot}", path="market.slot",
                        hint=hint)  # fmt: skip
        return Market(name=head.name, slot_ns=DAY, gate_closure_ns=0)
    if head.gate_closure > DAY:
        mark = mark_of(document.root, ["market", "gate_closure"])
        hint = "the time between the last moment for an order and the begin of its delivery"
        document.report(mark, "contradiction", f"a gate closure of {head.gate_closure} is more than a day",
                        path="market.gate_closure", hint=hint)  # fmt: skip
    return Market(name=head.name, slot_ns=int(head.slot), gate_closure_ns=int(head.gate_closure))


def _zone_like(name: str) -> str:
    zones = sorted(available_timezones())
    by_city = [zone for zone in zones if zone.rpartition("/")[2].casefold() == name.casefold().replace(" ", "_")]
    return f"did you mean {by_city[0]!r}?" if by_city else did_you_mean(name, zones)


def read_parts(head: Head, registry: Registry) -> list[Part]:
    """Every node of a file, the wrong ones too."""
    nodes = head.document.root.items.get("nodes")
    if not isinstance(nodes, Branch):
        return []
    return [_read(head, id, tree, nodes.keys[id], registry) for id, tree in nodes.items.items()]  # noqa: A001


def _read(head: Head, id: str, tree: Tree, mark: Mark, registry: Registry) -> Part:  # noqa: A002
    path: list[Step] = ["nodes", id]
    part = Part(head.document, head.name, id, path, mark, zone=zone_of(head.timezone), vars=head.vars)
    part.market, part.simulated = head.market, head.simulated
    part.open = head.vars_broken
    if not is_name(id):
        hint = "small letters, digits and single dashes, like battery-north"
        if "." in id:
            hint += "; '.' is kept for ports"
        part.report(mark, "node-id", f"{id!r} cannot be a node id", path, hint)
    if not isinstance(tree, Branch):
        if not tree.broken:
            tight = missing_space(tree.text) if isinstance(tree, Leaf) and tree.straight and not tree.style else None
            if tight:
                place = Mark(tree.mark.line, tree.mark.column + tight[0] - 1)
                part.report(place, "syntax", MISSING_SPACE, path, tight[1])
                return part
            known = isinstance(tree, Leaf) and tree.text in registry.names
            what = f"write 'type: {tree.text if known and isinstance(tree, Leaf) else '…'}' below it"
            part.report(mark_of(head.document.root, path), "type", "a node is a map of options", path, what)
        return part
    _read_wires(part, tree)
    part.kind = _type_of(part, tree, registry)
    if part.kind is not None:
        _bind(part, part.kind)
    return part


def _read_wires(part: Part, tree: Branch) -> None:
    """``from`` and ``enabled`` count also in a node that has a mistake elsewhere."""
    enabled = tree.items.get("enabled")
    part.enabled = not (isinstance(enabled, Leaf) and enabled.value is False)
    given = tree.items.get("from")
    path: list[Step] = [*part.path, "from"]
    several = isinstance(given, Items)
    for index, one in enumerate(given.items if isinstance(given, Items) else [given]):
        if isinstance(one, Leaf) and isinstance(one.value, str) and not one.broken:
            part.inputs.append(Input(one.value, one.mark, [*path, index] if several else path))
        elif one is not None:
            part.open = True


def _bind(part: Part, kind: NodeType) -> None:
    document, path = part.document, part.path
    bound = bind(document, path, kind.form, kind.name)
    part.refs = bound.refs
    if bound.data is None:
        return
    part.data = bound.data
    own = {key: value for key, value in bound.data.items() if key in ENVELOPE}
    options = {key: value for key, value in bound.data.items() if key not in ENVELOPE}
    try:
        part.envelope = decode(own, Envelope)
        decoded = decode(options, kind.cls.Options)
    except msgspec.ValidationError as error:  # the schema lets through what the type does not: say it all the same
        part.report(part.mark, "value", str(error), path)
        return
    _check_retry(part, part.envelope.retry)
    node = part.ask(f"{kind.cls.__name__}()", lambda: kind.cls(part.id, decoded))
    if node is None:
        return
    node.simulated = part.simulated
    _check_queue(part, node, part.envelope.queue)
    if part.market is None and "market" not in document.root.items and node.needs_market:
        hint = "write at the top: market: {name: epex_at, slot: 15min, gate_closure: 5min}"
        part.report(part.mark, "missing-option", f"{kind.name} needs to know the market of this flow", path, hint)
    faults = part.ask("check()", lambda: list(node.check()))
    if faults is None:
        return
    for fault in faults:
        place = [*path, *_steps(find(document.root, path), fault.option)]
        mark = mark_of(document.root, place)
        part.report(mark, "contradiction", fault.message, place, fault.hint, severity=fault.severity)
    faults = [fault for fault in faults if fault.severity == "error"]
    claims = [] if faults else part.ask("claims()", lambda: list(node.claims()))
    if not faults and claims is not None:
        part.node, part.claims = node, claims


def _check_retry(part: Part, retry: RetryPolicy | None) -> None:
    if retry is None:
        return
    option, message, hint = "", "", ""
    if retry.first < SHORTEST_RETRY:
        option, hint = "first", "trying again without a pause keeps the machine busy"
        message = f"{retry.first} is less than {SHORTEST_RETRY}"
    elif retry.first > retry.max:
        option = "first" if "first" in part.data["retry"] else "max"
        message = f"first ({retry.first}) must not be more than max ({retry.max})"
        hint = "" if len(part.data["retry"]) > 1 else "write both: retry: {first: …, max: …}"
    if message:
        path = [*part.path, "retry", option]
        part.report(mark_of(part.document.root, path), "contradiction", message, path, hint)


def _check_queue(part: Part, node: Node, queue: Queue | None) -> None:
    option, message, hint = "", "", ""
    if queue is not None and queue.durable and node.side_effect == "at_most_once":
        option = "durable"
        message = f"a queue of {part.kind.name if part.kind else node.id} cannot be durable: it acts at most once"
        hint = "orders are in the journal, which is durable; leave 'durable' out"
    elif queue is not None and queue.max_age is not None and not queue.durable:
        option, message, hint = "max_age", "max_age belongs to durable queues", "add durable: true"
    elif queue is not None and queue.when_full == "block" and node.listens:
        option = "when_full" if "when_full" in part.data["queue"] else ""
        message = f"{node.type} only listens: it lets nobody wait"
        hint = "write when_full: drop_oldest"
    if message:
        path = [*part.path, "queue", *([option] if option else [])]
        part.report(mark_of(part.document.root, path), "contradiction", message, path, hint)


def _steps(tree: Tree, option: str) -> list[Step]:
    """The way to an option that a fault names by dots; keys may hold dots themselves (topics)."""
    if not option:
        return []
    if isinstance(tree, Branch):
        for key in tree.items:
            if option == key or option.startswith(f"{key}."):
                return [key, *_steps(tree.items[key], option[len(key) + 1 :])]
    first, _, rest = option.partition(".")
    if isinstance(tree, Items) and first.isdigit() and int(first) < len(tree.items):
        return [int(first), *_steps(tree.items[int(first)], rest)]
    return [first, *(step for step in rest.split(".") if step)]


def _type_of(part: Part, tree: Branch, registry: Registry) -> NodeType | None:
    leaf = tree.items.get("type")
    path: list[Step] = [*part.path, "type"]
    if leaf is None:
        if not tree.broken:
            hint = "write 'type: …'; `flowrunner nodes` lists the types"
            part.report(part.mark, "missing-option", "'type' is missing", part.path, hint)
        return None
    if not isinstance(leaf, Leaf) or not isinstance(leaf.value, str):
        if not leaf.broken:
            part.report(mark_of(part.document.root, path), "type", "a node type is a name", path)
        return None
    if leaf.broken:
        return None
    try:
        return registry.get(leaf.value)
    except KeyError:
        hint = did_you_mean(leaf.value, registry.names) or "`flowrunner nodes` lists the types"
        part.report(leaf.mark, "unknown-type", f"unknown node type {leaf.value!r}", path, hint)
    except BrokenType as error:
        part.report(leaf.mark, "broken-type", str(error), path)
    return None
