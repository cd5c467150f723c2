"""Reloads where much is at stake: other names, twins, backlogs, orders in work, peers and types that misbehave."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND
from tests.runtime.kit import crash, node, numbers, play, refused, types
from tests.runtime.test_acknowledgement import acked, tell
from tests.runtime.test_swap import reload

DURABLE = "queue: {durable: true, size: 50}"
AWAY = f"type: moody, moods: [away], opens: [ok{', away' * 9}]"


def rows(rig: Rig) -> list[tuple[str, str, Any]]:
    """(flow, node, payload) of all that waits on the disk."""
    found = rig.engine.store.read(
        lambda sql: sql.execute("SELECT flow, node, message FROM inbox ORDER BY flow, node, seq").fetchall()
    )
    return [(flow, name, msgspec.json.decode(message)["payload"]) for flow, name, message in found]


@pytest.mark.parametrize(
    ("old", "new"),
    [("  work:", "  job:"), ("flow: t", "flow: u"), ("flow: t\n", "flow: u\ntitle: U\n")],
    ids=["node", "flow", "title-too"],
)
@pytest.mark.parametrize("also", ["", "time: 4s"], ids=["only-the-name", "an-option-too"])
def test_what_waits_on_the_disk_follows_another_name(old: str, new: str, also: str) -> None:
    if also and old == "  work:":
        pytest.skip("a node with another name and other options is another node")
    store = Store.open(None, inline=True)
    nodes = f"\n  src: {{type: tracked}}\n  work: {{type: slow, time: 5s, from: src, {DURABLE}}}\n"
    flow = f"flow: t\nnodes:{nodes}  end: {{type: sink, from: work}}\n"
    renamed = flow.replace(old, new).replace("from: work", "from: job" if "job" in new else "from: work")
    renamed = renamed.replace("time: 5s", also or "time: 5s")

    async def first(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        await rig.advance("10ms")
        source = node(rig, "src")
        outcome = await rig.reload(renamed)
        assert (outcome.result, outcome.added, outcome.removed) == ("applied", [], [])
        name = "u/src" if "u" in new.partition("flow: ")[2][:1] else "t/src"
        node(rig, name).told.put_nowait(4)
        await rig.advance("1min")
        end = name.replace("src", "end")
        assert numbers(rig, end) == [1, 2, 3, 4]
        assert rows(rig) == []
        node(rig, name).told.put_nowait(5)
        await rig.advance("10ms")
        assert 5 in node(rig, name).acked or 5 in source.acked
        crash(rig)

    run_flow(flow, first, store=store, registry=types())

    async def second(rig: Rig) -> None:
        await rig.advance("1min")
        end = next(one for one in rig.engine.graph.nodes if one.endswith("/end"))
        assert numbers(rig, end) == [5]
        assert rows(rig) == []

    run_flow(renamed, second, store=store, registry=types())


TWINS = f"""
  src: {{type: tracked}}
  src2: {{type: tracked}}
  out-1: {{{AWAY}, from: src, {DURABLE}}}
  out-2: {{{AWAY}, from: src2, {DURABLE}}}
"""
ONE = f"\n  src: {{type: tracked}}\n  src2: {{type: tracked}}\n  out-2: {{{AWAY}, from: src2, {DURABLE}}}\n"


@pytest.mark.parametrize("how", ["restart", "reload"])
def test_a_twin_that_goes_leaves_nothing_to_the_other(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also not when it comes back: then its own come first."""
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await tell(rig, 1, 2)
        await tell(rig, 11, source="src2")
        await rig.advance("10ms")
        if how == "reload":
            assert (await reload(rig, ONE)).result == "applied"
            await rig.advance("1s")
            assert rows(rig) == [("t", "out-1", 1), ("t", "out-1", 2), ("t", "out-2", 11)]
            assert refused(rig) == []
            assert (await reload(rig, TWINS)).added == ["t/out-1"]
            assert [entry[1].payload for entry in rig.worker("out-1").inbox.empty()] == [1, 2]
        crash(rig)

    play(TWINS, first, store=store)

    async def second(rig: Rig) -> None:
        assert rows(rig) == [("t", "out-1", 1), ("t", "out-1", 2), ("t", "out-2", 11)]
        assert len(rig.worker("out-2").inbox) == 1

    with caplog.at_level(logging.WARNING):
        play(ONE, second, store=store)
    assert "t/out-1 does not run, and 2 messages on the disk wait for it" in caplog.text


