"""The types that options are made of, beside plain ones: what a text in an option stands for.

The kind travels in the JSON Schema as ``x-flowrunner``; the check reads it there and knows which texts name
fields, nodes or expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta

from flowrunner.flowfile.cases import ENVIRONMENT_NAME
from flowrunner.flowfile.flow import FLOW_NAME, VAR_NAME
from flowrunner.units import DURATION_PATTERN, RATE_PATTERN, SIZE_PATTERN, Duration, Rate, Size

KIND = "x-flowrunner"
FIELD_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
FORMS: dict[str, tuple[str, str]] = {
    FIELD_NAME: ("a field", "letters, digits and underscores; a dash would be a minus in expressions"),
    FLOW_NAME: ("the name of a flow", "small letters, digits and single dashes, like battery-north"),
    ENVIRONMENT_NAME: ("a variable of the environment", "capital letters, digits and _, like BESS_API_KEY"),
    VAR_NAME: ("the name of a var", "small letters, digits and _, like max_power"),
}
"""Pattern → what a text of that form is, and the form in words."""
T = TypeVar("T")


def _kind(name: str, **limits: Any) -> Meta:
    return Meta(extra_json_schema={KIND: name}, **limits)


FieldName = Annotated[str, _kind("field", min_length=1)]
"""A field of the records that come in; unknown ones are found before a run."""

InputName = Annotated[str, _kind("input", min_length=1)]
"""One of the nodes in this node's own ``from``."""

NodeName = Annotated[str, _kind("wire", min_length=1)]
"""Another node that is read beside ``from``; it must be there and enabled."""

WatchedName = Annotated[str, _kind("watched", min_length=1)]
"""Another node whose errors or states are listened to (`Node.listens`)."""

VerdictName = Annotated[str, _kind("verdict", min_length=1)]
"""A threshold whose verdict every record that comes in must carry; it must be there and enabled."""

OriginName = Annotated[str, _kind("origin", min_length=1)]
"""A node whose values the records that come in carry; it must be there and enabled."""

Condition = Annotated[str, _kind("condition", min_length=1)]
"""An expression that is true or false."""

Amount = Annotated[str, _kind("amount", min_length=1)]
"""An expression that gives a number."""

Formula = Annotated[str, _kind("formula", min_length=1)]
"""An expression with any value."""

Template = Annotated[str, _kind("template")]
"""Text with ``{field}`` and ``{key}`` places that are filled from a message."""

KeyTemplate = Annotated[str, _kind("key")]
"""The same, filled from the messages that leave."""

Secret = Annotated[str, _kind("secret")]
"""Never shown: masked in every output."""

CUSTOM: dict[type, dict[str, Any]] = {
    Duration: {"type": "string", KIND: "duration", "examples": ["30s", "5min"]},
    Rate: {"type": "string", KIND: "rate", "examples": ["10/s"]},
    Size: {"type": "string", KIND: "size", "examples": ["64kB"]},
}
"""Custom types in options and their strict schema."""

QUANTITIES: dict[str, tuple[type[Duration] | type[Rate] | type[Size], str, tuple[str, ...]]] = {
    "duration": (Duration, DURATION_PATTERN, ("s", "min", "h", "d")),
    "rate": (Rate, RATE_PATTERN, ("/s", "/min")),
    "size": (Size, SIZE_PATTERN, ("B", "kB", "MB")),
}
"""Kind → its type, its pattern, and the units that a person most likely left out."""

PARSERS: dict[str, Callable[[str], object]] = {kind: entry[0].parse for kind, entry in QUANTITIES.items()}
"""Kinds whose text must parse; each raises ValueError with a sentence."""


def decode(data: object, into: type[T]) -> T:
    """Checked data → typed options. The data has passed :func:`flowrunner.schema.bind`; this only builds."""

    def hook(kind: type, value: object) -> object:
        parse = getattr(kind, "parse", None)
        if kind in CUSTOM and parse is not None:
            return cast(object, parse(value))
        raise NotImplementedError(kind)

    return msgspec.convert(data, into, dec_hook=hook)
