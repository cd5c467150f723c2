"""A schema as a plain function that says yes: by far the most data is right, and only what is not needs to be told why.

What it accepts, jsonschema accepts. Where it says no, or does not know a keyword, jsonschema is asked, which finds
each mistake with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from flowrunner.schema.types import KIND
from flowrunner.schema.walk import Schema

Data: TypeAlias = Any
Accepts: TypeAlias = Callable[[Data], bool]

_SILENT = frozenset({"description", "title", "examples", "default", KIND, f"{KIND}-keys"})
"""Keywords that ask for nothing."""
_OF_TYPE: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "additionalProperties", "required", "minProperties", "propertyNames"}),
    "array": frozenset({"items", "minItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset(),
}


def accepting(schema: Schema) -> Accepts:
    """The function of one schema."""
    asked = {key: value for key, value in schema.items() if key not in _SILENT}
    if not asked:
        return _anything
    if set(asked) == {"enum"} and len(kinds := {type(one) for one in asked["enum"]}) == 1 and kinds <= {str, int}:
        (same,), words = kinds, frozenset(asked["enum"])
        return lambda data: type(data) is same and data in words
    if set(asked) == {"anyOf"}:
        return _either([accepting(one) for one in asked["anyOf"]])
    kind = asked.pop("type", None)
    if not isinstance(kind, str) or kind not in _OF_TYPE or not asked.keys() <= _OF_TYPE[kind]:
        return _never
    return {"object": _map, "array": _list, "string": _text, "boolean": _truth}.get(kind, _number)(kind, asked)


def _anything(data: Data) -> bool:
    return True


def _never(data: Data) -> bool:
    return False


def _either(ways: list[Accepts]) -> Accepts:
    def either(data: Data) -> bool:
        for way in ways:  # noqa: SIM110  (a generator costs more than what it asks)
            if way(data):
                return True
        return False

    return either


def _truth(kind: str, asked: Schema) -> Accepts:
    return lambda data: data is True or data is False


def _number(kind: str, asked: Schema) -> Accepts:
    fits = (int,) if kind == "integer" else (int, float)
    low, high = asked.get("minimum", float("-inf")), asked.get("maximum", float("inf"))
    above, under = asked.get("exclusiveMinimum"), asked.get("exclusiveMaximum")

    def number(data: Data) -> bool:
        if type(data) not in fits or not low <= data <= high:
            return False
        return (above is None or data > above) and (under is None or data < under)

    return number


def _text(kind: str, asked: Schema) -> Accepts:
    least, most = asked.get("minLength", 0), asked.get("maxLength")
    found = re.compile(asked["pattern"]).search if "pattern" in asked else None
    if most is None and found is None:
        return lambda data: type(data) is str and len(data) >= least

    def text(data: Data) -> bool:
        if type(data) is not str or len(data) < least or (most is not None and len(data) > most):
            return False
        return found is None or found(data) is not None

    return text


def _list(kind: str, asked: Schema) -> Accepts:
    each, least = accepting(asked.get("items", {})), asked.get("minItems", 0)

    def items(data: Data) -> bool:
        return type(data) is list and len(data) >= least and all(map(each, data))

    return items


def _map(kind: str, asked: Schema) -> Accepts:
    own = {key: accepting(one) for key, one in asked.get("properties", {}).items()}
    more = asked.get("additionalProperties", {})
    other = _never if more is False else _anything if more is True else accepting(more)
    name = accepting({"type": "string", **asked["propertyNames"]}) if "propertyNames" in asked else None
    required, least = tuple(asked.get("required", ())), asked.get("minProperties", 0)

    def record(data: Data) -> bool:
        if type(data) is not dict or len(data) < least:
            return False
        for key in required:
            if key not in data:
                return False
        for key, value in data.items():
            if not own.get(key, other)(value) or (name is not None and not name(key)):
                return False
        return True

    return record
