"""Shapes along the wires, and every name in options held against them: ports, fields, inputs, expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import msgspec

from flowrunner.errors import did_you_mean
from flowrunner.expression import ExpressionError, Kind, Names, check, parse
from flowrunner.flowfile import mark_of
from flowrunner.graph.build import Part
from flowrunner.graph.model import PORTS_OF_ALL
from flowrunner.graph.wiring import Link, Parts, Wiring
from flowrunner.schema import Ref
from flowrunner.shape import ANYTHING, EITHER, Shape, union
from flowrunner.template import BUILT_IN, TemplateError, Text

WANTED: dict[str, Kind | None] = {"condition": "bool", "amount": "number", "formula": None}
"""Kinds of options that are expressions → what these must give."""
_SUBSTITUTED = re.compile(r"\$\{(\w+)[^}]*\}")


class Shapes:
    """Filled node by node, sources first."""

    def __init__(self, parts: Parts, wiring: Wiring) -> None:
        self.parts = parts
        self.wiring = wiring
        self.incoming: dict[str, Shape] = {}
        self.outgoing: dict[str, dict[str, Shape] | None] = {}
        """None: the node is broken, anything may come."""
        self.guessed: set[str] = set()
        """Broken nodes and all behind them: what they bring is not known, and what they miss is not said."""

    def visit(self, address: str) -> None:
        part = self.parts[address]
        shapes = [
            (link, shape) for link in self.wiring.links[address] if (shape := self._along(part, link)) is not None
        ]
        incoming = self.incoming[address] = union(shape for _, shape in shapes)
        if part.kind is not None and part.kind.cls.joins:
            _check_units(part, shapes, incoming)
        if (
            part.node is None
            or part.open
            or any(one.wire.source in self.guessed and not one.wire.listens for one in self.wiring.links[address])
        ):
            self.guessed.add(address)
        if part.open:
            incoming = msgspec.structs.replace(incoming, open=True)
        gone = self._missing_sources(part) if part.refs else ""
        check_refs(part, incoming, gone)
        for link in self.wiring.named.get(address, ()):
            self._check_named(part, link, shapes)
        if part.node is not None:
            self._check_sources(part)
        if part.node is None:
            self.outgoing[address] = None
            return
        outgoing = self.outgoing[address] = part.ask("emits()", lambda: self._emitted(part, incoming))
        key_refs(part, outgoing)

    def _emitted(self, part: Part, incoming: Shape) -> dict[str, Shape]:
        try:
            return emitted(part, incoming)
        except ValueError as error:  # what the node cannot do with what comes in
            part.report(part.mark, "contradiction", str(error), part.path)
            self.guessed.add(part.address)
            return dict.fromkeys(part.node.ports if part.node is not None else (), ANYTHING)

    def _check_named(self, part: Part, named: Link, shapes: list[tuple[Link, Shape]]) -> None:
        """What a node says about another one's values holds only where these values really come in, on every way."""
        source, mark, path = self.parts[named.wire.source], named.mark, named.path
        if named.wire.source in self.wiring.disabled or named.wire.source in self.guessed:
            return  # what is wrong with it is said already
        kinds = {one.kind for one in part.refs if one.path == path}
        if "verdict" in kinds:
            if source.kind is not None and source.kind.name != "threshold":
                hint = "name a threshold: it adds its verdict to every record"
                part.report(mark, "no-verdict", f"{source.id!r} ({source.kind.name}) gives no verdict", path, hint)
                return
            wanted = [source.id.replace("-", "_")]
        else:
            wanted = list((self.outgoing.get(named.wire.source) or {"out": ANYTHING}).get("out", ANYTHING).fields)
        for link, shape in shapes:
            if link.wire.port in PORTS_OF_ALL or link.wire.source in self.guessed:
                continue
            if not any(name in shape.fields for name in wanted):
                what = f"the verdict of {source.id!r}"
                hint = f"let it pass through {source.id!r} first, so that every record carries it"
                if "verdict" not in kinds:
                    what = f"any value of {source.id!r}"
                    hint = f"merge the values of {source.id!r} in first, or leave it out here"
                message = f"what comes from {link.wire.name.removesuffix('.out')!r} is without {what}"
                part.report(mark, "not-carried", message, path, hint)

    def _check_sources(self, part: Part) -> None:
        """Some nodes do not read from everybody: what sends orders takes them from nobody but the guard."""
        assert part.node is not None  # noqa: S101  (asked above)
        for link in self.wiring.links[part.address]:
            source = self.parts[link.wire.source].node
            if source is None:
                continue
            fault = part.ask("refuses()", partial(part.node.refuses, source, link.wire.port))
            if fault is not None:
                part.report(link.mark, "source", fault.message, link.path, fault.hint)

    def _along(self, part: Part, link: Link) -> Shape | None:
        ports = self.outgoing.get(link.wire.source)
        if link.wire.port in PORTS_OF_ALL:
            return PORTS_OF_ALL[link.wire.port]
        if ports is None:
            return ANYTHING
        if link.wire.port not in ports:
            source = self.parts[link.wire.source]
            known = [*ports, *PORTS_OF_ALL]
            if link.wire.port == "out":
                message = f"{source.id!r} ({source.kind.name if source.kind else '?'}) has no output"
            else:
                message = f"{source.id!r} has no port {link.wire.port!r}"
            hint = did_you_mean(link.wire.port, known) or f"ports: {', '.join(known)}"
            part.report(link.mark, "unknown-port", message, link.path, hint)
            return ANYTHING
        return ports[link.wire.port]

    def _missing_sources(self, part: Part) -> str:
        """A sentence about disabled inputs, for a field that might have come from there."""
        names = [one.text for one in part.inputs]
        gone = [name for name in names if f"{part.flow}/{name.partition('.')[0]}" in self.wiring.disabled]
        return f"{', '.join(map(repr, gone))} would feed it, but does not run" if gone else ""


