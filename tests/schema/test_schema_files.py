"""The committed schemas are those of the code, and what an editor accepts is what the check accepts."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from flowrunner.flowfile import TILES
from flowrunner.node import NewField
from flowrunner.reference import flow_schema, node_schema, schema_files
from flowrunner.registry import Envelope, Registry
from flowrunner.schema import schema_of
from flowrunner.schema.types import FIELD_NAME, KIND, QUANTITIES

ROOT = Path(__file__).resolve().parent.parent.parent
REGISTRY = Registry()
EDITOR = Draft7Validator(flow_schema(REGISTRY))
RENEW = "the options changed; if that is meant, run: flowrunner schema --write schemas"


def errors(validator: Any, data: object) -> list[str]:
    return [f"{list(error.absolute_path)}: {error.message}"[:300] for error in validator.iter_errors(data)]


def in_flow(node: dict[str, Any]) -> dict[str, Any]:
    return {"flow": "f", "nodes": {"node": node}}


def yaml_12(text: str) -> Any:
    """As an editor reads it: YAML 1.2 scalars. What flows use of 1.1 is the same."""
    return yaml.safe_load(text)


# ---- drift -----------------------------------------------------------------------------------------------------


def test_the_committed_schemas_are_those_of_the_code() -> None:
    folder = ROOT / "schemas"
    committed = {file.relative_to(folder).as_posix(): file.read_text("utf-8") for file in folder.rglob("*.json")}
    made = schema_files(REGISTRY)
    assert committed.keys() == made.keys(), RENEW
    assert [name for name in made if made[name] != committed[name]] == [], RENEW


def test_the_schemas_are_schemas() -> None:
    Draft7Validator.check_schema(flow_schema(REGISTRY))
    for name in REGISTRY.names:
        kind = REGISTRY.get(name)
        Draft7Validator.check_schema(node_schema(kind))
        Draft202012Validator.check_schema(kind.form.schema)
        assert kind.form.schema == kind.schema()


def test_a_form_of_a_name_is_told_in_words() -> None:
    assert msgspec.json.schema(NewField)["pattern"] == FIELD_NAME


# ---- what an editor says ------------------------------------------------------------------------------------------


def test_the_flow_that_ships_is_good_in_an_editor() -> None:
    assert errors(EDITOR, yaml_12((ROOT / "flows" / "bess.yaml").read_text("utf-8"))) == []


def scalars(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from scalars(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from scalars(value, (*path, index))
    else:
        yield path


def test_every_scalar_may_be_a_substitution() -> None:
    data = yaml_12((ROOT / "flows" / "bess.yaml").read_text("utf-8"))
    count = 0
    for path in scalars(data):
        if (path[-1] == "type" and len(path) == 3) or path[-1] == "tile":
            continue  # the type chooses the options
        changed = copy.deepcopy(data)
        functools.reduce(lambda at, step: at[step], path[:-1], changed)[path[-1]] = "${NAME:-x}"
        assert errors(EDITOR, changed) == [], path
        count += 1
    assert count > 100


@pytest.mark.parametrize("name", REGISTRY.names)
def test_an_unknown_option_is_red_wherever_it_stands(name: str) -> None:
    kind = REGISTRY.get(name)
    good = {**least(kind.form.schema), "type": name}
    assert errors(EDITOR, in_flow(good)) == []
    assert errors(EDITOR, in_flow(good | {"optoin": 1}))
    assert errors(EDITOR, in_flow(good | {"queue": {"siez": 1}}))
    for option, schema in kind.form.schema["properties"].items():
        if schema.get("properties"):
            assert errors(EDITOR, in_flow(good | {option: {"optoin": 1}}))
        below = schema.get("additionalProperties")
        if isinstance(below, dict) and below.get("properties"):
            entry = least(below)
            assert errors(EDITOR, in_flow(good | {option: {"name": entry | {"optoin": 1}}}))


@pytest.mark.parametrize("name", TILES)
def test_an_unknown_option_of_a_tile_is_red(name: str) -> None:
    def shown(tile: dict[str, Any]) -> list[str]:
        return errors(EDITOR, in_flow({"type": "log"}) | {"dashboard": {"tiles": [tile]}})

    good = {**least(schema_of(TILES[name])), "tile": name}
    assert shown(good) == []
    assert shown(good | {"optoin": 1})
    assert shown(good | {"tile": f"{name}s"})
    assert shown({key: value for key, value in good.items() if key != "tile"})


def test_an_unknown_type_and_key_are_red() -> None:
    assert errors(EDITOR, in_flow({"type": "treshold"}))
    assert errors(EDITOR, in_flow({}))
    assert errors(EDITOR, in_flow({"type": "log"}) | {"flw": 1})
    assert errors(EDITOR, {"flow": "f", "nodes": {}})
    assert errors(EDITOR, {"flow": "Battery North", "nodes": {"a": {"type": "log"}}})


@pytest.mark.parametrize("value", [30, "30", "5 minutes", "-5s", ""])
def test_a_time_without_a_unit_is_red(value: object) -> None:
    assert errors(EDITOR, in_flow({"type": "inject", "every": value}))


# ---- strict and editor agree --------------------------------------------------------------------------------------


def least(schema: dict[str, Any]) -> Any:
    """The smallest value that a strict schema accepts."""
    return next(values(schema))


def values(schema: dict[str, Any]) -> Iterator[Any]:
    """Some values of a strict schema: the smallest first."""
    if "anyOf" in schema:
        for branch in schema["anyOf"]:
            yield from values(branch)
    elif "enum" in schema:
        yield from schema["enum"]
    elif schema.get(KIND) in QUANTITIES:
        yield from schema["examples"]
    elif schema.get("type") == "object":
        own = schema.get("properties", {})
        required = {key: least(own[key]) for key in schema.get("required", [])}
        other = schema.get("additionalProperties")
        if schema.get("minProperties") and isinstance(other, dict):
            required["name"] = least(other)
        yield required
        for key, below in own.items():
            yield from (required | {key: value} for value in values(below))
        if isinstance(other, dict):
            yield from (required | {"name": value} for value in values(other))
    elif schema.get("type") == "array":
        one = least(schema["items"])
        yield from ([[one], [one, one]] if schema.get("minItems") else [[], [one]])
    elif schema.get("type") == "string":
        yield schema.get("examples", ["name"])[0]
        yield "${literally} 30s {x}"[: schema.get("maxLength")] if "pattern" not in schema else "name"
    elif schema.get("type") in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        yield from (low, schema.get("maximum", low + 5))
    elif schema.get("type") == "boolean":
        yield from (True, False)
    else:
        yield from (1, "text", [1], {"a": None})


@pytest.mark.parametrize("name", REGISTRY.names)
def test_what_the_check_takes_is_not_red(name: str) -> None:
    kind = REGISTRY.get(name)
    count = 0
    for data in values(kind.form.schema):
        if errors(kind.form.validator, data):
            continue  # a pattern that these simple values do not fit
        assert errors(EDITOR, in_flow(data)) == []
        count += 1
    assert count > 15


NO_TEXT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "field", "min", "size"]), inner, max_size=2)
    ),
    max_leaves=5,
)
OPTIONS = {name: sorted(REGISTRY.get(name).form.schema["properties"].keys() - {"type"}) for name in REGISTRY.names}


@settings(deadline=None)
@given(st.data(), st.sampled_from(REGISTRY.names))
def test_without_texts_the_two_agree(data: st.DataObject, name: str) -> None:
    """Of texts each knows something of its own: the editor the form of quantities, the check what is no ``${…}``."""
    kind = REGISTRY.get(name)
    options = data.draw(st.dictionaries(st.sampled_from(OPTIONS[name]), NO_TEXT, max_size=2))
    node = least(kind.form.schema) | options
    assert bool(errors(kind.form.validator, node)) == bool(errors(EDITOR, in_flow(node)))


def test_no_envelope_option_is_an_option_of_a_type() -> None:
    envelope = set(schema_of(Envelope)["properties"])
    for name in REGISTRY.names:
        assert not envelope & set(schema_of(REGISTRY.get(name).cls.Options)["properties"])


def test_jsonschema_says_what_the_sentences_are_made_of() -> None:
    """`schema.sentences` tells missing keys apart by jsonschema's own text."""
    (error,) = jsonschema.Draft202012Validator({"required": ["a", "b"]}).iter_errors({"b": 1})
    assert error.message == "'a' is a required property"
