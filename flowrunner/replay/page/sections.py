"""What stands on the page, section by section: the figures of a result in words, rows and bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.message import JSON
from flowrunner.replay.page.reading import Battery, Day, Month, Order, Result
from flowrunner.replay.page.words import day, figure, month, period, signed, weekday
from flowrunner.replay.remarks import SHOWN_MWH

DAYS = 5
"""Of the best, and of the worst."""
Stretch = tuple[int, int]
"""From and to in seconds since 1970: what the charts show when a row is chosen."""


class Line(msgspec.Struct, frozen=True):
    label: str
    value: str
    exact: JSON
    unit: str = ""
    kind: str = ""


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    label: str
    value: str
    exact: JSON
    unit: str = ""
    sub: str = ""
    lines: Sequence[Line] = ()


class Bar(msgspec.Struct, frozen=True):
    """In percent of its box."""

    x: float
    width: float
    zero: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A month or a day."""

    name: str
    year: str = ""
    """Of a month: where there is little room, the year goes that all months share."""
    profit: str
    profit_eur: float = 0.0
    bought: str = ""
    sold: str = ""
    orders: str = ""
    cycles: str = ""
    note: str = ""
    bar: Bar | None = None
    stretch: Stretch | None = None


# ---- headline figures -------------------------------------------------------------------------------------------


def battery_words(battery: Battery) -> str:
    return f"{battery.capacity_mwh:g} MWh · {battery.power_mw:g} MW"


def days_of(result: Result) -> int:
    return (result.last - result.first).days + 1


def tiles(result: Result) -> Iterator[Tile]:
    energy, battery, days = result.energy, result.battery, days_of(result)
    yield Tile(
        key="profit_eur",
        label="Profit",
        value=figure(result.profit_eur, 2),
        exact=result.profit_eur,
        unit="€",
        sub=f"{figure(result.profit_eur / days, 2)} € a day in {days} {'day' if days == 1 else 'days'}",
        lines=[
            Line("Received", figure(result.revenue_eur, 2), result.revenue_eur, "€"),
            Line("Paid", figure(result.cost_eur, 2), result.cost_eur, "€"),
        ],
    )
    lines = [
        Line("↑ Sold", figure(energy.sold_mwh, 1), energy.sold_mwh, "MWh", "di"),
        Line("Lost in conversion", figure(energy.losses_mwh, 1), energy.losses_mwh, "MWh"),
        Line("Change in the battery", signed(energy.stored_change_mwh, 1), energy.stored_change_mwh, "MWh"),
    ]
    if energy.site_mwh:
        lines.append(Line("Used on site", figure(energy.site_mwh, 1), energy.site_mwh, "MWh"))
    for key, missing in energy.undelivered_mwh.items():
        if missing > SHOWN_MWH:
            label = f"{key.removesuffix('_mwh').capitalize()}, not delivered"
            lines.append(Line(label, figure(missing, 2), missing, "MWh", "bad"))
    yield Tile(
        key="bought_mwh",
        label="Energy bought",
        value=figure(energy.bought_mwh, 1),
        exact=energy.bought_mwh,
        unit="MWh",
        sub="from the market, at the meter",
        lines=lines,
    )
    if (cycles := battery.full_cycles) is not None:
        ends = [
            Line(label, figure(soc, 1), soc, "%")
            for label, soc in (("Charge at start", battery.soc_start_percent), ("at the end", battery.soc_end_percent))
            if soc is not None
        ]
        yield Tile(
            key="full_cycles",
            label="Full cycles",
            value=figure(cycles, 1),
            exact=cycles,
            sub=f"{figure(cycles / days, 2)} a day",
            lines=[*ends, *_each("Profit per cycle", result.profit_eur, cycles, "€")],
        )
    if (way := battery.efficiency) is not None:
        share = way * way
        yield Tile(
            key="round_trip",
            label="Round trip",
            value=figure(share * 100, 2),
            exact=share,
            unit="%",
            sub=f"of 1 MWh bought, {round(share, 6):g} MWh can be sold",
            lines=[
                Line("Charging", figure(way * 100, 1), way, "%"),
                Line("Discharging", figure(way * 100, 1), way, "%"),
            ],
        )
    each = result.profit_eur / energy.sold_mwh if energy.sold_mwh else None
    yield Tile(
        key="eur_per_mwh",
        label="Profit per MWh sold",
        value="–" if each is None else figure(each, 2),
        exact=each,
        unit="" if each is None else "€",
        sub="nothing was sold" if each is None else "profit by energy sold",
        lines=[
            *_mean("↑ Mean price sold", result.orders, "sell", "di"),
            *_mean("↓ Mean price bought", result.orders, "buy", "ch"),
        ],
    )


