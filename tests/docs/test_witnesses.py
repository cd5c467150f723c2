"""What pages of docs/ name as shown by a test: each of those tests is there, and each claim has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {file.stem: file.read_text("utf-8") for file in sorted((ROOT / "docs").glob("*.md"))}
WITNESS = re.compile(r"`((?:[a-z_]+/)*test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`")
"""A file of tests/, or one test of it."""
CLAIMS = re.compile(r"^\|.*\| shown by \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
"""The rows of a table whose last column says what shows the rest of the row."""


class Named(NamedTuple):
    """What a page names: else a table that is written otherwise would pass by not being seen."""

    witnesses: int
    """More than so many."""
    claims: int
    """Rows in its tables, more than so many."""
    one_by_one: bool = False
    """Each by its name, never a file as a whole."""


PAGES = {
    "dashboard": Named(15, 10, one_by_one=True),
    "faults": Named(25, 20),
    "live": Named(20, 15, one_by_one=True),
    "orders": Named(20, 10),
    "queues": Named(10, 5),
    "web": Named(15, 10, one_by_one=True),
}
WITNESSES = sorted({(page, *found) for page in PAGES for found in WITNESS.findall(TEXTS[page])})


def test_every_page_that_names_tests_is_looked_at() -> None:
    assert {page for page, text in TEXTS.items() if "test_" in text} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_there_are_witnesses(page: str) -> None:
    found = [name for of, _, name in WITNESSES if of == page]
    assert len(found) > PAGES[page].witnesses
    assert all(found) or not PAGES[page].one_by_one
    said = re.findall(r"test_\w+\.py", TEXTS[page])
    assert len(said) == len(WITNESS.findall(TEXTS[page]))  # none is written in another way, and not seen


@pytest.mark.parametrize(("page", "file", "name"), WITNESSES)
def test_each_witness_is_there(page: str, file: str, name: str) -> None:
    source = (ROOT / "tests" / file).read_text("utf-8")
    assert re.search(rf"^(async )?def {name}\(" if name else r"^(async )?def test_", source, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_each_claim_has_its_witness(page: str) -> None:
    claims = 0
    for table in CLAIMS.findall(TEXTS[page]):
        shown = [row.removesuffix(" |").rpartition(" | ")[2] for row in table.splitlines()]
        assert [row for row, by in zip(table.splitlines(), shown, strict=True) if not witnessed(by)] == []
        assert witnessed(shown[0]) != "the same"
        claims += len(shown)
    assert claims > PAGES[page].claims


def witnessed(shown_by: str) -> str:
    """The witness in a cell, or "the same" as in the row above; ``""``: none."""
    found = re.match("the same", shown_by) or WITNESS.search(shown_by)
    return found[0] if found else ""
