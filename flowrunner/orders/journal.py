"""The journal: every order and every refusal, on the disk before anything follows from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from flowrunner.errors import FlowrunnerError
from flowrunner.market import Slot
from flowrunner.message import JSON, Instant
from flowrunner.orders.limits import Held, signed
from flowrunner.orders.order import COUNTED, STEPS, Intent, Order, Refusal, State
from flowrunner.store import Reader, Store

T = TypeVar("T")
MINUTE_NS = 60_000_000_000
COLUMNS = msgspec.structs.fields(Order)
NAMES = ", ".join(one.name for one in COLUMNS)
REFUSALS_KEPT = 100_000
"""Refusals in the journal; the oldest go. Orders are kept for good."""


class WrongStep(FlowrunnerError):
    """An order was to go from a state to another that cannot follow it."""


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


class Book:
    """The journal inside one transaction. What one reads and writes here, no other decision comes between."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def find(self, id: str) -> Order | None:  # noqa: A002  (the field's own word)
        row = self._sql.execute(f"SELECT {NAMES} FROM orders WHERE id = ?", (id,)).fetchone()  # noqa: S608
        return None if row is None else _order(row)

    def held(self, intent: Intent, now: Instant, day: Slot, delivery_day: Slot, measured_at: Instant) -> Held:
        """What counts for a new order. ``day``: the local day of now; ``delivery_day``: that of the delivery;
        ``measured_at``: when the state of charge was true."""
        minute = now - now % MINUTE_NS
        count = "SELECT COUNT(*) FROM orders WHERE market = ? AND "
        in_slot, in_minute, in_day = (
            int(self._sql.execute(count + where, (intent.market, *values)).fetchone()[0])
            for where, values in (
                ("delivery_start < ? AND delivery_end > ?", (intent.slot.end, intent.slot.start)),
                ("created_at >= ? AND created_at < ?", (minute, minute + MINUTE_NS)),
                ("created_at >= ? AND created_at < ?", day),
            )
        )
        live = self._counted("delivery_end > ? AND delivery_start < ?", intent.market, min(measured_at, *delivery_day))
        lost = self._sql.execute(  # what is being sent, by whomever, has no answer either
            "SELECT id FROM orders WHERE market = ? AND state IN ('unknown', 'sending')", (intent.market,)
        )
        unknown = lost.fetchone()
        in_day_delivered = [one for one in live if delivery_day.covers(one.delivery_start)]
        other = [one.id for one in live if one.side != intent.side and _overlap(one, intent.slot)]
        return Held(
            in_slot,
            in_minute,
            in_day,
            "" if unknown is None else str(unknown[0]),
            next(iter(other), ""),
            sum(signed(one.side, one.quantity_mwh) for one in in_day_delivered),
            [one for one in live if one.delivery_end > measured_at],
        )

    def _counted(self, where: str, market: str, since: Instant) -> list[Order]:
        """Orders that may be delivered, from ``since`` on."""
        marks = ", ".join("?" for _ in COUNTED)
        rows = self._sql.execute(
            f"SELECT {NAMES} FROM orders WHERE market = ? AND delivery_end > ? AND state IN ({marks})"  # noqa: S608
            " ORDER BY delivery_start, id",
            (market, since, *COUNTED),
        )
        return [_order(row) for row in rows]

    def add(self, order: Order, decision: Mapping[str, JSON]) -> Order:
        """A new order; its identity must not be there yet (IntegrityError)."""
        values = [getattr(order, one.name) for one in COLUMNS]
        marks = ", ".join("?" for _ in COLUMNS)
        self._sql.execute(f"INSERT INTO orders ({NAMES}) VALUES ({marks})", values)  # noqa: S608
        self._tell(order, order.created_at, msgspec.json.encode(decision))
        return order

    def advance(self, id: str, state: State, now: Instant, **changes: Any) -> Order:  # noqa: A002
        """The next state. WrongStep when it cannot follow; ``changes``: mode, exchange_id, reason; ``detail`` is kept
        with the step."""
        detail = changes.pop("detail", None)
        order = self.find(id)
        if order is None:
            raise WrongStep(f"the journal has no order {id!r}")
        if state not in STEPS[order.state]:
            raise WrongStep(f"the order {id} is {order.state} and cannot become {state}")
        order = msgspec.structs.replace(order, state=state, updated_at=now, **changes)
        self._sql.execute(
            "UPDATE orders SET state = ?, mode = ?, updated_at = ?, exchange_id = ?, reason = ? WHERE id = ?",
            (order.state, order.mode, now, order.exchange_id, order.reason, id),
        )
        self._tell(order, now, msgspec.json.encode(detail))
        return order

    def _tell(self, order: Order, at: Instant, detail: bytes) -> None:
        self._sql.execute(
            "INSERT INTO order_steps (order_id, at, state, reason, detail) VALUES (?, ?, ?, ?, ?)",
            (order.id, at, order.state, order.reason, detail),
        )

    def refuse(self, intent: Intent, refusal: Refusal, now: Instant, flow: str, guard: str, decision: JSON) -> bool:
        """Keep a refusal. False when the same was said before: same rule, slot, side and reason."""
        key = (intent.market, intent.slot.start, intent.side, flow, guard, intent.rule, refusal.reason)
        again = self._sql.execute(
            "UPDATE refusals SET count = count + 1, updated_at = ? WHERE market = ? AND delivery_start = ? AND side = ?"
            " AND flow = ? AND guard = ? AND rule = ? AND reason = ?",
            (now, *key),
        )
        if again.rowcount:
            return False
        self._sql.execute(
            "INSERT INTO refusals (market, delivery_start, side, flow, guard, rule, reason, text, count, created_at,"
            " updated_at, decision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)",
            (*key, refusal.text, now, now, msgspec.json.encode(decision)),
        )
        self._sql.execute("DELETE FROM refusals WHERE rowid <= (SELECT MAX(rowid) FROM refusals) - ?", (REFUSALS_KEPT,))
        return True


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

    def left_over(self, flow: str) -> list[Order]:
        """Orders of a flow that an earlier run decided and did not bring to an end, oldest first."""
        return self._store.read(
            lambda sql: [
                _order(row)
                for row in sql.execute(
                    f"SELECT {NAMES} FROM orders WHERE flow = ? AND state IN ('intent', 'sending')"  # noqa: S608
                    " ORDER BY created_at, id",
                    (flow,),
                )
            ]
        )

    def orders(self, *, limit: int = 100, market: str | None = None, state: str | None = None) -> list[Order]:
        """Newest first."""
        where, values = [], []
        for name, wanted in (("market", market), ("state", state)):
            if wanted is not None:
                where.append(f"{name} = ?")
                values.append(wanted)
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        return self._store.read(
            lambda sql: [
                _order(row)
                for row in sql.execute(
                    f"SELECT {NAMES} FROM orders{clause} ORDER BY created_at DESC, id LIMIT ?",  # noqa: S608
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


def _overlap(order: Order, slot: Slot) -> bool:
    """Whether both are about some of the same time: flows of one market may have slots of different lengths."""
    return order.delivery_start < slot.end and slot.start < order.delivery_end


def _order(row: tuple[Any, ...]) -> Order:
    return Order(**dict(zip((one.name for one in COLUMNS), row, strict=True)))
