"""The line between an engine and the exchange: all that is asked is heard, and one order can be struck on its way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

PATIENCE_S = 15.0


class Passing:
    """One request on its way. ``strike`` is what the test wants to happen to it, once, at a place of its choice."""

    def __init__(self, head: bytes, client: asyncio.StreamReader, back: asyncio.StreamWriter, port: int) -> None:
        self._head = head
        self._client, self._back = client, back
        self._port = port
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def line(self) -> str:
        return self._head.partition(b"\r\n")[0].decode()

    async def body(self, part: float = 1.0) -> bytes:
        """That much of the body, read from the client."""
        length = next(
            int(line.partition(b":")[2])
            for line in self._head.split(b"\r\n")
            if line.lower().startswith(b"content-len")
        )
        return await self._client.readexactly(int(length * part))

    async def forward(self, body: bytes) -> None:
        """Give head and body to the exchange."""
        _, writer = self._server = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._head + body)

    async def answered(self) -> bytes:
        """What the exchange answers, to its end; it has stored the order then."""
        assert self._server is not None
        return await self._server[0].read()

    async def answer(self, raw: bytes) -> None:
        self._back.write(raw)
        await self._back.drain()

    def reset(self) -> None:
        """Towards the client."""
        peer: socket.socket = self._back.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._back.transport.abort()

    def let_go(self) -> None:
        if self._server is not None:
            self._server[1].transport.abort()
        self._back.transport.abort()

    async def through(self) -> None:
        """As if there were no line in between, until both have hung up."""
        reader, writer = self._server = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._head)
        await asyncio.gather(_pump(self._client, writer), _pump(reader, self._back))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while some := await source.read(65536):
        sink.write(some)
        await sink.drain()
    sink.close()


Strike = Callable[[Passing], Awaitable[None]]


async def after_the_head(order: Passing, strike: Strike) -> None:
    await strike(order)


async def in_the_middle_of_the_body(order: Passing, strike: Strike) -> None:
    await order.forward(await order.body(0.5))
    await strike(order)


async def after_the_body_and_it_is_lost(order: Passing, strike: Strike) -> None:
    await order.body()
    await strike(order)


async def after_the_body_and_it_arrives(order: Passing, strike: Strike) -> None:
    body = await order.body()
    await strike(order)
    await order.forward(body)
    await order.answered()


async def stored_and_not_answered(order: Passing, strike: Strike) -> None:
    await order.forward(await order.body())
    await order.answered()
    await strike(order)


async def in_the_middle_of_the_answers_head(order: Passing, strike: Strike) -> None:
    await order.forward(await order.body())
    answer = await order.answered()
    await order.answer(answer[:20])
    await strike(order)


async def in_the_middle_of_the_answers_body(order: Passing, strike: Strike) -> None:
    await order.forward(await order.body())
    answer = await order.answered()
    await order.answer(answer[:-20])
    await strike(order)


async def after_the_answer(order: Passing, strike: Strike) -> None:
    await order.forward(await order.body())
    await order.answer(await order.answered())
    await strike(order)


Place = Callable[[Passing, Strike], Awaitable[None]]
PLACES: tuple[Place, ...] = (
    after_the_head, in_the_middle_of_the_body, after_the_body_and_it_is_lost, after_the_body_and_it_arrives,
    stored_and_not_answered, in_the_middle_of_the_answers_head, in_the_middle_of_the_answers_body, after_the_answer,
)  # fmt: skip
"""Where an order can be struck on its way."""


class Wire:
    """``strike_at`` before an order comes: it is struck there. ``until_struck`` waits for that to be over."""

    def __init__(self, port: int) -> None:
        self.exchange_port = port
        self.port = 0
        self.asked: list[str] = []
        """The first lines of all requests."""
        self._fate: tuple[Place, Strike] | None = None
        self._struck: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def strike_at(self, place: Place, strike: Strike) -> None:
        """The next order, once."""
        self._fate = place, strike

    async def until_struck(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._struck

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        passing = None
        try:
            passing = Passing(await reader.readuntil(b"\r\n\r\n"), reader, writer, self.exchange_port)
            self.asked.append(passing.line)
            if self._fate is not None and passing.line.startswith("POST /orders "):
                (place, strike), self._fate = self._fate, None
                await place(passing, strike)
                self._struck.set_result(None)
            else:
                await passing.through()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # one of both has gone
        except asyncio.CancelledError:
            pass  # the test is over
        except Exception as error:
            self._struck.set_exception(error)
        finally:
            self._tasks.discard(task)
            if passing is not None:
                passing.let_go()
            writer.transport.abort()

    async def close(self) -> None:
        for task in self._tasks.copy():
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A line to the exchange that listens on ``port``."""
    one = Wire(port)
    server = await asyncio.start_server(one.connected, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.close()
        await server.wait_closed()
