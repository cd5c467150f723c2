"""A source a hundred times faster than a sink, for every policy of a queue: what waits, what is lost, who is slowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowrunner.registry import Registry
from flowrunner.testing import Rig, run_flow

REGISTRY = Registry([Path(__file__).parent / "nodes"])
SIZE, KEYS, STEP = 20, 4, 5
FLOW = """
flow: pressed
nodes:
  source: {{type: burst, every: 10ms, keys: {keys}}}
  step: {{type: select, from: source, fields: [n], queue: {{size: {step}}}}}
  fast: {{type: select, from: step, fields: [n]}}
  slow: {{type: slow, from: step, queue: {{size: {size}, when_full: {policy}{more}}}}}
  after: {{type: select, from: slow, fields: [n]}}
"""
POLICIES = ["block", "drop_oldest", "drop_newest", "latest"]
DURABLE = [("", "in memory"), (", durable: true", "durable")]


def flow(policy: str, more: str = "") -> str:
    return FLOW.format(policy=policy, size=SIZE, keys=KEYS, step=STEP, more=more)


def pressed(policy: str, more: str = "") -> dict[str, Any]:
    """A minute of it; what was seen."""

    async def story(rig: Rig) -> dict[str, Any]:
        slow, step = rig.worker("slow"), rig.worker("step")
        deepest = 0
        for _ in range(60):
            await rig.advance("1s")
            deepest = max(deepest, len(slow.inbox) + slow.inbox.in_line + len(step.inbox) + step.inbox.in_line)
        return {
            "fast": [one["n"] for one in rig.payloads("fast")],
            "after": [one["n"] for one in rig.payloads("after")],
            "sent": rig.worker("source").counters.sent,
            "deepest": deepest,
            "waiting": len(slow.inbox),
            "dropped": rig.dropped("slow"),
            "received": slow.counters.received,
        }

    return run_flow(flow(policy, more), story, registry=REGISTRY)


@pytest.mark.parametrize(("more", "kind"), DURABLE)
@pytest.mark.parametrize("policy", POLICIES[1:])
def test_a_queue_that_drops_slows_nobody(policy: str, more: str, kind: str) -> None:
    seen = pressed(policy, more)
    assert seen["sent"] >= 6000, "the source keeps its pace"
    assert seen["fast"] == list(range(seen["sent"])), "the sibling gets all, in order"
    assert seen["deepest"] <= SIZE + 1
    assert set(seen["dropped"]) == {policy}
    assert seen["dropped"][policy] + seen["received"] + seen["waiting"] == seen["sent"], "each is counted once"
    after = seen["after"]
    assert after == sorted(after)
    assert 59 <= len(after) <= 61, "the slow one does what it can"
    lag = seen["sent"] - after[-1]
    if policy == "drop_newest":
        assert after[:SIZE] == list(range(SIZE)), "what is there first stays"
        assert lag >= SIZE * 100 - 200
    elif policy == "latest":
        assert lag <= KEYS * 100 + 200, "the newest of each key, in turn"
        assert seen["waiting"] <= KEYS
        assert {one % KEYS for one in after[-KEYS:]} == set(range(KEYS))
    else:
        assert lag <= SIZE + 200, "the newest"


@pytest.mark.parametrize(("more", "kind"), DURABLE)
def test_a_queue_that_blocks_loses_nothing_and_slows_who_writes(more: str, kind: str) -> None:
    seen = pressed("block", more)
    assert seen["dropped"] == {}
    after = seen["after"]
    assert after == list(range(len(after)))
    assert 59 <= len(after) <= 61
    assert seen["deepest"] <= SIZE + 2 * (STEP + 1), "its own, one batch of its writer, and what waits for that one"
    assert seen["sent"] <= len(after) + SIZE + 2 * (STEP + 1) + 1, "the source waits"
    assert len(seen["fast"]) >= len(after) + SIZE, "the sibling is ahead by what waits"
    assert seen["fast"] == list(range(len(seen["fast"])))


def test_what_a_full_reader_does_not_take_its_siblings_get_first() -> None:
    """At the instant at which the slow one is full, the fast one has its message already."""

    async def story(rig: Rig) -> None:
        await rig.advance("10s")
        assert rig.worker("slow").inbox.in_line > 0
        behind = rig.out("step")[-1].payload["n"]
        assert rig.payloads("fast")[-1]["n"] == behind

    run_flow(flow("block"), story, registry=REGISTRY)


WEB = """
flow: web
nodes:
  in: {type: http-in, route: POST /in, rate_limit: 10000/s}
  slow: {type: slow, from: in, takes: 10s, queue: {size: 5}}
"""


def test_http_in_says_503_when_the_flow_is_full_and_takes_again_when_there_is_room() -> None:
    async def story(rig: Rig) -> None:
        answers = [await rig.request("POST", "/in", b'{"n": 1}') for _ in range(10)]
        assert [one.status for one in answers] == [200] * 6 + [503] * 4  # one is being processed
        assert answers[-1].headers["retry-after"] == "1"
        assert "'error': 'full'" in str(answers[-1].body)
        assert rig.dropped("in") == {"full": 4}
        await rig.advance("10s")
        assert (await rig.request("POST", "/in", b'{"n": 1}')).status == 200
        assert (await rig.request("POST", "/in", b'{"n": 1}')).status == 503
        assert rig.worker("slow").counters.received + len(rig.worker("slow").inbox) == 7

    run_flow(WEB, story, registry=REGISTRY)
