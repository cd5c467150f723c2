"""One folder for each way in which a person gets a flow wrong, with exactly what is said about it.

A case is a folder under ``tests/cases``: ``flow.yaml``, further ``*.yaml`` files, ``env`` (NAME=value lines) and
``nodes/`` where it needs them, and ``problems.txt``. A new one needs no code: write the flow, run
``python -m tests.bless``, and read what it says with the eyes of its author.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests import bless

NO_PROBLEM = {
    "anchors",
    "dashboard-good",
    "disabled-and-preferred",
    "everything-disabled",
    "good",
    "merge-keys",
    "other-flow",
    "own-node-type",
    "secret",
    "substitutions",
}
KEYS = ["file", "line", "column", "path", "code", "severity", "message", "hint"]


@pytest.mark.parametrize("folder", bless.cases(), ids=lambda folder: folder.name)
def test_a_case_says_what_it_should(folder: Path) -> None:
    golden = folder / "problems.txt"
    assert golden.is_file(), f"{golden.relative_to(Path.cwd())} is missing; {bless.HOW}"
    checked = bless.check(folder)
    assert bless.problems(checked) == golden.read_text(encoding="utf-8"), bless.HOW
    assert (folder.name in NO_PROBLEM) == (not checked.problems)
    assert (checked.graph is None) == any(one.severity == "error" for one in checked.problems)

    places = [(one.file, one.line, one.column) for one in checked.problems]
    assert places == sorted(places)
    for one in checked.problems:
        assert list(msgspec.to_builtins(one)) == KEYS
        assert one.code
        assert one.message
        lines = (folder / one.file).read_text("utf-8", errors="replace").splitlines() or [""]
        at_end = (len(lines) + 1, 1)  # what is not closed ends with the file
        assert (one.line, one.column) == at_end or one.column <= len(lines[one.line - 1]) + 1


def test_there_is_a_case_for_every_kind_of_problem() -> None:
    codes = {one.code for folder in bless.cases() for one in bless.check(folder).problems}
    assert {
        "broken-type", "claim", "contradiction", "cycle", "disabled-input", "disabled-node",
        "disabled-tile", "duplicate-flow",
        "duplicate-input", "duplicate-key", "empty", "encoding", "expression-syntax", "expression-unknown-name",
        "missing-input", "missing-option", "missing-variable", "name", "node-id", "number", "range", "secret",
        "substitution", "syntax", "tab", "tag", "template", "timezone", "type", "unit", "unknown-field", "unknown-flow",
        "unknown-input", "unknown-node", "unknown-option", "unknown-port", "unknown-tile", "unknown-type",
        "unquoted-expression", "unquoted-substitution", "value", "wrong-node",
    } <= codes  # fmt: skip


def test_what_nodes_prints() -> None:
    """``flowrunner nodes`` and ``flowrunner nodes TYPE``."""
    assert {file: file.read_text("utf-8") for file in bless.REFERENCE.glob("*.txt")} == bless.told(), bless.HOW
    for text in bless.told().values():
        assert "``" not in text
        assert max(map(len, text.splitlines())) <= 120


def test_every_case_is_complete() -> None:
    assert {*bless.CASES.iterdir()} == set(bless.cases())
    assert set(bless.CASES.glob("*/problems.txt")) == {folder / "problems.txt" for folder in bless.cases()}
