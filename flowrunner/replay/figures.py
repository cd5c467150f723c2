"""The figures of a replay: from orders and flows to money and energy, in all, by month and by day. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.market import local_day, midnight
from flowrunner.message import JSON, Instant
from flowrunner.orders import Order
from flowrunner.replay.plant import HOUR, Plant, SlotFlow
from flowrunner.units import SECOND, iso

DIGITS = 6
"""Decimals of what is written: a millionth of a EUR, of a MWh."""
Result = dict[str, JSON]
"""What ``--json`` writes."""


def cash(order: Order) -> float:
    """EUR received for a filled order (negative: paid), at its clearing price; 0 for any other."""
    price = order.average_price_eur_mwh
    if order.state != "filled" or price is None:
        return 0.0
    return price * order.filled_mwh if order.side == "SELL" else -price * order.filled_mwh


class Money(msgspec.Struct, frozen=True):
    """EUR, split by the way that they went: for a negative price who buys is paid."""

    revenue: float
    cost: float

    @property
    def profit(self) -> float:
        return self.revenue - self.cost

    @classmethod
    def of(cls, orders: Iterable[Order]) -> Money:
        flows = [cash(one) for one in orders]
        return cls(math.fsum(one for one in flows if one > 0), -math.fsum(one for one in flows if one < 0))


def profit_of_what_flowed(orders: Iterable[Order], flows: Iterable[SlotFlow]) -> float:
    """EUR, as if what was ordered and did not flow had been neither paid nor received: of each order the share that
    flowed of all that its side had bought or sold in its slot."""
    orders = list(orders)
    ordered: dict[tuple[Instant, str], float] = {}
    for one in orders:
        key = (one.delivery_start, one.side)
        ordered[key] = ordered.get(key, 0.0) + one.filled_mwh
    flowed = {(flow.start, side): mwh for flow in flows for side, mwh in (("BUY", flow.bought), ("SELL", flow.sold))}
    return math.fsum(
        cash(one) * min(1.0, flowed.get((one.delivery_start, one.side), 0.0) / whole)
        for one in orders
        if (whole := ordered[one.delivery_start, one.side])
    )


class Period(msgspec.Struct):
    """What happened in a day or a month of the flow's zone."""

    orders: list[Order] = []
    flows: list[SlotFlow] = []

    def figures(self, capacity_mwh: float) -> dict[str, JSON]:
        return {
            "profit_eur": rounded(Money.of(self.orders).profit),
            "bought_mwh": rounded(math.fsum(one.bought for one in self.flows)),
            "sold_mwh": rounded(math.fsum(one.sold for one in self.flows)),
            "orders": len(self.orders),
            "cycles": rounded(math.fsum(one.from_cells for one in self.flows) / capacity_mwh),
        }


def rounded(value: float) -> float:
    """For people and files; never ``-0.0``."""
    return round(value, DIGITS) + 0.0


def by_day(
    orders: Sequence[Order], flows: Sequence[SlotFlow], first: date, last: date, zone: ZoneInfo
) -> dict[date, Period]:
    """Every day from ``first`` to ``last``, and those behind it in which something was still delivered. An order
    belongs to the day of its delivery."""
    days: dict[date, Period] = {}
    day = first
    while day <= last:
        days[day] = Period()
        day += timedelta(days=1)
    for order in orders:
        days.setdefault(local_day(order.delivery_start, zone), Period()).orders.append(order)
    today, until = first, midnight(first + timedelta(days=1), zone)
    for flow in flows:  # they are in the order of time
        while flow.start >= until:
            today += timedelta(days=1)
            until = midnight(today + timedelta(days=1), zone)
        if today <= last or flow.given or flow.bought or flow.sold:
            days.setdefault(today, Period()).flows.append(flow)
    return dict(sorted(days.items()))


def months(days: Mapping[date, Period], capacity_mwh: float) -> list[JSON]:
    found: dict[str, Period] = {}
    for day, period in days.items():
        month = found.setdefault(f"{day:%Y-%m}", Period())
        month.orders += period.orders
        month.flows += period.flows
    return [{"month": name, **one.figures(capacity_mwh)} for name, one in found.items()]


def daily(days: Mapping[date, Period], zone: ZoneInfo, capacity_mwh: float) -> list[JSON]:
    return [
        {
            "date": day.isoformat(),
            "hours": (midnight(day + timedelta(days=1), zone) - midnight(day, zone)) / HOUR,
            **one.figures(capacity_mwh),
        }
        for day, one in days.items()
    ]


def energy(plant: Plant, *, site: bool) -> dict[str, JSON]:
    account = plant.account
    found: dict[str, JSON] = {
        "bought_mwh": account.bought,
        "sold_mwh": account.sold,
        "losses_mwh": account.losses,
        "stored_change_mwh": plant.stored_change,
        "undelivered_mwh": {"bought": rounded(account.not_bought), "sold": rounded(account.not_sold)},
    }
    return found | ({"site_mwh": account.site} if site else {})


def orders_shown(orders: Iterable[Order]) -> list[JSON]:
    return [
        {
            "order": one.id,
            "delivery_start": iso(one.delivery_start),
            "delivery_end": iso(one.delivery_end),
            "side": one.side,
            "quantity_mwh": one.quantity_mwh,
            "price_eur_mwh": one.average_price_eur_mwh if one.state == "filled" else None,
            "limit_price_eur_mwh": one.limit_price_eur_mwh,
            "status": one.state,
            "rule": one.rule,
        }
        | ({"reason": one.reason} if one.reason and one.state != "filled" else {})
        for one in orders
    ]


def series(flows: Sequence[SlotFlow], prices: Sequence[float | None], orders: Iterable[Order], slot_ns: int) -> JSON:
    """Columns by delivery slot: its begin (seconds since 1970), its price, the mean power at the terminals (positive:
    discharging), and at its end the state of charge and the profit so far."""
    paid: dict[Instant, float] = {}
    for order in orders:
        begin = order.delivery_start - order.delivery_start % slot_ns
        paid[begin] = paid.get(begin, 0.0) + cash(order)
    profit, profits, hours = 0.0, [], slot_ns / HOUR
    for flow in flows:
        profit += paid.get(flow.start, 0.0)
        profits.append(round(profit, 2) + 0.0)
    return {
        "slots": {
            "start": [one.start // SECOND for one in flows],
            "price_eur_mwh": list(prices),
            "power_mw": [round(one.given / hours, 4) + 0.0 for one in flows],
            "soc_percent": [round(one.soc_percent, 3) for one in flows],
            "profit_eur": profits,
        }
    }
