"""Nodes that fail to open, to close or to go on: restarted alone, with back-off, while the others work."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from flowrunner.runtime.supervision import CLOSE_LIMIT_S, OPEN_LIMIT_S
from flowrunner.testing import Rig
from flowrunner.units import SECOND
from tests.runtime.kit import node, numbers, play, types


def flow(options: str, kind: str = "moody") -> str:
    return f"""
  make: {{type: maker, count: 0}}
  work: {{type: {kind}, from: make, {options}}}
  end: {{type: sink, from: work}}
  other: {{type: sink, from: make}}
"""


@pytest.mark.parametrize("kind", ["moody", "moody-async"])
def test_a_peer_that_is_away_at_the_start_is_waited_for(kind: str) -> None:
    async def story(rig: Rig) -> None:
        assert rig.engine.not_ready() == {"t/work": "disconnected"}
        await rig.emit("make", 1)
        assert (numbers(rig, "other"), numbers(rig, "end")) == ([1], [])
        await rig.advance("10s")
        assert numbers(rig, "end") == [1]
        assert rig.engine.not_ready() == {}
        view = rig.engine.node("t", "work")
        assert (view["connected"], view["restarts"], view["errors"]) == (True, 2, {"not-connected": 2})

    play(flow("opens: [away, away]", kind), story)


@pytest.mark.parametrize("mood", ["error", "exit", "cancelled", "reject"])
def test_an_open_that_fails_is_tried_again_and_the_others_go_on(mood: str) -> None:
    async def story(rig: Rig) -> None:
        assert rig.engine.not_ready() == {"t/work": "restarting"}
        await rig.emit("make", 1)
        assert (numbers(rig, "other"), numbers(rig, "end")) == ([1], [])
        await rig.advance("10s")
        assert (numbers(rig, "end"), rig.engine.not_ready()) == ([1], {})
        assert [what for _, what, _ in node(rig, "work").did] == ["open", "close", "open", "close", "open", 1]

    play(flow(f"opens: [{mood}, {mood}]"), story)


def test_fatal_in_open_stops_the_flow() -> None:
    async def story(rig: Rig) -> None:
        assert rig.failed == "t/work: the world ends"
        await rig.emit("make", 1)
        began = rig.now
        assert await rig.engine.runtime.stop() == []
        assert len(rig.engine.store.waiting("t", "work")) == 1
        assert rig.now == began

    play(flow("opens: [fatal]"), story)


def test_an_open_that_hangs_is_given_up_and_tried_again() -> None:
    async def story(rig: Rig) -> None:
        await rig.advance(f"{OPEN_LIMIT_S - 1:g}s")
        assert rig.engine.node("t", "work")["state"] == "starting"
        await rig.advance("3s")
        view = rig.engine.node("t", "work")
        assert (view["state"], view["last_error"]) == ("running", "exception: TimeoutError: it took more than 30 s")

    play(flow("opens: [hang]", "moody-async"), story)


def test_a_close_that_fails_is_said_and_left(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.advance("2s")
        assert numbers(rig, "end") == [1]
        assert await rig.engine.runtime.stop() == []

    play(flow("moods: [away], closes: [error, exit]"), story)
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert lines == ["t/work: closing failed: ZeroDivisionError: division by zero"]  # the second within a minute


def test_a_source_that_fails_is_restarted_alone() -> None:
    text = """
  feed: {type: feed, script: [ok, error, ok, exit, ok, cancelled, ok, away, ok, end]}
  end: {type: sink, from: feed}
