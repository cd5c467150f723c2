"""Wires: who reads whom, what a disabled node takes with it, and that nothing runs in a circle."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowrunner.errors import Mark, did_you_mean
from flowrunner.flowfile import Step
from flowrunner.graph.build import Part
from flowrunner.graph.model import Wire
from flowrunner.schema import Ref

Parts = dict[str, Part]
Flows = dict[str, list[str]]
"""Flow → the ids of its nodes."""
UNREADABLE = ""
"""In place of the name of a flow whose file could not be read."""
SHOWN_NODES = 12


@dataclass(slots=True)
class Link:
    """A wire as it is written: where in the file, and whether the reader can do without it."""

    wire: Wire
    mark: Mark
    path: list[Step]
    optional: bool


@dataclass(slots=True)
class Wiring:
    """The links of every node, and why nodes do not run."""

    links: dict[str, list[Link]] = field(default_factory=dict)
    named: dict[str, list[Link]] = field(default_factory=dict)
    """Nodes that the options of a node name and that it does not read (their values come through others)."""
    disabled: dict[str, str] = field(default_factory=dict)


def wire_up(parts: Parts, flows: Flows) -> Wiring:
    """Resolve every reference to a node; problems go to the parts' documents."""
    wiring = Wiring()
    for address, part in parts.items():
        links = wiring.links[address] = []
        seen: dict[Wire, Mark] = {}
        for text, mark, path in part.inputs:
            link = resolve(part, text, mark, path, True, parts, flows)
            if link is None:
                part.open = True
            elif link.wire in seen:
                first = seen[link.wire]
                hint = f"the first is at line {first.line}, column {first.column}"
                part.report(mark, "duplicate-input", f"{text!r} is read twice", path, hint)
            else:
                seen[link.wire] = mark
                links.append(link)
        for ref in part.refs:
            if ref.kind == "wire":
                link = resolve(part, ref.text, ref.mark, ref.path, False, parts, flows)
                if link is None:
                    part.open = True
                else:
                    links.append(link)
            elif ref.kind == "watched":
                link = _watch(part, ref, parts, flows)
                if link is not None and link.wire in seen:
                    part.report(ref.mark, "duplicate-input", f"{ref.text!r} is named twice", ref.path, "once is enough")
                elif link is not None:
                    seen[link.wire] = ref.mark
                    links.append(link)
            elif ref.kind in ("verdict", "origin"):
                link = resolve(part, ref.text, ref.mark, ref.path, False, parts, flows)
                if link is None:
                    part.open = True
                else:
                    wiring.named.setdefault(address, []).append(link)
        _check_arity(part)
    _listen(parts, flows, wiring)
    _disable(parts, wiring)
    return wiring


def resolve(
    part: Part, text: str, mark: Mark, path: list[Step], optional: bool, parts: Parts, flows: Flows
) -> Link | None:
    """The wire from the node that ``text`` names; None where there is none, which is said."""
    flow, slash, rest = text.rpartition("/")
    flow = flow if slash else part.flow
    name, _, port = rest.partition(".")
    source = parts.get(f"{flow}/{name}")
    if source is None:
        if "," in text:
            several = ", ".join(one.strip() for one in text.split(",") if one.strip())
            part.report(mark, "unknown-node", f"there is no node {text!r}", path, f"write [{several}]")
        elif flow in flows or not slash:
            known = flows.get(flow, ())
            hint = did_you_mean(name, known)
            prefix = f"{flow}/" if slash else ""
            if hint and (slash or port):
                hint = f"{hint[:-2].replace(chr(39), chr(39) + prefix, 1)}{'.' + port if port else ''}'?"
            if not hint and len(known) <= SHOWN_NODES:
                hint = f"nodes here: {', '.join(one for one in known if one != part.id or slash)}"
            part.report(mark, "unknown-node", f"there is no node {text!r}", path, hint)
        elif UNREADABLE not in flows:  # else it may be in a file that cannot be read yet
            hint = did_you_mean(flow, flows) or f"flows here: {', '.join(sorted(flows))}"
            part.report(mark, "unknown-flow", f"there is no flow {flow!r}", path, hint)
        return None
    if source is part:
        part.report(mark, "cycle", f"{part.id!r} reads from itself", path, "messages must not come back; remove this")
        return None
    return Link(
        Wire(source.address, port or "out", part.address, text if port else f"{text}.out"), mark, path, optional
    )


def _watch(part: Part, ref: Ref, parts: Parts, flows: Flows) -> Link | None:
    """The wire from a node that a listener names."""
    name, dot, _ = ref.text.partition(".")
    if dot:
        part.report(ref.mark, "watched", f"{ref.text!r} is a port; named here are nodes", ref.path, f"write {name}")
        return None
    link = resolve(part, name, ref.mark, ref.path, True, parts, flows)
    return None if link is None else Link(_listening(part, link.wire.source, name), ref.mark, ref.path, True)


def _listening(part: Part, source: str, name: str) -> Wire:
    port = _listens(part)
    return Wire(source, port, part.address, f"{name}.{port}", listens=True)


