"""What MQTT says and hears, by paho-mqtt: the only file that knows it. One instance serves one connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from flowrunner.message import JSON

from .limits import MAX_PACKET, Limits
from .settings import Settings
from .wire import Wire

RECEIVE_MAXIMUM = 1000
"""MQTT 5: how many unacknowledged messages (QoS 1 and 2) the broker may have out to us."""


class Welcome(msgspec.Struct, frozen=True):
    """The broker's yes. ``idents``: it knows subscription identifiers; ``receive_maximum``: how many of our
    messages may be unacknowledged; ``keepalive`` in seconds."""

    session_present: bool
    idents: bool
    receive_maximum: int
    keepalive: int
    limits: Limits


class Incoming(msgspec.Struct):
    """A message as the broker sent it; ``idents`` are the subscriptions that it is for, where the broker says so."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    dup: bool
    properties: dict[str, JSON]
    idents: list[int]


class Hears(Protocol):
    """Who hears what the broker says. ``refusal`` is the name of the broker's reason, ``""`` for a yes."""

    def on_welcome(self, welcome: Welcome) -> None: ...
    def on_refused(self, refusal: str) -> None: ...
    def on_end(self, said: str, protocol_error: str) -> None: ...
    def on_incoming(self, message: Incoming) -> None: ...
    def on_released(self, mid: int) -> None: ...
    def on_published(self, mid: int, refusal: str) -> None: ...
    def on_subscribed(self, mid: int, refusal: str) -> None: ...
    def on_want_write(self) -> None: ...


