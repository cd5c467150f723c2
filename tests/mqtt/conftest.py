"""A broker, and clients of it that are closed when the test ends. Every test runs on both event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowrunner.mqtt.address import parse_address
from flowrunner.mqtt.client import Client, Packet, Settings
from tests.peers.mosquitto import Mosquitto

PATIENCE_S = 8.0
MakeClient = Callable[..., Client]


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


@pytest.fixture(params=["3.1.1", "5"])
def protocol(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    return version


@pytest.fixture
async def client_of(anyio_backend: object) -> AsyncIterator[MakeClient]:
    """``client_of(broker, protocol=…)``: not started yet."""
    made: list[Client] = []

    def make(broker: Mosquitto | str, *, max_payload: int = 1 << 20, **options: Any) -> Client:
        url = broker if isinstance(broker, str) else broker.url
        client = Client(Settings(address=parse_address(url), **options), max_payload=max_payload)
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()


class Inbox:
    """A subscriber that keeps what it gets, and acknowledges it unless told not to."""

    def __init__(self, *, ack: bool = True) -> None:
        self.packets: list[Packet] = []
        self._ack = ack
        self._news = asyncio.Event()

    def __call__(self, packet: Packet) -> None:
        self.packets.append(packet)
        if self._ack:
            packet.ack()
        self._news.set()

    @property
    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.packets]

    async def until(self, count: int) -> list[Packet]:
        """Waits until ``count`` packets have come."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.packets) < count:
                self._news.clear()
                await self._news.wait()
        return self.packets


class States:
    """A listener that can be waited for."""

    def __init__(self, client: Client) -> None:
        self.seen: list[tuple[bool, str]] = []
        self._news = asyncio.Event()
        client.add_listener(self)

    def __call__(self, connected: bool, reason: str) -> None:
        self.seen.append((connected, reason))
        self._news.set()

    async def until(self, connected: bool, containing: str = "") -> str:
        """Waits for the next such state, and takes it and those before it away."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for position, (state, reason) in enumerate(self.seen):
                    if state == connected and containing in reason:
                        del self.seen[: position + 1]
                        return reason
                self._news.clear()
                await self._news.wait()


async def up(client: Client) -> States:
    """Starts it and waits for the connection."""
    states = States(client)
    client.start()
    await states.until(True)
    return states


async def settled(client: Client) -> None:
    """What was subscribed or left before is in force: the broker answers in order, and this waits for answers.

    The client tells it in the turn of the loop after this one: it has done so when the first answer is here, and the
    broker has heard it when the second one is.
    """
    for _ in range(2):
        await client.publish("test/settled", b"", 1)
