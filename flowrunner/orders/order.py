"""What an order is: its identity, its states, and what a refusal of one says."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrunner.market import Slot
from flowrunner.message import JSON, Instant
from flowrunner.shape import Shape
from flowrunner.units import iso

Side = Literal["BUY", "SELL"]
OrderType = Literal["LIMIT", "MARKET"]
TimeInForce = Literal["GFD", "IOC", "FOK"]
"""Good for the day; immediate or cancel; fill or kill."""

INTENT_FIELDS = ("side", "quantity_mwh", "limit_price_eur_mwh", "order_type", "time_in_force")
"""What makes a record an intent."""

State = Literal[
    "intent", "sending", "paper", "accepted", "rejected", "unknown", "expired", "partly-filled", "filled", "unfilled"
]
STEPS: dict[State, frozenset[State]] = {
    "intent": frozenset({"sending", "paper", "expired"}),
    "sending": frozenset({"accepted", "rejected", "unknown", "intent"}),
    "paper": frozenset(),
    "accepted": frozenset({"partly-filled", "filled", "unfilled"}),
    "rejected": frozenset({"accepted"}),
    "unknown": frozenset({"accepted", "rejected", "partly-filled", "filled", "unfilled"}),
    "expired": frozenset(),
    "partly-filled": frozenset({"partly-filled", "filled"}),
    "filled": frozenset(),
    "unfilled": frozenset({"partly-filled", "filled"}),
}
"""State → what may come next. ``sending`` goes back to ``intent`` only when not one byte had left, or the exchange
said before storing it that it was too much at once. ``unfilled``: the exchange took it and nothing was traded. What
follows on ``rejected`` and ``unfilled`` only a person says, where the exchange has taken back its word."""
COUNTED: tuple[State, ...] = ("intent", "sending", "paper", "accepted", "unknown", "partly-filled", "filled")
"""States in which something of an order may be delivered: what position and energy are counted from."""
Mode = Literal["paper", "live"]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule wants, for the delivery slot that an order made now would get."""

    market: str
    slot: Slot
    side: Side
    quantity_mwh: float
    limit_price_eur_mwh: float | None
    """None: an order without a limit."""
    order_type: OrderType = "LIMIT"
    time_in_force: TimeInForce = "GFD"
    rule: str = ""

    @property
    def id(self) -> str:
        """Market, delivery slot and side: the identity, which is sent at most once."""
        begin = iso(self.slot.start)
        return f"{self.market}-{begin[:10].replace('-', '')}T{begin[11:13]}{begin[14:16]}Z-{self.side}"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the journal has it. Instants in nanoseconds UTC, energy in MWh, prices in EUR/MWh."""

    id: str
    market: str
    delivery_start: Instant
    delivery_end: Instant
    side: Side
    quantity_mwh: float
    requested_mwh: float
    limited_by: str
    """The threshold because of which the quantity is less than requested, or ""."""
    limit_price_eur_mwh: float | None
    order_type: OrderType
    time_in_force: TimeInForce
    flow: str
    guard: str
    rule: str
    state: State
    mode: Mode
    created_at: Instant
    updated_at: Instant
    good_until: Instant
    """Until when it may be sent: its gate, or sooner the end of what it was decided on."""
    open_mwh: float
    """What may still be traded of it."""
    filled_mwh: float = 0.0
    """What was traded, as far as the exchange told."""
    average_price_eur_mwh: float | None = None
    """Of what was traded, where the exchange told."""
    venue: str = ""
    """The address of the exchange that it was sent to; "" of one that was not, or before that was kept."""
    exchange_id: str = ""
    reason: str = ""
    """What the exchange said, word for word, or why it was not sent."""

    @property
    def committed_mwh(self) -> float:
        """What is or may yet be delivered."""
        return self.filled_mwh + self.open_mwh

    def __str__(self) -> str:
        """``BUY 1 MWh for 2025-01-25T01:15:00.000Z at 50 EUR/MWh (epex_at, rule buy)``."""
        price = "any price" if self.limit_price_eur_mwh is None else f"{self.limit_price_eur_mwh:g} EUR/MWh"
        limited = f", of {self.requested_mwh:g} because of {self.limited_by}" if self.limited_by else ""
        what = f"{self.side} {self.quantity_mwh:g} MWh{limited} for {iso(self.delivery_start)} at {price}"
        return f"{what} ({self.market}, rule {self.rule})"

    def record(self) -> dict[str, JSON]:
        """As nodes hand it on and the API shows it."""
        return {
            "order": self.id,
            "market": self.market,
            "delivery_start": iso(self.delivery_start),
            "delivery_end": iso(self.delivery_end),
            "side": self.side,
            "quantity_mwh": self.quantity_mwh,
            "requested_mwh": self.requested_mwh,
            "limited_by": self.limited_by,
            "limit_price_eur_mwh": self.limit_price_eur_mwh,
            "order_type": self.order_type,
            "time_in_force": self.time_in_force,
            "rule": self.rule,
            "state": self.state,
            "mode": self.mode,
            "filled_mwh": self.filled_mwh,
            "open_mwh": self.open_mwh,
            "average_price_eur_mwh": self.average_price_eur_mwh,
            "venue": self.venue,
            "exchange_id": self.exchange_id,
            "reason": self.reason,
        }


_TEXTS = (
    "order", "market", "delivery_start", "delivery_end", "side", "limited_by", "order_type", "time_in_force", "rule",
    "state", "mode", "venue", "exchange_id", "reason",
)  # fmt: skip
_UNITS = {
    "quantity_mwh": "MWh", "requested_mwh": "MWh", "limit_price_eur_mwh": "EUR/MWh", "filled_mwh": "MWh",
    "open_mwh": "MWh", "average_price_eur_mwh": "EUR/MWh",
}  # fmt: skip
ORDER_SHAPE = Shape({}).plus(dict.fromkeys(_TEXTS, "text")).plus(dict.fromkeys(_UNITS, "number"), _UNITS)
"""What :meth:`Order.record` gives."""


class Refusal(msgspec.Struct, frozen=True):
    """Why there is no order: a code, a sentence with the numbers."""

    reason: str
    text: str
