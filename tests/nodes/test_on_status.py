"""on-status: every change of how a node is, as it is, and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from flowrunner.testing import Rig
from flowrunner.units import iso
from tests.runtime.kit import node, play


def flow(work: str, more: str = "") -> str:
    return f"""
  make: {{type: maker, count: 0}}
  work: {{type: moody, from: make, {work}}}
  end: {{type: sink, from: work}}
  states: {{type: on-status, nodes: [work]}}
{more}"""


def told(rig: Rig, listener: str = "states") -> list[tuple[str, Any, str]]:
    return [(one["state"], one.get("connected"), one["reason"]) for one in rig.payloads(listener)]


def test_the_start_an_outage_and_its_end() -> None:
    async def story(rig: Rig) -> None:
        assert told(rig) == [("running", None, "")]
        await rig.advance("1min")
        began = rig.now
        await rig.emit("make", 1)
        assert told(rig)[1:] == [("disconnected", False, "not-connected: the peer is away")]
        await rig.advance("1min")
        assert told(rig)[2:] == [("running", False, ""), ("running", True, "")]
        first, outage, *_ = rig.out("states")
        assert first.payload == {"node": "work", "state": "running", "reason": "", "since": iso(first.at)}
        assert outage.payload["since"] == iso(began)
        assert (outage.at, outage.source, outage.key) == (began, "work", "")
        assert outage.lineage() == f"work@status:{began}:2 > states"

    play(flow("moods: [away]"), story)


def test_a_node_that_fails_and_is_restarted() -> None:
    async def story(rig: Rig) -> None:
        assert told(rig) == [("restarting", None, "exception: ZeroDivisionError: division by zero")]
        await rig.advance("2s")
        assert told(rig)[1:] == [("running", None, "")]

    play(flow("opens: [error]"), story)


def test_an_outage_at_the_start() -> None:
    async def story(rig: Rig) -> None:
        assert told(rig) == [("disconnected", False, "not-connected: the peer is away")]
        await rig.advance("10s")
        assert told(rig)[1:] == [("running", True, "")]

    play(flow("opens: [away, away]"), story)


def test_what_a_node_says_of_its_peer() -> None:
    async def story(rig: Rig) -> None:
        say = rig.worker("work").ctx.connected
        say(False)
        for _ in range(2):
            say(False, "no route to it")
            say(False, "it does not answer")
            say(True)
            say(True)
        await rig.settle()
        assert told(rig) == [
            ("running", None, ""),
            ("running", False, ""),
            ("disconnected", False, "not-connected: no route to it"),
            ("running", True, ""),
            ("disconnected", False, "not-connected: no route to it"),
            ("running", True, ""),
        ]

    play(flow("moods: []"), story)


def test_a_source_that_has_come_to_its_end() -> None:
    async def story(rig: Rig) -> None:
        assert [one["state"] for one in rig.payloads("states")] == ["running", "finished"]

    play("  make: {type: maker, count: 3}\n  end: {type: sink, from: make}\n"
         "  states: {type: on-status, nodes: [make]}\n", story)  # fmt: skip


@pytest.mark.parametrize("states", ["disconnected", "running"])
def test_only_some_states(states: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.advance("1min")
        assert {one["state"] for one in rig.payloads("some")} == {states}

    play(flow("moods: [away]", f"  some: {{type: on-status, states: [{states}]}}\n"), story)


def test_all_of_the_flow_when_nobody_is_named() -> None:
    async def story(rig: Rig) -> None:
        assert {one["node"] for one in rig.payloads("all")} == {"make", "work", "end"}
        assert rig.worker("all").counters.received == 4, "each that runs, and the source that has ended"

    play(flow("moods: []", "  all: {type: on-status}\n  noted: {type: sink, from: all}\n"), story)


def test_the_port_can_be_read_by_its_name() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.advance("1min")
        assert [(wire, one["state"]) for wire, one, _ in node(rig, "noted").seen] == [
            ("work.status", "running"), ("work.status", "disconnected"), ("work.status", "running"),
            ("work.status", "running"),
        ]  # fmt: skip
        assert rig.payloads("away") == [one for _, one, _ in node(rig, "noted").seen if one["state"] != "running"]

    more = """
  noted: {type: sink, from: work.status}
  away: {type: filter, from: work.status, when: state != "running"}
