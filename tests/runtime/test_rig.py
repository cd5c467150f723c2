"""The rig itself: people who write nodes rely on it, so it says what is wrong, repeats itself and never hangs."""

from __future__ import annotations

import asyncio
import doctest
import gc
from pathlib import Path

import pytest

import flowrunner.testing
from flowrunner.clock import VirtualDeadlock
from flowrunner.errors import BadFlow, Reject, UsageError
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.testing import Rig, StoryStuck, run_flow
from flowrunner.units import SECOND
from tests.runtime.kit import node, numbers, play

FLOW = """
flow: demo
nodes:
  meter: {type: inject, every: 1min, payload: {x: 1}}
  double: {type: scale, from: meter, fields: {x: {factor: 2}}}
  hot: {type: threshold, from: double, field: x, above: 5}
  form: {type: manual-in, fields: {x: {min: 0, max: 9}}}
  last: {type: merge, from: [double, form]}
  rest: {type: http-in, route: GET /last, reply_with: last}
"""


def test_the_example_in_its_documentation_is_true() -> None:
    assert doctest.testmod(flowrunner.testing).attempted >= 4
    assert doctest.testmod(flowrunner.testing).failed == 0


def test_a_story() -> None:
    async def story(rig: Rig) -> str:
        began = rig.now
        await rig.emit("meter", {"x": 2}, key="north", quality="uncertain")
        (out,) = rig.out("double")
        assert (out.payload, out.key, out.quality) == ({"x": 4}, "north", "uncertain")
        await rig.advance("2min")
        assert rig.now - began == 120 * SECOND
        assert rig.payloads("double") == [{"x": 4}, {"x": 2}, {"x": 2}]
        assert rig.payloads("demo/double") == rig.payloads("double")
        await rig.emit("meter", {"x": 5})
        assert [one["x"] for one in rig.payloads("hot", "above")] == [10]
        taken = await rig.enter("form", {"x": 3})
        assert taken["payload"] == {"x": 3}
        with pytest.raises(Reject, match="above 9"):
            await rig.enter("form", {"x": 10})
        assert rig.errors("form") == {"value": 1}
        answer = await rig.request("GET", "/last")
        assert answer.status == 200
        return "told"

    assert run_flow(FLOW, story) == "told"


def test_time_stands_still_but_in_advance() -> None:
    text = """
  make: {type: maker, count: 0}
  slow: {type: slow, time: 1s, from: make}
  away: {type: moody, from: make, moods: [away]}
"""

    async def story(rig: Rig) -> None:
        began = rig.now
        await rig.emit("make", 1)
        assert rig.now == began
        assert rig.payloads("slow") == rig.payloads("away") == []
        await rig.advance("999ms")
        assert rig.payloads("slow") == []
        await rig.advance("1ms")
        assert rig.payloads("slow") == rig.payloads("away") == [1]
        await rig.advance("0s")
        assert rig.now - began == SECOND

    play(text, story)


def test_stubs_take_what_comes_and_send_what_the_story_says() -> None:
    text = """
  make: {type: maker, count: 5}
  out: {type: moody, from: make, opens: [fatal], queue: {size: 2}}
  end: {type: sink, from: out}
"""

    async def story(rig: Rig) -> None:
        await rig.settle()
        assert rig.worker("out").counters.received == 5  # it never fills up
        assert numbers(rig, "end") == []
        await rig.emit("out", "answer")
        assert numbers(rig, "end") == ["answer"]
        assert not hasattr(node(rig, "out"), "did")  # neither opened
        assert rig.failed == ""

    play(text, story, stubs=["out"])


def test_restart_keeps_state_and_makes_new_nodes() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("meter", {"x": 4})
        await rig.advance("10s")
        before, now = node(rig, "last"), rig.now
        await rig.restart()
        assert node(rig, "last") is not before
        assert rig.now == now
        assert (await rig.request("GET", "/last")).body["x"] == 8  # type: ignore[index]
        await rig.emit("meter", {"x": 1})
        assert rig.payloads("double") == [{"x": 8}, {"x": 2}]

    run_flow(FLOW, story)


def test_two_runs_on_one_store_are_a_restart() -> None:
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await rig.emit("meter", {"x": 4})

    async def second(rig: Rig) -> object:
        return (await rig.request("GET", "/last")).body

    run_flow(FLOW, first, store=store, stubs=["meter"])
    body = run_flow(FLOW, second, store=store, stubs=["meter"], start="2025-01-25T03:00:00+01:00")
    assert isinstance(body, dict)
    assert (body["x"], body["status"], body["fields"]["x"]["age_s"]) == (8, "offline", 3600.0)


