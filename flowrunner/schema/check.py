"""A part of a flow file against its strict schema: plain data, what it refers to, and every problem with its place.

jsonschema finds, this room says it in a person's words and at the key itself: it reports unknown and missing
keys at their parent, and never just "not valid under any of the given schemas".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from flowrunner.errors import Mark, did_you_mean
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, find, mark_of, spell
from flowrunner.schema.types import KIND, PARSERS, QUANTITIES
from flowrunner.schema.walk import Schema, describe

Data = Any


class Ref(msgspec.Struct, frozen=True):
    """A text in the options that stands for something: its kind (see `schema.types`), and where it is."""

    kind: str
    text: str
    path: list[Step]
    leaf: Leaf | None
    mark: Mark


class Bound(msgspec.Struct):
    """What :func:`bind` gives: the data (None when it has errors), and the references in it."""

    data: Data | None
    refs: list[Ref]


def bind(document: Document, path: list[Step], schema: Schema, owner: str) -> Bound:
    """Check the part of ``document`` at ``path`` against ``schema``; problems are added to the document.

    ``owner`` names the thing in messages: "modbus-in", "a flow".
    """
    tree = find(document.root, path)
    refs: list[Ref] = []
    data = _plain(tree, schema, path, refs)
    before = len(document.problems)
    for error in _validator(msgspec.json.encode(schema)).iter_errors(data):
        for one in _leaves(Finding.of(error)):
            _report(document, path, one, owner)
    _check_kinds(document, refs)
    return Bound(data if len(document.problems) == before else None, refs)


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that its value must not be shown."""
    return any(word in name.upper() for word in ("PASSWORD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"))


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Draft202012Validator:
    return Draft202012Validator(msgspec.json.decode(schema))


# ---- from tree to data, led by the schema ---------------------------------------------------------------


def _plain(tree: Tree, schema: Schema, path: list[Step], refs: list[Ref]) -> Data:
    schema = _branch_for(schema, tree)
    if isinstance(tree, Branch):
        own = schema.get("properties", {})
        other = schema.get("additionalProperties")
        keys = schema.get(f"{KIND}-keys")
        data = {}
        for key, value in tree.items.items():
            if keys:
                refs.append(Ref(keys, key, [*path, key], None, tree.keys[key]))
            below = own.get(key, other if isinstance(other, dict) else {})
            data[key] = _plain(value, below, [*path, key], refs)
        return data
    if isinstance(tree, Items):
        below = schema.get("items", {})
        return [_plain(item, below, [*path, index], refs) for index, item in enumerate(tree.items)]
    value = _typed(tree, schema)
    if isinstance(value, str) and KIND in schema:
        refs.append(Ref(schema[KIND], value, path, tree, tree.mark))
    return value


def _typed(leaf: Leaf, schema: Schema) -> Data:
    """A leaf that was one ``${…}`` takes the type that its schema asks for."""
    if not leaf.substituted or isinstance(leaf.value, str):
        return leaf.value
    if _accepts(schema, leaf.value):
        return leaf.value
    return leaf.text if _accepts(schema, leaf.text) else leaf.value


def _accepts(schema: Schema, value: Data) -> bool:
    if "anyOf" in schema:
        return any(_accepts(branch, value) for branch in schema["anyOf"])
    if "enum" in schema:
        return any(value == one and type(value) is type(one) for one in schema["enum"])
    kinds: dict[str, tuple[type, ...]] = {
        "integer": (int,),
        "number": (int, float),
        "string": (str,),
        "boolean": (bool,),
    }
    kind = schema.get("type")
    if kind is None:
        return True
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, kinds.get(kind, ()))


