"""The steps of some orders, without what is large of them: one question for a whole page."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import NamedTuple

from flowrunner.message import Instant
from flowrunner.store import Reader, Store


class Step(NamedTuple):
    """One step of an order's life."""

    at: Instant
    state: str
    reason: str


def steps_of(store: Store | Reader, orders: Collection[str]) -> dict[str, list[Step]]:
    """Order → its steps, oldest first. It reads a disk: call it in a thread."""

    def read(sql: sqlite3.Connection) -> dict[str, list[Step]]:
        found: dict[str, list[Step]] = {one: [] for one in orders}
        marks = ", ".join("?" for _ in found)
        query = f"SELECT order_id, at, state, reason FROM order_steps WHERE order_id IN ({marks}) ORDER BY rowid"  # noqa: S608  (question marks)
        for order, *step in sql.execute(query, [*found]):
            found[order].append(Step(*step))
        return found

    return store.read(read)
