"""A simulated exchange behind its real server, with a clock and a price that the test sets, and a client for it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from flowrunner.exchange.simulator import AcceptedOrder, Character, Exchange, Trade
from flowrunner.exchange.simulator.server import ExchangeServer
from flowrunner.message import Instant
from flowrunner.units import SECOND, parse_instant

KEY = "made-up-key"
NOON = parse_instant("2026-03-02T12:00:00Z")
MINUTE = 60 * SECOND
MARKETS = ("AT", "DE")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used here; without it every client reads the system's certificates, which takes longer than its test."""


class Venue:
    """``now`` and ``price`` may be set at any time; ``accepted`` and ``traded`` are what the owner was told."""

    def __init__(self, character: Character) -> None:
        self.now: Instant = NOON
        self.price: float | None = 50.0
        self.accepted: list[AcceptedOrder] = []
        self.traded: list[Trade] = []
        self.exchange = Exchange(
            lambda: self.now,
            lambda market, at: self.price,
            markets=MARKETS,
            character=character,
            on_accept=self.accepted.append,
            on_trade=self.traded.append,
        )


class Served(Venue):
    """``http`` sends the right key by itself."""

    server: ExchangeServer
    http: httpx2.AsyncClient

    async def post(self, **changes: Any) -> httpx2.Response:
        """An order that is right but for ``changes``; None leaves a field out."""
        return await self.http.post("/orders", json=order(**changes))

    async def report(self, soc: float = 50.0, temperature: float = 25.0) -> None:
        body = {"soc_percent": soc, "active_power_mw": 0.0, "temperature_c": temperature}
        assert (await self.http.post("/telemetry/bess", json=body)).status_code == 200

    @property
    def ws(self) -> str:
        return self.server.url.replace("http://", "ws://")


def order(**changes: Any) -> dict[str, Any]:
    body = {
        "market": "AT",
        "delivery_start": "2026-03-02T12:15:00Z",
        "delivery_end": "2026-03-02T12:30:00Z",
        "side": "BUY",
        "quantity_mwh": 1.0,
        "limit_price_eur_mwh": 60.0,
    } | changes
    return {name: value for name, value in body.items() if value is not None}


@asynccontextmanager
async def served(character: Character = "plain") -> AsyncIterator[Served]:
    venue = Served(character)
    venue.server = ExchangeServer(venue.exchange, KEY)
    await venue.server.start()
    try:
        async with httpx2.AsyncClient(
            base_url=venue.server.url, headers={"X-API-KEY": KEY}, trust_env=False, verify=NO_TLS
        ) as venue.http:
            yield venue
    finally:
        await venue.server.stop()