def _branch_for(schema: Schema, tree: Tree) -> Schema:
    """The branch of an ``anyOf`` that this value means: options never have two branches of one JSON type."""
    if "anyOf" not in schema:
        return schema
    wanted = "object" if isinstance(tree, Branch) else "array" if isinstance(tree, Items) else None
    for branch in schema["anyOf"]:
        if branch.get("type") == wanted and wanted is not None:
            return dict(branch)
    if isinstance(tree, Leaf):
        scalars = [branch for branch in schema["anyOf"] if branch.get("type") not in ("object", "array")]
        for branch in scalars:
            if _accepts(branch, tree.value):
                return dict(branch)
    return schema


# ---- from jsonschema's errors to sentences ----------------------------------------------------------------


class Finding(msgspec.Struct, frozen=True):
    """One of jsonschema's errors, in types that can be relied on."""

    validator: str
    limit: Any
    """What the schema's keyword says."""
    schema: Schema
    instance: Data
    path: list[Step]
    """From the checked data down to the value."""
    relative: list[Step]
    branch: int
    """Of which branch of an ``anyOf`` this is a part."""
    message: str
    context: list[Finding]

    @classmethod
    def of(cls, error: Any) -> Finding:
        steps = list(error.relative_schema_path)
        return cls(
            validator=str(error.validator),
            limit=error.validator_value,
            schema=error.schema,
            instance=error.instance,
            path=list(error.absolute_path),
            relative=list(error.relative_path),
            branch=steps[0] if steps and isinstance(steps[0], int) else 0,
            message=error.message,
            context=[cls.of(inner) for inner in error.context or ()],
        )


def _leaves(error: Finding) -> Iterator[Finding]:
    """Look into an ``anyOf``: the branch whose JSON type fits is the one that was meant."""
    if error.validator != "anyOf" or not error.context:
        yield error
        return
    by_branch: dict[int, list[Finding]] = {}
    for inner in error.context:
        by_branch.setdefault(inner.branch, []).append(inner)
    meant = [
        errors
        for errors in by_branch.values()
        if not any(one.validator == "type" and not one.relative for one in errors)
    ]
    if len(meant) != 1:
        yield error
        return
    for inner in meant[0]:
        yield from _leaves(inner)


def _report(document: Document, base: list[Step], error: Finding, owner: str) -> None:
    path: list[Step] = [*base, *error.path]
    say = _SENTENCES.get(error.validator, _other)
    for key, code, message, hint in say(error, owner):
        place: list[Step] = path if key is None else [*path, key]
        mark = mark_of(document.root, place)
        if key is not None:
            parent = find(document.root, path)
            if isinstance(parent, Branch):
                mark = parent.keys.get(key) or mark_of(document.root, path)
        tree = find(document.root, place)
        if key is None and isinstance(tree, Leaf) and tree.substituted not in ("", "?"):
            if tree.secret or looks_secret(tree.substituted):
                message = f"the value of {tree.substituted} is not {describe(error.schema)}"
            else:
                message += f" (from {tree.substituted})"
        document.report(mark, code, message, path=spell(place), hint=hint)


Sentence = tuple[str | None, str, str, str]
"""(key below the error's path or None, code, message, hint)"""


def _unknown(error: Finding, owner: str) -> Iterator[Sentence]:
    known = list(error.schema.get("properties", {}))
    for key in error.instance:
        if key not in known:
            hint = did_you_mean(key, known) or ("known: " + ", ".join(known) if known else "")
            yield key, "unknown-option", f"{owner} has no option {key!r} here", hint


def _missing(error: Finding, owner: str) -> Iterator[Sentence]:
    for key in error.limit:
        if key not in error.instance and f"'{key}' is" in error.message:
            if did_you_mean(key, [name for name in error.instance if name not in error.schema["properties"]]):
                continue  # its misspelling is reported already, with the right name
            wants = describe(error.schema["properties"].get(key, {}))
            yield None, "missing-option", f"{key!r} is missing", f"it takes {wants}"


def _type(error: Finding, owner: str) -> Iterator[Sentence]:
    yield None, *_wrong_type(error.instance, error.schema)


