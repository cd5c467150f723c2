"""One Modbus TCP device: a connection shared by all who read from it, one request at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from flowrunner.errors import FlowrunnerError, NotConnected
from flowrunner.modbus.plan import Request

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusTcpClient

EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not done yet",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target failed to respond",
}
"""Names of exception codes (Modbus application protocol 1.1b3, 7)."""
ILLEGAL_ADDRESS, ILLEGAL_VALUE = 2, 3


class ModbusException(FlowrunnerError):
    """The device heard the request and refused it. ``code`` is the exception code, ``text`` its name."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.text = EXCEPTIONS.get(code, "unknown exception")
        super().__init__(f"{self.text} (exception {code})")


class Device:
    """The device at ``host:port``. It connects at the first read, and again at the first read after a drop.

    Nothing is tried twice and nothing is waited for in between: that is the caller's policy. Requests take turns
    in the order of their coming, so a silent unit id costs the others its own timeout and no more. After a
    timeout, a cancellation or an answer that is none the connection is dropped: a late answer then has no way
    to be taken for the next one.
    """

    def __init__(self, host: str, port: int = 502) -> None:
        self.host = host
        self.port = port
        self.connections = 0
        """How many connections have been tried: a change tells that the device may be another than before."""
        self._turn = asyncio.Lock()
        self._line: _Line | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def connected(self) -> bool:
        return self._line is not None and self._line.is_open and not self._line.lost

    async def read(self, unit_id: int, request: Request, timeout: float) -> list[int] | list[bool]:  # noqa: ASYNC109
        """Exactly ``request.count`` registers (0 to 65535) or bits of the unit.

        ``timeout`` seconds are counted from this request's turn, connecting included. NotConnected: no connection, no
        answer, or bytes that are not the answer. ModbusException: the device refused; the connection stays.
        """
        async with self._turn:
            line = self._line
            if line is None or line.lost:
                await self.close()
                line = self._line = _Line(self.host, self.port)
                self.connections += 1
            try:
                return await line.ask(unit_id, request, timeout)
            except ModbusException:
                raise
            except TimeoutError:
                line.abort(f"no answer within {timeout:g} s; check the unit id, and whether the device is on")
                raise NotConnected(f"Modbus device {self}, unit {unit_id}: {line.lost}") from None
            except (OSError, UnicodeError) as error:  # UnicodeError: not even the form of a host name
                line.abort("cannot connect")
                raise NotConnected(
                    f"Modbus device {self}: cannot connect: {_reason(error)}; "
                    "check host and port, and whether the device takes another Modbus TCP client"
                ) from error
            except BaseException:
                line.abort("given up")
                raise

    async def close(self) -> None:
        """Hang up at once; who is reading gets NotConnected. Safe to repeat; a later read connects again."""
        if self._line is not None:
            self._line.abort("hung up")


class _Line:
    """One TCP connection, from its opening to its end; ``lost`` says why it is no good any more.

    pymodbus frames and parses. What it is too generous with is settled here, before it sees the bytes: it takes
    transaction 0 for any, ignores byte counts, never finds back into step after a torn frame, raises inside the
    event loop, and lets a reader wait out its timeout after the connection has gone.
    """

    def __init__(self, host: str, port: int) -> None:
        self.lost = ""
        self._host, self._port = host, port
        self._question = b""
        self._clock: asyncio.Timeout | None = None
        self._client = _client(host, port, self)
        self._transport: asyncio.WriteTransport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def abort(self, why: str) -> None:
        """Let go at once, without waiting for what is still to be sent. ``why`` counts unless it was lost before."""
        self._lose(why)
        self._client.close()
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, unit_id: int, request: Request, timeout: float) -> list[int] | list[bool]:  # noqa: ASYNC109
        """One request and its answer. TimeoutError: none came; where ``lost`` is set, that is why."""
        async with asyncio.timeout(timeout) as self._clock:
            try:
                if self._transport is None:
                    await self._open()
                return await self._read(unit_id, request)
            finally:
                self._clock = None
                self._question = b""

    async def _open(self) -> None:
        """OSError with its reason, which pymodbus' own connect() would swallow."""
        protocol = self._client.ctx
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: protocol, self._host, self._port)
        if self.lost:
            raise ConnectionResetError(self.lost)

    async def _read(self, unit_id: int, request: Request) -> list[int] | list[bool]:
        read = {
            "coil": self._client.read_coils,
            "discrete": self._client.read_discrete_inputs,
            "holding": self._client.read_holding_registers,
            "input": self._client.read_input_registers,
        }[request.table]
        answer = await read(request.start, count=request.count, device_id=unit_id)
        if answer.isError():
            raise ModbusException(answer.exception_code)
        if request.table in ("coil", "discrete"):
            return [bool(bit) for bit in answer.bits[: request.count]]  # they come padded to whole bytes
        return list(answer.registers)

    # ---- called by pymodbus, inside the event loop: must not raise

    def on_packet(self, sending: bool, data: bytes) -> bytes:
        """Sees every packet. Of what comes in, only what is, or may become, the answer is passed on."""
        if sending:
            self._question = data
            return data
        fault = answer_fault(self._question, data)
        if not fault:
            return data
        self.abort(fault)
        return b""

    def on_connection(self, is_up: bool) -> None:
        if not is_up:
            self._lose("the device closed the connection")

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why
        if self._clock is not None and not self._clock.expired():
            self._clock.reschedule(asyncio.get_running_loop().time())  # whoever waits learns it now


def answer_fault(question: bytes, data: bytes) -> str:
    """Why ``data``, all that came since ``question`` was sent, is not its answer; "" while it is or may become it.

    A frame is transaction (2 bytes), protocol (2, zero), length (2), unit (1), function (1), then for a read the
    byte count (1) and the bytes, or for a refusal, with 0x80 added to the function, one code. So all but the
    values is known beforehand.
    """
    if not question:
        return f"bytes came that nobody asked for ({data[:12].hex(' ')})"
    function, count = question[7], int.from_bytes(question[10:12])
    size = (count + 7) // 8 if function in (1, 2) else 2 * count
    answer = question[:4] + (size + 3).to_bytes(2) + question[6:8] + size.to_bytes(1)
    refusal = question[:4] + (3).to_bytes(2) + question[6:7] + (function | 0x80).to_bytes(1)
    for head, length in (answer, 9 + size), (refusal, 9):
        known = min(len(head), len(data))
        if data[:known] == head[:known] and len(data) <= length:
            return ""
    return f"what came is not the answer to what was asked ({data[:12].hex(' ')}{' …' if len(data) > 12 else ''})"


def _client(host: str, port: int, line: _Line) -> AsyncModbusTcpClient:
    """pymodbus without its retries, reconnecting, clock and log: all four are said elsewhere."""
    from pymodbus.client import AsyncModbusTcpClient  # late: 0.2 s that a flow without Modbus need not pay

    log = logging.getLogger("pymodbus")
    if log.level == logging.NOTSET:  # whoever wants its wire traces sets a level
        log.setLevel(logging.CRITICAL)
    return AsyncModbusTcpClient(
        host,
        port=port,
        retries=0,
        reconnect_delay=0,
        timeout=None,  # type: ignore[arg-type]  # ours rules; and with one, Python 3.11's wait_for swallows cancellations
        trace_packet=line.on_packet,
        trace_connect=line.on_connection,
    )


def _reason(error: OSError | UnicodeError) -> str:
    """The words of the system, without asyncio's repetition of the address."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
