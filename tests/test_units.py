"""Quantities, instants, units and scaling: exact, or refused with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.units import (
    DURATION_UNITS,
    SECOND,
    Duration,
    Rate,
    Size,
    convert,
    from_datetime,
    iso,
    parse_instant,
    scaled,
    scaling,
    to_datetime,
)

INT64 = st.integers(-(1 << 63), (1 << 64) - 1)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0), ("250ms", 250_000_000), ("30s", 30 * SECOND), ("30 s", 30 * SECOND), ("1.5h", 5400 * SECOND),
        ("5min", 300 * SECOND), ("90d", 90 * 86400 * SECOND), ("0.001ms", 1000), ("0.1s", 100_000_000),
    ],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert Duration.parse(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "s",
        "-5s",
        "+5s",
        "5 minutes",
        "5m",
        "1e3s",
        "5S",
        "1.s",
        ".5s",
        "٣s",
        "5s\n6s",
        "5  s",
        "9" * 50 + "s",
    ],
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number with ms, s, min, h or d"):
        Duration.parse(text)


@given(st.integers(0, 10**9), st.sampled_from(sorted(DURATION_UNITS)))
def test_a_duration_reads_what_it_writes(number: int, unit: str) -> None:
    duration = Duration.parse(f"{number}{unit}")
    assert duration == number * DURATION_UNITS[unit]
    assert Duration.parse(str(duration)) == duration


@given(st.decimals(0, 10**6, places=3), st.sampled_from(["s", "min", "h", "d"]))
def test_a_fraction_of_a_unit_is_exact(number: Decimal, unit: str) -> None:
    assert Duration.parse(f"{number}{unit}") == number * DURATION_UNITS[unit]


@pytest.mark.parametrize(("text", "per_second"), [("10/s", 10.0), ("600/min", 10.0), ("7200/h", 2.0), (" 1/s ", 1.0)])
def test_rates(text: str, per_second: float) -> None:
    assert Rate.parse(text) == per_second
    assert str(Rate.parse(text)) == text.strip()


@pytest.mark.parametrize("text", ["", "10", "0/s", "1.5/s", "-1/s", "10/d", "10 /s", "/s", "9" * 50 + "/s"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate; write a whole number per s, min or h"):
        Rate.parse(text)


@pytest.mark.parametrize(("text", "size"), [("0B", 0), ("64kB", 64000), ("64 KiB", 65536), ("1MB", 10**6)])
def test_sizes(text: str, size: int) -> None:
    assert Size.parse(text) == size
    assert str(Size.parse(text)) == text


@pytest.mark.parametrize("text", ["", "64", "64K", "64kb", "1.5MB", "-1B", "1GB", "64  kB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write a whole number with B, kB, MB, KiB or MiB"):
        Size.parse(text)


# ---- instants -------------------------------------------------------------------------------------------


def test_iso_is_utc_with_milliseconds() -> None:
    assert iso(parse_instant("2025-01-25T21:30:00+01:00")) == "2025-01-25T20:30:00.000Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_999_999) == "1970-01-01T00:00:00.001Z"  # cut, not rounded: never later than it was


@given(st.integers(-(1 << 70), 1 << 70))
def test_iso_says_something_of_every_number(instant: int) -> None:
    text = iso(instant)
    assert len(text) == 24
    if 0 <= instant < 253_402_300_799 * SECOND:
        assert 0 <= instant - parse_instant(text) < 1_000_000


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1)),
    st.sampled_from(["UTC", "Europe/Vienna", "Asia/Kathmandu"]),
)
def test_an_instant_is_the_same_in_every_zone(moment: datetime, zone: str) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert from_datetime(aware.astimezone(ZoneInfo(zone))) == from_datetime(aware)
    assert to_datetime(from_datetime(aware)) == aware


@pytest.mark.parametrize("text", ["", "yesterday", "2025-01-25T20:30:00", "2025-13-01T00:00:00Z", "1700000000"])
def test_no_instants(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no time zone|is not a time; write it like 2025-01-25T20:30:00Z"):
        parse_instant(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_beyond_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_instant(text)


# ---- physical units -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (2500, "kW", "MW", 2.5), (-50.1, "kW", "MW", -0.0501), (0.755, "1", "%", 75.5), (75.5, "%", "percent", 75.5),
        (82.94, "°F", "°C", 28.3), (28.3, "degC", "°C", 28.3), (301.45, "K", "C", 28.3), (6, "ct/kWh", "EUR/MWh", 60.0),
        (49987, "mHz", "Hz", 49.987), (3, "furlong", "furlong", 3),
    ],
)  # fmt: skip
def test_units_are_converted_as_a_person_does_it(value: float, unit: str, to: str, expected: float) -> None:
    assert convert(value, unit, to) == expected


@pytest.mark.parametrize(
    ("unit", "to"), [("kW", "%"), ("kW", "kWh"), ("furlong", "V"), ("", "%"), ("kw", "MW"), ("K", "W")]
)
def test_what_is_not_the_same_quantity_is_refused(unit: str, to: str) -> None:
    with pytest.raises(ValueError, match="cannot turn"):
        convert(1, unit, to)


@given(st.integers(-(10**9), 10**9))
def test_there_and_back(value: int) -> None:
    assert convert(convert(value, "kW", "MW"), "MW", "kW") == value
    assert convert(convert(value, "°C", "K"), "K", "°C") == value


# ---- scaling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "factor", "offset", "expected"),
    [(283, 0.1, 0, 28.3), (7500, 0.01, 0, 75.0), (2500, 0.001, 0, 2.5), (-50, 0.1, 0, -5.0), (3, 0.1, 0.2, 0.5)],
)
def test_scaling_is_decimal(value: float, factor: float, offset: float, expected: float) -> None:
    assert scaled(value, factor, offset) == expected


@given(INT64, st.integers(-(10**6), 10**6), INT64)
def test_whole_numbers_stay_exact(value: int, factor: int, offset: int) -> None:
    result = scaled(value, factor, offset)
    assert isinstance(result, int)
    assert result == value * factor + offset


@given(INT64)
def test_a_factor_of_one_changes_nothing(value: int) -> None:
    assert scaled(value, 1.0, 0.0) == value
    assert scaled(value) == value


@given(INT64, st.decimals(-1000, 1000, places=4), st.decimals(-1000, 1000, places=4))
def test_the_nearest_float_of_the_exact_result(value: int, factor: Decimal, offset: Decimal) -> None:
    exact = Fraction(value) * Fraction(factor) + Fraction(offset)
    assert scaled(value, float(factor), float(offset)) == exact.numerator / exact.denominator


@given(
    st.one_of(
        st.integers(-(10**20), 10**20), st.floats(-1e300, 1e300), st.floats(-1000, 1000).map(lambda x: round(x, 2))
    ),
    st.one_of(st.integers(-5000, 5000), st.sampled_from([0.1, 0.01, 1e-9, 1.0, 2.0, 1 / 3, 1e20, -0.5, 123456789.123])),
    st.one_of(st.integers(-300, 300), st.sampled_from([0.0, -0.0, -273.15, 0.5, 1e20, 1e-17])),
)
def test_scaling_many_values_is_exactly_scaling_each(value: float, factor: float, offset: float) -> None:
    assert repr(scaling(factor, offset)(value)) == repr(scaled(value, factor, offset))
