"""One walk over a type gives both schemas: the strict one (2020-12, what the check uses, after substitution) and
the editor's (draft-07, where every scalar may also be a ``${…}``)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

from flowrunner.schema.types import CUSTOM, FORMS, KIND, QUANTITIES

Schema = dict[str, Any]

SUBSTITUTION: Schema = {"title": "${…}", "type": ["string"], "pattern": r"\$\{"}
"""Its title tells it apart for yaml-language-server, which else shows those of all branches. Its type is a list, as in
every union for editors: of a wrong value the server then says the first branch's words; single types it would mix."""
MESSAGE = "errorMessage"
"""A keyword that editors know and validators pass over: what to say instead of "does not match the pattern"."""


def schema_of(kind: object, *, editor: bool = False) -> Schema:
    """The schema of a type, whole and without references. TypeError for a type that options cannot have."""
    return _Walk(editor).visit(inspect.type_info(kind))


class _Walk:
    def __init__(self, editor: bool) -> None:
        self.editor = editor

    def visit(self, kind: inspect.Type) -> Schema:
        if isinstance(kind, inspect.Metadata):
            return self.annotated(self.visit(kind.type), kind.extra_json_schema or {})
        if isinstance(kind, inspect.UnionType):
            return self.union(kind)
        if isinstance(kind, inspect.StructType):
            return self.struct(kind)
        if isinstance(kind, inspect.DictType):
            return self.dictionary(kind)
        if isinstance(kind, (inspect.ListType, inspect.VarTupleType)):
            schema: Schema = {"type": "array", "items": self.visit(kind.item_type)}
            if kind.min_length:
                schema["minItems"] = kind.min_length
            return self.telling(schema)
        if isinstance(kind, inspect.AnyType):
            return {}
        return self.leaf(self.scalar(kind))

    def annotated(self, schema: Schema, extra: Schema) -> Schema:
        notes = {key: value for key, value in extra.items() if key in ("description", "title", "examples")}
        rest = {key: value for key, value in extra.items() if key not in notes}
        if rest and self.editor and "anyOf" in schema:
            schema["anyOf"][0].update(rest)
        else:
            schema |= rest
        return schema | notes

    def union(self, kind: inspect.UnionType) -> Schema:
        """None is how a program says "not given"; in a file an option that is not given is not there."""
        branches = [self.visit(one) for one in kind.types if not isinstance(one, inspect.NoneType)]
        if len(branches) == 1:
            return branches[0]
        flat: list[Schema] = []
        for branch in branches:
            flat += branch["anyOf"] if set(branch) == {"anyOf"} else [branch]
        unique = [branch for index, branch in enumerate(flat) if branch not in flat[:index]]
        return {"anyOf": unique} if not self.editor else _either(unique)

    def struct(self, kind: inspect.StructType) -> Schema:
        properties: dict[str, Schema] = {}
        for field in kind.fields:
            schema = self.visit(field.type)
            default = field.default
            if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            if default not in (msgspec.NODEFAULT, msgspec.UNSET, None, "", [], {}):
                schema["default"] = msgspec.to_builtins(default, enc_hook=str)
            properties[field.encode_name] = schema
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [field.encode_name for field in kind.fields if field.required]
        if required:
            schema["required"] = required
        return schema

    def dictionary(self, kind: inspect.DictType) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.visit(kind.value_type)}
        if kind.min_length:
            schema["minProperties"] = kind.min_length
        key = kind.key_type
        if isinstance(key, inspect.Metadata) and key.extra_json_schema and KIND in key.extra_json_schema:
            schema[f"{KIND}-keys"] = key.extra_json_schema[KIND]
            key = key.type
        limits = self.scalar(key) if isinstance(key, inspect.StrType) else {}
        limits.pop("type", None)
        if limits and not self.editor:
            schema["propertyNames"] = limits
        return self.telling(schema)

    def scalar(self, kind: inspect.Type) -> Schema:
        if isinstance(kind, inspect.StrType):
            schema: Schema = {"type": "string"}
            limits = {"minLength": kind.min_length, "maxLength": kind.max_length, "pattern": kind.pattern}
            return schema | {key: value for key, value in limits.items() if value is not None}
        if isinstance(kind, (inspect.IntType, inspect.FloatType)):
            schema = {"type": "integer" if isinstance(kind, inspect.IntType) else "number"}
            bounds = {
                "minimum": kind.ge,
                "maximum": kind.le,
                "exclusiveMinimum": kind.gt,
                "exclusiveMaximum": kind.lt,
            }
            return schema | {key: value for key, value in bounds.items() if value is not None}
        if isinstance(kind, inspect.BoolType):
            return {"type": "boolean"}
        if isinstance(kind, inspect.LiteralType):
            return {"enum": list(kind.values)}
        if isinstance(kind, inspect.CustomType) and kind.cls in CUSTOM:
            return dict(CUSTOM[kind.cls])
        raise TypeError(f"options cannot have the type {kind}")

    def leaf(self, schema: Schema) -> Schema:
        if not self.editor:
            return schema
        quantity = QUANTITIES.get(schema.get(KIND, ""))
        if quantity:
            return self.telling(schema | {"pattern": rf"{quantity[1]}|\$\{{"})
        told = self.telling(schema)
        if schema == {"type": "string", "minLength": 1} or schema == {"type": "string"}:
            return told  # as it is, it takes every ${…}
        return {"anyOf": [told, dict(SUBSTITUTION)]}

    def telling(self, schema: Schema) -> Schema:
        """With the words for a value of the wrong type or form. Not for structs: editors would say them of each
        missing and unknown option too. Nor for lists of words: editors say the words."""
        if not self.editor or "enum" in schema:
            return schema
        wanted = describe(schema)
        if schema.get(KIND) in QUANTITIES:
            wanted += ": a number with its unit"
        elif schema.get("pattern") in FORMS:
            wanted = ": ".join(FORMS[schema["pattern"]])
        elif schema.get("type") == "string":
            wanted += "; put a number in quotes"
        return schema | {MESSAGE: f"Expected {wanted}."}


