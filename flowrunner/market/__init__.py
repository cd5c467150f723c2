"""Electricity markets: delivery slots, prices with their intervals, and the sources that publish them."""

from flowrunner.market.prices import UNIT, BadPrices, Curve, Price
from flowrunner.market.slots import Market, Slot, day_of, local_day, midnight

__all__ = ["UNIT", "BadPrices", "Curve", "Market", "Price", "Slot", "day_of", "local_day", "midnight"]
