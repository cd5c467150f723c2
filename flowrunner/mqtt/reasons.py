"""The names of the reasons that a broker gives (MQTT 5, section 2.4; MQTT 3.1.1, section 3.2.2.3)."""

from __future__ import annotations

FAILURE = 0x80
"""A reason from here on is a no."""

NAMES = {
    0x80: "Unspecified error", 0x81: "Malformed packet", 0x82: "Protocol error",
    0x83: "Implementation specific error", 0x84: "Unsupported protocol version", 0x85: "Client identifier not valid",
    0x86: "Bad user name or password", 0x87: "Not authorized", 0x88: "Server unavailable", 0x89: "Server busy",
    0x8A: "Banned", 0x8B: "Server shutting down", 0x8C: "Bad authentication method", 0x8D: "Keep alive timeout",
    0x8E: "Session taken over", 0x8F: "Topic filter invalid", 0x90: "Topic name invalid",
    0x91: "Packet identifier in use", 0x92: "Packet identifier not found", 0x93: "Receive maximum exceeded",
    0x94: "Topic alias invalid", 0x95: "Packet too large", 0x96: "Message rate too high", 0x97: "Quota exceeded",
    0x98: "Administrative action", 0x99: "Payload format invalid", 0x9A: "Retain not supported",
    0x9B: "QoS not supported", 0x9C: "Use another server", 0x9D: "Server moved",
    0x9E: "Shared subscription not supported", 0x9F: "Connection rate exceeded", 0xA0: "Maximum connect time",
    0xA1: "Subscription identifiers not supported", 0xA2: "Wildcard subscription not supported",
}  # fmt: skip
_CONNACK_3 = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
"""What a broker of MQTT 3.1.1 says to a CONNECT, in the words of MQTT 5."""


def refusal(reason: int) -> str:
    """The name of a no, "" for a yes."""
    return "" if reason < FAILURE else NAMES.get(reason, f"reason {reason:#04x}")


def goodbye(reason: int) -> str:
    """Why a broker ends a connection, in words; it need not be a failure."""
    return refusal(reason) or "Normal disconnection"


def connect_refusal(reason: int, *, five: bool) -> str:
    """The same of a CONNACK. A broker that knows no MQTT 5 may say so in the words of 3.1.1."""
    if five and reason != 1:
        return refusal(reason)
    return refusal(_CONNACK_3.get(reason, 0x80)) if reason else ""
