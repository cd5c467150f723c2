"""One folder for each replay: its arguments, the files that it needs, and exactly what the program says.

A case is a folder under ``tests/replay/cases``: ``arguments`` (one to a line), the files that they name, ``env``
(NAME=value lines) where it needs some, and ``output.txt`` or, where it ends otherwise, ``error.txt`` with its exit code
in the first line. A new one needs no code: write the arguments, run ``python -m tests.replay.test_replay_cases``, and
read what it says.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from flowrunner.cli import main

CASES = Path(__file__).with_name("cases")
FOLDERS = sorted(one for one in CASES.iterdir() if one.is_dir())


def said(folder: Path) -> tuple[str, str]:
    """The name of the golden file, and what belongs in it."""
    arguments = (folder / "arguments").read_text("utf-8").splitlines()
    if (folder / "env").exists():
        arguments += ["--env-file", "env"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["replay", *arguments])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
    if code == 0:
        assert err.getvalue() == ""
        return "output.txt", out.getvalue()
    assert out.getvalue() == ""
    return "error.txt", f"{code}\n{err.getvalue()}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_case_says_what_it_should(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    name, text = said(folder)
    assert sorted(one.name for one in folder.glob("*.txt")) == [name]
    assert text == (folder / name).read_text("utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    for one in FOLDERS:
        golden, found = said(one)
        for old in one.glob("*.txt"):
            old.unlink()
        (one / golden).write_text(found, encoding="utf-8")
