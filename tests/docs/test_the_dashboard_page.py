"""docs/dashboard.md: every tile with its options, the figures of the code, a flow that is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from flowrunner.flowfile.dashboard import SPANS, TILES, ChartSeries, Kind, Tile
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.runtime.counters import MOST_KEYS as KEYS_KEPT
from flowrunner.web.pages.chart_views import AHEAD, HOUR, MOST_KEYS
from flowrunner.web.pages.chart_views import SPANS as PERIODS
from flowrunner.web.pages.dashboard import WORDS
from flowrunner.web.pages.tile_views import MOST_OTHERS
from tests.docs.tables import options, rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "dashboard.md").read_text("utf-8")


def test_every_tile_is_there_with_its_options() -> None:
    found = rows(PAGE, "tile")
    assert set(found) == set(TILES)
    found["power"] = found["value"]
    told = {name: set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", cells[1]))) for name, cells in found.items()}
    own = {name: options(kind) - options(Tile) - {"tile"} for name, kind in TILES.items()}
    own["chart"] |= options(ChartSeries)
    assert told == own
    assert all(f"`{one}`" in PAGE for one in (*options(Tile), *SPANS, *get_args(Kind)))


def test_the_dashboard_that_is_shown_is_one_with_every_tile_that_needs_no_exchange() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert check_flows({"battery.yaml": text}, {}, Registry()).problems == []
    assert {one for one in TILES if f"tile: {one}" in text} == set(TILES) - {"orders"}


def test_every_period_is_told() -> None:
    named = [name for cell in rows(PAGE, "period") for name in cell.split(", ")]
    assert named == [WORDS[f"dashboard.span-{one}"][0] for one in PERIODS]


@pytest.mark.parametrize(
    "words",
    [
        f"{MOST_OTHERS} at most, with its own age",
        f"the {MOST_KEYS} with the newest values",
        f"the newest values of {KEYS_KEPT} keys",
        f"{AHEAD // HOUR} hours at most",
    ],
)
def test_the_figures(words: str) -> None:
    assert words in " ".join(PAGE.split())
