"""The bytes of one connection, over an asyncio transport: they are held back when nobody may take them, and what is
written in one turn of the loop leaves as one.

Nothing here blocks the loop: neither the look-up of a name, nor connecting, nor the TLS handshake.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

HIGH_WATER = 1 << 18
"""Bytes that may wait unread here before TCP has to push back."""


class Wire(asyncio.Protocol):
    """``on_readable`` is called when :attr:`readable` became true, ``on_writable`` when a full buffer drained."""

    def __init__(self, on_readable: Callable[[], None], on_writable: Callable[[], None]) -> None:
        self._on_readable = on_readable
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._in: list[bytes] = []
        self._in_size = 0
        self._out: list[bytes] = []
        self._out_size = 0
        self.full = False
        """What was written waits for the other side to read: more should not come."""
        self.held = False
        self._reading = True
        self.ended = False
        self.closed = False
        self.error: Exception | None = None
        """Why the transport broke; None: it was closed."""
        self.gone = asyncio.Event()
        """Set when the transport is closed for good."""
        self.last_in = self.last_out = self._loop.time()

    # ---- asyncio's side ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        line: socket.socket | None = transport.get_extra_info("socket")
        if line is not None and line.family in (socket.AF_INET, socket.AF_INET6):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # answers are small, and must not wait
        if self.closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.last_in = self._loop.time()
        if not self.closed:
            self._in.append(data)
            self._in_size += len(data)
            self._on_readable()
            self.balance()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = self.error or exc
        self.ended = True
        if self.held:
            self._forget()  # nobody may take it now, and later there is no connection to acknowledge it on
        self.gone.set()
        self._on_readable()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self._on_writable()

    # ---- our side ----------------------------------------------------------------------------------------

    @property
    def readable(self) -> bool:
        """Whether there is something to take, or the end to be seen."""
        return not self.closed and (self.ended or (bool(self._in) and not self.held))

    def take(self) -> bytes:
        """All that is there; b"" when there is nothing (more)."""
        if self.held or not self._in:
            return b""
        data = self._in[0] if len(self._in) == 1 else b"".join(self._in)
        self._forget()
        return data

    def put(self, data: bytes) -> None:
        """It leaves with :meth:`flush`. ConnectionResetError when nothing leaves any more."""
        if self.ended or self.closed:
            raise ConnectionResetError
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size >= HIGH_WATER:
            self.flush()

    def flush(self) -> None:
        if self._out and self._transport is not None and not self.ended:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self.last_out = self._loop.time()
        self._out.clear()
        self._out_size = 0

    def hold(self, held: bool) -> None:
        """While held nothing is read, and when the buffers on the way are full the broker has to wait."""
        if held != self.held:
            self.held = held
            self.last_in = self._loop.time()  # silence while nobody listened is not the broker's
            self.balance()

    def balance(self) -> None:
        """Reads from the transport exactly while there is room and nobody holds it."""
        if self._transport is None or self._transport.is_closing():
            return
        want = self.closed or (not self.held and self._in_size < HIGH_WATER)
        if want and not self._reading:
            self._reading = True
            self._transport.resume_reading()
        elif not want and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def close(self) -> None:
        """Says no more; what was put before still leaves. It ends when the broker, too, closes, or by :meth:`abort`.

        Closing at once would be a reset as soon as the broker sends one more packet, and a reset makes it lose
        acknowledgements that it has not read yet.
        """
        if not self.closed:
            self.flush()
            self.closed = True
            self._forget()
            self.balance()

    def abort(self) -> None:
        """Closes at once; what waits to be sent is lost."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self._in.clear()
        self._in_size = 0
