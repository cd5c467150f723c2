"""docs/live.md says what the code does: its tables are complete, and its figures right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowrunner.web.live.frame import FIGURES, TEXTS, VALUES
from flowrunner.web.live.hub import FROZEN_S, HZ, MOST_READERS, Hub
from flowrunner.web.live.stream import endpoints
from flowrunner.web.live.strip import STEP_S, STEPS
from flowrunner.web.live.tap import MOST_BYTES, MOST_RATE, MOST_TAPS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "live.md").read_text("utf-8")


def test_each_column_is_there() -> None:
    for name in (*FIGURES, "last_at", "last", "last_error", *VALUES):
        assert f"`{name}`" in PAGE


def test_each_parameter_and_route_is_there() -> None:
    live, strip, then = endpoints(Hub.__new__(Hub), lambda _: True)
    for row in (live, strip, then):
        assert f"`GET {row.path}`" in PAGE
    told = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert told == [one.name for one in live.query]


@pytest.mark.parametrize(
    "words",
    [
        f"at most {MOST_TAPS}, with commas",
        f"at most | {MOST_RATE:g} |",
        f"cut at {MOST_BYTES} bytes",
        f"for {FROZEN_S:g} s | it is dropped",
        f"more than {MOST_READERS} | 503",
        f"for {TEXTS} nodes in each frame",
        f"last {STEP_S * STEPS / 60:g} minutes of a flow in steps of {STEP_S:g} s",
        {10: "ten times a second"}[HZ],
    ],
)
def test_the_figures(words: str) -> None:
    assert words in " ".join(PAGE.split())
