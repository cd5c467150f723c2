"""Addresses, topics and filters: plain values."""

from __future__ import annotations

import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from flowrunner.mqtt.address import Address, parse_address
from flowrunner.mqtt.overlap import without_overlap
from flowrunner.mqtt.topic import check_filter, check_topic, covers, matches, overlaps

LEVEL = st.sampled_from(["a", "b", "c", "", "$x"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(LEVEL | st.just("+"), max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)
FILTERS = st.dictionaries(FILTER, st.integers(0, 2), max_size=6)


@pytest.mark.parametrize(
    ("text", "address", "again"),
    [
        ("mqtt://localhost", Address("localhost", 1883), "mqtt://localhost:1883"),
        ("mqtts://broker.example", Address("broker.example", 8883, True), "mqtts://broker.example:8883"),
        (" MQTT://10.0.0.7:11883/ ", Address("10.0.0.7", 11883), "mqtt://10.0.0.7:11883"),
        ("mqtt://[::1]", Address("::1", 1883), "mqtt://[::1]:1883"),
        ("mqtts://[fe80::1%eth0]:1", Address("fe80::1%eth0", 1, True), "mqtts://[fe80::1%eth0]:1"),
        ("mqtt://my_broker:65535", Address("my_broker", 65535), "mqtt://my_broker:65535"),
    ],
)
def test_addresses(text: str, address: Address, again: str) -> None:
    assert parse_address(text) == address
    assert str(address) == again
    assert parse_address(again) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a broker address; write mqtt://host:1883"),
        ("localhost:1883", "is not a broker address"),
        ("tcp://localhost", "'tcp' is not a scheme of MQTT"),
        ("mqtt://", "names no host"),
        ("mqtt://:1883", "names no host"),
        ("mqtt://h:0", "'0' is not a port; it is a number from 1 to 65535"),
        ("mqtt://h:65536", "'65536' is not a port"),
        ("mqtt://h:", "'' is not a port"),
        ("mqtt://h:١", "is not a port"),
        ("mqtt://h:18 83", "is not a port"),
        ("mqtt://h/topic", "has a path"),
        ("mqtt://h ost", "'h ost' is not a host name"),
        ("mqtt://::1", "stands in brackets"),
        ("mqtt://[::1", "no IPv6 address in its brackets"),
        ("mqtt://[host]:1", "no IPv6 address in its brackets"),
        ("mqtt://[::1]1", "no IPv6 address in its brackets"),
    ],
)
def test_what_is_no_address(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("[", r"\[")):
        parse_address(text)


def test_a_login_in_the_address_is_refused_and_not_repeated() -> None:
    for text in ("mqtt://u:s3cret@h:1883", "u:s3cret@h"):
        with pytest.raises(ValueError, match="options username and password") as caught:
            parse_address(text)
        assert "s3cret" not in str(caught.value)


@given(st.text(max_size=40) | st.text("mqtts:/[]@.0123456789abcdef%", max_size=30).map("mqtt://{}".format))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert address.host
    assert 0 < address.port < 65536


