"""The file and its tables: opening, migrations, and the SQL for node state.

The tables of every room are made here, because a file has one version.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import msgspec

from flowrunner.errors import UsageError

BUSY_SECONDS = 1.0
"""How long a write waits for somebody who holds the file by hand (the sqlite3 shell) before it counts as failed."""

LIVE_SINCE = "journal_live_since_ns"
"""Counter: when orders that count were first asked for with this journal."""

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE node_version (
            flow TEXT NOT NULL, node TEXT NOT NULL, version INTEGER NOT NULL,
            PRIMARY KEY (flow, node)) WITHOUT ROWID""",
        """CREATE TABLE node_state (
            flow TEXT NOT NULL, node TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (flow, node, key)) WITHOUT ROWID""",
        """CREATE TABLE dead_letters (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, flow TEXT NOT NULL, node TEXT NOT NULL,
            code TEXT NOT NULL, reason TEXT NOT NULL, message BLOB NOT NULL)""",
        "CREATE INDEX dead_letters_of_flow ON dead_letters (flow, id)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE orders (
            id TEXT PRIMARY KEY, market TEXT NOT NULL, delivery_start INTEGER NOT NULL, delivery_end INTEGER NOT NULL,
            side TEXT NOT NULL, quantity_mwh REAL NOT NULL, requested_mwh REAL NOT NULL, limited_by TEXT NOT NULL,
            limit_price_eur_mwh REAL, order_type TEXT NOT NULL, time_in_force TEXT NOT NULL, flow TEXT NOT NULL,
            guard TEXT NOT NULL, rule TEXT NOT NULL, state TEXT NOT NULL, mode TEXT NOT NULL,
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, exchange_id TEXT NOT NULL, reason TEXT NOT NULL,
            UNIQUE (market, delivery_start, side))""",
        "CREATE INDEX orders_by_time ON orders (created_at)",
        "CREATE INDEX orders_by_delivery ON orders (market, delivery_end)",
        """CREATE TABLE order_steps (
            order_id TEXT NOT NULL REFERENCES orders (id), at INTEGER NOT NULL, state TEXT NOT NULL,
            reason TEXT NOT NULL, detail BLOB NOT NULL)""",
        "CREATE INDEX order_steps_of_order ON order_steps (order_id)",
        """CREATE TABLE refusals (
            market TEXT NOT NULL, delivery_start INTEGER NOT NULL, side TEXT NOT NULL, flow TEXT NOT NULL,
            guard TEXT NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL, count INTEGER NOT NULL,
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, decision BLOB NOT NULL,
            UNIQUE (market, delivery_start, side, flow, guard, rule, reason))""",
        "CREATE INDEX refusals_by_time ON refusals (updated_at)",
    ),
    (
        """CREATE TABLE history (
            id INTEGER PRIMARY KEY AUTOINCREMENT, stored_at INTEGER NOT NULL, at INTEGER NOT NULL,
            received_at INTEGER NOT NULL, flow TEXT NOT NULL, node TEXT NOT NULL, wire TEXT NOT NULL,
            source TEXT NOT NULL, key TEXT NOT NULL, origin TEXT NOT NULL, quality TEXT NOT NULL,
            payload BLOB NOT NULL, fields BLOB NOT NULL)""",
        "CREATE INDEX history_by_time ON history (at)",
        "CREATE INDEX history_of_node ON history (flow, node, at)",
        "CREATE INDEX history_by_age ON history (flow, node, stored_at)",
        """CREATE TABLE history_keep (
            flow TEXT NOT NULL, node TEXT NOT NULL, keep_ns INTEGER NOT NULL,
            PRIMARY KEY (flow, node)) WITHOUT ROWID""",
        """CREATE TABLE alarms (
            id INTEGER PRIMARY KEY AUTOINCREMENT, flow TEXT NOT NULL, node TEXT NOT NULL, wire TEXT NOT NULL,
            key TEXT NOT NULL, identity TEXT NOT NULL, severity TEXT NOT NULL, text TEXT NOT NULL,
            count INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, acknowledged_at INTEGER,
            acknowledged_by TEXT NOT NULL, UNIQUE (flow, node, wire, key, identity))""",
        "CREATE INDEX alarms_by_time ON alarms (last_at)",
    ),
    (
        # An order of before that nobody had taken when its program ended is never sent, whatever its mode says.
        "UPDATE orders SET mode = 'paper' WHERE mode = ''",
        "ALTER TABLE orders ADD COLUMN good_until INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN open_mwh REAL NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN filled_mwh REAL NOT NULL DEFAULT 0",
        "ALTER TABLE orders ADD COLUMN average_price_eur_mwh REAL",
        "ALTER TABLE orders ADD COLUMN venue TEXT NOT NULL DEFAULT ''",
        "UPDATE orders SET open_mwh = quantity_mwh WHERE state NOT IN ('rejected', 'expired')",
        "CREATE INDEX orders_by_exchange_id ON orders (exchange_id)",
        "CREATE INDEX orders_by_state ON orders (state, market)",
        """CREATE TABLE known_nodes (
            flow TEXT NOT NULL, node TEXT NOT NULL, file TEXT NOT NULL, type TEXT NOT NULL, digest TEXT NOT NULL,
            PRIMARY KEY (flow, node)) WITHOUT ROWID""",
        """CREATE TABLE switch_steps (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, stopped INTEGER NOT NULL, by TEXT NOT NULL,
            reason TEXT NOT NULL)""",
    ),
    (
        """CREATE TABLE inbox (
            flow TEXT NOT NULL, node TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, wire TEXT NOT NULL,
            message BLOB NOT NULL, PRIMARY KEY (flow, node, seq)) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE dead_letters ADD COLUMN wire TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE dead_letters ADD COLUMN attempts INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE dead_letters ADD COLUMN obstacle TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE dead_letters ADD COLUMN standing TEXT NOT NULL DEFAULT 'kept'",
        "ALTER TABLE dead_letters ADD COLUMN answer TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX dead_letters_asked ON dead_letters (id) WHERE standing != 'kept'",
    ),
    (
        """CREATE TABLE users (
            name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created_at INTEGER NOT NULL,
            last_at INTEGER) WITHOUT ROWID""",
        """CREATE TABLE sessions (
            digest BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name), begun_at INTEGER NOT NULL,
            seen_at INTEGER NOT NULL) WITHOUT ROWID""",
        "CREATE INDEX sessions_of_user ON sessions (user)",
        """CREATE TABLE keys (
            name TEXT PRIMARY KEY, role TEXT NOT NULL, digest BLOB NOT NULL, created_at INTEGER NOT NULL,
            used_at INTEGER) WITHOUT ROWID""",
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL,
            origin TEXT NOT NULL, flow TEXT NOT NULL, node TEXT NOT NULL, text TEXT NOT NULL, detail BLOB NOT NULL)""",
        "CREATE INDEX audit_of_kind ON audit (kind, id)",
        "CREATE INDEX audit_by_time ON audit (at)",
    ),
    (
        # The list of events is read backwards in time, table by table.
        "CREATE INDEX order_steps_by_time ON order_steps (at)",
        "CREATE INDEX switch_steps_by_time ON switch_steps (at)",
        "CREATE INDEX dead_letters_by_time ON dead_letters (at)",
        "CREATE INDEX audit_of_kind_by_time ON audit (kind, at)",
    ),
)
"""Step n makes version n of the file out of version n - 1. A step that was released is never edited; add one."""


class NodeState(msgspec.Struct, frozen=True):
    """What a node kept: the state version that wrote it (0: nothing was ever kept), and key → encoded value."""

    version: int = 0
    entries: dict[str, bytes] = {}


class StateChanges(msgspec.Struct, frozen=True):
    """What a node changed since the last commit: key → encoded value, None where the key is gone."""

    flow: str
    node: str
    version: int
    entries: dict[str, bytes | None]


# ---- the file ---------------------------------------------------------------------------------------------


def connect(path: Path | None, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> sqlite3.Connection:
    """Open or make the file (None: in memory) and bring it to the newest version. UsageError when it cannot be used.

    WAL with ``synchronous=FULL``: a commit has reached the disk when it returns, also through a power cut. With one
    commit for all that waits, that is one fsync per batch and not one per message.
    """
    place = str(path) if path else "the store in memory"
    connection = None
    try:
        if path is not None:
            if not path.exists():
                _begin(path, migrations)
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        connection = sqlite3.connect(
            path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        if path is None and migrations is MIGRATIONS:
            connection.deserialize(_empty())
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection, place, migrations)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise UsageError(
                f"cannot open {place}: {error}; check the disk and who owns the file, restore it from a backup, "
                "or give another folder with --data DIR"
            ) from error
        raise
    return connection


@cache
def _empty() -> bytes:
    """A new store as it lies in memory: tests make many of them."""
    return _blank(MIGRATIONS)


def _blank(migrations: Sequence[Sequence[str]]) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _migrate(connection, "the store in memory", migrations)
        return connection.serialize()


def _begin(path: Path, migrations: Sequence[Sequence[str]]) -> None:
    """The file is there whole or not at all: one that is empty was damaged, and did not just begin."""
    new = path.with_name(f"{path.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(_empty() if migrations is MIGRATIONS else _blank(migrations))
            file.flush()
            os.fsync(fd)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _migrate(connection: sqlite3.Connection, place: str, migrations: Sequence[Sequence[str]]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise UsageError(
            f"{place} was written by a newer flowrunner (its version is {version}, this program knows "
            f"{len(migrations)}); update flowrunner, or give another folder with --data DIR"
        )
    for number, step in enumerate(migrations[version:], version + 1):
        with transaction(connection):
            for statement in step:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block on the disk, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise


# ---- node state -------------------------------------------------------------------------------------------


def read_state(connection: sqlite3.Connection, flow: str, node: str) -> NodeState:
    row = connection.execute("SELECT version FROM node_version WHERE flow = ? AND node = ?", (flow, node)).fetchone()
    if row is None:  # it is written with the first entry: there is none
        return NodeState()
    entries = connection.execute("SELECT key, value FROM node_state WHERE flow = ? AND node = ?", (flow, node))
    return NodeState(row[0], dict(entries.fetchall()))


def write_state(
    connection: sqlite3.Connection, flow: str, node: str, version: int, changes: Mapping[str, bytes | None]
) -> None:
    """Within a transaction: set or delete (None) entries of one node, and record its state version."""
    connection.execute(
        "INSERT INTO node_version VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version",
        (flow, node, version),
    )
    connection.executemany(
        "INSERT INTO node_state VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        [(flow, node, key, value) for key, value in changes.items() if value is not None],
    )
    connection.executemany(
        "DELETE FROM node_state WHERE flow = ? AND node = ? AND key = ?",
        [(flow, node, key) for key, value in changes.items() if value is None],
    )


def delete_state(connection: sqlite3.Connection, flow: str, node: str) -> None:
    connection.execute("DELETE FROM node_version WHERE flow = ? AND node = ?", (flow, node))
    connection.execute("DELETE FROM node_state WHERE flow = ? AND node = ?", (flow, node))


# ---- counters ------------------------------------------------------------------------------------------------


def read_counter(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0
