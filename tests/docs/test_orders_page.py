"""docs/orders.md names tests as its witnesses: they must be there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from flowrunner.orders import State

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "orders.md").read_text("utf-8")
WITNESSES = sorted(set(re.findall(r"`((?:[a-z_]+/)*test_[a-z_]+\.py)(?:::(test_[a-z0-9_]+))?`", PAGE)))


def test_there_are_witnesses() -> None:
    assert len(WITNESSES) > 20


@pytest.mark.parametrize(("file", "name"), WITNESSES)
def test_each_witness_is_there(file: str, name: str) -> None:
    source = (ROOT / "tests" / file).read_text("utf-8")
    assert re.search(rf"^(async )?def {name}\(" if name else r"^(async )?def test_", source, re.MULTILINE)


def test_every_state_is_explained() -> None:
    assert [state for state in get_args(State) if f"`{state}`" not in PAGE] == []
