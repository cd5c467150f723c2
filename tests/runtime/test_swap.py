"""From one version of a flow to the next while it runs: only what changed notices, and what fails is put back."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.testing import Rig
from tests.peers.until import until
from tests.runtime.kit import node, numbers, play, refused, types
from tests.runtime.test_acknowledgement import acked, tell

FLOW = """
  src: {type: tracked}
  one: {type: slow, time: 1s, from: src}
  two: {type: relay, from: one}
  end: {type: sink, from: two}
"""


async def reload(rig: Rig, nodes: str, **heads: str) -> Any:
    head = "".join(f"{name}: {text}\n" for name, text in heads.items())
    return await rig.reload(f"flow: t\n{head}nodes:\n{nodes}")


def objects(rig: Rig) -> dict[str, tuple[int, int, int]]:
    return {name: (id(one.node), id(one.inbox), id(one.ctx.state)) for name, one in rig.engine.runtime.workers.items()}


def test_what_did_not_change_is_the_very_same() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        before = objects(rig)
        outcome = await reload(rig, FLOW.replace("from: one", "from: one, how: twice"))
        assert (outcome.result, outcome.generation, outcome.changed) == ("applied", 2, ["t/two"])
        after = objects(rig)
        assert {name for name in before if before[name] != after[name]} == {"t/two"}
        assert before["t/two"][1] == after["t/two"][1]  # the inbox
        await rig.advance("10s")
        assert numbers(rig, "end") == [1, 1, 2, 2, 3, 3]
        assert acked(rig) == [1, 2, 3]
        assert rig.engine.node("t", "two")["received"] == 3  # its counters go on

    play(FLOW, story)


def test_a_reload_of_the_same_is_none() -> None:
    async def story(rig: Rig) -> None:
        before = objects(rig)
        assert (await reload(rig, FLOW)).result == "unchanged"
        assert rig.engine.generation == 1
        for text in (FLOW.replace("src}", "src, note: new}"), FLOW + "# a word\n"):  # decisions name the file's hash
            outcome = await reload(rig, text)
            assert (outcome.result, outcome.changed, outcome.rewired, objects(rig)) == ("applied", [], [], before)
        assert rig.worker("one").ctx.flow_digest == rig.engine.graph.flows["t"].digest

    play(FLOW, story)


def test_a_message_in_work_ends_first_and_what_waits_is_for_the_new_one() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        await rig.advance("500ms")
        began = rig.now
        outcome = await reload(rig, FLOW.replace("time: 1s", "time: 2s"))
        assert (outcome.result, rig.now - began) == ("applied", 500_000_000)
        assert numbers(rig, "end") == [1]
        await rig.advance("4s")
        assert numbers(rig, "end") == [1, 2, 3]

    play(FLOW, story)


def test_what_does_not_end_is_broken_off_and_given_to_the_new_one() -> None:
    flow = FLOW.replace("time: 1s", "time: 1h")

    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        assert (await reload(rig, FLOW)).result == "applied"
        await rig.advance("10s")
        assert numbers(rig, "end") == [1, 2]

    play(flow, story)


def test_an_order_that_is_being_sent_is_not_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(rig: Rig) -> None:
        type(node(rig, "one")).side_effect = "at_most_once"
        try:
            await tell(rig, 1)
            before = objects(rig)
            outcome = await reload(rig, FLOW)
            assert outcome.result == "failed"
            assert "t/one is in the middle of something that must not be broken off" in outcome.reason
            assert objects(rig) == before
            await rig.advance("1h")
            assert numbers(rig, "end") == [1]
        finally:
            type(node(rig, "one")).side_effect = "none"

    play(FLOW.replace("time: 1s", "time: 1h"), story)


def test_a_node_that_does_not_open_puts_everything_back() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        before = objects(rig)
        text = FLOW.replace("time: 1s", "time: 2s").replace("from: two", "from: [two, new]")
        for opens, why in (("error", "ZeroDivisionError"), ("hang", "more than 10 s"), ("fatal", "Fatal")):
            kind = "moody-async" if opens == "hang" else "moody"
            outcome = await reload(rig, text + f"  new: {{type: {kind}, opens: [{opens}], from: one}}\n")
            assert (outcome.result, outcome.generation) == ("failed", 1)
            assert outcome.reason.startswith("t/new does not open: ")
            assert why in outcome.reason
            assert objects(rig) == before
        assert not rig.failed
        await tell(rig, 3)
        await rig.advance("10s")
        assert numbers(rig, "end") == [1, 2, 3]
        assert acked(rig) == [1, 2, 3]
        assert rig.engine.generation == 1

    play(FLOW, story)


def test_a_peer_that_is_away_is_waited_for_as_at_a_start() -> None:
    async def story(rig: Rig) -> None:
        new = "  new: {type: moody, opens: [away, away], from: one}\n"
        assert (await reload(rig, FLOW + new)).result == "applied"
        assert rig.engine.not_ready() == {"t/new": "disconnected"}
        await tell(rig, 1)
        await rig.advance("1min")
        assert (rig.engine.not_ready(), rig.payloads("new")) == ({}, [1])

    play(FLOW, story)


def test_a_file_with_problems_changes_nothing() -> None:
    async def story(rig: Rig) -> None:
        before = objects(rig)
        outcome = await reload(rig, FLOW.replace("type: relay", "type: rely"))
        assert outcome.result == "refused"
        assert "unknown node type 'rely'" in outcome.reason
        assert objects(rig) == before
        assert (rig.engine.generation, rig.engine.problems, rig.engine.reloads) == (1, [], {"refused": 1})

    play(FLOW, story)


def test_added_removed_rewired() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        before = objects(rig)
        outcome = await reload(
            rig,
            "\n  src: {type: tracked}\n  new: {type: relay, how: same, from: src}\n  end: {type: sink, from: new}\n",
        )
        assert (outcome.added, sorted(outcome.removed)) == (["t/new"], ["t/one", "t/two"])
        assert sorted(outcome.rewired) == ["t/end", "t/src"]
        assert {objects(rig)[name] == before[name] for name in ("t/src", "t/end")} == {True}
        await tell(rig, 3)
        assert numbers(rig, "end") == [1, 2, 3]  # what was on its way went through those that are gone
        assert acked(rig) == [1, 2, 3]
        with pytest.raises(Exception, match="there is no node 'two' in t"):
            rig.engine.node("t", "two")

    play(FLOW, story)


def test_what_a_removed_node_cannot_deliver_is_kept_as_dead_letters() -> None:
    flow = FLOW.replace("type: slow, time: 1s", "type: moody, opens: [ok, away, away, away], moods: [away]")

    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        assert acked(rig) == []
        outcome = await reload(rig, "\n  src: {type: tracked}\n  end: {type: sink, from: src}\n")
        assert outcome.result == "applied"
        await rig.advance("10ms")
        assert refused(rig) == [("one", "node-removed"), ("one", "node-removed")]
        assert acked(rig) == [1, 2]

    play(flow, story)


def test_state_goes_to_the_new_one_where_it_fits() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1, key="a")
        assert (await reload(rig, FLOWS["keeper"].replace("from: make", "from: make, key: k"))).changed == ["t/work"]
        assert msgspec.json.decode(rig.engine.store.load_state("t", "work").entries["a"])
        assert list(rig.worker("work").ctx.state) == ["a"]
        outcome = await reload(rig, FLOWS["keeper"].replace("type: keeper", "type: relay"))
        assert outcome.changed == ["t/work"]
        assert list(rig.worker("work").ctx.state) == []  # of another type

    play(FLOWS["keeper"], story)


FLOWS = {
    "keeper": "\n  make: {type: maker, count: 0}\n  work: {type: keeper, from: make}\n  end: {type: sink, from: work}\n"
}


def test_a_renamed_node_takes_inbox_and_state_along(caplog: pytest.LogCaptureFixture) -> None:
    text = FLOWS["keeper"]

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1, key="a")
        outcome = await reload(rig, text.replace("work", "job"))
        assert (outcome.changed, outcome.added, outcome.removed) == (["t/job"], [], [])
        assert list(rig.worker("job").ctx.state) == ["a"]
        await rig.emit("make", 2, key="a")
        await rig.advance("1s")
        assert "a" in rig.engine.store.load_state("t", "job").entries
        assert rig.engine.store.load_state("t", "work").entries == {}

    with caplog.at_level(logging.INFO):
        play(text, story)
    assert "t/job goes on with what t/work kept" in caplog.text


def test_another_policy_of_the_queue_is_no_other_node() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3, 4)
        before = objects(rig)
        text = FLOW.replace("from: src}", "from: src, queue: {durable: true, size: 2}}")
        outcome = await reload(rig, text)
        assert (outcome.changed, outcome.rewired, objects(rig)) == ([], ["t/one"], before)
        await rig.advance("10ms")
        assert len(rig.engine.store.waiting("t", "one")) == 3
        assert acked(rig) == [2, 3, 4]  # on the disk; 1 is in work
        await rig.advance("1h")
        assert numbers(rig, "end") == [1, 2, 3, 4]
        assert rig.engine.store.inboxes() == {}

    play(FLOW, story)


def test_a_source_that_changes_hands_on_what_it_has_first() -> None:
    flow = FLOW.replace("from: src}", "from: src, queue: {size: 1}}")

    async def story(rig: Rig) -> None:
        old = node(rig, "src")
        await tell(rig, 1, 2, 3, 4)
        outcome = await reload(rig, flow.replace("tracked}", "tracked, label: new}"))
        assert (outcome.result, outcome.changed) == ("applied", ["t/src"])
        assert old.left
        await tell(rig, 5)
        await rig.advance("1min")
        assert numbers(rig, "end") == [1, 2, 3, 4, 5]
        assert old.acked == [1, 2, 3, 4]
        assert acked(rig) == [5]

    play(flow, story)


def test_a_timer_of_a_node_that_changed_never_rings() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", {"x": 50})
        await rig.advance("30s")
        old = rig.worker("hot")
        await reload(rig, text.replace("above: 10", "above: 20"))
        await rig.advance("40s")
        assert not old.due
        await rig.emit("make", {"x": 50})
        assert rig.payloads("hot", "above") == [{"x": 50, "hot": "above"}]  # it counts from the first, as before

    text = """
  make: {type: maker, count: 0}
  hot: {type: threshold, from: make, field: x, above: 10, for: 1min}
  end: {type: sink, from: hot.above}
