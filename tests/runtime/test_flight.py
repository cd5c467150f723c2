"""Messages in flight: sent off in order, done with at their own ends, and back in order when the line is cut."""

from __future__ import annotations

import pytest

from flowrunner.errors import Reject, Retry
from flowrunner.testing import Rig
from tests.runtime.kit import node, play, refused, types
from tests.runtime.test_acknowledgement import acked, tell
from tests.runtime.test_durable import on_disk, over_a_crash

PLAIN = "  src: {type: tracked}\n  work: {type: courier, from: src, retry: {first: 1s}}\n"
SAFE = """
flow: t
nodes:
  src: {type: tracked}
  work: {type: courier, window: 9, from: src, queue: {durable: true}}
"""


def test_several_are_under_way_and_each_is_done_with_at_its_own_end() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3, 4, 5)
        work = node(rig, "work")
        assert (work.sent, acked(rig)) == ([1, 2, 3], [])  # the window is full
        assert not rig.worker("work").at_rest
        work.arrived(2)
        await rig.settle()
        assert (work.sent, acked(rig)) == ([1, 2, 3, 4, 5], [1, 2])
        assert (len(rig.worker("work").inbox), rig.worker("work").at_rest) == (0, False)
        work.arrived(3)
        await rig.settle()
        assert acked(rig) == [1, 2, 3, 4, 5]
        assert rig.worker("work").at_rest
        assert rig.worker("work").counters.received == 5

    play(PLAIN, story)


def test_after_a_cut_all_go_again_in_order_before_anything_new() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3, 4, 5)
        work = node(rig, "work")
        late = list(work.under_way)
        work.arrived()
        await rig.settle()
        work.lose()
        await tell(rig, 6)
        await rig.advance("2s")
        assert work.sent == [1, 2, 3, 4, 2, 3, 4]
        assert work.opens == 2
        for _, one in late:
            one.done()  # of before the cut: they are on their way again
        assert acked(rig) == [1]
        work.arrived(3)
        await rig.settle()
        assert work.sent == [1, 2, 3, 4, 2, 3, 4, 5, 6]
        work.arrived(2)
        await rig.advance("10ms")
        assert sorted(acked(rig), key=str) == [1, 2, 3, 4, 5, 6]
        assert rig.worker("work").counters.received == 6

    play(PLAIN, story)


def test_one_that_is_refused_is_a_dead_letter_and_the_others_go_on() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3, 4)
        work = node(rig, "work")
        work.refused(2, Reject("mqtt-refused", "no"))
        await rig.advance("10ms")
        assert refused(rig) == [("work", "mqtt-refused")]
        (letter,) = rig.engine.store.dead_letters()
        assert (letter.wire, letter.obstacle) == ("src.out", "")
        assert acked(rig) == [2]
        work.arrived(3)
        await rig.settle()
        assert sorted(acked(rig), key=str) == [1, 2, 3, 4]
        assert work.sent == [1, 2, 3, 4]

    play(PLAIN, story)


def test_one_that_is_asked_to_wait_holds_those_behind_it() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3, 4)
        work = node(rig, "work")
        work.refused(2, Retry(5))
        await rig.settle()
        work.under_way.clear()
        await rig.advance("4s")
        assert work.sent == [1, 2, 3, 4]
        await tell(rig, 5)
        await rig.advance("2s")
        assert work.sent == [1, 2, 3, 4, 1, 2, 3, 4, 5]
        assert work.opens == 1

    play(PLAIN.replace("courier", "courier, window: 9"), story)


def test_a_row_stays_on_the_disk_until_the_end_and_a_crash_brings_it_again() -> None:
    async def before(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        await rig.advance("10ms")
        node(rig, "work").under_way.pop(1)[1].done()
        await rig.advance("10ms")
        assert on_disk(rig) == [1, 3]

    async def after(rig: Rig) -> None:
        await rig.settle()
        assert node(rig, "work").sent == [1, 3]
        node(rig, "work").arrived(2)
        await rig.advance("1s")
        assert on_disk(rig) == []

    over_a_crash(SAFE, before, after)


@pytest.mark.parametrize("text", [SAFE, f"flow: t\nnodes:\n{PLAIN}"], ids=["durable", "in memory"])
def test_a_stop_keeps_what_has_not_arrived(text: str) -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        node(rig, "work").arrived()
        await rig.restart()
        await rig.settle()
        assert node(rig, "work").sent == [2, 3]

    play(text.partition("nodes:\n")[2], story)


def test_a_reload_waits_for_what_is_under_way() -> None:
    async def story(rig: Rig) -> None:
        rig.registry = types()
        await tell(rig, 1, 2, 3, 4)
        old = node(rig, "work")
        rig.clock.call_at(rig.clock.now() + 1_000_000_000, lambda: old.arrived(3))
        reloaded = await rig.reload("flow: t\nnodes:\n" + PLAIN.replace("courier", "courier, tag: b"))
        assert reloaded.result == "applied"
        assert acked(rig) == [1, 2, 3]
        assert (old.sent, node(rig, "work").sent) == ([1, 2, 3, 4], [4])  # it was waited for, for five seconds

    play(PLAIN.replace("courier", "courier, window: 4"), story)
