"""HTTP's plain values: bodies as JSON, rates, keys."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.http import (
    MAX_DEPTH,
    TokenBuckets,
    _looked_at,
    key_fault,
    missing_key,
    not_finite,
    parse_json,
    retry_after,
    same_key,
    wrong_media,
)
from flowrunner.units import SECOND

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
)


@given(values)
def test_json_comes_through_as_it_is(value: Any) -> None:
    found = parse_json(json.dumps(value).encode())
    assert found == value
    assert json.dumps(found) == json.dumps(value), "integers stay integers"


@given(st.binary(max_size=300))
def test_any_bytes_are_json_or_a_sentence(body: bytes) -> None:
    said = ""
    try:
        parse_json(body)
    except ValueError as error:
        said = str(error)
    assert not said or said.startswith("the body ")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 2.0**64),
        ("-9223372036854775809", -(2.0**63)),
        ("1" + "0" * 400, math.inf),
        ("-1" + "0" * 5000, -math.inf),
    ],
)
def test_integers_that_nothing_can_hold_become_floats(body: str, value: float) -> None:
    found = parse_json(body.encode())
    assert (found, type(found)) == (value, type(value))


names = st.one_of(st.sampled_from(["a", "b", ":", "a:b", '"', "\\", "é"]), st.text(max_size=3))
small = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -0.0, 5e-324, ":", "a: 1, b", '":', "\\:"]),
    st.lists(st.integers(), max_size=1),
)  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a": 1, "a": "\u003a"}', rb'{"\u003a": 1, "\u003a": 2}', b'{"a": 1, "a": 2}', b'{"a:": 1, "a:": 2}',
        b'{"a": ":", "a": ""}', b'{"a": "", "a": ":"}', b'{"a:b": ":", "c": "d:"}',
    ],
)  # fmt: skip
def test_names_that_come_twice_are_found_among_colons(body: bytes) -> None:
    assert spoken(parse_json, body) == spoken(_looked_at, body)


@given(st.lists(st.tuples(names, small), max_size=4), st.booleans())
def test_an_ordinary_record_is_read_the_same_both_ways(pairs: list[tuple[str, Any]], escaped: bool) -> None:
    """Quickly and with care; names may come twice."""
    members = [f"{json.dumps(name, ensure_ascii=escaped)}: {json.dumps(one)}" for name, one in pairs]
    body = ("{" + ", ".join(members) + "}").encode()
    assert spoken(parse_json, body) == spoken(_looked_at, body)


@given(
    st.one_of(st.binary(max_size=40), st.text(alphabet='{}[]":,.0123456789eE+-\\uN \n', max_size=40).map(str.encode))
)
def test_any_bytes_are_read_the_same_both_ways(body: bytes) -> None:
    assert spoken(parse_json, body) == spoken(_looked_at, body)
    assert spoken(parse_json, b'{"a":' + body + b"}") == spoken(_looked_at, b'{"a":' + body + b"}")


def spoken(parse: Callable[[bytes], object], body: bytes) -> str:
    """What comes of it, types and signs of zeros too."""
    try:
        return repr(parse(body))
    except ValueError as error:
        return str(error)


def test_the_depth() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    with pytest.raises(ValueError, match="more than 64 levels"):
        parse_json(b"[" * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "body",
    [
        "{" + ",".join(f'"{number}": 1' for number in range(6000)) + ', "5999": 2}',
        '{"' + "k" * 30_000 + '": [' + ",".join(["1"] * 15_000) + "]}",
        "[" * 30_000,
        "1" * 65_000,
    ],
    ids=["many keys and one twice", "a long way to many values", "deep", "a long number"],
)
def test_64_kb_are_read_quickly_whatever_they_hold(body: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ValueError):
        not_finite(parse_json(body.encode()))
    assert time.process_time() - began < 0.5


@given(values, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_number_that_is_none_is_found(value: Any, wrong: float) -> None:
    has_infinity = any(word in json.dumps(value) for word in ("Infinity", "NaN")) and not_finite(value) is not None
    assert not_finite({"a b": [1, {"c": [value, wrong]}]}) is not None
    assert has_infinity or not_finite(value) is None


def test_the_way_to_it() -> None:
    assert not_finite({"a": [1, {"b": math.nan}], "c": math.inf}) == "a[1].b"
    assert not_finite(math.nan) == ""
    assert not_finite({"a": "NaN"}) is None


# ---- rates -----------------------------------------------------------------------------------------------------


@given(
    st.sampled_from([1 / 3600, 2 / 60, 0.3, 1.0, 3.0, 50.0, 1000.0]),
    st.lists(st.one_of(st.just(0), st.integers(0, 200 * SECOND)), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_and_who_waits_gets_in(rate: float, gaps: list[int]) -> None:
    buckets, now = TokenBuckets(rate), 0
    for taken, gap in enumerate(gaps, 1):
        now += gap
        wait = buckets.take("a", now)
        assert wait >= 0
        if wait:
            now += math.ceil(wait * SECOND)
            assert buckets.take("a", now) == 0
        assert taken <= max(1, rate) + rate * now / SECOND + 1e-6


def test_clients_do_not_take_from_one_another_and_are_forgotten() -> None:
    buckets = TokenBuckets(1)
    assert [buckets.take("a", 0), buckets.take("b", 0)] == [0, 0]
    assert buckets.take("a", 0) == 1
    for number in range(TokenBuckets.MAX_CLIENTS):
        buckets.take(f"other {number}", 0)
    assert buckets.take("a", 0) == 0, "as if it were new"
    assert len(buckets._clients) <= TokenBuckets.MAX_CLIENTS


def test_a_clock_that_goes_back() -> None:
    buckets = TokenBuckets(1)
    buckets.take("a", 100 * SECOND)
    assert buckets.take("a", 0) == 1
    assert buckets.take("a", SECOND) == 0


def test_retry_after_is_never_too_early() -> None:
    assert retry_after(0.01) == {"retry-after": "1"}
    assert retry_after(1.01) == {"retry-after": "2"}


# ---- keys ------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.text())
def test_a_key_fits_itself_alone(key: str, other: str) -> None:
    sent = key.encode("utf-8", "surrogatepass").decode("latin-1")
    if not any(0xD800 <= ord(char) < 0xE000 for char in key):
        assert same_key(sent, key)
    assert same_key(other, key) == (other.encode("latin-1", "replace") == key.encode("utf-8", "surrogateescape"))


def test_a_key_of_bytes_that_are_no_text() -> None:
    assert same_key(b"ab\xff".decode("latin-1"), b"ab\xff".decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(("key", "fault"), [("", ""), ("a b", ""), ("ä€", ""), (" a", "space"), ("a\n", "space")])
def test_keys_that_no_request_can_carry(key: str, fault: str) -> None:
    assert fault in key_fault(key)
    assert bool(key_fault(key)) == bool(fault)


def test_control_characters_in_a_key() -> None:
    assert key_fault("a\x00b") == "it holds a control character, which no request can send"


def test_the_refusal_says_missing_or_wrong_and_never_the_key() -> None:
    assert missing_key("").body == {"error": "unauthorized", "detail": "the header X-API-KEY is missing"}
    assert missing_key("guess").body == {"error": "unauthorized", "detail": "the header X-API-KEY is wrong"}


@given(st.text(max_size=40))
def test_any_content_type(text: str) -> None:
    assert wrong_media({"content-type": text}) != "" or text.lower().partition(";")[0].strip() == "application/json"
