"""Alarms: what a person must know of, once each, however often it comes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from flowrunner.message import Instant
from flowrunner.store.store import Store
from flowrunner.units import Duration

Severity = Literal["info", "warning", "critical"]
SAME_OCCURRENCE = Duration.parse("10min")
"""A repeat within this time of the last one is the same trouble going on; a later one wants a new acknowledgement."""
MOST_ALARMS = 10_000
"""Alarms that are kept; those that came longest ago go first."""


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm on its way to the store. ``identity`` tells alarms of one wire and key apart."""

    flow: str
    node: str
    wire: str
    key: str
    identity: str
    severity: Severity
    text: str
    at: Instant


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm as it is kept: how often it came, first and last when (flow time), its newest text."""

    id: int
    flow: str
    node: str
    wire: str
    key: str
    severity: Severity
    text: str
    count: int
    first_at: Instant
    last_at: Instant
    acknowledged_at: Instant | None
    acknowledged_by: str


COLUMNS = tuple(field.name for field in msgspec.structs.fields(Alarm))
NAMES = ", ".join(COLUMNS)


class Alarms:
    """The alarms of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, raised: Sequence[Raised]) -> asyncio.Future[None]:
        """Queue alarms; awaiting returns once they are on the disk. One that is known counts up; where it had
        stopped for ``SAME_OCCURRENCE``, it wants to be acknowledged anew; so where its last time
        is ahead by more than that (a clock that was wrong, a run in another time)."""

        def work(sql: sqlite3.Connection) -> None:
            for one in raised:
                sql.execute(
                    "INSERT INTO alarms (flow, node, wire, key, identity, severity, text, count, first_at, last_at,"
                    " acknowledged_at, acknowledged_by) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, NULL, '')"
                    " ON CONFLICT (flow, node, wire, key, identity) DO UPDATE SET severity = excluded.severity,"
                    " text = excluded.text, count = count + 1, last_at = excluded.last_at,"
                    " acknowledged_by = CASE WHEN abs(excluded.last_at - last_at) > ? THEN '' ELSE acknowledged_by END,"
                    " acknowledged_at ="
                    " CASE WHEN abs(excluded.last_at - last_at) > ? THEN NULL ELSE acknowledged_at END",
                    (*_storable(one), one.at, one.at, SAME_OCCURRENCE, SAME_OCCURRENCE),
                )
            sql.execute(
                "DELETE FROM alarms WHERE id IN (SELECT id FROM alarms ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
                (MOST_ALARMS,),
            )

        return self._store.submit(work)

    def last_of(self, flow: str, node: str) -> dict[tuple[str, str, str], Instant]:
        """(wire, key, identity) of every alarm of a node → when it came last."""
        query = "SELECT wire, key, identity, last_at FROM alarms WHERE flow = ? AND node = ?"
        return self._store.read(lambda sql: {row[:3]: row[3] for row in sql.execute(query, (flow, node))})

    def find(self, *, flow: str | None = None, acknowledged: bool | None = None, limit: int = 100) -> list[Alarm]:
        """Those that came last first."""
        wheres, values = ["TRUE"], list[str | int]()
        if flow is not None:
            wheres.append("flow = ?")
            values.append(flow.encode("utf-8", "replace").decode())
        if acknowledged is not None:
            wheres.append(f"acknowledged_at IS {'NOT ' if acknowledged else ''}NULL")
        query = f"SELECT {NAMES} FROM alarms WHERE {' AND '.join(wheres)} ORDER BY last_at DESC, id DESC LIMIT ?"  # noqa: S608  (own names)
        return self._store.read(lambda sql: [_alarm(row) for row in sql.execute(query, [*values, limit])])

    def open(self) -> tuple[int, Severity | None]:
        """How many nobody has acknowledged, and the worst severity among them."""
        query = "SELECT severity, count(*) FROM alarms WHERE acknowledged_at IS NULL GROUP BY severity"
        found: dict[Severity, int] = self._store.read(lambda sql: dict(sql.execute(query).fetchall()))
        return sum(found.values()), max(found, key=get_args(Severity).index, default=None)

    def acknowledge(self, id: int, by: str, now: Instant) -> asyncio.Future[Alarm | None]:  # noqa: A002  (the field's own word)
        """Note who has seen it; who was first stays. None: there is no such alarm."""

        def work(sql: sqlite3.Connection) -> Alarm | None:
            sql.execute(
                "UPDATE alarms SET acknowledged_at = ?, acknowledged_by = ? WHERE id = ? AND acknowledged_at IS NULL",
                (now, by, id),
            )
            row = sql.execute(f"SELECT {NAMES} FROM alarms WHERE id = ?", (id,)).fetchone()  # noqa: S608  (own names)
            return None if row is None else _alarm(row)

        return self._store.submit(work)


def _alarm(row: Sequence[object]) -> Alarm:
    return msgspec.convert(dict(zip(COLUMNS, row, strict=True)), Alarm)


def _storable(one: Raised) -> list[str]:
    """Texts from outside may be no Unicode."""
    parts = (one.flow, one.node, one.wire, one.key, one.identity, one.severity, one.text)
    return [part.encode("utf-8", "replace").decode() for part in parts]
