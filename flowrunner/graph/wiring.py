"""Wires: who reads whom, what a disabled node takes with it, and that nothing runs in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flowrunner.errors import Mark, did_you_mean
from flowrunner.flowfile import Items, Step, find
from flowrunner.graph.build import Part
from flowrunner.graph.model import Wire

Parts = dict[str, Part]


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
    disabled: dict[str, str] = field(default_factory=dict)


def wire_up(parts: Parts) -> Wiring:
    """Resolve every reference to a node; problems go to the parts' documents."""
    wiring = Wiring()
    for address, part in parts.items():
        wiring.links[address] = [
            link
            for text, mark, path, optional in _written(part)
            if (link := _resolve(part, text, mark, path, optional, parts)) is not None
        ]
        _check_arity(part)
    _disable(parts, wiring)
    return wiring


def _written(part: Part) -> Iterator[tuple[str, Mark, list[Step], bool]]:
    """Every text of a node that names another: ``from``, and options of the kind "wire"."""
    path: list[Step] = [*part.path, "from"]
    given = part.data.get("from")
    tree = find(part.document.root, path)
    if isinstance(given, str):
        yield given, tree.mark, path, True
    elif isinstance(given, list):
        for index, text in enumerate(given):
            mark = tree.items[index].mark if isinstance(tree, Items) else tree.mark
            yield text, mark, [*path, index], True
    for ref in part.refs:
        if ref.kind == "wire":
            yield ref.text, ref.mark, ref.path, False


def _resolve(part: Part, text: str, mark: Mark, path: list[Step], optional: bool, parts: Parts) -> Link | None:
    flow, slash, rest = text.rpartition("/")
    flow = flow if slash else part.flow
    name, _, port = rest.partition(".")
    source = parts.get(f"{flow}/{name}")
    if source is None:
        flows = {known.flow for known in parts.values()}
        if slash and flow not in flows:
            hint = did_you_mean(flow, flows) or f"flows here: {', '.join(sorted(flows))}"
            part.report(mark, "unknown-flow", f"there is no flow {flow!r}", path, hint)
            return None
        known = [one.id for one in parts.values() if one.flow == flow]
        hint = did_you_mean(name, known)
        prefix = f"{flow}/" if slash else ""
        if hint and (slash or port):
            hint = f"{hint[:-2].replace(chr(39), chr(39) + prefix, 1)}{'.' + port if port else ''}'?"
        part.report(mark, "unknown-node", f"there is no node {text!r}", path, hint)
        return None
    if source is part:
        part.report(mark, "cycle", f"{part.id!r} reads from itself", path)
        return None
    return Link(
        Wire(source.address, port or "out", part.address, text if port else f"{text}.out"), mark, path, optional
    )


def _check_arity(part: Part) -> None:
    if part.kind is None or part.envelope is None:
        return
    if part.kind.cls.inputs == "required" and not part.envelope.from_:
        part.report(
            part.mark, "missing-input", f"{part.kind.name} needs an input", part.path, "write 'from: <node id>'"
        )


def _disable(parts: Parts, wiring: Wiring) -> None:
    """A disabled node is as if it were not there; a reader that has no other input goes with it."""
    for address, part in parts.items():
        if part.envelope is not None and not part.envelope.enabled:
            variable = part.variables.get("enabled")
            wiring.disabled[address] = f"{variable} is false" if variable else "enabled: false"
    changed = True
    while changed:
        changed = False
        for address, links in wiring.links.items():
            if address in wiring.disabled:
                continue
            inputs = [link for link in links if link.optional]
            gone = [link for link in inputs if link.wire.source in wiring.disabled]
            if inputs and len(gone) == len(inputs):
                part, first = parts[address], gone[0]
                names = " and ".join(dict.fromkeys(repr(parts[link.wire.source].id) for link in gone))
                wiring.disabled[address] = f"its only input {names} is disabled"
                part.report(
                    first.mark, "disabled-input", f"{part.id!r} does not run: its only input {names} is disabled",
                    first.path, severity="note",
                )  # fmt: skip
                changed = True
    for address, links in wiring.links.items():
        if address in wiring.disabled:
            continue
        for link in links:
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
                    _report_cycle(parts, [one for one, _ in stack], link)
            else:
                state[address] = 2
                order.append(address)
                stack.pop()
    return order


def _report_cycle(parts: Parts, stack: list[str], link: Link) -> None:
    """The stack goes from readers to sources; people read wires the other way."""
    circle = [*stack[stack.index(link.wire.source) :], link.wire.source][::-1]
    names = [parts[address].id for address in circle]
    part = parts[link.wire.reader]
    part.report(
        link.mark, "cycle", f"a cycle: {' → '.join(names)}", link.path, "messages must not come back; cut one of these"
    )
