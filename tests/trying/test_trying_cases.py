"""One folder for each thing that ``flowrunner test`` can say of a flow and its tests, with exactly what it says.

A case is a folder under ``tests/trying/cases``: ``flow.yaml`` and ``flow.test.yaml``, or others that ``arguments``
names, ``nodes/`` where it needs them, and ``expected.txt``. A new one needs no code: write it, run
``python -m tests.trying.bless``, and read what it says with the eyes of its author.

``passes-…`` end with 0, ``fails-…`` with 1, ``wrong-…`` with 78, ``usage-…`` with 2.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.trying import bless

CODES = {"passes": 0, "fails": 1, "wrong": 78, "usage": 2}
NO_NODE = re.compile(r"^ *(\S+\.yaml):(\d+):(\d+): .*?there is no node '(\w+)'", re.MULTILINE)
MARKED = re.compile(r"^ *(\S+\.yaml):(\d+):(\d+): ", re.MULTILINE)


@pytest.mark.parametrize("folder", bless.cases(), ids=lambda folder: folder.name)
def test_a_case_says_what_it_should(folder: Path) -> None:
    golden = folder / "expected.txt"
    assert golden.is_file(), f"{folder.name} has no expected.txt; {bless.HOW}"
    told = bless.told(folder)
    assert told == golden.read_text(encoding="utf-8"), bless.HOW

    code = int(told.rsplit("exit code ", 1)[1])
    kind = folder.name.partition("-")[0]
    assert code == CODES.get(kind, code)
    assert ("nothing was tested" in told) == (code == 78)
    assert ("FAIL" in told) == (code == 1)
    assert "failed inside" not in told
    for file, line, column in MARKED.findall(told):
        lines = (folder / file).read_text("utf-8", errors="replace").splitlines() or [""]
        assert int(column) <= len(lines[int(line) - 1]) + 1


def test_a_place_is_where_a_person_looks() -> None:
    """Each problem and failure of a case names the line that holds the word it is about."""
    looked = 0
    for folder in bless.cases():
        told = (folder / "expected.txt").read_text(encoding="utf-8")
        for match in NO_NODE.finditer(told):
            file, line, column, word = match.groups()
            text = (folder / file).read_text("utf-8").splitlines()[int(line) - 1]
            assert text[int(column) - 1 :].startswith(word)
            looked += 1
    assert looked >= 8


def test_every_case_is_complete() -> None:
    names = {folder.name.partition("-")[0] for folder in bless.cases()}
    assert names >= set(CODES)
    assert len(bless.cases()) >= 90
    assert set(bless.CASES.glob("*/expected.txt")) == {folder / "expected.txt" for folder in bless.cases()}
