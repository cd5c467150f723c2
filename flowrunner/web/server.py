"""The HTTP server inside our loop: opens its socket itself, starts, and stops when told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

from flowrunner.embedded import EmbeddedServer
from flowrunner.engine import Engine
from flowrunner.errors import UsageError
from flowrunner.web.app import make_app
from flowrunner.web.connection import Connection, Limits
from flowrunner.web.exposure import is_loopback
from flowrunner.web.guard import API_KEY, HTTPS, extra_hosts
from flowrunner.web.live import Hub
from flowrunner.web.people import People
from flowrunner.web.pulse import Pulse
from flowrunner.web.reload import Reload

STOP_S = 3
"""Seconds that open requests get to be answered when the server stops."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. UsageError with the next step where that cannot be."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"{host!r} is not a name or address of this machine; use --host 127.0.0.1") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)  # a name with both is meant as IPv4, localhost above all
    family, kind, proto, _, address = found[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(2048)  # here: two programs that start together can both bind
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        step = "another port is chosen with --port" if port else "another address is chosen with --host"
        raise UsageError(f"cannot listen on {host}:{port}: {reason}; {step}") from None
    return sock


class Server:
    """Serves one engine on one socket until ``close``. ``request_s``: how long a client may take for a request."""

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        environment: Mapping[str, str],
        host: str,
        *,
        reload: Reload | None = None,
        request_s: float = Limits.request_s,
    ) -> None:
        """``reload``: what ``POST /api/v1/reload`` asks."""
        self.sock = sock
        address, self.port = sock.getsockname()[:2]
        self.people = People(
            engine.store,
            api_key=environment.get(API_KEY, ""),
            may_be_open=is_loopback(address),
            cookie=f"flowrunner-{self.port}",
            secure=environment.get(HTTPS) == "1",
        )
        app = make_app(engine, people=self.people, hosts=extra_hosts(environment, host), reload=reload)
        self.hub: Hub = app.state.hub
        self.pulse: Pulse = app.state.pulse
        config = Limits(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # else every local client could choose the address that it is counted by
            timeout_graceful_shutdown=STOP_S,
            limit_concurrency=1000,
        )
        config.request_s, config.ingress = request_s, app.state.ingress
        self._server = EmbeddedServer(config)
        self._task: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Accept requests. Returns when the server does."""
        loop = asyncio.get_running_loop()
        self.hub.begin()
        self.pulse.start()
        self._task = loop.create_task(self._server.serve(sockets=[self.sock]), name="http")
        self._beside.append(loop.create_task(self.people.watch(), name="people"))
        ready = asyncio.ensure_future(self._server.ready.wait())
        await asyncio.wait([self._task, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            await self._task

    async def close(self) -> None:
        """Finish what is open, within three seconds. Safe to repeat, and before ``start``."""
        await self.hub.close()  # streams have no end of their own
        self._server.end()
        self.pulse.close()
        if self._task is not None:
            await self._task
        for one in self._beside:
            one.cancel()
        if self._beside:
            await asyncio.wait(self._beside)
        self.sock.close()
