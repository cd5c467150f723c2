"""A server of prices on loopback: real HTTP, answers as a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    path: str
    query: Mapping[str, str]


Reply = tuple[int, bytes] | None
"""Status and body; None: no answer, ever."""
Answering = Callable[[Asked], Reply | Awaitable[Reply]]


class PriceServer:
    """``answer`` decides; it may be replaced while it runs. ``asked`` has every request that came."""

    def __init__(self) -> None:
        self.answer: Answering = lambda asked: (404, b"")
        self.asked: list[Asked] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                while await reader.readline() not in (b"\r\n", b""):
                    continue
                target = urlsplit(line.split()[1].decode())
                asked = Asked(target.path, dict(parse_qsl(target.query, keep_blank_values=True)))
                self.asked.append(asked)
                decided = self.answer(asked)
                reply = await decided if isawaitable(decided) else decided
                if reply is None:
                    await reader.read()  # until the client gives up
                    return
                status, body = reply
                writer.write(f"HTTP/1.1 {status} -\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def price_server(answer: Answering) -> AsyncIterator[PriceServer]:
    one = PriceServer()
    one.answer = answer
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
