"""The tables that events lie in, read backwards in time by their indexes: all of them in one statement."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from flowrunner.message import Instant
from flowrunner.store import Reader, Store
from flowrunner.units import iso
from flowrunner.web.events.event import FIRST, LAST, Event, Kind, Position, Severity

FEW, MANY = 50, 200
"""Rows of one table in one read: flows wait to write meanwhile."""
WIDTH = 13
"""Columns of a statement beside time and number."""
Row = Sequence[Any]


class Source(Protocol):
    """A table, or a part of one. ``rank`` is for good: a cursor names it."""

    @property
    def rank(self) -> int: ...
    @property
    def kinds(self) -> frozenset[Kind]: ...
    @property
    def table(self) -> str:
        """What stands between FROM and the condition on the time, WHERE with it."""

    @property
    def time(self) -> str:
        """The column that it is read by; there is an index."""

    @property
    def number(self) -> str:
        """The column that tells rows of one time apart."""

    @property
    def columns(self) -> Sequence[str]:
        """At most ``WIDTH``."""

    def event(self, position: Position, row: Row) -> Event:
        """Of a row with these columns."""
        ...


class Begin(NamedTuple):
    """Where a source is read from: rows of ``at`` whose number is less, then older ones."""

    source: Source
    at: Instant
    number: int


def walk(
    store: Store | Reader, sources: Sequence[Source], before: Position | None, since: Instant | None, limit: int
) -> Iterator[Event]:
    """Every event of the sources before a position, newest first, down to ``since``, as far as somebody asks; about
    ``limit`` will be. Each read is one statement: what is written meanwhile may come into those that follow, and
    what comes again goes to the top."""
    size = max(FEW, min(limit + 1, MANY))
    begins = [Begin(one, *((LAST, LAST) if before is None else _behind(one.rank, before))) for one in sources]
    waiting: list[deque[Event]] = [deque() for _ in begins]
    ended = [False] * len(begins)
    while True:
        empty = [n for n, events in enumerate(waiting) if not events and not ended[n]]
        if empty:
            asked = [begins[n] for n in empty]
            found = store.read(partial(_read, begins=asked, since=FIRST if since is None else since, limit=size))
            for n, events in zip(empty, found, strict=True):
                waiting[n].extend(events)
                ended[n] = len(events) < size
                if events:
                    begins[n] = Begin(begins[n].source, events[-1].at, events[-1].position.number)
        newest = max((events for events in waiting if events), key=lambda events: events[0].position, default=None)
        if newest is None:
            return
        yield newest.popleft()


def _behind(rank: int, before: Position) -> tuple[Instant, int]:
    """Which rows of the very time of a position come behind it: those with a number below this one."""
    if rank == before.rank:
        return before.at, before.number
    return before.at, LAST if rank < before.rank else FIRST


def _read(sql: sqlite3.Connection, *, begins: Sequence[Begin], since: Instant, limit: int) -> list[list[Event]]:
    """Of each at most ``limit`` events, newest first."""
    parts, values = list[str](), list[int]()
    for n, (source, at, number) in enumerate(begins):
        columns = ", ".join([*source.columns, *["NULL"] * (WIDTH - len(source.columns))])
        head = f"SELECT {n}, {{}}, {source.time}, {source.number}, {columns} FROM {source.table}"  # noqa: S608  (own names)
        if at != LAST and number != FIRST:
            same = f"{source.time} = ? AND {source.time} >= ? AND {source.number} < ? ORDER BY {source.number} DESC"
            parts.append(f"SELECT * FROM ({head.format(0)} {same} LIMIT ?)")  # noqa: S608  (own names)
            values += [at, since, number, limit]
        older = f"{source.time} < ? AND {source.time} >= ? ORDER BY {source.time} DESC, {source.number} DESC"
        parts.append(f"SELECT * FROM ({head.format(1)} {older} LIMIT ?)")  # noqa: S608  (own names)
        values += [at, since, limit]
    rows: list[tuple[list[Row], list[Row]]] = [([], []) for _ in begins]
    for row in sql.execute(" UNION ALL ".join(parts), values):
        rows[row[0]][row[1]].append(row)
    return [
        [
            one.source.event(Position(row[2], one.source.rank, row[3]), row[4 : 4 + len(one.source.columns)])
            for row in (same + older)[:limit]
        ]
        for one, (same, older) in zip(begins, rows, strict=True)
    ]


# ---- the tables -----------------------------------------------------------------------------------------------


class Alarms:
    """By when they came last. Whether the trouble goes on is not theirs to say; see ``course``."""

    rank, kinds = 1, frozenset[Kind]({"alarm"})
    table, time, number = "alarms WHERE", "last_at", "id"
    columns = (
        "first_at", "flow", "node", "wire", "key", "severity", "text", "count", "acknowledged_at", "acknowledged_by"
    )  # fmt: skip

    def event(self, position: Position, row: Row) -> Event:
        first, flow, node, wire, key, severity, text, count, seen_at, seen_by = row
        return Event(
            kind="alarm", position=position, since=first if count > 1 else None, flow=flow, node=node,
            title=f"alarm.{severity}", text=text, who=seen_by, severity=severity,
            state="open" if seen_at is None else "acknowledged", count=count, alarm=position.number, wire=wire, key=key,
        )  # fmt: skip


class OrderSteps:
    """Each step of each order at its own time."""

    rank, kinds = 2, frozenset[Kind]({"order"})
    table = "order_steps AS s CROSS JOIN orders AS o ON o.id = s.order_id WHERE"
    """CROSS JOIN: the steps by their index, and of each its order by its id."""
    time, number = "s.at", "s.rowid"
    columns = (
        "s.order_id", "s.state", "s.reason", "o.flow", "o.guard", "o.rule", "o.market", "o.side", "o.quantity_mwh",
        "o.limit_price_eur_mwh", "o.delivery_start", "o.delivery_end", "o.mode",
    )  # fmt: skip

    def event(self, position: Position, row: Row) -> Event:
        order, state, reason, flow, guard, rule, market, side, quantity, price, start, end, mode = row
        values = {
            "quantity_mwh": quantity, "price_eur_mwh": price, "delivery_start": iso(start), "delivery_end": iso(end),
            "market": market, "rule": rule, "mode": mode,
        }  # fmt: skip
        return Event(
            kind="order", position=position, flow=flow, node=guard, order=order, state=state,
            title=f"order.{side}" if price is not None else f"order.{side}.any-price", values=values, text=reason,
            severity=GRAVE.get(state, "info"),
        )  # fmt: skip


GRAVE: dict[str, Severity] = {"rejected": "warning", "unknown": "critical"}
"""States of orders that a person must know of."""


class Refusals:
    """What guards did not let through, by when it came last."""

    rank, kinds = 3, frozenset[Kind]({"refusal"})
    table, time, number = "refusals WHERE", "updated_at", "rowid"
    columns = ("created_at", "market", "delivery_start", "side", "flow", "guard", "rule", "reason", "text", "count")

    def event(self, position: Position, row: Row) -> Event:
        first, market, start, side, flow, guard, rule, reason, text, count = row
        return Event(
            kind="refusal", position=position, since=first if count > 1 else None, flow=flow, node=guard,
            title=f"refusal.{side}", values={"delivery_start": iso(start), "market": market, "rule": rule}, text=text,
            state=reason, count=count,
        )  # fmt: skip


class SwitchSteps:
    """When trading was stopped and let go on, from whatever side: page, API, command, file."""

    rank, kinds = 4, frozenset[Kind]({"trading"})
    table, time, number = "switch_steps WHERE", "at", "id"
    columns = ("stopped", "by", "reason")

    def event(self, position: Position, row: Row) -> Event:
        stopped, by, reason = row
        state = "stopped" if stopped else "resumed"
        return Event(
            kind="trading", position=position, text=reason, who=by, title=f"trading.{state}", state=state,
            severity="warning" if stopped else "info",
        )  # fmt: skip


class Letters:
    """Messages that nodes rejected and nobody took; those of the last second may not lie there yet."""

    rank, kinds = 5, frozenset[Kind]({"letter"})
    table, time, number = "dead_letters WHERE", "at", "id"
    columns = ("flow", "node", "code", "reason", "attempts", "standing")

    def event(self, position: Position, row: Row) -> Event:
        flow, node, code, reason, attempts, standing = row
        return Event(
            kind="letter", position=position, flow=flow, node=node, title="letter",
            values={"code": code, "number": position.number}, text=reason, count=attempts, state=standing,
            severity="warning",
        )  # fmt: skip


TABLES: Sequence[Source] = (Alarms(), OrderSteps(), Refusals(), SwitchSteps(), Letters())
