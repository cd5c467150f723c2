"""One Modbus TCP device: a connection shared by all its units that answer, one request at a time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter

from flowrunner.errors import NotConnected
from flowrunner.modbus.line import CLOSED, Line, ModbusException
from flowrunner.modbus.plan import Request

MOST_TRANSACTIONS = 65_000
"""Then pymodbus begins at 1."""
MUTE_SHARE, REFUSED_SHARE = 100, 10
"""Of its timeouts, how many a mute unit waits before it is asked on the shared connection again."""


class Device:
    """The device at ``host:port``. It connects at the first read, and again at the first read after a drop.

    Nothing is tried twice and nothing is waited for in between: that is the caller's policy. Requests take turns on
    one connection in the order of their coming. After a timeout, a cancellation or an answer that is none the
    connection is dropped, and the next one counts transactions on from there: a late answer then has no way to be taken
    for the next one, not even behind a gateway that brings it by the new connection.

    A unit that did not answer in time is mute: until it answers it is asked on a connection of its own, so the others
    feel its first timeout only. Because some gateways never serve a second connection, a mute unit is also asked
    on the shared one now and then (``MUTE_SHARE``; ``REFUSED_SHARE`` where the second one is refused).
    """

    def __init__(self, host: str, port: int = 502) -> None:
        self.host = host
        self.port = port
        self._shared = _Way()
        self._mute: dict[int, _Way] = {}
        self._own_tried = Counter[int]()
        self._asked: Line | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def connected(self) -> bool:
        """Whether the connection that the units share is up."""
        line = self._shared.line
        return line is not None and line.is_open and not line.lost

    def connections(self, unit_id: int) -> int:
        """How many connections have been tried for the unit: a change tells that it may be another than before."""
        return self._shared.tried + self._own_tried[unit_id]

    async def read(self, unit_id: int, request: Request, timeout: float) -> list[int] | list[bool]:  # noqa: ASYNC109
        """Exactly ``request.count`` registers (0 to 65535) or bits of the unit.

        ``timeout`` seconds are counted from this request's turn, connecting included. NotConnected: no connection, no
        answer, or bytes that are not the answer. ModbusException: the device refused; the connection stays.
        """
        while True:
            way = self._way(unit_id)
            async with way.turn:
                if way is self._way(unit_id):  # else the unit fell mute, or spoke again, while this one waited
                    return await self._ask(way, unit_id, request, timeout)

    async def close(self) -> None:
        """Hang up at once; who is reading gets NotConnected. Safe to repeat; a later read connects again."""
        for way in (self._shared, *self._mute.values()):
            way.abort("hung up")
        self._mute.clear()

    def _way(self, unit_id: int) -> _Way:
        own = self._mute.get(unit_id)
        return self._shared if own is None or _now() >= own.until else own

    async def _ask(self, way: _Way, unit_id: int, request: Request, timeout: float) -> list[int] | list[bool]:  # noqa: ASYNC109
        if way.refused:
            raise NotConnected(way.refused)
        line, shared = self._open(way, unit_id), self._shared.line
        beside = shared if way is not self._shared and self.connected else None
        try:
            values = await line.ask(unit_id, request, timeout)
        except ModbusException:
            self._answered(way, unit_id)
            raise
        except TimeoutError:
            if way is self._shared and line.is_open and not line.lost:
                own = self._mute.setdefault(unit_id, _Way())
                own.until, own.refused = _now() + MUTE_SHARE * timeout, ""
            line.abort(f"no answer within {timeout:g} s; check the unit id, and whether the device is on")
            self._note_refusal(way, unit_id, beside, timeout, line.lost)
            raise NotConnected(f"Modbus device {self}, unit {unit_id}: {line.lost}") from None
        except (OSError, UnicodeError) as error:  # UnicodeError: not even the form of a host name
            line.abort("cannot connect")
            self._note_refusal(way, unit_id, beside, timeout, _reason(error))
            raise NotConnected(
                way.refused
                or f"Modbus device {self}: cannot connect: {_reason(error)}; "
                "check host and port, and whether the device takes another Modbus TCP client"
            ) from error
        except BaseException:
            line.abort("given up")
            raise
        self._answered(way, unit_id)
        return values

    def _open(self, way: _Way, unit_id: int) -> Line:
        """The line of this way, a new one where there is none that is any good."""
        if way.line is None or way.line.lost:
            if way is self._shared:  # it comes first, where the device takes one connection only
                for own in self._mute.values():
                    own.abort("given up for the connection of the other units")
                way.tried += 1
            else:
                self._own_tried[unit_id] += 1
            way.abort("given up")
            way.line = Line(self.host, self.port, self._number())
        self._asked = way.line
        return way.line

    def _number(self) -> int:
        """The transaction after which a new line counts on. An object that takes the place of this one begins further
        on, too, for nobody asks more than a thousand times a second."""
        return self._asked.number if self._asked is not None else int(_now() * 1000) % MOST_TRANSACTIONS

    def _answered(self, way: _Way, unit_id: int) -> None:
        """A unit that was mute is on the shared line from now on. Its own becomes that line where there is none."""
        own = self._mute.pop(unit_id, None)
        if own is None:
            return
        if way is own and (self._shared.line is None or self._shared.line.lost):
            self._shared.line, own.line = own.line, None
            self._shared.tried += 1
        own.abort("the unit answers again")

    def _note_refusal(self, way: _Way, unit_id: int, beside: Line | None, timeout: float, reason: str) -> None:
        """Where the device takes no second connection beside the shared one, or drops that one for it: leave it be."""
        line = way.line
        if beside is None or line is None:
            return
        if not (beside.lost == CLOSED if beside.lost else line.lost == CLOSED or not line.is_open):
            return
        pause = REFUSED_SHARE * timeout
        way.until = _now() + pause
        way.refused = (
            f"Modbus device {self}, unit {unit_id}: no answer on the connection of the other units, and a second "
            f"connection is refused: {reason}; it is asked again after {pause:g} s; check the unit, and how many "
            "Modbus TCP clients the device takes"
        )


class _Way:
    """Where requests queue for a line: the shared way, or that of one mute unit ``until`` it is to try the shared."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.line: Line | None = None
        self.tried = 0
        self.until = 0.0
        self.refused = ""

    def abort(self, why: str) -> None:
        if self.line is not None:
            self.line.abort(why)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: OSError | UnicodeError) -> str:
    """The words of the system, without asyncio's repetition of the address."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