def _wrong_type(value: Data, schema: Schema) -> tuple[str, str, str]:
    wants = describe(schema)
    kind = schema.get(KIND)
    if kind == "secret":
        return "type", f"this is not {wants}", "put it in quotes, or read it by ${NAME} or ${secret:name}"
    if kind in QUANTITIES and isinstance(value, int | float) and not isinstance(value, bool):
        *most, last = (f"{value}{unit}" for unit in QUANTITIES[kind][2])
        return "unit", f"{value} has no unit", f"write {', '.join(most)} or {last}"
    if schema.get("type") == "string" and isinstance(value, bool | int | float):
        text = str(value).lower() if isinstance(value, bool) else value
        return "type", f"{_show(value)} is not {wants}", f"put it in quotes: '{text}'"
    if schema.get("type") == "boolean" and str(value).lower() in ("yes", "on", "1"):
        return "type", f"{_show(value)} is not {wants}", "write true"
    if schema.get("type") == "boolean" and str(value).lower() in ("no", "off", "0"):
        return "type", f"{_show(value)} is not {wants}", "write false"
    if value is None:
        return "type", f"there is no value; it takes {wants}", "give a value, or remove the line"
    return "type", f"{_show(value)} is not {wants}", ""


def _any_of(error: Finding, owner: str) -> Iterator[Sentence]:
    strings = [b for b in error.schema["anyOf"] if b.get(KIND) in PARSERS]
    schema = strings[0] if strings and isinstance(error.instance, int | float) else error.schema
    yield None, *_wrong_type(error.instance, schema)


def _enum(error: Finding, owner: str) -> Iterator[Sentence]:
    wants = describe({"enum": error.limit})
    near = did_you_mean(str(error.instance), [str(one) for one in error.limit])
    yield None, "value", f"{_show(error.instance)} is not {wants}", near


def _range(error: Finding, owner: str) -> Iterator[Sentence]:
    words = {
        "minimum": "less than",
        "maximum": "more than",
        "exclusiveMinimum": "not more than",
        "exclusiveMaximum": "not less than",
    }
    limit = error.limit
    limit = int(limit) if float(limit).is_integer() else limit
    yield None, "range", f"{_show(error.instance)} is {words[error.validator]} {limit}", ""


def _empty(error: Finding, owner: str) -> Iterator[Sentence]:
    yield None, "empty", "it is empty", f"it takes {describe(error.schema)}"


def _pattern(error: Finding, owner: str) -> Iterator[Sentence]:
    hint = str(error.schema.get("examples", [""])[0])
    message = f"{_show(error.instance)} is not a valid name here"
    yield None, "name", message, f"like {hint}" if hint else f"it must match {error.limit}"


def _key_pattern(error: Finding, owner: str) -> Iterator[Sentence]:
    yield (
        None,
        "name",
        f"{error.instance!r} is not a valid name here",
        f"it must match {error.limit}",
    )


def _other(error: Finding, owner: str) -> Iterator[Sentence]:
    yield None, "value", error.message, ""


_SENTENCES: dict[str, Callable[[Finding, str], Iterator[Sentence]]] = {
    "additionalProperties": _unknown,
    "required": _missing,
    "type": _type,
    "anyOf": _any_of,
    "enum": _enum,
    "minimum": _range,
    "maximum": _range,
    "exclusiveMinimum": _range,
    "exclusiveMaximum": _range,
    "minLength": _empty,
    "minItems": _empty,
    "minProperties": _empty,
    "pattern": _pattern,
}


def _show(value: Data) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]


def _check_kinds(document: Document, refs: list[Ref]) -> None:
    """Texts that must parse whatever surrounds them: durations, rates, and no ``${…}`` left in expressions."""
    for ref in refs:
        parse = PARSERS.get(ref.kind)
        if parse is not None:
            try:
                parse(ref.text)
            except ValueError as error:
                message, _, hint = str(error).partition("; ")
                document.report(ref.mark, "unit", message, path=spell(ref.path), hint=hint)
