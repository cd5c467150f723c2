"""A result as `replay --json` writes it, made from the shipped prices and a battery that knows only two prices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from flowrunner.market.price_file import read
from flowrunner.message import JSON
from flowrunner.units import SECOND

CAPACITY, POWER, WAY = 10.0, 5.0, 0.95
ZONE = ZoneInfo("Europe/Berlin")
Result = dict[str, Any]


def local(start: int) -> datetime:
    return datetime.fromtimestamp(start, UTC).astimezone(ZONE)


def made(first: date, last: date, *, parts: int = 1, below: float = 45.0, above: float = 90.0) -> Result:
    """From ``first`` to ``last``, both included. ``parts``: slots to the hour; all of one hour have its price."""
    begin = datetime.combine(first, datetime.min.time(), ZONE).timestamp()
    end = datetime.combine(last + timedelta(days=1), datetime.min.time(), ZONE).timestamp()
    hours = [(one.start // SECOND, one.eur_mwh) for one in read("shipped:DE-LU-2024.csv")]
    slots = [(start + k * 3600 // parts, price) for start, price in hours if begin <= start < end for k in range(parts)]

    stored, profit = 0.0, 0.0
    orders: list[JSON] = []
    columns: dict[str, list[Any]] = {
        name: [] for name in ("start", "price_eur_mwh", "power_mw", "soc_percent", "profit_eur")
    }
    for start, price in slots:
        power = 0.0
        if price <= below and stored <= CAPACITY - POWER / parts * WAY:
            power = -POWER
        elif price >= above and stored >= POWER / parts / WAY:
            power = POWER
        energy = power / parts
        stored -= energy / WAY if power > 0 else energy * WAY
        profit += energy * price
        if power:
            orders.append(_order(start, parts, "SELL" if power > 0 else "BUY", abs(energy), price))
        for name, value in zip(columns, (start, price, power, stored / CAPACITY * 100, profit), strict=True):
            columns[name].append(round(value, 3))
    return _result(first, last, orders, columns, stored)


def _order(start: int, parts: int, side: str, mwh: float, price: float) -> JSON:
    begin = datetime.fromtimestamp(start, UTC)
    return {
        "order": f"epex_de-{begin:%Y%m%dT%H%MZ}-{side}",
        "delivery_start": f"{begin:%Y-%m-%dT%H:%M:%S.000Z}",
        "delivery_end": f"{begin + timedelta(hours=1 / parts):%Y-%m-%dT%H:%M:%S.000Z}",
        "side": side,
        "quantity_mwh": mwh,
        "price_eur_mwh": price,
        "limit_price_eur_mwh": price,
        "status": "filled",
        "rule": "buy" if side == "BUY" else "sell",
    }


def _result(first: date, last: date, orders: list[JSON], columns: dict[str, list[Any]], stored: float) -> Result:
    in_all = _sums(orders)
    by_day = {day: list(some) for day, some in groupby(orders, lambda one: _day(one).isoformat())}
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    months: dict[str, list[JSON]] = {f"{day:%Y-%m}": [] for day in days}
    for order in orders:
        months[f"{_day(order):%Y-%m}"].append(order)
    return {
        "flow": "cycle",
        "title": "Battery North",
        "prices": "shipped:DE-LU-2024.csv",
        "credit": "Bundesnetzagentur | SMARD.de",
        "from": first.isoformat(),
        "to": last.isoformat(),
        "step": "1h",
        "zone": ZONE.key,
        "profit_eur": in_all["profit_eur"],
        "revenue_eur": sum(one["price_eur_mwh"] * one["quantity_mwh"] for one in orders if one["side"] == "SELL"),
        "cost_eur": sum(one["price_eur_mwh"] * one["quantity_mwh"] for one in orders if one["side"] == "BUY"),
        "energy": {
            "bought_mwh": in_all["bought_mwh"],
            "sold_mwh": in_all["sold_mwh"],
            "losses_mwh": in_all["bought_mwh"] - in_all["sold_mwh"] - stored,
            "stored_change_mwh": stored,
            "undelivered_mwh": {"bought": 0.0, "sold": 3.25},
        },
        "battery": {
            "capacity_mwh": CAPACITY,
            "power_mw": POWER,
            "efficiency": WAY,
            "soc_start_percent": 0.0,
            "soc_end_percent": stored / CAPACITY * 100,
            "full_cycles": in_all["sold_mwh"] / WAY / CAPACITY,
        },
        "orders": orders,
        "months": [{"month": name, **_sums(some)} for name, some in months.items()],
        "days": [{"date": f"{day}", "hours": _hours(day), **_sums(by_day.get(f"{day}", []))} for day in days],
        "blocked": {"energy": {"slots": 1849, "times": 3644, "example": "it would end at -0.5 %, below 5 %"}},
        "rules": {
            "buy": {
                "records": 8784,
                "wished": 2334,
                "conditions": [
                    {"text": "price_eur_mwh <= 45", "held": 2334, "not_held": 6450, "not_judged": 0},
                    {"text": "soc_percent < 0", "held": 0, "not_held": 8700, "not_judged": 84},
                ],
            }
        },
        "limits": {"hours": 8784.0, "at_full_power_h": 1204.0, "at_min_soc_h": 12.5},
        "remarks": [],
        "series": {"slots": columns},
        "a key of tomorrow": {"with": ["anything"]},
    }


def _day(order: JSON) -> date:
    return local(round(datetime.fromisoformat(order["delivery_start"]).timestamp())).date()


def _hours(day: date) -> float:
    midnights = [datetime.combine(one, datetime.min.time(), ZONE) for one in (day, day + timedelta(days=1))]
    return (midnights[1].timestamp() - midnights[0].timestamp()) / 3600


def _sums(orders: Iterable[JSON]) -> dict[str, Any]:
    found = list(orders)
    bought = sum(one["quantity_mwh"] for one in found if one["side"] == "BUY")
    sold = sum(one["quantity_mwh"] for one in found if one["side"] == "SELL")
    cash = sum(one["price_eur_mwh"] * one["quantity_mwh"] * (1 if one["side"] == "SELL" else -1) for one in found)
    return {
        "profit_eur": round(cash, 6),
        "bought_mwh": bought,
        "sold_mwh": sold,
        "orders": len(found),
        "cycles": sold / WAY / CAPACITY,
    }
