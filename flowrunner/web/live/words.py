"""Values and messages in short, for a line on a page: one line, no secret, cut. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from flowrunner.message import JSON, Message
from flowrunner.web.answer import encode

Mask = Callable[[str], str]
LINE = 60
"""Characters of the short text of a message."""
TEXT = 200
"""Characters of one value, and of an error."""
FIELDS = 8
"""Fields that the short text of a message looks at."""
LOOKED_AT = 1000
"""Characters of one text that are looked at: secrets are masked in them before they are cut."""


def short(text: str, mask: Mask, most: int = TEXT) -> str:
    """A text from outside: secrets masked, on one line, cut to ``most``."""
    text = mask(text[: LOOKED_AT + most])
    if not text.isprintable():
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def line(message: Message, mask: Mask) -> str:
    """``soc_percent 75.5 %, active_power_mw 2.5 MW``: a message in at most ``LINE`` characters."""
    payload, infos = message.payload, message.fields
    if not isinstance(payload, dict):
        info = infos.get("value") if infos else None
        unit = f" {info.unit}" if info is not None and info.unit else ""
        return short(_plain(payload) + unit, mask, LINE)
    parts, length = [], 0
    for number, (name, value) in enumerate(payload.items()):
        info = infos.get(name) if infos else None
        part = f"{name} {_plain(value)} {info.unit}" if info is not None and info.unit else f"{name} {_plain(value)}"
        parts.append(part)
        length += len(part)
        if length > LINE or number >= FIELDS:
            break
    return short(", ".join(parts) if parts else "{}", mask, LINE)


def _plain(value: JSON) -> str:
    if type(value) is float:
        return f"{value:.6g}" if math.isfinite(value) else "null"
    if type(value) is str:
        return value[:LOOKED_AT]
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(10**15) < value < 10**15 else "…"
    if isinstance(value, dict):
        return f"{{{len(value)} {'field' if len(value) == 1 else 'fields'}}}"
    if isinstance(value, list):
        return f"[{len(value)} {'item' if len(value) == 1 else 'items'}]"
    return repr(value)[:LOOKED_AT]


def scalar(value: JSON, mask: Mask) -> JSON:
    """A value for a tile: numbers and booleans as they are, texts short, anything else as short JSON."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return short(value if isinstance(value, str) else encode(value).decode(), mask)
