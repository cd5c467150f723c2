"""What a record that comes in from outside must be: which fields, of which type, within which limits."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from msgspec import Meta

from flowrunner.errors import did_you_mean
from flowrunner.fields import Limits, is_number, outside
from flowrunner.message import JSON
from flowrunner.shape import Kind

TYPES: dict[str, tuple[type, ...]] = {"number": (int, float), "integer": (int,), "text": (str,), "boolean": (bool,)}
KINDS: dict[str, Kind] = {"number": "number", "integer": "number", "text": "text", "boolean": "bool"}
NAME_CAP = 64
"""Characters of an unknown field's name that an answer repeats."""
_MOST = sys.float_info.max


class BodyField(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Annotated[Literal["number", "integer", "text", "boolean"], Meta(description="What the value must be.")] = (
        "number"
    )
    required: Annotated[bool, Meta(description="Refuse a body without it.")] = False


def faults(body: JSON, rules: Mapping[str, BodyField]) -> Iterator[dict[str, str]]:
    """What is wrong with a body: ``{"field": name, "message": sentence}`` for each field, in the body's order."""
    if not isinstance(body, dict) or not body:
        wrong = "has no field" if isinstance(body, dict) else "must be an object with fields"
        yield {"field": "", "message": f"the body {wrong}; known: {', '.join(rules)}"}
        return
    for name, value in body.items():
        if text := _fault(name, value, rules):
            yield {"field": name[:NAME_CAP], "message": text}
    for name, one in rules.items():
        if one.required and name not in body:
            yield {"field": name, "message": f"{name} is missing"}


def _fault(name: str, value: JSON, rules: Mapping[str, BodyField]) -> str:
    rule = rules.get(name)
    if rule is not None and rule.type == "number" and type(value) in TYPES["number"]:  # by far the most common
        low, high = rule.min, rule.max
        if -_MOST <= value <= _MOST and (low is None or value >= low) and (high is None or value <= high):
            return ""
    if rule is None:
        near = did_you_mean(name[:NAME_CAP], rules)
        return f"{name[:NAME_CAP]} is not a field here" + (f", {near}" if near else "")
    if isinstance(value, float) and not math.isfinite(value):
        return f"{name} must be a finite number"
    if rule.type == "integer" and isinstance(value, float) and value.is_integer() and -(2**63) < value < 2**64:
        value = int(value)  # JSON knows one kind of number: 2.0 is 2 (json-schema.org, 6.1.1)
    if not isinstance(value, TYPES[rule.type]) or isinstance(value, bool) != (rule.type == "boolean"):
        return f"{name} must be {'an' if rule.type == 'integer' else 'a'} {rule.type}"
    text = outside(value, rule) if isinstance(value, int | float) and is_number(value) else ""
    return f"{name}: {text}" if text else ""


def example(rules: Mapping[str, BodyField]) -> dict[str, JSON]:
    """A body that the rules let through, for people who try a route: of a range its middle."""
    return {name: _example(rule) for name, rule in rules.items()}


def _example(rule: BodyField) -> JSON:
    if rule.type in ("text", "boolean"):
        return "text" if rule.type == "text" else True
    low = rule.min if rule.min is not None else min(0, rule.max or 0)
    middle = low if rule.max is None else (low + rule.max) / 2
    return math.floor(middle) if rule.type == "integer" or middle == math.floor(middle) else middle
