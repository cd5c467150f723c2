"""A compiled expression: evaluate it, test it, ask it why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import lru_cache

from flowrunner.expression.compile import Function, function_of
from flowrunner.expression.errors import EvaluationError, Unusable
from flowrunner.expression.kinds import PLAIN, Kinds
from flowrunner.expression.parse import parse
from flowrunner.expression.quick import Quick, never, quick_of
from flowrunner.expression.scope import RecordScope, Scope
from flowrunner.expression.trace import Clause, Explainer, Trace
from flowrunner.expression.tree import Expression, Kind, Scalar, kind_of


class Program:
    """One expression with its vars put in.

    ``evaluate(scope)`` gives the result. It raises Unusable when any field named is not to be used, needed or not,
    and EvaluationError when a field is of the wrong kind or the calculation fails.
    """

    __slots__ = ("_explainer", "_kinds", "_plain", "_quick", "_variables", "evaluate", "expression")

    def __init__(self, expression: Expression, variables: Mapping[str, Scalar], kinds: Kinds) -> None:
        self.expression = expression
        self.evaluate: Function = function_of(expression.ast, variables, kinds)
        self._plain = self.evaluate
        """The same, where nobody watches."""
        self._variables = variables
        self._kinds = kinds
        self._explainer: Explainer | None = None
        self._quick: Quick | None = None

    @property
    def quick(self) -> Quick:
        """(message, now) → the result, where all that is named is plainly good; else None, and ``evaluate`` or ``test``
        are to be asked, which know why. Several times as fast. None always, where somebody watches or counts."""
        if self.evaluate is not self._plain or type(self) is not Program:
            return never
        return self._short_way()

    def _short_way(self) -> Quick:
        if self._quick is None:
            self._quick = quick_of(self.expression.ast, self._variables, self._kinds)
        return self._quick

    @property
    def kind(self) -> Kind | None:
        """Of the result; None for a field whose kind only the run knows."""
        return self._kinds.result

    def test(self, scope: Scope) -> bool:
        """The result as a condition. EvaluationError when it is none."""
        result = self.evaluate(scope)
        if result is True or result is False:
            return result
        raise EvaluationError(f"{self.expression.text} is {PLAIN[kind_of(result)]}, not a condition")

    def watched(self, see: Callable[[Trace, Scope], None]) -> Program:
        """The same program, which tells of every evaluation why it came out so."""
        twin = copy(self)

        def evaluate(scope: Scope) -> Scalar:
            see(self.explain(scope), scope)
            return self.evaluate(scope)

        twin.evaluate = evaluate
        return twin

    def clauses(self, scope: Scope) -> list[Clause]:
        """Each clause with its value, limit and outcome."""
        if self._explainer is None:
            self._explainer = Explainer(self.expression, self._variables, self._kinds)
        return self._explainer.clauses(scope)

    def explain(self, scope: Scope) -> Trace:
        """The result with its clauses. Never raises what ``evaluate`` raises: it becomes ``error``."""
        outcome: Scalar | None = None
        error = ""
        if type(scope) is RecordScope:
            outcome = self._short_way()(scope.message, scope.now())
        if outcome is None:
            try:
                outcome = self._plain(scope)
            except (Unusable, EvaluationError) as raised:
                error = str(raised)
        return Trace(outcome, error, self.clauses(scope))


def compile_expression(expression: Expression, vars: Mapping[str, Scalar]) -> Program:  # noqa: A002 - as in the file
    """Names in ``vars`` become constants, all others are fields. ExpressionError: the first contradiction of kinds.

    Whether the fields exist is what :func:`~flowrunner.expression.check.check` finds.
    """
    used = {name: vars[name] for name in expression.names if name in vars}
    kinds = Kinds(expression, used, {})
    if kinds.errors:
        raise kinds.errors[0]
    return Program(expression, used, kinds)


def program_of(text: str, vars: Mapping[str, Scalar]) -> Program:  # noqa: A002 - as in the file
    """The program of a text that was checked before. One that is asked for again is the same: it keeps nothing of its
    own. ExpressionError as `parse` and :func:`compile_expression` have it."""
    return _program(text, tuple(sorted((name, type(value), value) for name, value in vars.items())))


@lru_cache(maxsize=1024)
def _program(text: str, variables: tuple[tuple[str, type, Scalar], ...]) -> Program:
    """The type is part of the key: 1, 1.0 and true are equal."""
    return compile_expression(parse(text), {name: value for name, _, value in variables})