def check_refs(part: Part, incoming: Shape, gone: str = "") -> None:
    """Every name in a node's options against what comes in. ``gone``: why a field may be missing."""
    for ref in part.refs:
        _check_ref(part, ref, incoming, gone)


def key_refs(part: Part, outgoing: Mapping[str, Shape] | None) -> None:
    """The names in its key against what leaves it."""
    for ref in part.refs:
        if ref.kind == "key":
            _check_template(part, ref, union((outgoing or {}).values()), "leaves here")


def emitted(part: Part, incoming: Shape) -> dict[str, Shape]:
    """Port → what leaves by it. ValueError: the node cannot work with what comes in."""
    assert part.node is not None  # noqa: S101  (only parts that became nodes are asked)
    told = part.node.emits(incoming)
    return dict.fromkeys(part.node.ports, told) if isinstance(told, Shape) else dict(told)


def _check_units(part: Part, shapes: list[tuple[Link, Shape]], incoming: Shape) -> None:
    """One record has one unit for a field: what judges it sees only the number."""
    path = [*part.path, "from"]
    for name in (one for one, unit in incoming.units.items() if EITHER in unit):
        wires: dict[str, list[str]] = {}
        for link, shape in shapes:
            if name in shape.units:
                wires.setdefault(shape.units[name], []).append(repr(link.wire.name.removesuffix(".out")))
        ways = [f"in {unit} from {' and '.join(sources)}" for unit, sources in wires.items()]
        message = f"{name!r} comes {', '.join(ways[:-1])}{' and ' if ways[1:] else ''}{ways[-1]}"
        hint = "give both the same unit" if len(ways) == 2 else "give all the same unit"
        part.report(mark_of(part.document.root, path), "units", message, path, hint)


def _check_ref(part: Part, ref: Ref, incoming: Shape, gone: str) -> None:
    if ref.kind == "field":
        if not incoming.open and ref.text not in incoming.fields:
            hint = did_you_mean(ref.text, incoming.fields) or gone or _listing(incoming)
            part.report(ref.mark, "unknown-field", f"no field {ref.text!r} comes in", ref.path, hint)
    elif ref.kind == "input":
        inputs = [one.text for one in part.inputs]
        if ref.text not in inputs and not part.open:
            hint = did_you_mean(ref.text, inputs) or f"inputs: {', '.join(inputs)}"
            part.report(ref.mark, "unknown-input", f"{ref.text!r} is not in this node's 'from'", ref.path, hint)
    elif ref.kind in WANTED:
        _check_expression(part, ref, incoming)
    elif ref.kind == "template":
        _check_template(part, ref, incoming, "comes in")


def _check_expression(part: Part, ref: Ref, incoming: Shape) -> None:
    raw = ref.leaf.raw if ref.leaf else ""
    if raw:
        name = _SUBSTITUTED.search(raw)
        hint = "define a var under vars: and write its name"
        if name:
            word = name[1].lower()
            hint = f"write just {word}"
            hint += "" if name[1].islower() else f", and at the top of the file vars: {{{word}: {name[0]}}}"
        mark = ref.leaf.mark_in_raw(raw.find("${")) if ref.leaf else ref.mark
        part.report(mark, "substitution", "an expression holds no ${…}", ref.path, hint)
        return
    try:
        names = Names(incoming.fields, incoming.open, part.vars)
        errors = check(parse(ref.text), names, WANTED[ref.kind])
    except ExpressionError as error:
        errors = [error]
    for found in errors:
        mark = ref.leaf.mark_at(found.offset) if ref.leaf else ref.mark
        part.report(mark, f"expression-{found.code}", found.message, ref.path, found.hint)


def _check_template(part: Part, ref: Ref, shape: Shape, where: str) -> None:
    try:
        places = Text(ref.text).places
    except TemplateError as error:
        mark = ref.leaf.mark_at(error.offset) if ref.leaf else ref.mark
        hint = "a place is a field's name, like {soc_percent}; a literal brace is written twice: {{ or }}"
        part.report(mark, "template", str(error), ref.path, hint)
        return
    known = [*shape.fields, *BUILT_IN]
    for name, offset in places.items():
        if name not in known and not shape.open:
            hint = did_you_mean(name, known) or _listing(shape)
            mark = ref.leaf.mark_at(offset) if ref.leaf else ref.mark
            part.report(mark, "unknown-field", f"no field {name!r} {where}", ref.path, hint)


def _listing(incoming: Shape) -> str:
    return f"fields here: {', '.join(incoming.fields)}" if incoming.fields else ""
