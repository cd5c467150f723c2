"""The short way through an expression: what it gives is what the long way gives, and else it gives nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.expression import EvaluationError, RecordScope, Trace, Unusable
from flowrunner.expression.quick import never
from flowrunner.message import FieldInfo, Message
from tests.expression.scopes import NOW, VIENNA, info, message, program
from tests.expression.test_expression_fail_closed import UNUSABLE

TEXTS = [
    "soc < 30", "soc < 30 and power >= -1", "not soc < 30 or flag", "flag", "soc", 'side == "BUY"', "soc == power",
    "soc < power", 'side in ["BUY", "SELL"]', "soc not in [1, 2]", "soc + power * 2 - soc / power % 3", "-soc",
    "min(soc, power, 3) + max(soc, 1) - abs(power)", "round(soc, 1) * 1e300", "between(soc, 0, power)", "value * 2",
    "value > 0", "1 + 2", "soc * soc * soc * soc", "true or soc < 1", "limit < soc", "age(soc) < 5min", "hour() < 25",
    "soc / power", "soc != power and flag == true", 'side < "C"', "soc - soc - soc - soc", "soc < power < 3",
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**300), 2**300),
    st.floats(),
    st.sampled_from([0, 0.0, -0.0, 1e77, 1.1e77, 1e308]),
)
VALUES = st.one_of(NUMBERS, st.sampled_from(["BUY", "", "20", True, False, None, [1], {"a": 1}]))
TIMES = st.sampled_from([NOW - 10**12, NOW - 1, NOW, NOW + 1, NOW + 5 * 10**9, NOW + 5 * 10**9 + 1, NOW + 10**12])
INFOS = st.builds(
    FieldInfo, at=TIMES, received_at=TIMES, source=st.just("meter"),
    quality=st.sampled_from(["good", "good", "good", "uncertain", "bad"]),
    valid_from=st.one_of(st.none(), TIMES), valid_until=st.one_of(st.none(), TIMES),
)  # fmt: skip
NAMES = ["soc", "power", "flag", "side", "value"]
MESSAGES = st.builds(
    Message, payload=st.one_of(st.dictionaries(st.sampled_from(NAMES), VALUES), VALUES), at=TIMES, received_at=TIMES,
    source=st.just("meter"), quality=st.sampled_from(["good", "good", "uncertain", "bad"]),
    fields=st.one_of(st.none(), st.dictionaries(st.sampled_from(NAMES), INFOS)),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(TEXTS), MESSAGES)
def test_the_short_way_never_says_anything_else(text: str, one: Message) -> None:
    made = program(text, {"limit": 7})
    scope = RecordScope(one, NOW, VIENNA)
    short = made.quick(one, NOW)
    try:
        long = made.evaluate(scope)
    except (Unusable, EvaluationError):
        assert short is None
        return
    assert short is None or (type(short), repr(short)) == (type(long), repr(long))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), MESSAGES)
def test_a_trace_is_the_same_by_both_ways(text: str, one: Message) -> None:
    class Elsewhere(RecordScope):
        """Of another type: it is asked by the long way."""

    def spelled(trace: Trace) -> str:  # by repr: 1 and true are equal, and NaN is not
        return repr(trace)

    made = program(text, {"limit": 7})
    assert spelled(made.explain(RecordScope(one, NOW, VIENNA))) == spelled(made.explain(Elsewhere(one, NOW, VIENNA)))


@pytest.mark.parametrize(
    ("text", "payload", "result"),
    [
        ("soc < 30 and power <= 0", {"soc": 20, "power": -1.5}, True),
        ("soc + power * 2", {"soc": 20, "power": 1.5}, 23.0),
        ('side == "BUY"', {"side": "BUY"}, True),
        ("value * 2", 21, 42),
        ("flag", {"flag": False}, False),
    ],
)
def test_what_is_plainly_good_goes_by_the_short_way(text: str, payload: object, result: object) -> None:
    assert program(text).quick(message(payload), NOW) == result
    if isinstance(payload, dict):
        known = {name: info(valid_until=NOW + 1, valid_from=NOW) for name in payload}
        assert program(text).quick(message(payload, known), NOW) == result


@pytest.mark.parametrize(("reason", "payload", "known"), UNUSABLE, ids=[row[0] for row in UNUSABLE])
def test_what_is_not_to_be_used_never_does(reason: str, payload: dict[str, object], known: FieldInfo) -> None:
    assert program("true or soc < 30").quick(message(payload, {"soc": known}), NOW) is None, reason


def test_who_watches_sees_all_and_the_clock_is_asked_the_long_way() -> None:
    seen: list[Trace] = []
    assert program("soc < 30").watched(lambda trace, scope: seen.append(trace)).quick is never
    assert program("hour() < 25").quick is never
    assert program("age(soc) < 5min").quick is never
    assert program(" + ".join(["soc"] * 60)).quick is never


def test_an_overflow_and_a_division_by_zero_are_told_by_the_long_way() -> None:
    for text in ("soc * 1e300 * 1e300", "soc / zero > 1", "soc % zero"):
        made, inputs = program(text), message({"soc": 1.0, "zero": 0})
        if "zero" not in text:
            inputs = message({"soc": 1e10})
        assert made.quick(inputs, NOW) is None
        with pytest.raises(EvaluationError):
            made.evaluate(RecordScope(inputs, NOW, VIENNA))
    assert program("soc < 1").quick(message({"soc": math.nan}), NOW) is None
