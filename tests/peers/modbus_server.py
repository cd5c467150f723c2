"""A real Modbus TCP server (pymodbus) on loopback whose moods a test can choose: the peer of every Modbus test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

FUNCTIONS = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil", 16: "holding"}


class Seen(msgspec.Struct, frozen=True):
    """One request as the device got it."""

    unit: int
    function: int
    address: int
    count: int


class ModbusServer:
    """A device with one or more unit ids. Addresses that were never set are illegal (exception 2).

    ::

        async with ModbusServer() as server:
            server.set(0, [7500, 2500, 283])
            ...
            await server.kill()      # the cable is pulled: connections reset, port closed
            await server.start()     # back on the same port

    ``requests`` is what came, in order; writes land in the tables.
    """

    def __init__(self, units: Sequence[int] = (1,), port: int = 0) -> None:
        self.port = port
        self.units: dict[int, dict[tuple[str, int], int]] = {unit: {} for unit in units}
        self.requests: list[Seen] = []
        self.connections = 0
        self._arrived = asyncio.Event()
        self._silent: set[int] = set()
        self._codes: dict[tuple[int, str, int], int] = {}
        self._unit_codes: dict[int, int] = {}
        self._server: ModbusTcpServer | None = None

    # ---- life

    async def start(self) -> None:
        """Listen; on the same port as before, once there was one."""
        nothing = SimDevice(1, simdata=[SimData(0, values=[0], datatype=DataType.REGISTERS)])
        server = ModbusTcpServer(
            nothing,
            address=("127.0.0.1", self.port),
            trace_packet=self._packet,
            trace_pdu=self._pdu,
            trace_connect=self._connect,
        )
        server.context = self  # type: ignore[assignment]  # what it calls is at the end of this class
        await server.serve_forever(background=True)
        self.port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self._server = server

    async def stop(self) -> None:
        """Close the port and every connection in order. Safe to repeat."""
        await self._end(reset=False)

    async def kill(self) -> None:
        """As if the power failed: connections are reset, the port is closed."""
        await self._end(reset=True)

    async def drop_connections(self) -> None:
        """Close every connection but go on listening, as devices do with idle clients."""
        assert self._server is not None
        for line in list(self._server.active_connections.values()):
            line.close()

    async def __aenter__(self) -> ModbusServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _end(self, *, reset: bool) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        if reset:
            for line in list(server.active_connections.values()):
                line.transport.abort()  # type: ignore[attr-defined]
        await server.shutdown()  # type: ignore[no-untyped-call]
        await asyncio.sleep(0)  # asyncio closes the sockets one turn later; the port is to be free when this returns

    # ---- moods

    def set(self, address: int, values: int | Sequence[int], *, table: str = "holding", unit: int = 1) -> None:
        """Put values (registers 0 to 65535, or bits) from ``address`` on."""
        for offset, value in enumerate([values] if isinstance(values, int) else values):
            self.units[unit][table, address + offset] = int(value)

    def remove(self, address: int, count: int = 1, *, table: str = "holding", unit: int = 1) -> None:
        """Make addresses illegal again."""
        for offset in range(count):
            self.units[unit].pop((table, address + offset), None)

    def refuse(self, code: int, address: int | None = None, *, table: str = "holding", unit: int = 1) -> None:
        """Answer exception ``code`` to what touches ``address``, or to all that the unit is asked. 0: no more."""
        if address is None:
            self._unit_codes[unit] = code
        else:
            self._codes[unit, table, address] = code

    def silence(self, unit: int = 1, *, silent: bool = True) -> None:
        """Hear this unit's requests but never answer, or answer again."""
        (self._silent.add if silent else self._silent.discard)(unit)

    async def seen(self, count: int) -> list[Seen]:
        """Wait until ``count`` requests have come in all."""
        while len(self.requests) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.requests

    # ---- what pymodbus calls

    def _packet(self, sending: bool, data: bytes) -> bytes:
        return b"" if sending and data[6] in self._silent else data

    def _pdu(self, sending: bool, pdu: Any) -> Any:
        if not sending:
            self.requests.append(Seen(pdu.dev_id, pdu.function_code, pdu.address, pdu.count))
            self._arrived.set()
        return pdu

    def _connect(self, is_up: bool) -> None:
        self.connections += is_up

    def device_ids(self) -> list[int]:
        return list(self.units)

    def _code(self, unit: int, table: str, addresses: range) -> ExcCodes | None:
        memory: Mapping[tuple[str, int], int] = self.units[unit]
        chosen = [self._codes.get((unit, table, address), 0) for address in addresses]
        code = self._unit_codes.get(unit) or max(chosen, default=0)
        if not code and any((table, address) not in memory for address in addresses):
            code = ExcCodes.ILLEGAL_ADDRESS
        return ExcCodes(code) if code else None

    async def async_getValues(  # noqa: N802
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | list[bool] | ExcCodes:
        if device_id not in self.units:
            raise NoSuchIdException
        table, addresses = FUNCTIONS[func_code], range(address, address + count)
        code = self._code(device_id, table, addresses)
        if code is not None:
            return code
        values = [self.units[device_id][table, address] for address in addresses]
        return [bool(value) for value in values] if table in ("coil", "discrete") else values

    async def async_setValues(  # noqa: N802
        self, device_id: int, func_code: int, address: int, values: list[int] | list[bool]
    ) -> ExcCodes | None:
        if device_id not in self.units:
            raise NoSuchIdException
        table = FUNCTIONS[func_code]
        code = self._code(device_id, table, range(address, address + len(values)))
        if code is None:
            self.set(address, [int(value) for value in values], table=table, unit=device_id)
        return code
