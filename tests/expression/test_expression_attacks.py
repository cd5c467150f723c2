"""Texts that want more than the language gives, or all of the machine. Each ends in an error, soon."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowrunner.expression import (
    EvaluationError,
    ExpressionError,
    Names,
    check,
    compile_expression,
    parse,
)
from tests.expression.scopes import program, scope

FORBIDDEN = [
    "__class__",
    "x.__class__",
    "().__class__.__bases__[0].__subclasses__()",
    "''.format(x)",
    "'{0.__class__}' % x",
    "f'{x}'",
    "rf'{x}'",
    "b'x'",
    "__import__('os').system('true')",
    "__builtins__",
    "import os",
    "exec('1')",
    "eval('1')",
    "open('/etc/passwd')",
    "getattr(x, 'y')",
    "globals()",
    "print(x)",
    "x[0]",
    "x[0:1]",
    "(1, 2)",
    "[1, 2]",
    "{1: 2}",
    "{x}",
    "lambda: x",
    "(lambda: x)()",
    "[y for y in x]",
    "(y for y in x)",
    "x if y else z",
    "(x := 3)",
    "x = 3",
    "x == 3; y",
    "x is y",
    "x == None",
    "9**9**9",
    "1 << 999999",
    "1 | 2",
    "~x",
    "x ^ y",
    "x @ y",
    "'a' * 999999999",
    "999999999 * 'a'",
    "'a' + 'a'",
    "'a' % 1",
    "max(*x)",
    "max(x, key=y)",
    "round(x, 99999999)",
    "(x)(y)",
    "min(min)(x)",
    "min(x, y)(z)",
    "age(x).real",
    "age('x')",
    "await x",
    "yield x",
    "x\ny",
    "x # comment",
    "x \\\n< 3",
    "\x00",
    "x\x00< 3",
    "'\x00' == x",
    "x < 3\ufeff",
    "\uff58 < 3",
    "\u0445 < 3",
    "x < \u0663",
    "x < \u00b2",
    "x \u2227 y",
    "\ud800",
    "1" * 19,
    "1e999",
    "9" * 400 + ".0",
    "1_000",
    "0b1",
    "1j",
    "...",
    "`x`",
    "?",
]
LARGE = [
    "x" * 2001,
    "(" * 1000 + "x" + ")" * 999,
    "(" * 51 + "x" + ")" * 51,
    "not " * 400 + "x",
    "-" * 1500 + "1",
    "min(" * 300,
    "x<" * 600 + "x",
    "1+" * 900 + "1",
    "x in [" + "1," * 900 + "]",
    "((((x))))" * 200,
    "'" + "a" * 1999,
    '"' * 1999,
    "[" * 1999,
    "x and " * 330 + "(" * 20,
]


@pytest.mark.parametrize("text", FORBIDDEN, ids=[ascii(text[:30]) for text in FORBIDDEN])
def test_what_is_not_the_language_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        compile_expression(parse(text), {})
    assert 0 <= raised.value.offset <= len(text)


@pytest.mark.parametrize("text", LARGE, ids=[ascii(text[:12]) for text in LARGE])
def test_what_is_too_large_is_refused_soon(text: str) -> None:
    started = time.process_time()
    with pytest.raises(ExpressionError):
        parse(text)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("+".join(["x"] * 499), 499),
        ("x<" * 10 + "2", False),
        ("(" * 49 + "x" + ")" * 49, 1),
        ("max(" * 40 + "x" + ", 0)" * 40, 1),
        ("-" * 48 + "x", 1),
    ],
    ids=["sum", "chain", "parentheses", "calls", "minus"],
)
def test_what_is_within_the_limits_is_evaluated(text: str, result: object) -> None:
    assert program(text).evaluate(scope({"x": 1})) == result


def test_multiplication_cannot_eat_the_machine() -> None:
    grower = program("*".join(["x"] * 400))
    started = time.process_time()
    with pytest.raises(EvaluationError, match="too large"):
        grower.evaluate(scope({"x": 2**250}))
    assert time.process_time() - started < 0.1


def test_nothing_of_the_text_becomes_a_name_of_the_generated_function() -> None:
    fields = {"system": 1, "os": 2, "scope": 3, "type": 4}
    code = program('system + os + scope + type > 3 or name == "import os"').evaluate.__code__
    assert set(code.co_varnames) == {"scope", "v0", "v1", "v2", "v3", "v4", "t0", "t1"}
    assert set(code.co_names) <= {"value", "type", "int", "float", "str", "abs", "guard", "add"}
    assert program("system + os + scope + type").evaluate(scope(fields)) == 10


def test_the_generated_function_reaches_no_builtins() -> None:
    assert program("x < 3").evaluate.__globals__["__builtins__"] == {}


PIECES = """
    and or not in true false x y soc_percent 30 1.5 30s 1e3 "a" '22:00' ( ) [ ] , < <= == != > >= + - * / %
    min( max( abs( round( age( hour() weekday() between( . ** := ${ __x \u0445
"""
_pieces = st.sampled_from([*PIECES.split(), "\x00"])
ANY_TEXT = st.one_of(
    st.text(max_size=60),
    st.text(st.characters(codec="ascii"), max_size=60),
    st.lists(_pieces, max_size=25).map(" ".join),
    st.lists(_pieces, max_size=25).map("".join),
)


@settings(max_examples=700, deadline=500)
@given(ANY_TEXT)
@example("\ud800")
@example("'\ud800'")
def test_any_text_gives_an_expression_or_an_expression_error(text: str) -> None:
    try:
        expression = parse(text)
        found = check(expression, Names({"x": "number", "soc_percent": None}, vars={"y": 3}))
    except ExpressionError as error:
        expression, found = None, [error]
    assert all(0 <= error.offset <= len(text) and error.message for error in found)
    if expression is None:
        return
    try:
        compiled = compile_expression(expression, {"y": 3})
    except ExpressionError:
        assert any(error.code != "unknown-name" for error in found)
        return
    trace = compiled.explain(scope({"x": 1, "soc_percent": 20.5}))
    assert (trace.outcome is None) == bool(trace.error)
