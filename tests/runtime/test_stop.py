"""The end: sources first, inboxes drain, nodes close; nobody waits for what cannot come, and who is late is named."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.testing import Rig
from flowrunner.units import SECOND
from tests.runtime.kit import node, numbers, play, types

REGISTRY = types()


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    times=st.lists(st.sampled_from([0, 1, 3]), min_size=2, max_size=2),
    at=st.integers(0, 60),
    emit=st.booleans(),
)
def test_a_stop_in_the_middle_of_load_loses_nothing_that_was_made(
    sizes: list[int], times: list[int], at: int, emit: bool
) -> None:
    text = f"""
  make: {{type: maker, count: 100000, emit: {str(emit).lower()}, pause: 1ms}}
  one: {{type: slow, time: {times[0]}ms, from: make, queue: {{size: {sizes[0]}}}}}
  two: {{type: relay, how: twice, from: one, queue: {{size: {sizes[1]}}}}}
  three: {{type: slow, time: {times[1]}ms, emit: true, from: two, queue: {{size: {sizes[2]}}}}}
  end: {{type: sink, from: [make, three], queue: {{size: 1}}}}
"""

    async def story(rig: Rig) -> None:
        await rig.advance(f"{at}ms")
        assert await rig.engine.runtime.stop() == []
        made = rig.worker("make").counters.sent
        assert numbers(rig, "end", "make.out") == list(range(made))
        assert Counter(numbers(rig, "end", "three.out")) == Counter([*range(made), *range(made)])
        assert all(worker.counters.state == "stopped" for worker in rig.engine.runtime.workers.values())

    play(text, story, registry=REGISTRY)


def test_who_is_late_is_named(caplog: pytest.LogCaptureFixture) -> None:
    text = """
  make: {type: maker, count: 0}
  work: {type: slow, time: 2s, from: make}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        for number in range(5):
            await rig.emit("make", number)
        began = rig.now
        late = await rig.engine.runtime.stop(deadline_s=5)
        assert rig.now - began == 5 * SECOND
        assert late == ["t/work (3 messages left, kept for the next start)"]
        assert numbers(rig, "end") == [0, 1]
        assert await rig.engine.runtime.stop() == []  # safe to repeat
        await rig.advance("1h")
        assert numbers(rig, "end") == [0, 1]  # nothing moves any more

    play(text, story)
    assert "stopped before these were done: t/work (3 messages left, kept for the next start)" in caplog.text


@pytest.mark.parametrize("opens", ["[away, away, away, away, away, away, away]", "[error, error, error, error, error]"])
@pytest.mark.parametrize("wait", ["0s", "500ms", "3s"])
def test_a_stop_while_nodes_are_not_open_is_quick(opens: str, wait: str) -> None:
    """Also for those before it, which are blocked by its full inbox; and the rest of the flow still drains."""
    text = f"""
  make: {{type: maker, count: 0}}
  before: {{type: relay, from: make}}
  work: {{type: moody, from: before, opens: {opens}, queue: {{size: 2}}}}
  other: {{type: slow, time: 100ms, from: make}}
  end: {{type: sink, from: other}}
"""

    async def story(rig: Rig) -> None:
        for number in range(5):
            await rig.emit("make", number)
        await rig.advance(wait)
        began = rig.now
        late = await rig.engine.runtime.stop(deadline_s=60)
        assert late == []  # nobody waits for them, and they are kept
        assert [len(rig.engine.store.waiting("t", one)) for one in ("before", "work")] == [2, 3]
        assert numbers(rig, "end") == [0, 1, 2, 3, 4]
        assert rig.now - began <= SECOND // 2

    play(text, story)


def test_a_stop_while_an_open_hangs_is_quick() -> None:
    text = """
  make: {type: maker, count: 0}
  work: {type: moody-async, from: make, opens: [hang]}
"""

    async def story(rig: Rig) -> None:
        began = rig.now
        assert await rig.engine.runtime.stop() == []
        assert rig.now == began

    play(text, story)


def test_a_peer_that_comes_back_during_the_drain_is_used() -> None:
    text = """
  make: {type: maker, count: 0}
  slow: {type: slow, time: 2s, from: make}
  work: {type: moody, from: make, moods: [away]}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        assert await rig.engine.runtime.stop() == []
        assert numbers(rig, "end") == [1]

    play(text, story)


def test_a_source_deaf_to_cancellation_is_named_and_makes_nothing_more() -> None:
    text = """
  feed: {type: feed, script: [ok, deaf, ok, ok]}
  end: {type: sink, from: feed}
"""

    async def story(rig: Rig) -> None:
        await rig.advance("1s")
        began = rig.now
        assert await rig.engine.runtime.stop(deadline_s=4) == ["t/feed (it does not let itself be stopped)"]
        assert rig.now - began == 2 * SECOND
        assert numbers(rig, "end") == [0]
        assert node(rig, "feed").closed == [1]

    play(text, story)


def test_a_source_that_shrugs_its_cancellation_off_makes_nothing_more() -> None:
    text = """
  feed: {type: feed, script: [ok, shrug, ok, ok]}
  end: {type: sink, from: feed}
"""

    async def story(rig: Rig) -> None:
        await rig.advance("1s")
        began = rig.now
        assert await rig.engine.runtime.stop() == []
        assert (numbers(rig, "end"), node(rig, "feed").left) == ([0], 1)
        assert rig.now == began

    play(text, story)


def test_a_process_deaf_to_cancellation_does_not_hang_the_stop(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(
        '''
import asyncio
from flowrunner.node import Node

class Deaf(Node):
    """Never gives up at the first try."""
    async def process(self, message, ctx):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return message.derive("went on")
'''
    )
    text = """
  make: {type: maker, count: 0}
  work: {type: deaf, from: make}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        for number in range(3):
            await rig.emit("make", number)
        assert await rig.engine.runtime.stop(deadline_s=2) == ["t/work (2 messages left, kept for the next start)"]

    play(text, story, registry=types(tmp_path))


def test_nothing_is_logged_by_a_clean_run(caplog: pytest.LogCaptureFixture) -> None:
    text = """
  make: {type: maker, count: 500}
  work: {type: slow, turns: 2, from: make, queue: {size: 3}}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        await rig.settle()
        assert len(numbers(rig, "end")) == 500

    with caplog.at_level(logging.DEBUG):
        play(text, story)
    assert [one.getMessage() for one in caplog.records if one.name.startswith("flowrunner")] == []
