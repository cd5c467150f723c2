"""Timers of nodes: replaced, cancelled, in order, kept while a peer is away, and none after the end."""

from __future__ import annotations

import pytest

from flowrunner.errors import FlowrunnerError
from flowrunner.testing import Rig
from flowrunner.units import SECOND
from tests.runtime.kit import node, numbers, play

FLOW = """
  make: {type: maker, count: 0}
  work: {type: clockwork, from: make}
  end: {type: sink, from: work}
"""


async def tell(rig: Rig, *names: str, **order: object) -> None:
    await rig.emit("make", {"set": list(names), **order})


def fired(rig: Rig) -> list[tuple[str, float]]:
    """(name, seconds since the start)."""
    start = rig.out("make")[0].at
    return [(name, (at - start) / SECOND) for name, _, at in node(rig, "work").fired]


def test_timers_fire_in_order_and_what_comes_out_has_their_root() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, "late", **{"in": "3s"})
        await tell(rig, "soon", "same", **{"in": "1s"}, key="k")
        await rig.advance("10s")
        assert fired(rig) == [("soon", 1), ("same", 1), ("late", 3)]
        first = node(rig, "end").messages[0]
        assert first.key == "k"
        assert first.root == ("work", f"timer:soon:k@{rig.out('make')[0].at + SECOND}")
        assert first.lineage().startswith("work@timer:soon:k@")

    play(FLOW, story)


def test_setting_a_timer_again_replaces_it() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, "t", **{"in": "2s"})
        await rig.advance("1s")
        await tell(rig, "t", **{"in": "2s"})
        await tell(rig, "t", **{"in": "2s"}, key="other")
        await rig.advance("10s")
        assert [(name, key) for name, key, _ in node(rig, "work").fired] == [("t", ""), ("t", "other")]
        assert fired(rig) == [("t", 3), ("t", 3)]

    play(FLOW, story)


def test_a_cancelled_timer_does_not_fire() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, "t", "u", **{"in": "2s"})
        await rig.emit("make", {"cancel": ["t", "unknown"]})
        await rig.advance("10s")
        assert fired(rig) == [("u", 2)]

    play(FLOW, story)


def test_a_timer_whose_time_has_come_but_not_its_turn_can_still_be_replaced_and_cancelled() -> None:
    """The node is held up by a full reader when its timers become due."""
    text = """
  make: {type: maker, count: 0}
  work: {type: clockwork, from: make}
  hold: {type: slow, time: 10s, from: work, queue: {size: 1}}
"""

    async def story(rig: Rig) -> None:
        await tell(rig, "cancelled", "moved", "kept", **{"in": "1s"})
        for _ in range(3):
            await rig.emit("make", {"pass": True})
        await rig.advance("2s")
        assert fired(rig) == []
        rig.worker("work").ctx.cancel_timer("cancelled", "")
        rig.worker("work").ctx.timer("moved", "", rig.now + 30 * SECOND)
        await rig.advance("1min")
        assert fired(rig) == [("kept", 10), ("moved", 32)]

    play(text, story)


def test_a_timer_in_the_past_fires_at_once() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, "now")
        assert fired(rig) == [("now", 0)]

    play(FLOW, story)


def test_none_fires_after_the_end_and_none_is_set_while_closing() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, "t", **{"in": "1s"})
        await rig.engine.runtime.stop()
        await rig.advance("1h")
        assert fired(rig) == []
        assert rig.worker("work").at_rest  # nor does any become due

    play(FLOW, story)


def test_a_node_without_on_timer_cannot_set_one() -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(FlowrunnerError, match="t/make sets a timer but has no on_timer"):
            rig.worker("make").ctx.timer("t", "", 0)

    play(FLOW, story)


@pytest.mark.parametrize(("mood", "calls"), [("away", 2), ("retry", 2), ("reject", 1), ("error", 1)])
def test_a_timer_that_fails_for_want_of_its_peer_is_kept(mood: str, calls: int) -> None:
    text = f"""
  make: {{type: maker, count: 0}}
  work: {{type: moody, from: make, timers: [{mood}]}}
  end: {{type: sink, from: work}}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("make", "timer")
        await rig.advance("20s")
        assert [what for _, what, _ in node(rig, "work").did].count("t:k") == calls
        assert numbers(rig, "end").count("t:k") == calls - 1
        assert sum(rig.errors("work").values()) == 1

    play(text, story)
