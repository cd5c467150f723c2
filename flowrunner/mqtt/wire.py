"""A socket as paho wants it (``recv``, ``send``, ``close``), over an asyncio transport.

Over a transport nothing blocks the loop: neither the look-up of a name, nor connecting, nor the TLS
handshake, all of which paho would do with a blocking socket. It runs on any loop, and paho's many reads of
a single byte cost no system calls.
"""

from __future__ import annotations

import asyncio
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
        self._in = bytearray()
        self._out: list[bytes] = []
        self._out_size = 0
        self._full = False
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
        if self.closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.last_in = self._loop.time()
        if not self.closed:
            self._in += data
            self._on_readable()
            self.balance()

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = self.error or exc
        self.ended = True
        if self.held:
            self._in.clear()  # nobody may take it now, and later there is no connection to acknowledge it on
        self.gone.set()
        self._on_readable()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._on_writable()

    # ---- paho's side -------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        if self._in and not self.held:
            data = bytes(self._in[:size])
            del self._in[:size]
            return data
        if self.ended:
            return b""
        raise BlockingIOError

    def send(self, data: bytes | bytearray) -> int:
        """Takes all or nothing; what it took leaves with :meth:`flush`."""
        if self.ended or self.closed:
            raise ConnectionResetError
        if self._full:
            raise BlockingIOError
        self._out.append(bytes(data))
        self._out_size += len(data)
        if self._out_size >= HIGH_WATER:
            self.flush()
        return len(data)

    def close(self) -> None:
        """Says no more; what was sent before still leaves. It ends when the broker, too, closes, or by :meth:`abort`.

        Closing at once would be a reset as soon as the broker sends one more packet, and a reset makes it lose
        acknowledgements that it has not read yet.
        """
        if not self.closed:
            self.flush()
            self.closed = True
            self._in.clear()
            self.balance()

    def fileno(self) -> int:
        return -1

    def setblocking(self, flag: bool) -> None:
        """Nothing to set: a wire never blocks."""

    # ---- our side ----------------------------------------------------------------------------------------

    @property
    def readable(self) -> bool:
        return not self.closed and (self.ended or (bool(self._in) and not self.held))

    def flush(self) -> None:
        if self._out and self._transport is not None and not self.ended:
            self._transport.write(b"".join(self._out))
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
        want = self.closed or (not self.held and len(self._in) < HIGH_WATER)
        if want and not self._reading:
            self._reading = True
            self._transport.resume_reading()
        elif not want and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def abort(self) -> None:
        """Closes at once; what waits to be sent is lost."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
