"""docs/replay.md: the names that it calls fixed are there, and its commands are commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flowrunner.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
DAY = ["--from", "2024-06-10", "--to", "2024-06-10", "--step", "15min", "--soc", "80"]


def test_the_fixed_names_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(ROOT / "flows" / "bess.yaml"), *DAY, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == ["profit_eur", "energy", "orders", "months", "blocked"]
    for name, about in rows:
        found = result[name]
        below = found[0] if isinstance(found, list) else found
        assert set(re.findall(r"`(\w+)`", about)) <= set(below if isinstance(below, dict) else ())
    for name in re.findall(r"`(\w+)`", PAGE.partition("Beside them, among others:")[2].partition("\n\n")[0]):
        assert name in result, name


def test_every_option_that_it_names_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    told = capsys.readouterr().out
    options = set(re.findall(r"--[a-z]+", PAGE)) - {"--simulate"}
    assert {"--prices", "--data", "--step", "--site"} <= options
    assert [one for one in options if one not in told] == []
