"""MQTT 3.1.1 and 5 on the wire: packets from and to bytes; pure. ``docs/performance.md`` says why it is our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from flowrunner.message import JSON

from .properties import (
    IDENT,
    RECEIVE_MAXIMUM,
    SESSION_EXPIRY,
    Malformed,
    binary,
    message_of,
    number,
    of_message,
    read_all,
    read_number,
    text,
)
from .settings import Settings
from .topic import check_topic

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 9, 11, 13, 14
_FLAGS = {
    CONNACK: 0, PUBACK: 0, PUBREC: 0, PUBREL: 2, PUBCOMP: 0, SUBACK: 0, UNSUBACK: 0, PINGRESP: 0, DISCONNECT: 0,
}  # fmt: skip
"""What a broker says beside messages, and the lower half of its first byte."""
OUR_RECEIVE_MAXIMUM = 1000
"""MQTT 5: how many unacknowledged messages (QoS 1 and 2) the broker may have out to us."""
PING, PUBREL_HEAD = b"\xc0\0", b"\x62\x02"
PUBACK_HEAD, PUBREC_HEAD, PUBCOMP_HEAD = b"\x40\x02", b"\x50\x02", b"\x70\x02"
GOODBYE = b"\xe0\0"

Said = tuple[int, int, bytes, int, int]
"""A packet of the broker: kind, the lower half of its first byte, and where the rest of it begins and ends in what
came. Tuples without names: there is one of these for each message, and one of the next."""
Published = tuple[str, bytes, int, bool, int, bool, dict[str, JSON], tuple[int, ...]]
"""A message: topic, payload, QoS, retain, number, dup, properties (not to be changed: those that say the same share
them), and the subscriptions that it is for, where the broker says so."""


# ---- to the broker ---------------------------------------------------------------------------------------------------


def connect(settings: Settings, client_id: str) -> bytes:
    """ValueError when a name is too long."""
    five, will = settings.protocol == "5", settings.will
    flags = 0 if settings.persistent else 2
    end = text(client_id)
    if will is not None:
        flags |= 4 | will.qos << 3 | (0x20 if will.retain else 0)
        end += (b"\0" if five else b"") + text(will.topic) + binary(will.payload)
    if settings.username:
        flags |= 0x80
        end += text(settings.username)
        if settings.password is not None:
            flags |= 0x40
            end += text(settings.password)
    properties = b""
    if five:
        packed = bytes((RECEIVE_MAXIMUM,)) + OUR_RECEIVE_MAXIMUM.to_bytes(2)
        if settings.persistent:
            packed += bytes((SESSION_EXPIRY,)) + settings.session_expiry_s.to_bytes(4)
        properties = number(len(packed)) + packed
    head = b"\0\4MQTT" + bytes((5 if five else 4, flags)) + settings.keepalive.to_bytes(2)
    return _packet(0x10, head + properties + end)


def publish(topic: str, payload: bytes, qos: int, retain: bool, mid: int, properties: bytes) -> bytes:
    """``properties``: as `of_message` packs them with MQTT 5, empty with 3.1.1. ValueError for a bad topic."""
    rest = topic_bytes(topic) + (mid.to_bytes(2) if qos else b"") + properties
    size = len(rest) + len(payload)
    first = 0x30 | qos << 1 | (1 if retain else 0)
    if size < 0x80:
        return bytes((first, size)) + rest + payload
    return bytes((first,)) + number(size) + rest + payload


def subscribe(mid: int, pattern: str, qos: int, ident: int | None, *, five: bool) -> bytes:
    packed = b"" if ident is None else bytes((IDENT,)) + number(ident)
    properties = number(len(packed)) + packed if five else b""
    return _packet(0x82, mid.to_bytes(2) + properties + text(pattern) + bytes((qos,)))


def unsubscribe(mid: int, pattern: str, *, five: bool) -> bytes:
    return _packet(0xA2, mid.to_bytes(2) + (b"\0" if five else b"") + text(pattern))


@lru_cache(maxsize=4096)
def topic_bytes(topic: str) -> bytes:
    """As it stands in a PUBLISH. ValueError unless a message can be published on it."""
    check_topic(topic)
    return text(topic)


def _packet(first: int, rest: bytes) -> bytes:
    return bytes((first,)) + number(len(rest)) + rest


# ---- from the broker -------------------------------------------------------------------------------------------------


class Hearing:
    """Bytes in, packets out. Malformed as soon as it is certain that no packet can come of it."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._late = bytearray()
        """What came behind the beginning of a packet that is not whole yet."""
        self._missing = 0
        """Bytes that have to come before it is whole."""

    def feed(self, data: bytes) -> None:
        if self._missing > len(data) + len(self._late):
            self._late += data
            return
        rest = self._data[self._at :] if self._at else self._data
        self._data = b"".join((rest, self._late, data)) if rest else data
        self._at = self._missing = 0
        self._late.clear()

    def packets(self) -> Iterator[Said]:
        """The whole packets that are there. Who stops early finds the others at the next call."""
        data, size = self._data, len(self._data)
        while (at := self._at) + 2 <= size:
            first, length, begin = data[at], data[at + 1], at + 2
            kind = first >> 4
            if kind != PUBLISH and _FLAGS.get(kind) != first & 0x0F:
                raise Malformed(f"a packet that begins with {first:#04x}")
            if length >= 0x80:
                length &= 0x7F
                for shift in (7, 14, 21):
                    if begin >= size:
                        return
                    byte = data[begin]
                    length |= (byte & 0x7F) << shift
                    begin += 1
                    if byte < 0x80:
                        break
                else:
                    raise Malformed("a length of more than four bytes")
            end = begin + length
            if end > size:
                self._missing = end - size
                return
            self._at = end
            yield kind, first & 0x0F, data, begin, end


