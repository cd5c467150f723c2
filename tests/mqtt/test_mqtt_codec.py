"""Packets to bytes and back: any cut of the stream, any size, any nonsense; paho's tables are the measure of ours."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from flowrunner.mqtt.address import parse_address
from flowrunner.mqtt.codec import Hearing, Published, connect, pack, publish, published, subscribe
from flowrunner.mqtt.properties import Malformed, number, read_number
from flowrunner.mqtt.protocol import Speaker, Welcome
from flowrunner.mqtt.reasons import connect_refusal, goodbye, refusal
from flowrunner.mqtt.settings import Settings

names = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=60)
properties = st.fixed_dictionaries(
    {},
    optional={
        "expiry_s": st.integers(0, 0xFFFFFFFF),
        "content_type": names,
        "user": st.dictionaries(names, names, min_size=1, max_size=3),
    },
)
payloads = st.one_of(st.binary(max_size=40), st.integers(110, 140).map(bytes), st.integers(16_370, 16_400).map(bytes))
messages = st.tuples(names, payloads, st.sampled_from([0, 1, 2]), st.booleans(), st.integers(1, 65535), properties)


def said(message: tuple[str, bytes, int, bool, int, dict[str, Any]], *, five: bool) -> bytes:
    topic, payload, qos, retain, mid, more = message
    return publish(topic, payload, qos, retain, mid, pack(more, five=five))


def as_heard(message: tuple[str, bytes, int, bool, int, dict[str, Any]], *, five: bool) -> Published:
    topic, payload, qos, retain, mid, more = message
    return topic, payload, qos, retain, mid if qos else 0, False, more if five else {}, ()


@given(st.lists(messages, max_size=5), st.lists(st.integers(0, 40_000)), st.booleans())
def test_however_the_stream_is_cut_the_same_messages_come_out(several: list[Any], cuts: list[int], five: bool) -> None:
    stream = b"".join(said(one, five=five) for one in several)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    hearing, found = Hearing(), []
    for begin, end in itertools.pairwise(places):
        hearing.feed(stream[begin:end])
        found += [published(one, five=five) for one in hearing.packets()]
    assert found == [as_heard(one, five=five) for one in several]


def test_who_stops_between_two_packets_finds_the_next_later() -> None:
    hearing = Hearing()
    hearing.feed(said(("a", b"1", 0, False, 0, {}), five=True) + said(("a", b"2", 0, False, 0, {}), five=True))
    assert published(next(hearing.packets()), five=True)[1] == b"1"
    assert [published(one, five=True)[1] for one in hearing.packets()] == [b"2"]


def test_a_large_packet_in_many_parts_is_put_together_once() -> None:
    """Each part that comes must not copy all that was there before."""
    stream = said(("a", bytes(64 << 20), 0, False, 0, {}), five=True)
    hearing, found = Hearing(), []
    for begin in range(0, len(stream), 16_384):  # 4096 parts: 128 GB to copy, were it so
        hearing.feed(stream[begin : begin + 16_384])
        found += [len(published(one, five=True)[1]) for one in hearing.packets()]
    assert found == [64 << 20]


@given(st.integers(0, 0x0FFFFFFF))
def test_numbers_of_variable_length(value: int) -> None:
    packed = number(value)
    assert read_number(packed, 0, len(packed)) == (value, len(packed))
    with pytest.raises(Malformed):
        read_number(packed[:-1], 0, len(packed) - 1)


@given(properties)
def test_properties_are_those_of_paho(more: dict[str, Any]) -> None:
    make: Callable[[int], Any] = Properties
    theirs = make(PacketTypes.PUBLISH)
    if "expiry_s" in more:
        theirs.MessageExpiryInterval = more["expiry_s"]
    if "content_type" in more:
        theirs.ContentType = more["content_type"]
    if "user" in more:
        theirs.UserProperty = list(more["user"].items())
    ours = pack(more, five=True)
    assert len(ours) == len(theirs.pack())
    again = make(PacketTypes.PUBLISH)
    again.unpack(ours)
    assert again.json() == theirs.json()


def test_reasons_are_named_as_paho_names_them() -> None:
    known = {
        code: name
        for code, by_name in ReasonCode(PacketTypes.CONNACK).names.items()
        for name in by_name
        if code >= 0x80
    }
    assert len(known) > 30
    assert {code: refusal(code) for code in known} == known
    assert {code: goodbye(code) for code in known} == known
    assert [refusal(code) for code in (0, 1, 2, 0x10)] == [""] * 4
    assert refusal(0xFE) == "reason 0xfe"
    assert connect_refusal(4, five=False) == connect_refusal(0x86, five=True) == "Bad user name or password"
    assert connect_refusal(1, five=True) == connect_refusal(1, five=False) == "Unsupported protocol version"


SETTINGS = Settings(address=parse_address("mqtt://127.0.0.1"))


class Ears:
    """Hears anything."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_welcome(self, welcome: Welcome) -> None:
        self.heard.append(welcome)

    def on_refused(self, refusal: str) -> None:
        self.heard.append(refusal)

    def on_goodbye(self, said: str) -> None:
        self.heard.append(said)

    def on_incoming(self, message: Published) -> None:
        self.heard.append(message)

    def on_released(self, mid: int) -> None:
        self.heard.append(mid)

    def on_published(self, mid: int, refusal: str) -> None:
        self.heard.append((mid, refusal))

    def on_subscribed(self, mid: int, refusal: str) -> None:
        self.heard.append((mid, refusal))

    def on_unsubscribed(self, mid: int) -> None:
        self.heard.append(mid)


