"""One part of a JSON value, found by its path."""

from __future__ import annotations

import enum
from typing import Final, Literal

from flowrunner.message import JSON


class Missing(enum.Enum):
    """The type of :data:`MISSING`: nothing is there, which is not the same as null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


def pick(value: JSON, path: str) -> JSON | Literal[Missing.MISSING]:
    """The part of ``value`` at a dotted path with list indexes (``cells.0.voltage``); ``""`` is the whole."""
    for step in path.split(".") if path else ():
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(value):
            value = value[int(step[:9])]
        else:
            return MISSING
    return value
