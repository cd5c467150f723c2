"""An order looked for by what it is like, in a list that holds neither our ids nor delivery times."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import msgspec

from flowrunner.exchange.adapter import Found, Ticket, Told
from flowrunner.exchange.calls import order_id, same
from flowrunner.fields import is_number
from flowrunner.message import JSON, Instant
from flowrunner.units import SECOND, iso, parse_instant

SHOWN = 100
"""Rows of a list that goes on behind its last one: of one that is shorter, all is seen."""
LEEWAY_NS = 5 * SECOND
"""How far the exchange's times may be beside the time at which an order was sent."""
NEAR_QUANTITY, NEAR_EUR_MWH = 0.01, 0.05
"""A share of a quantity, and a price: how far a list that rounds may show an order beside what was sent."""
FILLED, REJECTED = "FILLED", "REJECTED"
ENDS = (FILLED, "CANCELLED", "EXPIRED", REJECTED)
"""Statuses of an order of which nothing more can be traded."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``GET /orders`` or ``GET /trades``, or what a stream says of one. ``at`` by the exchange's clock."""

    order_id: str
    market: str
    side: str
    quantity_mwh: float
    price: float | None
    status: str
    at: Instant


class Unreadable(ValueError):
    """What is no row, in a few words."""


def row(said: JSON) -> Row:
    """A line as the exchange gives it. Unreadable names the field that is wrong, not its value."""
    if not isinstance(said, dict):
        raise Unreadable("it is no object")
    named = order_id(said.get("order_id"))
    if not named:
        raise Unreadable("order_id is no id")
    for name in ("market", "status", "timestamp"):
        if not isinstance(said.get(name), str):
            raise Unreadable(f"{name} is no text")
    if said.get("side") not in ("BUY", "SELL"):
        raise Unreadable("side is neither BUY nor SELL")
    if not is_number(said.get("quantity_mwh")):
        raise Unreadable("quantity_mwh is no number")
    price = said.get("price")
    if price is not None and not is_number(price):
        raise Unreadable("price is no number")
    try:
        at = parse_instant(said["timestamp"])
    except ValueError:
        raise Unreadable("timestamp is no time with a zone") from None
    return Row(
        order_id=named, market=said["market"], side=said["side"], quantity_mwh=said["quantity_mwh"], price=price,
        status=said["status"], at=at,
    )  # fmt: skip


def rows(said: JSON) -> list[Row]:
    """A list of them. Unreadable when even one is no row: it could be the one that is looked for."""
    if not isinstance(said, list):
        raise Unreadable("the answer is no list")
    found = []
    for number, one in enumerate(said, 1):
        try:
            found.append(row(one))
        except Unreadable as error:
            raise Unreadable(f"its row {number} cannot be read: {error}") from None
    return found


def is_like(ticket: Ticket, one: Row) -> bool:
    """Whether the row could be this order, as far as a row tells."""
    if (one.market, one.side) != (ticket.market, ticket.side) or not same(one.quantity_mwh, ticket.quantity_mwh):
        return False
    if ticket.limit_price_eur_mwh is None:
        return one.price is None or one.price == 0
    return one.price is not None and same(ticket.limit_price_eur_mwh, one.price)


def is_near(ticket: Ticket, one: Row) -> bool:
    """Whether the row may be this order in a list that rounds, or that shows of a traded order what was paid."""
    if (one.market, one.side) != (ticket.market, ticket.side):
        return False
    if not math.isclose(one.quantity_mwh, ticket.quantity_mwh, rel_tol=NEAR_QUANTITY, abs_tol=1e-9):
        return False
    if FILLED in one.status:  # in part, too
        return True
    return abs((one.price or 0.0) - (ticket.limit_price_eur_mwh or 0.0)) <= NEAR_EUR_MWH + 1e-9


def traded_by(one: Row) -> float | None:
    """MWh traded of an order as far as its status tells; None where it does not."""
    return {FILLED: one.quantity_mwh, REJECTED: 0.0}.get(one.status)


def search(
    ticket: Ticket,
    seen: list[Row],
    *,
    sent_at: Instant,
    since: Instant,
    timeout_ns: int,
    offset_ns: int | None,
    taken: Collection[str],
) -> Found:
    """What follows from the newest rows of all users, in any order.

    ``timeout_ns``: how long after ``sent_at`` the request may have been on its way. ``offset_ns``: how far the
    exchange's clock is ahead of ours; None: not known. ``since`` and ``taken`` as `Adapter.find` has them.

    It may only err to the side of ``unclear``: an order that is there and said to be absent would be sent twice.
    """
    ahead = offset_ns or 0
    first, last = sent_at + ahead - LEEWAY_NS, sent_at + ahead + timeout_ns + LEEWAY_NS
    alike = [one for one in seen if one.order_id not in taken and is_like(ticket, one)]
    hits = {one.order_id: one for one in alike if first <= one.at <= last}
    if len(hits) == 1:
        (hit,) = hits.values()
        told = Told(
            exchange_id=hit.order_id, status=hit.status, filled_mwh=traded_by(hit), ended=hit.status in ENDS
        )  # fmt: skip
        reason = (
            f"found by likeness, not by its own id: the only order like it at that time is {hit.order_id} of "
            f"{iso(hit.at)}"
        )
        return Found(meaning="there", reason=reason, told=told)
    if hits:
        return _unclear(f"{len(hits)} orders are like it: {', '.join(sorted(hits)[:5])}")
    # by the one reading of its clock or the other: what shows its time and what stamps orders may be two machines
    near = [one for one in alike if one.at >= min(first, sent_at - LEEWAY_NS)]
    if near:
        came = "came later" if near[0].at > last else "is of a time that does not fit its clock"
        return _unclear(f"one that looks like it {came}: {near[0].order_id} of {iso(near[0].at)}")
    if alike and offset_ns is None:
        why = "and the exchange does not say what its clock shows"
        return _unclear(f"one that looks like it came earlier, {why}: {alike[0].order_id} of {iso(alike[0].at)}")
    others = (one for one in _about_then(seen, first, last, offset_ns) if one.order_id not in taken)
    if maybe := [one for one in others if is_near(ticket, one)]:
        seems = f"{maybe[0].order_id} of {iso(maybe[0].at)}"
        return _unclear(f"one is nearly like it, as if its numbers were rounded or its trade's price shown: {seems}")
    if len(seen) < SHOWN:
        return Found(meaning="absent", reason=f"no order like it is among all {len(seen)} of the exchange")
    if offset_ns is None:
        return _unclear(f"no order like it is among the newest {len(seen)}, and how far they reach back is not known: "
                        "the exchange does not say what its clock shows")  # fmt: skip
    reaches = min(one.at for one in seen)
    if reaches - min(ahead, 0) > since - LEEWAY_NS:
        return _unclear(f"the list does not reach back to {iso(since)}: its oldest order is of {iso(reaches)}")
    return Found(meaning="absent", reason=f"no order like it is among the newest {len(seen)}, back to {iso(reaches)}")


def _about_then(seen: list[Row], first: Instant, last: Instant, offset_ns: int | None) -> Iterator[Row]:
    """The rows in the window by its clock or by ours; all, where nobody knows what its clock shows."""
    ahead = offset_ns or 0
    for one in seen:
        if offset_ns is None or first <= one.at <= last or first <= one.at + ahead <= last:
            yield one


def _unclear(reason: str) -> Found:
    return Found(meaning="unclear", reason=reason)
