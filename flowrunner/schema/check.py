"""A part of a flow file against its strict schema: plain data, what it refers to, and every problem with its place."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from flowrunner.errors import Mark
from flowrunner.flowfile.document import Branch, Document, Items, Leaf, Step, Tree, find, mark_of, spell
from flowrunner.schema.accept import accepting
from flowrunner.schema.sentences import Finding, no_unit, sentences
from flowrunner.schema.types import KIND, PARSERS
from flowrunner.schema.walk import Schema, describe

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Data = Any
_VALUE = re.compile(r"write ([^\s\[]+)")
"""A hint that is nothing but the value to write."""


class Form:
    """A strict schema, ready to check with: made once for each type, used for every node."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.accepts = accepting(schema)

    @cached_property
    def validator(self) -> Draft202012Validator:
        """Asked only of what is not accepted: to say what is wrong with it."""
        from jsonschema import Draft202012Validator  # late: it takes long, and a good file has no need of it

        return Draft202012Validator(self.schema)


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


def bind(document: Document, path: list[Step], form: Form, owner: str) -> Bound:
    """Check the part of ``document`` at ``path`` against ``form``; problems are added to the document.

    ``owner`` names the thing in messages: "modbus-in", "a flow". Nothing is said of what is broken already.
    """
    tree = find(document.root, path)
    reading = _Reading()
    data = reading.plain(tree, form.schema, path)
    before = len(document.problems)
    if not form.accepts(data):
        for error in form.validator.iter_errors(data):
            for one in Finding.of(error).meant():
                _report(document, path, one, owner)
    _check_kinds(document, reading.refs)
    sound = len(document.problems) == before and not reading.broken
    return Bound(data if sound else None, reading.refs)


# ---- from tree to data, led by the schema ---------------------------------------------------------------


class _Reading:
    """One walk: plain data, the references in it, and whether any of it is broken."""

    def __init__(self) -> None:
        self.refs: list[Ref] = []
        self.broken = False

    def plain(self, tree: Tree, schema: Schema, path: list[Step]) -> Data:
        schema = _branch_for(schema, tree)
        if isinstance(tree, Branch):
            self.broken = self.broken or tree.broken
            own = schema.get("properties", {})
            other = schema.get("additionalProperties")
            keys = schema.get(f"{KIND}-keys")
            data = {}
            for key, value in tree.items.items():
                if keys:
                    self.refs.append(Ref(keys, key, [*path, key], None, tree.keys[key]))
                below = own.get(key, other if isinstance(other, dict) else {})
                data[key] = self.plain(value, below, [*path, key])
            return data
        if isinstance(tree, Items):
            below = schema.get("items", {})
            return [self.plain(item, below, [*path, index]) for index, item in enumerate(tree.items)]
        self.broken = self.broken or tree.broken
        value = _typed(tree, schema)
        if isinstance(value, str) and KIND in schema and not tree.broken:
            self.refs.append(Ref(schema[KIND], value, path, tree, tree.mark))
        return value


def _typed(leaf: Leaf, schema: Schema) -> Data:
    """A leaf that was one ``${…}`` takes the type that its schema asks for; 1e3 is a whole number where one is due."""
    if isinstance(leaf.value, float) and leaf.value.is_integer() and schema.get("type") == "integer":
        return int(leaf.value)
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


# ---- problems ------------------------------------------------------------------------------------------


def _report(document: Document, base: list[Step], finding: Finding, owner: str) -> None:
    path: list[Step] = [*base, *finding.path]
    about = find(document.root, path)
    if about.broken:
        return
    for key, code, message, hint in sentences(finding, owner):
        place, mark = path, mark_of(document.root, path)
        if key is not None and isinstance(about, Branch):
            place, mark = [*path, key], about.keys.get(key, mark)
        if isinstance(about, Leaf) and about.secrets:
            message, hint = f"the value of {about.substituted or 'this text'} is not {describe(finding.schema)}", ""
        elif isinstance(about, Leaf) and about.variables:
            message += f" (from {about.variables})"
            if finding.validator not in ("enum", "minimum", "maximum"):
                value = _VALUE.fullmatch(hint)
                hint = f"set {about.substituted} to {value[1]}" if value and about.substituted.isupper() else ""
        document.report(mark, code, message, path=spell(place), hint=hint, quotes=False)


def _check_kinds(document: Document, refs: list[Ref]) -> None:
    """Texts that must parse whatever surrounds them: durations, rates, sizes."""
    for ref in refs:
        parse = PARSERS.get(ref.kind)
        if parse is None:
            continue
        try:
            parse(ref.text)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            leaf = ref.leaf
            if leaf is not None and isinstance(leaf.value, int | float):  # ${SECONDS} that holds a bare number
                message, hint = no_unit(leaf.value, ref.kind)
            if leaf is not None and leaf.variables:
                message += f" (from {leaf.variables})"
            document.report(ref.mark, "unit", message, path=spell(ref.path), hint=hint)
