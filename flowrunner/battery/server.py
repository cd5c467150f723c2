"""The battery as a real Modbus TCP server, with the faults that such lines have, on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, get_args

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from flowrunner.battery.model import Battery
from flowrunner.battery.registers import SENTINELS, image
from flowrunner.battery.schedule import Schedule
from flowrunner.message import Instant

Fault = Literal["stuck", "drop", "sentinel", "busy", "mute"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
READS = (3, 4)
"""Function codes that are answered: holding and input registers, which are the same here."""


class BatteryServer:
    """One battery on one port and one unit id. Each read brings the battery to now and answers what then holds.

    ::

        server = BatteryServer(battery, clock.now)
        await server.start()        # server.port is known now
        server.set_fault("busy")
        server.set_fault("busy", False)
        await server.stop()

    Other unit ids get exception 11, addresses that are not there exception 2, other functions exception 1.
    Faults, any of them together: ``stuck`` values stay as they are now while the battery goes on; ``drop`` connections
    are closed, new ones at once; ``sentinel`` registers 0 to 2 say "no value"; ``busy`` exception 6; ``mute`` silence.
    """

    def __init__(
        self,
        battery: Battery,
        now: Callable[[], Instant],
        host: str = "127.0.0.1",
        port: int = 0,
        unit_id: int = 1,
        *,
        schedule: Schedule | None = None,
    ) -> None:
        """``port`` 0: a free one. With a ``schedule`` the battery is driven by it; else it does what it is told."""
        self.battery = battery
        self.host = host
        self.port = port
        self.unit_id = unit_id
        self.schedule = schedule
        self._now = now
        self._faults: set[Fault] = set()
        self._frozen: dict[int, int] = {}
        self._server: ModbusTcpServer | None = None

    # ---- life

    async def start(self) -> None:
        """Listen. OSError when that is not possible; RuntimeError when it listens already."""
        if self._server is not None:
            raise RuntimeError(f"the battery listens on {self.host}:{self.port} already")
        # pymodbus wants a device of its own kind; what it then asks for values is this object.
        nothing = SimDevice(1, simdata=[SimData(0, values=[0], datatype=DataType.REGISTERS)])
        server = ModbusTcpServer(
            nothing, address=(self.host, self.port), trace_packet=self._packet, trace_connect=self._connected
        )
        server.context = self  # type: ignore[assignment]  # async_getValues and device_ids below are all that is asked
        try:
            await server.serve_forever(background=True)
        except RuntimeError:  # the cause is in pymodbus's log only
            raise OSError(
                f"the simulated battery cannot listen on {self.host}:{self.port}; choose a free port, or 0 for any"
            ) from None
        self.port = server.transport.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # an asyncio server
        self._server = server

    async def stop(self) -> None:
        """Close the port and every connection. Safe to repeat; :meth:`start` then listens on the same port again."""
        if self._server is None:
            return
        server, self._server = self._server, None
        lines = [line.transport for line in server.active_connections.values() if line.transport is not None]
        await server.shutdown()  # type: ignore[no-untyped-call]
        for line in lines:  # closed by now, unless a client has not read its answers: it must not keep it open
            line.abort()  # type: ignore[attr-defined]  # a TCP transport
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn: they are gone when this returns

    # ---- faults

    @property
    def faults(self) -> frozenset[Fault]:
        """Those that are set."""
        return frozenset(self._faults)

    def set_fault(self, fault: Fault, on: bool = True) -> None:
        """Set or clear one, from this moment on. ValueError for a name that is none; safe to repeat."""
        if fault not in FAULTS:
            raise ValueError(f"there is no fault {fault!r}; choose one of {', '.join(FAULTS)}")
        if not on:
            self._faults.discard(fault)
            return
        if fault == "stuck" and fault not in self._faults:
            self._frozen = self._image()
        self._faults.add(fault)
        if fault == "drop":
            self._hang_up()

    def _hang_up(self) -> None:
        if self._server is not None:
            for line in list(self._server.active_connections.values()):
                if line.transport is not None:
                    line.transport.abort()  # type: ignore[attr-defined]  # a TCP transport

    # ---- reading

    def advance(self) -> None:
        """Bring the battery to now, by its schedule if it has one."""
        if self.schedule is None:
            self.battery.advance(self._now())
        else:
            self.schedule.drive(self.battery, self._now())

    def _image(self) -> dict[int, int]:
        self.advance()
        return image(self.battery)

    def _read(self, unit_id: int, function: int, address: int, count: int) -> list[int] | ExcCodes:
        if unit_id != self.unit_id:
            return ExcCodes.GATEWAY_NO_RESPONSE
        if function not in READS:
            return ExcCodes.ILLEGAL_FUNCTION
        if "busy" in self._faults:
            return ExcCodes.DEVICE_BUSY
        words = self._frozen if "stuck" in self._faults else self._image()
        if "sentinel" in self._faults:
            words = {**words, **SENTINELS}
        wanted = range(address, address + count)
        if count < 1:
            return ExcCodes.ILLEGAL_VALUE
        if not all(one in words for one in wanted):
            return ExcCodes.ILLEGAL_ADDRESS
        return [words[one] for one in wanted]

    # ---- what pymodbus calls

    def _packet(self, sending: bool, data: bytes) -> bytes:
        return b"" if sending and "mute" in self._faults else data

    def _connected(self, up: bool) -> None:
        if up and "drop" in self._faults:
            self._hang_up()

    def device_ids(self) -> list[int]:
        return [self.unit_id]

    async def async_getValues(  # noqa: N802  # pymodbus's name
        self, device_id: int, func_code: int, address: int, count: int = 1
    ) -> list[int] | ExcCodes:
        return self._read(device_id, func_code, address, count)

    async def async_setValues(  # noqa: N802  # pymodbus's name
        self, device_id: int, func_code: int, address: int, values: Any
    ) -> ExcCodes:
        """Nothing is writable: its orders reach the battery by the schedule."""
        return ExcCodes.ILLEGAL_FUNCTION if device_id == self.unit_id else ExcCodes.GATEWAY_NO_RESPONSE
