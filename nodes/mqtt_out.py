"""mqtt-out: messages to a broker."""

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

from flowrunner.errors import NotConnected, Reject
from flowrunner.message import Message
from flowrunner.mqtt.client import HungUp, Suspicion
from flowrunner.mqtt.options import BrokerOptions
from flowrunner.mqtt.sharing import shared_client
from flowrunner.node import Context, Fault, InFlight, Node, NodeOptions, Queue
from flowrunner.schema import Template
from flowrunner.template import Text, as_text
from flowrunner.units import Duration

CONNECT_S = 5.0


class MqttOut(Node):
    """Publish each message to a topic of an MQTT broker: records as JSON, text as it is.

    While the broker is away messages wait in the inbox; each is published until the broker has acknowledged it.
    Several are under way at once, in order: as many as the broker takes unacknowledged, at most 100.
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
    default_queue = Queue(durable=True)

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
        self.expiry_s = None if self.options.expiry is None else max(1, round(self.options.expiry.seconds))
        settings = self.options.settings()
        self.suspicion = getattr(self, "suspicion", None) or Suspicion()  # it lasts from one open to the next
        self.client = shared_client(ctx.shared, settings)
        self.up = asyncio.Event()
        self.client.add_listener(self._listen, ctx.retry.max.seconds)
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
        topic = self.topic.fill(message)
        try:
            payload = as_text(message.payload).encode()
        except UnicodeEncodeError:
            raise Reject("payload", f"for {topic!r}: it holds a character that is no text (a lone surrogate)") from None
        try:
            if self.suspicion:  # one at a time: so it shows which one the broker hangs up on
                await self._alone(topic, payload)
                return
            await self.client.room(self.options.qos)
            sent = _Sent(self.suspicion, topic, payload)
            self.client.send(topic, payload, self.options.qos, self.options.retain, sent.ended, expiry_s=self.expiry_s)
        except ValueError as error:
            raise Reject("topic", f"{topic!r}: {error}") from None
        sent.flight = ctx.in_flight()

    async def _alone(self, topic: str, payload: bytes) -> None:
        """Publish it, and wait for the broker's answer."""
        options, suspicion = self.options, self.suspicion
        try:
            await self.client.publish(topic, payload, options.qos, options.retain, expiry_s=self.expiry_s)
        except HungUp as error:
            if not suspicion.hung_up((topic, payload)):
                raise
            suspicion.clear()
            raise Reject(
                "mqtt-refused",
                f"{topic!r}, {len(payload)} bytes: the broker hung up on it each time; "
                f"check its limits for size, retain and QoS, and its access list ({error})",
            ) from None
        suspicion.passed()


class _Sent:
    """A message on its way to the broker."""

    __slots__ = ("_payload", "_suspicion", "_topic", "flight")
    flight: InFlight

    def __init__(self, suspicion: Suspicion, topic: str, payload: bytes) -> None:
        self._suspicion, self._topic, self._payload = suspicion, topic, payload

    def ended(self, error: Exception | None) -> None:
        if error is None:
            self.flight.done()
            return
        if isinstance(error, HungUp):
            self._suspicion.hung_up((self._topic, self._payload))
        elif isinstance(error, NotConnected):
            self._suspicion.beside()
        self.flight.failed(error)
