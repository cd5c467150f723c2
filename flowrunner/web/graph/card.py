"""What a node type does, for the inspector: its description, an example, its options."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.graph import PORTS_OF_ALL
from flowrunner.reference import example
from flowrunner.registry import NodeType
from flowrunner.schema import describe, schema_of
from flowrunner.schema.walk import Schema
from flowrunner.web.graph.source import Piece, pieces


class Option(msgspec.Struct, frozen=True):
    """An option of a node type."""

    name: str
    wants: Annotated[str, Meta(description="What may be written there, in words.")]
    about: str
    required: bool
    default: Annotated[str | None, Meta(description="As it would be written; null: there is none.")]
    depth: Annotated[int, Meta(ge=0, description="Below how many options it stands.")]


class Card(msgspec.Struct, frozen=True):
    """A node type."""

    type: str
    doc: str
    ports: list[str]
    example: Annotated[list[list[Piece]], Meta(description="Its lines, in pieces as in a flow's source.")]
    options: list[Option]


def card(kind: NodeType) -> Card:
    """The card of a type."""
    shown = example(kind)
    return Card(
        type=kind.name,
        doc=kind.doc,
        ports=[*kind.cls.ports, *PORTS_OF_ALL],
        example=pieces(shown) if shown else [],
        options=_options(schema_of(kind.cls.Options), 0),
    )


def _options(schema: Schema, depth: int) -> list[Option]:
    required = schema.get("required", [])
    found = []
    for name, one in schema.get("properties", {}).items():
        default = json.dumps(one["default"], ensure_ascii=False) if "default" in one else None
        found.append(Option(name, describe(one), one.get("description", ""), name in required, default, depth))
        found += _below(one, depth + 1)
    return found


def _below(schema: Schema, depth: int) -> list[Option]:
    for branch in [schema, *schema.get("anyOf", [])]:
        below = branch.get("additionalProperties")
        if branch.get("properties"):
            return _options(branch, depth)
        if isinstance(below, dict) and below.get("properties"):
            return _options(below, depth)
    return []
