"""scale: exact in decimals, and what is not believable is no value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.errors import BadFlow
from flowrunner.fields import Limits, is_number, outside
from flowrunner.message import JSON, FieldInfo
from flowrunner.testing import Rig, run_flow

UNITS = """
      soc_percent: {factor: 0.01, unit: "%", min: 0, max: 100}
      active_power_mw: {factor: 0.001, unit: MW, min: -20, max: 20}
      temperature_c: {factor: 0.1, unit: °C, min: -40, max: 120}"""
PAYLOAD = "{soc_percent: 0, active_power_mw: 0, temperature_c: 0, count: 0}"


def play(story: Any, options: str, payload: str = PAYLOAD) -> Any:
    text = f"""
flow: t
nodes:
  a: {{type: inject, once: true, payload: {payload}}}
  s:
    type: scale
    from: a
{options}
  errors: {{type: log, from: s.error}}
"""
    return run_flow(text, story, stubs=["a"])


def fields(options: str) -> str:
    return f"    fields:{options}"


def one(options: str) -> str:
    return fields(f" {{x: {{{options}}}}}")


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("soc_percent", 7500, 75.0),
        ("active_power_mw", 2500, 2.5),
        ("temperature_c", 283, 28.3),
        ("active_power_mw", -2500, -2.5),
        ("temperature_c", -50, -5.0),
        ("temperature_c", 400, 40.0),
        ("temperature_c", 401, 40.1),
        ("active_power_mw", 5000, 5.0),
        ("soc_percent", 7001, 70.01),
    ],
)
def test_registers_become_the_number_that_a_person_would_write(field: str, raw: int, value: float) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {field: raw})
        assert rig.payloads("s") == [{field: value}]

    play(story, fields(UNITS))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-(2**31), 2**32), min_size=1, max_size=30),
    st.sampled_from([0.1, 0.01, 0.001, 0.5, 1.02, 3]),
    st.sampled_from([0, -40, 0.5]),
)
def test_every_result_is_the_float_next_to_the_exact_decimal(raws: list[int], factor: float, offset: float) -> None:
    async def story(rig: Rig) -> JSON:
        for raw in raws:
            await rig.emit("a", {"x": raw})
        return [out["x"] for out in rig.payloads("s")]

    exact = [float(Decimal(raw) * Decimal(str(factor)) + Decimal(str(offset))) for raw in raws]
    assert play(story, one(f"factor: {factor}, offset: {offset}"), "{x: 0}") == exact


def test_whole_numbers_stay_exact() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 9920249030613615975})
        (out,) = rig.payloads("s")
        assert out == {"x": 9920249030613615975 * 3 - 1}
        assert isinstance(out["x"], int)

    play(story, one("factor: 3, offset: -1"), "{x: 0}")


@pytest.mark.parametrize(("value", "rounded"), [(2.675, 2.68), (2.665, 2.67), (-2.675, -2.68), (1e300, 1e300), (7, 7)])
def test_rounding_is_half_up_in_decimals(value: float, rounded: float) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": value})
        assert rig.payloads("s") == [{"x": rounded}]

    play(story, one("round: 2"), "{x: 0}")


@pytest.mark.parametrize(
    ("field", "raw", "reason"),
    [
        ("active_power_mw", 63036, "active_power_mw: 63.036 is above 20 MW"),  # 0xF63C read without its sign
        ("active_power_mw", 20001, "active_power_mw: 20.001 is above 20 MW"),
        ("soc_percent", 65535, "soc_percent: 655.35 is above 100 %"),
        ("soc_percent", -1, "soc_percent: -0.01 is below 0 %"),
        ("temperature_c", -32768, "temperature_c: -3276.8 is below -40 °C"),
        ("temperature_c", "283", "temperature_c: '283' is not a finite number"),
        ("temperature_c", True, "temperature_c: True is not a finite number"),
        ("temperature_c", None, "temperature_c: null is no value"),
        ("temperature_c", float("nan"), "temperature_c: nan is not a finite number"),
        ("temperature_c", float("inf"), "temperature_c: inf is not a finite number"),
        ("temperature_c", [283], "temperature_c: [283] is not a finite number"),
    ],
)
def test_what_is_not_believable_is_absent_and_an_error_never_clamped(field: str, raw: JSON, reason: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {field: raw, "count": 7})
        (out,) = rig.out("s")
        assert out.payload == {"count": 7}
        assert (out.info(field).quality, out.info("count").quality) == ("bad", "good")
        assert [error["reason"] for error in rig.payloads("s", "error")] == [reason]
        assert rig.errors("s") == {"not-believed": 1}

    play(story, fields(UNITS))


def test_the_limits_themselves_are_believed() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"soc_percent": 0, "active_power_mw": -20000, "temperature_c": 1200})
        assert rig.payloads("s") == [{"soc_percent": 0.0, "active_power_mw": -20.0, "temperature_c": 120.0}]

    play(story, fields(UNITS))


def test_times_source_and_other_fields_stay_and_the_unit_is_the_new_one() -> None:
    async def story(rig: Rig) -> None:
        info = FieldInfo(at=rig.now - 5, received_at=rig.now - 3, source="modbus", unit="kW", quality="uncertain")
        await rig.emit("a", {"active_power_mw": 2500, "count": 1}, fields={"active_power_mw": info, "count": info})
        (out,) = rig.out("s")
        own = out.info("active_power_mw")
        assert (own.at, own.received_at, own.source, own.quality) == (info.at, info.received_at, "modbus", "uncertain")
        assert (own.unit, out.info("count")) == ("MW", info)

    play(story, fields(UNITS))


def test_what_is_bad_already_stays_bad_and_absent() -> None:
    async def story(rig: Rig) -> None:
        worse = FieldInfo(at=rig.now, received_at=rig.now, source="a", quality="bad")
        await rig.emit("a", {}, fields={"soc_percent": worse})
        await rig.emit("a", {"soc_percent": 7500}, fields={"soc_percent": worse})
        assert rig.payloads("s") == [{}, {}]
        assert [out.info("soc_percent").quality for out in rig.out("s")] == ["bad", "bad"]
        assert rig.errors("s") == {}, "it was said where it began"

    play(story, fields(UNITS))


def test_a_payload_that_is_a_number() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", 283)
        assert rig.payloads("s") == [28.3]
        for payload in ("283", None, True, float("nan"), {"x": 1}, 1e308 * 10):
            await rig.emit("a", payload)
        assert (rig.payloads("s"), rig.errors("s")) == ([28.3], {"not-a-number": 6})

    play(story, "    factor: 0.1", "1")


def test_a_result_that_is_too_large_is_no_value() -> None:
    async def whole(rig: Rig) -> None:
        await rig.emit("a", 1e308)
        assert (rig.out("s"), rig.errors("s")) == ([], {"not-a-number": 1})

    async def field(rig: Rig) -> None:
        await rig.emit("a", {"x": 1e308})
        await rig.emit("a", {"x": 10**400})
        assert (rig.payloads("s"), rig.errors("s")) == ([{}, {}], {"not-believed": 2})

    play(whole, "    factor: 100.5", "1")
    play(field, one("factor: 100.5"), "{x: 0}")


def test_a_huge_text_does_not_get_into_the_error() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": "9" * 100_000})
        assert len(rig.payloads("s", "error")[0]["reason"]) < 100

    play(story, one("factor: 2"), "{x: 0}")


def test_fields_need_a_record() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", 1)
        assert (rig.out("s"), rig.errors("s")) == ([], {"not-a-record": 1})

    play(story, one("factor: 2"), "{x: 0}")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("", "there is nothing to scale"),
        ("    fields: {}", "there is nothing to scale"),
        ("    factor: 0", "times 0 every value would be the same"),
        (one("factor: 0"), "times 0 every value would be the same"),
        (one("min: 5, max: 4"), "min 5 is above max 4"),
        ("    factor: 2\n" + one("factor: 2"), "exclude each other"),
        (fields(" {soc_percnt: {factor: 2}}"), "no field 'soc_percnt' comes in, did you mean 'soc_percent'"),
        (one("factor: .nan"), "not a finite number"),
        (one("factor: two"), "s.fields.x.factor: 'two' is not a"),
    ],
)
def test_mistakes_in_the_file(options: str, complaint: str) -> None:
    payload = PAYLOAD if "soc" in options else "{x: 0}"
    with pytest.raises(BadFlow, match=complaint):
        play(None, options, payload)


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.text(), st.none()))
def test_what_counts_as_a_number(value: JSON) -> None:
    plain = type(value) in (int, float) and value == value and abs(value) <= 1.7976931348623157e308
    assert is_number(value) is plain


@given(st.floats(), st.floats(-100, 100), st.floats(0, 100))
def test_limits_include_their_ends_and_nothing_else(value: float, low: float, width: float) -> None:
    limits = Limits(min=low, max=low + width)
    assert (outside(value, limits) == "") is (low <= value <= low + width)
