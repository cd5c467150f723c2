"""The limits of orders: one function for each check, from plain values to a refusal or nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.market import Slot
from flowrunner.message import FUTURE_TOLERANCE_NS, NOT_YET, FieldInfo, Instant
from flowrunner.orders.order import Intent, Order, Refusal, Side
from flowrunner.units import Duration, iso, seconds_text

TINY = 1e-9
"""MWh: sums of decimal quantities are compared with this much room."""


Count = Annotated[int, Meta(ge=1)]


class MaxOrders(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many orders there may be, whatever became of them; counted from the journal, per market."""

    per_slot: Annotated[Count | None, Meta(description="For one delivery slot, both sides together.")] = None
    per_minute: Annotated[Count | None, Meta(description="Within one minute, counted by UTC.")] = None
    per_day: Annotated[Count | None, Meta(description="Decided on one day of the flow's time zone.")] = None


class PriceRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limit prices outside are refused, never moved."""

    min: Annotated[float, Meta(description="EUR/MWh.")]
    max: Annotated[float, Meta(description="EUR/MWh.")]


class Reduction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an order is reduced to."""

    max_quantity_mwh: Annotated[float, Meta(gt=0, description="Largest quantity of an order, in MWh.")]


class Energy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The battery, as far as orders must fit into it."""

    capacity_mwh: Annotated[float, Meta(gt=0, description="Energy between 0 and 100 %, in MWh.")]
    min_soc: Annotated[float, Meta(ge=0, le=100, description="State of charge to keep at least, in %.")] = 0
    max_soc: Annotated[float, Meta(ge=0, le=100, description="State of charge to keep at most, in %.")] = 100
    efficiency: Annotated[
        float, Meta(gt=0, le=1, description="Of one way: 0.9 means that 1 MWh sold takes 1.11 MWh from the battery.")
    ] = 1


class Held(msgspec.Struct, frozen=True):
    """What the journal holds of a market, as far as it counts for a new order."""

    slot: int
    minute: int
    day: int
    unknown: str
    """The id of an order of which nobody knows whether the exchange has it, or ""."""
    opposite: str
    """The id of an order for the other side of the same slot, or ""."""
    delivery_day: list[Order]
    """Orders that are delivered on the same local day."""
    pending: list[Order]
    """Orders whose delivery has not ended when the state of charge was measured."""


# ---- the record ---------------------------------------------------------------------------------------------


def unclear_verdicts(names: Iterable[str], verdicts: dict[str, tuple[object, str]]) -> list[tuple[str, str]]:
    """The named thresholds that are not ``clear``, with what they are. ``verdicts``: name → (verdict, trouble).

    Missing, stale or unknown counts as above.
    """
    found = []
    for name in names:
        verdict, trouble = verdicts.get(name, (None, "missing"))
        if trouble or verdict != "clear":
            found.append((name, trouble or str(verdict)))
    return found


def stale(field: str, info: FieldInfo, trouble: str, max_age: Duration | None, now: Instant) -> Refusal | None:
    """A value that must not be used now, or whose last word is older than the limit."""
    if trouble and trouble != NOT_YET:  # an interval that is not the delivery's is said as price-slot-mismatch
        code = trouble if trouble in ("stale", "uncertain", "bad") else "untrusted"
        return Refusal(code, f"{field} is {trouble} ({seconds_text(info.age_ns(now))} s old, from {info.source})")
    if max_age is not None and info.age_ns(now) > max_age:
        age = seconds_text(info.age_ns(now))
        return Refusal("stale", f"{field} is {age} s old, from {info.source}; at most {max_age} is allowed")
    return None


def wrong_slot(field: str, info: FieldInfo, slot: Slot) -> Refusal | None:
    """A value with an interval must be for the whole slot that is ordered."""
    if info.valid_from is None or info.valid_until is None:
        return None
    own = Slot(info.valid_from, info.valid_until)
    if own.contains(slot):
        return None
    return Refusal("price-slot-mismatch", f"{field} is for {own}; the order would be for {slot}")


# ---- the order ----------------------------------------------------------------------------------------------


def clock(latest: Instant, now: Instant) -> Refusal | None:
    """A clock that was set back: what the journal has seen of a later time must not be ordered again."""
    if latest - now <= FUTURE_TOLERANCE_NS:
        return None
    text = f"the clock was set back: the journal knows {iso(latest)} already, now it is {iso(now)}"
    return Refusal("clock-set-back", f"{text}; if that time was wrong: `flowrunner resume-trading`")


def price(intent: Intent, allowed: PriceRange | None) -> Refusal | None:
    if allowed is None:
        return None
    asked = intent.limit_price_eur_mwh
    if asked is None:
        return Refusal("price", "an order without a limit price cannot be held within the price range")
    if not allowed.min <= asked <= allowed.max:
        return Refusal("price", f"{asked:g} EUR/MWh is outside of {allowed.min:g} to {allowed.max:g}")
    return None


def quantity(intent: Intent, most: float | None) -> Refusal | None:
    if most is not None and intent.quantity_mwh > most + TINY:
        return Refusal("quantity", f"{intent.quantity_mwh:g} MWh is more than {most:g}")
    return None


def value(intent: Intent, most: float | None) -> Refusal | None:
    if most is None:
        return None
    if intent.limit_price_eur_mwh is None:
        return Refusal("value", "the value of an order without a limit price is not known")
    worth = abs(intent.limit_price_eur_mwh) * intent.quantity_mwh
    return Refusal("value", f"{worth:.2f} EUR is more than {most:g}") if worth > most + TINY else None


def counts(most: MaxOrders, held: Held) -> Refusal | None:
    for what, count, limit in (
        ("for this slot", held.slot, most.per_slot),
        ("in this minute", held.minute, most.per_minute),
        ("today", held.day, most.per_day),
    ):
        if limit is not None and count >= limit:
            return Refusal("max-orders", f"{count} orders {what}, at most {limit} are allowed")
    return None


def changed(known: Order, intent: Intent) -> Refusal | None:
    """An order that waits to be sent, and its rule's wish of now: what is sent must be what is wished."""
    if known.quantity_mwh > intent.quantity_mwh + TINY:
        return Refusal("quantity", f"{intent.quantity_mwh:g} MWh would be ordered now, not {known.quantity_mwh:g} MWh")
    for name in ("limit_price_eur_mwh", "order_type", "time_in_force"):
        before, now = getattr(known, name), getattr(intent, name)
        if before != now:
            return Refusal("changed", f"its rule wishes {name} {now} now, not {before}")
    return None


