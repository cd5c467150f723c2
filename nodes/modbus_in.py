"""modbus-in: registers of a device, polled."""

from collections.abc import AsyncIterator
from typing import Annotated
from zlib import crc32

from msgspec import Meta

from flowrunner.message import FieldInfo, Message
from flowrunner.modbus import Device, Poller, Register, contradictions
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions
from flowrunner.shape import Kind, Shape
from flowrunner.units import Duration, iso

STAGGER = Duration.parse("1s")
"""Polls of different nodes are spread over this time, or over a tenth of their interval if that is shorter."""


class ModbusIn(Node):
    """Poll registers of a Modbus TCP device: one record per poll, with a field for each register.

    A register that the device refuses or that says "no value" is an absent field, never 0. Nodes that name the
    same host and port share one connection.
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
        return faults

    def emits(self, incoming: Shape) -> Shape:
        return Shape({name: _kind(register) for name, register in self.options.registers.items()})

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
        due = ctx.now()
        while True:
            readings = await self.poller.poll()
            now = ctx.now()
            ctx.connected(True)
            infos = {
                name: FieldInfo(
                    at=now, received_at=now, source=self.id, quality=one.quality, unit=self.options.registers[name].unit
                )
                for name, one in readings.items()
            }
            for name, one in readings.items():
                if one.quality == "bad":
                    ctx.error("no-value", f"{name}: {one.reason}")
            payload = {name: one.value for name, one in readings.items() if one.quality != "bad"}
            yield ctx.message(payload, position=iso(due), at=now, fields=infos)
            now = ctx.now()
            due = now - (now - stagger) % every + every
            await ctx.sleep_until(due)


def _kind(register: Register) -> Kind:
    if register.type == "bool" or register.bit is not None:
        return "bool"
    if register.type in ("string", "enum") or register.enum:
        return "text"
    return None if register.type == "bits" else "number"
