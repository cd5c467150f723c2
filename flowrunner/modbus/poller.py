"""Polling one unit: a register map becomes requests, their answers become readings."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from flowrunner.modbus.codec import Reading, bad, decode, decode_power
from flowrunner.modbus.device import Device
from flowrunner.modbus.line import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusException
from flowrunner.modbus.plan import MERGE_GAP, Request, plan, split
from flowrunner.modbus.registers import MAX_REGISTERS, Register
from flowrunner.units import scaled

Words = Sequence[int] | Sequence[bool]


class Poller:
    """Reads a register map of one unit, again and again. One poll at a time; the device is shared.

    The map must be free of ``contradictions``. State: which merged requests the device refused (until it
    reconnects), and what the deadbands last let through.
    """

    def __init__(
        self,
        device: Device,
        unit_id: int,
        registers: Mapping[str, Register],
        *,
        merge_gap: int = MERGE_GAP,
        max_registers: int = MAX_REGISTERS,
        timeout: float = 3.0,
    ) -> None:
        """``timeout`` in seconds, for each request. ValueError when a value does not fit in ``max_registers``."""
        self._device = device
        self._unit_id = unit_id
        self._registers = dict(registers)
        self._timeout = timeout
        self._powers = {register.scale_from for register in registers.values()} - {None}
        self._planned = plan(registers, merge_gap, max_registers)
        self._requests = self._planned
        self._split_at = 0
        self._reported: dict[str, float] = {}

    async def poll(self) -> dict[str, Reading]:
        """A reading of every register, in the order of the map.

        What the device refuses is bad with its reason while the rest is read on. NotConnected: nothing is
        known, there is no partial record.
        """
        words, refused = await self._read()
        powers = {
            name: refused.get(name) or decode_power(self._registers[name], words[name])
            for name in self._powers
            if name is not None
        }
        return {
            name: refused.get(name) or powers.get(name) or self._reading(name, register, words[name], powers)
            for name, register in self._registers.items()
        }

    async def _read(self) -> tuple[dict[str, Words], dict[str, Reading]]:
        """All requests: what came, and what was refused, by name."""
        if self._split_at != self._device.connections(self._unit_id):
            self._requests = self._planned
        words: dict[str, Words] = {}
        refused: dict[str, Reading] = {}
        waiting, asked = deque(self._requests), list[Request]()
        while waiting:
            request = waiting.popleft()
            try:
                answer = await self._device.read(self._unit_id, request, self._timeout)
            except ModbusException as error:
                pieces = split(request) if error.code in (ILLEGAL_ADDRESS, ILLEGAL_VALUE) else []
                if len(pieces) > 1:
                    self._split_at = self._device.connections(self._unit_id)
                    waiting.extendleft(reversed(pieces))
                    continue
                refused |= dict.fromkeys(request.names, bad(str(error)))
            else:
                for span in request.spans:
                    words[span.name] = answer[span.start - request.start : span.end - request.start]
            asked.append(request)
        self._requests = asked
        return words, refused

    def _reading(self, name: str, register: Register, words: Words, powers: Mapping[str, Reading]) -> Reading:
        power = powers[register.scale_from].value if register.scale_from is not None else None
        reading = decode(register, words, power)
        if register.deadband is None:
            return reading
        last = self._reported.get(name)
        if reading.quality == "bad":
            self._reported.pop(name, None)
        elif last is not None and abs(scaled(reading.value, 1, -last)) < register.deadband:
            return Reading(last)
        else:
            self._reported[name] = reading.value
        return reading
