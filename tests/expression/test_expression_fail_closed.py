"""Fail closed: what must not be used gives an error, never a result, and never by luck of and/or."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest

from flowrunner.expression import EvaluationError, Program, RecordScope, Unusable
from flowrunner.message import JSON, FieldInfo, Message
from tests.expression.scopes import NOW, VIENNA, info, message, program, scope

UNUSABLE: list[tuple[str, dict[str, JSON], FieldInfo]] = [
    ("missing", {}, info()),
    ("missing", {}, info(quality="bad")),
    ("null", {"soc": None}, info()),
    ("bad", {"soc": 20}, info(quality="bad")),
    ("uncertain", {"soc": 20}, info(quality="uncertain")),
    ("from the future", {"soc": 20}, info(age_s=-5.001)),
    ("stale", {"soc": 20}, info(age_s=91, valid_until=NOW - 1)),
    ("stale", {"soc": 20}, info(age_s=90, valid_until=NOW)),
    ("not valid yet", {"soc": 20}, info(valid_from=NOW + 1)),
    ("not a finite number", {"soc": math.nan}, info()),
    ("not a finite number", {"soc": math.inf}, info()),
    ("not a finite number", {"soc": -math.inf}, info()),
    ("not a single value", {"soc": [20]}, info()),
    ("not a single value", {"soc": {"value": 20}}, info()),
]
PLACES = [
    "soc < 30",
    "not soc < 30",
    "soc != 30",
    "soc == 30",
    "false and soc < 30",
    "true or soc < 30",
    "true or (false and (1 < 2 < 1 < soc))",
    "soc in [20]",
    "between(soc, 0, 100)",
    "soc * 0 == 0",
    "soc == other",
    "min(soc, 0) < 1",
    "true or soc",
    "soc",
]


@pytest.mark.parametrize("text", PLACES)
@pytest.mark.parametrize(("reason", "payload", "known"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_an_unusable_field_gives_no_result_anywhere(
    text: str, reason: str, payload: dict[str, JSON], known: FieldInfo
) -> None:
    rule = program(text)
    inputs = scope({**payload, "other": 1}, {"soc": known, "other": info()})
    with pytest.raises(Unusable) as raised:
        rule.test(inputs)
    assert (raised.value.name, raised.value.reason) == ("soc", reason)
    trace = rule.explain(inputs)
    assert trace.outcome is None
    assert trace.error == f"soc is {reason}"
    assert any(clause.reason == f"soc is {reason}" for clause in trace.clauses if "soc" in clause.text)


@pytest.mark.parametrize("text", [place for place in PLACES if place not in ("soc", "soc == other", "true or soc")])
@pytest.mark.parametrize("value", ["20", "", True, False])
def test_text_or_bool_in_the_place_of_a_number_is_an_error_also_where_and_or_would_not_look(
    text: str, value: JSON
) -> None:
    with pytest.raises(EvaluationError, match=r"^soc is (text|true/false) .*, not a number$"):
        program(text).evaluate(scope({"soc": value}))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('side == "BUY"', {"side": 1}),
        ('side != "BUY"', {"side": True}),
        ('false and side == "BUY"', {"side": 1}),
        ('side in ["BUY"]', {"side": 0}),
        ('side not in ["BUY"]', {"side": 0}),
        ("not flag", {"flag": 0}),
        ("flag and true", {"flag": "true"}),
        ("true or flag", {"flag": 1}),
        ("a == b", {"a": 1, "b": "1"}),
        ("a != b", {"a": 1, "b": True}),
        ("a < b", {"a": "1", "b": 2}),
        ("a < b", {"a": True, "b": False}),
        ("true or a == b == c", {"a": 1, "b": 2, "c": "x"}),
        ("a == b and c == b", {"a": "x", "b": "x", "c": 1}),
        ("a < 3 and a == b", {"a": 1, "b": "x"}),
        ("c < d and a == c", {"a": True, "c": False, "d": True}),
        ("a + 1", {"a": 2**256 + 1}),
        ("a > 3", {"a": 2**256 + 1}),
        ("a < 3", {"a": -(2**300)}),
        ("a == b", {"a": 2**300, "b": 1}),
    ],
)
def test_kinds_that_do_not_fit_are_an_error_and_never_false(text: str, fields: dict[str, JSON]) -> None:
    with pytest.raises(EvaluationError):
        program(text).evaluate(scope(fields))


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("1 / x", 0),
        ("1 / x", 0.0),
        ("1 % x", 0),
        ("1.5 % x", -0.0),
        ("x * 1e300", 1e300),
        ("x * 1e300 > 0", 1e300),
        ("x - 1e308", -1.7e308),
        ("x / 1e-300", 1e300),
        ("x * x * x", 2**200),
        ("x * x * x > 0", 2**200),
        ("x + 1", 2**256),
        ("-x - 1", 2**256),
        ("x / 0.5 > 1", 1.7e308),
        ("round(x)", 1.7e308),
    ],
)
def test_arithmetic_without_a_lawful_result_is_an_error(text: str, x: float) -> None:
    with pytest.raises(EvaluationError):
        program(text).evaluate(scope({"x": x}))


def test_a_calculation_that_and_does_not_reach_is_not_made() -> None:
    rule = program("power != 0 and energy / power > 2")
    assert rule.test(scope({"power": 0, "energy": 5})) is False
    assert rule.test(scope({"power": 2, "energy": 5})) is True


def test_the_arguments_of_a_function_are_all_calculated() -> None:
    with pytest.raises(EvaluationError, match="division by zero"):
        program("between(x, 30, 70 / x)").test(scope({"x": 0}))


def test_every_missing_name_counts_the_first_is_named() -> None:
    with pytest.raises(Unusable) as raised:
        program("false and a < 1 and b < 1").test(scope({}))
    assert raised.value.name == "a"


# ---- ages ---------------------------------------------------------------------------------------------------


def test_age_is_the_worse_of_event_time_and_arrival_in_seconds() -> None:
    known = info(age_s=1, received_at=NOW - 12_500_000_000)
    assert program("age(soc)").evaluate(scope({"soc": 1}, {"soc": known})) == 12.5


def test_a_stale_field_has_an_age_but_no_value() -> None:
    inputs = scope({"soc": 20}, {"soc": info(age_s=400, valid_until=NOW - 1)})
    assert program("age(soc) > 5min").test(inputs) is True
    with pytest.raises(Unusable):
        program("age(soc) > 5min and soc < 30").test(inputs)


@pytest.mark.parametrize(
    ("payload", "known"),
    [(payload, known) for reason, payload, known in UNUSABLE if reason not in ("stale", "not valid yet")],
)
def test_what_cannot_be_trusted_has_no_age(payload: dict[str, JSON], known: FieldInfo) -> None:
    """A field from the future would have the age 0: as fresh as can be."""
    with pytest.raises(Unusable):
        program("age(soc) < 90s").test(scope(payload, {"soc": known}))


# ---- scopes ---------------------------------------------------------------------------------------------------


def test_without_field_infos_the_message_speaks_for_its_fields() -> None:
    whole = Message(payload={"soc": 20}, at=NOW, received_at=NOW, source="mqtt", quality="uncertain")
    with pytest.raises(Unusable, match="uncertain"):
        program("soc < 30").test(RecordScope(whole, NOW, VIENNA))


@pytest.mark.parametrize("payload", [None, [1], {"value": [1]}, math.nan, {}, {"value": None}])
def test_a_payload_that_is_no_single_value_is_refused(payload: JSON) -> None:
    with pytest.raises(Unusable):
        program("value < 30").test(scope(payload))


def test_a_scalar_payload_has_no_other_names() -> None:
    with pytest.raises(Unusable, match="soc is missing"):
        program("soc < 30").test(scope(20))


class Careless:
    """A scope that lets everything through: the program judges again."""

    zone = ZoneInfo("UTC")

    def __init__(self, given: JSON) -> None:
        self.given = given

    def value(self, name: str) -> JSON:
        return self.given

    def age(self, name: str) -> float:
        return float(self.given)

    def now(self) -> int:
        return NOW


class Disguised(float):
    """Compares as it likes."""

    def __lt__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("given", [math.nan, math.inf, None, [], {}, b"", 1j, Disguised(99)])
@pytest.mark.parametrize("text", ["x < 30", "x == y", "x", "true or x < 30"])
def test_a_careless_scope_does_not_open_the_door(given: JSON, text: str) -> None:
    with pytest.raises((Unusable, EvaluationError)):
        program(text).evaluate(Careless(given))


def test_a_careless_age_does_not_open_the_door() -> None:
    with pytest.raises(Unusable):
        program("age(x) < 30").evaluate(Careless(math.nan))


def test_the_message_is_left_as_it_was() -> None:
    sent = message({"soc": 20})
    rule: Program = program("soc < 30")
    rule.explain(RecordScope(sent, NOW, VIENNA))
    assert sent == message({"soc": 20})
