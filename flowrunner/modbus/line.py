"""One TCP connection to a Modbus device: what is sent, and what may pass for the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from flowrunner.errors import FlowrunnerError
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

CLOSED = "the device closed the connection"


class ModbusException(FlowrunnerError):
    """The device heard the request and refused it. ``code`` is the exception code, ``text`` its name."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.text = EXCEPTIONS.get(code, "unknown exception")
        super().__init__(f"{self.text} (exception {code})")


class Line:
    """One TCP connection, from its opening to its end; ``lost`` says why it is no good any more.

    pymodbus frames and parses. What it is too generous with is settled here, before it sees the bytes: it takes
    transaction 0 for any, ignores byte counts, never finds back into step after a torn frame, raises inside the
    event loop, and lets a reader wait out its timeout after the connection has gone.
    """

    def __init__(self, host: str, port: int, number: int = 0) -> None:
        """``number``: the transaction after which it counts on."""
        self.lost = ""
        self.number = number
        """Of the newest transaction."""
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
            self.number = int.from_bytes(data[:2])
            return data
        fault = answer_fault(self._question, data)
        if not fault:
            return data
        self.abort(fault)
        return b""

    def on_connection(self, is_up: bool) -> None:
        if is_up:
            self._client.ctx.next_tid = self.number  # else pymodbus begins at 1 with every connection
        else:
            self._lose(CLOSED)

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


def _client(host: str, port: int, line: Line) -> AsyncModbusTcpClient:
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