def _listens(part: Part) -> str:
    """The port of others that it listens to; "" where it reads like any node."""
    return part.kind.cls.listens if part.kind is not None else ""


def _listen(parts: Parts, flows: Flows, wiring: Wiring) -> None:
    """A listener that names nobody hears all nodes of its flow, but those behind itself or another listener: so what
    is done about errors is not listened to, and nothing runs in a circle."""
    listeners = [part for part in parts.values() if _listens(part) and part.enabled]
    readers: dict[str, list[str]] = {}
    for address, links in wiring.links.items():
        for link in links:
            readers.setdefault(link.wire.source, []).append(address)
    behind = {part.address for part in listeners}
    waiting = [*behind]
    while waiting:
        new = [one for one in readers.get(waiting.pop(), ()) if one not in behind]
        behind.update(new)
        waiting += new
    for part in listeners:
        if "nodes" not in part.data:
            sources = [parts[f"{part.flow}/{id}"] for id in flows[part.flow] if f"{part.flow}/{id}" not in behind]  # noqa: A001
            links = [Link(_listening(part, one.address, one.id), part.mark, part.path, True) for one in sources]
            wiring.links[part.address] += links


def _check_arity(part: Part) -> None:
    if part.kind is None or part.envelope is None:
        return
    if part.kind.cls.inputs == "required" and not part.inputs:
        part.report(
            part.mark, "missing-input", f"{part.kind.name} needs an input", part.path, "write 'from: <node id>'"
        )


def _disable(parts: Parts, wiring: Wiring) -> None:
    """A disabled node is as if it were not there; a reader that has no other input goes with it."""
    readers: dict[str, list[str]] = {}
    for address, links in wiring.links.items():
        for link in links:
            if link.optional:
                readers.setdefault(link.wire.source, []).append(address)
    for address, part in parts.items():
        if not part.enabled:
            variable = part.variables.get("enabled")
            wiring.disabled[address] = f"{variable} is false" if variable else "enabled: false"
    waiting = list(wiring.disabled)
    while waiting:
        for reader in readers.get(waiting.pop(0), ()):
            if reader not in wiring.disabled and _goes_too(parts, wiring, reader):
                waiting.append(reader)  # noqa: PERF401  (the loop above takes it from there)
    for address, links in wiring.links.items():
        if address in wiring.disabled:
            continue
        for link in [*links, *wiring.named.get(address, ())]:
            if not link.optional and link.wire.source in wiring.disabled:
                part = parts[address]
                option = str(link.path[2]) if len(link.path) > 2 else "it"
                part.report(
                    link.mark, "disabled-node",
                    f"{option} needs {parts[link.wire.source].id!r}, which does not run"
                    f" ({wiring.disabled[link.wire.source]})",
                    link.path, f"enable it, or disable {part.id!r} too",
                )  # fmt: skip
        wiring.links[address] = [link for link in links if link.wire.source not in wiring.disabled]


def _goes_too(parts: Parts, wiring: Wiring, address: str) -> bool:
    """Whether every input of a node is disabled. Then it does not run either, and a note says so."""
    part = parts[address]
    inputs = [link for link in wiring.links[address] if link.optional]
    if part.open or any(link.wire.source not in wiring.disabled for link in inputs):
        return False
    names = " and ".join(dict.fromkeys(repr(parts[link.wire.source].id) for link in inputs))
    which = f"its only input {names} is disabled" if " and " not in names else f"its inputs {names} are disabled"
    wiring.disabled[address] = which
    first = inputs[0]
    part.report(first.mark, "disabled-input", f"{part.id!r} does not run: {which}", first.path, severity="note")
    return True


def in_order(parts: Parts, wiring: Wiring) -> list[str]:
    """Addresses, sources first. A cycle is a problem that names its path, and its nodes come last."""
    state: dict[str, int] = {}  # 1: on the way down, 2: done
    order: list[str] = []

    for start in parts:
        if start in state or start in wiring.disabled:
            continue
        stack = [(start, iter(wiring.links[start]))]
        state[start] = 1
        while stack:
            address, links = stack[-1]
            for link in links:
                source = link.wire.source
                if source not in state:
                    state[source] = 1
                    stack.append((source, iter(wiring.links[source])))
                    break
                if state[source] == 1:
                    _report_cycle(parts, wiring, [one for one, _ in stack], link)
            else:
                state[address] = 2
                order.append(address)
                stack.pop()
    return order


def _report_cycle(parts: Parts, wiring: Wiring, stack: list[str], link: Link) -> None:
    """The stack goes from readers to sources; people read wires the other way."""
    circle = [*stack[stack.index(link.wire.source) :], link.wire.source][::-1]
    several = len({parts[address].flow for address in circle}) > 1
    names = []
    for address, reader in zip(circle, [*circle[1:], ""], strict=True):
        ports = [one.wire.port for one in wiring.links.get(reader, ()) if one.wire.source == address]
        port = f".{ports[0]}" if ports and "out" not in ports else ""
        names.append(f"{address if several else parts[address].id}{port}")
    part = parts[link.wire.reader]
    part.report(
        link.mark, "cycle", f"a cycle: {' → '.join(names)}", link.path, "messages must not come back; cut one of these"
    )
