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
    """Fields that must be of one kind; ``kind`` is None while nothing says which. ``ordered``: < or > is used."""

    names: list[str]
    kind: Kind | None = None
    ordered: bool = False


class Kinds:
    """The kinds of one expression. ``errors`` holds every contradiction, ``result`` the kind of the whole."""

    def __init__(
        self,
        expression: Expression,
        variables: Mapping[str, Scalar],
        fields: Mapping[str, Kind | None],
        want: Kind | None = None,
    ) -> None:
        self.errors: list[ExpressionError] = []
        self.variables = variables
        self._expression = expression
        self._groups = {name: Group([name], fields.get(name)) for name in expression.names if name not in variables}
        if want == "bool":
            self._condition(expression.ast)
        elif want is not None:
            self._need(expression.ast, want, "this place")
        else:
            self._look(expression.ast)
        self.errors.sort(key=lambda error: error.offset)
        self.result = self.kind(expression.ast)

    def group(self, field: str) -> Group:
        """KeyError for a var."""
        return self._groups[field]

    def kind(self, node: Node) -> Kind | None:
        """The kind of a part. None: a field of which nothing is known (only a name can be that)."""
        match node:
            case Constant(value=value):
                return kind_of(value)
            case Name(name=name):
                return kind_of(self.variables[name]) if name in self.variables else self._groups[name].kind
            case Arithmetic() | Negative():
                return "number"
            case Call(function=function):
                return "bool" if function == "between" else "number"
        return "bool"

    # ---- the walk: every part is looked at once, from left to right ---------------------------------------

    def _look(self, node: Node) -> None:
        match node:
            case Name():
                self._name(node)
            case Negative():
                self._need(node.operand, "number", "-")
            case Not():
                self._condition(node.operand)
            case Logic():
                for operand in node.operands:
                    self._condition(operand)
            case Arithmetic():
                self._arithmetic(node)
            case Comparison():
                self._comparison(node)
            case Membership():
                self._membership(node)
            case Call():
                self._call(node)

    def _name(self, node: Name) -> None:
        if node.name not in self.variables:
            return
        value = self.variables[node.name]
        if type(value) not in (int, float, str, bool):
            got = f"the var {node.name!r} is a {type(value).__name__}"
            self._error(node, f"{got}, not a number, text or true/false", "var")
        elif not sensible(value):
            self._error(node, f"the var {node.name!r} is not a finite number of sensible size", "var")

    def _arithmetic(self, node: Arithmetic) -> None:
        for op, operand in zip((node.ops[0], *node.ops), node.operands, strict=True):
            self._need(operand, "number", op)
            if op in "/%" and operand is not node.operands[0] and _is_zero(operand):
                self._error(operand, "division by zero", "zero")

    def _comparison(self, node: Comparison) -> None:
        self._look(node.operands[0])
        for op, left, right in zip(node.ops, node.operands, node.operands[1:], strict=False):
            self._look(right)
            self._same(left, right)
            if op not in ("==", "!="):
                self._ordered(left, right)

    def _membership(self, node: Membership) -> None:
        self._look(node.operand)
        first = node.items[0]
        for item in node.items[1:]:
            if kind_of(item.value) != kind_of(first.value):
                self._error(item, f"the list mixes kinds: {self._is(first)}, {self._is(item)}", "type")
                return
        self._same(node.operand, first)

    def _call(self, node: Call) -> None:
        if node.function == "age":
            name = node.arguments[0]
            if isinstance(name, Name) and name.name in self.variables:
                self._error(name, f"{name.name!r} is a var; only fields have an age", "type")
        elif node.function == "between" and len(node.arguments) == 2:
            self._times_of_day(node)
        else:
            for argument in node.arguments:
                self._need(argument, "number", f"{node.function}()")

    def _times_of_day(self, node: Call) -> None:
        seconds = [seconds_of_day(constant(argument, self.variables)) for argument in node.arguments]
        for argument, found in zip(node.arguments, seconds, strict=True):
            if found is None:
                hint = 'write hours and minutes: between("22:00", "06:00"); numbers: between(x, low, high)'
                self._error(argument, f"{self._part(argument)} is not a time of day", "type", hint)
        if None not in seconds and (seconds[0] == seconds[1] or seconds[0] == 86400):
            hint = "give two different times, the start before 24:00"
            self._error(node, "this time of day never begins", "type", hint)

    # ---- what a place needs -----------------------------------------------------------------------------------

    def _need(self, node: Node, kind: Kind, place: str) -> None:
        self._look(node)
        found = self.kind(node)
        if found is None:
            self._pin(node, kind)
        elif found != kind:
            self._error(node, f"{self._is(node)}; {place} wants {PLAIN[kind]}", "type")

    def _condition(self, node: Node) -> None:
        self._look(node)
        found = self.kind(node)
        if found is None:
            self._pin(node, "bool")
        elif found != "bool":
            example = "> 0" if found == "number" else '== "BUY"'
            hint = f"compare it, like {self._part(node)} {example}"
            self._error(node, f"{self._is(node)}, not a condition", "type", hint)

    def _same(self, left: Node, right: Node) -> None:
        kinds = self.kind(left), self.kind(right)
        match kinds:
            case None, None:
                self._join(left, right)
            case None, kind if kind is not None:
                self._pin(left, kind)
            case kind, None if kind is not None:
                self._pin(right, kind)
            case _ if kinds[0] != kinds[1]:
                quoted = [node for node in (left, right) if _is_quoted_number(node)]
                hint = f"write {self._part(quoted[0])[1:-1]} without quotes" if quoted and "number" in kinds else ""
                for one, kind in zip((left, right), kinds, strict=True):
                    if isinstance(one, Name) and one.name in self.variables and kind == "text" and "number" in kinds:
                        hint = f"{one.name} is one of vars: a number there is only a number, like 60.5"
                message = f"{self._is(left)} and {self._is(right)}: they cannot be compared"
                self._error(right, message, "type", hint)

    def _ordered(self, left: Node, right: Node) -> None:
        for node in (left, right):
            if isinstance(node, Name) and node.name in self._groups:
                self._groups[node.name].ordered = True
        if self.kind(left) == "bool" == self.kind(right):
            self._error(left, f"{self._is(left)}, which is never more or less", "type", "compare it with == or !=")

    def _pin(self, node: Node, kind: Kind) -> None:
        """From here on the field, and all that it was compared with, is of ``kind``."""
        if isinstance(node, Name):
            group = self._groups[node.name]
            group.kind = kind
            if kind == "bool" and group.ordered:
                hint = "it is compared with < or > elsewhere in the expression"
                self._error(node, f"{self._is(node)}, which is never more or less", "type", hint)

    def _join(self, left: Node, right: Node) -> None:
        if isinstance(left, Name) and isinstance(right, Name):
            kept, gone = self._groups[left.name], self._groups[right.name]
            if kept is not gone:
                kept.names.extend(gone.names)
                kept.ordered = kept.ordered or gone.ordered
                self._groups.update(dict.fromkeys(gone.names, kept))

    # ---- words --------------------------------------------------------------------------------------------------

    def _part(self, node: Node) -> str:
        part = self._expression.part(node)
        return part if len(part) <= 40 else f"{part[:39]}…"

    def _is(self, node: Node) -> str:
        kind = self.kind(node)
        return f"{self._part(node)} is {PLAIN[kind] if kind else 'a field'}"

    def _error(self, node: Node, message: str, code: str, hint: str = "") -> None:
        self.errors.append(ExpressionError(node.start, message, hint, code))


def constant(node: Node, variables: Mapping[str, Scalar]) -> Scalar | None:
    """The value of a literal or a var; None for all else."""
    if isinstance(node, Name):
        return variables.get(node.name)
    return node.value if isinstance(node, Constant) else None


def sensible(value: Scalar) -> bool:
    """Finite, and no larger than a calculation may become."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str) or -MAX_WHOLE <= value <= MAX_WHOLE


def _is_zero(node: Node) -> bool:
    return isinstance(node, Constant) and kind_of(node.value) == "number" and not node.value


def _is_quoted_number(node: Node) -> bool:
    if not isinstance(node, Constant) or not isinstance(node.value, str):
        return False
    try:
        return math.isfinite(float(node.value))
    except ValueError:
        return False
