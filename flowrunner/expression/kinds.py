"""What kind (number, text, true/false) every part of an expression is, and every input must be.

Each use of a name says something about it: ``soc_percent < 30`` wants a number, ``side == "BUY"`` a text. Names that
are only compared with each other form a *group*: they may be of any kind, but of one. What contradicts is an error
here; what only the run can tell (a number that comes as text) becomes a guard at the head of the program.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from flowrunner.expression.daytime import seconds_of_day
from flowrunner.expression.errors import ExpressionError
from flowrunner.expression.tree import (
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Expression,
    Kind,
    Logic,
    Membership,
    Name,
    Negative,
    Node,
    Not,
    Scalar,
    kind_of,
)

MAX_WHOLE = 2**256
"""No whole number, input or result, is larger: chained multiplication cannot eat the machine."""

PLAIN: Mapping[Kind, str] = {"number": "a number", "text": "text", "bool": "true/false"}


class Group(msgspec.Struct, eq=False):
    """Inputs that must be of one kind; ``kind`` is None while nothing says which. ``ordered``: < or > is used."""

    names: list[str]
    kind: Kind | None = None
    ordered: bool = False


class Kinds:
    """The kinds of one expression. ``errors`` holds every contradiction, ``result`` the kind of the whole."""

    def __init__(
        self,
        expression: Expression,
        vars: Mapping[str, Scalar],  # noqa: A002 - the format's own word
        fields: Mapping[str, Kind | None] | None = None,
        want: Kind | None = None,
    ) -> None:
        self.errors: list[ExpressionError] = []
        self.vars = vars
        self._expression = expression
        self._groups: dict[str, Group] = {}
        for name in expression.names:
            if name not in vars:
                self._groups[name] = Group([name], (fields or {}).get(name))
        if want == "bool":
            self._condition(expression.ast)
        elif want is not None:
            self._need(expression.ast, want, "this place")
        else:
            self._kind(expression.ast)
        root = expression.ast
        self.result: Kind | None = self._group_kind(root) if isinstance(root, Name) else self._kind_again(root)

    def of(self, name: str) -> Group:
        """The group of a field. KeyError for a var."""
        return self._groups[name]

    def _group_kind(self, name: Name) -> Kind | None:
        return kind_of(self.vars[name.name]) if name.name in self.vars else self._groups[name.name].kind

    def _kind_again(self, root: Node) -> Kind | None:
        """The kind of a node that is no name is known from its form alone."""
        if isinstance(root, Constant):
            return kind_of(root.value)
        if isinstance(root, Arithmetic | Negative) or (isinstance(root, Call) and root.function != "between"):
            return "number"
        return "bool"

    # ---- the walk ---------------------------------------------------------------------------------------

    def _kind(self, node: Node) -> Kind | None:
        """Look at ``node`` and all below it. None: a field of which nothing is known yet."""
        match node:
            case Constant():
                return kind_of(node.value)
            case Name():
                return self._name(node)
            case Negative():
                self._need(node.operand, "number", "-")
                return "number"
            case Not():
                self._condition(node.operand)
            case Logic():
                for operand in node.operands:
                    self._condition(operand)
            case Arithmetic():
                self._arithmetic(node)
                return "number"
            case Comparison():
                self._comparison(node)
            case Membership():
                self._membership(node)
            case Call():
                return self._call(node)
        return "bool"

    def _name(self, node: Name) -> Kind | None:
        if node.name not in self.vars:
            return self._groups[node.name].kind
        value = self.vars[node.name]
        if type(value) not in (int, float, str, bool):
            self._error(
                node, f"the var {node.name!r} is a {type(value).__name__}, not a number, text or true/false", "var"
            )
        elif not isinstance(value, str) and (
            not math.isfinite(value) or (abs(value) > MAX_WHOLE and isinstance(value, int))
        ):
            self._error(node, f"the var {node.name!r} is not a finite number of sensible size", "var")
        return kind_of(value)

    def _arithmetic(self, node: Arithmetic) -> None:
        for op, operand in zip((node.ops[0], *node.ops), node.operands, strict=True):
            self._need(operand, "number", op)
        for op, operand in zip(node.ops, node.operands[1:], strict=True):
            if (
                op in "/%"
                and isinstance(operand, Constant)
                and kind_of(operand.value) == "number"
                and not operand.value
            ):
                self._error(operand, "division by zero", "zero")

    def _comparison(self, node: Comparison) -> None:
        kinds = [self._kind(operand) for operand in node.operands]
        for index, op in enumerate(node.ops):
            left, right = node.operands[index], node.operands[index + 1]
            self._same(left, right, kinds[index], kinds[index + 1])
            if op not in ("==", "!="):
                self._ordered(left)
                self._ordered(right)
            kinds[index + 1] = self._kind_now(right, kinds[index + 1])

    def _membership(self, node: Membership) -> None:
        first = node.items[0]
        for item in node.items[1:]:
            if kind_of(item.value) != kind_of(first.value):
                self._error(item, f"the list mixes {self._is(first)} and {self._is(item)}", "type")
                return
        self._same(node.operand, first, self._kind(node.operand), kind_of(first.value))

    def _call(self, node: Call) -> Kind:
        if node.function == "age":
            name = node.arguments[0]
            if isinstance(name, Name) and name.name in self.vars:
                self._error(name, f"{name.name!r} is a var; only fields have an age", "type")
        elif node.function == "between" and len(node.arguments) == 2:
            self._times_of_day(node)
        else:
            for argument in node.arguments:
                self._need(argument, "number", f"{node.function}()")
        return "bool" if node.function == "between" else "number"

    def _times_of_day(self, node: Call) -> None:
        times = [constant(argument, self.vars) for argument in node.arguments]
        seconds = [seconds_of_day(time) if isinstance(time, str) else None for time in times]
        for argument, found in zip(node.arguments, seconds, strict=True):
            if found is None:
                hint = 'write hours and minutes: between("22:00", "06:00"); numbers: between(x, low, high)'
                self._error(argument, f"{self._expression.part(argument)} is not a time of day", "type", hint)
        if None not in seconds and (seconds[0] == seconds[1] or seconds[0] == 86400):
            self._error(
                node, "this time of day never begins", "type", "give two different times, the start below 24:00"
            )

    # ---- what a place needs ---------------------------------------------------------------------------------

    def _need(self, node: Node, kind: Kind, place: str) -> None:
        found = self._kind(node)
        if found is None:
            self._pin(node, kind)
        elif found != kind:
            self._error(node, f"{self._is(node)}; {place} wants {PLAIN[kind]}", "type")

    def _condition(self, node: Node) -> None:
        found = self._kind(node)
        if found is None:
            self._pin(node, "bool")
        elif found != "bool":
            part = self._expression.part(node)
            hint = f"compare it, like {part} {'> 0' if found == 'number' else '== "BUY"'}"
            self._error(node, f"{self._is(node)}, not a condition", "type", hint)

    def _same(self, left: Node, right: Node, left_kind: Kind | None, right_kind: Kind | None) -> None:
        if left_kind is None and right_kind is None:
            self._join(left, right)
        elif left_kind is None and right_kind is not None:
            self._pin(left, right_kind)
        elif right_kind is None and left_kind is not None:
            self._pin(right, left_kind)
        elif left_kind != right_kind:
            hint = ""
            for node, other in ((left, right_kind), (right, left_kind)):
                if other == "number" and isinstance(node, Constant) and _is_number(node.value):
                    hint = f"write {node.value} without quotes"
            self._error(right, f"{self._is(left)} and {self._is(right)}: they cannot be compared", "type", hint)

    def _ordered(self, node: Node) -> None:
        if isinstance(node, Name) and node.name in self._groups:
            self._groups[node.name].ordered = True
        if self._kind_now(node, self._form(node)) == "bool":
            self._error(node, f"{self._is(node)}, which is never more or less", "type", "compare it with == or !=")

    def _pin(self, node: Node, kind: Kind) -> None:
        """Only a name can be of unknown kind."""
        assert isinstance(node, Name)  # noqa: S101
        group = self._groups[node.name]
        group.kind = kind
        if kind == "bool" and group.ordered:
            self._error(node, f"{self._is(node)}, which is never more or less", "type")

    def _join(self, left: Node, right: Node) -> None:
        assert isinstance(left, Name)  # noqa: S101
        assert isinstance(right, Name)  # noqa: S101
        kept, gone = self._groups[left.name], self._groups[right.name]
        if kept is not gone:
            kept.names += gone.names
            kept.ordered = kept.ordered or gone.ordered
            self._groups |= dict.fromkeys(gone.names, kept)
