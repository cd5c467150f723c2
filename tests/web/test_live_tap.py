"""Taps: what passes a node is seen, hardly costs it anything, and leaves it as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.logs import Secrets
from flowrunner.message import Message
from flowrunner.web.answer import encode
from flowrunner.web.live.tap import LOOKED_AT, MOST_BYTES, Feed, Passed, shown
from tests.peers.until import until
from tests.web.reading import Reading, reading
from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio
SECRET = "open-sesame-12345"
SINK = FLOW + "  note: {type: log, from: record, level: debug}\n"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def worker(web: Site, node: str) -> Any:
    return web.engine.runtime.workers[f"site/{node}"]


async def tapped(one: Reading, count: int = 1) -> list[Any]:
    """The next messages of taps."""
    had = len(one.of("tap"))
    await one.until(lambda _: len(one.of("tap")) >= had + count)
    return one.of("tap")[had:]


async def test_what_leaves_a_node_is_seen_and_the_node_is_as_before_when_the_reader_goes() -> None:
    async with site() as web:
        assert worker(web, "record").tap is None
        async with reading(web.port, "?tap=site/record,site/rest") as one:
            await one.event()
            await web.post('{"soc_percent": 50}')
            seen = await tapped(one, 2)
            by_node = {data["node"]: data for data in seen}
            assert by_node["site/record"]["port"] == "out"
            message = by_node["site/record"]["message"]
            assert message["payload"] == {"soc_percent": 50}
            assert message["source"] == "rest"
            assert message["origin"], message["quality"] == ("automatic", "good")
            assert message["lineage"].endswith(" > record")
            assert by_node["site/rest"]["dropped"] == 0
        await until(lambda: web.server.hub.readers == 0, "nobody")
        assert worker(web, "record").tap is None
        assert web.engine.runtime.on_worker is None


async def test_of_a_node_by_which_nothing_leaves_it_is_what_comes_in() -> None:
    async with site(SINK) as web:
        process = worker(web, "note").process
        async with reading(web.port, "?tap=site/note") as one:
            await one.event()
            await web.post('{"soc_percent": 50}')
            (seen,) = await tapped(one)
            assert (seen["port"], seen["message"]["payload"]) == ("in", {"soc_percent": 50})
            assert worker(web, "note").counters.received == 1
        await until(lambda: web.server.hub.readers == 0, "nobody")
        assert worker(web, "note").process == process


async def test_two_who_tap_a_node_share_a_hook_and_one_may_go() -> None:
    async with site() as web, reading(web.port, "?tap=site/record") as one:
        await one.event()
        hook = worker(web, "record").tap
        async with reading(web.port, "?tap=site/record") as other:
            await other.event()
            assert worker(web, "record").tap is hook
            await web.post('{"soc_percent": 1}')
            assert await tapped(one) == await tapped(other)
        await until(lambda: web.server.hub.readers == 1, "one")
        await web.post('{"soc_percent": 2}')
        (seen,) = await tapped(one)
        assert seen["message"]["payload"] == {"soc_percent": 2}


async def test_who_looked_on_before_goes_on_looking() -> None:
    async with site() as web:
        before: list[str] = []
        worker(web, "record").tap = mine = lambda port, _: before.append(port)
        async with reading(web.port, "?tap=site/record") as one:
            await one.event()
            await web.post('{"soc_percent": 1}')
            await tapped(one)
        await until(lambda: web.server.hub.readers == 0, "nobody")
        assert before == ["out"]
        assert worker(web, "record").tap is mine


async def test_more_than_ten_a_second_are_counted_and_not_shown() -> None:
    async with site() as web, reading(web.port, "?tap=site/record&tap_rate=5") as one:
        await one.event()
        for value in range(60):
            await web.post(f'{{"soc_percent": {value}}}')
        counters = worker(web, "record").counters
        quiet = web.engine.clock.now() // 1_000_000
        await one.until(lambda _: one.mirror.at > quiet + 2000)  # by then it has room for the next one
        await web.post('{"soc_percent": 99}')
        await tapped(one)
        seen = one.of("tap")
        assert sum(1 + data["dropped"] for data in seen) == counters.sent
        assert len(seen) < 30 < counters.sent
        assert [data["message"]["payload"]["soc_percent"] for data in seen[:5]] == [0, 1, 2, 3, 4]
        assert [data["dropped"] for data in seen[:5]] == [0] * 5


async def test_a_tap_goes_on_over_a_reload_of_its_node_without_losing_a_message(tmp_path: Path) -> None:
    async with site(FLOW, folder=tmp_path) as web, reading(web.port, "?tap=site/record") as one:
        await one.event()
        await web.post('{"soc_percent": 1}')
        await tapped(one)
        before = worker(web, "record")
        (tmp_path / "site.yaml").write_text(FLOW.replace("stale_after: 90s", "stale_after: 80s"), "utf-8")
        assert (await web.http.post("/api/v1/reload")).json()["changed"] == ["site/record"]
        await web.post('{"soc_percent": 2}')  # at once: before the hub has looked
        (seen,) = await tapped(one)
        assert seen["message"]["payload"] == {"soc_percent": 2}
        assert worker(web, "record") is not before


async def test_a_tap_waits_for_a_node_that_a_reload_took_away(tmp_path: Path) -> None:
    async with site(SINK, folder=tmp_path) as web, reading(web.port, "?tap=site/note") as one:
        await one.event()
        file = tmp_path / "site.yaml"
        file.write_text(FLOW, "utf-8")
        assert (await web.http.post("/api/v1/reload")).json()["removed"] == ["site/note"]
        await one.until(lambda event: event.name == "snapshot" and "site/note" not in event.data["names"])
        file.write_text(SINK, "utf-8")
        assert (await web.http.post("/api/v1/reload")).json()["added"] == ["site/note"]
        await web.post('{"soc_percent": 2}')
        (seen,) = await tapped(one)
        assert seen["message"]["payload"] == {"soc_percent": 2}


async def test_no_secret_is_in_the_stream() -> None:
    text = FLOW.replace("name: {type: text}", "name: {type: text}").replace("${SITE_KEY:-}", "${SITE_KEY}", 1)
    async with site(text, environment={"SITE_KEY": SECRET}) as web:
        web.engine.graph.secrets.add(SECRET)
        async with reading(web.port, "?tap=site/rest,site/record") as one:
            await one.event()
            body = json.dumps({"name": f"it is {SECRET}!", "soc_percent": 5})
            assert (await web.post(body, x_api_key=SECRET)).status_code == 200
            seen = await tapped(one, 2)
            assert {data["message"]["payload"]["name"] for data in seen} == {"it is ***!"}
            await one.until(lambda _: one.node("site/record")["last"])
            assert SECRET not in json.dumps(one.events)
            assert "name it is ***!" in one.node("site/record")["last"]


# ---- what is shown of a message: pure ------------------------------------------------------------------------------


def message(payload: Any, **more: Any) -> Message:
    return Message(payload=payload, at=1, received_at=2, source="x", **more)


def as_sent(payload: Any, *secrets: str) -> Any:
    return json.loads(encode(shown(message(payload), Secrets(secrets).mask)))


@given(JSON_VALUES)
def test_a_payload_is_shown_as_it_is_or_cut(payload: Any) -> None:
    sent = as_sent(payload)
    raw = encode(payload)
    if len(raw) <= MOST_BYTES:
        assert encode(sent["payload"]) == encode(json.loads(raw))
        assert "cut" not in sent
    else:
        assert sent["cut"] is True
        assert raw.startswith(sent["payload"].encode())


@given(st.integers(MOST_BYTES - 50, MOST_BYTES + 50), st.sampled_from(["a", "ä", "€", "😀"]))
def test_a_long_one_is_cut_to_four_kilobytes_and_between_characters(length: int, char: str) -> None:
    sent = as_sent(char * length)
    raw = encode(char * length)
    if len(raw) > MOST_BYTES:
        assert MOST_BYTES - 4 < len(sent["payload"].encode()) <= MOST_BYTES
        assert raw.decode().startswith(sent["payload"])


@given(st.integers(0, 50) | st.integers(MOST_BYTES - 40, MOST_BYTES + 20), st.integers(0, 100))
def test_no_part_of_a_secret_is_shown_wherever_it_stands(before: int, after: int) -> None:
    text = json.dumps(as_sent("-" * before + SECRET + "-" * after, SECRET))
    assert not any(SECRET[:length] in text for length in range(4, len(SECRET) + 1))


def test_secrets_that_are_masked_do_not_pull_others_into_sight() -> None:
    """What is behind the part that is looked at must not come into the part that is shown."""
    many = (SECRET + "-") * (2 * LOOKED_AT // len(SECRET))
    assert SECRET[:6] not in json.dumps(as_sent(many, SECRET))


def test_a_number_that_is_a_secret_leaves_a_text() -> None:
    assert as_sent({"pin": 12345678}, "12345678")["payload"] == '{"pin":***}'


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0.5, 10))
def test_every_message_is_shown_or_counted_and_never_too_many(bursts: list[int], rate: float) -> None:
    feed, sent, seen, dropped = Feed("f/n", rate, 10), 0, 0, 0
    for burst in bursts:
        for _ in range(burst):
            feed.see(Passed("out", message(sent), 0))
            sent += 1
        feed.refill()
        for event in feed.events(str):
            seen += 1
            dropped += event["dropped"]
    while feed.kept == []:
        feed.see(Passed("out", message(sent), 0))
        sent += 1
        feed.refill()
    assert seen + dropped + sum(1 + event["dropped"] for event in feed.events(str)) == sent
    assert seen <= max(rate, 1.0) + len(bursts) * rate / 10 + 1