@pytest.mark.parametrize(
    "good",
    ["a", "/", "a/b c/ü", "+", "#", "a/#", "+/+/#", "$SYS/#", "$share/g/a/+", "$share/g/#", "$share/g//", "x" * 65535],
)
def test_filters(good: str) -> None:
    check_filter(good)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "the filter is empty"),
        ("a/#/b", "# stands alone and last"),
        ("a#", "# stands alone and last"),
        ("a/b+", "one whole level"),
        ("++", "one whole level"),
        ("a\0", r"U\+0000"),
        ("\ud800", "lone surrogate"),
        ("ü" * 32768, "has 65536 bytes; 65535 are allowed"),
        ("$share", "shared subscription is written"),
        ("$share/", "shared subscription is written"),
        ("$share/g", "shared subscription is written"),
        ("$share/g/", "shared subscription is written"),
        ("$share//a", "shared subscription is written"),
        ("$share/g+/a", "shared subscription is written"),
        ("$share/g/a#", "# stands alone and last"),
    ],
)
def test_what_is_no_filter(bad: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_filter(bad)


def test_topics() -> None:
    check_topic("plant/7/power")
    for bad, reason in (("", "is empty"), ("a/+", "only in filters"), ("#", "only in filters"), ("\0", "U\\+0000")):
        with pytest.raises(ValueError, match=reason):
            check_topic(bad)


@given(FILTER, TOPIC)
def test_matching_as_paho_does(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == topic_matches_sub(pattern, topic)
    assert matches(f"$share/group/{pattern}", topic) == matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("sport/tennis/#", "sport/tennis", True),  # MQTT 5, 4.7.1.2
        ("sport/tennis/+", "sport/tennis", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/monitor", False),  # 4.7.2
        ("+/monitor", "$SYS/monitor", False),
        ("$SYS/#", "$SYS/monitor", True),
        ("a/#", "a/$x", True),
    ],
)
def test_matching_as_the_standard_says(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


@given(FILTER, FILTER, TOPIC)
def test_covering_and_overlapping_agree_with_matching(one: str, two: str, topic: str) -> None:
    if covers(one, two) and matches(two, topic):
        assert matches(one, topic)
    if matches(one, topic) and matches(two, topic):
        assert overlaps(one, two)
    assert overlaps(one, two) == overlaps(two, one)


@given(FILTER, FILTER)
def test_overlap_has_a_witness(one: str, two: str) -> None:
    """A topic that both match: each level from the one that is literal there, a # filled by the other."""
    if overlaps(one, two):
        left, right = one.split("/"), two.split("/")
        longest = max(len(left), len(right))
        tails = [(levels[:-1] if levels[-1] == "#" else levels) for levels in (left, right)]
        pairs = [[t[i] if i < len(t) else "+" for t in tails] for i in range(longest)]
        levels = [next((level for level in pair if level != "+"), "z") for pair in pairs]
        candidates = ["/".join(levels[:size]) for size in range(1, longest + 1)]
        assert any(matches(one, topic) and matches(two, topic) for topic in candidates)  # "" counts: nobody sends there


@given(FILTERS, st.sets(FILTER, max_size=3), TOPIC)
def test_without_overlap_brings_each_message_once(needed: dict[str, int], held: set[str], topic: str) -> None:
    wanted, crossed = without_overlap(needed, sorted(held))
    assert sum(matches(one, topic) for one in wanted) <= 1
    for pattern, qos in needed.items():
        if pattern not in crossed:
            assert any(covers(one, pattern) and wanted[one] >= qos for one in wanted)
    assert set(wanted) <= set(needed) | held
    assert not set(crossed) & set(wanted)


def test_a_wide_filter_stays_while_a_narrow_one_lives_by_it() -> None:
    assert without_overlap({"a/b": 1}, ["a/#", "c"]) == ({"a/#": 1}, {})
    assert without_overlap({"a/b": 1, "a/#": 0}, ["a/b"]) == ({"a/#": 1}, {})
    assert without_overlap({"a/+": 1, "+/b": 1, "x/b": 2}, []) == ({"a/+": 1, "x/b": 2}, {"+/b": "a/+"})
    assert without_overlap({"a": 1, "$share/g/a": 1, "$share/h/b": 0}, []) == (
        {"a": 1, "$share/h/b": 0},
        {"$share/g/a": "a"},
    )


def test_thousands_of_topics_are_planned_without_comparing_each_with_each() -> None:
    needed = {f"plant/{number}/power": 1 for number in range(2000)} | {"site/#": 2, "site/a": 1}
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        wanted, crossed = without_overlap(needed, ["old/topic"])
    finally:
        sys.setprofile(None)
    assert crossed == {}
    assert list(wanted) == [one for one in needed if one != "site/a"]
    assert calls < 20 * len(needed)
