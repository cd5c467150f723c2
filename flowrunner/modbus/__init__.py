"""Modbus as devices really are: register maps, decoding, planned reads, one shared connection per device."""

from flowrunner.modbus.codec import Reading, decode, encode
from flowrunner.modbus.device import Device
from flowrunner.modbus.line import ModbusException
from flowrunner.modbus.plan import Request, plan, split
from flowrunner.modbus.poller import Poller
from flowrunner.modbus.registers import Register, contradictions

__all__ = [
    "Device",
    "ModbusException",
    "Poller",
    "Reading",
    "Register",
    "Request",
    "contradictions",
    "decode",
    "encode",
    "plan",
    "split",
]
