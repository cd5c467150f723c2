"""The run-time half of the checks: guards for inputs, and arithmetic whose results stay finite and of sane size.

Generated programs call these. A guard looks at one input once; afterwards every operand is known to be of its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add, mod, mul, sub, truediv

from flowrunner.expression.errors import EvaluationError, Unusable
from flowrunner.expression.kinds import MAX_WHOLE, PLAIN, sensible
from flowrunner.expression.tree import Kind, kind_of

Number = int | float
Operation = Callable[[Number, Number], Number]

# ---- guards -------------------------------------------------------------------------------------------------


def guard(name: str, value: object, kind: Kind | None) -> None:
    """``value`` is a plain, finite scalar of ``kind`` (None: any). Subclasses of the scalar types are refused."""
    if type(value) not in (int, float, str, bool):
        raise EvaluationError(f"{name} is {_article(value)}, not {PLAIN[kind] if kind else 'a single value'}")
    assert isinstance(value, int | float | str)  # noqa: S101 - for the type checker; the line above decides
    if kind is not None and kind_of(value) != kind:
        raise EvaluationError(f"{name} is {PLAIN[kind_of(value)]} ({_shown(value)}), not {PLAIN[kind]}")
    if isinstance(value, float) and not sensible(value):
        raise Unusable(name, "not a finite number")
    if not sensible(value):
        raise EvaluationError(f"{name} is larger than 2**256")


def guard_group(named: tuple[tuple[str, object], ...], ordered: bool) -> None:
    """Fields that are compared with each other are of one kind; where < or > is used, not true/false."""
    for name, value in named:
        guard(name, value, None)
    (first, sample), *others = named
    kind = kind_of(sample)  # type: ignore[arg-type]  # guard() let it pass
    if ordered and kind == "bool":
        raise EvaluationError(f"{first} is true/false, which is never more or less")
    for name, value in others:
        guard(name, value, kind)


def _article(value: object) -> str:
    return {type(None): "null", list: "a list", dict: "a record"}.get(type(value), f"a {type(value).__name__}")


def _shown(value: int | float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


# ---- arithmetic ---------------------------------------------------------------------------------------------


def _guarded(operation: Operation, sign: str) -> Operation:
    def guarded(left: Number, right: Number) -> Number:
        try:
            result = operation(left, right)
        except ZeroDivisionError:
            raise EvaluationError(f"division by zero: {_shown(left)} {sign} 0") from None
        except OverflowError:
            raise _too_large(left, sign, right) from None
        if type(result) is float:
            if result - result == 0.0:  # neither infinite nor NaN
                return result
        elif -MAX_WHOLE <= result <= MAX_WHOLE:
            return result
        raise _too_large(left, sign, right)

    return guarded


def _too_large(left: Number, sign: str, right: Number) -> EvaluationError:
    return EvaluationError(f"the result is too large: {_shown(left)} {sign} {_shown(right)}")


def rounded(value: Number, digits: int | None = None) -> Number:
    """Python's ``round``: half to even; without ``digits`` a whole number."""
    try:
        result = round(value, digits)
    except OverflowError:
        raise EvaluationError(f"the result is too large: round({_shown(value)}, {digits})") from None
    if not sensible(result):
        raise EvaluationError(f"the result is too large: round({_shown(value)})")
    return result


def between(value: Number, low: Number, high: Number) -> bool:
    """Both ends included. A call and no chain: all three are calculated, also when the first two decide."""
    return low <= value <= high


ARITHMETIC = {
    "+": _guarded(add, "+"),
    "-": _guarded(sub, "-"),
    "*": _guarded(mul, "*"),
    "/": _guarded(truediv, "/"),
    "%": _guarded(mod, "%"),
}
