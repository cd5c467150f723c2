"""The short way through an expression, for the usual message: all that it names is there, fresh, good and plain.

Its function looks at the message itself, with no scope between, and gives None wherever anything is out of the usual.
Then the function that `compile` made is asked, which also knows why: what cannot be used is decided there alone, and
a result of here is always the one of there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import TypeAlias, cast

from flowrunner.expression.compile import AT, FUNCTIONS, Writer, data, load
from flowrunner.expression.errors import EvaluationError
from flowrunner.expression.kinds import Kinds
from flowrunner.expression.scope import SCALAR_PAYLOAD
from flowrunner.expression.tree import Arithmetic, Kind, Node, Scalar
from flowrunner.message import FUTURE_TOLERANCE_NS, Instant, Message

Quick: TypeAlias = Callable[[Message, Instant], Scalar | None]
"""(message, now) → the result, or None: ask the other function."""
Quicks: TypeAlias = Callable[[Message, Instant], tuple[Scalar, ...] | None]

MOST = 1e77
"""Up to here every number is lawful, whole or not: 2**256 is a little more. What is larger takes the other way."""
MOST_STEPS = 50
"""Of a longer calculation the function would nest too deep."""
FAILURES = (LookupError, TypeError, ArithmeticError, EvaluationError)
"""What may come of an input or a step that is not lawful; the other function says which."""
_OPERATORS: Mapping[str, type[ast.operator]] = {
    "+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div, "%": ast.Mod,
}  # fmt: skip
_FRAME = """
def quick(message, now):
    try:
        payload = message.payload
        fields = message.fields
    except FAILURES:
        return None
"""
_RECORD = """
if type(payload) is not dict:
    return None
"""
_READ = "VALUE = payload[NAME]"
_READ_EITHER = "VALUE = payload[NAME] if type(payload) is dict else payload"
_NUMBER = """
if not ((type(VALUE) is float or type(VALUE) is int) and -MOST <= VALUE <= MOST):
    return None
"""
_TEXT = """
if type(VALUE) is not str:
    return None
"""
_BOOL = """
if VALUE is not True and VALUE is not False:
    return None
"""
_ANY = """
if not (VALUE is True or VALUE is False or type(VALUE) is str
        or (type(VALUE) is float or type(VALUE) is int) and -MOST <= VALUE <= MOST):
    return None
"""
_GOOD = """
if not fields:
    if message.quality != "good" or message.at - now > TOLERANCE:
        return None
"""
_GOOD_FIELD = """
info = fields.get(NAME)
if info is None:
    if message.quality != "good" or message.at - now > TOLERANCE:
        return None
elif (info.quality != "good" or info.at - now > TOLERANCE
        or info.valid_until is not None and now >= info.valid_until
        or info.valid_from is not None and now < info.valid_from):
    return None
"""


def unlawful() -> Scalar:
    """The result of a step is not finite, or too large."""
    raise ArithmeticError


def never(message: Message, now: Instant) -> None:
    """Of what has no short way."""


def quick_of(node: Node, variables: Mapping[str, Scalar], kinds: Kinds) -> Quick:
    """``kinds`` must have no errors. What looks at the clock or asks for an age has no short way."""
    writer = _Quick(variables, kinds)
    return cast(Quick, writer.function(writer.expression(node)))


def quick_of_all(nodes: Sequence[Node], variables: Mapping[str, Scalar], kinds: Kinds) -> Quicks:
    """The same of several parts of one expression at once, for a tuple of their results."""
    writer = _Quick(variables, kinds)
    parts = [writer.expression(node) for node in nodes]
    return cast(Quicks, writer.function(ast.Tuple(parts, ast.Load(), **AT)))


class _Quick(Writer):
    """Writes the whole function: reads, judges, calculates."""

    def function(self, result: ast.expr) -> FunctionType:
        if self.clock or self.ages or self.steps > MOST_STEPS:
            return cast(FunctionType, never)
        module = ast.parse(_FRAME)
        whole = cast(ast.Try, cast(ast.FunctionDef, module.body[0]).body[0])
        whole.body += [*self.head(), ast.Return(result, **AT)]
        code = next(c for c in compile(module, "<expression>", "exec").co_consts if isinstance(c, CodeType))
        return FunctionType(code, {**FUNCTIONS, "dict": dict, "unlawful": unlawful, "FAILURES": FAILURES})

    def head(self) -> list[ast.stmt]:
        """Every input is looked at, whatever ``and`` and ``or`` need of it."""
        scalar = list(self.values) == [SCALAR_PAYLOAD]
        statements: list[ast.stmt] = []
        if self.values and not scalar:
            statements += _filled(_RECORD)
        for name, variable in self.values.items():
            group = self.kinds.group(name)
            alone = len([other for other in group.names if other in self.values]) == 1 and not group.ordered
            kind: Kind | None = group.kind or (None if alone else "number")  # what is compared: mostly numbers
            statements += _filled(_READ_EITHER if scalar else _READ, name, variable)
            statements += _filled({"number": _NUMBER, "text": _TEXT, "bool": _BOOL, None: _ANY}[kind], name, variable)
        if self.values:
            good = cast(ast.If, _filled(_GOOD)[0])
            good.orelse = [one for name in self.values for one in _filled(_GOOD_FIELD, name)]
            statements.append(good)
        return statements

    def arithmetic(self, node: Arithmetic) -> ast.expr:
        """Each step is judged where it stands: ``t0 if -MOST <= (t0 := a - b) <= MOST else unlawful()``."""
        result = self.expression(node.operands[0])
        for op, operand in zip(node.ops, node.operands[1:], strict=True):
            made = f"t{self.steps}"
            self.steps += 1
            step = ast.BinOp(result, _OPERATORS[op](), self.expression(operand), **AT)
            named = ast.NamedExpr(ast.Name(made, ast.Store(), **AT), step, **AT)
            lawful = ast.Compare(data(-MOST), [ast.LtE(), ast.LtE()], [named, data(MOST)], **AT)
            result = ast.IfExp(lawful, load(made), ast.Call(load("unlawful"), [], [], **AT), **AT)
        return result


class _Filling(ast.NodeTransformer):
    """Puts data and the locals of our own into a piece of the program."""

    def __init__(self, name: str, variable: str) -> None:
        self._put: dict[str, ast.expr] = {
            "NAME": data(name),
            "MOST": data(MOST),
            "TOLERANCE": data(FUTURE_TOLERANCE_NS),
        }
        self._variable = variable

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == "VALUE":
            return ast.Name(self._variable, node.ctx, **AT)
        return self._put.get(node.id, node)


def _filled(piece: str, name: str = "", variable: str = "") -> list[ast.stmt]:
    return [cast(ast.stmt, _Filling(name, variable).visit(one)) for one in ast.parse(piece).body]
