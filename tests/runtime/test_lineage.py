"""Lineage: where a message came from and by which way, the same after a restart, and never its parents themselves."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from flowrunner.testing import Rig
from tests.runtime.kit import node, play

FLOW = """
  make: {type: maker, count: 4, pause: 1s}
  new: {type: relay, from: make}
  same: {type: relay, how: same, from: new}
  twice: {type: relay, how: twice, from: same}
  slow: {type: slow, time: 10ms, from: twice}
  emit: {type: slow, emit: true, turns: 1, from: slow}
  offer: {type: relay, how: offer, from: emit}
  end: {type: sink, from: offer}
"""
WAY = " > new > same > twice > slow > emit > offer"


def test_root_and_path_are_stamped_on_every_way_of_passing_on() -> None:
    async def story(rig: Rig) -> None:
        await rig.advance("10s")
        lineages = [one.lineage() for one in node(rig, "end").messages]
        assert lineages == [f"make@{number}{WAY}" for number in range(4) for _ in range(2)]

    play(FLOW, story)


def test_the_same_input_has_the_same_roots_after_a_restart() -> None:
    async def story(rig: Rig) -> None:
        await rig.advance("10s")
        first = [one.root for one in rig.out("offer")]
        await rig.restart()
        await rig.advance("10s")
        assert [one.root for one in rig.out("offer")] == first + first

    play(FLOW, story)


def test_a_message_holds_none_of_its_parents() -> None:
    class Payload(dict[str, Any]):
        """A dict that can be watched."""

    async def story(rig: Rig) -> None:
        payload = Payload(x=1)
        watched = weakref.ref(payload)
        await rig.emit("make", payload)
        del payload
        await rig.emit("make", {"x": 2})  # so that no counter keeps the first as its newest
        rig.sent.clear()
        (first, _) = node(rig, "end").messages
        node(rig, "end").seen.clear()
        assert first.lineage() == "make@test:1 > cut"
        gc.collect()
        assert watched() is None

    text = """
  make: {type: maker, count: 0}
  cut: {type: select, from: make, fields: [x]}
  end: {type: sink, from: cut}
"""
    play(text, story)


def test_a_cached_message_that_is_sent_again_does_not_grow() -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        cached = ctx.message(1, position="once")
        for _ in range(3):
            await ctx.emit(cached)
        first, *later = rig.out("make")
        assert first is cached
        assert first.lineage() == "make@once"
        assert {one.root for one in later} == {("make", "once")}
        assert {one.path for one in later} == {("make", "make")}  # copies: the cached one stays as it is

    play("  make: {type: maker, count: 0}", story)
