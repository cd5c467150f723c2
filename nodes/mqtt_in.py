"""mqtt-in: messages of a broker."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec
from msgspec import Meta

from flowrunner.errors import Reject
from flowrunner.fields import Limits, contradiction, is_number, outside
from flowrunner.message import JSON, FieldInfo, Message
from flowrunner.mqtt.client import Packet, Subscription
from flowrunner.mqtt.options import BrokerOptions
from flowrunner.mqtt.payload import BadPayload, parse_payload, read_sample
from flowrunner.mqtt.sharing import shared_client
from flowrunner.mqtt.topic import check_filter
from flowrunner.node import Context, Fault, NewField, Node, NodeOptions, Output, Tracked
from flowrunner.shape import ANYTHING, Shape, known_units, union

PAUSE_AT, RESUME_AT = 500, 50
"""Waiting packets at which reading from the broker stops, and goes on."""


class TopicField(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    field: Annotated[NewField, Meta(description="The field that the value becomes.")]
    path: Annotated[str, Meta(description="Where the value is in a JSON payload.")] = "value"
    time: Annotated[str, Meta(description="Where the time is in a JSON payload.")] = "timestamp"


class MqttIn(Node):
    """Subscribe to topics of an MQTT broker.

    With ``topic`` the payload goes on as it is: JSON when it is JSON, else text. With ``topics`` each topic is one
    field of a record: ``{"value": 75.5, "timestamp": "2025-01-25T20:30:00Z", "unit": "%"}`` or a bare number; other
    units of the same kind are converted, anything else is refused. A message is acknowledged once all that came of it
    is done with; with ``persistent: true`` and a ``client_id`` the broker brings again what was not.
    """

    example = """
        meter:
          type: mqtt-in
          broker: mqtt://localhost:1883
          username: ${BESS_MQTT_USERNAME:-}
          password: ${BESS_MQTT_PASSWORD:-}
          topics:
            bess/soc: {field: soc_percent, unit: "%", min: 0, max: 100}
            bess/power: {field: active_power_mw, unit: MW, min: -20, max: 20}
    """

    class Options(BrokerOptions, NodeOptions, frozen=True, kw_only=True):
        qos: Annotated[Literal[0, 1, 2], Meta(description="Highest quality of service to ask for.")] = 1
        retained: Annotated[
            Literal["accept", "mark", "ignore"],
            Meta(description="What to do with retained messages; mark: their quality is uncertain."),
        ] = "mark"
        topic: Annotated[str | None, Meta(description="Topic filter; + and # are wildcards.")] = None
        topics: Annotated[dict[str, TopicField] | None, Meta(description="Topic filter → the field it fills.")] = None

    options: Options
    inputs = "none"

    def check(self) -> list[Fault]:
        o, faults = self.options, []
        if (o.topic is None) == (not o.topics):
            faults.append(Fault("", "it needs either 'topic' or 'topics'"))
        for name, place in [(o.topic, "topic"), *((name, f"topics.{name}") for name in o.topics or {})]:
            try:
                check_filter(name or "x")
            except ValueError as error:
                faults.append(Fault(place.partition(".")[0], str(error)))
        for name, one in (o.topics or {}).items():
            if wrong := contradiction(one):
                faults.append(Fault("topics", f"{name!r}: {wrong}"))
        try:
            o.settings()
        except ValueError as error:
            faults.append(Fault("broker", str(error)))
        return faults

    def emits(self, incoming: Shape) -> Shape:
        if self.options.topics is None:
            return ANYTHING
        topics = self.options.topics.values()
        return union(Shape({one.field: "number"}, units=known_units({one.field: one.unit})) for one in topics)

    async def open(self, ctx: Context) -> None:
        self.packets, self.news = _Packets(), asyncio.Event()
        self.ctx, self.deaf = ctx, False
        settings = self.options.settings()
        self.client = shared_client(ctx.shared, settings)
        self.client.add_listener(self._listen, ctx.retry.max.seconds)
        filters = list(self.options.topics or {}) or [self.options.topic or ""]
        self.subscriptions = [
            self.client.subscribe(one, self.options.qos, partial(self._arrived, one)) for one in filters
        ]
        self._listen(self.client.connected, self.client.last_error)
        self.client.start()

    async def listening(self) -> None:
        if self.client.last_error:  # the broker is away: nothing comes, and nothing can fall between
            return
        for subscription in self.subscriptions:
            await subscription.listening.wait()

    def leave(self, ctx: Context) -> None:
        self.deaf = True  # what still comes is not acknowledged: a broker that knows the session keeps it
        self._put(None)  # behind the last

    def make_way(self, successor: Node | None, ctx: Context) -> None:
        mine = self.options.settings()
        heir = None if successor is None else getattr(successor.options, "settings", lambda: None)()
        if heir is not None and heir != mine and heir.session == mine.session is not None:
            self.leave(ctx)  # the other one gets the same session, with all that is in it
            return
        ending = set(self.subscriptions)

        def ended(subscription: Subscription) -> None:
            ending.discard(subscription)
            if not ending:
                self._put(None)

        for subscription in self.subscriptions:  # what the broker has sent to this one alone still comes
            subscription.end(partial(ended, subscription))

    def _unsubscribe(self) -> None:
        for subscription in getattr(self, "subscriptions", []):
            subscription.close()
        self.subscriptions = []

    async def close(self) -> None:
        self._unsubscribe()
        while hasattr(self, "packets") and self.packets:
            if (waiting := self.packets.popleft()) is not None:
                waiting[1].abandon()  # not ours to acknowledge any more; it must not hold back others
        if hasattr(self, "client"):
            self.client.remove_listener(self._listen)
            self.client.resume(self)
            del self.client

    def _listen(self, connected: bool, reason: str) -> None:
        self.ctx.connected(connected, reason)
        if connected and reason:
            self.ctx.error("mqtt", reason)

    def _arrived(self, name: str, packet: Packet) -> None:
        if self.deaf:
            packet.abandon()
            return
        self._put((name, packet))
        if len(self.packets) >= PAUSE_AT:
            self.client.pause(self)

    def _put(self, waiting: tuple[str, Packet] | None) -> None:
        self.packets.append(waiting)
        self.news.set()

    async def produce(self, ctx: Context) -> AsyncIterator[Output | Tracked]:
        packets = self.packets
        while True:
            if not packets:
                self.news.clear()
                await self.news.wait()
            if (waiting := packets.popleft()) is None:
                return
            name, packet = waiting
            if len(packets) == RESUME_AT:
                self.client.resume(self)
            try:
                message = self._message(name, packet, ctx)
            except BaseException:
                packet.abandon()  # it must not hold back the answers to those behind it
                raise
            yield Tracked(message, packet.ack) if packet.qos else message  # nobody waits to hear of one with QoS 0

    def _message(self, name: str, packet: Packet, ctx: Context) -> Message | None:
        if packet.retain and self.options.retained == "ignore":
            ctx.drop("retained")
            return None
        if self.options.topics is None:
            return self._whole(packet, ctx)
        return self._field(packet, self.options.topics[name], ctx)

    def say(self, value: JSON, ctx: Context) -> Message:
        position = f"said:{ctx.now()}"
        if self.options.topics is None:
            return ctx.message(value, position=position)
        if not isinstance(value, dict):
            raise Reject("value", "it sends records: a map of the fields of its topics")
        now, known = ctx.now(), {one.field: one for one in self.options.topics.values()}
        for name, one in value.items():
            if name not in known:
                raise Reject("value", f"{name}: none of its topics has this field")
            if one is not None and not is_number(one):
                raise Reject("not-believed", f"{name}: it must be a finite number")
            if one is not None and (wrong := outside(one, known[name])):
                raise Reject("not-believed", f"{name}: {wrong}")
        infos = {
            name: FieldInfo(at=now, received_at=now, source=self.id, quality="bad" if one is None else "good",
                            unit=known[name].unit)
            for name, one in value.items()
        }  # fmt: skip
        good = {name: one for name, one in value.items() if one is not None}
        return ctx.message(good, position=position, fields=infos)

    def _whole(self, packet: Packet, ctx: Context) -> Message | None:
        try:
            return ctx.message(parse_payload(packet.payload), **self._envelope(packet))
        except (BadPayload, Reject) as error:  # the latter: just too large for a message
            ctx.error(error.code, f"{packet.topic}: {error.reason}")
            return None

    def _field(self, packet: Packet, one: TopicField, ctx: Context) -> Message:
        """A record of one field; a payload that gives no value makes the field bad, and an error says why."""
        now = ctx.now()
        info = FieldInfo(at=now, received_at=now, source=self.id, unit=one.unit, quality=_quality(packet, self.options))
        try:
            sample = read_sample(packet.payload, path=one.path, time=one.time, target_unit=one.unit)
            if wrong := outside(sample.value, one):
                raise BadPayload("not-believed", wrong)
        except BadPayload as error:
            ctx.error(error.code, f"{packet.topic}: {error.reason}")
            bad = {one.field: msgspec.structs.replace(info, quality="bad")}
            return ctx.message({}, fields=bad, **self._envelope(packet))
        at = now if sample.at is None else sample.at
        info = msgspec.structs.replace(info, at=at)
        return ctx.message({one.field: sample.value}, at=at, fields={one.field: info}, **self._envelope(packet))

    def _envelope(self, packet: Packet) -> dict[str, Any]:
        number = packet.mid or packet.received
        return {
            "position": f"{packet.topic}#{number}:{crc32(packet.payload):08x}",
            "quality": _quality(packet, self.options),
            "meta": {"topic": packet.topic, "qos": packet.qos, "retain": packet.retain},
        }


class _Packets(deque[tuple[str, Packet] | None]):
    """What has come and waits for its turn, by filter; None: nothing more comes."""

    def qsize(self) -> int:
        return len(self)


def _quality(packet: Packet, options: MqttIn.Options) -> Literal["good", "uncertain"]:
    """A retained message may be as old as the broker."""
    return "uncertain" if packet.retain and options.retained == "mark" else "good"
