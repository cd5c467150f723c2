"""modbus-in: registers of a device, polled."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated
from zlib import crc32

from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.message import JSON, FieldInfo, Instant, Message
from flowrunner.modbus import Device, Poller, Reading, Register, contradictions, decode, encode
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.shape import Kind, Shape, known_units
from flowrunner.units import Duration

STAGGER = Duration.parse("1s")
"""Polls of different nodes are spread over this time, or over a tenth of their interval if that is shorter."""
SIGNED = {"int16": 16, "int32": 32, "int64": 64}
HOST_AND_PORT = re.compile(r"[^:]*:[^:]*|\[.*\]:.*")
"""More than one colon without brackets is an IPv6 address."""


class ModbusIn(Node):
    """Poll registers of a Modbus TCP device: one record per poll, with a field for each register.

    A register that the device refuses or that says "no value" is an absent field, never 0. Nodes that name the
    same host and port share one connection.
    """

    example = """
        inverter:
          type: modbus-in
          host: 192.168.1.100
          unit_id: 1
          every: 10s
          registers:
            soc_percent: {address: 0, type: uint16, scale: 0.01, unit: "%", na: [0xFFFF]}
            active_power_mw: {address: 1, type: int16, scale: 0.001, unit: MW, na: [0x8000]}
    """

    class Options(NodeOptions, kw_only=True):
        host: Annotated[str, Meta(min_length=1, description="Name or address of the device.")]
        port: Annotated[int, Meta(ge=1, le=65535, description="TCP port.")] = 502
        unit_id: Annotated[int, Meta(ge=0, le=255, description="Modbus unit id.")] = 1
        every: Annotated[Duration, Meta(description="Time between polls.")] = Duration.parse("30s")
        timeout: Annotated[Duration, Meta(description="How long one answer may take.")] = Duration.parse("3s")
        merge_gap: Annotated[
            int, Meta(ge=0, le=124, description="Unused registers that may lie between two read by one request.")
        ] = 8
        max_registers: Annotated[int, Meta(ge=1, le=125, description="Most registers of one request.")] = 125
        registers: Annotated[
            dict[NewField, Register], Meta(min_length=1, description="Field → the register it comes from.")
        ]

    options: Options
    inputs = "none"

    def check(self) -> list[Fault]:
        faults = [
            Fault(".".join(filter(None, ("registers", name, option))), message)
            for name, option, message in contradictions(self.options.registers, self.options.max_registers)
        ]
        for option, least in (("every", "10ms"), ("timeout", "10ms")):
            if getattr(self.options, option) < Duration.parse(least):
                faults.append(
                    Fault(option, f"{getattr(self.options, option)} is too short", f"{least} is the shortest")
                )
        if HOST_AND_PORT.fullmatch(self.options.host):
            faults.append(Fault("host", f"{self.options.host!r} contains a port", "the port goes into 'port:'"))
        return faults

    def emits(self, incoming: Shape) -> Shape:
        registers = self.options.registers
        units = known_units({name: one.unit for name, one in registers.items()})
        return Shape({name: _kind(one) for name, one in registers.items()}, units=units)

    async def open(self, ctx: Context) -> None:
        o = self.options
        device = ctx.shared(("modbus", o.host, o.port), lambda: Device(o.host, o.port))
        self.poller = Poller(
            device,
            o.unit_id,
            o.registers,
            merge_gap=o.merge_gap,
            max_registers=o.max_registers,
            timeout=o.timeout.seconds,
        )

    async def produce(self, ctx: Context) -> AsyncIterator[Message]:
        """The first poll comes at once, then one at every multiple of ``every`` plus the node's own offset."""
        every = self.options.every
        stagger = crc32(f"{ctx.flow}/{self.id}".encode()) % max(1, min(STAGGER, every // 10))

        def plan(now: Instant) -> Instant:
            return now - (now - stagger) % every + every

        due = ctx.now()
        while True:
            position = ctx.position(due)
            readings = await self.poller.poll()
            message = self._message(readings, position, ctx)
            self._tell(ctx, readings)
            yield message
            due = await ctx.sleep_until_next(plan)

    def _message(self, readings: Mapping[str, Reading], position: str, ctx: Context) -> Message:
        now, registers = ctx.now(), self.options.registers
        infos = {
            name: FieldInfo(at=now, received_at=now, source=self.id, quality=one.quality, unit=registers[name].unit)
            for name, one in readings.items()
        }
        payload = {name: one.value for name, one in readings.items() if one.quality != "bad"}
        return ctx.message(payload, position=position, at=now, fields=infos)

    def say(self, value: JSON, ctx: Context) -> Message:
        """``value``: what the registers hold, by field, in the terms of their types (before scale and offset) or, of
        whole numbers, as a word: 0xF63C. One of ``na`` is no value, as null. A scale that another register holds counts
        as 10^0."""
        if not isinstance(value, dict):
            raise Reject("value", "it sends records: a map of its registers")
        readings = {name: self._heard(name, one) for name, one in value.items()}
        self._tell(ctx, readings)
        return self._message(readings, f"said:{ctx.now()}", ctx)

    def _heard(self, name: str, raw: JSON) -> Reading:
        register = self.options.registers.get(name)
        if register is None:
            raise Reject("value", f"{name}: there is no such register")
        if raw is None or raw in register.na:
            return Reading(None, "bad", "no value")
        bits = SIGNED.get(register.type)
        if bits is not None and isinstance(raw, int) and 1 << bits - 1 <= raw < 1 << bits:
            raw -= 1 << bits
        try:
            words = encode(register, raw)
        except ValueError as error:
            raise Reject("value", f"{name}: {error}") from None
        return decode(register, words, None if register.scale_from is None else 0)

    def _tell(self, ctx: Context, readings: Mapping[str, Reading]) -> None:
        """A device of which nothing is known is as good as not there, and is shown so."""
        bad = {name: one.reason for name, one in readings.items() if one.quality == "bad"}
        if len(bad) < len(readings):
            ctx.connected(True)
            for name, reason in bad.items():
                ctx.error("no-value", f"{name}: {reason}")
        else:  # one error for all: one more per register would make the same state news at every poll
            o = self.options
            first = ": ".join(next(iter(bad.items())))
            ctx.connected(False, f"{o.host}:{o.port} unit {o.unit_id}: no register gives a value: {first}")


def _kind(register: Register) -> Kind:
    if register.type == "bool" or register.bit is not None:
        return "bool"
    if register.type in ("string", "enum") or register.enum:
        return "text"
    return None if register.type == "bits" else "number"
