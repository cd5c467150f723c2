"""How orders and refusals look to who asks from outside: the API, and ``flowrunner orders``."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from msgspec import Meta

from flowrunner.message import JSON, Instant
from flowrunner.orders.journal import Refused
from flowrunner.orders.order import Order, OrderType, Side, State, TimeInForce
from flowrunner.units import iso

Time = Annotated[str, Meta(description="ISO 8601, UTC, with milliseconds.", extra_json_schema={"format": "date-time"})]
Energy = Annotated[float, Meta(description="MWh.")]


class OrderShown(TypedDict):
    """An order of the journal."""

    order: Annotated[str, Meta(description="Its identity: market, delivery slot and side.")]
    market: str
    delivery_start: Time
    delivery_end: Time
    side: Side
    quantity_mwh: Energy
    requested_mwh: Annotated[float, Meta(description="What the rule wanted, in MWh.")]
    limited_by: Annotated[str, Meta(description='The threshold that made the quantity smaller, or "".')]
    limit_price_eur_mwh: Annotated[float | None, Meta(description="EUR/MWh; null for an order without a limit.")]
    order_type: OrderType
    time_in_force: TimeInForce
    rule: str
    state: State
    mode: Annotated[str, Meta(description='paper, live, or "" while nothing took it.')]
    exchange_id: Annotated[str, Meta(description='The exchange\'s own id, or "".')]
    reason: Annotated[str, Meta(description="What the exchange said, or why it was not sent.")]
    flow: str
    guard: str
    created_at: Time
    updated_at: Time


class StepShown(TypedDict):
    """One step of an order's life."""

    at: Time
    state: State
    reason: str
    detail: Annotated[JSON, Meta(description="Of the first step: the decision; later: the exchange's answer.")]


class StoryShown(TypedDict):
    """An order with its whole story."""

    order: OrderShown
    steps: list[StepShown]


class RefusalShown(TypedDict):
    """An order that a guard did not let through: once for each rule, slot, side and reason."""

    market: str
    delivery_start: Time
    side: Side
    flow: str
    guard: str
    rule: str
    reason: str
    text: str
    count: Annotated[int, Meta(ge=1, description="How many intents it was said to.")]
    created_at: Time
    updated_at: Time


def order(one: Order) -> OrderShown:
    more = {
        "flow": one.flow,
        "guard": one.guard,
        "created_at": iso(one.created_at),
        "updated_at": iso(one.updated_at),
    }
    return cast(OrderShown, one.record() | more)


def story(one: Order, steps: list[dict[str, JSON]]) -> StoryShown:
    return {"order": order(one), "steps": [cast(StepShown, {**step, "at": iso(step["at"])}) for step in steps]}


def refusal(one: Refused) -> RefusalShown:
    times: dict[str, Instant] = {name: getattr(one, name) for name in ("delivery_start", "created_at", "updated_at")}
    texts = {name: getattr(one, name) for name in ("market", "side", "flow", "guard", "rule", "reason", "text")}
    return cast(RefusalShown, {**texts, "count": one.count, **{name: iso(at) for name, at in times.items()}})
