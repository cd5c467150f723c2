"""The table of ``./x bench`` is printed, with every figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow  # it starts the program a dozen times and moves 200,000 messages
def test_every_figure_is_measured() -> None:
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--runs", "1", "--json"]
    figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    assert len(figures) == 13
    assert all(one["value"] > 0 for one in figures.values())
