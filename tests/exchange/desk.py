"""An adapter at work with the simulated exchange, over a real socket or without one: the same for a test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from flowrunner.exchange import Adapter, Found, Phoenyra, Ticket
from flowrunner.exchange.simulator import Character
from flowrunner.exchange.simulator.direct import DirectClient
from flowrunner.httpclient import HttpClient
from flowrunner.message import Instant
from flowrunner.units import SECOND
from tests.exchange.simulated import KEY, NOON, Served, Venue, served

Way = Literal["socket", "direct"]


def ticket(start: Instant = NOON, **changes: Any) -> Ticket:
    """An order that is right but for ``changes``, for the quarter-hour that begins 15 minutes after ``start``."""
    right: dict[str, Any] = {
        "client_order_id": "mine",
        "market": "AT",
        "delivery_start": start + 900 * SECOND,
        "delivery_end": start + 1800 * SECOND,
        "side": "BUY",
        "quantity_mwh": 1.0,
        "limit_price_eur_mwh": 60.0,
        "order_type": "LIMIT",
        "time_in_force": "GFD",
    }
    return Ticket(**(right | changes))


def still() -> str:
    """Nothing keeps an order from being sent."""
    return ""


@dataclass
class Desk:
    venue: Venue
    client: HttpClient
    adapter: Phoenyra
    url: str

    def ticket(self, **changes: Any) -> Ticket:
        return ticket(self.venue.now // (900 * SECOND) * 900 * SECOND, **changes)

    async def find(self, order: Ticket, taken: Collection[str] = ()) -> Found:
        return await self.adapter.find(order, self.venue.now, self.venue.now - 60 * SECOND, taken)

    async def close(self) -> None:
        """The exchange goes away; `open` brings it back."""
        if isinstance(self.client, DirectClient):
            self.client.away = True
        else:
            assert isinstance(self.venue, Served)
            await self.venue.server.stop()

    async def open(self) -> None:
        if isinstance(self.client, DirectClient):
            self.client.away = False
        else:
            assert isinstance(self.venue, Served)
            await self.venue.server.start()


@asynccontextmanager
async def desk(way: Way, character: Character, *, timeout_s: float = 5.0, key: str = KEY) -> AsyncIterator[Desk]:
    if way == "socket":
        async with served(character) as venue:
            client = HttpClient(venue.server.url, timeout_s=timeout_s)
            try:
                yield made(venue, client, venue.server.url, key, timeout_s)
            finally:
                await client.close()
    else:
        here = Venue(character)
        direct = DirectClient(here.exchange, KEY)
        try:
            yield made(here, direct, "http://127.0.0.1:9100", key, timeout_s)
        finally:
            await direct.close()


def made(venue: Venue, client: HttpClient, url: str, key: str, timeout_s: float) -> Desk:
    now = time.time_ns() // 1_000_000 * 1_000_000
    late = now % (900 * SECOND) > 780 * SECOND  # a story of some minutes must not come to the end of the slot
    venue.now = now - 120 * SECOND if late else now
    adapter = Phoenyra(client, url, key, timeout_s, lambda: venue.now, venue.exchange.character == "good")
    _: Adapter = adapter  # it is one
    return Desk(venue, client, adapter, url)
