"""Shapes along the wires, and every name in options held against them: ports, fields, inputs, expressions."""

from __future__ import annotations

from flowrunner.errors import did_you_mean
from flowrunner.expression import ExpressionError, Names, check, parse
from flowrunner.graph.build import Part
from flowrunner.graph.model import ERROR_PORT, ERROR_SHAPE
from flowrunner.graph.wiring import Link, Parts, Wiring
from flowrunner.schema import Ref
from flowrunner.shape import ANYTHING, Shape, union
from flowrunner.template import BUILT_IN, Text


class Shapes:
    """Filled node by node, sources first."""

    def __init__(self, parts: Parts, wiring: Wiring) -> None:
        self.parts = parts
        self.wiring = wiring
        self.incoming: dict[str, Shape] = {}
        self.outgoing: dict[str, dict[str, Shape] | None] = {}
        """None: the node is broken, anything may come."""

    def visit(self, address: str) -> None:
        part = self.parts[address]
        shapes = [shape for link in self.wiring.links[address] if (shape := self._along(part, link)) is not None]
        incoming = self.incoming[address] = union(shapes)
        for ref in part.refs:
            _check_ref(part, ref, incoming, self._missing_sources(part))
        if part.node is None:
            self.outgoing[address] = None
            return
        try:
            emitted = part.node.emits(incoming)
        except ValueError as error:  # what the node cannot do with what comes in
            part.report(part.mark, "contradiction", str(error), part.path)
            emitted = ANYTHING
        by_port = dict.fromkeys(part.node.ports, emitted) if isinstance(emitted, Shape) else dict(emitted)
        self.outgoing[address] = by_port

    def _along(self, part: Part, link: Link) -> Shape | None:
        ports = self.outgoing.get(link.wire.source)
        if link.wire.port == ERROR_PORT:
            return ERROR_SHAPE
        if ports is None:
            return ANYTHING
        if link.wire.port not in ports:
            source = self.parts[link.wire.source]
            known = [*ports, ERROR_PORT]
            if link.wire.port == "out":
                message = f"{source.id!r} ({source.kind.name if source.kind else '?'}) has no output"
            else:
                message = f"{source.id!r} has no port {link.wire.port!r}"
            hint = did_you_mean(link.wire.port, known) or f"ports: {', '.join(known)}"
            part.report(link.mark, "unknown-port", message, link.path, hint)
            return None
        return ports[link.wire.port]

    def _missing_sources(self, part: Part) -> str:
        """A sentence about disabled inputs, for a field that might have come from there."""
        given = part.envelope.from_ if part.envelope else None
        names = [given] if isinstance(given, str) else given or []
        gone = [name for name in names if f"{part.flow}/{name.partition('.')[0]}" in self.wiring.disabled]
        return f"{', '.join(map(repr, gone))} would feed it, but does not run" if gone else ""


def _check_ref(part: Part, ref: Ref, incoming: Shape, gone: str) -> None:
    if ref.kind == "field":
        if not incoming.open and ref.text not in incoming.fields:
            hint = did_you_mean(ref.text, incoming.fields) or gone or _listing(incoming)
            part.report(ref.mark, "unknown-field", f"no field {ref.text!r} comes in", ref.path, hint)
    elif ref.kind == "input":
        given = part.envelope.from_ if part.envelope else None
        inputs = [given] if isinstance(given, str) else given or []
        if part.envelope is not None and ref.text not in inputs:
            hint = did_you_mean(ref.text, inputs) or f"inputs: {', '.join(inputs)}"
            part.report(ref.mark, "unknown-input", f"{ref.text!r} is not in this node's 'from'", ref.path, hint)
    elif ref.kind in ("condition", "formula"):
        _check_expression(part, ref, incoming)
    elif ref.kind == "template":
        _check_template(part, ref, incoming)


def _check_expression(part: Part, ref: Ref, incoming: Shape) -> None:
    if "${" in ref.text:
        hint = "inside an expression a var is just its name; define it under vars: and write the name"
        part.report(ref.mark, "substitution", "an expression holds no ${…}", ref.path, hint)
        return
    try:
        names = Names(incoming.fields, incoming.open, part.vars)
        errors = check(parse(ref.text), names, "bool" if ref.kind == "condition" else None)
    except ExpressionError as error:
        errors = [error]
    for found in errors:
        mark = ref.leaf.mark_at(found.offset) if ref.leaf else ref.mark
        part.report(mark, f"expression-{found.code}", found.message, ref.path, found.hint)


def _check_template(part: Part, ref: Ref, incoming: Shape) -> None:
    try:
        names = Text(ref.text).names
    except ValueError as error:
        part.report(ref.mark, "template", str(error), ref.path, "a literal brace is written twice: {{ or }}")
        return
    known = [*incoming.fields, *BUILT_IN]
    for name in names:
        if name not in known and not incoming.open:
            hint = did_you_mean(name, known) or _listing(incoming)
            part.report(ref.mark, "unknown-field", f"no field {name!r} comes in", ref.path, hint)


def _listing(incoming: Shape) -> str:
    return f"fields here: {', '.join(incoming.fields)}" if incoming.fields else ""
