"""A reader of the live stream over a socket of its own, fast, slow or frozen."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from flowrunner.remote.asking import Event
from flowrunner.remote.mirror import Mirror

PATIENCE_S = 10.0
SMALL = 4096


class Reading:
    """``status`` and ``head`` are of the answer; ``events`` all that came, ``mirror`` what they add up to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.status = 0
        self.head: dict[str, str] = {}
        self.events: list[Event] = []
        self.mirror = Mirror()
        self.text = ""

    async def begin(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            first, *rows = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        self.status = int(first.split()[1])
        self.head = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)}

    async def event(self) -> Event | None:
        """The next one; None when the stream has ended."""
        async with asyncio.timeout(PATIENCE_S):
            while "\n\n" not in self.text:
                size = int((await self._reader.readline()).strip() or b"0", 16)
                if not size:
                    return None
                self.text += (await self._reader.readexactly(size + 2))[:-2].decode()
        block, _, self.text = self.text.partition("\n\n")
        name, data = block.split("\n")
        found = Event(name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        self.events.append(found)
        self.mirror.take(found)
        return found

    async def until(self, condition: Callable[[Event], Any]) -> Event:
        """Read on to the first event that is so."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self.event()
                assert found is not None, "the stream has ended"
                if condition(found):
                    return found

    async def to_the_end(self) -> None:
        """Read what comes until the other side ends it, whichever way."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await self.event() is not None:
                    pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass

    def node(self, address: str) -> dict[str, Any]:
        return self.mirror.nodes[self.mirror.names.index(address)]

    def of(self, name: str) -> list[Any]:
        """What the events of one name said."""
        return [event.data for event in self.events if event.name == name]


@asynccontextmanager
async def reading(
    port: int, query: str = "", *, small: bool = False, key: str = "", head: str = ""
) -> AsyncIterator[Reading]:
    """``small``: the system keeps as little as it can for this reader. ``head``: a header, as it is sent."""
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=SMALL if small else 1 << 20)
    try:
        more = "".join(f"{line}\r\n" for line in (f"x-api-key: {key}" if key else "", head) if line)
        writer.write(f"GET /api/v1/live{query} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n".encode())
        found = Reading(reader, writer)
        await found.begin()
        yield found
    finally:
        writer.close()


def joined(events: list[Event]) -> int:
    """How many snapshots there are; AssertionError where a delta does not follow on what came before it."""
    seq = None
    for event in events:
        if event.name == "delta":
            assert seq is not None, "a delta before any snapshot"
            assert event.data["seq"] in (seq, seq + 1), "a frame is missing, and no snapshot came for it"
        if event.name in ("snapshot", "delta"):
            seq = event.data["seq"]
    return len([event for event in events if event.name == "snapshot"])
