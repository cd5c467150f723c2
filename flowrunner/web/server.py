"""The HTTP server inside our loop: opens its socket itself, starts, and stops when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping

import uvicorn

from flowrunner.engine import Engine
from flowrunner.errors import UsageError
from flowrunner.web.app import make_app
from flowrunner.web.guard import API_KEY, extra_hosts, is_loopback


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. UsageError with the next step where that cannot be."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise UsageError(f"{host!r} is not a name or address of this machine; use --host 127.0.0.1") from None
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UsageError(f"cannot listen on {host}:{port}: {reason}; another port is chosen with --port") from None
    return sock


def check_exposure(engine: Engine, host: str, environment: Mapping[str, str]) -> None:
    """Beyond loopback nothing is served without keys: UsageError names what is missing."""
    if is_loopback(host):
        return
    if not environment.get(API_KEY):
        raise UsageError(f"{host} can be reached from other machines: set {API_KEY} to a long random text first")
    for route in engine.graph.nodes.values():
        if hasattr(route.node.options, "route") and not route.node.options.api_key:
            raise UsageError(
                f"{host} can be reached from other machines, and {route.file}:{route.line}: {route.id} has no"
                f" api_key; set it (in flows/bess.yaml by BESS_API_KEY)"
            )


class Server:
    """Serves one engine on one socket until ``close``."""

    def __init__(self, engine: Engine, sock: socket.socket, environment: Mapping[str, str], host: str) -> None:
        self.sock = sock
        app = make_app(engine, key=environment.get(API_KEY, ""), hosts=extra_hosts(environment, host))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=3,
            limit_concurrency=1000,
            h11_max_incomplete_event_size=65_536,
        )
        self._server = _Quiet(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    async def start(self) -> None:
        """Accept requests. Returns when the server does."""
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self.sock]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise UsageError("the HTTP server did not start")
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Finish what is open, within three seconds."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self.sock.close()


class _Quiet(uvicorn.Server):
    """Leaves signals to the program that it runs in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
