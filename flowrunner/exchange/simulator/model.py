"""What the simulated exchange keeps and answers: telemetry, orders, trades, and how the interface shows them."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrunner.message import JSON, Instant
from flowrunner.units import iso

Character = Literal["plain", "good"]
"""plain: the first user's exchange as it is. good: it also knows client ids, single orders, cancelling and matching."""
Side = Literal["BUY", "SELL"]
OrderType = Literal["LIMIT", "MARKET"]
TimeInForce = Literal["GFD", "IOC", "FOK"]
Status = Literal["ACCEPTED", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "EXPIRED"]
"""The plain exchange tells of ACCEPTED only."""


class Answer(msgspec.Struct, frozen=True):
    """One answer of the interface: the HTTP status and the JSON body."""

    status: int
    body: JSON


class Telemetry(msgspec.Struct, frozen=True):
    """The newest telemetry that was posted. ``active_power_mw``: positive discharges."""

    soc_percent: float
    active_power_mw: float
    temperature_c: float


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A valid request to trade one delivery interval."""

    market: str
    delivery_start: Instant
    delivery_end: Instant
    side: Side
    quantity_mwh: float
    limit_price_eur_mwh: float = 0.0
    order_type: OrderType = "LIMIT"
    time_in_force: TimeInForce = "GFD"
    client_order_id: str | None = None
    """Also kept by the plain exchange, for the owner of the simulation; its interface never shows or uses it."""


class AcceptedOrder(OrderRequest, frozen=True, kw_only=True):
    """An order as it was taken: what the owner of the simulation is told."""

    order_id: str
    accepted_at: Instant


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of an order."""

    order: AcceptedOrder
    quantity_mwh: float
    price_eur_mwh: float
    at: Instant
    status: Status
    """The order's, after this fill."""

    def row(self) -> dict[str, JSON]:
        """A line of ``GET /trades``: no client id, no delivery times."""
        return {
            "order_id": self.order.order_id,
            "side": self.order.side,
            "quantity_mwh": self.quantity_mwh,
            "price": self.price_eur_mwh,
            "market": self.order.market,
            "status": self.status,
            "timestamp": iso(self.at),
        }

    def view(self) -> dict[str, JSON]:
        """What ``/ws/trades`` of the good exchange tells."""
        return self.row() | {
            "client_order_id": self.order.client_order_id,
            "delivery_start": iso(self.order.delivery_start),
            "delivery_end": iso(self.order.delivery_end),
        }


class Order:
    """One order in the exchange's store and what has become of it."""

    __slots__ = ("left_mwh", "status", "terms", "value_eur")

    def __init__(self, terms: AcceptedOrder) -> None:
        self.terms = terms
        self.status: Status = "ACCEPTED"
        self.left_mwh = terms.quantity_mwh
        self.value_eur = 0.0
        """Sum of quantity times price of its fills."""

    @property
    def is_open(self) -> bool:
        return self.status in ("ACCEPTED", "PARTIALLY_FILLED")

    @property
    def filled_mwh(self) -> float:
        return self.terms.quantity_mwh - self.left_mwh

    def fill(self, quantity_mwh: float, price_eur_mwh: float, at: Instant) -> Trade:
        self.left_mwh -= quantity_mwh
        self.value_eur += quantity_mwh * price_eur_mwh
        self.status = "PARTIALLY_FILLED" if self.left_mwh > 0 else "FILLED"
        return Trade(
            order=self.terms, quantity_mwh=quantity_mwh, price_eur_mwh=price_eur_mwh, at=at, status=self.status
        )

    def row(self) -> dict[str, JSON]:
        """A line of ``GET /orders``: no client id, no delivery times."""
        return {
            "order_id": self.terms.order_id,
            "side": self.terms.side,
            "quantity_mwh": self.terms.quantity_mwh,
            "price": self.terms.limit_price_eur_mwh,
            "market": self.terms.market,
            "status": self.status,
            "timestamp": iso(self.terms.accepted_at),
        }

    def view(self) -> dict[str, JSON]:
        """All of it: ``GET /orders/{id}`` of the good exchange."""
        filled = self.filled_mwh
        return self.row() | {
            "client_order_id": self.terms.client_order_id,
            "delivery_start": iso(self.terms.delivery_start),
            "delivery_end": iso(self.terms.delivery_end),
            "order_type": self.terms.order_type,
            "time_in_force": self.terms.time_in_force,
            "filled_mwh": filled,
            "average_price": self.value_eur / filled if filled > 0 else None,
        }
