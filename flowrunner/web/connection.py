"""One connection to a client that may be slow, broken or hostile: bounds on how long and how large a request is."""

from __future__ import annotations

import asyncio

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from flowrunner.http import refusal

MAX_HEAD = 65_536
"""Bytes of request line and headers beyond the first read of them."""


class Limits(uvicorn.Config):
    """The server's configuration with one thing more."""

    request_s: float = 30.0
    """Seconds from the first byte of a request (or from the connection, where none comes) to its last."""


class Connection(HttpToolsProtocol):
    """Closes clients that hold a request open, and refuses heads without end; uvicorn has no bound for either."""

    config: Limits
    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        self._arm()  # also for what begins no request: empty lines, one by one
        if self._in_head:  # what came with the line that began it is not counted: one read is bounded anyway
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431, "too-large", f"the request line and headers are larger than {MAX_HEAD} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "not-http", "this is not an HTTP request")

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.config.request_s, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer without the application, and close. Not in the middle of another answer."""
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(refusal(status, code, detail).body)
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
