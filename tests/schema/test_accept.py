"""What the plain function of a schema accepts, jsonschema accepts; and it accepts every good node."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flowrunner.registry import Registry
from flowrunner.schema.accept import accepting

REGISTRY = Registry()
TYPES = sorted(REGISTRY.names)
WORDS = st.sampled_from(["", "soc_percent", "30s", "BUY", "x" * 70, "a b", "meter.above", "not-a-field", "5"])
SCALARS = st.one_of(
    WORDS, st.sampled_from([0, 1, 2, 3, -1, 1.0, 0.5, 1e9, True, False, None, 502, 70000, 2**70]), st.integers(0, 70000)
)


def data(schema: dict[str, Any], draw: Any, depth: int = 0) -> Any:
    """Something that may be right or wrong by ``schema``, and mostly nearly is right."""
    if draw(st.integers(0, 9)) == 0 or depth > 5:
        return draw(st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(WORDS, SCALARS, max_size=2)))
    if "anyOf" in schema:
        return data(draw(st.sampled_from(schema["anyOf"])), draw, depth)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if schema.get("type") == "object":
        own = schema.get("properties", {})
        names = [
            *schema.get("required", []),
            *draw(st.lists(st.sampled_from(sorted(own)), max_size=4) if own else st.just([])),
        ]
        found = {name: data(own[name], draw, depth + 1) for name in names}
        if isinstance(schema.get("additionalProperties"), dict):
            for name in draw(st.lists(WORDS, max_size=2)):
                found[name] = data(schema["additionalProperties"], draw, depth + 1)
        return found
    if schema.get("type") == "array":
        return [data(schema.get("items", {}), draw, depth + 1) for _ in range(draw(st.integers(0, 2)))]
    return draw(SCALARS)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_it_accepts_nothing_that_is_wrong_and_refuses_nothing_that_is_right(source: st.DataObject) -> None:
    form = REGISTRY.get(source.draw(st.sampled_from(TYPES))).form
    one = data(form.schema, source.draw)
    right = Draft202012Validator(form.schema).is_valid(one)
    if form.accepts(one):
        assert right
    elif right:  # only a number like 1.0 for a whole one goes the longer way
        assert "1.0" in repr(one) or "000.0" in repr(one) or "True" in repr(one) or "False" in repr(one)


def test_a_keyword_that_it_does_not_know_is_left_to_jsonschema() -> None:
    assert not accepting({"type": "string", "format": "date"})("2025-01-25")
    assert not accepting({"const": 1})(1)