def test_a_source_that_left_in_vain_goes_on() -> None:
    flow = "\n  src: {type: leaver}\n  z: {type: leaver}\n  end: {type: sink, from: [src, z]}\n"

    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        text = flow.replace("src: {type: leaver}", "src: {type: leaver, label: x}")
        for fail in ("open", "listening"):
            outcome = await reload(rig, text.replace("z: {type: leaver}", f"z: {{type: leaver, fail: {fail}}}"))
            assert outcome.result == "failed"
        await tell(rig, 2)
        await tell(rig, 3, source="z")
        assert numbers(rig, "end") == [1, 2, 3]
        assert acked(rig) == [1, 2]

    play(flow, story)


def test_sources_that_do_not_hear_are_waited_for_together() -> None:
    names = [f"s{number}" for number in range(12)]
    flow = "".join(f"\n  {name}: {{type: leaver, fail: never}}" for name in names)
    flow += f"\n  end: {{type: sink, from: [{', '.join(names)}]}}\n"

    async def story(rig: Rig) -> None:
        began = rig.now
        assert (await reload(rig, flow.replace("never", "never, label: x"))).result == "applied"
        assert rig.now - began == 5 * SECOND

    play(flow, story)


def test_an_order_that_is_sent_ends_before_its_node_is_removed() -> None:
    flow = "\n  src: {type: tracked}\n  one: {type: order, from: src}\n  end: {type: sink, from: one}\n"

    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        await rig.advance("30s")
        outcome = await reload(rig, "\n  src: {type: tracked}\n  end: {type: sink, from: src}\n")
        assert outcome.result == "applied"
        assert (numbers(rig, "end"), refused(rig)) == ([1], [])

    play(flow, story)


def test_while_an_order_ends_the_other_nodes_that_change_go_on() -> None:
    flow = """
  src: {type: tracked}
  src2: {type: tracked}
  one: {type: order, from: src}
  other: {type: relay, from: src2}
  end: {type: sink, from: [one, other]}
"""

    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        await rig.advance("5s")
        text = flow.replace("type: relay", "type: relay, how: twice").replace("order, from", "order, key: k, from")
        task = asyncio.ensure_future(reload(rig, text))
        await rig.advance("30s")
        await tell(rig, 7, source="src2")
        assert numbers(rig, "end") == [7]
        await rig.advance("1min")
        assert task.result().result == "applied"

    play(flow, story)


def test_a_stop_while_removed_nodes_are_seen_off_tells_what_they_leave() -> None:
    flow = "\n  src: {type: tracked}\n  a: {type: slow, time: 100s, from: src}\n  end: {type: sink, from: src}\n"

    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        task = asyncio.ensure_future(reload(rig, "\n  src: {type: tracked}\n  end: {type: sink, from: src}\n"))
        await rig.advance("1s")
        await rig.engine.runtime.stop(0.5)
        await asyncio.wait([task])
        assert (task.result().result, task.result().generation) == ("applied", 2)
        assert rows(rig) == []
        assert refused(rig) == [("a", "node-removed")] * 3

    play(flow, story)


def test_a_chain_that_is_removed_shares_one_deadline() -> None:
    chain = "".join(
        f"  r{number}: {{type: relay, from: {f'r{number - 1}' if number else 'src'}, queue: {{size: 1}}}}\n"
        for number in range(12)
    )
    flow = f"\n  src: {{type: tracked}}\n{chain}  out: {{{AWAY}, from: r11, queue: {{size: 1}}}}\n"

    async def story(rig: Rig) -> None:
        for number in range(40):
            node(rig, "src").told.put_nowait(number)
        await rig.advance("1s")
        began = rig.now
        assert (await reload(rig, "\n  src: {type: tracked}\n  end: {type: sink, from: src}\n")).result == "applied"
        assert rig.now - began <= 6 * SECOND
        assert len(refused(rig)) + len(numbers(rig, "end")) == 40

    play(flow, story)


def test_a_latch_follows_a_new_name_also_where_a_twin_was_once() -> None:
    flow = """
  north: {type: maker, count: 0}
  south: {type: maker, count: 0}
  hot-n: {type: threshold, from: north, field: x, above: 40}
  hot-s: {type: threshold, from: south, field: x, above: 40}
  end: {type: sink, from: [hot-n.above, hot-s.above]}
"""
    one = flow.replace("  hot-s: {type: threshold, from: south, field: x, above: 40}\n", "").replace(
        ", hot-s.above", ""
    )

    async def story(rig: Rig) -> None:
        for name in ("north", "south"):
            await rig.emit(name, {"x": 45})
        await rig.advance("2s")
        assert (await reload(rig, one)).removed == ["t/hot-s"]
        assert (await reload(rig, one.replace("hot-n", "hot"))).changed == ["t/hot"]
        assert list(rig.worker("hot").ctx.state) == [""]

    play(flow, story)