def test_a_bad_flow_is_told_with_all_its_problems() -> None:
    async def story(rig: Rig) -> None:
        raise AssertionError("a story of a bad flow begins")

    with pytest.raises(BadFlow) as error:
        run_flow("flow: x\nnodes:\n  a: {type: inyect}\n  b: {type: log, from: c}\n", story)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("flow.yaml:3:")
    assert "did you mean 'inject'?" in lines[0]
    assert any(line.startswith("flow.yaml:4:") for line in lines)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda rig: rig.emit("metre", 1), "there is no node 'metre' here; did you mean 'meter'?"),
        (lambda rig: rig.emit("xyz", 1), "there is no node 'xyz' here; nodes: "),
        (lambda rig: rig.request("GET", "/lasst"), "no node runs for the route GET /lasst; routes: GET /last"),
        (lambda rig: asyncio.to_thread(rig.out, "off"), "'off' does not run: "),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(call: object, said: str) -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(UsageError) as error:
            await call(rig)  # type: ignore[operator]
        assert said in str(error.value)

    run_flow(FLOW + "  off: {type: log, from: meter, enabled: false}\n", story)


def test_a_stub_that_is_no_node_is_refused() -> None:
    async def story(rig: Rig) -> None:
        raise AssertionError("it begins")

    with pytest.raises(
        UsageError, match=r"the stub 'demo/metre' is no node that runs here; did you mean 'demo/meter'\?"
    ):
        run_flow(FLOW, story, stubs=["metre"])


def test_a_story_that_waits_for_what_cannot_come_ends_and_says_where() -> None:
    async def story(rig: Rig) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(VirtualDeadlock, match=r"test_a_story_that_waits.*story"):
        play("  make: {type: maker, count: 0}", story)


@pytest.mark.parametrize("emit", ["true", "false"])
def test_a_source_that_never_waits_ends_the_story_with_its_name(emit: str) -> None:
    async def story(rig: Rig) -> None:
        raise AssertionError("it comes to this")

    text = f"  calm: {{type: maker, count: 3, emit: {emit}}}\n  busy: {{type: maker, count: 1000000000, emit: {emit}}}"
    with pytest.raises(StoryStuck, match=r"at work: busy \(0 wait, [1-9][0-9]* sent\)") as error:
        play(text, story, patience_s=0.2)
    assert "calm" not in str(error.value)


def test_a_peer_that_never_comes_back_hangs_nothing() -> None:
    """Messages pile up, lines form at the door; the story goes on in its own time."""

    async def story(rig: Rig) -> None:
        for number in range(10):
            await rig.emit("make", number)
        began = rig.now
        await rig.advance("1h")
        assert rig.now - began == 3600 * SECOND
        assert rig.worker("work").inbox.in_line == 8
        assert rig.errors("work")["not-connected"] > 50

    away = ", ".join(["away"] * 500)
    play(
        f"  make: {{type: maker, count: 0}}\n  work: {{type: moody, from: make, opens: [{away}], queue: {{size: 2}}}}",
        story,
    )


def test_a_failing_story_fails_with_its_own_error_and_stops_the_flow() -> None:
    stopped: list[Rig] = []

    async def story(rig: Rig) -> None:
        stopped.append(rig)
        await rig.emit("make", 1)
        raise ZeroDivisionError("of the story")

    with pytest.raises(ZeroDivisionError, match="of the story"):
        play("  make: {type: maker, count: 0}\n  work: {type: slow, time: 1h, from: make}", story)
    assert {one.counters.state for one in stopped[0].engine.runtime.workers.values()} == {"stopped"}
    gc.collect()  # no task is left that would warn of its end


def test_nodes_of_a_user_come_by_a_registry(tmp_path: Path) -> None:
    (tmp_path / "plus_one.py").write_text(
        '''
from flowrunner.node import Node

class PlusOne(Node):
    """Add one."""
    def process(self, message, ctx):
        return message.derive(message.payload + 1)
'''
    )

    async def story(rig: Rig) -> None:
        await rig.emit("a", 41)
        assert rig.payloads("b") == [42]
        await rig.emit("a", "text")
        assert rig.errors("b") == {"exception": 1}

    text = "flow: t\nnodes:\n  a: {type: inject, once: true}\n  b: {type: plus-one, from: a}\n"
    run_flow(text, story, registry=Registry([tmp_path]), stubs=["a"])
