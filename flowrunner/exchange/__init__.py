"""Exchanges: what each must be able to do, the client side of their interfaces, and a simulator of one."""

from flowrunner.exchange.adapter import Adapter, Found, Outcome, Ticket, Told
from flowrunner.exchange.http_interface import HttpInterface
from flowrunner.exchange.http_interface import check as check_interface
from flowrunner.exchange.http_orders import HttpOrders
from flowrunner.exchange.phoenyra import TELEMETRY, Phoenyra

__all__ = [
    "TELEMETRY",
    "Adapter",
    "Found",
    "HttpInterface",
    "HttpOrders",
    "Outcome",
    "Phoenyra",
    "Ticket",
    "Told",
    "check_interface",
]
