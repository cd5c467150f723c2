"""A line to the broker that a test can make one-way, and cut."""

from __future__ import annotations

import asyncio


class Line:
    """Forwards between clients at :attr:`url` and a broker. ``swallow``: what clients say is thrown away."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.swallow = False

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, to_broker]
        self._tasks += [
            asyncio.create_task(self._forward(reader, to_broker, swallows=True)),
            asyncio.create_task(self._forward(from_broker, writer, swallows=False)),
        ]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, swallows: bool) -> None:
        while data := await reader.read(65536):
            if not (swallows and self.swallow):
                writer.write(data)
                await writer.drain()
        writer.close()
