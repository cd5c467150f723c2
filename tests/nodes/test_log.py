"""log: each message is a line, whatever it holds."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flowrunner.errors import BadFlow
from flowrunner.message import JSON
from flowrunner.testing import Rig, run_flow


def lines(caplog: pytest.LogCaptureFixture, options: str, payloads: list[JSON], **more: Any) -> list[str]:
    text = f"""
flow: t
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0, note: text}}}}
  l: {{type: log, from: a{options}}}
"""

    async def story(rig: Rig) -> None:
        for payload in payloads:
            await rig.emit("a", payload, **more)
        assert rig.errors("l") == {}

    with caplog.at_level(logging.DEBUG, logger="flowrunner.log"):
        run_flow(text, story, stubs=["a"])
    return [f"{one.levelname} {one.getMessage()}" for one in caplog.records if one.name == "flowrunner.log"]


def test_each_message_is_one_line_also_equal_ones(caplog: pytest.LogCaptureFixture) -> None:
    found = lines(caplog, "", [{"x": 1}] * 3 + ["text", 5, None, [1]])
    assert found == ['INFO t/l: {"x":1}'] * 3 + [f"INFO t/l: {one}" for one in ("text", 5, "null", "[1]")]
    assert {getattr(one, "node", "") for one in caplog.records if one.name == "flowrunner.log"} == {"t/l"}


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_levels(caplog: pytest.LogCaptureFixture, level: str) -> None:
    assert lines(caplog, f", level: {level}", [1]) == [f"{level.upper()} t/l: 1"]


def test_places_are_filled_and_a_missing_field_is_a_question_mark(caplog: pytest.LogCaptureFixture) -> None:
    options = ', text: "{key} {x} % {y} {topic} {{}} {at}"'
    found = lines(caplog, options, [{"x": 1.5, "y": True}, {"x": 0}, 7], key="north")
    at = "2025-01-25T01:00:00.000Z"
    assert found == [
        f"INFO t/l: north 1.5 % true ? {{}} {at}",
        f"INFO t/l: north 0 % ? ? {{}} {at}",
        f"INFO t/l: north ? % ? ? {{}} {at}",
    ]


def test_text_from_outside_cannot_write_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    forged = "ok\n2025-01-25T01:00:00.000Z ERROR bess/guard: \x1b[2Jall fine\r\u2028"
    (line,) = lines(caplog, ', text: "{note}"', [{"note": forged}])
    assert line == "INFO t/l: ok\\n2025-01-25T01:00:00.000Z ERROR bess/guard: \\x1b[2Jall fine\\r\\u2028"
    assert lines(caplog, ', text: "{note} °C"', [{"note": "grün ≤ 3"}])[-1] == "INFO t/l: grün ≤ 3 °C"


def test_a_very_long_line_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines(caplog, "", ["x" * 1_000_000])
    assert (len(line), line[-1]) == (len("INFO t/l: ") + 2001, "…")


@pytest.mark.parametrize(("text", "complaint"), [("{z}", "no field 'z'"), ("{x", "'{'"), ("}", "'}'")])
def test_mistakes_in_the_file(caplog: pytest.LogCaptureFixture, text: str, complaint: str) -> None:
    with pytest.raises(BadFlow, match=complaint):
        lines(caplog, f', text: "{text}"', [])
