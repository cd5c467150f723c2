"""The history: messages as they went by, kept for as long as the node that keeps them says."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.store.store import Store
from flowrunner.store.tables import read_counter

STEP = 1000
"""Rows that one sweep deletes: others wait for the disk meanwhile."""
MOST_ROWS = 50_000_000
"""Rows of all nodes together; the oldest go, however long they were to be kept. The disk must not fill up."""
PAYLOAD_CAP = 65_536
"""Bytes of a payload that are kept; a larger one is refused."""
_LAST_INSTANT = 2**63 - 1
ROWS = "history_rows"
"""The counter of rows."""


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
            _counted(sql, len(values))

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
            surplus = _counted(sql, left - STEP) - MOST_ROWS
            if surplus > 0 and left > 0:
                oldest = "DELETE FROM history WHERE id IN (SELECT id FROM history ORDER BY id LIMIT ?)"
                _counted(sql, -sql.execute(oldest, (min(surplus, left),)).rowcount)
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
        """Newest first by event time; ``since`` included, ``until`` not. However much is kept, each keeper costs
        ``limit`` entries of an index at most: others wait for a read."""
        between = "at >= ? AND at <= ? ORDER BY at DESC, id DESC LIMIT ?"
        bounds = (
            -_LAST_INSTANT if since is None else _bounded(since),
            _LAST_INSTANT if until is None else _bounded(until - 1),
            limit,
        )

        def work(sql: sqlite3.Connection) -> list[Row]:
            if flow is None and node is None:
                newest = sql.execute(f"SELECT at, id FROM history WHERE {between}", bounds).fetchall()  # noqa: S608  (own text)
            else:
                own = f"SELECT at, id FROM history WHERE flow = ? AND node = ? AND {between}"  # noqa: S608  (own text)
                each = (sql.execute(own, (*keeper, *bounds)).fetchall() for keeper in _keepers(sql, flow, node))
                newest = sorted(chain.from_iterable(each), reverse=True)[:limit]
            whole = f"SELECT {NAMES} FROM history WHERE id = ?"  # noqa: S608  (own names)
            rows = (sql.execute(whole, (id_,)).fetchone() for _, id_ in newest)
            return [Row(**dict(zip(COLUMNS, row, strict=True))) for row in rows]

        return self._store.read(work)


def _keepers(sql: sqlite3.Connection, flow: str | None, node: str | None) -> Iterator[tuple[str, str]]:
    """Flow and node of those who keep rows, as far as they are asked for: one step in the index for each."""
    wanted = (None if flow is None else _storable(flow), None if node is None else _storable(node))
    if wanted[0] is not None and wanted[1] is not None:
        yield wanted[0], wanted[1]
        return
    last: tuple[str, str] | None = (wanted[0] or "", "")  # no flow and no node has an empty name
    while last is not None:
        own = "SELECT flow, node FROM history WHERE flow = ? AND node > ? ORDER BY node LIMIT 1"
        found = sql.execute(own, last).fetchone()
        if found is None and wanted[0] is None:
            others = "SELECT flow, node FROM history WHERE flow > ? ORDER BY flow, node LIMIT 1"
            found = sql.execute(others, last[:1]).fetchone()
        last = found
        if last is not None and wanted[1] in (None, last[1]):
            yield last


def _counted(sql: sqlite3.Connection, change: int) -> int:
    """How many rows there are after a change of ``change`` rows. Counted once and then kept up: ids tell nothing of
    it where rows of several keepers go at different times, and counting takes seconds."""
    cursor = sql.execute("UPDATE counters SET value = value + ? WHERE name = ?", (change, ROWS))
    if cursor.rowcount == 0:
        sql.execute("INSERT INTO counters SELECT ?, COUNT(*) FROM history", (ROWS,))
    return read_counter(sql, ROWS)


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