def heard(data: bytes, *, five: bool = True) -> tuple[list[Any], list[bytes]]:
    """What comes of it, and what is answered."""
    ears, answers = Ears(), list[bytes]()
    settings = Settings(address=SETTINGS.address, protocol="5" if five else "3.1.1")
    speaker, hearing = Speaker(answers.append, settings, "x", ears), Hearing()
    hearing.feed(data)
    for one in hearing.packets():
        speaker.hear(one)
    return ears.heard, answers


WELCOME = {True: b"\x20\x03\0\0\0", False: b"\x20\x02\0\0"}


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_no_nonsense_does_more_than_be_refused(data: bytes, five: bool, welcomed: bool) -> None:
    with contextlib.suppress(Malformed):
        heard((WELCOME[five] if welcomed else b"") + data, five=five)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"\x30\x04\0\1a\0", "before its CONNACK"),
        (WELCOME[True] * 2, "second CONNACK"),
        (WELCOME[True] + b"\x36\x06\0\1a\0\1\0", "QoS 3"),
        (WELCOME[True] + b"\x30\x03\0\0\0", "without a topic"),
        (WELCOME[True] + b"\x32\x06\0\1a\0\0\0", "without a number"),
        (WELCOME[True] + b"\x42\x02\0\1", "0x42"),
        (WELCOME[True] + b"\x00\x00", "0x00"),
        (WELCOME[True] + b"\x30\x05\0\1a\x01\x7f", "0x7f"),
        (WELCOME[True] + b"\x30\x05\0\1a\x20\x02", "longer than their packet"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, wrong: str) -> None:
    with pytest.raises(Malformed, match=wrong):
        heard(data)


def test_both_halves_of_qos_2() -> None:
    begin = WELCOME[True]
    assert heard(begin + b"\x62\x02\0\7")[1] == [b"\x70\x02\0\7"]
    assert heard(begin + b"\x50\x02\0\7")[1] == [b"\x62\x02\0\7"]
    assert heard(begin + b"\x50\x03\0\7\x97")[0][1:] == [(7, "Quota exceeded")]  # and no PUBREL
    assert heard(begin + b"\x50\x03\0\7\x97")[1] == []


def test_a_number_is_not_used_twice_at_once() -> None:
    answers: list[bytes] = []
    speaker = Speaker(answers.append, SETTINGS, "x", Ears())
    taken = [speaker.say_publish("a", b"", 1, False, b"\0") for _ in range(65_534)]
    (free,) = set(range(1, 65_536)) - set(taken)
    assert speaker.say_publish("a", b"", 2, False, b"\0") == free


def test_names_that_are_too_long_are_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes are more"):
        connect(SETTINGS, "x" * 65_536)
    with pytest.raises(ValueError, match="65536 bytes are more"):
        subscribe(1, "x" * 65_536, 0, None, five=True)
