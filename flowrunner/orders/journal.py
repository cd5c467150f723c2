"""The journal: every order and every refusal, on the disk before anything follows from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import msgspec

from flowrunner.message import JSON, Instant
from flowrunner.orders.book import NAMES, Book, SwitchStep, WrongStep, order_of
from flowrunner.orders.order import Order, State
from flowrunner.store import Reader, Store

T = TypeVar("T")
_THERE = "venue IN ('', ?)"
"""Of this exchange, or from before that was kept."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as the journal has it: once per rule, slot and reason, with how often it came."""

    market: str
    delivery_start: Instant
    side: str
    flow: str
    guard: str
    rule: str
    reason: str
    text: str
    count: int
    created_at: Instant
    updated_at: Instant


class Journal:
    """The orders of one engine, in its store. What is awaited here is on the disk when it returns."""

    def __init__(self, store: Store | Reader) -> None:
        """On a Reader nothing can be decided."""
        self._store = store

    async def decide(self, work: Callable[[Book], T]) -> T:
        """Run ``work`` in one transaction. It may run twice (the first run undone). StoreFailed when nothing can be
        written: then nothing was decided."""
        if not isinstance(self._store, Store):
            raise WrongStep("this journal is open for reading only")
        return await self._store.submit(lambda connection: work(Book(connection)))

    async def advance(self, id: str, state: State, now: Instant, **changes: Any) -> Order:  # noqa: A002
        """See :meth:`Book.advance`."""
        return await self.decide(lambda book: book.advance(id, state, now, **changes))

    def find(self, id: str) -> Order | None:  # noqa: A002
        """The order as it is now, or None."""
        return self._store.read(lambda sql: Book(sql).find(id))

    def sent(self, id: str) -> tuple[Instant, int | None]:  # noqa: A002
        """When the order was last about to be sent, and how far the exchange's clock was ahead then, where that was
        known; 0 where it never was."""
        found = self._store.read(
            lambda sql: sql.execute(
                "SELECT at, detail FROM order_steps WHERE order_id = ? AND state = 'sending'"
                " ORDER BY rowid DESC LIMIT 1",
                (id,),
            ).fetchone()
        )
        if found is None:
            return 0, None
        return int(found[0]), (msgspec.json.decode(found[1]) or {}).get("clock_ahead_ns")

    def by_exchange_id(self, market: str, venue: str, exchange_id: str) -> Order | None:
        """The order that this exchange calls so, while more may be heard of it."""
        if not exchange_id:
            return None
        found = self._some(
            f"exchange_id = ? AND market = ? AND {_THERE} AND state IN ('accepted', 'partly-filled')",
            (exchange_id, market, venue),
            1,
        )
        return found[0] if found else None

    def exchange_ids(self, other: Order) -> set[str]:
        """What the same exchange calls all our other orders of this market."""
        rows = self._store.read(
            lambda sql: sql.execute(
                f"SELECT exchange_id FROM orders WHERE market = ? AND {_THERE} AND exchange_id <> '' AND id <> ?",  # noqa: S608
                (other.market, other.venue, other.id),
            ).fetchall()
        )
        return {str(row[0]) for row in rows}

    def unknown(self, market: str) -> list[Order]:
        """Orders of which nobody knows whether an exchange has them."""
        return self._some("state = 'unknown' AND market = ?", (market,), 1000)

    def elsewhere(self, markets: Collection[str], now: Instant) -> list[str]:
        """Live orders of other markets that may still be delivered, or of which nobody knows."""
        live = "mode = 'live' AND (state IN ('unknown', 'sending') OR delivery_end > ? AND state IN "
        found = self._some(f"{live}('accepted', 'partly-filled', 'filled'))", (now,), 1000)
        return [one.id for one in found if one.market not in markets]

    def left_lying(self, market: str, now: Instant) -> list[Order]:
        """Live orders that are being sent, or that nobody took while they were good."""
        where = "market = ? AND mode = 'live' AND (state = 'sending' OR state = 'intent' AND good_until <= ?)"
        return self._some(where, (market, now), 1000)

    def open_orders(self, market: str, venue: str, since: Instant) -> list[Order]:
        """Live orders that this exchange has and that may still be traded; their delivery begins after ``since``."""
        where = "market = ? AND mode = 'live' AND state IN ('accepted', 'partly-filled') AND open_mwh > 0"
        where += f" AND {_THERE} AND delivery_start > ? AND exchange_id <> ''"
        return self._some(where, (market, venue, since), 1000)

    def latest(self) -> Instant:
        """See :meth:`Book.latest`."""
        return self._store.read(lambda sql: Book(sql).latest())

    def never_live(self) -> bool:
        """See :meth:`Book.never_live`."""
        return self._store.read(lambda sql: Book(sql).never_live())

    def switch_steps(self, limit: int = 20) -> list[SwitchStep]:
        """See :meth:`Book.switch_steps`."""
        return self._store.read(lambda sql: Book(sql).switch_steps(limit))

    def orders(
        self,
        *,
        limit: int | None = 100,
        market: str | None = None,
        state: str | None = None,
        since: Instant | None = None,
        until: Instant | None = None,
    ) -> list[Order]:
        """Newest first; decided from ``since`` on and before ``until``. ``limit`` None: all."""
        asked = (("market = ?", market), ("state = ?", state), ("created_at >= ?", since), ("created_at < ?", until))
        wanted = {text: value for text, value in asked if value is not None}
        return self._some(" AND ".join(wanted) or "1", tuple(wanted.values()), -1 if limit is None else limit)

    def unsettled(self) -> dict[tuple[str, State], int]:
        """(market, state) → how many orders are being sent, or are unknown."""
        query = "SELECT market, state, COUNT(*) FROM orders WHERE state IN ('sending', 'unknown') GROUP BY 1, 2"
        return {(row[0], row[1]): row[2] for row in self._store.read(lambda sql: sql.execute(query).fetchall())}

    def _some(self, where: str, values: tuple[object, ...], limit: int) -> list[Order]:
        """Newest first. ``where`` is a text of ours."""
        return self._store.read(
            lambda sql: [
                order_of(row)
                for row in sql.execute(
                    f"SELECT {NAMES} FROM orders WHERE {where} ORDER BY created_at DESC, id LIMIT ?",  # noqa: S608
                    (*values, limit),
                )
            ]
        )

    def story(self, id: str) -> tuple[Order, list[dict[str, JSON]]] | None:  # noqa: A002
        """An order and its steps, oldest first: ``at`` (instant), ``state``, ``reason``, ``detail``; the first step's
        detail is the decision. None when there is no such order."""

        def read(sql: sqlite3.Connection) -> tuple[Order, list[dict[str, JSON]]] | None:
            order = Book(sql).find(id)
            if order is None:
                return None
            rows = sql.execute(
                "SELECT at, state, reason, detail FROM order_steps WHERE order_id = ? ORDER BY rowid", (id,)
            )
            return order, [
                {"at": at, "state": state, "reason": reason, "detail": msgspec.json.decode(detail)}
                for at, state, reason, detail in rows
            ]

        return self._store.read(read)

    def refusals(self, *, limit: int = 100) -> list[Refused]:
        """The latest first."""
        names = ", ".join(one.name for one in msgspec.structs.fields(Refused))
        return self._store.read(
            lambda sql: [
                Refused(**dict(zip((one.name for one in msgspec.structs.fields(Refused)), row, strict=True)))
                for row in sql.execute(
                    f"SELECT {names} FROM refusals ORDER BY updated_at DESC, rowid DESC LIMIT ?",  # noqa: S608
                    (limit,),
                )
            ]
        )
