"""A test held against its flow: every name, port, field, value and time in it, before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from flowrunner.errors import did_you_mean
from flowrunner.expression import ExpressionError, Names, check, parse
from flowrunner.fields import is_number
from flowrunner.flowfile import CaseStep, Expectation, Leaf, Step, find
from flowrunner.graph import ERROR_PORT, Graph, GraphNode
from flowrunner.graph.model import ERROR_SHAPE
from flowrunner.message import JSON, Instant
from flowrunner.shape import ANYTHING, Kind, Shape
from flowrunner.testing.stage import meets_the_outside
from flowrunner.testing.stubs import fault, read_stub
from flowrunner.units import Duration, parse_instant

if TYPE_CHECKING:
    from flowrunner.testing.suite import Trial

ACTIONS = ("emit", "advance", "at", "stub", "disconnect", "reconnect", "restart", "reload", "expect")
LONGEST = Duration.parse("3660d")
OF_EMIT = ("age", "ahead", "quality", "key", "refused")
COUNTS = ("count", "at_least", "at_most", "never", "equals")


def check_case(trial: Trial, graph: Graph) -> None:
    """Report every problem of one test."""
    _Checker(trial, graph).run()


def address_of(name: str, flow: str) -> str:
    """The address of a node that a test names."""
    return name if "/" in name else f"{flow}/{name}"


def split(wire: str) -> tuple[str, str]:
    """``guard.blocked`` → (guard, blocked); ``guard`` → (guard, out)."""
    name, _, port = wire.partition(".")
    return name, port or "out"


class _Checker:
    def __init__(self, trial: Trial, graph: Graph) -> None:
        self.trial = trial
        self.graph = graph
        self.now: Instant | None = None
        self.stubbed: set[str] = set()

    def run(self) -> None:
        case = self.trial.case
        self.now = self._instant(case.at, "at")
        self._stubs(case.stub, "stub")
        self._live()
        for index, step in enumerate(case.steps):
            if isinstance(step, CaseStep):
                self._step(step, "steps", index)
        for index, one in enumerate(case.expect):
            self._expectation(one, "expect", index)
        steps = [one for one in case.steps if isinstance(one, CaseStep)]
        if not case.expect and not any(one.expect or one.refused for one in steps):
            self.trial.report("no-expectation", "nothing is expected: it could not fail", hint="write expect: […]")

    def _live(self) -> None:
        """On paper an exchange-out runs as it is; in live mode somebody has to answer."""
        for spec in self.graph.nodes.values():
            if spec.node.peer == "exchange" and spec.node.live and spec.address not in self.stubbed:
                name = spec.id if spec.flow == self.trial.flow else spec.address
                hint = f"write stub: {{{name}: accepts}}"
                self.trial.report("stub", f"{name!r} is in live mode, and no exchange answers it", "name", hint=hint)

    # ---- names ------------------------------------------------------------------------------------------------

    def _node(self, name: str, *place: Step) -> GraphNode | None:
        address = address_of(name, self.trial.flow)
        if address in self.graph.nodes:
            return self.graph.nodes[address]
        at = self.trial.name_at(*place) if place[-1] == name else self.trial.place(*place)
        if address in self.graph.disabled:
            why = self.graph.disabled[address]
            hint = f"enable it for the test: env: {{{why.split()[0]}: true}}" if why.endswith(" is false") else ""
            self.trial.report_at(at, "disabled-node", f"{name!r} does not run ({why})", *place, hint=hint)
            return None
        known = [one.removeprefix(f"{self.trial.flow}/") for one in [*self.graph.nodes, *self.graph.disabled]]
        hint = did_you_mean(name, known) or f"nodes: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}"
        self.trial.report_at(at, "unknown-node", f"there is no node {name!r}", *place, hint=hint)
        return None

    def _output(self, wire: str, *place: Step) -> tuple[GraphNode, Shape] | None:
        """The node and what leaves it there."""
        name, port = split(wire)
        spec = self._node(name, *place)
        if spec is None:
            return None
        if port == ERROR_PORT:
            return spec, ERROR_SHAPE
        if port in spec.shapes:
            return spec, spec.shapes[port]
        known = [*spec.shapes, ERROR_PORT]
        if "out" not in spec.shapes and port == "out":
            message, hint = f"{name!r} ({spec.kind.name}) has no output", f"what came into it: into: {name}"
        else:
            message = f"{name!r} has no port {port!r}"
            hint = did_you_mean(port, known) or f"ports: {', '.join(known)}"
        self.trial.report("unknown-port", message, *place, hint=hint)
        return None

    def _instant(self, text: str, *place: Step) -> Instant | None:
        try:
            return parse_instant(text)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            self.trial.report("time", message, *place, hint=hint)
            return None

    # ---- stubs ------------------------------------------------------------------------------------------------

    def _stubs(self, stubs: Mapping[str, JSON], *place: Step) -> None:
        for name, given in stubs.items():
            here = (*place, name)
            spec = self._node(name, *here)
            if spec is None:
                continue
            self.stubbed.add(spec.address)
            try:
                stub = read_stub(given)
                wrong = fault(stub, spec.node, source=not spec.wires)
            except ValueError as error:
                self.trial.report("stub", str(error), *here)
                continue
            if wrong:
                self.trial.report("stub", wrong, *here)
            elif spec.node.peer != "prices":
                for value in stub.values:
                    self._fields(spec, spec.shapes.get("out", ANYTHING), value, *here)

    def _fields(self, spec: GraphNode, shape: Shape, value: JSON, *place: Step) -> None:
        if shape.open:
            return
        if not isinstance(value, dict):
            if spec.node.peer != "prices" and "value" not in shape.fields:
                hint = f"write a map of its fields: {', '.join(shape.fields)}"
                self.trial.report("value", f"{spec.id!r} sends records", *place, hint=hint)
            return
        for name in value:
            if name not in shape.fields:
                known = [*shape.fields]
                hint = did_you_mean(name, known) or f"its fields: {', '.join(known)}"
                here = find(self.trial.document.root, [*self.trial.path, *place])
                below = (name,) if name in getattr(here, "items", ()) else ()
                at = self.trial.name_at(*place, *below) if below else self.trial.place(*place)
                text = f"{spec.id!r} sends no field {name!r}"
                self.trial.report_at(at, "unknown-field", text, *place, *below, hint=hint)
            elif (own := value[name]) is not None and shape.fields[name] not in (None, kind_of_json(own)):
                text = f"{name!r} is {'true or false' if shape.fields[name] == 'bool' else f'a {shape.fields[name]}'}"
                self.trial.report("value", f"{text}, not {own!r:.60}", *place, name)

    # ---- steps ------------------------------------------------------------------------------------------------

    def _step(self, step: CaseStep, *place: Step) -> None:
        done = [name for name in ACTIONS if getattr(step, name) is not None and getattr(step, name) is not False]
        if len(done) != 1:
            what = f"{' and '.join(done)} are steps of their own" if done else "nothing is done here"
            self.trial.report("step", what, *place, hint=f"a step is one of {', '.join(ACTIONS)}")
            return
        for name in ("value", *OF_EMIT):
            given = getattr(step, name) is not (msgspec.UNSET if name == "value" else None)
            if given and step.emit is None:
                self.trial.report("step", f"{name!r} belongs to emit", *place, name)
        if step.emit is not None:
            self._emit(step, *place)
        elif step.advance is not None:
            if step.advance > LONGEST:
                self.trial.report("time", f"{step.advance} is longer than a test may take", *place, "advance",
                                  hint=f"{LONGEST} at most")  # fmt: skip
            self.now = None if self.now is None else self.now + step.advance
        elif step.at is not None:
            self._at(step.at, *place, "at")
        elif step.stub is not None:
            self._restub(step.stub, *place, "stub")
        elif step.expect is not None:
            if not step.expect:
                self.trial.report("no-expectation", "nothing is expected here", *place, "expect")
            for index, one in enumerate(step.expect):
                self._expectation(one, *place, "expect", index)
        else:
            self._peer(step, *place)

    def _emit(self, step: CaseStep, *place: Step) -> None:
        output = self._output(step.emit or "", *place, "emit")
        if step.value is msgspec.UNSET:
            self.trial.report("step", "'value' is missing", *place, "emit", hint="write value: … beside emit")
        elif output is not None and not step.refused:
            self._fields(*output, step.value, *place, "value")
        if step.key is not None and output is not None and output[0].key:
            hint = f"what it sends is about {output[0].key!r}, by its own 'key'"
            self.trial.report("step", f"{step.emit!r} makes the key itself", *place, "key", hint=hint)
        if step.age is not None and step.ahead is not None:
            self.trial.report("step", "'age' and 'ahead' exclude each other", *place, "ahead")

    def _at(self, text: str, *place: Step) -> None:
        then = self._instant(text, *place)
        if then is not None and self.now is not None and then < self.now:
            hint = "time only goes forward; a test begins at its own 'at'"
            self.trial.report("time", f"{text} has passed by then", *place, hint=hint)
        self.now = then if then is not None else self.now

    def _restub(self, stubs: Mapping[str, JSON], *place: Step) -> None:
        if not stubs:
            self.trial.report("step", "no node is named that answers otherwise", *place)
        before = set(self.stubbed)
        self._stubs(stubs, *place)
        for name in stubs:
            spec = self.graph.nodes.get(address_of(name, self.trial.flow))
            if spec is not None and spec.address not in before:
                hint = f"write at the top of the test what it does first: stub: {{{name}: …}}, or silence"
                self.trial.report("stub", f"{name!r} is not stubbed from the begin", *place, name, hint=hint)

    def _peer(self, step: CaseStep, *place: Step) -> None:
        for action in ("disconnect", "reconnect"):
            name = getattr(step, action)
            spec = None if name is None else self._node(name, *place, action)
            if spec is not None and spec.address not in self.stubbed and not meets_the_outside(spec):
                self.trial.report("step", f"{name!r} has no peer that could go away", *place, action)

    # ---- expectations -----------------------------------------------------------------------------------------

    def _expectation(self, one: Expectation, *place: Step) -> None:
        if one.order is not None:
            more = [name for name in ("from", "into", "where", "within", *COUNTS) if _given(one, name)]
            if more:
                self.trial.report("expect", f"'order' stands alone, without {', '.join(more)}", *place, "order")
            for index, wire in enumerate(one.order):
                self._output(wire, *place, "order", index)
                if wire in one.order[:index]:
                    text = f"{wire!r} is here twice: only its first message counts"
                    self.trial.report("expect", text, *place, "order", index)
            return
        if (one.from_ is None) == (one.into is None):
            self.trial.report("expect", "it needs either 'from' or 'into'", *place, hint="or 'order': [first, then]")
            return
        counts = [name for name in COUNTS if _given(one, name)]
        if len(counts) > 1 and set(counts) != {"at_least", "at_most"}:
            self.trial.report("expect", f"{' and '.join(counts)} exclude each other", *place)
        elif one.at_least is not None and one.at_least > (one.at_least if one.at_most is None else one.at_most):
            self.trial.report("expect", f"at least {one.at_least} and at most {one.at_most}: nothing meets it", *place)
        elif one.at_least == 0 and one.at_most is None:
            self.trial.report("expect", "at least 0 messages: it could not fail", *place, "at_least")
        shape = self._shape(one, *place)
        if shape is not None and one.where is not None:
            self._where(one.where, shape, *place, "where")

    def _shape(self, one: Expectation, *place: Step) -> Shape | None:
        if one.from_ is not None:
            output = self._output(one.from_, *place, "from")
            return None if output is None else output[1]
        spec = self._node(one.into or "", *place, "into")
        if spec is not None and not spec.wires:
            self.trial.report("expect", f"{one.into!r} is a source: nothing comes into it", *place, "into")
        return None if spec is None else spec.incoming

    def _where(self, text: str, shape: Shape, *place: Step) -> None:
        spec = next(one for one in self.graph.nodes.values() if one.flow == self.trial.flow)
        try:
            found = check(parse(text), Names(shape.fields, shape.open, spec.vars), "bool")
        except ExpressionError as error:
            found = [error]
        leaf = find(self.trial.document.root, [*self.trial.path, *place])
        for one in found:
            mark = leaf.mark_at(one.offset) if isinstance(leaf, Leaf) else self.trial.place(*place)
            self.trial.report_at(mark, f"expression-{one.code}", one.message, *place, hint=one.hint)


def kind_of_json(value: JSON) -> Kind:
    """None: what is no single value."""
    if isinstance(value, bool):
        return "bool"
    return "text" if isinstance(value, str) else "number" if is_number(value) else None


def _given(one: Expectation, name: str) -> bool:
    value = getattr(one, "from_" if name == "from" else name)
    return not any(value is nothing for nothing in ((msgspec.UNSET,) if name == "equals" else (None, False)))
