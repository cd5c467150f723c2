"""Durable inboxes: what waits survives a crash, in order, and goes from the disk with what it brought about."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import QueueChanges, Store, Waiting
from flowrunner.testing import Rig, run_flow
from tests.runtime.kit import crash, node, numbers, play, types
from tests.runtime.test_acknowledgement import acked, tell

QUEUE = "queue: {durable: true, size: 5, when_full: block}"


def on_disk(rig: Rig, name: str = "work") -> list[Any]:
    return [msgspec.json.decode(one.message)["payload"] for one in rig.engine.store.waiting("t", name)]


def flow(work: str, more: str = "") -> str:
    return f"flow: t\nnodes:\n  src: {{type: tracked}}\n  work: {{{work}}}\n  end: {{type: sink, from: work}}\n{more}"


def over_a_crash(text: str, before: Any, after: Any) -> None:
    """Two runs on one store, the first of which just ends in the middle."""
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await before(rig)
        crash(rig)

    run_flow(text, first, store=store, registry=types())
    run_flow(text, after, store=store, registry=types())


def test_the_source_hears_when_it_is_on_the_disk_and_a_crash_loses_nothing() -> None:
    async def before(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        assert acked(rig) == []
        await rig.advance("10ms")
        assert acked(rig) == [1, 2, 3]  # although none of them is processed
        assert on_disk(rig) == [1, 2, 3]

    async def after(rig: Rig) -> None:
        await rig.advance("1min")
        assert numbers(rig, "end") == [1, 2, 3]
        assert [one.lineage() for one in node(rig, "end").messages] == [f"src@{n} > work" for n in (1, 2, 3)]
        await rig.advance("1s")
        assert on_disk(rig) == []

    over_a_crash(flow(f"type: slow, time: 5s, from: src, {QUEUE}"), before, after)


def test_what_is_done_quickly_never_touches_the_disk() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        assert numbers(rig, "end") == [1, 2, 3]
        await rig.advance("1s")
        assert rig.engine.store.inboxes() == {}
        assert acked(rig) == [1, 2, 3]

    run_flow(flow(f"type: relay, from: src, {QUEUE}"), story, registry=types())


def test_it_goes_from_the_disk_only_when_its_descendants_are_done() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        await rig.advance("10ms")
        assert on_disk(rig) == [1]  # `late` works on it
        await rig.advance("5s")
        await rig.advance("10ms")
        assert on_disk(rig) == []

    run_flow(flow(f"type: relay, from: src, {QUEUE}", "  late: {type: slow, time: 5s, from: work}\n"), story,
             registry=types())  # fmt: skip


def test_from_one_durable_inbox_to_the_next_it_is_on_the_disk_once() -> None:
    """Input gone, output there, state kept: one transaction."""
    text = f"""
  src: {{type: tracked}}
  one: {{type: keeper, from: src, {QUEUE}}}
  two: {{type: slow, time: 5s, from: one, {QUEUE}}}
"""

    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        await rig.advance("10ms")
        assert (on_disk(rig, "one"), len(on_disk(rig, "two"))) == ([], 1)
        assert rig.engine.store.load_state("t", "one").entries != {}

    play(text, story)


@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [("drop_oldest", [1, 4, 5], 2), ("drop_newest", [1, 2, 3], 2), ("latest", [1, 5], 3), ("block", [1, 2, 3], 0)],
)
def test_what_happens_when_it_is_full(policy: str, kept: list[int], dropped: int) -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        await tell(rig, 2, 3, 4, 5)
        await rig.advance("10ms")
        assert on_disk(rig) == kept
        assert sum(rig.dropped("work").values()) == dropped
        await rig.advance("1h")
        assert numbers(rig, "end") == (kept if dropped else [1, 2, 3, 4, 5])
        assert on_disk(rig) == []
        assert sorted(acked(rig), key=str) == [1, 2, 3, 4, 5]

    queue = f"queue: {{durable: true, size: 2, when_full: {policy}}}"
    run_flow(flow(f"type: slow, time: 5s, from: src, {queue}"), story, registry=types())


def test_what_is_too_old_is_dropped_and_counted() -> None:
    queue = "queue: {durable: true, max_age: 1min}"

    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        await rig.advance("50s")
        await tell(rig, 3)
        await rig.advance("20s")
        assert numbers(rig, "end") == [1]
        await rig.advance("70s")
        assert numbers(rig, "end") == [1, 3]  # 2 had waited for 70 s when its turn came, 3 for 20 s
        assert rig.dropped("work") == {"max_age": 1}
        await rig.advance("1s")
        assert acked(rig) == [1, 2, 3]

    run_flow(flow(f"type: slow, time: 70s, from: src, {queue}"), story, registry=types())


def test_a_clean_stop_keeps_what_waits_of_every_queue_but_orders(caplog: pytest.LogCaptureFixture) -> None:
    text = (
        "  make: {type: maker, count: 0}\n  work: {type: moody, moods: [away], opens: [ok, away, away], from: make}\n"
    )
    text += "  end: {type: sink, from: work}\n"
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        for number in (1, 2, 3):
            await rig.emit("make", number)
        assert await rig.engine.runtime.stop() == []

    async def second(rig: Rig) -> None:
        await rig.advance("1h")
        assert numbers(rig, "end") == [1, 2, 3]
        assert rig.engine.store.inboxes() == {}

    with caplog.at_level(logging.INFO):
        play(text, first, store=store)
        play(text, second, store=store)
    assert "t/work: 3 messages wait on the disk for the next start" in caplog.text
    assert "t/work: what waits on the disk comes first (3)" in caplog.text


def test_a_row_that_cannot_be_read_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(None, inline=True)
    rows = [
        Waiting(1, 5, "src.out", b"{"),
        Waiting(2, 5, "src.out", b'{"payload":7,"at":1,"received_at":1,"source":"src"}'),
    ]
    store.keep([], [QueueChanges("t", "work", rows, [])])

    async def story(rig: Rig) -> None:
        await rig.advance("1s")
        assert numbers(rig, "end") == [7]
        assert [one.seq for one in store.waiting("t", "work")] == [1]  # it stays where it is

    run_flow(flow(f"type: relay, from: src, {QUEUE}"), story, store=store, registry=types())
    assert "t/work: row 1 of its inbox cannot be read, and stays where it is" in caplog.text


def test_what_is_no_json_waits_in_memory_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, "\ud800", 2)
        await rig.advance("10ms")
        assert on_disk(rig) == [1, 2]
        await rig.advance("1h")
        assert numbers(rig, "end") == [1, "\ud800", 2]

    run_flow(flow(f"type: slow, time: 5s, from: src, {QUEUE}"), story, registry=types())
    assert "t/work: a message is no JSON and waits in memory only" in caplog.text


def test_orders_are_never_in_a_durable_queue_and_max_age_needs_one() -> None:
    flows = Path(__file__).parents[2] / "flows" / "bess.yaml"
    text = flows.read_text().replace("    send: orders\n", "    send: orders\n    queue: {durable: true}\n")
    assert "durable" in text
    text += "\n"
    (problem,) = [one for one in check_flows({"f": text}, {}, Registry()).problems if one.severity == "error"]
    assert "acts at most once" in problem.message
    assert problem.path == "exchange.queue.durable"
    text = "flow: t\nnodes:\n  a: {type: manual-in, fields: {x: {}}}\n  b: {type: log, from: a, queue: {max_age: 1s}}\n"
    (problem,) = check_flows({"f": text}, {}, Registry()).problems
    assert problem.message == "max_age belongs to durable queues"