class Speaker(paho.Client):
    """paho with a transport of ours, and with QoS 2 acknowledged when *we* are done.

    paho answers PUBREC before anyone saw the message, and hands it on at PUBREL: a crash in between would lose
    it. Here a QoS 2 message is handed on when it arrives, PUBREC is the caller's acknowledgement, and PUBREL only
    ends the exchange. The methods with a leading underscore are paho's inner ones: the tests of QoS 2 and of
    connecting go red should a new paho change them.
    """

    def __init__(self, wire: Wire, settings: Settings, client_id: str, hears: Hears) -> None:
        five = settings.protocol == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if five else not settings.persistent,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        # 0: no limit. The link's window counts, for paho would queue what is beyond the limit.
        self.max_inflight_messages = 0
        # A QoS 2 exchange that an earlier process left half done keeps its number taken at the broker, which
        # would take a new message of that number for a repeat: so counting does not always begin at 1.
        self._last_mid = secrets.randbelow(65535)
        self._wire = wire
        self._settings = settings
        self._hears = hears
        self._listen()
        if settings.username:
            self.username_pw_set(settings.username, settings.password)
        if settings.will:
            self.will_set(settings.will.topic, settings.will.payload, settings.will.qos, settings.will.retain)

    # ---- to the broker -------------------------------------------------------------------------------------

    def say_connect(self) -> None:
        address, settings = self._settings.address, self._settings
        if settings.protocol == "3.1.1":
            self.connect(address.host, address.port, settings.keepalive)
            return
        properties = _properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        if settings.persistent:
            properties.SessionExpiryInterval = settings.session_expiry_s
        self.connect(
            address.host, address.port, settings.keepalive, clean_start=not settings.persistent, properties=properties
        )

    def say_subscribe(self, pattern: str, qos: int, ident: int | None) -> int:
        """The number of the request."""
        properties = None
        if ident is not None:
            properties = _properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = ident
        _, mid = self.subscribe(pattern, qos, properties=properties)
        return mid or 0

    def say_publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Mapping[str, JSON]) -> int:
        """The number of the message. ValueError for a property that is not known."""
        return self.publish(topic, payload, qos, retain, _pack(properties)).mid

    def properties_size(self, properties: Mapping[str, JSON]) -> int:
        """Bytes of a message's properties with their length. ValueError for one that is not known."""
        if self._settings.protocol != "5":
            return 0
        packed = _pack(properties)
        return 1 if packed is None else len(cast(bytes, packed.pack()))  # type: ignore[no-untyped-call]  # paho's

    def say_received(self, mid: int, qos: int) -> None:
        """Our acknowledgement of a message: PUBACK, or PUBREC."""
        if qos == 1:
            self.ack(mid, 1)
        else:
            super()._send_pubrec(mid)

    def say_ping(self) -> None:
        self._send_pingreq()

    # ---- paho's inside -------------------------------------------------------------------------------------

    def _create_socket(self) -> Any:
        return self._wire

    def _send_pubrec(self, mid: int) -> MQTTErrorCode:
        return MQTTErrorCode.MQTT_ERR_SUCCESS  # not yet: say_received does

    def _handle_publish(self) -> MQTTErrorCode:
        code = super()._handle_publish()
        while self._in_messages:
            self._handle_on_message(self._in_messages.popitem(last=False)[1])
        return code

    def _handle_pubrel(self) -> MQTTErrorCode:
        code = super()._handle_pubrel()
        mid = int.from_bytes(self._in_packet["packet"][:2])
        self._hears.on_released(mid)
        self.ack(mid, 2)
        return code

    def _handle_pubrec(self) -> MQTTErrorCode:
        # paho takes every PUBREC for a yes, and a message that the broker refused for delivered.
        packet = self._in_packet["packet"]
        mid = int.from_bytes(packet[:2])
        if self._settings.protocol == "5" and len(packet) > 2 and packet[2] >= 0x80 and mid in self._out_messages:
            reason = ReasonCode(PacketTypes.PUBREC, identifier=packet[2])
            return self._do_on_publish(mid, reason, _properties(PacketTypes.PUBREC))
        return super()._handle_pubrec()

    # ---- from the broker -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        hears = self._hears

        def connected(_c: Any, _u: Any, flags: paho.ConnectFlags, reason: ReasonCode, found: Properties | None) -> None:
            if reason.is_failure:
                return hears.on_refused(reason.getName())
            idents = self._settings.protocol == "5" and getattr(found, "SubscriptionIdentifierAvailable", 1) == 1
            maximum = getattr(found, "ReceiveMaximum", 65535)
            keepalive = self.keepalive or self._settings.keepalive
            limits = Limits(
                packet=getattr(found, "MaximumPacketSize", MAX_PACKET),
                qos=getattr(found, "MaximumQoS", 2),
                retain=getattr(found, "RetainAvailable", 1) == 1,
            )
            return hears.on_welcome(Welcome(flags.session_present, idents, maximum, keepalive, limits))

        def ended(_c: Any, _u: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _p: Any) -> None:
            name = reason.getName()
            hears.on_end(*((name, "") if flags.is_disconnect_packet_from_server else ("", name)))

        def incoming(_c: Any, _u: Any, message: paho.MQTTMessage) -> None:
            found, idents = _unpack(message.properties)
            hears.on_incoming(
                Incoming(
                    topic=message.topic,
                    payload=bytes(message.payload),
                    qos=message.qos,
                    retain=message.retain,
                    mid=message.mid,
                    dup=message.dup,
                    properties=found,
                    idents=idents,
                )
            )

        self.on_connect = connected
        self.on_disconnect = ended
        self.on_message = incoming
        self.on_publish = lambda _c, _u, mid, reason, _p: hears.on_published(mid, _refusal(reason))
        self.on_subscribe = lambda _c, _u, mid, reasons, _p: hears.on_subscribed(mid, _refusal(reasons[0]))
        self.on_socket_register_write = lambda *_: hears.on_want_write()


def _refusal(reason: ReasonCode) -> str:
    return reason.getName() if reason.is_failure else ""


def _properties(packet_type: int) -> Properties:
    make: Callable[[int], Properties] = Properties  # paho leaves it untyped
    return make(packet_type)


def _pack(properties: Mapping[str, JSON]) -> Properties | None:
    if not properties:
        return None
    packed = _properties(PacketTypes.PUBLISH)
    for name, value in properties.items():
        match name:
            case "expiry_s":
                packed.MessageExpiryInterval = value
            case "content_type":
                packed.ContentType = value
            case "user":
                packed.UserProperty = [(str(key), str(text)) for key, text in value.items()]
            case _:
                raise ValueError(f"property {name!r} is not known; there are content_type, expiry_s and user")
    return packed


def _unpack(properties: Properties | None) -> tuple[dict[str, JSON], list[int]]:
    found: dict[str, JSON] = {}
    for name, paho_name in (("content_type", "ContentType"), ("expiry_s", "MessageExpiryInterval")):
        if hasattr(properties, paho_name):
            found[name] = getattr(properties, paho_name)
    if properties is not None and hasattr(properties, "UserProperty"):
        found["user"] = dict(properties.UserProperty)
    return found, list(getattr(properties, "SubscriptionIdentifier", ()))
