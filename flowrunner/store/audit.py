"""The audit: who did what, when, from where, and why. It is only ever added to, and read."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from typing import Any, Literal, get_args

import msgspec

from flowrunner.message import JSON, Instant
from flowrunner.store.store import Store
from flowrunner.store.writer import StoreFailed

Kind = Literal[
    "entry", "alarm", "trading", "reload", "login", "login-failed", "logout", "user", "key", "letters", "order"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
KEPT, FAILURES_KEPT = 90_000, 10_000
"""Entries that are kept, and failed log-ins beside them: who guesses passwords cannot push anything else out."""
CUT_EVERY = 100
"""So many entries more than that may be there."""
LONGEST = 500
"""Characters of a text."""
_COLUMNS = ("id", "at", "kind", "who", "origin", "flow", "node", "text", "detail")
log = logging.getLogger("flowrunner.audit")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done. ``who``: a person or key, "" where nobody is known; ``origin``: the address it came
    from, or "command line"; ``text``: a sentence; ``detail``: what programs read. ``id`` is given by the store."""

    at: Instant
    kind: Kind
    who: str = ""
    origin: str = ""
    flow: str = ""
    node: str = ""
    text: str = ""
    detail: dict[str, JSON] = {}
    id: int = 0


class Audit:
    """The audit of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, entry: Entry) -> None:
        """On the disk when this returns. Never raises for a store that cannot be written: what was done was done,
        and the log says that it is missing here."""
        try:
            await self._store.submit(lambda sql: write_entry(sql, entry))
        except (StoreFailed, sqlite3.Error) as error:
            log.error("this is not in the audit, because %s: %s %s: %s", error, entry.who, entry.kind, entry.text)

    def find(
        self,
        kinds: Collection[Kind] | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Newest first: of these kinds, from ``since`` on, before ``until``, with an id below ``before``."""
        wheres, values = ["TRUE"], list[str | int]()
        if kinds is not None:
            wheres.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        for condition, value in (("at >= ?", since), ("at < ?", until), ("id < ?", before)):
            if value is not None:
                wheres.append(condition)
                values.append(value)
        query = f"SELECT {', '.join(_COLUMNS)} FROM audit WHERE {' AND '.join(wheres)} ORDER BY id DESC LIMIT ?"  # noqa: S608  (own names)
        return self._store.read(lambda sql: [_entry(row) for row in sql.execute(query, [*values, limit])])


def write_entry(sql: sqlite3.Connection, entry: Entry) -> None:
    """Within a transaction; for commands too."""
    texts = (entry.kind, entry.who, entry.origin, entry.flow, entry.node, entry.text)
    done = sql.execute(
        "INSERT INTO audit (at, kind, who, origin, flow, node, text, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (entry.at, *(_storable(one) for one in texts), msgspec.json.encode(entry.detail)),
    )
    if (done.lastrowid or 0) % CUT_EVERY == 0:
        for condition, kept in (("kind = 'login-failed'", FAILURES_KEPT), ("kind != 'login-failed'", KEPT)):
            sql.execute(
                f"DELETE FROM audit WHERE {condition} AND id <="  # noqa: S608  (own conditions)
                f" (SELECT id FROM audit WHERE {condition} ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (kept,),
            )


def _entry(row: tuple[Any, ...]) -> Entry:
    given = dict(zip(_COLUMNS, row, strict=True))
    return msgspec.convert(given | {"detail": msgspec.json.decode(given["detail"])}, Entry)


def _storable(text: str) -> str:
    """Texts from outside may be no Unicode, or have no end."""
    return text[:LONGEST].encode("utf-8", "replace").decode()
