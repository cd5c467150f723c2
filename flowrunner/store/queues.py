"""The rows of durable inboxes: what waits for a node, in the order in which it came."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from flowrunner.message import Instant

Place = tuple[str, str]
"""Flow and node."""


class Waiting(msgspec.Struct, frozen=True):
    """One entry of an inbox. ``seq`` counts up in each inbox; ``at`` is when it came in; ``message`` is its JSON."""

    seq: int
    at: Instant
    wire: str
    message: bytes


class QueueChanges(msgspec.Struct, frozen=True):
    """What came into an inbox and what is done with, since the last commit."""

    flow: str
    node: str
    added: list[Waiting]
    removed: list[int]


def read_waiting(connection: sqlite3.Connection, flow: str, node: str) -> list[Waiting]:
    """In order."""
    rows = connection.execute(
        "SELECT seq, at, wire, message FROM inbox WHERE flow = ? AND node = ? ORDER BY seq", (flow, node)
    )
    return [Waiting(*row) for row in rows]


def count_waiting(connection: sqlite3.Connection) -> dict[str, int]:
    """By ``flow/node``, of those that have any."""
    rows = connection.execute("SELECT flow, node, count(*) FROM inbox GROUP BY flow, node")
    return {f"{flow}/{node}": count for flow, node, count in rows}


def write_waiting(connection: sqlite3.Connection, flow: str, node: str, rows: Iterable[Waiting]) -> None:
    """Within a transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO inbox (flow, node, seq, at, wire, message) VALUES (?, ?, ?, ?, ?, ?)",
        [(flow, node, one.seq, one.at, one.wire, one.message) for one in rows],
    )


def move_waiting(connection: sqlite3.Connection, old: Place, new: Place) -> None:
    """Within a transaction. Nothing is there under the new name; a row that is stays, and so does the one that was to
    come."""
    connection.execute("UPDATE OR IGNORE inbox SET flow = ?, node = ? WHERE flow = ? AND node = ?", (*new, *old))


def delete_waiting(connection: sqlite3.Connection, flow: str, node: str, seqs: Iterable[int]) -> None:
    """Within a transaction."""
    connection.executemany(
        "DELETE FROM inbox WHERE flow = ? AND node = ? AND seq = ?", [(flow, node, seq) for seq in seqs]
    )