"""
    play(flow("moods: [away]", more), story)


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_a_state_that_flaps_slows_nobody(when_full: str) -> None:
    async def story(rig: Rig) -> None:
        say = rig.worker("work").ctx.connected
        for _ in range(500):
            say(False, "away")
            say(True)
        await rig.settle()
        worker = rig.worker("states")
        missed = rig.dropped("states")[when_full]
        assert worker.counters.received + len(worker.inbox) + missed == 1001
        assert missed > 900
        assert len(worker.inbox) <= 8
        await rig.emit("make", 1)
        assert [payload for _, payload, _ in node(rig, "end").seen] == [1]

    slow = "  slow: {type: slow, from: states, time: 1h, queue: {size: 1}}\n"
    queue = f"nodes: [work], queue: {{size: 8, when_full: {when_full}}}"
    play(flow("moods: []", slow).replace("nodes: [work]", queue), story)


def test_a_reader_of_one_status_port_slows_nobody_either() -> None:
    async def story(rig: Rig) -> None:
        say = rig.worker("work").ctx.connected
        for _ in range(20):
            say(False, "away")
            say(True)
        await rig.settle()
        worker = rig.worker("slow")
        missed = rig.dropped("work")["status-port-full"]
        assert worker.counters.received + len(worker.inbox) + missed == 41
        assert len(worker.inbox) <= 2
        assert rig.worker("work").out.pending == 0

    play(flow("moods: []", "  slow: {type: slow, from: work.status, time: 1h, queue: {size: 2}}\n"), story)


def test_who_is_not_listened_to_says_nothing() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.advance("1min")
        assert {one.port for one in rig.sent} == {"out", "error"}
        assert rig.worker("work").counters.sent == 1 + 1  # the outage by its error port, and the message

    play(flow("moods: [away]").replace("  states: {type: on-status, nodes: [work]}\n", ""), story)


# ---- while the file changes ------------------------------------------------------------------------------------


async def reload(rig: Rig, nodes: str) -> Any:
    outcome = await rig.reload(f"flow: t\nnodes:\n{nodes}")
    assert outcome.result == "applied", outcome
    await rig.advance("1s")
    return outcome


def test_nodes_come_and_go() -> None:
    """What is added is listened to, what is removed is said to be stopped; the listener is the very same."""
    flow_a = "  make: {type: maker, count: 0}\n  end: {type: sink, from: make}\n  all: {type: on-status}\n"
    flow_b = flow_a + "  more: {type: sink, from: make}\n"

    async def story(rig: Rig) -> None:
        listener = node(rig, "all")
        seen = len(rig.payloads("all"))
        await reload(rig, flow_b)
        await reload(rig, flow_a)
        assert [(one["node"], one["state"], one["reason"]) for one in rig.payloads("all")[seen:]] == [
            ("more", "running", ""), ("more", "stopped", "its node was removed from the flow"),
        ]  # fmt: skip
        assert node(rig, "all") is listener

    play(flow_a, story)


def test_a_listener_can_come_later() -> None:
    """It hears what changes from then on, and tells no state that nobody changed."""
    without = flow("moods: [away]").replace("  states: {type: on-status, nodes: [work]}\n", "")

    async def story(rig: Rig) -> None:
        await reload(rig, flow("moods: [away]"))
        assert told(rig) == []
        await rig.emit("make", 1)
        assert told(rig) == [("disconnected", False, "not-connected: the peer is away")]
        await reload(rig, without)
        await rig.advance("1min")

    play(without, story)
