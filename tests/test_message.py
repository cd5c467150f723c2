"""The message: never changed, derived without its parents, and what is known of each field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.message import FUTURE_TOLERANCE_NS, FieldInfo, Message, Quality, oldest, worst
from flowrunner.units import SECOND

INSTANTS = st.integers(0, 10**18)
QUALITY = st.sampled_from(["good", "uncertain", "bad"])
INFOS = st.builds(
    FieldInfo,
    at=INSTANTS,
    received_at=INSTANTS,
    source=st.text(max_size=5),
    origin=st.sampled_from(["automatic", "manual", "simulated", "planned"]),
    quality=QUALITY,
    valid_from=st.none() | INSTANTS,
    valid_until=st.none() | INSTANTS,
    unit=st.none() | st.text(max_size=5),
)
PATHS = st.none() | st.lists(st.text(max_size=5), max_size=5).map(tuple)
MESSAGES = st.builds(
    Message,
    payload=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=4) | st.integers(),
    at=INSTANTS,
    received_at=INSTANTS,
    source=st.text(max_size=5),
    quality=QUALITY,
    key=st.text(max_size=5),
    fields=st.none() | st.dictionaries(st.text(max_size=5), INFOS, max_size=3),
    meta=st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
    root=st.none() | st.tuples(st.text(max_size=5), st.text(max_size=5)),
    path=PATHS,
)


def message(payload: Any = 1, **more: Any) -> Message:
    return Message(**{"payload": payload, "at": 5, "received_at": 6, "source": "meter", **more})


@given(MESSAGES)
def test_a_message_survives_the_store(one: Message) -> None:
    """http-in keeps whole messages in its state."""
    assert msgspec.json.decode(msgspec.json.encode(one), type=Message) == one


@given(MESSAGES, st.integers() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))
def test_derive_keeps_what_holds_and_leaves_lineage_to_the_runtime(one: Message, payload: Any) -> None:
    before = msgspec.json.encode(one)
    derived = one.derive(payload, quality="uncertain")
    assert msgspec.json.encode(one) == before
    assert (derived.payload, derived.quality, derived.root, derived.path) == (payload, "uncertain", None, None)
    for name in ("at", "received_at", "source", "origin", "key", "meta"):
        assert getattr(derived, name) == getattr(one, name)
    assert derived.fields == (one.fields if isinstance(payload, dict) else None)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        message().payload = 2  # type: ignore[misc]


def test_info_is_the_fields_own_or_the_messages() -> None:
    own = FieldInfo(at=1, received_at=2, source="old", quality="bad", unit="MW")
    one = message({"a": 1, "b": 2}, fields={"a": own, "gone": own}, quality="uncertain", origin="manual")
    assert one.info("a") is own
    assert one.info("b") == FieldInfo(at=5, received_at=6, source="meter", origin="manual", quality="uncertain")
    assert list(one.field_names()) == ["a", "b", "gone"]
    assert list(message(5).field_names()) == []
    assert one.as_info(unit="%").unit == "%"


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        ({}, ""),
        ({"quality": "bad"}, "bad"),
        ({"quality": "uncertain"}, "uncertain"),
        ({"at": 100 * SECOND + FUTURE_TOLERANCE_NS}, ""),
        ({"at": 100 * SECOND + FUTURE_TOLERANCE_NS + 1}, "from the future"),
        ({"valid_until": 100 * SECOND + 1}, ""),
        ({"valid_until": 100 * SECOND}, "stale"),
        ({"valid_from": 100 * SECOND}, ""),
        ({"valid_from": 100 * SECOND + 1}, "not valid yet"),
        ({"quality": "bad", "valid_until": 0}, "bad"),
    ],
)
def test_why_a_value_must_not_be_used(changes: dict[str, Any], trouble: str) -> None:
    given_info = {"at": 99 * SECOND, "received_at": 99 * SECOND, "source": "x", **changes}
    assert FieldInfo(**given_info).trouble(100 * SECOND) == trouble


@given(INFOS, INSTANTS)
def test_age_is_the_worse_of_event_and_arrival_and_never_negative(info: FieldInfo, now: int) -> None:
    assert info.age_ns(now) == max(0, now - min(info.at, info.received_at))


@given(st.lists(QUALITY))
def test_a_computed_value_is_no_better_than_its_worst_input(qualities: list[Quality]) -> None:
    expected = next((one for one in ("bad", "uncertain") if one in qualities), "good")
    assert worst(iter(qualities)) == expected


@given(st.dictionaries(st.text(max_size=3), INFOS, max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_the_oldest_of_what_was_used(infos: dict[str, FieldInfo], names: list[str]) -> None:
    used = [infos[name].at for name in names if name in infos]
    assert oldest(infos, iter(names)) == (min(used) if used else None)


@pytest.mark.parametrize(
    ("root", "path", "text"),
    [
        (None, None, "?"),
        (None, ("a", "b"), "? > a > b"),
        (("a", "1"), None, "a@1"),
        (("a", "1"), ("a",), "a@1"),
        (("a", "1"), ("a", "b", "c"), "a@1 > b > c"),
        (("a", "1"), ("b", "c"), "a@1 > b > c"),
    ],
)
def test_lineage_as_text(root: Any, path: Any, text: str) -> None:
    assert message(root=root, path=path).lineage() == text
