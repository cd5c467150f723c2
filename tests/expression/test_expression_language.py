"""What the language means: results of plain expressions."""

from __future__ import annotations

import pytest

from flowrunner.expression import (
    EvaluationError,
    ExpressionError,
    Names,
    Scalar,
    compile_expression,
    parse,
    result_kind,
)
from flowrunner.units import parse_instant
from tests.expression.scopes import program, scope, value_of

RESULTS: list[tuple[str, Scalar]] = [
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("10 - 4 - 3", 3),
    ("100 / 10 / 5", 2.0),
    ("7 % 4 * 2", 6),
    ("-7 % 4", 1),
    ("2 - -3", 5),
    ("--3", 3),
    ("-2 * -3", 6),
    ("1e3", 1000.0),
    ("1.5e-3", 0.0015),
    ("250ms", 0.25),
    ("30s", 30),
    ("5min", 300),
    ("1.5h", 5400),
    ("90d", 7776000),
    ("true or false and false", True),
    ("(true or false) and false", False),
    ("not false and false", False),
    ("not (false and false)", True),
    ("not not true", True),
    ("not 1 > 2", True),
    ("1 < 2 < 3", True),
    ("1 < 2 > 3", False),
    ("3 > 2 >= 2 != 1", True),
    ("1 == 1.0", True),
    ("0.1 + 0.2 == 0.3", False),
    ("9007199254740993 > 9007199254740992.0", True),
    ("\"BUY\" == 'BUY'", True),
    ('"BUY" in ["BUY", "SELL"]', True),
    ('"HOLD" not in ("BUY", "SELL",)', True),
    ("-1 in [1, -1.0]", True),
    ("true in [false]", False),
    ('"2025-01-02" < "2025-01-10"', True),
    ('"and" == "and"', True),
    ("true == (1 < 2)", True),
    ("min(3, 1.0, 2)", 1.0),
    ("max(3, 1, 2)", 3),
    ("abs(-2.5)", 2.5),
    ("round(2.5)", 2),
    ("round(3.14159, 2)", 3.14),
    ("round(1250, -2)", 1200),
    ("between(30, 30, 70)", True),
    ("between(70, 30, 70)", True),
    ("between(70.1, 30, 70)", False),
    ("between(50, 70, 30)", False),
    ("1 <\n  2", True),
]


@pytest.mark.parametrize(("text", "result"), RESULTS, ids=[text for text, _ in RESULTS])
def test_result(text: str, result: Scalar) -> None:
    found = value_of(text)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("soc", "price", "buys"),
    [(29.9, 60, True), (30.0, 60, False), (20, 60.01, False), (20, 0.0, True), (20, -45.5, True)],
)
def test_the_edges_of_the_first_rule(soc: float, price: float, buys: bool) -> None:
    buy = program("soc_percent < 30 and price_eur_mwh <= cheap", {"cheap": 60})
    assert buy.test(scope({"soc_percent": soc, "price_eur_mwh": price})) is buys


def test_names_are_listed_in_the_order_of_their_first_use() -> None:
    assert parse('b < cheap and age(a) < 90s and b > 2 or side == "x"').names == ("b", "cheap", "a", "side")


def test_a_scalar_payload_has_the_name_value() -> None:
    assert program("value * 2").evaluate(scope(21)) == 42


def test_a_function_name_without_parentheses_is_an_ordinary_field() -> None:
    assert value_of("hour + min", hour=5, min=1) == 6


def test_field_names_that_are_words_of_python_are_ordinary() -> None:
    assert value_of("class + scope + guard + v0", **{"class": 1, "scope": 2, "guard": 3, "v0": 4}) == 10


def test_text_may_hold_any_printable_character() -> None:
    assert value_of('city == "Köln {0} %s ${x} __class__"', city="Köln {0} %s ${x} __class__") is True


@pytest.mark.parametrize(
    ("local", "hour", "weekday", "night"),
    [
        ("2025-01-25T21:59:59+01:00", 21, 6, False),
        ("2025-01-25T22:00:00+01:00", 22, 6, True),
        ("2025-01-26T05:59:59+01:00", 5, 7, True),
        ("2025-01-26T06:00:00+01:00", 6, 7, False),
        ("2025-07-14T00:30:00+02:00", 0, 1, True),
        ("2026-10-25T02:30:00+02:00", 2, 7, True),
        ("2026-10-25T02:30:00+01:00", 2, 7, True),
    ],
)
def test_the_clock_is_that_of_the_zone(local: str, hour: int, weekday: int, night: bool) -> None:
    now = parse_instant(local)
    assert value_of("hour()", now) == hour
    assert value_of("weekday()", now) == weekday
    assert value_of('between("22:00", "06:00")', now) is night
    assert value_of('between("06:00", "22:00")', now) is not night


def test_the_end_of_the_day_is_24_00_or_00_00() -> None:
    last = parse_instant("2025-01-25T23:59:59+01:00")
    assert value_of('between("18:00", "24:00")', last) is True
    assert value_of('between("18:00", "00:00")', last) is True
    assert value_of('between("00:00", "18:00")', last) is False


def test_times_of_day_may_be_vars_but_not_fields() -> None:
    quiet = program("between(quiet_from, quiet_until)", {"quiet_from": "01:00", "quiet_until": "03:00"})
    assert quiet.evaluate(scope({})) is True
    with pytest.raises(ExpressionError, match="quiet_from is not a time of day"):
        program("between(quiet_from, quiet_until)")


def test_an_instant_without_a_date_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="calendar"):
        value_of("hour()", 10**30)


def test_the_kind_of_a_result_is_known_before_a_run() -> None:
    names = Names({"soc": "number", "side": "text", "x": None, "odd": "record"}, vars={"cheap": 60})
    kinds = {text: result_kind(parse(text), names) for text in ("soc", "side", "x", "odd", "cheap", "x + 1", "x < soc")}
    assert kinds == {
        "soc": "number",
        "side": "text",
        "x": None,
        "odd": None,
        "cheap": "number",
        "x + 1": "number",
        "x < soc": "bool",
    }


def test_only_a_condition_can_be_tested() -> None:
    formula = program("soc_percent + 1")
    assert formula.evaluate(scope({"soc_percent": 1})) == 2
    with pytest.raises(EvaluationError, match="is a number, not a condition"):
        formula.test(scope({"soc_percent": 1}))


def test_a_program_keeps_the_vars_it_was_compiled_with() -> None:
    variables: dict[str, Scalar] = {"cheap": 60}
    rule = compile_expression(parse("price <= cheap"), variables)
    variables["cheap"] = 10
    assert rule.test(scope({"price": 50})) is True
