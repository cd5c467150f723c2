"""Orders: what may be ordered, and the journal of what was decided, sent and answered."""

from flowrunner.orders.journal import Book, Journal, WrongStep
from flowrunner.orders.limits import Energy, Held, MaxOrders, PriceRange, Reduction
from flowrunner.orders.order import INTENT_FIELDS, ORDER_SHAPE, Intent, Order, Refusal, Side, State
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
    "PriceRange",
    "Reading",
    "Reduction",
    "Refusal",
    "Side",
    "State",
    "Verdict",
    "WrongStep",
    "read_intent",
]
