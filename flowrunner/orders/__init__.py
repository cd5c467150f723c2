"""Orders: what may be ordered, and the journal of what was decided, sent and answered."""

from flowrunner.orders.book import INTERRUPTED, Book, SwitchStep, WrongStep
from flowrunner.orders.follower import Follower
from flowrunner.orders.journal import Journal, Refused
from flowrunner.orders.limits import Energy, Held, MaxOrders, PriceRange, Reduction
from flowrunner.orders.line import ClockDrift, Line
from flowrunner.orders.order import (
    INTENT_FIELDS,
    ORDER_SHAPE,
    STEPS,
    Intent,
    Mode,
    Order,
    OrderType,
    Refusal,
    Side,
    State,
    TimeInForce,
)
from flowrunner.orders.reading import Reading, Verdict, read_intent
from flowrunner.orders.sender import Sender
from flowrunner.orders.switch import STOP_FILE, Stop, Switch, SwitchStuck
from flowrunner.orders.trading import Trading

__all__ = [
    "INTENT_FIELDS",
    "INTERRUPTED",
    "ORDER_SHAPE",
    "STEPS",
    "STOP_FILE",
    "Book",
    "ClockDrift",
    "Energy",
    "Follower",
    "Held",
    "Intent",
    "Journal",
    "Line",
    "MaxOrders",
    "Mode",
    "Order",
    "OrderType",
    "PriceRange",
    "Reading",
    "Reduction",
    "Refusal",
    "Refused",
    "Sender",
    "Side",
    "State",
    "Stop",
    "Switch",
    "SwitchStep",
    "SwitchStuck",
    "TimeInForce",
    "Trading",
    "Verdict",
    "WrongStep",
    "read_intent",
]