def _either(branches: list[Schema]) -> Schema:
    """An editor's union, without what says nothing more: every whole number is a number, every ``${…}`` is text."""
    kinds = [(branch.get("type"), branch.keys() - {MESSAGE}) for branch in branches]
    kept = [branch for branch in branches if branch != SUBSTITUTION]
    if ("number", {"type"}) in kinds:
        kept = [branch for branch in kept if branch.get("type") != "integer"]
    if SUBSTITUTION in branches and ("string", {"type"}) not in kinds:
        kept.append(dict(SUBSTITUTION))
    if len(kept) == 1:
        return kept[0]
    if kept[1:] == [SUBSTITUTION]:
        return {"anyOf": kept}
    message = f"Expected {describe({'anyOf': kept})}."
    for index, branch in enumerate(kept):
        if MESSAGE in branch and isinstance(branch["type"], str):
            kept[index] = branch | {MESSAGE: message, "type": [branch["type"]]}
    return {"anyOf": kept}


def describe(schema: Schema) -> str:
    """What a schema wants, in words for people: ``a number``, ``one of a, b``, ``a list``."""
    kind = schema.get(KIND)
    if kind in QUANTITIES:
        return f"a {kind} like {schema['examples'][0]}"
    if kind in ("condition", "amount", "formula"):
        return "an expression"
    if "enum" in schema:
        return "one of " + ", ".join(_as_yaml(value) for value in schema["enum"])
    if "anyOf" in schema:
        branches = [branch for branch in schema["anyOf"] if branch != SUBSTITUTION]
        if any(branch.get("type") == "number" for branch in branches):  # every whole number is a number
            branches = [branch for branch in branches if branch.get("type") != "integer"]
        return " or ".join(dict.fromkeys(map(describe, branches)))
    names = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "object": "a map",
        "array": "a list",
    }
    return names.get(schema.get("type", ""), "any value") + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    return "" if high is None else f" of at most {high}"


def _as_yaml(value: object) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
