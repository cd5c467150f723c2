"""The journal's book: every order and every refusal, read and written inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flowrunner.errors import FlowrunnerError
from flowrunner.market import Slot
from flowrunner.message import JSON, Instant
from flowrunner.orders.limits import Held
from flowrunner.orders.order import COUNTED, STEPS, Intent, Mode, Order, Refusal, State
from flowrunner.orders.switch import Stop
from flowrunner.store import LIVE_SINCE, read_counter

MINUTE_NS = 60_000_000_000
COLUMNS = msgspec.structs.fields(Order)
NAMES = ", ".join(one.name for one in COLUMNS)
_LATEST, _LIVE = "journal_latest_ns", LIVE_SINCE
"""Counters of the file: the latest flow time that was written, and when live orders were first asked for."""
_OF_MODE = "(mode = 'live' OR ? = 'paper')"
INTERRUPTED = "the program ended while it was sent; whether the exchange has it is not known"
REFUSALS_KEPT = 100_000
"""Refusals in the journal; the oldest go. Orders are kept for good."""


class WrongStep(FlowrunnerError):
    """An order was to go from a state to another that cannot follow it."""


class SwitchStep(msgspec.Struct, frozen=True, kw_only=True):
    """Trading was stopped, or a person let it go on."""

    at: Instant
    stopped: bool
    by: str
    reason: str


class Book:
    """The journal inside one transaction. What one reads and writes here, no other decision comes between."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def find(self, id: str) -> Order | None:  # noqa: A002  (the field's own word)
        row = self._sql.execute(f"SELECT {NAMES} FROM orders WHERE id = ?", (id,)).fetchone()  # noqa: S608
        return None if row is None else order_of(row)

    def renew(self, order: Order, good_until: Instant) -> None:
        """An order that waits to be sent was judged again."""
        self._sql.execute("UPDATE orders SET good_until = ? WHERE id = ?", (good_until, order.id))

    def held(
        self, intent: Intent, mode: Mode, now: Instant, day: Slot, delivery_day: Slot, measured_at: Instant
    ) -> Held:
        """What counts for a new order. ``day``: the local day of now; ``delivery_day``: that of the delivery;
        ``measured_at``: when the state of charge was true. Paper orders count for paper orders only, and an order
        does not count for itself."""
        minute = now - now % MINUTE_NS
        count = f"SELECT COUNT(*) FROM orders WHERE market = ? AND id <> ? AND {_OF_MODE} AND "  # noqa: S608  (a text of ours)
        in_slot, in_minute, in_day = (
            int(self._sql.execute(count + where, (intent.market, intent.id, mode, *values)).fetchone()[0])
            for where, values in (
                ("delivery_start < ? AND delivery_end > ?", (intent.slot.end, intent.slot.start)),
                ("created_at >= ? AND created_at < ?", (minute, minute + MINUTE_NS)),
                ("created_at >= ? AND created_at < ?", day),
            )
        )
        since = min(measured_at, *delivery_day)
        alive = [
            one
            for one in self._counted(intent.market, since)
            if one.id != intent.id and (one.mode == "live" or mode == "paper")
        ]
        lost = self._sql.execute(  # what is being sent, by whomever, has no answer either
            "SELECT id FROM orders WHERE market = ? AND state IN ('unknown', 'sending')", (intent.market,)
        )
        unknown = lost.fetchone()
        other = self._sql.execute(
            "SELECT id FROM orders WHERE market = ? AND side <> ? AND delivery_start < ?"  # noqa: S608  (question marks)
            f" AND delivery_end > ? AND state IN ({_marks(COUNTED)})",
            (intent.market, intent.side, intent.slot.end, intent.slot.start, *COUNTED),
        ).fetchone()
        return Held(
            in_slot,
            in_minute,
            in_day,
            "" if unknown is None else str(unknown[0]),
            "" if other is None else str(other[0]),
            [one for one in alive if delivery_day.covers(one.delivery_start)],
            [one for one in alive if one.delivery_end > measured_at],
        )

    def _counted(self, market: str, since: Instant) -> list[Order]:
        """Orders that may be delivered, from ``since`` on."""
        rows = self._sql.execute(
            f"SELECT {NAMES} FROM orders WHERE market = ? AND delivery_end > ? AND state IN ({_marks(COUNTED)})"  # noqa: S608
            " ORDER BY delivery_start, id",
            (market, since, *COUNTED),
        )
        return [order_of(row) for row in rows]

    def add(self, order: Order, decision: Mapping[str, JSON]) -> Order:
        """A new order; its identity must not be there yet (IntegrityError)."""
        values = [getattr(order, one.name) for one in COLUMNS]
        self._sql.execute(f"INSERT INTO orders ({NAMES}) VALUES ({_marks(values)})", values)  # noqa: S608
        self._tell(order, order.created_at, msgspec.json.encode(decision))
        self.see(order.created_at)
        return order

    def advance(self, id: str, state: State, now: Instant, **changes: Any) -> Order:  # noqa: A002
        """The next state. WrongStep when it cannot follow; ``changes``: venue, exchange_id, reason, filled_mwh,
        open_mwh, average_price_eur_mwh; ``detail`` is kept with the step. ``see=False``: ``now`` is by another clock
        than the flow's."""
        detail, see = changes.pop("detail", None), changes.pop("see", True)
        order = self.find(id)
        if order is None:
            raise WrongStep(f"the journal has no order {id!r}")
        if state not in STEPS[order.state]:
            raise WrongStep(f"the order {id} is {order.state} and cannot become {state}")
        if state in ("rejected", "expired", "unfilled"):
            changes["open_mwh"] = 0.0
        elif order.state == "rejected":
            changes.setdefault("open_mwh", order.quantity_mwh)
        order = msgspec.structs.replace(order, state=state, updated_at=now, **changes)
        self._sql.execute(
            "UPDATE orders SET state = ?, updated_at = ?, venue = ?, exchange_id = ?, reason = ?, filled_mwh = ?,"
            " open_mwh = ?, average_price_eur_mwh = ? WHERE id = ?",
            (order.state, now, order.venue, order.exchange_id, order.reason, order.filled_mwh, order.open_mwh,
             order.average_price_eur_mwh, id),
        )  # fmt: skip
        self._tell(order, now, msgspec.json.encode(detail))
        if see:
            self.see(now)
        return order

    def begin_sending(self, id: str, now: Instant, venue: str, clock_ahead_ns: int | None) -> Order | str:  # noqa: A002
        """The order as ``sending``, or why it must not be sent: nobody knows what became of another one of its market.
        ``clock_ahead_ns``: of the exchange's clock, where it is known; kept with the step. WrongStep as
        :meth:`advance`."""
        lost = self._sql.execute(
            "SELECT id FROM orders WHERE state IN ('unknown', 'sending') AND id <> ?1"
            " AND market = (SELECT market FROM orders WHERE id = ?1)",
            (id,),
        ).fetchone()
        if lost is not None:
            return f"whether the exchange has {lost[0]} is not known"
        return self.advance(id, "sending", now, venue=venue, detail={"clock_ahead_ns": clock_ahead_ns})

    def end_left_over(self, now: Instant) -> list[Order]:
        """What an earlier run, of whatever flow, did not bring to an end; what it is now, oldest first."""
        rows = self._sql.execute(
            f"SELECT {NAMES} FROM orders WHERE state IN ('intent', 'sending') ORDER BY created_at, id"  # noqa: S608
        )
        ended: list[Order] = []
        for order in [order_of(row) for row in rows]:
            if order.state == "sending":
                ended.append(self.advance(order.id, "unknown", now, reason=INTERRUPTED))
            else:
                ended.append(self.advance(order.id, "expired", now, reason="the program ended before it was sent"))
        return ended

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

    # ---- time and the switch ----------------------------------------------------------------------------

    def latest(self) -> Instant:
        """The latest flow time that the journal has seen, or 0."""
        return read_counter(self._sql, _LATEST)

    def see(self, now: Instant) -> None:
        """Remember the time of what is written."""
        self._sql.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
            (_LATEST, now),
        )

    def never_live(self) -> bool:
        """Whether no engine has ever been started for live orders on this journal."""
        return not read_counter(self._sql, _LIVE)

    def note_live(self, now: Instant) -> None:
        self._sql.execute("INSERT INTO counters VALUES (?, ?) ON CONFLICT DO NOTHING", (_LIVE, now))

    def note_switch(self, now: Instant, stop: Stop | None) -> None:
        """Keep that trading was stopped, or goes on, where that is news."""
        by, reason = ("", "") if stop is None else (stop.by, stop.reason)
        last = self._sql.execute("SELECT stopped, by, reason FROM switch_steps ORDER BY id DESC LIMIT 1").fetchone()
        if last is None and stop is None:
            return
        if last is not None and (bool(last[0]), *last[1:]) == (stop is not None, by, reason):
            return
        if last is not None and not last[0] and stop is None:
            return  # who let it go on has said so
        self._sql.execute(
            "INSERT INTO switch_steps (at, stopped, by, reason) VALUES (?, ?, ?, ?)",
            (now, stop is not None, by, reason),
        )

    def resumed(self, now: Instant, by: str, reason: str) -> None:
        """Keep that a person lets trading go on, and forget a later time that was seen."""
        self._sql.execute("INSERT INTO switch_steps (at, stopped, by, reason) VALUES (?, 0, ?, ?)", (now, by, reason))
        self._sql.execute("DELETE FROM counters WHERE name = ?", (_LATEST,))

    def switch_steps(self, limit: int) -> list[SwitchStep]:
        """When trading was stopped and let go on, by whom and why; the latest first."""
        rows = self._sql.execute("SELECT at, stopped, by, reason FROM switch_steps ORDER BY id DESC LIMIT ?", (limit,))
        return [SwitchStep(at=at, stopped=bool(stopped), by=by, reason=reason) for at, stopped, by, reason in rows]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)


def order_of(row: tuple[Any, ...]) -> Order:
    return Order(**dict(zip((one.name for one in COLUMNS), row, strict=True)))
