"""jsonschema's errors in a person's words, and at the key itself.

jsonschema reports unknown and missing keys at their parent, and of several branches only that none is valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from flowrunner.errors import did_you_mean
from flowrunner.flowfile.document import Step
from flowrunner.flowfile.loader import scalar
from flowrunner.schema.types import FORMS, KIND, PARSERS, QUANTITIES
from flowrunner.schema.walk import Schema, describe

Data = Any
_DECIMAL_COMMA = re.compile(r"([-+]?[0-9]+),([0-9]+)", re.ASCII)
Sentence = tuple[str | None, str, str, str]
"""(key below the finding's path or None, code, message, hint)"""


class Finding(msgspec.Struct, frozen=True):
    """One of jsonschema's errors, in types that can be relied on."""

    validator: str
    limit: Any
    """What the schema's keyword says."""
    schema: Schema
    instance: Data
    path: list[Step]
    """From the checked data down to the value."""
    own: bool
    """About the value itself, not about a part of it."""
    branch: int
    """Of which branch of an ``anyOf`` this is a part."""
    of_key: bool
    """About a key of the map at ``path``."""
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
            own=not error.relative_path,
            branch=steps[0] if steps and isinstance(steps[0], int) else 0,
            of_key="propertyNames" in steps[-2:],
            message=error.message,
            context=[cls.of(inner) for inner in error.context or ()],
        )

    def meant(self) -> Iterator[Finding]:
        """Look into an ``anyOf``: the branch whose JSON type fits is the one that was meant."""
        if self.validator != "anyOf":
            yield self
            return
        by_branch: dict[int, list[Finding]] = {}
        for inner in self.context:
            by_branch.setdefault(inner.branch, []).append(inner)
        meant = [
            findings
            for findings in by_branch.values()
            if not any(one.own and _of_another_type(one) for one in findings)
        ]
        if len(meant) != 1:
            yield self
            return
        for inner in meant[0]:
            yield from inner.meant()


def _of_another_type(finding: Finding) -> bool:
    """A map or a list is none of a few words either."""
    is_part = isinstance(finding.instance, dict | list)
    return finding.validator == "type" or (finding.validator == "enum" and is_part)


def sentences(finding: Finding, owner: str) -> Iterator[Sentence]:
    """What a finding says, ``owner`` being the type whose options these are."""
    yield from _SENTENCES.get(finding.validator, _other)(finding, owner)


def no_unit(value: float, kind: str) -> tuple[str, str]:
    """Message and hint for a bare number where a quantity is needed."""
    *most, last = (f"{value}{unit}" for unit in QUANTITIES[kind][2])
    return f"{value} has no unit", f"write {', '.join(most)} or {last}"


def _explain(schema: Schema) -> str:
    """What an option takes, and what it is for."""
    about = str(schema.get("description", "")).rstrip(".")
    return f"it takes {describe(schema)}" + (f": {about}" if about else "")


def _unknown(finding: Finding, owner: str) -> Iterator[Sentence]:
    known = list(finding.schema.get("properties", {}))
    for key in finding.instance:
        if key in known:
            continue
        if key == "from" and "type" in known:
            what, hint = "is a source, it reads from no node", "remove this"
            if "nodes" in known:
                what, hint = "listens to nodes, it does not read from them", "name them under nodes:"
            yield key, "unknown-option", f"{owner} {what}", hint
            continue
        if key == "queue" and "type" in known:
            yield key, "unknown-option", f"{owner} has no option 'queue'", "a source has no inbox; remove this"
            continue
        value = finding.instance[key]
        if isinstance(value, dict) and "type" in value and ("enabled" in known or "nodes" in known):
            yield key, "unknown-option", f"{key!r} looks like a node", "indent it as its neighbours under nodes:"
            continue
        hint = did_you_mean(key, known) or ("known: " + ", ".join(known) if known else "")
        yield key, "unknown-option", f"{owner} has no option {key!r} here", hint


def _missing(finding: Finding, owner: str) -> Iterator[Sentence]:
    for key in finding.limit:
        if key not in finding.instance and f"'{key}' is" in finding.message:
            known = finding.schema["properties"]
            if did_you_mean(key, [name for name in finding.instance if name not in known]):
                continue  # its misspelling is reported already, with the right name
            yield None, "missing-option", f"{key!r} is missing", _explain(known.get(key, {}))


