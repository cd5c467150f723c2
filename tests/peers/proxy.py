"""A TCP line to a real peer that a test can cut, freeze, delay, garble and close."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Literal

Way = Literal["to_server", "to_client"]
BOTH: tuple[Way, Way] = ("to_server", "to_client")
CHUNK = 65536


class Proxy:
    """Stands between clients at :attr:`port` and a server; as long as nothing is asked of it, it only forwards.

    ::

        async with Proxy(broker.port) as line:
            client = Client(f"mqtt://127.0.0.1:{line.port}")
            line.cut()                      # every connection is reset; the next one is served
            line.cut(reset=False)           # … is closed in order (FIN)
            line.freeze()                   # half-open: accepted and kept, but nothing gets through, no end either
            line.freeze("to_client")        # … in that direction only: what the server says does not arrive
            line.thaw()                     # what waited goes on its way, none of it lost
            line.cut()                      # … or is lost, as on a network that forgot the connection
            line.delay = 0.2                # every piece waits so long (seconds), each way
            line.piece = 1                  # so many bytes at a time
            line.garble("to_client", lambda data: data[::-1])    # b"" swallows; None: true to the byte again
            line.refuse()                   # nobody listens any more; what is open stays open
            await line.accept()             # the same port is served again
            await line.connected(3)         # until three connections have come in all
            await line.passed("to_client", 100)   # until so many bytes have gone that way in all

    The server need not run: a connection is then reset as soon as it was accepted, or, while frozen, kept.
    Needs no cleaning up beside the end of the block. Wait for conditions with a deadline of your own.
    """

    def __init__(self, server_port: int, server_host: str = "127.0.0.1") -> None:
        self.port = 0
        """Where it listens on 127.0.0.1; the same after ``refuse`` and ``accept``."""
        self.delay = 0.0
        self.piece = CHUNK
        self.connections = 0
        """How many have been accepted in all."""
        self.bytes: Counter[Way] = Counter()
        """What went through in all."""
        self._target = server_host, server_port
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._gates: dict[Way, asyncio.Event] = {way: asyncio.Event() for way in BOTH}
        self._changes: dict[Way, Callable[[bytes], bytes]] = {}
        self._happened = asyncio.Event()
        self.thaw()

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._open)

    def cut(self, *, reset: bool = True) -> None:
        """End every connection, towards both sides; what was on its way here is lost."""
        for task, writers in self._open.items():
            for writer in writers:
                _end(writer, reset=reset)
            task.cancel()
        self._open.clear()

    def freeze(self, *ways: Way) -> None:
        for way in ways or BOTH:
            self._gates[way].clear()

    def thaw(self, *ways: Way) -> None:
        for way in ways or BOTH:
            self._gates[way].set()

    def garble(self, way: Way, change: Callable[[bytes], bytes] | None) -> None:
        """``change`` makes what is sent on from each piece that came; TCP may cut pieces anywhere."""
        if change is None:
            self._changes.pop(way, None)
        else:
            self._changes[way] = change

    def refuse(self) -> None:
        """Connection refused from now on. Safe to repeat."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Safe to repeat."""
        if self._server is None:
            self._server = await asyncio.start_server(self._joined, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def connected(self, count: int) -> None:
        while self.connections < count:
            await self._happening()

    async def passed(self, way: Way, count: int) -> None:
        while self.bytes[way] < count:
            await self._happening()

    async def __aenter__(self) -> Proxy:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        tasks = list(self._open)
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _happening(self) -> None:
        self._happened.clear()
        await self._happened.wait()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = self._open[task] = [writer]
        self.connections += 1
        self._happened.set()
        try:
            for way in BOTH:
                await self._gates[way].wait()
            from_server, to_server = await asyncio.open_connection(*self._target)
            writers.append(to_server)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump("to_server", reader, to_server))
                pumps.create_task(self._pump("to_client", from_server, writer))
        except (OSError, ExceptionGroup):  # the server is away, or one side has broken: so is the other
            for one in writers:
                _end(one, reset=True)
        except asyncio.CancelledError:
            pass  # cut; asyncio would log it as an error of this callback
        finally:
            self._open.pop(task, None)
            for one in writers:
                one.close()

    async def _pump(self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while True:
            data = await source.read(min(self.piece, CHUNK))
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._gates[way].wait()
            if not data:
                sink.write_eof()
                return
            sink.write(self._changes[way](data) if way in self._changes else data)
            await sink.drain()
            self.bytes[way] += len(data)
            self._happened.set()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    peer: socket.socket | None = writer.get_extra_info("socket")  # None: it is over already
    if reset:
        if peer is not None and peer.fileno() >= 0:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
