"""Orders: what may be ordered, and the journal of what was decided, sent and answered."""

from flowrunner.orders.journal import Book, Journal, Refused, WrongStep
from flowrunner.orders.limits import Energy, Held, MaxOrders, PriceRange, Reduction
from flowrunner.orders.order import (
    INTENT_FIELDS,
    ORDER_SHAPE,
    Intent,
    Order,
    OrderType,
    Refusal,
    Side,
    State,
    TimeInForce,
)
from flowrunner.orders.reading import Reading, Verdict, read_intent

__all__ = [
    "INTENT_FIELDS",
    "ORDER_SHAPE",
    "Book",
    "Energy",
    "Held",
    "Intent",
    "Journal",
    "MaxOrders",
    "Order",
    "OrderType",
    "PriceRange",
    "Reading",
    "Reduction",
    "Refusal",
    "Refused",
    "Side",
    "State",
    "TimeInForce",
    "Verdict",
    "WrongStep",
    "read_intent",
]
