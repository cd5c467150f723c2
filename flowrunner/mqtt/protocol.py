"""What MQTT says and hears over one connection: who answers what, the numbers of packets, and both halves of QoS 2."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

import msgspec

from . import codec
from .codec import Published, Said
from .limits import MAX_PACKET, Limits
from .properties import (
    IDENTS_AVAILABLE,
    KEEPALIVE,
    MAXIMUM_PACKET,
    MAXIMUM_QOS,
    RECEIVE_MAXIMUM,
    RETAIN_AVAILABLE,
    Malformed,
    read_all,
)
from .reasons import FAILURE, connect_refusal, goodbye, refusal
from .settings import Settings


class Welcome(msgspec.Struct, frozen=True):
    """The broker's yes. ``idents``: it knows subscription identifiers; ``receive_maximum``: how many of our
    messages may be unacknowledged; ``keepalive`` in seconds."""

    session_present: bool
    idents: bool
    receive_maximum: int
    keepalive: int
    limits: Limits


class Hears(Protocol):
    """Who hears what the broker says. ``refusal`` is the name of the broker's reason, ``""`` for a yes."""

    def on_welcome(self, welcome: Welcome) -> None: ...
    def on_refused(self, refusal: str) -> None: ...
    def on_goodbye(self, said: str) -> None: ...
    def on_incoming(self, message: Published) -> None: ...
    def on_released(self, mid: int) -> None: ...
    def on_published(self, mid: int, refusal: str) -> None: ...
    def on_subscribed(self, mid: int, refusal: str) -> None: ...
    def on_unsubscribed(self, mid: int) -> None: ...


class Speaker:
    """``put`` takes the bytes of whole packets. A QoS 2 message is handed on when it arrives: PUBREC is the caller's
    acknowledgement (`say_received`), and PUBREL only ends the exchange; so a crash in between loses nothing.
    """

    def __init__(self, put: Callable[[bytes], None], settings: Settings, client_id: str, hears: Hears) -> None:
        self._put = put
        self._settings = settings
        self._five = settings.protocol == "5"
        self._client_id = client_id
        self._hears = hears
        self._welcomed = False
        # A QoS 2 exchange that an earlier process left half done keeps its number taken at the broker, which
        # would take a new message of that number for a repeat: so counting does not always begin at 1.
        self._last_mid = secrets.randbelow(65535)
        self._taken: set[int] = set()
        """Numbers whose exchange has not ended."""

    # ---- to the broker -------------------------------------------------------------------------------------

    def say_connect(self) -> None:
        """ValueError when a name is too long."""
        self._put(codec.connect(self._settings, self._client_id))

    def say_subscribe(self, pattern: str, qos: int, ident: int | None) -> int:
        """The number of the request."""
        mid = self._next_mid()
        self._put(codec.subscribe(mid, pattern, qos, ident, five=self._five))
        return mid

    def say_unsubscribe(self, pattern: str) -> int:
        """The number of the request."""
        mid = self._next_mid()
        self._put(codec.unsubscribe(mid, pattern, five=self._five))
        return mid

    def say_publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: bytes) -> int:
        """The number of the message, 0 with QoS 0. ``properties`` as `codec.pack` gives them. ValueError for a bad
        topic."""
        mid = self._next_mid() if qos else 0
        self._put(codec.publish(topic, payload, qos, retain, mid, properties))
        return mid

    def say_received(self, mid: int, qos: int) -> None:
        """Our acknowledgement of a message: PUBACK, or PUBREC."""
        self._put((codec.PUBACK_HEAD if qos == 1 else codec.PUBREC_HEAD) + mid.to_bytes(2))

    def say_ping(self) -> None:
        self._put(codec.PING)

    def say_goodbye(self) -> None:
        self._put(codec.GOODBYE)

    def _next_mid(self) -> int:
        mid = self._last_mid % 65535 + 1
        while mid in self._taken:
            mid = mid % 65535 + 1
        self._last_mid = mid
        self._taken.add(mid)
        return mid

    # ---- from the broker -----------------------------------------------------------------------------------

    def hear(self, said: Said) -> None:
        """Malformed for what no broker says, or not now."""
        kind = said[0]
        if kind == codec.PUBLISH and self._welcomed:
            self._hears.on_incoming(codec.published(said, five=self._five))
        elif kind == codec.PUBACK and self._welcomed:
            mid, reason = codec.answer(said, five=self._five)
            self._taken.discard(mid)
            self._hears.on_published(mid, refusal(reason))
        elif (kind == codec.CONNACK) == self._welcomed:
            raise Malformed("a second CONNACK" if self._welcomed else f"packet {kind} before its CONNACK")
        else:
            self._hear_other(kind, said)

    def _hear_other(self, kind: int, said: Said) -> None:
        hears, five = self._hears, self._five
        match kind:
            case codec.CONNACK:
                self._hear_connack(said)
            case codec.PUBREC:
                mid, reason = codec.answer(said, five=five)
                if reason >= FAILURE:  # then no PUBREL follows
                    self._taken.discard(mid)
                    hears.on_published(mid, refusal(reason))
                else:
                    self._put(codec.PUBREL_HEAD + mid.to_bytes(2))
            case codec.PUBCOMP:
                mid, reason = codec.answer(said, five=five)
                self._taken.discard(mid)
                hears.on_published(mid, "")  # it has it since its PUBREC
            case codec.PUBREL:
                mid, _ = codec.answer(said, five=five)
                hears.on_released(mid)
                self._put(codec.PUBCOMP_HEAD + mid.to_bytes(2))
            case codec.SUBACK:
                mid, reasons = codec.granted(said, five=five)
                if len(reasons) != 1:
                    raise Malformed(f"{len(reasons)} answers to one subscription")
                self._taken.discard(mid)
                hears.on_subscribed(mid, refusal(reasons[0]))
            case codec.UNSUBACK:
                mid, _ = codec.granted(said, five=five)
                self._taken.discard(mid)
                hears.on_unsubscribed(mid)
            case codec.DISCONNECT:
                if not five:
                    raise Malformed("a DISCONNECT, which no broker of MQTT 3.1.1 sends")
                _, _, data, begin, end = said
                hears.on_goodbye(goodbye(data[begin] if end > begin else 0))
            case codec.PINGRESP:
                pass  # that it came is seen at the wire

    def _hear_connack(self, said: Said) -> None:
        _, _, data, begin, end = said
        if end - begin < 2:
            raise Malformed("a CONNACK that is too short")
        if no := connect_refusal(data[begin + 1], five=self._five):
            self._hears.on_refused(no)
            return
        found = read_all(data, begin + 2, end)[0] if self._five else {}
        self._welcomed = True
        limits = Limits(
            packet=found.get(MAXIMUM_PACKET, MAX_PACKET),
            qos=found.get(MAXIMUM_QOS, 2),
            retain=found.get(RETAIN_AVAILABLE, 1) == 1,
        )
        self._hears.on_welcome(
            Welcome(
                session_present=data[begin] & 1 == 1,
                idents=self._five and found.get(IDENTS_AVAILABLE, 1) == 1,
                receive_maximum=found.get(RECEIVE_MAXIMUM, 65535) or 65535,
                keepalive=found.get(KEEPALIVE, 0) or self._settings.keepalive,
                limits=limits,
            )
        )
