"""The table of ``./x bench``: every figure has its line, beside what it is compared with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figure import Figure, Sample, Shared, line, measured
from bench.node_red import NotAtHand
from bench.table import figures

ROOT = Path(__file__).resolve().parent.parent
LOST = "MQTT messages at QoS 1 lost in five reloads"


def bench(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "--runs", "1", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def missing() -> float:
    raise NotAtHand("npm is not at hand")


@pytest.mark.slow  # it starts the program some dozen times and moves a million messages
def test_every_figure_is_measured() -> None:
    long = ["--without", "10,000", "--without", "that", "--without", "every minute", "--without", "500 Modbus"]
    found = json.loads(bench("--json", "--alone", *long))
    assert len(found) > 30
    assert found.pop(LOST)["value"] == 0
    assert {name for name, one in found.items() if one["value"] is None} <= {"HTTP"}
    assert all(one["value"] > 0 or "lost" in name for name, one in found.items())


def test_no_two_figures_have_one_name() -> None:
    names = [one.name for one in figures()]
    assert len(names) == len(set(names)) > 40
    assert bench("--list", "--only", "MQTT latency").splitlines() == [one for one in names if "MQTT latency" in one]


def test_the_table_has_a_line_for_each_figure_that_was_asked_for() -> None:
    *_, head, last = bench("--only", "python -c").splitlines()
    assert head.split() == ["flowrunner", "low", "to", "high", "CPU", "each", "Node-RED", "CPU", "each", "ratio", "aim"]
    assert last.startswith("python -c '' (for comparison) [ms]  ")


def test_both_sides_take_turns_and_the_ratio_says_how_many_times_better_ours_is() -> None:
    turns: list[str] = []

    def side(name: str, values: list[float]) -> Sample:
        turns.append(name)
        return Sample(values[turns.count(name) - 1], 2.0)

    ours, theirs = [10.0, 30.0, 20.0], [40.0, 80.0, 60.0]
    less = Figure("reload", "ms", lambda: side("a", ours), lambda: side("b", theirs), 20)
    row = measured(less, 3)
    assert turns == ["a", "b"] * 3
    assert row.ours == (20.0, 10.0, 30.0, 2.0)
    assert (row.ratio, row.reached) == (3.0, True)
    assert line(row).split() == [
        "reload",
        "[ms]",
        "20",
        "10",
        "to",
        "30",
        "2.0",
        "us",
        "60",
        "2.0",
        "us",
        "3.0x",
        "≤",
        "20",
        "yes",
    ]
    more = row._replace(figure=less._replace(more=True, aim=21))
    assert more.ratio == pytest.approx(1 / 3)
    assert more.reached is False


def test_what_cannot_be_measured_says_why() -> None:
    figure = Figure("lost by another one", "", missing)
    assert line(measured(figure, 1)).endswith(" not measured, npm is not at hand")
    beside = measured(figure._replace(ours=lambda: 26.0, theirs=missing), 1)
    assert (beside.ours, beside.theirs, beside.ratio) == ((26.0, 26.0, 26.0, 0.0), None, None)
    assert line(beside).endswith(" (Node-RED: npm is not at hand)")


def test_several_figures_of_one_run_are_measured_once() -> None:
    runs: list[int] = []

    def measure() -> int:
        runs.append(len(runs))
        return runs[-1]

    shared = Shared(measure)
    first, second = shared.figure(lambda one: one * 1.0), shared.figure(lambda one: one * 2.0)
    assert [first(), first(), second(), second(), second()] == [0.0, 1.0, 0.0, 2.0, 4.0]
    assert runs == [0, 1, 2]
