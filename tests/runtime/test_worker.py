"""A worker's pace: batches, turns of the loop, what waits for what, and what it counts."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from pathlib import Path

import pytest

from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.runtime import Receipt
from flowrunner.runtime.delivery import BATCH
from flowrunner.store import Store
from flowrunner.testing import Rig
from flowrunner.units import Duration
from tests.peers.until import until
from tests.runtime.kit import node, numbers, play, types


def live(nodes: str, *folders: Path) -> Engine:
    """An engine in the test's own loop, in real time."""
    checked = check_flows({"flow.yaml": f"flow: t\nnodes:\n{nodes}"}, {}, types(*folders))
    assert checked.graph is not None, checked.problems
    return Engine(checked, store=Store.open(None), clock=LiveClock())


def test_what_waits_is_handed_on_in_batches() -> None:
    text = """
  make: {type: maker, count: 0}
  work: {type: moody, from: make, opens: [away], queue: {size: 2000}}
  end: {type: sink, from: work, queue: {size: 2000}}
"""

    async def story(rig: Rig) -> None:
        for number in range(600):
            rig.worker("work").inbox.offer(("make.out", await rig.emit("make", number), None))
        assert len(rig.worker("work").inbox) == 1200
        order: list[str] = []
        rig.worker("work").tap = lambda port, message: order.append("work")
        rig.worker("end").process = lambda message, ctx: order.append("end")
        await rig.advance("2s")
        runs: list[int] = []
        for one, before in zip(order, ["", *order], strict=False):
            if one == before:
                runs[-1] += 1
            else:
                runs.append(1)
        assert runs == [256, 256] * 4 + [176, 176]
        assert BATCH == 256

    play(text, story)


def test_what_is_ready_is_handed_on_when_process_suspends(tmp_path: Path) -> None:
    (tmp_path / "patient.py").write_text(
        '''
from flowrunner.node import Node

class Patient(Node):
    """Waits ten seconds for the odd ones."""
    async def process(self, message, ctx):
        if message.payload % 2:
            await ctx.sleep_until(ctx.now() + 10_000_000_000)
        return message
'''
    )
    text = """
  make: {type: maker, count: 6, emit: true}
  work: {type: patient, from: make}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        assert numbers(rig, "end") == [0]
        await rig.advance("10s")
        assert numbers(rig, "end") == [0, 1, 2]
        await rig.advance("20s")
        assert numbers(rig, "end") == [0, 1, 2, 3, 4, 5]

    play(text, story, registry=types(tmp_path))


def test_counters() -> None:
    text = """
  make: {type: maker, count: 0}
  work: {type: relay, how: both, from: make}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.advance("5s")
        await rig.emit("make", 2)
        await rig.advance("3s")
        found = {name: rig.worker(name).counters for name in ("make", "work", "end")}
        assert [(one.received, one.sent) for one in found.values()] == [(0, 2), (2, 4), (2, 0)]
        assert {one.last_at for one in found.values()} == {rig.out("make")[-1].at}  # sinks, too: when the last came in
        assert all(one.process_seconds > 0 for one in (found["work"], found["end"]))
        assert found["work"].last == {"out": rig.out("work")[-1], "side": rig.out("work", "side")[-1]}

    play(text, story)


@pytest.mark.anyio
@pytest.mark.parametrize("emit", ["true", "false"])
async def test_a_source_that_never_waits_does_not_hold_the_loop(emit: str) -> None:
    engine = live(f"""
  busy: {{type: maker, count: 1000000000, emit: {emit}}}
  work: {{type: relay, from: busy}}
  tick: {{type: maker, count: 20, pause: 5ms}}
  end: {{type: sink, from: tick}}
""")
    await engine.start()
    workers = engine.runtime.workers
    try:
        await until(lambda: workers["t/tick"].counters.state == "finished", "the other source has ended", 20)
    finally:
        assert await engine.stop() == []
    assert workers["t/busy"].counters.sent > 1000
    times = [message.at for message in workers["t/end"].node.messages]  # type: ignore[attr-defined]
    longest = max(later - earlier for earlier, later in itertools.pairwise(times))
    assert longest < Duration.parse("500ms")  # a few in truth; this machine may be busy with other things


@pytest.mark.anyio
async def test_drained_waits_for_all_that_is_on_its_way() -> None:
    """Whatever is where it is when asked: in an inbox, in a line, in work, waiting for a retry."""
    engine = live("""
  make: {type: maker, count: 0}
  slow: {type: slow, time: 1ms, from: make, queue: {size: 1}}
  moody: {type: moody, from: slow, moods: [ok, away], queue: {size: 2}, retry: {first: 10ms}}
  late: {type: slow, turns: 5, from: moody, queue: {size: 1}}
  end: {type: sink, from: late}
""")
    await engine.start()
    worker = engine.runtime.workers["t/make"]
    try:
        for number in range(20):
            if number % 5:
                worker.ctx.offer(worker.ctx.message(number, position=str(number)))
            else:
                await worker.ctx.emit(worker.ctx.message(number, position=str(number)))
                async with asyncio.timeout(20):
                    await engine.runtime.drained()
                assert len(engine.runtime.workers["t/end"].node.seen) == worker.counters.sent  # type: ignore[attr-defined]
    finally:
        assert await engine.stop() == []


def test_a_node_that_takes_no_messages_says_so(tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text(
        '''
from flowrunner.node import Node

class Mute(Node):
    """Has an input by mistake."""
    async def produce(self, ctx):
        return
        yield
'''
    )

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        assert rig.errors("work") == {"no-process": 1}
        assert rig.errors("make") == {}

    play("  make: {type: maker, count: 0}\n  work: {type: mute, from: make}", story, registry=types(tmp_path))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("def process(self, message, ctx):\n        yield message", "it returned a generator"),
        ("async def process(self, message, ctx):\n        yield message", "it returned a async_generator"),
        ("def process(self, message, ctx):\n        return self.later(message)", "it returned a coroutine"),
    ],
)
def test_a_process_of_the_wrong_kind_is_told_so(tmp_path: Path, body: str, what: str) -> None:
    (tmp_path / "wrong.py").write_text(
        f'''
from flowrunner.node import Node

class Wrong(Node):
    """Wrong."""
    {body}
    async def later(self, message):
        return message
'''
    )

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        assert f"BadOutput: {what}" in rig.worker("work").counters.last_error

    play("  make: {type: maker, count: 0}\n  work: {type: wrong, from: make}", story, registry=types(tmp_path))


def test_only_whoever_is_asked_is_counted_on(caplog: pytest.LogCaptureFixture) -> None:
    """An entry's token is told once, whether its message was processed, rejected or tried several times."""

    async def story(rig: Rig) -> None:
        told: list[int] = []
        worker = rig.worker("work")
        for number in range(5):
            slip = Receipt(partial(told.append, number), rig.engine.runtime.commits)
            message: Message = rig.worker("make").ctx.message(number, position=str(number))
            worker.inbox.offer(("make.out", message, slip))
        worker.nudge(0)
        assert told == [0]  # ok; the second was rejected, which is not on the disk yet; the third's peer is away
        await rig.advance("1min")
        assert sorted(told) == [0, 1, 2, 3, 4]
        assert node(rig, "work").left["moods"] == []

    play(
        "  make: {type: maker, count: 0}\n"
        "  work: {type: moody, from: make, moods: [ok, reject, away, retry, ok, error, fatal]}".replace(", fatal", ""),
        story,
    )
