"""docs/performance.md: its table has the figures of ``./x bench``, and what it tells to type can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bench.figure import HEAD
from bench.table import figures

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "performance.md").read_text("utf-8")


def test_the_table_has_every_figure_in_its_order() -> None:
    block = PAGE.split("## The last table")[1].split("```")[1]
    head, *rows = [line for line in block.splitlines() if line.strip()][2:]
    assert head.split() == HEAD.split()
    names = [f"{one.name} [{one.unit}]" if one.unit else one.name for one in figures()]
    found = [next((name for name in names if row.startswith(f"{name} ")), row) for row in rows]
    assert found == names


def test_each_aim_that_is_not_reached_has_its_reason() -> None:
    block, reasons = PAGE.split("## The last table")[1].split("```")[1], PAGE.split("## What is not reached")[1]
    missed = [line for line in block.splitlines() if re.search(r"[≥≤] [\d,.]+ no$", line)]
    assert missed, "then the section can go"
    for row in missed:
        name = re.split(r" \[|  ", row)[0]
        assert f"**{name}**" in reasons, name


def test_what_it_tells_to_type_can_be_typed() -> None:
    options = set(re.findall(r"^\./x bench (--.+?)(?:  |$)", PAGE, re.MULTILINE))
    assert len(options) >= 4
    helped = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "run.py"), "--help"], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    for words in options:
        for option in re.findall(r"--\w+", words):
            assert option in helped
