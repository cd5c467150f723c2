"""What came of the orders: by status, what held them back, time at the limits, clauses that held, and the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.replay.page.reading import Condition, Order, Result
from flowrunner.replay.page.sections import Bar, bar
from flowrunner.replay.page.words import figure, moment, spoken

FIRST_ORDERS = 100
"""More rows are in the file that --json writes: a page with ten thousand of them opens slowly."""
LIMITS = {
    "at_full_power_h": "At full power",
    "at_min_soc_h": "At the lowest state of charge",
    "at_max_soc_h": "At the highest state of charge",
    "derated_by_heat_h": "Derated by heat",
}


class Table(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    none: str
    notes: Sequence[str] = ()
    aside: str = ""
    width: str = "c4"


class Clause(msgspec.Struct, frozen=True):
    text: str
    told: str
    bar: Bar
    never: bool


class RuleRow(msgspec.Struct, frozen=True):
    name: str
    told: str
    clauses: Sequence[Clause]


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    delivery: str
    side: str
    kind: str
    quantity: str
    paid: str
    limit: str
    status: str
    look: str
    reason: str
    rule: str
    id: str


def tables(result: Result) -> Iterator[Table]:
    counts = Counter((one.status, one.side.lower()) for one in result.orders)
    statuses = sorted({status for status, _ in counts}, key=lambda one: (one != "filled", one))
    yield Table(
        key="statuses",
        title="Orders by status",
        columns=["Status", "Buy", "Sell", "All"],
        rows=[
            [status, *map(figure, (counts[status, "buy"], counts[status, "sell"])), figure(_count(result, status))]
            for status in statuses
        ],
        none="No order was made.",
        aside=f"{figure(len(result.orders))} in all",
    )
    hours = result.limits.get("hours", 0.0)
    yield Table(
        key="limits",
        title="Time at the limits",
        columns=["Limit", "Hours", "Share"] if hours else ["Limit", "Hours"],
        rows=list(_limits(result.limits, hours)),
        none="Nothing was counted.",
    )
    yield Table(
        key="blocked",
        title="Held back by the guard",
        columns=["Reason", "Slots", "Times"],
        rows=[[reason, figure(told.slots), figure(told.times)] for reason, told in result.blocked.items()],
        notes=[f"{reason}: {told.example}" for reason, told in result.blocked.items() if told.example],
        none="The guard held no order back.",
    )


def _count(result: Result, status: str) -> int:
    return sum(one.status == status for one in result.orders)


def _limits(limits: Mapping[str, float], hours: float) -> Iterator[list[str]]:
    for name, value in limits.items():
        if name != "hours":
            share = [f"{figure(value / hours * 100, 1)} %"] if hours else []
            yield [LIMITS.get(name, spoken(name)), figure(value, 1), *share]


def rules(result: Result) -> list[RuleRow]:
    return [
        RuleRow(
            name,
            f"wished for an order on {figure(rule.wished)} of {figure(rule.records)} records",
            [_clause(one) for one in rule.conditions],
        )
        for name, rule in result.rules.items()
    ]


def _clause(one: Condition) -> Clause:
    judged = one.held + one.not_held
    words = f"{figure(one.held)} of {figure(judged)}"
    if one.not_judged:
        words += f", {figure(one.not_judged)} not judged"
    return Clause(one.text, words, bar(one.held / judged if judged else 0.0, 0.0, 1.0), one.held == 0)


def silent(result: Result) -> list[dict[str, str]]:
    """The clauses that never held, where there is no order."""
    if result.orders:
        return []
    return [
        {"rule": row.name, "text": clause.text, "told": clause.told}
        for row in rules(result)
        for clause in row.clauses
        if clause.never
    ]


def empty(result: Result) -> str:
    """Why there is no order, as far as the rules tell; nothing when there are orders."""
    if result.orders:
        return ""
    if result.blocked:
        return "The guard held back all that the rules wished for; the reasons are below."
    if not result.rules:
        return "The flow has no rule that could make one."
    if silent(result):
        return "A rule wishes for an order only while all its clauses hold. These never did:"
    if any(rule.wished for rule in result.rules.values()):
        return "Rules wished for orders, and none was made."
    return "Each clause of the rules held at some time, but never all of one rule together."


def order_rows(orders: Sequence[Order], zone: ZoneInfo) -> Iterator[OrderRow]:
    for one in orders:
        buys = one.side.lower() == "buy"
        yield OrderRow(
            delivery=moment(one.delivery_start, zone),
            side="↓ Buy" if buys else "↑ Sell",
            kind="ch" if buys else "di",
            quantity=f"{one.quantity_mwh:g}",
            paid="–" if one.price_eur_mwh is None else figure(one.price_eur_mwh, 2),
            limit="–" if one.limit_price_eur_mwh is None else figure(one.limit_price_eur_mwh, 2),
            status=one.status,
            look="ok" if one.status == "filled" else "line",
            reason=one.reason,
            rule=one.rule,
            id=str(one.order),
        )
