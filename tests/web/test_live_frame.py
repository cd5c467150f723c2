"""Frames: a snapshot and its deltas add up to the counters, whatever happened; and the strip. No sockets."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.clock import ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.logs import Secrets
from flowrunner.message import FieldInfo, Message
from flowrunner.registry import Registry
from flowrunner.remote.asking import Event
from flowrunner.remote.mirror import Mirror
from flowrunner.store import Store
from flowrunner.units import SECOND
from flowrunner.web.answer import encode
from flowrunner.web.live import Hub, Watch
from flowrunner.web.live.frame import TEXTS, Board
from flowrunner.web.live.hub import Reader
from flowrunner.web.live.strip import ERRORS_OF_A_STEP, STEPS, Strip
from flowrunner.web.live.words import FIELDS, LINE, line, scalar, short
from tests.web.test_live_tap import JSON_VALUES

MANY = TEXTS + 50
SECRET = "open-sesame-12345"


def flow(count: int, name: str = "f") -> str:
    nodes = "".join(f"  n{number}: {{type: inject, every: 1h, payload: 1}}\n" for number in range(count))
    return f"flow: {name}\nnodes:\n{nodes}"


def engine_of(*texts: str) -> Engine:
    """Not started: its counters are what a test makes them."""
    checked = check_flows({f"{number}.yaml": text for number, text in enumerate(texts)}, {}, Registry())
    assert checked.graph is not None, checked.problems
    engine = Engine(checked, store=Store.open(None), clock=ScaledClock(0, 1.0))
    engine.runtime.workers = {
        address: engine.runtime.make(spec, engine.runtime.inbox_of(spec))
        for address, spec in engine.graph.nodes.items()
    }
    return engine


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def message(payload: Any, **more: Any) -> Message:
    return Message(payload=payload, at=SECOND, received_at=SECOND, source="x", **more)


# ---- what is sent adds up ------------------------------------------------------------------------------------------

STEPS_OF_A_NODE = st.tuples(
    st.integers(0, MANY - 1),
    st.sampled_from(["received", "sent", "error", "drop", "state", "connected", "message"]),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(STEPS_OF_A_NODE, max_size=200), max_size=5), st.booleans())
def test_a_snapshot_and_the_deltas_since_add_up_to_the_counters(frames: list[list[Any]], all_at_once: bool) -> None:
    async def run() -> None:
        engine = engine_of(flow(MANY))
        workers = engine.runtime.workers
        names = list(workers)
        board, mirror = Board(workers, [], str), Mirror()
        mirror.take(event("snapshot", {"at": 1, "generation": 1, "names": names, "nodes": board.nodes()}))
        for number, steps in enumerate(frames, 1):
            for place, what, amount in steps:
                change(workers[names[place]].counters, what, amount, number * SECOND)
            if all_at_once:
                for worker in workers.values():
                    change(worker.counters, "message", number, number * SECOND)
            board.look(number * SECOND, judge=True)
            for columns in board.nodes_changed():
                mirror.take(event("delta", {"at": number * 1000, "nodes": columns}))
        while board.look(0, judge=False):  # texts that had to wait
            for columns in board.nodes_changed():
                mirror.take(event("delta", {"at": len(frames) * 1000, "nodes": columns}))
        whole = json.loads(encode(board.nodes()))
        assert [node["received"] for node in mirror.nodes] == [one.counters.received for one in workers.values()]
        for name, column in whole.items():
            assert [node[name] for node in mirror.nodes] == column, name
        for node, worker in zip(mirror.nodes, workers.values(), strict=True):
            assert node["errors"] == sum(worker.counters.errors.values())
            assert node["dropped"] == sum(worker.counters.dropped.values())
            assert node["last"] == (f"{worker.counters.last['out'].payload}" if worker.counters.last else None)
        await engine.store.close()

    asyncio.run(run())


def event(name: str, data: Any) -> Event:
    """As it comes over the wire."""
    return Event(name, json.loads(encode(data)))


def change(counters: Any, what: str, amount: int, now: int) -> None:
    match what:
        case "received" | "sent":
            setattr(counters, what, getattr(counters, what) + amount)
            counters.last_at = now
        case "error":
            counters.error("code", f"reason {amount}", now)
        case "drop":
            counters.dropped["full"] = counters.dropped.get("full", 0) + amount
        case "state":
            counters.state = ["starting", "running", "disconnected", "stopped"][amount]
        case "connected":
            counters.connected = [None, True, False, True][amount]
        case "message":
            counters.last["out"] = message(amount)
            counters.sent += 1
            counters.last_at = now


async def _hub(engine: Engine) -> tuple[Hub, Reader]:
    hub = Hub(engine)
    hub.begin()
    reader = Reader([], lambda: None)
    await hub.join(reader)
    return hub, reader


@pytest.mark.anyio
async def test_nothing_is_said_of_nodes_where_nothing_changed() -> None:
    engine = engine_of(flow(3))
    board = Board(engine.runtime.workers, [], str)
    assert not board.look(0, judge=True)
    assert board.nodes_changed() == []
    engine.runtime.workers["f/n1"].counters.received += 1
    assert board.look(0, judge=False)
    assert board.nodes_changed() == [{"i": [1], "received": (1,)}]
    await engine.store.close()


@pytest.mark.anyio
async def test_one_look_and_one_encoding_serve_all_readers() -> None:
    engine = engine_of(flow(3))
    hub, one = await _hub(engine)
    other = Reader([], lambda: None)
    await hub.join(other)
    assert hub.take(one) is hub.take(other)  # the snapshot
    engine.runtime.workers["f/n1"].counters.received += 1
    await asyncio.gather(one.news.wait(), other.news.wait())
    one.news.clear()
    await one.news.wait()
    assert hub.take(one) is hub.take(other)
    for reader in (one, other):
        hub.leave(reader)
    await hub.close()
    await engine.store.close()


@pytest.mark.anyio
async def test_a_drop_that_moves_nothing_else_is_seen_at_the_next_judgement() -> None:
    engine = engine_of(flow(1))
    board = Board(engine.runtime.workers, [], str)
    engine.runtime.workers["f/n0"].counters.dropped["full"] = 3
    assert not board.look(0, judge=False)
    assert board.look(0, judge=True)
    assert board.nodes_changed() == [{"i": [0], "dropped": (3,)}]
    await engine.store.close()


# ---- values --------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_value_is_judged_as_the_message_shown_by_the_api() -> None:
    engine = engine_of(flow(1))
    info = FieldInfo(at=SECOND, received_at=SECOND, source="m", origin="manual", valid_until=9 * SECOND, unit="%")
    bad = FieldInfo(at=SECOND, received_at=SECOND, source="m", quality="bad")
    last = message({"soc": 50.0, "nan": math.nan}, fields={"soc": info, "gone": bad})
    engine.runtime.workers["f/n0"].counters.last["out"] = last
    board = Board(engine.runtime.workers, [Watch("f/n0", "out", name) for name in ("soc", "gone", "nan", "none")], str)
    for now in (SECOND, 9 * SECOND):
        board.look(now, judge=True)
        shown = board.values()
        assert shown["value"] == (50.0, None, None, None)
        assert shown["origin"][0] == "manual"
        assert shown["unit"][0] == "%"
        for place, name in enumerate(("soc", "gone")):
            told = last.info(name).shown(now)
            assert (shown["stale"][place], shown["reason"][place]) == (told["stale"], told.get("reason"))
        assert shown["stale"] == (now == 9 * SECOND, True, True, True)
    await engine.store.close()


@pytest.mark.anyio
async def test_a_message_that_is_no_record_is_its_own_value() -> None:
    engine = engine_of(flow(1))
    engine.runtime.workers["f/n0"].counters.last["out"] = message(7)
    board = Board(engine.runtime.workers, [Watch("f/n0", "out", ""), Watch("f/n0", "out", "soc")], str)
    board.look(SECOND, judge=True)
    assert board.values()["value"] == (7, None)
    assert board.values()["stale"] == (False, True)
    await engine.store.close()


# ---- words ---------------------------------------------------------------------------------------------------------


@given(JSON_VALUES)
def test_any_message_is_one_short_line(payload: Any) -> None:
    text = line(message(payload), str)
    assert len(text) <= LINE
    assert text.isprintable()
    encode(scalar(payload, str))


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_secret_is_in_no_line(before: str, after: str) -> None:
    mask = Secrets([SECRET]).mask
    for payload in (before + SECRET + after, {before + SECRET: after}, {"a": before, "b": SECRET + after}):
        assert SECRET[:6] not in line(message(payload), mask)
        assert SECRET[:6] not in str(scalar(payload, mask))
        assert SECRET[:6] not in short(before + SECRET + after, mask, 20)


def test_lines() -> None:
    info = FieldInfo(at=0, received_at=0, source="m", unit="MW")
    record = {"power": -2.5, "on": True, "name": "north", "list": [1], "more": {"a": 1, "b": 2}, "nothing": None}
    told = "power -2.5 MW, on true, name north, list [1 item], more {2 fields}, nothing null"
    assert line(message(record, fields={"power": info}), str) == told[: LINE - 1] + "…"
    assert line(message({}), str) == "{}"
    assert line(message("two\nlines"), str) == "two\\nlines"
    assert line(message({f"f{n}": 1 for n in range(20)}), str).count(",") <= FIELDS


# ---- the strip -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def strip() -> AsyncIterator[tuple[Engine, Strip, Callable[[int], Any]]]:
    engine = engine_of(flow(8), flow(1, "g"))
    one = Strip(engine)
    one.look(0)

    def step(number: int) -> Any:
        one.look(number * 5 * SECOND)
        return one.shown("f", number * 5 * SECOND)

    yield engine, one, step
    await engine.store.close()


@pytest.mark.anyio
async def test_the_strip_tells_rates_and_errors_of_each_step(strip: Any) -> None:
    engine, _, step = strip
    counters = engine.runtime.workers["f/n0"].counters
    counters.sent = 50
    engine.runtime.workers["g/n0"].counters.sent = 500
    counters.error("late", "no answer", 3 * SECOND)
    first = step(1)
    assert first["steps"]["rate"][-1] == 10.0
    assert first["steps"]["errors"][-1] == 1
    assert first["marks"] == [{"at": 3000, "kind": "error", "text": "late: no answer", "node": "n0", "count": 1}]
    counters.sent -= 1  # one was put back
    second = step(2)
    assert second["steps"]["rate"] == [10.0, 0.0]
    assert second["steps"]["at"] == [5000, 10000]


@pytest.mark.anyio
async def test_what_passed_before_the_first_look_is_no_rate() -> None:
    """A server that begins when its engine has run for long knows nothing of that."""
    engine = engine_of(flow(1))
    counters = engine.runtime.workers["f/n0"].counters
    counters.sent = 1_000_000
    counters.error("late", "long ago", 0)
    one = Strip(engine)
    one.look(100 * SECOND)
    assert one.shown("f", 100 * SECOND)["steps"] == {"at": [], "rate": [], "errors": []}
    counters.sent += 10
    one.look(105 * SECOND)
    shown = one.shown("f", 105 * SECOND)
    assert shown["steps"] == {"at": [105_000], "rate": [2.0], "errors": [0]}
    assert shown["marks"] == []
    await engine.store.close()


@pytest.mark.anyio
async def test_the_strip_keeps_fifteen_minutes(strip: Any) -> None:
    engine, _, step = strip
    for number in range(1, STEPS + 30):
        engine.runtime.workers["f/n0"].counters.error("x", "y", number * 5 * SECOND)
        shown = step(number)
    assert len(shown["steps"]["at"]) == STEPS
    assert shown["steps"]["at"][0] == 30 * 5000  # of the step that ended then
    assert len(shown["marks"]) <= STEPS
    assert shown["marks"][0]["at"] >= shown["at"] - 900_000


@pytest.mark.anyio
async def test_only_the_nodes_with_most_errors_are_marked(strip: Any) -> None:
    engine, _, step = strip
    for number in range(8):
        for _ in range(number + 1):
            engine.runtime.workers[f"f/n{number}"].counters.error("x", "y", SECOND)
    shown = step(1)
    assert [mark["count"] for mark in shown["marks"]] == [8, 7, 6, 5, 4][:ERRORS_OF_A_STEP]
    assert shown["steps"]["errors"][-1] == 36


@pytest.mark.anyio
async def test_a_node_that_goes_on_under_another_name_makes_no_peak(strip: Any) -> None:
    engine, _, step = strip
    workers = engine.runtime.workers
    workers["f/n0"].counters.sent = 1_000_000
    step(1)
    engine.generation += 1
    engine.runtime.workers = {f"{address}-new": worker for address, worker in workers.items()}
    assert step(2)["steps"]["rate"][-1] == 0.0


@pytest.mark.anyio
async def test_a_clock_that_was_set_back_is_no_division_by_zero(strip: Any) -> None:
    engine, one, _ = strip
    engine.runtime.workers["f/n0"].counters.sent = 5
    one.look(0)
    one.look(-SECOND)
    assert one.shown("f", 0)["steps"]["rate"][-1] == 0.0


@pytest.mark.slow  # a figure of this machine: the others on it must not decide
def test_a_frame_of_a_thousand_nodes_takes_milliseconds() -> None:
    async def run() -> None:
        engine = engine_of(flow(1000))
        board = Board(engine.runtime.workers, [], str)
        taken = []
        for number in range(1, 50):
            for worker in engine.runtime.workers.values():
                change(worker.counters, "message", number, number)
            began = time.thread_time()
            board.look(number, judge=False)
            frame = [encode(columns) for columns in board.nodes_changed()]
            taken.append(time.thread_time() - began)
            assert sum(map(len, frame)) < 25_000
        assert min(taken) < 0.005
        await engine.store.close()

    asyncio.run(run())
