"""The typed head of a flow file: name, title, zone, vars. The nodes are bound later, each by its own type."""

from __future__ import annotations

import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

FLOW_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
VAR_NAME = r"^[a-z][a-z0-9_]*$"


class FlowFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys at the top of a flow file."""

    flow: Annotated[
        str,
        Meta(
            pattern=FLOW_NAME,
            max_length=64,
            description="The flow's name: small letters, digits and dashes.",
            examples=["bess", "battery-north"],
        ),
    ]
    title: Annotated[str | dict[str, str] | None, Meta(description="For people; by language: {en: …, de: …}.")] = None
    timezone: Annotated[str, Meta(description="IANA zone of hour(), weekday() and cron times.")] = "UTC"
    vars: Annotated[
        dict[Annotated[str, Meta(pattern=VAR_NAME)], str | float | bool],
        Meta(description="Names with a value, for expressions."),
    ] = msgspec.field(default_factory=dict)
    nodes: Annotated[dict[str, Any], Meta(min_length=1, description="Node id → node.")]


def is_name(text: str) -> bool:
    """Whether ``text`` can name a flow or a node."""
    return len(text) <= 64 and re.match(FLOW_NAME, text, re.ASCII) is not None


def zone_of(name: str) -> ZoneInfo:
    """The zone; ValueError with a sentence when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is not a time zone") from None
