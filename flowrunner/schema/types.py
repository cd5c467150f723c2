"""The types that options are made of, beside plain ones: what a text in an option stands for.

The kind travels in the JSON Schema as ``x-flowrunner``; the check reads it there and knows which texts name
fields, nodes or expressions.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from flowrunner.units import Duration, Rate

KIND = "x-flowrunner"
T = TypeVar("T")


def _kind(name: str, **limits: Any) -> Meta:
    return Meta(extra_json_schema={KIND: name}, **limits)


FieldName = Annotated[str, _kind("field", min_length=1)]
"""A field of the records that come in; unknown ones are found before a run."""

InputName = Annotated[str, _kind("input", min_length=1)]
"""One of the nodes in this node's own ``from``."""

NodeName = Annotated[str, _kind("wire", min_length=1)]
"""Another node that is read beside ``from``; it must be there and enabled."""

Condition = Annotated[str, _kind("condition", min_length=1)]
"""An expression that is true or false."""

Formula = Annotated[str, _kind("formula", min_length=1)]
"""An expression with any value."""

Template = Annotated[str, _kind("template")]
"""Text with ``{field}`` and ``{key}`` places that are filled from a message."""

Secret = Annotated[str, _kind("secret")]
"""Never shown: masked in every output."""

CUSTOM: dict[type, dict[str, Any]] = {
    Duration: {"type": "string", KIND: "duration", "examples": ["30s", "5min"]},
    Rate: {"type": "string", KIND: "rate", "examples": ["10/s"]},
}
"""Custom types in options and their strict schema."""

PARSERS = {"duration": Duration.parse, "rate": Rate.parse}
"""Kinds whose text must parse; each raises ValueError with a sentence."""


def decode(data: object, into: type[T]) -> T:
    """Checked data → typed options. The data has passed :func:`flowrunner.schema.bind`; this only builds."""

    def hook(kind: type, value: object) -> object:
        if kind in (Duration, Rate) and isinstance(value, str):
            return Duration.parse(value) if kind is Duration else Rate.parse(value)
        raise NotImplementedError(kind)

    return msgspec.convert(data, into, dec_hook=hook)
