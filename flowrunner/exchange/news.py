"""The signed streams of an exchange: orders and trades, read as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from flowrunner.errors import NotConnected
from flowrunner.exchange.adapter import Told
from flowrunner.exchange.calls import Calls
from flowrunner.exchange.fills import Fills
from flowrunner.exchange.likeness import Unreadable, row
from flowrunner.exchange.signing import Distrusted, Envelopes
from flowrunner.httpclient import HttpClient
from flowrunner.message import JSON, Instant

ORDERS = "/ws/orders"
TRADES = "/ws/trades"
WAITING = 64
"""News that wait for the reader; then the streams wait."""


class News:
    """``listen`` may be called again when it has ended: what was summed up, and what must not come again, is kept."""

    def __init__(self, client: HttpClient, calls: Calls, api_key: str, now: Callable[[], Instant]) -> None:
        self.distrusted = ""
        """As :class:`~flowrunner.exchange.adapter.Adapter` has it."""
        self._client = client
        self._calls = calls
        self._key = api_key
        self._envelopes = Envelopes(api_key, now)
        self._fills = Fills()

    async def listen(self) -> AsyncGenerator[Told, None]:
        """Both streams, until either ends: NotConnected. Without a key there are none."""
        if not self._key:
            return
        waiting: asyncio.Queue[Told | Exception] = asyncio.Queue(WAITING)
        streams = [
            asyncio.create_task(self._read(ORDERS, {"api_key": self._key}, waiting)),
            asyncio.create_task(self._read(TRADES, {}, waiting)),
        ]
        try:
            while True:
                told = await waiting.get()
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)

    async def _read(self, path: str, params: dict[str, str], waiting: asyncio.Queue[Told | Exception]) -> None:
        """What came before the end of a stream is read before it."""
        try:
            async with aclosing(self._client.listen(self._calls.url + path, params=params)) as frames:
                async for frame in frames:
                    told = self._understood(path, frame)
                    if told is not None:
                        await waiting.put(told)
            await waiting.put(NotConnected(f"{self._calls.url}{path}: the stream ended"))
        except Exception as error:  # whatever it is: it is raised where the news are read
            await waiting.put(error)

    def _understood(self, path: str, frame: str) -> Told | None:
        """None where nothing follows from it."""
        try:
            told = self._told(path, self._envelopes.open(frame))
        except Distrusted as error:
            self.distrusted = f"{path}: {error}"
        except Unreadable as error:
            self.distrusted = f"{path}: a frame cannot be read: {error}"
        else:
            return told
        return None

    def _told(self, path: str, said: JSON) -> Told | None:
        one = row(said)
        if path == ORDERS:
            told: Told | None = self._fills.order(said, one)
        elif one.quantity_mwh <= 0:
            raise Unreadable("a trade of nothing, or less")
        else:
            told = self._fills.trade(one)
        if told is None:
            return None
        kept = self._calls.kept(told)
        if kept is None:
            raise Unreadable("it quotes the key")
        return kept
