"""Random trees, written as text, against an evaluator of this file that shares nothing with the product.

The oracle walks the tree that was drawn, not the text, and knows the rules from the format's description: every
field named is judged first; and/or stop early; arithmetic stays finite; nothing mixes kinds.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowrunner.expression import (
    EvaluationError,
    ExpressionError,
    Names,
    RecordScope,
    Unusable,
    check,
    compile_expression,
    parse,
)
from flowrunner.message import JSON, FieldInfo
from tests.expression.scopes import NOW, VIENNA, info, message

Tree = tuple[Any, ...]

KINDS: dict[str, str] = {
    "n": "number",
    "soc": "number",
    "p_2": "number",
    "s": "text",
    "side": "text",
    "b": "bool",
    "hot": "bool",
}
VARS: dict[str, int | float | str | bool] = {"cheap": 60, "dear": 120.5, "home": "BUY", "armed": True}
ATOM = 8

# ---- trees ------------------------------------------------------------------------------------------------------

WHOLES = st.one_of(st.integers(0, 30), st.integers(0, 10**18 - 1))
FLOATS = st.one_of(st.sampled_from([0.0, 0.5, 30.0, 1e-300, 1e300]), st.floats(0, 1e308, allow_subnormal=False))
WORDS = st.sampled_from(["BUY", "SELL", "", "a b", "and", "30", "über", "it's"])
DURATIONS = st.sampled_from([("250ms", 0.25), ("30s", 30), ("5min", 300), ("1.5h", 5400), ("90d", 7776000)])
CLOCK_TIMES = st.sampled_from(["00:00", "01:59", "02:00", "02:01", "12:00", "23:59", "24:00"])


def fields_of(kind: str) -> st.SearchStrategy[Tree]:
    return st.sampled_from([("field", name) for name, own in KINDS.items() if own == kind])


def listed(item: st.SearchStrategy[Any], least: int = 2, most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(item, min_size=least, max_size=most)


def grown(number: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.just("neg"), number),
        st.tuples(st.just("bin"), st.sampled_from("+-*/%"), number, number),
        st.tuples(st.just("call"), st.sampled_from(["min", "max"]), listed(number)),
        st.tuples(st.just("call"), st.just("abs"), st.tuples(number)),
        st.tuples(st.just("round"), number, st.one_of(st.none(), st.integers(-10, 10))),
    )


NUMBERS: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(
        st.tuples(st.just("literal"), st.one_of(WHOLES, FLOATS)),
        st.tuples(st.just("duration"), DURATIONS),
        fields_of("number"),
        st.sampled_from([("var", "cheap"), ("var", "dear"), ("hour",), ("weekday",)]),
        st.sampled_from([("age", name) for name in KINDS]),
    ),
    grown,
    max_leaves=6,
)
TEXTS = st.one_of(st.tuples(st.just("literal"), WORDS), fields_of("text"), st.just(("var", "home")))
LITERALS = st.one_of(
    st.tuples(NUMBERS, listed(st.one_of(WHOLES, FLOATS, WHOLES.map(lambda n: -n)), 1)),
    st.tuples(TEXTS, listed(WORDS, 1)),
    st.tuples(fields_of("bool"), listed(st.booleans(), 1)),
)
ORDERS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
EQUALS = st.sampled_from(["==", "!="])


def chains(operand: st.SearchStrategy[Tree], ops: st.SearchStrategy[str]) -> st.SearchStrategy[Tree]:
    rest = st.lists(st.tuples(ops, operand), min_size=1, max_size=2)
    return st.tuples(st.just("compare"), operand, rest)


BOOLS: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(
        st.tuples(st.just("literal"), st.booleans()),
        fields_of("bool"),
        st.just(("var", "armed")),
        chains(NUMBERS, ORDERS),
        chains(TEXTS, ORDERS),
        st.tuples(st.just("in"), LITERALS, st.booleans()),
        st.tuples(st.just("between"), NUMBERS, NUMBERS, NUMBERS),
        st.tuples(st.just("time"), CLOCK_TIMES, CLOCK_TIMES).filter(lambda t: t[1] != t[2] and t[1] != "24:00"),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("logic"), st.sampled_from(["and", "or"]), listed(inner)),
        chains(inner, EQUALS),
    ),
    max_leaves=6,
)
TREES = st.one_of(BOOLS, NUMBERS, TEXTS)


def mixed(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        grown(inner),
        chains(inner, ORDERS),
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("logic"), st.sampled_from(["and", "or"]), listed(inner)),
        st.tuples(st.just("between"), inner, inner, inner),
        st.tuples(st.just("in"), st.tuples(inner, listed(st.one_of(WHOLES, WORDS, st.booleans()), 1)), st.booleans()),
    )


ANY_TREES = st.recursive(
    st.one_of(
        st.tuples(st.just("literal"), st.one_of(st.integers(0, 3), WORDS, st.booleans())),
        st.sampled_from([("field", name) for name in KINDS]),
        st.sampled_from([("var", name) for name in VARS]),
    ),
    mixed,
    max_leaves=8,
)


# ---- trees as text --------------------------------------------------------------------------------------------


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if "'" in value else f"'{value}'"
    return repr(value)


def wrap(tree: Tree, rank: int) -> str:
    text, own = written(tree)
    return text if own >= rank else f"({text})"


def written(tree: Tree) -> tuple[str, int]:
    """(text, rank): or 1, and 2, not 3, comparison 4, sum 5, product 6, minus 7, atom 8; no parentheses to spare."""
    match tree:
        case ("literal", value):
            return literal(value), ATOM
        case ("duration", (text, _)):
            return text, ATOM
        case ("field" | "var", name):
            return name, ATOM
        case ("hour" | "weekday" as name,):
            return f"{name}()", ATOM
        case ("age", name):
            return f"age({name})", ATOM
        case ("neg", inner):
            return f"-{wrap(inner, 7)}", 7
        case ("bin", op, left, right):
            rank = 5 if op in "+-" else 6
            return f"{wrap(left, rank)} {op} {wrap(right, rank + 1)}", rank
        case ("call", name, arguments):
            return f"{name}({', '.join(written(argument)[0] for argument in arguments)})", ATOM
        case ("round", inner, digits):
            return f"round({written(inner)[0]}{'' if digits is None else f', {digits}'})", ATOM
        case ("not", inner):
            return f"not {wrap(inner, 3)}", 3
        case ("logic", op, operands):
            rank = 1 if op == "or" else 2
            return f" {op} ".join(wrap(operand, rank + 1) for operand in operands), rank
        case ("compare", first, rest):
            return wrap(first, 5) + "".join(f" {op} {wrap(operand, 5)}" for op, operand in rest), 4
        case ("in", (operand, items), negated):
            among = ", ".join(map(literal, items))
            return f"{wrap(operand, 5)} {'not in' if negated else 'in'} [{among}]", 4
        case ("between", *parts):
            return f"between({', '.join(written(part)[0] for part in parts)})", ATOM
        case ("time", start, end):
            return f'between("{start}","{end}")', ATOM
    raise AssertionError(tree)


# ---- the oracle ---------------------------------------------------------------------------------------------------


class NoResultError(Exception):
    """The rules give none."""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Any) -> Any:
    if not is_number(value):
        raise NoResultError
    if isinstance(value, float) and (math.isnan(value) or math.isinf(value)):
        raise NoResultError
    if isinstance(value, int) and abs(value) > 2**256:
        raise NoResultError
    return value


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise NoResultError
    return value


def compared(left: Any, op: str, right: Any) -> bool:
    kinds = {("number" if is_number(value) else type(value).__name__) for value in (left, right)}
    if len(kinds) != 1 or (kinds == {"bool"} and op not in ("==", "!=")):
        raise NoResultError
    less, equal = bool(left < right), bool(left == right)
    return {"==": equal, "!=": not equal, "<": less, "<=": less or equal, ">=": not less, ">": not (less or equal)}[op]


def calculated(op: str, left: Any, right: Any) -> Any:
    number(left), number(right)
    if op in "/%" and right == 0:
        raise NoResultError
    try:
        match op:
            case "+":
                return number(left + right)
            case "-":
                return number(left - right)
            case "*":
                return number(left * right)
            case "/":
                return number(left / right)
        return number(left % right)
    except OverflowError as error:
        raise NoResultError from error


class Oracle:
    def __init__(self, values: dict[str, JSON], ages: dict[str, float]) -> None:
        self.values = values
        self.ages = ages
        moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW // 1000)).astimezone(VIENNA)
        self.moment = moment

    def of(self, tree: Tree) -> Any:
        match tree:
            case ("literal", value):
                return value
            case ("duration", (_, seconds)):
                return seconds
            case ("field", name):
                return self.values[name]
            case ("var", name):
                return VARS[name]
            case ("hour",):
                return self.moment.hour
            case ("weekday",):
                return self.moment.isoweekday()
            case ("age", name):
                return self.ages[name]
            case ("neg", inner):
                return -number(self.of(inner))
            case ("bin", op, left, right):
                return calculated(op, self.of(left), self.of(right))
            case ("call", name, arguments):
                values = [number(self.of(argument)) for argument in arguments]
                return abs(values[0]) if name == "abs" else min(values) if name == "min" else max(values)
            case ("round", inner, digits):
                try:
                    return number(round(number(self.of(inner)), digits))
                except OverflowError as error:
                    raise NoResultError from error
            case ("not", inner):
                return not truth(self.of(inner))
            case ("logic", "and", operands):
                return all(truth(self.of(operand)) for operand in operands)
            case ("logic", "or", operands):
                return any(truth(self.of(operand)) for operand in operands)
            case ("compare", first, rest):
                return self.chain(first, rest)
            case ("in", (operand, items), negated):
                value = self.of(operand)
                return (True in [compared(value, "==", item) for item in items]) is not negated
            case ("between", value, low, high):
                found, least, most = (number(self.of(part)) for part in (value, low, high))
                return least <= found <= most
            case ("time", start, end):
                clock = f"{self.moment:%H:%M}"
                return start <= clock < end if start < end else clock >= start or clock < end
        raise AssertionError(tree)

    def chain(self, first: Tree, rest: list[tuple[str, Tree]]) -> bool:
        left = self.of(first)
        for op, operand in rest:
            right = self.of(operand)
            if not compared(left, op, right):
                return False
            left = right
        return True


def used(tree: Any, what: str) -> set[str]:
    """The fields that a tree names: by value (``field``) or for their age."""
    if not isinstance(tree, tuple | list):
        return set()
    if len(tree) == 2 and tree[0] == what and tree[1] in KINDS:
        return {tree[1]}
    return set().union(*(used(part, what) for part in tree))


def divides_by_a_literal_zero(tree: Any) -> bool:
    """Found before a run, so it has no place here."""
    if not isinstance(tree, tuple | list):
        return False
    if len(tree) == 4 and tree[0] == "bin" and tree[1] in "/%" and tree[3][0] == "literal" and tree[3][1] == 0:
        return True
    return any(divides_by_a_literal_zero(part) for part in tree)


# ---- records ----------------------------------------------------------------------------------------------------

GOOD: dict[str, st.SearchStrategy[JSON]] = {
    "number": st.one_of(
        st.sampled_from([0, 1, 20, 30, 30.0, -2.5, 2**53 + 1, 2**200, 1e308]),
        st.integers(-1000, 1000),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    "text": WORDS,
    "bool": st.booleans(),
}
NO_VALUE: list[JSON] = [None, math.nan, math.inf, -math.inf, [], [1], {}]
NO_AGE = ["bad", "uncertain", "future"]
TROUBLES: dict[str, dict[str, Any]] = {
    "bad": {"quality": "bad"},
    "uncertain": {"quality": "uncertain"},
    "future": {"at": NOW + 6_000_000_000},
    "stale": {"valid_until": NOW},
    "early": {"valid_from": NOW + 1},
}


class Record:
    """Values with their infos, and what the rules say of each field."""

    def __init__(self) -> None:
        self.values: dict[str, JSON] = {}
        self.infos: dict[str, FieldInfo] = {}
        self.ages: dict[str, float] = {}
        self.valueless: set[str] = set()
        self.ageless: set[str] = set()
        self.odd: set[str] = set()

    def scope(self) -> RecordScope:
        return RecordScope(message(self.values, self.infos), NOW, VIENNA)


@st.composite
def records(draw: st.DrawFn) -> Record:
    record = Record()
    flawed = draw(st.sets(st.sampled_from(sorted(KINDS)), max_size=2)) if draw(st.integers(0, 2)) == 0 else set()
    for name, kind in KINDS.items():
        age = draw(st.integers(0, 400))
        record.infos[name] = info(age)
        record.ages[name] = float(age)
        record.values[name] = draw(GOOD[kind])
        if name not in flawed:
            continue
        flaw = draw(st.sampled_from(["missing", "no value", "odd", *TROUBLES]))
        if flaw == "odd":
            record.odd.add(name)
            record.values[name] = draw(GOOD[draw(st.sampled_from([own for own in GOOD if own != kind]))])
            continue
        record.valueless.add(name)
        if flaw == "missing":
            del record.values[name]
        elif flaw == "no value":
            record.values[name] = draw(st.sampled_from(NO_VALUE))
        else:
            record.infos[name] = info(age, **TROUBLES[flaw])
        if flaw in ("missing", "no value", *NO_AGE):
            record.ageless.add(name)
    return record


def expected(tree: Tree, record: Record) -> Any:
    if used(tree, "field") & record.valueless or used(tree, "age") & record.ageless:
        raise NoResultError
    return Oracle(record.values, record.ages).of(tree)


def same(found: Any, wanted: Any) -> bool:
    return found == wanted and type(found) is type(wanted)


# ---- the properties -------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(TREES, records())
def test_well_formed_expressions_have_the_oracles_result_or_error(tree: Tree, record: Record) -> None:
    assume(not divides_by_a_literal_zero(tree))
    text = written(tree)[0]
    assume(len(text) <= 2000)
    expression = parse(text)
    assert check(expression, Names(KINDS, vars=VARS)) == []
    program = compile_expression(expression, VARS)
    try:
        wanted = expected(tree, record)
    except NoResultError:
        wanted = None
    try:
        found: Any = program.evaluate(record.scope())
    except (Unusable, EvaluationError):
        found = None
    if used(tree, "field") & record.odd:  # text for a number may be refused early: never another result
        assert found is None or same(found, wanted)
    else:
        assert same(found, wanted), text
    trace = program.explain(record.scope())
    assert same(trace.outcome, found)
    assert bool(trace.error) == (found is None)


@settings(max_examples=350, deadline=None)
@given(ANY_TREES, records())
def test_an_expression_that_mixes_kinds_is_refused_or_has_the_oracles_result(tree: Tree, record: Record) -> None:
    """Never a result that the rules do not give."""
    text = written(tree)[0]
    try:
        program = compile_expression(parse(text), VARS)
        found = program.evaluate(record.scope())
    except (ExpressionError, Unusable, EvaluationError):
        return
    assert same(found, expected(tree, record)), text
