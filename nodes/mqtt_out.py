"""mqtt-out: messages to a broker."""

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

from flowrunner.errors import NotConnected, Reject
from flowrunner.message import Message
from flowrunner.mqtt.client import HungUp, Suspicion
from flowrunner.mqtt.options import BrokerOptions
from flowrunner.mqtt.sharing import shared_client
from flowrunner.node import Context, Fault, Node, NodeOptions
from flowrunner.schema import Template
from flowrunner.template import Text, as_text
from flowrunner.units import Duration

CONNECT_S = 5.0


class MqttOut(Node):
    """Publish each message to a topic of an MQTT broker: records as JSON, text as it is.

    While the broker is away messages wait in the inbox; each is published until the broker has acknowledged it.
    """

    example = """
        telemetry: {type: manual-in, key: north, fields: {soc_percent: {min: 0, max: 100}}}
        publish:
          type: mqtt-out
          from: telemetry
          broker: mqtt://localhost:1883
          topic: bess/{key}/telemetry
          retain: true
    """

    class Options(BrokerOptions, NodeOptions, frozen=True, kw_only=True):
        topic: Annotated[Template, Meta(description="The topic, with {key} and {field} places.")]
        qos: Annotated[Literal[0, 1, 2], Meta(description="Quality of service.")] = 1
        retain: Annotated[bool, Meta(description="The broker keeps the newest for who subscribes later.")] = False
        expiry: Annotated[Duration | None, Meta(description="The broker drops it after this time (MQTT 5).")] = None

    options: Options
    ports = ()
    side_effect = "idempotent"

    def check(self) -> list[Fault]:
        faults = []
        try:
            self.options.settings()
        except ValueError as error:
            faults.append(Fault("broker", str(error)))
        if self.options.expiry is not None and self.options.protocol != "5":
            faults.append(Fault("expiry", "MQTT 3.1.1 knows no expiry", 'protocol: "5"'))
        if any(char in self.options.topic for char in "+#"):
            faults.append(Fault("topic", "a topic to publish to has no wildcards"))
        return faults

    async def open(self, ctx: Context) -> None:
        self.ctx = ctx
        self.topic = Text(self.options.topic)
        settings = self.options.settings()
        self.suspicion = getattr(self, "suspicion", None) or Suspicion()  # it lasts from one open to the next
        self.client = shared_client(ctx.shared, settings)
        self.up = asyncio.Event()
        self.client.add_listener(self._listen)
        self.client.start()
        if not self.client.connected:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await self.up.wait()
            except TimeoutError:
                raise NotConnected(self.client.last_error or f"{settings.address}: no answer") from None
        ctx.connected(True)

    async def close(self) -> None:
        if hasattr(self, "client"):
            self.client.remove_listener(self._listen)
            del self.client

    def _listen(self, connected: bool, reason: str) -> None:
        if connected:
            self.up.set()
        self.ctx.connected(connected, reason)

    async def process(self, message: Message, ctx: Context) -> None:
        expiry = None if self.options.expiry is None else max(1, round(self.options.expiry.seconds))
        topic = self.topic.fill(message)
        try:
            payload = as_text(message.payload).encode()
        except UnicodeEncodeError:
            raise Reject("payload", f"for {topic!r}: it holds a character that is no text (a lone surrogate)") from None
        try:
            await self.client.publish(topic, payload, self.options.qos, self.options.retain, expiry_s=expiry)
        except ValueError as error:
            raise Reject("topic", f"{topic!r}: {error}") from None
        except HungUp as error:
            if not self.suspicion.hung_up((topic, payload)):
                raise
            self.suspicion.clear()
            raise Reject(
                "mqtt-refused",
                f"{topic!r}, {len(payload)} bytes: the broker hung up on it each time; "
                f"check its limits for size, retain and QoS, and its access list ({error})",
            ) from None
        self.suspicion.clear()