"""

    async def story(rig: Rig) -> None:
        states = []
        for _ in range(40):
            await rig.advance("500ms")
            view = rig.engine.node("t", "feed")
            states.append((view["state"], view["connected"]))
        assert numbers(rig, "end") == [0, 1, 2, 3, 4]
        # restarted before it makes its next message: a pause of a second lies in between
        assert list(dict.fromkeys(states)) == [
            ("running", None), ("restarting", None), ("disconnected", False), ("running", True), ("finished", True)
        ]  # fmt: skip
        assert node(rig, "feed").runs == 5
        assert rig.errors("feed") == {"exception": 3, "not-connected": 1}
        assert rig.worker("feed").counters.restarts == 4

    play(text, story)


def test_a_source_is_connected_again_only_when_it_delivers_again(caplog: pytest.LogCaptureFixture) -> None:
    """Its open succeeds each time; that says nothing about the device."""
    text = "  feed: {type: feed, script: [ok, away, pause, away, pause, away, pause, away, ok]}"

    async def story(rig: Rig) -> None:
        seen: list[bool | None] = []
        for _ in range(300):
            await rig.advance("100ms")
            connected = rig.engine.node("t", "feed")["connected"]
            if not seen or seen[-1] != connected:
                seen.append(connected)
        assert seen == [None, False, True]

    with caplog.at_level(logging.INFO):
        play(text, story)
    assert [one.getMessage() for one in caplog.records] == [
        "t/feed: not connected: the peer is away",
        "t/feed: connected again",
    ]


def test_a_node_that_speaks_for_its_peer_is_believed(tmp_path: Path) -> None:
    """After NotConnected its open says that the peer is still away: work that succeeds does not prove otherwise."""
    (tmp_path / "frank.py").write_text(
        '''
from flowrunner.errors import NotConnected
from flowrunner.node import Node

class Frank(Node):
    """Says what it knows."""
    opened = 0

    async def open(self, ctx):
        self.opened += 1
        if self.opened > 1:
            ctx.connected(False, "still shaking hands")

    def process(self, message, ctx):
        if self.opened == 1:
            raise NotConnected("line lost")
        if message.payload == "up":
            ctx.connected(True)
        return message
'''
    )

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.advance("2s")
        assert rig.payloads("frank") == [1]
        assert rig.engine.node("t", "frank")["connected"] is False
        assert rig.engine.not_ready() == {"t/frank": "disconnected"}
        await rig.emit("make", "up")
        assert rig.engine.not_ready() == {}

    play("  make: {type: maker, count: 0}\n  frank: {type: frank, from: make}", story, registry=types(tmp_path))


def test_junk_from_a_source_is_an_error_and_the_source_goes_on() -> None:
    text = """
  feed: {type: feed, script: [ok, number, unknown-port, ok, end]}
  end: {type: sink, from: feed}
  bad: {type: sink, from: feed.error}
"""

    async def story(rig: Rig) -> None:
        await rig.advance("10s")
        assert numbers(rig, "end") == [0, 1]
        assert [one["code"] for one in numbers(rig, "bad")] == ["exception", "exception"]
        assert (node(rig, "feed").runs, rig.worker("feed").counters.restarts) == (1, 0)

    play(text, story)


def test_the_two_halves_of_a_node_are_restarted_together() -> None:
    """``process`` loses the peer: ``produce`` is left as well, and both go on with the node that was opened anew."""
    text = """
  make: {type: maker, count: 0}
  feed: {type: feed, from: make, moods: [ok, away], script: [ok, hang, ok, end]}
  end: {type: sink, from: feed}
"""

    async def story(rig: Rig) -> None:
        await rig.advance("2s")
        await rig.emit("make", "a")
        await rig.emit("make", "b")
        feed = node(rig, "feed")
        assert (feed.closed, feed.left, feed.runs) == ([1], 1, 1)
        await rig.advance("10s")
        assert numbers(rig, "end") == [0, "a", "b", 1] or numbers(rig, "end") == [0, "a", 1, "b"]
        assert (feed.opened, feed.runs, feed.left) == (2, 2, 2)
        assert rig.engine.node("t", "feed")["state"] == "finished"
        assert rig.worker("feed").counters.restarts == 1
        await rig.emit("make", "c")  # a source that has ended still takes messages
        assert numbers(rig, "end")[-1] == "c"

    play(text, story)


def test_a_failing_source_does_not_lose_what_its_other_half_has_in_work() -> None:
    text = """
  make: {type: maker, count: 0}
  feed: {type: feed, from: make, script: [away, ok, end]}
  end: {type: sink, from: feed}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("make", "a")  # the node is closed at this moment
        assert rig.worker("feed").counters.received == 0
        await rig.advance("10s")
        assert sorted(map(str, numbers(rig, "end"))) == ["0", "a"]

    play(text, story)


