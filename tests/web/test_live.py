"""The live stream over real sockets: what readers get, and that none of them can do harm."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowrunner.store import FILE_NAME, writing
from flowrunner.store.people import remove_key
from flowrunner.web.live import Watch
from flowrunner.web.live.hub import Reader, chunk, event
from flowrunner.web.live.tap import Feed
from tests.peers.until import until
from tests.web.reading import joined, reading
from tests.web.site import FLOW, Site, key_of, site

pytestmark = pytest.mark.anyio
RECORD = "site/record"
KEY = "k" * 20
BUSY = "flow: site\nnodes:\n" + "".join(
    f"  in-{n}: {{type: inject, every: 50ms, payload: {{text: {'x' * 60}}}}}\n"
    f"  out-{n}: {{type: select, from: in-{n}, fields: [text]}}\n"
    for n in range(150)
)
"""Frames of about 20 KB, ten times a second."""


@pytest.fixture
async def busy() -> AsyncIterator[Site]:
    async with site(BUSY) as running:
        running.server.hub.frozen_s = 0.3
        yield running


async def test_it_begins_with_a_snapshot_and_is_never_silent_for_more_than_a_second(web: Site) -> None:
    async with reading(web.port) as one:
        first = await one.event()
        assert first is not None
        assert first.name == "snapshot"
        assert first.data["names"] == list(web.engine.graph.nodes)
        assert first.data["generation"] == 1
        assert one.head["content-type"] == "text/event-stream"
        assert one.head["cache-control"] == "no-store"
        assert one.head["x-accel-buffering"] == "no"
        times = []
        for _ in range(2):
            beat = await one.event()
            assert beat is not None
            times.append(time.monotonic())
            assert beat.data.keys() == {"seq", "at"}
        assert times[1] - times[0] < 1.5


async def test_what_changes_comes_as_a_delta_and_adds_up(web: Site) -> None:
    async with reading(web.port) as one, reading(web.port) as other:
        await one.event()
        await other.event()
        for value in (10, 20, 30):
            await web.post(f'{{"soc_percent": {value}}}')
            expected = f"soc_percent {value} %"
            await one.until(lambda _: one.node(RECORD)["last"] == expected)  # noqa: B023  (it is called here only)
        await other.until(lambda event: event.data["seq"] == one.events[-1].data["seq"])
        assert one.mirror.nodes == other.mirror.nodes
        assert joined(one.events) == joined(other.events) == 1
        for address, worker in web.engine.runtime.workers.items():
            node, counters = one.node(address), worker.counters
            assert (node["received"], node["sent"]) == (counters.received, counters.sent)
            assert node["state"] == counters.state
            assert node["last_at"] == (None if counters.last_at is None else counters.last_at // 1_000_000)


async def test_all_readers_get_the_same_frames(web: Site) -> None:
    async with reading(web.port) as one, reading(web.port) as other:
        for each in (one, other):
            await each.event()
        await web.post('{"soc_percent": 44}')
        for each in (one, other):
            await each.until(lambda event: "nodes" in event.data and event.name == "delta")
        assert one.events[-1] == other.events[-1]


async def test_who_is_at_hand_is_handed_the_frame_and_nobody_else() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        reader = Reader([], transport.abort)
        reader.seq, frame = 7, chunk(event("delta", {"seq": 8}))
        assert not reader.given(frame, 8)  # it does not wait
        reader.at_hand = transport
        assert not reader.given(frame, 9)  # it has missed one
        reader.feeds = [Feed(RECORD, 10, 10)]
        assert not reader.given(frame, 8)  # it looks at a node too
        reader.feeds = []
        assert reader.given(frame, 8)
        assert theirs.recv(1000) == b'1e\r\nevent: delta\ndata: {"seq":8}\n\n\r\n'
        large, reader.seq = b"x" * 8_000_000, 8
        assert reader.given(large, 9)
        assert not reader.given(frame, 10)  # it has not taken that yet
        assert reader.seq == 9
        transport.abort()
        reader.at_hand = transport
        assert not reader.given(frame, 10)


async def test_a_value_comes_with_all_that_is_known_of_it_and_becomes_stale_as_the_api_says(tmp_path: Path) -> None:
    watches = [Watch(RECORD, "out", name) for name in ("soc_percent", "power_mw")]
    watches += [Watch("site/none", "out", "x")]
    async with site(FLOW, speed=60.0) as web:
        web.server.hub.watches = lambda _: watches
        async with reading(web.port) as one:
            first = await one.until(lambda event: event.name == "snapshot")
            assert first.data["watches"] == [list(watch) for watch in watches]
            assert first.data["speed"] == 60.0
            assert first.data["values"]["reason"] == ["no value yet"] * 3
            await web.post('{"soc_percent": 50}')
            fresh = (await one.until(lambda event: event.data.get("values"))).data["values"]
            assert (fresh["i"], fresh["value"], fresh["unit"]) == ([0], [50], ["%"])
            assert (fresh["source"], fresh["origin"], fresh["quality"]) == (["rest"], ["automatic"], ["good"])
            assert (fresh["stale"], fresh["reason"]) == ([False], [None])
            stale = (await one.until(lambda event: event.data.get("values"))).data["values"]
            shown = (await web.http.get("/api/v1/flows/site/nodes/record")).json()["last"]["out"]["fields"]
            assert shown["soc_percent"]["stale"] is True
            assert (stale["value"], stale["stale"]) == ([50], [True])
            assert stale["reason"] == [shown["soc_percent"]["reason"]] == ["stale"]
            assert stale["until"][0] - stale["received_at"][0] == 90_000


async def test_a_value_that_a_record_lacks_is_none(web: Site) -> None:
    """Also where the message itself is good: what was not measured has no number."""
    async with site() as web:
        web.server.hub.watches = lambda _: [Watch("site/rest", "out", "power_mw")]
        await web.post('{"soc_percent": 50}')
        async with reading(web.port) as one:
            values = (await one.until(lambda event: event.name == "snapshot")).data["values"]
            assert values["value"] == [None]
            assert (values["stale"], values["quality"]) == ([True], ["bad"])


# ---- who reads slowly, or not at all -------------------------------------------------------------------------------


async def test_a_reader_that_lags_gets_a_snapshot(busy: Site) -> None:
    busy.server.hub.frozen_s = 5.0
    async with reading(busy.port) as fast, reading(busy.port, small=True) as slow:
        await slow.event()
        began = busy.server.hub.seq
        await fast.until(lambda event: event.data["seq"] > began + 25)  # meanwhile the other does not read
        await slow.until(lambda _: joined(slow.events) > 1)
        assert joined(fast.events) == 1


async def test_a_frozen_reader_is_dropped_and_nobody_else_notices(busy: Site) -> None:
    hub = busy.server.hub
    async with reading(busy.port) as one, reading(busy.port, small=True), reading(busy.port, small=True):
        await until(lambda: hub.readers == 3, "three readers")

        async def alone() -> None:
            while hub.readers > 1:
                await one.event()

        async with asyncio.timeout(10):
            await alone()
        assert hub.frozen == 2
        assert joined(one.events) == 1, "a reader that keeps up needs no second snapshot"
        assert not [event for event in one.events if "status" in event.data and not event.data["status"]["ready"]]


async def test_a_reader_that_is_only_slow_is_kept(busy: Site) -> None:
    """It takes a little now and then: as long as there is progress it is there."""
    hub = busy.server.hub
    async with reading(busy.port) as one, reading(busy.port, small=True) as slow:
        count = 0
        while hub.seq < 25 or count < 3:
            await one.event()
            if hub.seq % 3 == 0:
                await slow.event()
                count += 1
        assert hub.frozen == 0
        assert hub.readers == 2


async def test_a_reader_that_goes_is_forgotten_and_without_readers_nothing_is_looked_at() -> None:
    async with site() as web:
        hub = web.server.hub
        assert hub.looking is False
        async with reading(web.port) as one:
            await one.event()
            await until(lambda: hub.looking, "a look")
        await until(lambda: hub.readers == 0 and not hub.looking, "nobody, and rest")


async def test_there_is_a_limit() -> None:
    async with site() as web:
        web.server.hub.most_readers = 2
        async with reading(web.port) as one, reading(web.port) as other:
            await one.event()
            await other.event()
            refused = await web.http.get("/api/v1/live")
            assert refused.status_code == 503
            assert refused.json()["error"] == "too-many-readers"
            assert refused.headers["retry-after"] == "5"
        await until(lambda: web.server.hub.readers == 0, "nobody")
        assert (await web.http.get("/api/v1/live?frames=1")).status_code == 200


# ---- ends ----------------------------------------------------------------------------------------------------------


async def test_streams_end_when_the_server_stops_and_hold_it_up_for_less_than_a_second() -> None:
    async with site(BUSY) as web, reading(web.port) as one, reading(web.port, small=True):
        await one.event()
        began = web.server.hub.seq
        await one.until(lambda event: event.data["seq"] > began + 15)  # the other one is stuck in the middle by now
        started = time.monotonic()
        await asyncio.gather(one.to_the_end(), web.server.close())
        assert time.monotonic() - started < 1.0
        assert web.server.hub.readers == 0


async def test_it_ends_after_so_many_frames(web: Site) -> None:
    async with reading(web.port, "?frames=2") as one:
        await one.to_the_end()
        assert [event.name for event in one.events] == ["snapshot", "delta"]


async def test_head_has_no_stream(web: Site) -> None:
    answer = await web.http.head("/api/v1/live")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert web.server.hub.readers == 0


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("frames=0", 422, "frames: '0' is not a whole number from 1 to 100000"),
        ("frames=²", 422, "frames"),
        ("tap_rate=11", 422, "tap_rate: '11' is not a number above 0 and up to 10"),
        ("tap_rate=nan", 422, "tap_rate"),
        ("tap=site/recor", 404, "there is no node 'site/recor', did you mean 'site/record'?"),
        ("tap=record", 404, "did you mean 'site/record'?"),
        ("tap=" + ",".join(f"site/n{n}" for n in range(9)), 422, "tap: 9 nodes are more than 8"),
    ],
)
async def test_what_cannot_be_had_is_refused(web: Site, query: str, status: int, detail: str) -> None:
    answer = await web.http.get(f"/api/v1/live?{query}")
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert web.server.hub.readers == 0


async def test_it_is_behind_the_key() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": KEY}) as web:
        assert (await web.http.get("/api/v1/live")).status_code == 401
        assert (await web.http.get("/api/v1/flows/site/strip")).status_code == 401
        async with reading(web.port, key=KEY) as one:
            assert one.status == 200


# ---- another graph, the state of the whole -------------------------------------------------------------------------


async def test_after_a_reload_there_is_a_snapshot(tmp_path: Path) -> None:
    async with site(FLOW, folder=tmp_path) as web, reading(web.port) as one:
        await one.event()
        (tmp_path / "site.yaml").write_text(FLOW + "  more: {type: log, from: record}\n", "utf-8")
        assert (await web.http.post("/api/v1/reload")).status_code == 200
        new = await one.until(lambda event: event.name == "snapshot")
        assert new.data["generation"] == 2
        assert "site/more" in new.data["names"]
        assert new.data["status"]["reload"]["result"] == "applied"
        assert joined(one.events) == 2
        (tmp_path / "site.yaml").write_text("flow: site\nnodes: {}\n", "utf-8")
        assert (await web.http.post("/api/v1/reload")).status_code == 422
        refused = await one.until(lambda event: event.data.get("status", {}).get("problems", {}).get("errors"))
        assert refused.data["status"]["reload"]["result"] == "refused"
        assert refused.data["status"]["reload"]["reason"]
        marks = (await web.http.get("/api/v1/flows/site/strip")).json()["marks"]
        assert [(mark["kind"], mark["result"]) for mark in marks] == [("reload", "applied"), ("reload", "refused")]


async def test_a_stop_of_trading_and_an_alarm_are_told() -> None:
    text = FLOW + "  alarm: {type: alarm-out, from: record, severity: critical, text: too much}\n"
    async with site(text) as web, reading(web.port) as one:
        first = await one.until(lambda event: event.name == "snapshot")
        assert first.data["status"]["trading"]["stopped"] is False
        assert first.data["status"]["alarms"] == {"open": 0, "worst": None}
        await web.http.post("/api/v1/trading/stop", json={"by": "Ada", "reason": "storm"})
        await web.post('{"soc_percent": 10}')
        told = await one.until(lambda event: one.mirror.status["trading"]["stopped"])
        stop = web.engine.trading.switch.stopped
        assert stop is not None
        assert stop.since is not None
        since = stop.since // 1_000_000
        assert told.data["status"]["trading"] == {"stopped": True, "by": "Ada", "reason": "storm", "since": since}
        await one.until(lambda event: one.mirror.status["alarms"] == {"open": 1, "worst": "critical"})


async def test_what_is_looked_at_once_a_second_is_so_in_a_busy_flow_too(busy: Site) -> None:
    async with reading(busy.port) as one:
        await one.until(lambda _: busy.server.hub.beats > 1)
        await busy.http.post("/api/v1/trading/stop", json={"by": "Ada"})
        await one.until(lambda _: one.mirror.status["trading"]["stopped"])


async def test_the_strip_of_a_flow(web: Site) -> None:
    shown = (await web.http.get("/api/v1/flows/site/strip")).json()
    assert shown["steps"]["at"], "it is kept from the beginning, also while nobody looks"
    assert shown["span_s"] == 900
    assert (await web.http.get("/api/v1/flows/sit/strip")).status_code == 404


async def test_who_logs_out_or_loses_a_key_reads_no_more(tmp_path: Path) -> None:
    async with site(users={"ada": "viewer"}, keys={"scada": "viewer"}, data=tmp_path) as web:
        await web.log_in("ada")
        cookie = f"cookie: {web.server.people.cookie}={web.http.cookies[web.server.people.cookie]}"
        async with reading(web.port, head=cookie) as one, reading(web.port, key=key_of("scada")) as other:
            await one.event()
            await other.event()
            await web.http.post("/logout", headers=web.csrf)
            await one.to_the_end()
            assert web.server.hub.readers == 1
            with writing(tmp_path / FILE_NAME) as sql:
                remove_key(sql, "scada")
            await other.to_the_end()