def _each(label: str, total: float, by: float, unit: str, kind: str = "") -> list[Line]:
    return [Line(label, figure(total / by, 2), total / by, unit, kind)] if by else []


def _mean(label: str, orders: Sequence[Order], side: str, kind: str) -> list[Line]:
    """From the orders: revenue and cost are split by the way that money went, which a negative price turns round."""
    filled = [one for one in orders if one.side.lower() == side and one.status == "filled"]
    paid = sum((one.price_eur_mwh or 0.0) * one.quantity_mwh for one in filled)
    return _each(label, paid, sum(one.quantity_mwh for one in filled), "€", kind)


# ---- months and days --------------------------------------------------------------------------------------------


def bar(value: float, low: float, high: float) -> Bar:
    """From nothing to the value, in a box from low to high; both sides of nothing where there are losses."""
    low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) or 1.0
    zero = -low / room * 100
    size = abs(value) / room * 100
    return Bar(round(zero - size if value < 0 else zero, 2), round(size, 2), round(zero, 2))


def month_rows(result: Result, stretches: Mapping[str, Stretch]) -> Iterator[Row]:
    profits = [one.profit_eur for one in result.months]
    one_year = len({one.month[:4] for one in result.months}) == 1
    for one in result.months:
        yield Row(
            name=month(one.month, year=not one_year),
            year=one.month[:4] if one_year else "",
            profit=figure(one.profit_eur, 2),
            profit_eur=one.profit_eur,
            bought=figure(one.bought_mwh, 1),
            sold=figure(one.sold_mwh, 1),
            orders=figure(one.orders),
            cycles=_cycles(one),
            bar=bar(one.profit_eur, min(profits), max(profits)),
            stretch=stretches.get(one.month),
        )


def total_row(result: Result) -> Row:
    cycles = result.battery.full_cycles
    return Row(
        name="In all",
        profit=figure(result.profit_eur, 2),
        profit_eur=result.profit_eur,
        bought=figure(result.energy.bought_mwh, 1),
        sold=figure(result.energy.sold_mwh, 1),
        orders=figure(len(result.orders)),
        cycles="" if cycles is None else figure(cycles, 1),
    )


def _cycles(one: Month) -> str:
    return "" if one.cycles is None else figure(one.cycles, 1)


def best_and_worst(result: Result, stretches: Mapping[str, Stretch]) -> tuple[list[Row], list[Row]]:
    """The days that earned most, and those that lost most."""
    ranked = sorted(result.days, key=lambda one: (-one.profit_eur, one.date))
    best = [one for one in ranked[:DAYS] if one.profit_eur > 0]
    worst = [one for one in ranked[::-1][:DAYS] if one.profit_eur < 0]
    return [_day_row(one, stretches) for one in best], [_day_row(one, stretches) for one in worst]


def _day_row(one: Day, stretches: Mapping[str, Stretch]) -> Row:
    return Row(
        name=weekday(one.date),
        profit=figure(one.profit_eur, 2),
        profit_eur=one.profit_eur,
        bought=figure(one.bought_mwh, 1),
        sold=figure(one.sold_mwh, 1),
        note="" if one.hours in (None, 24) else f"{one.hours:g} hours",
        stretch=stretches.get(one.date.isoformat()),
    )


def stretches(at: Sequence[int], end: int, calendar: Mapping[str, Sequence[int]], zone: ZoneInfo) -> dict[str, Stretch]:
    """By ``2024-03`` and ``2024-03-05``: from when to when a month or day of the replay goes."""
    found: dict[str, Stretch] = {}
    for unit, form in (("months", "%Y-%m"), ("days", "%Y-%m-%d")):
        edges = [*(at[index] for index in calendar[unit]), end]
        for begin, finish in pairwise(edges):
            found[f"{_local(begin, zone):{form}}"] = (begin, finish)
    return found


def _local(seconds: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).date()


def headline(result: Result) -> dict[str, str]:
    title = result.title
    if isinstance(title, Mapping):
        title = title.get("en") or next(iter(title.values()), "")
    return {
        "flow": result.flow,
        "title": str(title) or result.flow,
        "period": period(result.first, result.last),
        "first": day(result.first),
        "last": day(result.last),
        "battery": battery_words(result.battery),
        "zone": result.zone,
        "step": "" if result.step is None else str(result.step),
        "prices": result.prices,
        "credit": result.credit or "",
    }
