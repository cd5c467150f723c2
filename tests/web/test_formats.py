"""Figures, times and ages: one table, said by Python and by the browser's script, and both say the same of anything."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.units import from_datetime, parse_instant
from flowrunner.web.pages import formats
from tests.editors.installed import NODE

SCRIPT = Path(__file__).resolve().parents[2] / "flowrunner" / "web" / "static" / "format.js"
VIENNA, NAMES = "Europe/Vienna", ("number", "clock", "day", "moment", "duration", "age")
SPRING, AUTUMN = "2026-03-29T03:00:00+02:00", "2026-10-25T02:30:00+01:00"
EVENING = "2026-11-23T21:04:05.999+01:00"

Case = tuple[str, list[Any], str]


def at(text: str) -> int:
    return parse_instant(text)


CASES: list[Case] = [
    ("number", [4812.5, "de", 1], "4.812,5"),
    ("number", [4812.5, "en", 1], "4,812.5"),
    ("number", [4812.5, "de", None], "4.812,5"),
    ("number", [-1234567.125, "de", 2], "−1.234.567,13"),
    ("number", [-1234567.125, "en", 2], "−1,234,567.13"),
    ("number", [0.125, "en", 2], "0.13"),
    ("number", [2.5, "en", 0], "3"),
    ("number", [-2.5, "en", 0], "−3"),
    ("number", [1.005, "en", 2], "1.00"),  # it is a little less than it looks
    ("number", [-0.04, "de", 1], "0,0"),
    ("number", [-0.0, "de", None], "0"),
    ("number", [0, "de", 2], "0,00"),
    ("number", [28.300000000000001, "de", None], "28,3"),
    ("number", [0.1 + 0.2, "en", None], "0.3"),
    ("number", [100, "en", None], "100"),
    ("number", [999999.999, "en", 2], "1,000,000.00"),
    ("number", [1e-7, "en", None], "1e−7"),
    ("number", [-1.5e-9, "de", None], "−1,5e−9"),
    ("number", [1e-7, "en", 3], "0.000"),
    ("number", [1.5e21, "de", None], "1,5e21"),
    ("number", [1.5e21, "de", 2], "1,5e21"),
    ("number", [123456789012345.0, "en", None], "123,456,789,012,000"),
    ("number", [None, "de", 2], "–"),
    ("clock", [at(EVENING), VIENNA, "de"], "21:04"),
    ("clock", [at(EVENING), "UTC", "de"], "20:04"),
    ("clock", [at(SPRING) - 1, VIENNA, "en"], "01:59"),
    ("clock", [at(SPRING), VIENNA, "en"], "03:00"),
    ("clock", [at(AUTUMN), VIENNA, "de"], "02:30"),
    ("clock", [at("2026-01-01T00:00:00+01:00"), VIENNA, "de"], "00:00"),
    ("day", [at(EVENING), VIENNA, "de"], "23. Nov. 2026"),
    ("day", [at(EVENING), VIENNA, "en"], "23 Nov 2026"),
    ("day", [at("2026-03-31T23:30:00Z"), VIENNA, "de"], "1. Apr. 2026"),
    ("moment", [at(EVENING), VIENNA, "de"], "23. Nov. 2026, 21:04:05"),
    ("moment", [at(SPRING), VIENNA, "en"], "29 Mar 2026, 03:00:00"),
    ("duration", [0, "de"], "0,0 s"),
    ("duration", [0.89, "de"], "0,8 s"),
    ("duration", [9.99, "en"], "9.9 s"),
    ("duration", [10, "en"], "10 s"),
    ("duration", [119.9, "en"], "119 s"),
    ("duration", [120, "en"], "2 min"),
    ("duration", [3599, "de"], "59 min"),
    ("duration", [3660, "de"], "1 h 01 min"),
    ("duration", [10860, "de"], "3 h 01 min"),
    ("duration", [86400, "de"], "24 h 00 min"),
    ("duration", [2 * 86400 + 4 * 3600, "de"], "2 d 04 h"),
    ("duration", [1234 * 86400, "de"], "1.234 d 00 h"),
    ("duration", [-5, "de"], "0,0 s"),
    ("age", [0.8, "de"], "vor 0,8 s"),
    ("age", [47, "de"], "vor 47 s"),
    ("age", [47, "en"], "47 s ago"),
    ("age", [185, "de"], "vor 3 min"),
    ("age", [-0.5, "de"], "vor 0,0 s"),
    ("age", [-90, "de"], "in 90 s"),
    ("age", [-90, "en"], "in 90 s"),
]


def in_python(name: str, given: Sequence[Any]) -> str:
    told: str = getattr(formats, name)(*given)
    return told


def in_script(calls: Sequence[tuple[str, Sequence[Any]]]) -> list[str]:
    """What the script says of all of these; instants in milliseconds, cut as ``Date`` has them."""
    cut = [[name, [given[0] // 1_000_000, *given[1:]] if name in ("clock", "day", "moment") else given]
           for name, given in calls]  # fmt: skip
    code = (
        f"import * as format from {json.dumps(SCRIPT.as_uri())};\n"
        "let text = ''; for await (const part of process.stdin) text += part;\n"
        "console.log(JSON.stringify(JSON.parse(text).map(([name, given]) => format[name](...given))))"
    )
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code], input=json.dumps(cut), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: list[str] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(("name", "given", "said"), CASES)
def test_python_says(name: str, given: list[Any], said: str) -> None:
    assert in_python(name, given) == said


def test_the_script_says_the_same() -> None:
    told = in_script([(name, given) for name, given, _ in CASES])
    assert [(name, given, one) for (name, given, _), one in zip(CASES, told, strict=True)] == CASES


def test_what_is_no_figure_is_a_dash_in_both() -> None:
    assert [formats.number(one, "en") for one in (float("nan"), float("inf"), None)] == ["–", "–", "–"]
    calls: list[tuple[str, list[Any]]] = [("number", ["12", "en"]), ("number", [{}, "en"]), ("number", [True, "en"])]
    assert in_script(calls) == ["–"] * 3


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CALLS = st.one_of(
    st.tuples(st.just("number"), st.tuples(FLOATS | st.floats(-1e6, 1e6) | st.integers(-(2**53), 2**53).map(float),
                                           st.sampled_from(["de", "en"]), st.none() | st.integers(0, 6))),
    st.tuples(st.sampled_from(["duration", "age"]), st.tuples(st.floats(-1e7, 1e7), st.sampled_from(["de", "en"]))),
    st.tuples(st.sampled_from(["clock", "day", "moment"]),
              st.tuples(st.datetimes(timezones=st.timezones(), min_value=datetime(1990, 1, 1),
                                     max_value=datetime(2035, 1, 1)).map(from_datetime),
                        st.sampled_from([VIENNA, "UTC", "Asia/Kolkata", "America/New_York"]),
                        st.sampled_from(["de", "en"]))),
)  # fmt: skip


@settings(max_examples=4, deadline=None)
@given(st.lists(CALLS, min_size=120, max_size=120))
def test_both_say_the_same_of_anything(calls: list[tuple[str, tuple[Any, ...]]]) -> None:
    for (name, values), said in zip(calls, in_script(calls), strict=True):
        assert in_python(name, values) == said, (name, values)


@given(st.floats(-1e15, 1e15), st.integers(0, 6))
def test_a_figure_can_be_read_back(value: float, decimals: int) -> None:
    said = formats.number(value, "de", decimals).replace(".", "").replace(",", ".").replace(formats.MINUS, "-")
    assert abs(float(said) - value) <= 0.5 * 10**-decimals + abs(value) * 1e-15
