"""The properties of MQTT 5 packets (section 2.2.2), as bytes and as values; pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from flowrunner.message import JSON

EXPIRY, CONTENT_TYPE, IDENT, SESSION_EXPIRY, KEEPALIVE = 0x02, 0x03, 0x0B, 0x11, 0x13
RECEIVE_MAXIMUM, MAXIMUM_QOS, RETAIN_AVAILABLE, USER = 0x21, 0x24, 0x25, 0x26
MAXIMUM_PACKET, IDENTS_AVAILABLE = 0x27, 0x29

_KINDS = {
    0x01: "1", EXPIRY: "4", CONTENT_TYPE: "text", 0x08: "text", 0x09: "bytes", IDENT: "number", SESSION_EXPIRY: "4",
    0x12: "text", KEEPALIVE: "2", 0x15: "text", 0x16: "bytes", 0x17: "1", 0x18: "4", 0x19: "1", 0x1A: "text",
    0x1C: "text", 0x1F: "text", RECEIVE_MAXIMUM: "2", 0x22: "2", 0x23: "2", MAXIMUM_QOS: "1", RETAIN_AVAILABLE: "1",
    USER: "pair", MAXIMUM_PACKET: "4", 0x28: "1", IDENTS_AVAILABLE: "1", 0x2A: "1",
}  # fmt: skip
"""Identifier → how its value is written."""
_REPEATED = {IDENT, USER}


class Malformed(ValueError):
    """What came is not MQTT; the text says what is wrong with it."""


def number(value: int) -> bytes:
    """A Variable Byte Integer (section 1.5.5)."""
    if value < 0x80:
        return bytes((value,))
    if value > 0x0FFFFFFF:
        raise ValueError(f"{value} is more than MQTT can write down")
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def read_number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A Variable Byte Integer at ``at``, and where it ends."""
    value = shift = 0
    while at < end:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 21:
            raise Malformed("a number of more than four bytes")
    raise Malformed("a number that does not end")


def text(value: str) -> bytes:
    """ValueError when it is too long, or no text."""
    return binary(value.encode())


def binary(value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError(f"{len(value)} bytes are more than MQTT can write down for a name; 65535 are allowed")
    return len(value).to_bytes(2) + value


def read_binary(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    stop = at + 2 + int.from_bytes(data[at : at + 2])
    if at + 2 > end or stop > end:
        raise Malformed("a text that is longer than its packet")
    return data[at + 2 : stop], stop


def read_text(data: bytes, at: int, end: int) -> tuple[str, int]:
    raw, stop = read_binary(data, at, end)
    try:
        return raw.decode(), stop
    except UnicodeDecodeError:
        raise Malformed("a text that is not UTF-8") from None


def read_all(data: bytes, at: int, end: int) -> tuple[dict[int, Any], int]:
    """The properties at ``at`` by identifier, and where they end. What may come several times is a list."""
    length, at = read_number(data, at, end)
    stop = at + length
    if stop > end:
        raise Malformed("properties that are longer than their packet")
    found: dict[int, Any] = {}
    while at < stop:
        one = data[at]
        value, at = _value(one, data, at + 1, stop)
        if one in _REPEATED:
            found.setdefault(one, []).append(value)
        elif one in found:
            raise Malformed(f"the property {one:#04x} twice")
        else:
            found[one] = value
    return found, stop


def _value(one: int, data: bytes, at: int, end: int) -> tuple[Any, int]:
    match _KINDS.get(one):
        case "text":
            return read_text(data, at, end)
        case "bytes":
            return read_binary(data, at, end)
        case "number":
            return read_number(data, at, end)
        case "pair":
            name, at = read_text(data, at, end)
            value, at = read_text(data, at, end)
            return (name, value), at
        case "1" | "2" | "4" as size:
            stop = at + int(size)
            if stop > end:
                raise Malformed("a property that is longer than its packet")
            return int.from_bytes(data[at:stop]), stop
        case _:
            raise Malformed(f"a property {one:#04x}, which MQTT 5 does not know")


# ---- of messages -----------------------------------------------------------------------------------------------------


def of_message(properties: Mapping[str, JSON]) -> bytes:
    """With their length. ValueError for one that is not known, or that cannot be written down."""
    if not properties:
        return b"\0"
    parts = []
    for name, value in properties.items():
        match name:
            case "expiry_s":
                if not 0 <= value <= 0xFFFFFFFF:
                    raise ValueError(f"expiry_s is {value}; it is 0 to 4294967295 seconds")
                parts.append(bytes((EXPIRY,)) + int(value).to_bytes(4))
            case "content_type":
                parts.append(bytes((CONTENT_TYPE,)) + text(value))
            case "user":
                parts += [bytes((USER,)) + text(str(key)) + text(str(one)) for key, one in value.items()]
            case _:
                raise ValueError(f"property {name!r} is not known; there are content_type, expiry_s and user")
    packed = b"".join(parts)
    return number(len(packed)) + packed


@lru_cache(maxsize=256)  # messages of one subscription mostly have the same: its identifier
def message_of(packed: bytes) -> tuple[dict[str, JSON], tuple[int, ...]]:
    """What a message's properties say, in our words, and the subscriptions that it is for. Not to be changed."""
    found, _ = read_all(packed, 0, len(packed))
    said: dict[str, JSON] = {}
    if CONTENT_TYPE in found:
        said["content_type"] = found[CONTENT_TYPE]
    if EXPIRY in found:
        said["expiry_s"] = found[EXPIRY]
    if USER in found:
        said["user"] = dict(found[USER])
    return said, tuple(found.get(IDENT, ()))
