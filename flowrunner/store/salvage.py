"""What goes on from a damaged state file into a new one: tables that are sound, and whatever rows of telemetry can
still be read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from flowrunner.store.tables import LIVE_SINCE

SECONDS = 10.0
"""How long it may take; the newest history comes first, and the rest stays in the file that is kept."""
TOGETHER = (("node_version", "node_state"), ("counters",), ("history_keep",), ("alarms",))
"""Each group only if all of it is sound: half of what a node kept is worse than nothing of it."""
ROW_BY_ROW = {
    "users": "name", "keys": "name",  # first: without them a server on loopback would be open to all
    "inbox": "flow, node, seq", "dead_letters": "id", "audit": "id DESC", "history": "id DESC",
}  # fmt: skip
"""Each row stands for itself: table → in which order. Nobody stays logged in."""


def salvage(damaged: Path, into: sqlite3.Connection) -> dict[str, int]:
    """Table → rows taken over. Nothing of a file of another version, and never an order."""
    taken: dict[str, int] = {}
    deadline = time.monotonic() + SECONDS
    try:
        source = read_only(damaged)
    except FileNotFoundError:
        return taken
    try:
        source.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        if _version(source) != _version(into):
            return {}
        tables = {name for (name,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for group in TOGETHER:
            if tables.issuperset(group) and all(_is_sound(source, table) for table in group):
                taken |= {table: _copy(source.execute(f"SELECT * FROM {table}"), table, into) for table in group}  # noqa: S608  (our own names)
        into.execute("DELETE FROM counters WHERE name = ?", (LIVE_SINCE,))  # the new journal has seen none
        for table, order in ROW_BY_ROW.items():
            if table in tables:
                taken[table] = _copy(_readable(source, table, order), table, into)
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return taken  # nothing more can be read; it was said that the file is damaged
    finally:
        source.close()
    return {table: rows for table, rows in taken.items() if rows}


def read_only(file: Path) -> sqlite3.Connection:
    """Closing it neither moves the log into the file nor deletes it. FileNotFoundError where there is not one byte:
    SQLite would delete the log of an empty file, even so."""
    if not file.exists() or not file.stat().st_size:
        raise FileNotFoundError(file)
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0, isolation_level=None)


def _readable(source: sqlite3.Connection, table: str, order: str) -> Iterator[tuple[object, ...]]:
    """From both ends up to what is damaged; a row may come twice."""
    other = ", ".join(f"{one} DESC" for one in order.split(", ")) if not order.endswith(" DESC") else order[:-5]
    for by in (order, other):
        with suppress(sqlite3.DatabaseError):  # it ends here from this side
            yield from source.execute(f"SELECT * FROM {table} ORDER BY {by}")  # noqa: S608  (our own names)
            return


def _copy(rows: Iterator[tuple[object, ...]], table: str, into: sqlite3.Connection) -> int:
    into.execute("BEGIN IMMEDIATE")
    count = 0
    for row in rows:
        marks = ", ".join("?" * len(row))
        with suppress(sqlite3.IntegrityError):  # of a damaged row: what must be there is not
            count += into.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount  # noqa: S608  (our own names)
    into.execute("COMMIT")
    return count


def _is_sound(source: sqlite3.Connection, table: str) -> bool:
    with suppress(sqlite3.DatabaseError):  # so damaged that it cannot even be looked at
        return source.execute(f"PRAGMA integrity_check('{table}')").fetchall() == [("ok",)]
    return False


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)
