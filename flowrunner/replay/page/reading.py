"""A replay's result as the page reads it: the keys that it shows, and no complaint about keys that it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import msgspec

from flowrunner.message import JSON


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """In MWh at the meter; ``bought − sold − site − losses = stored_change``."""

    bought_mwh: float
    sold_mwh: float
    losses_mwh: float
    stored_change_mwh: float
    undelivered_mwh: dict[str, float] = {}
    """Of orders that were filled and that the battery then could not deliver, by side."""
    site_mwh: float | None = None


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    capacity_mwh: float
    power_mw: float
    efficiency: float | None = None
    """The share that one way leaves over."""
    soc_start_percent: float | None = None
    soc_end_percent: float | None = None
    full_cycles: float | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    order: str | int
    delivery_start: str
    delivery_end: str
    side: str
    """BUY or SELL"""
    quantity_mwh: float
    price_eur_mwh: float | None = None
    """What was paid; None when it was not filled."""
    limit_price_eur_mwh: float | None = None
    status: str
    reason: str = ""
    """Why it was not filled."""
    rule: str = ""


class Month(msgspec.Struct, frozen=True, kw_only=True):
    month: str
    profit_eur: float
    bought_mwh: float
    sold_mwh: float
    orders: int = 0
    cycles: float | None = None


class Day(msgspec.Struct, frozen=True, kw_only=True):
    date: date
    profit_eur: float
    bought_mwh: float = 0.0
    sold_mwh: float = 0.0
    hours: float | None = None
    orders: int = 0


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Of a rule: on how many records it held, did not, and could not be judged."""

    text: str
    held: int = 0
    not_held: int = 0
    not_judged: int = 0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    records: int = 0
    """On which it was asked."""
    wished: int = 0
    """On how many of them it wished for an order."""
    conditions: list[Condition] = []


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    slots: int = 0
    times: int = 0
    example: str = ""


class Slots(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of one length. A figure that is not known is None and stays a gap."""

    start: list[int]
    """Seconds since 1970, rising."""
    price_eur_mwh: list[float | None] = []
    power_mw: list[float | None] = []
    soc_percent: list[float | None] = []
    profit_eur: list[float | None] = []


class Series(msgspec.Struct, frozen=True, kw_only=True):
    slots: Slots


class Result(msgspec.Struct, frozen=True, kw_only=True):
    flow: str
    title: JSON = ""
    """A text, or one for each language."""
    prices: str = ""
    credit: str | None = None
    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="to")
    step: JSON = None
    zone: str
    profit_eur: float
    revenue_eur: float
    cost_eur: float
    energy: Energy
    battery: Battery
    orders: list[Order] = []
    months: list[Month] = []
    days: list[Day] = []
    blocked: dict[str, Blocked] = {}
    rules: dict[str, Rule] = {}
    limits: dict[str, float] = {}
    """Hours, in all and at each limit."""
    remarks: list[JSON] = []
    series: Series | None = None


def read(result: Mapping[str, JSON]) -> Result:
    """msgspec.ValidationError (a ValueError) names the key that is missing or of the wrong kind."""
    return msgspec.convert(result, Result)
