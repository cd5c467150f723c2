"""The typed tiles of a dashboard: what ``dashboard:`` of a flow file may say. Each tile has options of its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from flowrunner.units import DURATION_UNITS

Title = str | dict[str, str]
"""For people: one text, or one for each language."""
Text = Annotated[str, Meta(min_length=1)]
Span = Literal["24h", "7d", "30d"]
SPANS: dict[str, int] = {
    "24h": 24 * DURATION_UNITS["h"],
    "7d": 7 * DURATION_UNITS["d"],
    "30d": 30 * DURATION_UNITS["d"],
}
"""Span → nanoseconds."""
Kind = Literal["line", "bars", "step"]
From = Annotated[
    Text,
    Meta(description="Which node: its id, or id.port; flow/id of another flow.", examples=["telemetry"]),
]
Several = Annotated[str | Annotated[list[Text], Meta(min_length=1)], Meta(description="One node, or a list of nodes.")]
Field = Annotated[Text, Meta(description="The field of what leaves the node.", examples=["soc_percent"])]
Unit = Annotated[Text | None, Meta(description="Shown behind the number, where the flow does not say a unit.")]
Decimals = Annotated[Annotated[int, Meta(ge=0, le=6)] | None, Meta(description="Digits behind the decimal point.")]


class Tile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every tile has."""

    title: Annotated[Title | None, Meta(description="For people; by language: {en: …, de: …}.")] = None
    width: Annotated[
        Annotated[int, Meta(ge=1, le=12)] | None, Meta(description="How many of twelve columns it takes.")
    ] = None


class _Figure(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tile of one number."""

    from_: From = msgspec.field(name="from")
    field: Field
    unit: Unit = None
    decimals: Decimals = None
    min: Annotated[int | float | None, Meta(description="Begin of the bar; without it, what the flow says.")] = None
    max: Annotated[int | float | None, Meta(description="End of the bar; without it, what the flow says.")] = None
    limit: Annotated[int | float | None, Meta(description="A value that must not be passed.")] = None
    marks: Annotated[list[int | float], Meta(description="Values that are marked on the bar.")] = []


class ValueTile(_Figure, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest value of a field, with its source and its age."""

    tile: Literal["value"]


class PowerTile(_Figure, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power with two directions: more than 0 discharges, less than 0 charges."""

    tile: Literal["power"]


class ChartSeries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a chart."""

    from_: From = msgspec.field(name="from")
    field: Field
    title: Annotated[Title | None, Meta(description="For people; by language: {en: …, de: …}.")] = None
    unit: Unit = None
    decimals: Decimals = None
    marks: Annotated[list[int | float], Meta(description="Values that are marked in its lane.")] = []
    kind: Annotated[
        Kind | None, Meta(description="How it is drawn; without it prices in steps, powers as bars, others as lines.")
    ] = None


class ChartTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fields went, from what a store-out keeps; known prices of the hours to come are dashed."""

    tile: Literal["chart"]
    series: Annotated[list[ChartSeries], Meta(min_length=1, description="What is drawn: a node and a field each.")]
    span: Annotated[Span, Meta(description="How long; readers may choose another one.")] = "24h"


class TableTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a record below each other."""

    tile: Literal["table"]
    from_: From = msgspec.field(name="from")
    fields: Annotated[list[Text], Meta(description="The fields, in this order; without it all that are known.")] = []


class OrdersTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest orders, each with its story."""

    tile: Literal["orders"]
    from_: Annotated[Text, Meta(description="An exchange-out with send: orders.")] = msgspec.field(name="from")


class AlarmsTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest alarms, to be acknowledged."""

    tile: Literal["alarms"]
    from_: Annotated[Several | None, Meta(description="An alarm-out, or a list; without it all of the flow.")] = (
        msgspec.field(name="from", default=None)
    )


class WhyTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why was decided what was decided: each condition with its value and limit."""

    tile: Literal["why"]
    from_: Annotated[Several, Meta(description="A rule, risk-guard or threshold, or a list of them.")] = msgspec.field(
        name="from"
    )


class FormTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form for values by hand, with range, unit and expiry."""

    tile: Literal["form"]
    from_: Annotated[Text, Meta(description="A manual-in.")] = msgspec.field(name="from")


class ButtonTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fixed entry by hand."""

    tile: Literal["button"]
    from_: Annotated[Text, Meta(description="A manual-in.")] = msgspec.field(name="from")
    values: Annotated[dict[Text, int | float], Meta(min_length=1, description="Field → the value that is entered.")]
    title: Annotated[Title, Meta(description="What the button says; by language: {en: …, de: …}.")]
    confirm: Annotated[bool, Meta(description="Ask before it is entered.")] = True


class EventsTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happened: alarms, orders, entries, reloads."""

    tile: Literal["events"]


class TextTile(Tile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text; it is shown as it is."""

    tile: Literal["text"]
    text: Annotated[Title, Meta(description="The text; by language: {en: …, de: …}.")]


AnyTile: TypeAlias = (
    ValueTile | PowerTile | ChartTile | TableTile | OrdersTile | AlarmsTile | WhyTile | FormTile | ButtonTile
    | EventsTile | TextTile
)  # fmt: skip
TILES: dict[str, type[AnyTile]] = {
    "value": ValueTile, "power": PowerTile, "chart": ChartTile, "table": TableTile, "orders": OrdersTile,
    "alarms": AlarmsTile, "why": WhyTile, "form": FormTile, "button": ButtonTile, "events": EventsTile,
    "text": TextTile,
}  # fmt: skip
"""The word behind ``tile:`` → its options."""


class DashboardHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dashboard as the file says it; each tile is bound by itself, by the options of its kind."""

    tiles: Annotated[list[Any], Meta(min_length=1, description="The tiles, in the order in which they stand.")]
