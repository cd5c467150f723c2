"""Exchanges: the client side of their interface, and a simulator of one."""

from flowrunner.exchange.phoenyra import TELEMETRY, Outcome, Phoenyra

__all__ = ["TELEMETRY", "Outcome", "Phoenyra"]
