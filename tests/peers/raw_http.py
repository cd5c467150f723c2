"""A web server that does on the wire exactly what a test says, byte by byte; no HTTP library in between."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    """One request as it came. ``on`` counts the connections from 1."""

    head: str
    body: bytes
    on: int

    @property
    def line(self) -> str:
        return self.head.partition("\r\n")[0]

    def header(self, name: str) -> str | None:
        for one in self.head.split("\r\n")[1:]:
            key, _, value = one.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None


Reply = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer; closing the writer ends the connection, else the next request on it is waited for."""


@dataclass
class RawServer:
    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever a request has come."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self.came.clear()
                await self.came.wait()


def text(body: str | bytes, status: str = "200 OK", media: str = "application/json", more: str = "") -> bytes:
    raw = body if isinstance(body, bytes) else body.encode()
    return f"HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {len(raw)}\r\n{more}\r\n".encode() + raw


def always(*answers: bytes) -> Reply:
    """The answers in their order, the last one for ever."""
    left = list(answers)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    return reply


@asynccontextmanager
async def serve(reply: Reply, *, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[RawServer]:
    server = RawServer(scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        on = server.connections
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                one = Asked(head.removesuffix("\r\n\r\n"), b"", on)
                one.body = await reader.readexactly(int(one.header("content-length") or 0))
                server.asked.append(one)
                server.came.set()
                await reply(one, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            tasks.discard(task)
            writer.transport.abort()

    listening = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tasks.copy():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()
