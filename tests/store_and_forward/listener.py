"""Who hears what is published, also what is published while it is away."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.peers.mosquitto import Mosquitto


class Listener:
    """A client with a session at the broker: what is published while it is away waits for it."""

    def __init__(self, broker: Mosquitto) -> None:
        self.heard: list[Any] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self._client.on_message = lambda client, data, message: self.heard.append(
            json.loads(message.payload)["soc_percent"]
        )
        self._subscribed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def subscribed(*_: object) -> None:
            loop.call_soon_threadsafe(self._subscribed.set)

        self._client.on_subscribe = subscribed
        self._port = broker.port

    async def __aenter__(self) -> Listener:
        await asyncio.to_thread(self._client.connect, "127.0.0.1", self._port)
        self._client.loop_start()
        self._client.subscribe("out", 1)
        async with asyncio.timeout(10):
            await self._subscribed.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


def once(values: list[Any]) -> list[Any]:
    """Without what came again."""
    return list(dict.fromkeys(values))