def test_no_half_works_on_a_node_that_the_other_has_closed(tmp_path: Path) -> None:
    """``produce`` fails while ``process`` is in the middle of a message and more of them wait."""
    (tmp_path / "duplex.py").write_text(
        '''
from flowrunner.errors import NotConnected
from flowrunner.node import Node
from flowrunner.units import SECOND

class Duplex(Node):
    """Reads and writes by one line."""
    inputs = "optional"
    line, fails, calls = None, 2, ()

    async def open(self, ctx):
        self.line = object()

    async def close(self):
        self.line = None

    async def produce(self, ctx):
        for number in range(3):
            await ctx.sleep_until(ctx.now() + 1_500_000_000)
            if self.fails:
                self.fails -= 1
                raise NotConnected("line lost")
            yield ctx.message(f"in {number}", position=str(number))

    async def process(self, message, ctx):
        line = self.line
        self.calls += (message.payload,)
        assert line is not None, "it is closed"
        await ctx.sleep_until(ctx.now() + SECOND)
        if self.line is not line and not self.fails:  # the first time it does not notice
            raise OSError("the line is gone")
        return message
'''
    )
    text = """
  make: {type: maker, count: 0}
  line: {type: duplex, from: make}
  end: {type: sink, from: line}
  bad: {type: sink, from: line.error}
"""

    async def story(rig: Rig) -> None:
        for number in range(6):
            await rig.emit("make", number)
        await rig.advance("1min")
        seen = numbers(rig, "end")
        assert [one for one in seen if isinstance(one, int)] == [0, 1, 2, 3, 4, 5]
        assert [one for one in seen if isinstance(one, str)] == ["in 0", "in 1", "in 2"]
        assert [one["code"] for one in numbers(rig, "bad")] == ["not-connected"] * 2, "each outage once; no message"
        assert rig.worker("line").counters.received == 6
        calls = list(node(rig, "line").calls)
        assert len(calls) == 7  # one was interrupted, and offered again
        assert rig.worker("line").counters.restarts == 2

    play(text, story, registry=types(tmp_path))


def test_a_defect_of_the_runtime_hits_neither_the_writer_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Here a tap that raises; the worker says it, and works on."""

    async def story(rig: Rig) -> None:
        tap = rig.worker("work").tap
        calls: list[str] = []

        def broken(port: str, message: object) -> None:
            calls.append(port)
            rig.worker("work").tap = tap
            raise LookupError("a broken tap")

        rig.worker("work").tap = broken
        await rig.emit("make", 1)
        await rig.emit("make", 2)
        assert calls == ["out"]
        assert numbers(rig, "other") == [1, 2]
        assert numbers(rig, "end") == [2]
        assert rig.errors("work") == {"defect": 1}
        assert rig.errors("make") == {}

    play(flow(""), story)
    (line,) = [one.getMessage() for one in caplog.records]
    assert line == "t/work: a defect of flowrunner itself: LookupError('a broken tap')"


def test_a_worker_task_that_dies_is_started_again() -> None:
    """Whatever ends it: here somebody cancels it from the outside."""

    async def story(rig: Rig) -> None:
        runtime = rig.engine.runtime
        await rig.emit("make", 0)  # the first work for it: until then there is no task
        await rig.advance("2s")
        for tasks in (runtime.tasks.works, runtime.tasks.sources):
            for address in list(tasks):
                tasks[address].cancel()
        await rig.advance("5s")
        await rig.emit("make", 1)
        await rig.advance("5s")
        assert rig.payloads("work") == [0, 1]
        assert len(numbers(rig, "end")) >= 8  # the source goes on, too
        assert rig.worker("feed").counters.restarts == 1
        assert rig.worker("work").counters.restarts == 1

    text = """
  make: {type: maker, count: 0}
  work: {type: slow, time: 1s, from: make}
  feed: {type: feed}
  end: {type: sink, from: [work, feed]}
"""
    play(text, story)


def test_close_is_called_once_per_open_and_at_the_end() -> None:
    async def story(rig: Rig) -> Any:
        await rig.emit("make", 1)
        await rig.advance("10s")
        return node(rig, "work")

    work = play(flow("moods: [away], opens: [error]"), story)
    assert [what for _, what, _ in work.did] == [
        "open", "close", "open", 1, "close", "open", 1, "close"
    ]  # fmt: skip


def test_a_close_that_hangs_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "clinging.py").write_text(
        '''
import asyncio
from flowrunner.node import Node

class Clinging(Node):
    """Never closes."""
    def process(self, message, ctx):
        return None
    async def close(self):
        await asyncio.Event().wait()
'''
    )
    text = """
  make: {type: maker, count: 0}
  work: {type: clinging, from: make}
"""

    async def story(rig: Rig) -> None:
        began = rig.now
        assert await rig.engine.runtime.stop() == []
        assert rig.now - began == CLOSE_LIMIT_S * SECOND

    play(text, story, registry=types(tmp_path))
