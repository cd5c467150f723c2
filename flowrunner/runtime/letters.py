"""What is kept and shown of messages that could not be processed, whatever they hold, and how large they may be."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flowrunner.graph import GraphNode
from flowrunner.message import JSON, Instant, Message
from flowrunner.store import DeadLetter
from flowrunner.store.letters import Obstacle

SHOWN_CAP = 4096
"""Bytes of an offending payload that an error record carries."""
LETTER_CAP = 65_536
"""Bytes of a payload that a dead letter keeps; of a larger one the beginning. Letters must not fill the disk."""

REPLY = "reply"
"""What of a message's ``meta`` tells who waits for an answer."""

_SMALL = (float, int, bool, type(None))


def too_large(payload: JSON, cap: int) -> bool:
    """Whether the payload has more than about ``cap`` characters as JSON. Stops counting there."""
    if type(payload) is dict and len(payload) <= 64:  # an ordinary record is looked at quickly
        for name, one in payload.items():
            kind = type(one)
            if (kind not in _SMALL and (kind is not str or len(one) > 64)) or type(name) is not str or len(name) > 64:
                break
        else:
            return False
    elif type(payload) in _SMALL:
        return False
    left, waiting = cap, [payload]
    while waiting:
        one = waiting.pop()
        left -= 1
        if isinstance(one, str):
            left -= len(one)
        elif isinstance(one, dict):
            for name in one:
                left -= len(name) + 1 if isinstance(name, str) else 1
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            left -= len(one)  # before they are laid out: the list itself may be the large thing
            if left >= 0:
                waiting.extend(one)
        if left < 0:
            return True
    return False


def encoded(value: object) -> bytes:
    """JSON of whatever a node made; what is no JSON by its repr, and what has not even that by its type."""
    try:
        return msgspec.json.encode(value, enc_hook=repr)
    except Exception as error:  # the hook is a user's __repr__: it may raise anything
        text = f"({type(value).__name__} that cannot be written: {type(error).__name__})"
        return msgspec.json.encode(text)


def shown(payload: JSON) -> JSON:
    """A payload for an error record: itself while it is small and JSON, else the beginning of its text."""
    return _beginning(payload, SHOWN_CAP)


def _beginning(payload: JSON, cap: int) -> JSON:
    text = encoded(payload)
    if len(text) > cap:
        return text[:cap].decode("utf-8", "ignore") + "…"
    return msgspec.json.decode(text)


def dead_letter(
    spec: GraphNode,
    now: Instant,
    code: str,
    reason: str,
    message: Message,
    *,
    wire: str = "",
    attempts: int = 1,
    mask: Callable[[str], str] = str,
) -> DeadLetter:
    """The letter; when the message as a whole cannot be written, what can be written of it.

    ``wire``: what it came by, "" when the node made it itself. ``attempts``: how often this node has rejected it.
    ``mask`` takes secrets out of texts: they do not come to the disk.
    """
    if message.meta and REPLY in message.meta:  # who asked has got an answer
        message = msgspec.structs.replace(message, meta={k: v for k, v in message.meta.items() if k != REPLY} or None)
    obstacle: Obstacle = "" if wire else "no-wire"
    text = b"" if too_large(message.payload, LETTER_CAP) else _exactly(message)
    if not text:
        obstacle, text = "cut", _as_far_as_possible(message)
    masked = _masked(text, mask)
    if masked != text:
        obstacle, text = "secret", masked
    if spec.node.side_effect == "at_most_once":
        obstacle = "at-most-once"
    return DeadLetter(
        at=now, flow=spec.flow, node=spec.id, code=code, reason=reason, message=text, wire=wire, attempts=attempts,
        obstacle=obstacle,
    )  # fmt: skip


def _masked(text: bytes, mask: Callable[[str], str]) -> bytes:
    plain = text.decode("utf-8", "replace")
    if mask(plain) == plain:  # by far the most
        return text
    found = msgspec.json.decode(text)
    hidden = _hidden(found, mask)
    return text if hidden == found else msgspec.json.encode(hidden)  # what looked like it was a number


def _hidden(value: JSON, mask: Callable[[str], str]) -> JSON:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(name): _hidden(one, mask) for name, one in value.items()}
    return [_hidden(one, mask) for one in value] if isinstance(value, list) else value


def _exactly(message: Message) -> bytes:
    """A text that is this message again when it is read; b"" where there is none (NaN, a tuple, half a character)."""
    try:
        text = msgspec.json.encode(message)
        return text if msgspec.json.decode(text, type=Message) == message else b""
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return b""


def _as_far_as_possible(message: Message) -> bytes:
    if too_large(message.payload, LETTER_CAP):
        message = msgspec.structs.replace(message, payload=_beginning(message.payload, LETTER_CAP))
    try:
        return msgspec.json.encode(message, enc_hook=repr)
    except Exception:  # the hook is a user's __repr__: it may raise anything; the payload says so in its place
        kept = msgspec.structs.replace(message, payload=msgspec.Raw(encoded(message.payload)), meta=None)
        return encoded(kept)
