"""The typed head of a flow file: name, title, zone, market, vars. The nodes are bound later, each by its own type."""

from __future__ import annotations

import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from flowrunner.flowfile.cases import Case
from flowrunner.flowfile.dashboard import DashboardHead
from flowrunner.units import Duration

FLOW_NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
MARKET_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
VAR_NAME = r"^[a-z][a-z0-9_]*$"


class MarketHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The market that the flow's orders and prices are for."""

    name: Annotated[
        str,
        Meta(
            pattern=MARKET_NAME, max_length=64, description="The market as the exchange calls it.", examples=["epex_at"]
        ),
    ]
    slot: Annotated[Duration, Meta(description="Length of a delivery slot (market time unit).")] = Duration.parse(
        "15min"
    )
    gate_closure: Annotated[Duration, Meta(description="Orders end this long before delivery begins.")] = Duration(0)


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
    market: Annotated[
        MarketHead | None, Meta(description="For flows with prices and orders: the market and its delivery slots.")
    ] = None
    vars: Annotated[
        dict[Annotated[str, Meta(pattern=VAR_NAME)], str | float | bool],
        Meta(description="Names with a value, for expressions."),
    ] = msgspec.field(default_factory=dict)
    nodes: Annotated[dict[str, Any], Meta(min_length=1, description="Node id → node.")]
    dashboard: Annotated[
        DashboardHead | None, Meta(description="The page for people; without it one is made from what the flow emits.")
    ] = None
    tests: Annotated[list[Case], Meta(description="What the flow must do; `flowrunner test` tries it.")] = (
        msgspec.field(default_factory=list)
    )


def is_name(text: str) -> bool:
    """Whether ``text`` can name a flow or a node."""
    return len(text) <= 64 and re.match(FLOW_NAME, text, re.ASCII) is not None


def zone_of(name: str) -> ZoneInfo:
    """The zone; ValueError with a sentence when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is not a time zone") from None
