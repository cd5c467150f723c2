"""An MQTT broker inside this process, where no other is at hand: amqtt behind sockets of our own."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from flowrunner.errors import UsageError
from flowrunner.mqtt.address import Address
from flowrunner.mqtt.settings import Settings

STOP_S = 3.0
"""Seconds that its connections get to end."""
NAME = "here"
log = logging.getLogger("flowrunner.simulate")


class Embedded:
    """It speaks MQTT 3.1.1 only, and keeps nothing. ``host``: where it listens, ``port`` 0: a free one.

    amqtt's own listener leaves connections open that end before they began, and lets a broken one fail aloud; so the
    connections are accepted, and ended, here.
    """

    name = "embedded broker"

    def __init__(self, host: str, port: int, reached_at: str) -> None:
        self.host = host
        self.port = port
        self._reached_at = reached_at
        self._broker: Any = None  # amqtt is an extra: its types need not be there
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def settings(self) -> Settings:
        return Settings(address=Address(self._reached_at, self.port), protocol="3.1.1")

    async def start(self) -> None:
        """UsageError where amqtt is not installed, or the port cannot be had."""
        try:
            from amqtt.broker import Broker  # type: ignore[import-untyped]  # it ships no types
        except ImportError:
            raise UsageError(
                "the simulated world needs an MQTT broker: install mosquitto (apt-get install mosquitto), or "
                "pip install 'flowrunner[simulate]'"
            ) from None
        for name in ("amqtt", "transitions"):  # they tell of each client that leaves, as an error
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._broker = Broker(
            {
                "listeners": {"default": {"type": "external"}, NAME: {"type": "external", "bind": "none:0"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]
            await self._broker.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UsageError(
                f"the simulated broker cannot listen on {self.host}:{self.port}: {reason}; choose another port, "
                "0 for any"
            ) from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte on."""
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter  # type: ignore[import-untyped]  # no types

        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (asyncio runs it in one)
        self._lines[task] = writer
        try:
            await self._broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), NAME)
        except Exception as error:  # of whatever kind: it concerns this client, not the others
            log.debug("a client of the embedded broker is gone: %s: %s", type(error).__name__, error)
        finally:
            del self._lines[task]
            writer.transport.abort()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._broker.transitions.is_started():
            await self._broker.shutdown()
        for writer in self._lines.values():
            writer.transport.abort()
        tasks = set(self._lines)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn: they are gone when this returns
