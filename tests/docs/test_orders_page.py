"""docs/orders.md explains every state that an order can have."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from flowrunner.orders import State

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "orders.md").read_text("utf-8")


def test_every_state_is_explained() -> None:
    assert [state for state in get_args(State) if f"`{state}`" not in PAGE] == []
