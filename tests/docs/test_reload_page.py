"""docs/reload.md: what it shows is what is said, and its tables name what there is."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowrunner.cli import main
from flowrunner.reading import MAX_BYTES
from flowrunner.reloading import SLOW_S
from flowrunner.running import BAD_FLOW, FAILED, GRACE_S, OK
from flowrunner.shown import Result
from flowrunner.watching import SETTLE_S, SUSPICIOUS_S
from flowrunner.web.reload import STATUS
from flowrunner.web.server import STOP_S
from tests.web.site import site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reload.md").read_text("utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")


def rows(head: str) -> dict[str, list[str]]:
    """A table by its first column, without code marks."""
    lines = PAGE.partition(f"| {head} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]
    return {first.strip("` "): rest for first, *rest in cells}


def test_every_result_is_explained_with_its_status() -> None:
    assert {name: int(rest[-1]) for name, rest in rows("result").items()} == STATUS
    assert set(STATUS) == set(get_args(Result))


def test_every_exit_code_is_told() -> None:
    usage = 2
    assert [int(code) for code in rows("exit code of `flowrunner run`")] == [OK, FAILED, usage, BAD_FLOW]


@pytest.mark.anyio
async def test_the_log_looks_as_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    flow = """
flow: site
nodes:
  a: {type: scale, from: tick, factor: 1}
  tick: {type: inject, every: 1h, payload: 1}
"""
    file = tmp_path / "site.yaml"
    more = flow.replace("factor: 1", "factor: 2") + "  b: {type: log, from: a}\n"
    caplog.set_level(logging.INFO, "flowrunner.reload")
    async with site(flow, folder=tmp_path, speed=1000.0) as web:
        for text in (more, more.replace("factor: 2", "factor: two"), more):
            file.write_text(text)
            await web.http.post("/api/v1/reload")
    said = [f"{one.levelname} {one.getMessage()}" for one in caplog.records if one.name == "flowrunner.reload"]
    shown = dedent(PAGE.partition("## What came of it\n\n")[2].partition("\n\n|")[0]).splitlines()
    assert [re.sub(r"in \S+ s:", "in N s:", one.replace(str(file), "flows/site.yaml")) for one in said] == [
        re.sub(r"in \S+ s:", "in N s:", one) for one in shown
    ]


@pytest.mark.anyio
async def test_the_metrics_are_there() -> None:
    async with site() as web:
        text = (await web.http.get("/metrics")).text
    there = {one.name for family in text_string_to_metric_families(text) for one in family.samples}
    named = set(rows("metric"))
    assert named == {name for name in there if "reload" in name or "loaded" in name or "generation" in name}


def test_the_options_are_those_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"`(--[a-z-]+)", PAGE))
    assert {"--no-watch", "--grace"} <= named <= known


def test_the_times_are_those_of_the_code() -> None:
    assert f"not changed for {SETTLE_S * 1000:g} ms" in PAGE
    assert SUSPICIOUS_S == 0.5
    assert f"larger than {MAX_BYTES / 1e6:g} MB" in PAGE
    assert f"longer than {SLOW_S:g} s (" in PAGE
    assert f"({STOP_S} s at most)" in PAGE
    assert f"({GRACE_S:g} s unless told)" in PAGE
    assert re.findall(r"stop_grace_period: (\w+)", COMPOSE)[:1] == ["45s"]
    assert "45 s fit the\nusual 5 s" in PAGE