def _type(finding: Finding, owner: str) -> Iterator[Sentence]:
    yield None, *_wrong_type(finding.instance, finding.schema)


def _wrong_type(value: Data, schema: Schema) -> tuple[str, str, str]:
    wants = describe(schema)
    kind = schema.get(KIND)
    if kind == "secret":
        return "type", f"this is not {wants}", "put it in quotes, or read it by ${NAME} or ${secret:name}"
    if value is None:
        return "type", "there is no value", f"{_explain(schema)}; give one, or remove the line"
    if kind in QUANTITIES and isinstance(value, int | float) and not isinstance(value, bool):
        return "unit", *no_unit(value, kind)
    message = f"{_show(value)} is not {wants}"
    if schema.get("type") == "string" and isinstance(value, bool | int | float):
        return "type", message, f"put it in quotes: '{_plain(value)}'"
    if schema.get("type") == "boolean":
        word = {**dict.fromkeys(_YES, "true"), **dict.fromkeys(_NO, "false")}.get(str(value).lower())
        return "type", message, f"write {word}" if word else ""
    if schema.get("type") == "array" and not isinstance(value, dict):
        return "type", message, f"write [{_plain(value)}]"
    if isinstance(value, str) and "a number" in wants and (comma := _DECIMAL_COMMA.fullmatch(value)):
        point = f"write {comma[1]}.{comma[2]}"
        grouped = f", or {comma[1]}{comma[2]} if the comma marks thousands" if len(comma[2]) == 3 else ""
        return "type", message, point + grouped
    if isinstance(value, dict | list):
        return "type", message, _explain(schema) if "description" in schema else ""
    if isinstance(value, str) and "number" in wants and _is_number(value):
        return "type", message, f"write {value} without quotes"
    return "type", message, ""


_YES = ("yes", "y", "on", "1", "true")
_NO = ("no", "n", "off", "0", "false")


def _is_number(text: str) -> bool:
    try:
        value = scalar(text)
    except ValueError:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool)


def _any_of(finding: Finding, owner: str) -> Iterator[Sentence]:
    quantities = [branch for branch in finding.schema["anyOf"] if branch.get(KIND) in PARSERS]
    schema = quantities[0] if quantities and isinstance(finding.instance, int | float) else finding.schema
    yield None, *_wrong_type(finding.instance, schema)


def _enum(finding: Finding, owner: str) -> Iterator[Sentence]:
    wants = describe({"enum": finding.limit})
    near = did_you_mean(str(finding.instance), [str(one) for one in finding.limit])
    yield None, "value", f"{_show(finding.instance)} is not {wants}", near


def _range(finding: Finding, owner: str) -> Iterator[Sentence]:
    words = {
        "minimum": "less than",
        "maximum": "more than",
        "exclusiveMinimum": "not more than",
        "exclusiveMaximum": "not less than",
    }
    limit = finding.limit
    limit = int(limit) if float(limit).is_integer() else limit
    message = f"{_show(finding.instance)} is {words[finding.validator]} {limit}"
    yield None, "range", message, f"it takes {describe(finding.schema)}"


def _empty(finding: Finding, owner: str) -> Iterator[Sentence]:
    yield (finding.instance if finding.of_key else None), "empty", "it is empty", _explain(finding.schema)


def _length(finding: Finding, owner: str) -> Iterator[Sentence]:
    key = finding.instance if finding.of_key else None
    yield key, "value", f"{_show(finding.instance)} is too long", f"at most {finding.limit} characters"


def _pattern(finding: Finding, owner: str) -> Iterator[Sentence]:
    key = finding.instance if finding.of_key else None
    what, form = FORMS.get(finding.limit, ("", ""))
    example = str(finding.schema.get("examples", [""])[0])
    hint = form or (f"write it like {example}" if example else f"it must match {finding.limit}")
    shown = _show(finding.instance)
    yield key, "name", f"{shown} cannot be {what}" if what else f"{shown} is not of the right form", hint


def _other(finding: Finding, owner: str) -> Iterator[Sentence]:
    yield None, "value", finding.message, ""


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
    "maxLength": _length,
    "pattern": _pattern,
}


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show(value: Data) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else _plain(value)
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]
