"""The history: messages as they went by, kept for as long as the node that keeps them says."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.store.store import Store

STEP = 1000
"""Rows that one sweep deletes: others wait for the disk meanwhile."""
MOST_ROWS = 50_000_000
"""Rows of all nodes together; the oldest go, however long they were to be kept. The disk must not fill up."""
PAYLOAD_CAP = 65_536
"""Bytes of a payload that are kept; a larger one is refused."""
_LAST_INSTANT = 2**63 - 1


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One message as it is kept. ``stored_at`` is flow time too; ``node`` is who keeps it, ``wire`` the way it came.

    ``fields`` is compact: of each field only what differs from the message's own.
    """

    stored_at: Instant
    at: Instant
    received_at: Instant
    flow: str
    node: str
    wire: str
    source: str
    key: str
    origin: str
    quality: str
    payload: bytes
    fields: bytes


COLUMNS = tuple(field.name for field in msgspec.structs.fields(Row))
NAMES = ", ".join(COLUMNS)


def row_of(message: Message, *, flow: str, node: str, wire: str, now: Instant) -> Row:
    """ValueError with a sentence for a payload that is too large. NaN and the infinities become null, what is no
    JSON its repr."""
    payload = _json(message.payload)
    if len(payload) > PAYLOAD_CAP:
        raise ValueError(f"the payload has {len(payload)} bytes; {PAYLOAD_CAP} are kept at most")
    return Row(
        stored_at=_bounded(now),
        at=_bounded(message.at),
        received_at=_bounded(message.received_at),
        flow=flow,
        node=node,
        wire=wire,
        source=_storable(message.source),
        key=_storable(message.key),
        origin=message.origin,
        quality=message.quality,
        payload=payload,
        fields=_json(_compact(message)),
    )


class History:
    """The history of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, rows: Sequence[Row]) -> asyncio.Future[None]:
        """Queue rows; awaiting returns once they are on the disk."""
        values = [msgspec.structs.astuple(row) for row in rows]
        marks = ", ".join("?" for _ in COLUMNS)

        def work(sql: sqlite3.Connection) -> None:
            sql.executemany(f"INSERT INTO history ({NAMES}) VALUES ({marks})", values)  # noqa: S608  (own names)

        return self._store.submit(work)

    def keep(self, flow: str, node: str, keep_ns: int) -> asyncio.Future[None]:
        """From now on rows of this node, those of before too, are kept for ``keep_ns``."""

        def work(sql: sqlite3.Connection) -> None:
            sql.execute(
                "INSERT INTO history_keep VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET keep_ns = excluded.keep_ns",
                (flow, node, _bounded(keep_ns)),
            )

        return self._store.submit(work)

    def sweep(self, now: Instant) -> asyncio.Future[bool]:
        """Delete a few rows whose time is over, also those of nodes that are gone. True: there are more."""

        def work(sql: sqlite3.Connection) -> bool:
            left = STEP
            for flow, node, keep_ns in sql.execute("SELECT flow, node, keep_ns FROM history_keep").fetchall():
                left -= sql.execute(
                    "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE flow = ? AND node = ?"
                    " AND stored_at < ? ORDER BY stored_at LIMIT ?)",
                    (flow, node, _bounded(now - keep_ns), max(left, 0)),
                ).rowcount
            first, last = sql.execute("SELECT MIN(id), MAX(id) FROM history").fetchone()
            surplus = 0 if first is None else last - first + 1 - MOST_ROWS
            if surplus > 0 and left > 0:
                sql.execute("DELETE FROM history WHERE id < ?", (first + min(surplus, left),))
            return left <= 0 or surplus > left

        return self._store.submit(work)

    def find(
        self,
        *,
        flow: str | None = None,
        node: str | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Newest first by event time; ``since`` included, ``until`` not."""
        wanted = {"flow = ?": flow, "node = ?": node, "at >= ?": since, "at < ?": until}
        given = {where: value for where, value in wanted.items() if value is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        query = f"SELECT {NAMES} FROM history {where} ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608  (own names)
        values = [_bounded(value) if isinstance(value, int) else _storable(value) for value in given.values()]
        return self._store.read(
            lambda sql: [Row(**dict(zip(COLUMNS, row, strict=True))) for row in sql.execute(query, [*values, limit])]
        )


def infos_of(row: Row) -> dict[str, FieldInfo]:
    """What was known of each field that had something of its own."""
    known: Mapping[str, Mapping[str, JSON]] = msgspec.json.decode(row.fields)
    base = {"at": row.at, "received_at": row.received_at, "source": row.source, "origin": row.origin,
            "quality": row.quality}  # fmt: skip
    return {name: msgspec.convert(base | dict(own), FieldInfo) for name, own in known.items()}


def _compact(message: Message) -> dict[str, dict[str, JSON]]:
    own = msgspec.structs.asdict(message.as_info())
    found: dict[str, dict[str, JSON]] = {}
    for name, info in (message.fields or {}).items():
        found[name] = {part: value for part, value in msgspec.structs.asdict(info).items() if value != own[part]}
    return found


def _json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=repr)
    except Exception as error:  # the hook is a user's __repr__, and integers and texts may be beyond JSON
        return msgspec.json.encode(f"({type(value).__name__} that cannot be written: {type(error).__name__})")


def _bounded(instant: int) -> int:
    return max(min(instant, _LAST_INSTANT), -_LAST_INSTANT)


def _storable(text: str) -> str:
    """Texts from outside may be no Unicode."""
    return text.encode("utf-8", "replace").decode()
