"""Signed frames: what is believed, and that nothing else is."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.exchange.signing import Distrusted, Envelopes, signature, signed
from flowrunner.units import SECOND, iso
from tests.exchange.simulated import NOON

KEY = "a-key-that-signs"
DATA = {"order_id": "1", "quantity_mwh": 1.0, "price": -45.5, "market": "Österreich", "filled": None}


class Opener(Envelopes):
    """With a clock that the test sets."""

    def __init__(self, kept: int = 100) -> None:
        self.now = NOON
        super().__init__(KEY, lambda: self.now, kept)


def frame(data: Any = DATA, at: int = NOON, key: str = KEY, **meta: Any) -> str:
    return signed(key.encode(), iso(at), data, **meta)


def altered(change: Any) -> str:
    made = json.loads(frame())
    change(made)
    return json.dumps(made, separators=(",", ":"))


def test_what_is_signed_is_opened() -> None:
    assert Opener().open(frame()) == DATA
    assert Opener().open(frame(key_id="one", channel="orders", seq=7)) == DATA
    assert Opener().open(frame([1, "two"])) == [1, "two"]


@pytest.mark.parametrize("spelled", ['{"b": 1.50, "a":"\\u00d6"}', '{"a":1e2}', "[ ]"])
def test_the_signature_counts_over_the_bytes_as_they_came(spelled: str) -> None:
    """However the exchange spells its JSON: what it signed is what it sent."""
    digest = hmac.digest(KEY.encode(), f"{iso(NOON)}|{spelled}".encode(), "sha256")
    sig = base64.b64encode(digest).decode()
    text = f'{{"meta": {{"ts": "{iso(NOON)}", "sig": "{sig}", "algo": "HMAC-SHA256"}}, "data": {spelled}}}'
    assert Opener().open(text) == json.loads(spelled)


def test_the_signature_counts_over_compact_json_too() -> None:
    assert Opener().open(json.dumps(json.loads(frame()), indent=2, ensure_ascii=False)) == DATA


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (frame(key="another"), "a frame's signature is wrong; is the key right?"),
        (altered(lambda made: made["data"].update(quantity_mwh=100.0)), "a frame's signature is wrong"),
        (altered(lambda made: made["meta"].update(ts=iso(NOON + SECOND))), "a frame's signature is wrong"),
        (altered(lambda made: made["meta"].update(sig="")), "a frame's signature is wrong"),
        (altered(lambda made: made["meta"].update(sig="ä")), "a frame's signature is wrong"),
        (
            altered(lambda made: made["meta"].update(algo="none")),
            "a frame is signed in another way than by HMAC-SHA256",
        ),
        (altered(lambda made: made["meta"].update(algo=None)), "a frame is no signed message"),
        (altered(lambda made: made["meta"].pop("sig")), "a frame is no signed message"),
        (altered(lambda made: made.pop("meta")), "a frame is no signed message"),
        (altered(lambda made: made.pop("data")), "a frame is no signed message"),
        (frame(at=NOON - 301 * SECOND), "the time of a frame is 301 s behind ours"),
        (frame(at=NOON + 301 * SECOND), "the time of a frame is 301 s ahead of ours"),
        (signed(KEY.encode(), "1772452800", DATA), "the time of a frame is no time with a zone"),
        (signed(KEY.encode(), "2026-03-02T12:00:00", DATA), "the time of a frame is no time with a zone"),
        ("", "a frame is no signed message"),
        ("[]", "a frame is no signed message"),
        ("[" * 50_000, "a frame is no signed message"),
        (frame().replace('"data":{', '"data":{"a":NaN,'), "a frame is no signed message"),
        (frame()[:-5], "a frame is no signed message"),
    ],
)
def test_anything_else_is_not(text: str, why: str) -> None:
    with pytest.raises(Distrusted) as caught:
        Opener().open(text)
    told = str(caught.value)
    assert told.startswith(why)
    assert KEY not in told
    assert "45.5" not in told


@pytest.mark.parametrize("aside", [-300, 0, 300])
def test_a_frame_counts_once_within_the_window(aside: int) -> None:
    opener = Opener()
    text = frame(at=NOON + aside * SECOND)
    assert opener.open(text) == DATA
    for spelled in (text, json.dumps(json.loads(text), indent=1), altered_seq(text)):
        with pytest.raises(Distrusted, match="a frame came a second time"):
            opener.open(spelled)
    assert opener.open(frame(DATA | {"order_id": "2"}, at=NOON + aside * SECOND))["order_id"] == "2"


def altered_seq(text: str) -> str:
    made = json.loads(text)
    made["meta"]["seq"] = 99  # which nobody signs
    return json.dumps(made, separators=(",", ":"))


def test_what_is_behind_the_window_is_forgotten_and_stays_refused() -> None:
    opener = Opener()
    opener.open(frame())
    opener.now += 301 * SECOND
    opener.open(frame(at=opener.now))
    assert len(opener._seen) == 1
    with pytest.raises(Distrusted, match="old"):
        opener.open(frame())
    opener.now = NOON  # our clock is set back: what was forgotten is within the window again
    with pytest.raises(Distrusted, match="a second time"):
        opener.open(frame())


def test_the_memory_is_bounded_and_forgets_towards_refusal() -> None:
    opener = Opener(kept=10)
    texts = [frame(at=NOON + number * 1_000_000) for number in range(30)]
    for text in texts:
        opener.open(text)
    assert len(opener._seen) == 10
    for text in texts:
        with pytest.raises(Distrusted, match="a second time"):
            opener.open(text)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4
    ),
    max_leaves=10,
)  # fmt: skip


@given(JSONS)
def test_whatever_json_is_signed_is_opened_and_under_no_other_key(data: Any) -> None:
    assert Opener().open(frame(data)) == data
    with pytest.raises(Distrusted):
        Opener().open(frame(data, key="another"))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")))
def test_no_garbage_breaks_the_reading(text: str) -> None:
    with pytest.raises(Distrusted):
        Opener().open(text)


@given(st.integers(0, 10**6), st.characters(codec="ascii"))
def test_no_single_letter_can_be_changed(at: int, letter: str) -> None:
    text = frame()
    at %= len(text)
    changed = text[:at] + letter + text[at + 1 :]
    try:
        assert Opener().open(changed) == DATA  # the letter was the same, or stands where it means nothing
    except Distrusted:
        assert changed != text


def test_the_signature_is_the_one_of_the_interface() -> None:
    """Computed apart: printf '2026-03-02T12:00:00.000Z|{"a":1}' | openssl dgst -sha256 -hmac key -binary | base64"""
    assert signature(b"key", "2026-03-02T12:00:00.000Z", {"a": 1}) == "8qWxssSipNRsa1G2KlZzGjA8YdrjHFczhVtA7gVb+ug="
