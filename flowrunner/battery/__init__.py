"""A simulated grid battery: its physics, its orders, its registers, and a Modbus TCP server that shows them."""

from flowrunner.battery.model import Battery, HvacState, Settings
from flowrunner.battery.schedule import Bump, Delivery, Schedule, Side, Site

__all__ = ["Battery", "Bump", "Delivery", "HvacState", "Schedule", "Settings", "Side", "Site"]