def unknown(held: Held) -> Refusal | None:
    if held.unknown:
        return Refusal("market-blocked", f"whether the exchange has {held.unknown} is not known")
    return None


def opposite(intent: Intent, held: Held) -> Refusal | None:
    if held.opposite:
        return Refusal("opposite-order", f"{held.opposite} is for the other side of the same slot")
    return None


def position(intent: Intent, most: float | None, held: Held) -> Refusal | None:
    """Bought minus sold. What the exchange has not settled counts where it makes things worse."""
    if most is None:
        return None
    before = sum(signed(one.side, _settled(one)) for one in held.delivery_day)
    before += sum(
        signed(one.side, one.committed_mwh - _settled(one)) for one in held.delivery_day if one.side == intent.side
    )
    after = before + signed(intent.side, intent.quantity_mwh)
    if abs(after) > most + TINY and abs(after) > abs(before):
        return Refusal("position", f"the day's net position would be {after:g} MWh, at most ±{most:g} is allowed")
    return None


def _settled(order: Order) -> float:
    """What of an order is certain, in MWh: what was traded, and all of one that was taken and not heard of since."""
    return order.committed_mwh if order.state in ("accepted", "paper") else order.filled_mwh


def energy(intent: Intent, battery: Energy | None, soc: float, measured_at: Instant, held: Held) -> Refusal | None:
    """Whether the battery can deliver. What is ordered and not delivered yet counts where it makes things worse, and
    does not where it would help: it might not come."""
    if battery is None:
        return None
    stored = soc / 100 * battery.capacity_mwh
    open_mwh = sum(_undelivered(one, measured_at) for one in held.pending if one.side == intent.side)
    total = open_mwh + intent.quantity_mwh
    if intent.side == "SELL":
        left = (stored - total / battery.efficiency) / battery.capacity_mwh * 100
        fits, limit = left >= battery.min_soc - TINY, f"below {battery.min_soc:g} %"
    else:
        left = (stored + total * battery.efficiency) / battery.capacity_mwh * 100
        fits, limit = left <= battery.max_soc + TINY, f"above {battery.max_soc:g} %"
    if fits:
        return None
    others = f", with {open_mwh:g} MWh ordered and not delivered," if open_mwh else ""
    return Refusal("energy", f"from {soc:g} %{others} it would end at {left:.1f} %, {limit}")


def signed(side: Side, mwh: float) -> float:
    """Bought energy counts up, sold energy down."""
    return mwh if side == "BUY" else -mwh


def _undelivered(order: Order, at: Instant) -> float:
    """How much of an order is delivered after ``at``."""
    length = order.delivery_end - order.delivery_start
    rest = max(order.delivery_end - max(at, order.delivery_start), 0)
    return order.committed_mwh * rest / length
