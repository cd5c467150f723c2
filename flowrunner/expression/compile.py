"""A tree into one Python function.

The function is built from a fixed set of Python's own syntax nodes. Nothing that a person wrote becomes an
identifier or source text: fields are ``v0``, ``v1``…, and their names and all texts are constants, that is data.

It runs in two steps. First every field named is asked for and judged: usable, and of the kind that its uses need.
This does not depend on where ``and``/``or`` would stop: a missing input is never hidden by a clause that is already
false. Then the calculation, where only arithmetic can still fail.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import CodeType, FunctionType
from typing import TypeAlias, cast

from flowrunner.expression.daytime import local, seconds_of_day
from flowrunner.expression.kinds import MAX_WHOLE, Kinds, constant
from flowrunner.expression.operations import ARITHMETIC, between, guard, guard_group, rounded
from flowrunner.expression.scope import Scope
from flowrunner.expression.tree import (
    Arithmetic,
    Call,
    Comparison,
    Constant,
    Logic,
    Membership,
    Name,
    Negative,
    Node,
    Not,
    Scalar,
)

Function: TypeAlias = Callable[[Scope], Scalar]

_COMPARE: Mapping[str, type[ast.cmpop]] = {
    "==": ast.Eq,
    "!=": ast.NotEq,
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
}
_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "remainder"}
FUNCTIONS: Mapping[str, object] = {  # all that a generated function can reach
    "__builtins__": {},
    "type": type,
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "min": min,
    "max": max,
    "abs": abs,
    "round": rounded,
    "between": between,
    "guard": guard,
    "guard_group": guard_group,
    "local": local,
} | {name: ARITHMETIC[sign] for sign, name in _ARITHMETIC.items()}
_TEMPLATE = "def function(scope): pass"


def function_of(node: Node, variables: Mapping[str, Scalar], kinds: Kinds) -> Function:
    """The function of one node: the whole expression, or a clause of it. ``kinds`` must have no errors."""
    writer = Writer(variables, kinds)
    result = writer.expression(node)
    module = ast.parse(_TEMPLATE)
    cast(ast.FunctionDef, module.body[0]).body = [*writer.head(), ast.Return(result, **AT)]
    code = next(c for c in compile(module, "<expression>", "exec").co_consts if isinstance(c, CodeType))
    return cast(Function, FunctionType(code, dict(FUNCTIONS)))


AT = {"lineno": 1, "col_offset": 0}


def load(name: str) -> ast.expr:
    return ast.Name(name, ast.Load(), **AT)


def data(value: Scalar | None) -> ast.expr:
    return ast.Constant(value, None, **AT)


def _call(function: ast.expr, *arguments: ast.expr) -> ast.expr:
    return ast.Call(function, list(arguments), [], **AT)


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr:
    return ast.Compare(left, [op], [right], **AT)


def _tuple(items: list[ast.expr]) -> ast.expr:
    return ast.Tuple(items, ast.Load(), **AT)


class Writer:
    """Writes one function. ``values`` and ``ages``: field → the local that holds it, in the order of first use."""

    def __init__(self, variables: Mapping[str, Scalar], kinds: Kinds) -> None:
        self.variables = variables
        self.kinds = kinds
        self.values: dict[str, str] = {}
        self.ages: dict[str, str] = {}
        self.reads: list[ast.stmt] = []
        self.clock = False
        self.steps = 0

    # ---- the head: ask for every input, then judge it -----------------------------------------------------

    def head(self) -> list[ast.stmt]:
        statements = list(self.reads)
        for name, variable in self.ages.items():
            statements.append(self._guard(f"age({name})", variable, "number"))
        seen: set[int] = set()
        for name, variable in self.values.items():
            group = self.kinds.group(name)
            together = [other for other in group.names if other in self.values]
            if group.kind is not None or (len(together) == 1 and not group.ordered):
                statements.append(self._guard(name, variable, group.kind))
            elif id(group) not in seen:
                seen.add(id(group))
                pairs = [_tuple([data(other), load(self.values[other])]) for other in together]
                call = _call(load("guard_group"), _tuple(pairs), data(group.ordered))
                statements.append(ast.Expr(call, **AT))
        if self.clock:
            targets = ast.Tuple([ast.Name(n, ast.Store(), **AT) for n in ("hour", "day", "second")], ast.Store(), **AT)
            statements.append(ast.Assign([targets], _call(load("local"), load("scope")), None, **AT))
        return statements

    def _guard(self, name: str, variable: str, kind: str | None) -> ast.stmt:
        """``guard`` judges; the test before it spares the call for what is plainly good."""
        call = ast.Expr(_call(load("guard"), data(name), load(variable), data(kind)), **AT)
        plain = {"number": "float", "text": "str", "bool": "bool"}.get(kind or "")
        if plain is None:
            return call
        suspect = self._is_not(variable, plain)
        if kind == "number":
            difference = ast.BinOp(load(variable), ast.Sub(), load(variable), **AT)
            infinite = _compare(difference, ast.NotEq(), data(0.0))
            huge = _compare(_call(load("abs"), load(variable)), ast.Gt(), data(MAX_WHOLE))
            no_float = ast.BoolOp(ast.Or(), [suspect, infinite], **AT)
            no_whole = ast.BoolOp(ast.Or(), [self._is_not(variable, "int"), huge], **AT)
            suspect = ast.BoolOp(ast.And(), [no_float, no_whole], **AT)
        return ast.If(suspect, [call], [], **AT)

    def _is_not(self, variable: str, plain: str) -> ast.expr:
        return _compare(_call(load("type"), load(variable)), ast.IsNot(), load(plain))

    def _read(self, method: str, name: str, known: dict[str, str]) -> ast.expr:
        if name not in known:
            known[name] = f"{method[0]}{len(known)}"
            ask = _call(ast.Attribute(load("scope"), method, ast.Load(), **AT), data(name))
            self.reads.append(ast.Assign([ast.Name(known[name], ast.Store(), **AT)], ask, None, **AT))
        return load(known[name])

    def _clock(self, name: str) -> ast.expr:
        self.clock = True
        return load(name)

    # ---- the calculation -------------------------------------------------------------------------------------

    def expression(self, node: Node) -> ast.expr:
        match node:
            case Constant(value=value):
                return data(value)
            case Name(name=name) if name in self.variables:
                return data(self.variables[name])
            case Name(name=name):
                return self._read("value", name, self.values)
            case Negative(operand=operand):
                return ast.UnaryOp(ast.USub(), self.expression(operand), **AT)
            case Not(operand=operand):
                return ast.UnaryOp(ast.Not(), self.expression(operand), **AT)
            case Logic(op=op, operands=operands):
                joint = ast.And() if op == "and" else ast.Or()
                return ast.BoolOp(joint, [self.expression(operand) for operand in operands], **AT)
            case Arithmetic():
                return self.arithmetic(node)
            case Comparison(ops=ops, operands=operands):
                first, *others = [self.expression(operand) for operand in operands]
                return ast.Compare(first, [_COMPARE[op]() for op in ops], others, **AT)
            case Membership(operand=operand, items=items, negated=negated):
                among = _tuple([data(item.value) for item in items])
                return _compare(self.expression(operand), ast.NotIn() if negated else ast.In(), among)
            case Call():
                return self._function(node)
        raise TypeError(f"no such node: {type(node).__name__}")

    def arithmetic(self, node: Arithmetic) -> ast.expr:
        """``a - b + c`` → ``(t0 := subtract(a, b), add(t0, c))[-1]``: flat, so that long sums do not nest deep."""
        result = self.expression(node.operands[0])
        steps: list[ast.expr] = []
        for op, operand in zip(node.ops, node.operands[1:], strict=True):
            if steps:
                step = f"t{self.steps}"
                self.steps += 1
                steps[-1] = ast.NamedExpr(ast.Name(step, ast.Store(), **AT), steps[-1], **AT)
                result = load(step)
            steps.append(_call(load(_ARITHMETIC[op]), result, self.expression(operand)))
        return steps[0] if len(steps) == 1 else ast.Subscript(_tuple(steps), data(-1), ast.Load(), **AT)

    def _function(self, node: Call) -> ast.expr:
        match node.function, node.arguments:
            case "age", (Name(name=field),):
                return self._read("age", field, self.ages)
            case "hour", _:
                return self._clock("hour")
            case "weekday", _:
                return self._clock("day")
            case "between", (start, end):
                return self._time_of_day(start, end)
        return _call(load(node.function), *[self.expression(argument) for argument in node.arguments])

    def _time_of_day(self, start: Node, end: Node) -> ast.expr:
        """From ``start`` inclusive to ``end`` exclusive; when the end is before the start, across midnight."""
        begins, ends = (seconds_of_day(constant(node, self.variables)) for node in (start, end))
        assert begins is not None  # noqa: S101 - Kinds saw to it
        assert ends is not None  # noqa: S101
        after = _compare(self._clock("second"), ast.GtE(), data(begins))
        before = _compare(self._clock("second"), ast.Lt(), data(ends))
        return ast.BoolOp(ast.And() if begins < ends else ast.Or(), [after, before], **AT)
