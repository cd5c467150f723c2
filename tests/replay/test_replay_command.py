"""``flowrunner replay`` as a person runs it: files, exit codes, a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from flowrunner.cli import main
from tests.peers.program import BESS, ROOT, environment, run
from tests.replay.playing import FLOWS

CYCLE = str(FLOWS / "cycle.yaml")
WEEK = ["--step", "1h", "--from", "2024-05-06", "--to", "2024-05-12"]
KEYS = {
    "errors", "flow", "file", "file_digest", "prices", "credit", "from", "to", "step", "zone", "market",
    "profit_eur", "profit_of_what_flowed_eur", "revenue_eur", "cost_eur", "energy", "battery", "orders", "months",
    "days", "blocked", "rules", "limits", "slots", "telemetry", "silent", "remarks", "series",
}  # fmt: skip


def test_json_to_standard_output_is_all_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", CYCLE, *WEEK, "--json", "-"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert set(found) == KEYS
    assert said.err == ""
    assert found["credit"] == "Bundesnetzagentur | SMARD.de"
    assert set(found["energy"]) == {"bought_mwh", "sold_mwh", "losses_mwh", "stored_change_mwh", "undelivered_mwh"}
    assert {"delivery_start", "delivery_end", "side", "quantity_mwh", "price_eur_mwh", "status"} <= set(
        found["orders"][0]
    )


def test_files_beside_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, page = tmp_path / "week.json", tmp_path / "week.html"
    assert main(["replay", CYCLE, *WEEK, "--json", str(written), "--html", str(page)]) == 0
    out = capsys.readouterr().out
    profit = json.loads(written.read_bytes())["profit_eur"]
    assert "profit" in out.splitlines()[5]
    assert f"{profit:,.2f} EUR" in out
    assert page.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")


def test_the_shipped_flow_tells_why_it_does_so_little(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--from", "2024-02-01", "--to", "2024-02-10", "--step", "15min"]
    assert main(["replay", str(ROOT / BESS), *arguments, "--soc", "50"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "orders: 0" in out
    assert "rule buy wished nothing: `soc_percent < 30` never held." in out
    assert "rule sell wished nothing: `soc_percent > 70`" in out
    assert "the battery stayed at 50.0 %" in out


def test_the_environment_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the battery on Modbus: it speaks as what reads the registers, and nothing is opened."""
    (tmp_path / "env").write_text("BESS_MODBUS_ENABLED=true\nBESS_REST_ENABLED=false\nBESS_TRADING_MODE=live\n")
    week = ["--from", "2024-02-01", "--to", "2024-02-02", "--step", "1min"]
    assert main(["replay", str(ROOT / BESS), *week, "--env-file", str(tmp_path / "env"), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["telemetry"] == {"node": "telemetry", "battery_as": "modbus-units", "recorded": {}}
    assert [one["status"] for one in found["orders"] if one["side"] == "BUY"].count("filled") == 4


def test_on_a_terminal_a_bar_shows_how_far_it_is_and_goes(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    looks = environment({"TERM": "xterm-256color", "COLUMNS": "80"})
    looks = {name: value for name, value in looks.items() if name not in ("NO_COLOR", "CI")}
    command = [sys.executable, "-m", "flowrunner", "replay", CYCLE, "--step", "15min", "--to", "2024-02-15"]
    with subprocess.Popen(command, env=looks, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # how a terminal tells that nobody writes to it any more
            while got := os.read(ours, 65536):
                seen += got
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    shares = [int(one) for one in re.findall(rb"(\d+)%", seen)]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert seen.rstrip().endswith(b"\x1b[2K")  # its line is wiped
    assert b"\x1b" not in out
    assert b"profit" in out


def test_a_bad_flow_ends_with_78(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("flow: bad\nnodes: {a: {type: lg}}\n")
    ended = run("replay", "bad.yaml", cwd=tmp_path)
    checked = run("validate", "bad.yaml", cwd=tmp_path)
    assert ended.returncode == checked.returncode == 78
    assert ended.stderr == checked.stdout + "flowrunner: nothing was started\n"
    assert ended.stdout == ""


def test_what_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", CYCLE, *WEEK, "--json", str(tmp_path)]) == 2
    assert "cannot be written: it is a folder" in capsys.readouterr().err


@pytest.mark.slow  # a year at a minute's step: half a minute on a quiet machine
@pytest.mark.parametrize(("step", "seconds"), [("1min", 60.0), ("1h", 6.0)])
def test_a_year_is_over_soon(step: str, seconds: float, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.process_time()
    assert main(["replay", str(ROOT / BESS), "--step", step]) == 0
    assert time.process_time() - begun < seconds
    assert "366 days" in capsys.readouterr().out


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.json"
    target.write_text("before")
    assert main(["replay", CYCLE, *WEEK, "--from", "1999-01-01", "--json", str(target)]) == 2
    assert target.read_text() == "before"
    assert main(["replay", CYCLE, *WEEK, "--json", str(target)]) == 0
    assert json.loads(target.read_text())["flow"] == "cycle"
    assert [one.name for one in tmp_path.iterdir()] == ["out.json"]
    assert main(["replay", CYCLE, *WEEK, "--json", str(target), "--html", str(target)]) == 2
    assert "both name" in capsys.readouterr().err


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    assert main(["replay", CYCLE, *WEEK, "--json", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()