def published(said: Said, *, five: bool) -> Published:
    _, flags, data, begin, end = said
    place = begin + 2
    stop = place + (data[begin] << 8 | data[begin + 1]) if place <= end else end + 1
    qos = flags >> 1 & 3
    begin = stop + 2 if qos else stop
    if begin > end or qos == 3:
        raise Malformed("a message that is shorter than it says" if qos < 3 else "a message with QoS 3")
    try:
        topic = data[place:stop].decode()
    except UnicodeDecodeError:
        raise Malformed("a topic that is not UTF-8") from None
    mid = data[stop] << 8 | data[stop + 1] if qos else 0
    if (qos and not mid) or not topic:  # an alias in place of a topic: we have told the broker to send none
        raise Malformed("a message without a number" if topic else "a message without a topic")
    said_more, idents = _NOTHING
    if five:
        length, stop = read_number(data, begin, end)
        stop += length
        if stop > end:
            raise Malformed("properties that are longer than their packet")
        if length:
            said_more, idents = message_of(data[begin:stop])
        begin = stop
    return topic, data[begin:end], qos, flags & 1 == 1, mid, flags & 8 == 8, said_more, idents


_NOTHING: tuple[dict[str, JSON], tuple[int, ...]] = ({}, ())


def answer(said: Said, *, five: bool) -> tuple[int, int]:
    """Number and reason of a PUBACK, PUBREC, PUBREL or PUBCOMP."""
    _, _, data, begin, end = said
    size = end - begin
    if size < 2 or (size > 2 and not five):
        raise Malformed("an answer that has not the length of one")
    return data[begin] << 8 | data[begin + 1], data[begin + 2] if size > 2 else 0


def granted(said: Said, *, five: bool) -> tuple[int, list[int]]:
    """Number and reasons of a SUBACK or UNSUBACK."""
    _, _, data, begin, end = said
    if end - begin < 2:
        raise Malformed("an answer that has not the length of one")
    at = begin + 2
    if five:
        _, at = read_all(data, at, end)
    return data[begin] << 8 | data[begin + 1], list(data[at:end])


def pack(properties: Mapping[str, JSON], *, five: bool) -> bytes:
    """The properties of a message as they stand in it. ValueError for one that is not known."""
    return of_message(properties) if five else b""
