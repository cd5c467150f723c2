"""What a broker takes: its limits (MQTT 5 names them), and the message that it hung up on when it names none."""

from __future__ import annotations

import msgspec

from flowrunner.errors import NotConnected

MAX_PACKET = 268_435_460
"""Bytes of the largest packet that MQTT can write down (MQTT 5, section 2.1.4)."""
HANG_UPS = 3
"""So often may the broker end a connection on a message before the message is held to be the cause."""


class HungUp(NotConnected):
    """The broker ended the connection, and this message was the oldest that it had not answered."""


class Limits(msgspec.Struct, frozen=True):
    """From the broker's CONNACK; without a word of it everything is allowed (MQTT 5, section 3.2.2.3)."""

    packet: int = MAX_PACKET
    """Bytes, with topic and properties."""
    qos: int = 2
    retain: bool = True

    def complaint(self, topic: str, payload: bytes, qos: int, retain: bool, properties: int) -> str:
        """Why the message cannot be sent, ``""`` when it can. ``properties``: their bytes, with their length."""
        if qos <= self.qos and (self.retain or not retain):
            most = 4 * len(topic) + len(payload) + properties + 9
            if most <= self.packet:  # so it is for nearly every message, and need not be reckoned exactly
                return ""
        if qos > self.qos:
            return f"the broker takes QoS {self.qos} at most and this has {qos}; set qos: {self.qos}"
        if retain and not self.retain:
            return "the broker keeps no retained messages; set retain: false"
        size = packet_size(len(topic.encode()), len(payload), qos, properties)
        if size > self.packet:
            return f"it has {size} bytes and the broker takes {self.packet}; send less, or raise the broker's limit"
        return ""


def packet_size(topic: int, payload: int, qos: int, properties: int) -> int:
    """Bytes of a PUBLISH (MQTT 5, section 3.3), from the bytes of its parts."""
    rest = 2 + topic + (2 if qos else 0) + properties + payload
    return 1 + max(1, -(-rest.bit_length() // 7)) + rest


class Suspicion:
    """Counts how often in a row the broker hung up on one and the same message. It outlives the connections.

    While several are on their way it cannot be told which one it was. So, while it is true, the next should leave one
    by one: as many as were on their way, or until the cause is found.
    """

    def __init__(self) -> None:
        self._last: object = None
        self._count = 0
        self._left = 0  # to be sent alone

    def __bool__(self) -> bool:
        return self._left > 0

    def hung_up(self, message: object) -> bool:
        """Whether ``message`` is now held to be the cause."""
        self._count = self._count + 1 if message == self._last else 1
        self._last = message
        self._left = max(self._left, 1)
        return self._count >= HANG_UPS

    def beside(self) -> None:
        """Another was on its way when the connection ended."""
        if self:
            self._left += 1

    def passed(self) -> None:
        """One that was alone is there."""
        self._last, self._count = None, 0
        self._left = max(0, self._left - 1)

    def clear(self) -> None:
        """The cause is found."""
        self._last, self._count, self._left = None, 0, 0
