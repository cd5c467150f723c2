"""The errors that people read: text, place, message, hint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flowrunner.expression import ExpressionError, Names, Scalar, check, compile_expression, parse
from flowrunner.units import Duration

NAMES = Names(
    fields={
        "soc_percent": "number",
        "price_eur_mwh": "number",
        "side": "text",
        "power_limit": "text",
        "hot": "bool",
        "x": None,
        "y": None,
    },
    vars={"cheap": 60, "night": "22:00"},
)

CASES = yaml.safe_load(Path(__file__).with_name("errors.yaml").read_text(encoding="utf-8"))

GOOD = [
    "soc_percent < 30 and price_eur_mwh <= cheap",
    "side in ['BUY', 'SELL'] or hot",
    "age(side) < 90s and power_limit != 'above'",
    "x == y",
    "x",
    "between(night, '06:00')",
    "hot == (x > 3)",
]


def row(error: ExpressionError) -> dict[str, object]:
    found: dict[str, object] = {"at": error.offset, "code": error.code, "says": error.message}
    return found | ({"hint": error.hint} if error.hint else {})


@pytest.mark.parametrize("case", CASES, ids=[ascii(case["text"]) for case in CASES])
def test_every_error_has_its_place_its_words_and_a_next_step(case: dict[str, Any]) -> None:
    try:
        found = check(parse(case["text"]), NAMES)
    except ExpressionError as error:
        found = [error]
    assert [row(error) for error in found] == case["finds"]


@pytest.mark.parametrize("text", GOOD)
def test_nothing_to_say(text: str) -> None:
    assert check(parse(text), NAMES) == []


def test_the_place_may_want_a_condition() -> None:
    assert check(parse("soc_percent > 3 and x"), NAMES, want="bool") == []
    assert [error.code for error in check(parse("soc_percent"), NAMES, want="bool")] == ["type"]
    assert [error.code for error in check(parse("hot"), NAMES, want="number")] == ["type"]
    assert check(parse("x"), NAMES, want="bool") == []


def test_where_other_fields_may_come_an_unknown_name_is_no_error() -> None:
    assert check(parse("zzz < 30"), Names(open=True)) == []
    assert [error.message for error in check(parse("zzz < 3 and zzz == 'a'"), Names(open=True))] == [
        "zzz is a number and 'a' is text: they cannot be compared"
    ]


def test_a_name_is_reported_once() -> None:
    assert len(check(parse("zzz < 3 or zzz > 5"), NAMES)) == 1


def test_a_field_and_a_var_of_one_name_are_ambiguous() -> None:
    (error,) = check(parse("cheap < 3"), Names({"cheap": "number"}, vars={"cheap": 60}))
    assert (error.offset, error.code, error.message) == (0, "ambiguous", "'cheap' is a field and a var")


@pytest.mark.parametrize("text", ["x / 0", "true + 1", "'a' * 3", "x < 3 and x == 'a'", "x and x > 3", "age(x) == '3'"])
def test_what_is_wrong_whatever_comes_in_does_not_compile(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(parse(text), {})


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), 2**257, None, [60], Duration.parse("30s")], ids=lambda bad: type(bad).__name__
)
def test_a_var_is_a_plain_finite_scalar(bad: Scalar) -> None:
    with pytest.raises(ExpressionError, match="the var 'cheap' is"):
        compile_expression(parse("x < cheap"), {"cheap": bad})


def test_the_text_of_an_error_names_the_place() -> None:
    with pytest.raises(ExpressionError) as raised:
        parse("x < 3 && y")
    assert str(raised.value) == "character 7: '&&' is not part of the expression language, write and"
