"""What is read from payloads: a finite number with its time and unit, or a reason."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.mqtt.payload import MAX_BYTES, MAX_DEPTH, BadPayload, Sample, parse_payload, read_sample
from flowrunner.pick import MISSING, pick
from flowrunner.units import parse_instant

AT = parse_instant("2025-01-25T20:30:00Z")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["%", "kW", "MW"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "timestamp", "unit", "a"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"75.5", 75.5),
        (b" [1, {}] ", [1, {}]),
        (b"null", None),
        (b'"on"', "on"),
        (b"on", "on"),
        (b"", ""),
        (b"NaN", "NaN"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b"-Infinity", "-Infinity"),
        (b"18446744073709551617", 18446744073709551617),
        ("wärm".encode(), "wärm"),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
        (b"[" + b"[]," * 100 + b"{}]", [[]] * 100 + [{}]),
    ],
)
def test_json_when_it_is_json_else_text(raw: bytes, value: object) -> None:
    assert parse_payload(raw) == value


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\xff\xfe", "not-utf8"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "too-deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "too-deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too-deep"),
        (b"[" * 100_000, "too-deep"),
        (b"1e999", "out-of-range"),
        (b"9" * 5000, "out-of-range"),
        (b" " * (MAX_BYTES + 1), "too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "raw",
)
def test_what_cannot_be_kept(raw: bytes, code: str) -> None:
    with pytest.raises(BadPayload) as caught:
        parse_payload(raw)
    assert caught.value.code == code


def test_pick() -> None:
    value = {"a": {"b": [10, {"c": None}]}, "": 1, "0": 2, "x.y": 3}
    assert pick(value, "") is value
    assert pick(value, "a.b.0") == 10
    assert pick(value, "a.b.1.c") is None
    assert pick(value, "0") == 2
    for path in ("a.b.2", "a.b.-1", "a.b.c", "z", "a.b.0.q", "x.y", "a.b.²", "a.b." + "9" * 5000):
        assert pick(value, path) is MISSING


@pytest.mark.parametrize(
    ("payload", "options", "sample"),
    [
        ({"value": 75.5, "timestamp": "2025-01-25T20:30:00Z", "unit": "%"}, {"target_unit": "%"}, (75.5, AT, "%")),
        ({"value": 2500, "unit": "kW"}, {"target_unit": "MW"}, (2.5, None, "MW")),
        ({"value": -2.5, "unit": "MW"}, {"target_unit": "MW"}, (-2.5, None, "MW")),
        ({"value": 28.3, "unit": "degC"}, {"target_unit": "°C"}, (28.3, None, "°C")),
        ({"value": 0, "unit": "degC"}, {}, (0, None, "°C")),
        ({"value": 1, "unit": "furlong"}, {}, (1, None, "furlong")),
        ({"value": 1}, {"target_unit": "MW"}, (1, None, "MW")),
        ({"value": 1, "timestamp": 1737837000}, {}, (1, AT, None)),
        ({"value": 1, "timestamp": 1737837000000}, {}, (1, AT, None)),
        ({"value": 1, "timestamp": 1737837000.25}, {}, (1, AT + 250_000_000, None)),
        ({"value": 1, "timestamp": "2025-01-25T21:30:00+01:00"}, {}, (1, AT, None)),
        (75.5, {"target_unit": "%"}, (75.5, None, "%")),
        (75.5, {"path": "soc.now"}, (75.5, None, None)),
        ({"d": [{"v": 3}], "t": 1737837000}, {"path": "d.0.v", "time": "t"}, (3, AT, None)),
        ([1, 2], {"path": "1"}, (2, None, None)),
    ],
)
def test_samples(payload: object, options: dict[str, Any], sample: tuple[Any, ...]) -> None:
    assert read_sample(json.dumps(payload).encode(), **options) == Sample(*sample)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not-json"),
        (b"warm", "not-json"),
        (b"\xff", "not-json"),
        (b"NaN", "not-json"),
        (b'{"value": NaN}', "not-json"),
        (b'{"value": 75,5}', "not-json"),
        (b"1e999", "out-of-range"),
        (b'{"value": 1' + b"0" * 400 + b"}", "out-of-range"),
        (b'{"value": 1e308, "unit": "GW"}', "out-of-range"),
        (b"null", "null-value"),
        (b"true", "not-a-number"),
        (b'"75.5"', "not-a-number"),
        (b"{}", "missing-value"),
        (b"[1]", "missing-value"),
        (b'{"Value": 1}', "missing-value"),
        (b'{"value": null}', "null-value"),
        (b'{"value": false}', "not-a-number"),
        (b'{"value": "75.5"}', "not-a-number"),
        (b'{"value": [1]}', "not-a-number"),
        (b'{"value": {"value": 1}}', "not-a-number"),
        (b'{"value": 1, "unit": "kWh"}', "unknown-unit"),
        (b'{"value": 1, "unit": "mW"}', "unknown-unit"),
        (b'{"value": 1, "unit": ""}', "bad-unit"),
        (b'{"value": 1, "unit": null}', "bad-unit"),
        (b'{"value": 1, "unit": 5}', "bad-unit"),
        (b'{"value": 1, "timestamp": null}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": true}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": "yesterday"}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": "2025-01-25T20:30:00"}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": "1737837000"}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": "0001-01-01T00:00:00+14:00"}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": 12345}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": -5}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": 1e300}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": 1737837000000000000}', "bad-timestamp"),
        (b'{"value": 1, "timestamp": {}}', "bad-timestamp"),
        (b"[" * 5000, "too-deep"),
    ],
)
def test_there_is_no_way_to_a_made_up_value(raw: bytes, code: str) -> None:
    with pytest.raises(BadPayload) as caught:
        read_sample(raw, target_unit="MW")
    assert caught.value.code == code
    assert caught.value.reason
    assert len(str(caught.value)) < 250


@given(st.binary(max_size=64) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_finite_number_or_a_reason(raw: bytes) -> None:
    try:
        sample = read_sample(raw, target_unit="MW")
    except BadPayload:
        pass
    else:
        assert type(sample.value) in (int, float)
        assert math.isfinite(sample.value)
        assert sample.unit == "MW"
    with contextlib.suppress(BadPayload):
        parse_payload(raw)


@given(JSON_VALUES.filter(lambda value: "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value)))
def test_json_comes_back_as_it_was(value: object) -> None:
    assert parse_payload(json.dumps(value).encode()) == value
