"""Why an expression came out as it did: each clause with its value, limit and outcome.

A clause is what stands between ``and`` and ``or``. Its parts are compiled by the same writer as the program itself,
so an explanation cannot disagree with the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from flowrunner.expression.compile import Function, function_of
from flowrunner.expression.daytime import local
from flowrunner.expression.errors import EvaluationError, Unusable
from flowrunner.expression.kinds import Kinds
from flowrunner.expression.quick import Quicks, never, quick_of_all
from flowrunner.expression.scope import RecordScope, Scope
from flowrunner.expression.tree import (
    Call,
    Comparison,
    Expression,
    Logic,
    Membership,
    Node,
    Not,
    Scalar,
    children,
    names_in,
)
from flowrunner.message import JSON

_FLIPPED: Mapping[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Clause(msgspec.Struct):
    """``value op limit`` → ``outcome``. A chain has the ops joined and a list of limits: ``5 < soc <= 95`` is
    value soc, op ``< <=``, limit [5, 95]. ``reason`` says why there is no outcome."""

    text: str
    value: JSON
    op: str
    limit: JSON
    outcome: bool | None
    reason: str = ""

    def plain(self) -> dict[str, JSON]:
        """As it stands in messages and answers."""
        return {
            "text": self.text, "value": self.value, "op": self.op, "limit": self.limit, "outcome": self.outcome,
            "reason": self.reason,
        }  # fmt: skip


class Trace(msgspec.Struct):
    """``outcome`` is None when ``error`` says why there is none. A number or text has no clauses.

    Clauses that ``and``/``or`` did not need are judged all the same.
    """

    outcome: Scalar | None
    error: str
    clauses: list[Clause]


class _Prepared(msgspec.Struct, frozen=True):
    """One clause: what is judged (None: the time of day), by which operator, against what."""

    text: str
    node: Node
    subject: Node | None
    op: str
    limits: tuple[Node, ...]
    listed: bool
    """Its limit is a list."""

    def found(self, outcome: Scalar | None, reason: str, value: Scalar | None, limits: list[Scalar | None]) -> Clause:
        limit = limits if self.listed else limits[0] if limits else None
        return Clause(self.text, value, self.op, limit, outcome if isinstance(outcome, bool) else None, reason)


class Explainer:
    """Makes traces of one program. Its parts are compiled when the first trace is asked for."""

    def __init__(self, expression: Expression, variables: Mapping[str, Scalar], kinds: Kinds) -> None:
        self._variables = variables
        self._kinds = kinds
        leaves = _leaves(expression.ast) if kinds.result in ("bool", None) else []
        self._prepared = [self._prepare(expression, leaf) for leaf in leaves]
        self._slow: list[Callable[[Scope], Clause]] | None = None
        parts = [part for one in self._prepared for part in (one.node, one.subject, *one.limits) if part is not None]
        timed = any(one.subject is None for one in self._prepared)
        self._quick: Quicks = never if timed else quick_of_all(parts, variables, kinds)

    def clauses(self, scope: Scope) -> list[Clause]:
        found = self._quick(scope.message, scope.now()) if type(scope) is RecordScope else None
        if found is None:
            if self._slow is None:
                self._slow = [self._function_of(one) for one in self._prepared]
            return [clause(scope) for clause in self._slow]
        clauses, at = [], 0
        for one in self._prepared:
            end = at + 2 + len(one.limits)
            clauses.append(one.found(found[at], "", found[at + 1], list(found[at + 2 : end])))
            at = end
        return clauses

    def _prepare(self, expression: Expression, node: Node) -> _Prepared:
        subject, op, limits = self._parts(node)
        listed = len(limits) > 1 or isinstance(node, Membership)
        return _Prepared(expression.part(node), node, subject, op, limits, listed)

    def _function_of(self, one: _Prepared) -> Callable[[Scope], Clause]:
        """Compile the parts of one clause, each for itself: one may be known where another is not."""
        decide = self._function(one.node)
        look = _time_of_day if one.subject is None else self._function(one.subject)
        bounds = [self._function(limit) for limit in one.limits]

        def explain(scope: Scope) -> Clause:
            outcome, reason = _try(decide, scope)
            found = [_try(bound, scope)[0] for bound in bounds]
            return one.found(outcome, reason, _try(look, scope)[0], found)

        return explain

    def _function(self, node: Node) -> Function:
        return function_of(node, self._variables, self._kinds)

    def _parts(self, node: Node) -> tuple[Node | None, str, tuple[Node, ...]]:
        """What is judged (None: the time of day), by which operator, against what."""
        match node:
            case Not(operand=operand):
                subject, op, limits = self._parts(operand)
                return subject, f"not {op}".strip(), limits
            case Comparison(ops=ops, operands=operands):
                judged = next((i for i, part in enumerate(operands) if self._varies(part)), 0)
                op = _FLIPPED[ops[0]] if len(ops) == judged == 1 else " ".join(ops)
                return operands[judged], op, operands[:judged] + operands[judged + 1 :]
            case Membership(operand=operand, items=items, negated=negated):
                return operand, "not in" if negated else "in", items
            case Call(function="between", arguments=(value, low, high)):
                return value, "between", (low, high)
            case Call(function="between", arguments=(start, end)):
                return None, "between", (start, end)
        return node, "", ()

    def _varies(self, node: Node) -> bool:
        """Not made of literals and vars alone."""
        if any(name.name not in self._variables for name in names_in(node)):
            return True
        return _asks_the_clock(node)


def _asks_the_clock(node: Node) -> bool:
    if isinstance(node, Call) and node.function in ("hour", "weekday"):
        return True
    return any(_asks_the_clock(child) for child in children(node))


def clause_texts(expression: Expression) -> list[str]:
    """The clauses of a condition, before anything is known of them."""
    return [expression.part(leaf) for leaf in _leaves(expression.ast)]


def _leaves(node: Node) -> list[Node]:
    """The clauses in the order of the text. ``not`` belongs to its clause; before a group it is looked through."""
    if isinstance(node, Logic):
        return [leaf for operand in node.operands for leaf in _leaves(operand)]
    if isinstance(node, Not) and isinstance(node.operand, Logic | Not):
        return _leaves(node.operand)
    return [node]


def _try(function: Callable[[Scope], Scalar], scope: Scope) -> tuple[Scalar | None, str]:
    try:
        return function(scope), ""
    except (Unusable, EvaluationError) as error:
        return None, str(error)


def _time_of_day(scope: Scope) -> str:
    _, _, second = local(scope)
    return f"{second // 3600:02}:{second // 60 % 60:02}"
