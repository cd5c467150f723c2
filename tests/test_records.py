"""History and alarms: kept on the disk, bounded, read and acknowledged by the API."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from flowrunner.message import FieldInfo, Message
from flowrunner.store import Alarms, History, Lane, Raised, Store, StoreFailed
from flowrunner.store import history as rooms
from flowrunner.store.history import Row, infos_of, row_of
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND, iso
from tests.end_to_end.living import living
from tests.web.site import Site, site

DAY = 86_400 * SECOND
FLOW = """
flow: t
nodes:
  a: {type: inject, once: true, payload: {x: 0, y: 0}}
  hot: {type: threshold, from: a, field: x, above: 40}
  kept: {type: store-out, from: [a, hot.above], keep: 2d}
  alarms: {type: alarm-out, from: [hot.above, a.error, a], severity: critical%s}
"""


def message(payload: Any, at: int = 5 * DAY, **more: Any) -> Message:
    return Message(**({"payload": payload, "at": at, "received_at": at, "source": "m"} | more))


def row(at: int, **more: Any) -> Row:
    given: dict[str, Any] = {"flow": "f", "node": "n", "wire": "a.out", "now": at} | more
    return row_of(message({"x": 1}, at), **given)


# ---- the tables ----------------------------------------------------------------------------------------------------


def test_a_row_has_all_that_was_known_of_its_fields() -> None:
    known = {
        "x": FieldInfo(at=4 * DAY, received_at=5 * DAY, source="m", unit="MW", valid_until=6 * DAY),
        "y": FieldInfo(at=5 * DAY, received_at=5 * DAY, source="m"),
        "z": FieldInfo(at=5 * DAY, received_at=5 * DAY, source="other", origin="manual", quality="bad"),
    }
    one = row_of(message({"x": 1, "y": 2}, fields=known), flow="f", node="n", wire="a.out", now=7 * DAY)
    assert infos_of(one) == known
    assert json.loads(one.fields) == {
        "x": {"at": 4 * DAY, "unit": "MW", "valid_until": 6 * DAY}, "y": {},
        "z": {"source": "other", "origin": "manual", "quality": "bad"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (float("nan"), "null"),
        (10**30, "1" + "0" * 30),
        ("\ud800", '"(str that'),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_payloads_that_are_no_json(payload: Any, kept: str) -> None:
    one = row_of(message(payload, key="\ud800", at=2**70), flow="f", node="n", wire="w", now=1)
    assert one.payload.decode().startswith(kept)
    assert (one.key, one.at) == ("?", 2**63 - 1)


def test_a_payload_that_is_too_large() -> None:
    with pytest.raises(ValueError, match="the payload has 65538 bytes; 65536 are kept at most"):
        row_of(message("x" * 65_536), flow="f", node="n", wire="w", now=1)


@pytest.mark.anyio
async def test_found_newest_first_and_swept_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(None, inline=True)
    history = History(store)
    await history.keep("f", "n", 2 * DAY)
    await history.keep("f", "gone", 1 * DAY)
    await history.add([row(n * DAY) for n in range(10)] + [row(n * DAY, node="gone") for n in range(10)])
    await history.add([row(3 * DAY, flow="g", node="n")])  # nobody said how long: it stays
    assert [one.at // DAY for one in history.find(flow="f", node="n", since=3 * DAY, until=6 * DAY)] == [5, 4, 3]
    assert [one.at // DAY for one in history.find(limit=3)] == [9, 9, 8]
    monkeypatch.setattr(rooms, "STEP", 4)
    steps = 1
    while await history.sweep(9 * DAY):
        steps += 1
    assert steps == 4
    assert [one.at // DAY for one in history.find(flow="f", node="n")] == [9, 8, 7]
    assert [one.at // DAY for one in history.find(flow="f", node="gone")] == [9, 8]
    assert len(history.find(flow="g")) == 1
    monkeypatch.setattr(rooms, "MOST_ROWS", 2)
    while await history.sweep(9 * DAY):
        pass
    assert len(history.find()) <= 2
    await store.close()


@pytest.mark.anyio
async def test_rows_of_one_who_keeps_long_do_not_go_because_others_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(None, inline=True)
    history = History(store)
    await history.keep("f", "long", 1000 * DAY)
    await history.keep("f", "short", 1 * DAY)
    await history.add([row(0, node="long")])
    monkeypatch.setattr(rooms, "MOST_ROWS", 10)
    for day in range(10):
        await history.add([row(day * DAY + n, node="short") for n in range(3)])
        while await history.sweep(day * DAY + 10):
            pass
    assert [one.at for one in history.find(node="long")] == [0]
    assert len(history.find()) <= 10
    await store.close()


@pytest.mark.anyio
async def test_what_is_asked_for_costs_no_more_when_more_is_kept() -> None:
    store = Store.open(None, inline=True)
    history = History(store)

    async def steps(first: int, count: int, **asked: Any) -> int:
        await history.add([row(n, flow=flow, node=node) for n in range(first, count) for flow in "fg" for node in "mn"])
        taken = 0

        def step() -> int:
            nonlocal taken
            taken += 1
            return 0

        store.read(lambda sql: sql.set_progress_handler(step, 100))
        for limits in ({}, {"until": 5}, {"since": 5}):
            found = history.find(**(asked | {"limit": 5} | limits))
            assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
        store.read(lambda sql: sql.set_progress_handler(None, 0))
        return taken

    first = 0
    for asked in ({"flow": "f"}, {"node": "n"}, {"node": "none"}, {"flow": "f", "node": "n"}, {}):
        few = await steps(first, first + 50, **asked)
        many = await steps(first + 50, first + 3000, **asked)
        assert many <= few + 2, asked
        first += 3000
    assert {(one.flow, one.node) for one in history.find(flow="f")} == {("f", "m"), ("f", "n")}
    assert {(one.flow, one.node) for one in history.find(node="m")} == {("f", "m"), ("g", "m")}
    await store.close()


@pytest.mark.anyio
async def test_an_alarm_counts_up_and_wants_a_new_acknowledgement_after_a_silence() -> None:
    store = Store.open(None, inline=True)
    alarms = Alarms(store)

    def raised(minute: int, text: str = "x", key: str = "") -> Raised:
        return Raised(flow="f", node="n", wire="a.out", key=key, identity="i", severity="warning", text=text,
                      at=minute * 60 * SECOND)  # fmt: skip

    await alarms.add([raised(0), raised(1, "y"), raised(2, key="north")])
    north, first = alarms.find()
    assert (first.text, first.count, first.first_at, first.last_at) == ("y", 2, 0, 60 * SECOND)
    assert north.key == "north"
    seen = await alarms.acknowledge(first.id, "anna", 70 * SECOND)
    assert seen is not None
    assert (seen.acknowledged_at, seen.acknowledged_by) == (70 * SECOND, "anna")
    again = await alarms.acknowledge(first.id, "bert", 80 * SECOND)
    assert again == seen  # who was first
    await alarms.add([raised(10)])
    assert [one.id for one in alarms.find(acknowledged=True)] == [first.id]
    await alarms.add([raised(21)])
    assert len(alarms.find(acknowledged=False)) == 2
    await alarms.acknowledge(first.id, "anna", 22 * 60 * SECOND)
    await alarms.add([raised(5)])  # a clock that was ahead, or a run in another time
    assert len(alarms.find(acknowledged=False)) == 2
    await alarms.add([raised(21)])
    assert alarms.last_of("f", "n") == {
        ("a.out", "", "i"): 21 * 60 * SECOND, ("a.out", "north", "i"): 120 * SECOND,
    }  # fmt: skip
    assert await alarms.acknowledge(99, "anna", 1) is None
    await store.close()


@pytest.mark.anyio
async def test_a_lane_keeps_what_a_full_disk_refuses(tmp_path: Path) -> None:
    """A real file that somebody else holds: nothing is written, nothing is lost, nothing comes twice."""
    store = Store.open(tmp_path)
    history = History(store)
    lane: Lane[Row] = Lane(history.add, cap=3)
    other = sqlite3.connect(tmp_path / "flowrunner.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(4):
        lane.add(row(number))
    with pytest.raises(StoreFailed, match="database is locked"):
        await lane.empty()
    assert len(lane) == 4
    with pytest.raises(StoreFailed, match="locked"):
        await lane.room()
    other.execute("ROLLBACK")
    await lane.empty()
    assert (len(lane), lane.trouble) == (0, "")
    assert [one.at for one in history.find()] == [3, 2, 1, 0]
    other.close()
    await store.close()


@pytest.mark.anyio
async def test_a_lane_writes_in_batches_and_in_order(tmp_path: Path) -> None:
    store, sizes = Store.open(tmp_path), list[int]()
    history = History(store)

    def write(rows: list[Row]) -> asyncio.Future[None]:
        sizes.append(len(rows))
        return history.add(rows)

    lane: Lane[Row] = Lane(write, cap=50)
    for number in range(300):
        await lane.room()
        lane.add(row(number))
    await lane.empty()
    assert [one.at for one in history.find(limit=1000)] == list(reversed(range(300)))
    assert sum(sizes) == 300
    assert len(sizes) < 100
    await store.close()


# ---- the nodes -------------------------------------------------------------------------------------------------------


def play(story: Any, store: Store | None = None, more: str = "") -> Any:
    return run_flow(FLOW % more, story, stubs=["a"], store=store)


def test_store_out_keeps_what_comes_for_as_long_as_it_says() -> None:
    async def story(rig: Rig) -> None:
        history = History(rig.engine.store)
        await rig.emit("a", {"x": 41, "y": 1}, key="north")
        newest, other = history.find(flow="t")
        assert {newest.wire, other.wire} == {"a.out", "hot.above"}
        assert (newest.node, newest.key, newest.source, newest.stored_at) == ("kept", "north", "a", rig.now)
        assert b'"x":41' in newest.payload
        await rig.advance("47h")
        await rig.emit("a", {"x": 1, "y": 1})
        assert len(history.find()) == 3
        await rig.advance("2h")
        assert [json.loads(one.payload) for one in history.find()] == [{"x": 1, "y": 1}]
        await rig.emit("a", "x" * 70_000)
        assert rig.errors("kept") == {"too-large": 1}

    play(story)


@pytest.mark.anyio
async def test_a_flood_is_bounded_by_the_queue_and_blocks_nobody(tmp_path: Path) -> None:
    async with living(tmp_path, text=FLOW % "") as flow:
        kept, source = flow.engine.runtime.workers["t/kept"], flow.engine.runtime.workers["t/a"]
        await kept.node.lane.empty()  # type: ignore[attr-defined]  # of a store-out
        other = sqlite3.connect(tmp_path / "flowrunner.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # the disk stands still
        for number in range(5000):
            await source.ctx.emit(source.ctx.message({"x": 1, "y": number}, position=str(number)))
        assert flow.engine.runtime.workers["t/hot"].counters.received >= 5000
        dropped = kept.inbox.dropped["drop_oldest"]
        assert dropped > 1000
        other.execute("ROLLBACK")
        other.close()
        await flow.engine.runtime.drained()
        await kept.node.lane.empty()  # type: ignore[attr-defined]  # of a store-out
        found = History(flow.engine.store).find(node="kept", limit=10_000)
        assert len(found) + dropped >= 5000
        assert any(json.loads(one.payload) == {"x": 1, "y": 4999} for one in found)


def test_alarms_of_edges_errors_and_own_texts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story(rig: Rig) -> None:
        alarms = Alarms(rig.engine.store)
        unit = FieldInfo(at=rig.now, received_at=rig.now, source="a", unit="°C")
        await rig.emit("a", {"x": 41, "y": 1}, fields={"x": unit}, key="north")
        await rig.emit("a", {"node": "meter", "code": "no-value", "reason": "x: null", "message": None}, port="error")
        for _ in range(5):
            await rig.emit("a", {"node": "meter", "code": "no-value", "reason": "y: null"}, port="error")
        blocked = {"rule": "buy", "side": "BUY", "delivery_start": "2025-01-25T02:15:00.000Z", "reason": "stale",
                   "text": "soc_percent is stale"}  # fmt: skip
        await rig.emit("a", blocked)
        found = {(one.wire, one.text): one for one in alarms.find()}
        assert ("hot.above", "x 41 °C, y 1, hot above") in found
        error = found[("a.error", "meter: y: null (no-value)")]
        assert (error.count, error.severity, error.node) == (6, "critical", "alarms")
        assert ("a.out", "soc_percent is stale (stale)") in found
        assert rig.errors("alarms") == {}

    play(story)
    said = [one.getMessage() for one in caplog.records if one.levelno == logging.CRITICAL]
    assert "t/alarms: hot.above (north): x 41 °C, y 1, hot above" in said
    assert len([one for one in said if "a.error" in one]) == 2  # the first, and of five repeats one


def test_an_own_text_is_one_alarm_whatever_its_values() -> None:
    async def story(rig: Rig) -> None:
        for x in (41, 39, 42):
            await rig.emit("a", {"x": x})
        (one, _) = sorted(Alarms(rig.engine.store).find(), key=lambda one: one.wire, reverse=True)
        assert (one.wire, one.text, one.count) == ("hot.above", "42 °C, ? beside", 2)

    play(story, more=', text: "{x} °C, {y} beside"')


def test_an_alarm_that_goes_on_over_a_restart_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flowrunner.alarm")

    async def story(rig: Rig) -> None:
        await rig.emit("a", 1, port="error")
        await rig.restart()
        await rig.emit("a", 1, port="error")
        assert Alarms(rig.engine.store).find()[0].count == 2
        assert news() == 1
        await rig.advance("11min")
        await rig.emit("a", 1, port="error")
        assert news() == 2

    def news() -> int:
        return len([one for one in caplog.records if one.name == "flowrunner.alarm"])

    play(story)


# ---- the API -------------------------------------------------------------------------------------------------------


async def get(web: Site, path: str) -> Any:
    answer = await web.http.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.anyio
async def test_a_disk_that_hangs_holds_up_who_reads_records_and_nobody_else() -> None:
    async with site(FLOW % "") as web:
        begun, go_on = threading.Event(), threading.Event()

        def hang(_: sqlite3.Connection) -> bool:
            begun.set()
            return go_on.wait(5)

        commit = web.engine.store.submit(hang)
        await asyncio.to_thread(begun.wait, 10)
        reads = [asyncio.create_task(get(web, path)) for path in ("history", "alarms", "history?flow=t")]
        try:
            assert (await web.http.get("/health/live")).status_code == 200
            assert not any(one.done() for one in reads)
        finally:
            go_on.set()
        assert await commit, "it hung until the loop said so"
        await asyncio.gather(*reads)


@pytest.mark.anyio
async def test_the_api() -> None:
    async with site(FLOW % "") as web:
        source = web.engine.runtime.workers["t/a"]
        at = 1_737_766_800 * SECOND
        for number in range(3):
            await source.ctx.emit(source.ctx.message({"x": number}, position=str(number), at=at + number * SECOND))
        await source.ctx.emit(source.ctx.message({"x": 50}, position="hot"))
        await web.engine.runtime.drained()
        for node in ("kept", "alarms"):
            await web.node(node, "t").lane.empty()

        newest, *_ = await get(web, "history?flow=t&node=kept&limit=1")
        assert (newest["wire"], newest["payload"]["x"]) in (("a.out", 50), ("hot.above", 50))
        old = await get(web, f"history?from={iso(at)}&to={iso(at + 2 * SECOND)}")
        assert [one["payload"] for one in old] == [{"x": 1}, {"x": 0}]
        assert (old[0]["at"], old[0]["key"], old[0]["quality"], old[0]["fields"]) == (iso(at + SECOND), "", "good", {})
        assert await get(web, "history?flow=other") == []

        (alarm,) = [one for one in await get(web, "alarms?acknowledged=false") if one["wire"] == "hot.above"]
        path = f"/api/v1/alarms/{alarm['id']}/acknowledge"
        answer = await web.post('{"by": "anna"}', path)
        assert (answer.status_code, answer.json()["acknowledged_by"]) == (200, "anna")
        assert [one["id"] for one in await get(web, "alarms?acknowledged=true")] == [alarm["id"]]

        for place, status in (
            (path, 422),
            ("/api/v1/alarms/99/acknowledge", 404),
            ("/api/v1/alarms/x/acknowledge", 404),
        ):
            body = '{"who": 1}' if status == 422 else '{"by": "anna"}'
            assert (await web.post(body, place)).status_code == status
        for query in ("history?limit=0", "history?limit=1001", "history?from=yesterday", "history?to=2025-01-01",
                      "alarms?limit=x", "alarms?acknowledged=maybe"):  # fmt: skip
            answer = await web.http.get(f"/api/v1/{query}")
            assert (answer.status_code, answer.json()["error"]) == (422, "value")
            assert answer.json()["detail"].startswith(query.partition("?")[2].partition("=")[0])