"""
    play(text, story)


def test_changed_code_is_another_node(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    code = '''
from flowrunner.node import Node

class Own(Node):
    """Its own."""
    def process(self, message, ctx):
        return message.derive(message.payload + 1)
'''
    file.write_text(code)

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        before = objects(rig)
        rig.registry = rig.registry.refreshed()
        assert (await reload(rig, text)).result == "unchanged"
        file.write_text(code.replace("+ 1", "+ 100"))
        rig.registry = rig.registry.refreshed()
        outcome = await reload(rig, text)
        assert outcome.changed == ["t/work"]
        await rig.emit("make", 1)
        assert numbers(rig, "end") == [2, 101]
        assert objects(rig)["t/make"] == before["t/make"]
        file.write_text("1 +")
        rig.registry = rig.registry.refreshed()
        assert (await reload(rig, text)).result == "refused"
        await rig.emit("make", 1)
        assert numbers(rig, "end") == [2, 101, 101]

    text = "\n  make: {type: maker, count: 0}\n  work: {type: own, from: make}\n  end: {type: sink, from: work}\n"
    play(text, story, registry=types(tmp_path))


def test_a_stop_in_the_middle_of_a_reload_is_a_stop() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        task = asyncio.ensure_future(reload(rig, FLOW.replace("time: 1s", "time: 2s")))
        await until(lambda: rig.worker("one").paused, "the node that changes takes nothing more")
        late = await rig.engine.runtime.stop()
        outcome = await task
        assert (outcome.result, outcome.reason) == ("failed", "flowrunner stops")
        assert late == []
        assert numbers(rig, "end") == [1, 2]

    play(FLOW, story)


def test_a_reload_in_vain_does_not_say_again_what_was_said_once() -> None:
    text = "\n  once: {type: inject, once: true, every: 1h, payload: 1}\n  end: {type: sink, from: once}\n"

    async def story(rig: Rig) -> None:
        bad = "  bad: {type: moody, opens: [error], from: once}\n"
        outcome = await reload(rig, text.replace("payload: 1", "payload: 2") + bad)
        assert outcome.result == "failed"
        assert numbers(rig, "end") == [1]
        await rig.advance("1h")
        assert numbers(rig, "end") == [1, 1]

    play(text, story)


def test_a_merge_that_collects_goes_on_collecting() -> None:
    text = """
  x: {type: manual-in, fields: {soc: {}}}
  both: {type: merge, from: x, settle: 5s}
  end: {type: sink, from: both}
"""

    async def story(rig: Rig) -> None:
        await rig.enter("x", {"soc": 1.0})
        await rig.advance("2s")
        assert (await reload(rig, text.replace("settle: 5s", "settle: 4s"))).changed == ["t/both"]
        await rig.advance("2s")
        assert rig.payloads("both") == []
        await rig.advance("1s")
        assert rig.payloads("both") == [{"soc": 1.0}]  # as it was said when it came

    play(text, story)
