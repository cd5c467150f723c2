"""Messages that go together: whole lists run through idle readers, and still nothing is lost, doubled or overtaken."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

from flowrunner.clock.io_time import stopwatch
from flowrunner.runtime import Worker
from flowrunner.runtime.delivery import SLICE_S
from flowrunner.testing import Rig
from tests.runtime.grown import Grown, trees
from tests.runtime.kit import numbers, play, refused, types
from tests.runtime.test_worker import live

REGISTRY = types()


@settings(max_examples=60, deadline=None)
@given(trees())
def test_nothing_is_lost_doubled_or_overtaken_on_a_tree(tree: Grown) -> None:
    text, sent = tree

    async def story(rig: Rig) -> None:
        assert rig.worker("n0").out.tree
        await rig.advance("1h")
        for name, expected in sent.items():
            assert rig.worker(name).counters.sent == sum(expected.values())
            if name == "n0":
                continue
            assert Counter(numbers(rig, f"end{name[1:]}")) == expected
            assert numbers(rig, f"end{name[1:]}") == rig.payloads(name)
        assert rig.payloads("n0") == [*range(len(sent["n0"]))]
        assert all(worker.at_rest for worker in rig.engine.runtime.workers.values())
        assert not any(rig.dropped(name) or rig.errors(name) for name in sent)

    play(text, story, registry=REGISTRY)


def test_a_whole_list_runs_through_before_the_next_node_has_its_turn() -> None:
    text = """
  make: {type: maker, count: 10}
  first: {type: relay, from: make}
  end: {type: sink, from: first}
"""

    async def story(rig: Rig) -> None:
        assert [one.address for one in rig.sent] == ["t/make"] * 10 + ["t/first"] * 10
        assert numbers(rig, "end") == [*range(10)]

    play(text, story)


def test_where_ways_meet_again_each_message_runs_to_the_end_before_the_next_one() -> None:
    text = """
  make: {type: maker, count: 3}
  left: {type: relay, from: make}
  right: {type: relay, from: make}
  end: {type: sink, from: [left, right]}
"""

    async def story(rig: Rig) -> None:
        assert not rig.worker("make").out.tree
        assert numbers(rig, "end") == [0, 0, 1, 1, 2, 2]

    play(text, story)


def test_wires_that_a_reload_adds_are_seen() -> None:
    text = """
  make: {type: maker, count: 0}
  left: {type: relay, from: make}
  right: {type: relay, from: make}
  end: {type: sink, from: left}
"""

    async def story(rig: Rig) -> None:
        assert rig.worker("make").out.tree
        await rig.reload("flow: t\nnodes:" + text.replace("from: left", "from: [left, right]"))
        assert not rig.worker("make").out.tree

    play(text, story, registry=REGISTRY)


def together(worker: Worker, *payloads: int) -> None:
    """All of them leave the node as one list."""
    for payload in payloads:
        message = worker.ctx.message(payload, position=str(payload))
        worker.out.collect(message, message.root, None)
    worker.out.hand_on()


def test_a_node_that_fails_in_the_middle_of_a_list_loses_only_that_one() -> None:
    text = """
  make: {type: maker, count: 0}
  first: {type: relay, from: make}
  work: {type: moody, from: first, moods: [ok, unknown-port, ok]}
"""

    async def story(rig: Rig) -> None:
        together(rig.worker("first"), 1, 2, 3)
        assert rig.payloads("work") == [1, 3]
        assert rig.worker("work").counters.received == 3
        assert sum(rig.errors("work").values()) == 1

    play(text, story, registry=REGISTRY)


@pytest.mark.anyio
async def test_a_source_that_takes_its_time_for_each_message_lets_others_run_in_between() -> None:
    """Real time is what counts here: each message takes longer than a slice."""
    engine = live("""
  make: {type: maker, count: 0}
  end: {type: sink, from: make}
""")
    await engine.start()
    worker, others = engine.runtime.workers["t/make"], list[int]()
    out, ctx = worker.out, worker.ctx
    try:
        out.runs()
        for number in range(5):
            asyncio.get_running_loop().call_soon(others.append, number)
            message, over = ctx.message(number, position=f"slow {number}"), stopwatch() + 2 * SLICE_S
            while stopwatch() < over:
                pass
            assert not out.gather(message)
            await out.send("out", out.stamp(message, message.root, None))
            assert (out.ready, others) == ([], [*range(number + 1)])
        out.pauses()
    finally:
        assert await engine.stop() == []


def test_an_error_that_cannot_be_told_holds_back_nothing(tmp_path: Path) -> None:
    (tmp_path / "wordless.py").write_text(
        '''
from flowrunner.node import Node

class Unsayable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Wordless(Node):
    """Fails at a 2, and nobody can say why."""
    def process(self, message, ctx):
        if message.payload == 2:
            raise Unsayable
        return message
'''
    )
    text = """
  make: {type: maker, count: 0}
  first: {type: relay, from: make}
  work: {type: wordless, from: first}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        together(rig.worker("first"), 1, 2)
        assert numbers(rig, "end") == [1]
        assert refused(rig) == [("work", "exception")]
        assert rig.worker("work").at_rest

    play(text, story, registry=types(tmp_path))
