"""Words between us and an exchange: what is sent of an order, what follows from what is said of one. Pure."""

from __future__ import annotations

import msgspec

from flowrunner.exchange import Ticket, Told
from flowrunner.orders.limits import TINY
from flowrunner.orders.order import Order, State


def ticket(order: Order) -> Ticket:
    """What an exchange gets to see of an order."""
    return Ticket(
        client_order_id=order.id, market=order.market, delivery_start=order.delivery_start,
        delivery_end=order.delivery_end, side=order.side, quantity_mwh=order.quantity_mwh,
        limit_price_eur_mwh=order.limit_price_eur_mwh, order_type=order.order_type,
        time_in_force=order.time_in_force,
    )  # fmt: skip


def heard(order: Order, told: Told) -> tuple[State, float, float] | None:
    """State, filled and open MWh of an accepted order that follow from what the exchange says; None: nothing new.

    What was traded never becomes less, and an end says something only together with what was traded until then."""
    if order.state not in ("accepted", "partly-filled"):
        return None
    filled = max(told.filled_mwh or 0.0, order.filled_mwh)
    has_ended = order.open_mwh == 0 or (told.ended and told.filled_mwh is not None)
    follows: tuple[State, float, float]
    if order.quantity_mwh - filled <= TINY:
        follows = ("filled", filled, 0.0)
    elif has_ended:
        follows = ("partly-filled" if filled > 0 else "unfilled", filled, 0.0)
    elif filled > 0:
        follows = ("partly-filled", filled, order.quantity_mwh - filled)
    else:
        return None
    return None if follows == (order.state, order.filled_mwh, order.open_mwh) else follows


def together(before: Told, told: Told) -> Told:
    """The newer word, with what only the older one said."""
    more = max(told, before, key=lambda one: -1.0 if one.filled_mwh is None else one.filled_mwh)
    ended = any(one.ended and one.filled_mwh is not None for one in (before, told))  # as `heard` believes an end
    return msgspec.structs.replace(more, status=told.status or before.status, ended=ended)


def contradicts(order: Order, told: Told) -> bool:
    """Whether the exchange has an order, or a trade of one, that cannot be by what the journal says."""
    if order.mode == "live" and order.state in ("rejected", "expired"):
        return True
    return order.state == "unfilled" and (told.filled_mwh or 0.0) > 0
