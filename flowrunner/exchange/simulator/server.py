"""The simulated exchange on a port of its own, inside our loop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

import uvicorn
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from flowrunner.embedded import EmbeddedServer
from flowrunner.errors import UsageError
from flowrunner.exchange.simulator.app import HANG_UP, app
from flowrunner.exchange.simulator.core import Exchange

TICK_S = 0.5
"""Seconds, real, between two looks at the clock: then resting orders are matched and books told."""
_LOG = logging.getLogger("flowrunner.exchange.simulator")


class ExchangeServer:
    """Serves one exchange. ``port`` 0 takes a free one; ``port`` and ``url`` are known after ``start``.

    An exchange that is away for a while is ``stop`` and a second ``start``: the port and what was stored stay.
    """

    def __init__(
        self,
        exchange: Exchange,
        api_key: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        more: Sequence[BaseRoute] = (),
    ) -> None:
        self.exchange = exchange
        self.host = host
        self.port = port
        self._config = uvicorn.Config(
            _hides_keys(app(exchange, api_key, more)),
            http=_Connection,
            ws=_Stream,
            ws_max_size=65_536,  # of what listeners send: nothing that matters
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # the application tells flow time
            proxy_headers=False,
            timeout_graceful_shutdown=3,
            limit_concurrency=1000,
        )
        self._server: _Embedded | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def start(self) -> None:
        """Listen and answer. UsageError where the address cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            self._socket = socket.create_server((self.host, self.port), family=family, backlog=1024)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UsageError(
                f"the simulated exchange cannot listen on {self.host}:{self.port}: {reason}; choose another port"
            ) from None
        # asyncio does it only for sockets that name their protocol; without it each answer waits 40 ms for an ACK
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self._socket.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = _Embedded(self._config)
        served = loop.create_task(self._server.serve(sockets=[self._socket]), name="exchange")
        ready = loop.create_task(self._server.ready.wait())
        self._tasks = [served, loop.create_task(self._tick(), name="exchange-tick")]
        await asyncio.wait([served, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if served.done():
            await self.stop()

    async def stop(self) -> None:
        """Close streams, end late answers, give the port back. Safe to repeat, and before ``start``."""
        if self._server is not None:
            self._server.end()
        for task in self._tasks[1:]:
            task.cancel()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
                self._tasks[0].result()
        finally:
            self._tasks = []
            if self._socket is not None:
                self._socket.close()

    async def _tick(self) -> None:
        while True:
            try:
                self.exchange.advance()
            except Exception:
                _LOG.exception("the simulated exchange could not follow the clock; it tries again")
            await asyncio.sleep(TICK_S)


class _Embedded(EmbeddedServer):
    """Hangs up on who still waits for a late answer when it stops."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, _Connection) and connection.is_late:
                connection.hang_up(reset=False)
        await super().shutdown(sockets=sockets)


class _Connection(HttpToolsProtocol):
    """Lets the application end the connection without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[HANG_UP] = self.hang_up  # type: ignore[literal-required]  # a key of our own

    @property
    def is_late(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def hang_up(self, *, reset: bool) -> None:
        """Nothing more is sent. ``reset``: the peer sees a reset, else an orderly end."""
        if reset:
            peer = self.transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Stream(WebSocketsSansIOProtocol):
    """Does not log what is exchanged byte by byte: the API key is in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # whatever uvicorn gives its protocols
        super().__init__(*args, **kwargs)
        self.conn.debug = False


def _hides_keys(inner: ASGIApp) -> ASGIApp:
    """uvicorn logs the query of a WebSocket, and the API key is in it: only the application gets to see it."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        seen = dict(scope)
        if scope["type"] == "websocket":
            scope["query_string"] = b""
        await inner(seen, receive, send)

    return outer
