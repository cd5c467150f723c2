"""on-error: it hears what goes wrong, all of it, and nobody notices that it listens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.graph import Graph, check_flows
from flowrunner.testing import Rig, run_flow
from tests.runtime.kit import types

T = TypeVar("T")
REGISTRY = types()


def graph(nodes: str) -> Graph:
    checked = check_flows({"flow.yaml": f"flow: t\nnodes:\n{nodes}"}, {}, REGISTRY)
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    return checked.graph


def play(nodes: str, story: Callable[[Rig], Awaitable[T]], **more: Any) -> T:
    return run_flow(f"flow: t\nnodes:\n{nodes}", story, registry=REGISTRY, **more)


def heard(graph: Graph, listener: str) -> set[str]:
    wires = graph.nodes[f"t/{listener}"].wires
    assert all(wire.listens for wire in wires)
    return {wire.name for wire in wires}


SENSOR = """
  a: {type: inject, every: 1000d, payload: {soc_percent: 1}}
  low: {type: filter, from: a, when: soc_percent < 30}
  end: {type: sink, from: low}
"""


def test_a_rejected_message_with_all_that_the_error_port_tells() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1}, key="north", position="7")
        await rig.emit("a", {"soc_percent": 20})
        (message,) = rig.out("errors")
        assert message.payload == {
            "node": "low", "code": "expression", "reason": "soc_percent is missing", "message": {"x": 1},
        }  # fmt: skip
        assert (message.key, message.lineage()) == ("north", "a@7 > low > errors")
        assert rig.worker("told").counters.received == 1

    play(f"{SENSOR}  errors: {{type: on-error}}\n  told: {{type: sink, from: errors}}\n", story)


def test_it_counts_not_as_somebody_who_took_the_message() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        assert len(rig.out("errors")) == 1
        assert [one.node for one in rig.engine.store.dead_letters()] == ["low"]
        assert rig.engine.graph.nodes["t/a"].feeds == {"filter", "sink"}

    play(f"{SENSOR}  errors: {{type: on-error}}\n", story)


def test_nobody_waits_for_an_acknowledgement_because_of_it() -> None:
    """Neither a source, nor a letter that is put back: it is done with, though the listener's own sink is away."""

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        await rig.engine.replay_letters([1])
        await rig.advance("1s")
        assert rig.worker("far").stuck
        assert len(rig.worker("far").inbox) == 2
        assert [one.id for one in rig.engine.store.dead_letters()] == [2]

    away = ", ".join(["away"] * 9)
    play(f"{SENSOR}  errors: {{type: on-error}}\n  far: {{type: moody, from: errors, opens: [{away}]}}\n", story)


def test_beside_a_reader_of_the_error_port_both_hear_it() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        assert rig.payloads("errors") == [payload for _, payload, _ in rig.worker("own").node.seen]  # type: ignore[attr-defined]  # a sink
        assert len(rig.payloads("errors")) == 1
        assert rig.engine.store.dead_letters() == []

    play(f"{SENSOR}  own: {{type: sink, from: low.error}}\n  errors: {{type: on-error}}\n", story)


def test_what_has_no_message_is_heard_too() -> None:
    """A lost connection, and what a node reports by itself."""

    async def story(rig: Rig) -> None:
        rig.worker("a").ctx.error("odd", "it is odd")
        rig.worker("end").ctx.connected(False, "the peer is away")
        rig.worker("end").ctx.connected(False, "the peer is still away")
        await rig.settle()
        nobody = {"message": None}
        assert rig.payloads("errors") == [
            {"node": "a", "code": "odd", "reason": "it is odd", **nobody},
            {"node": "end", "code": "not-connected", "reason": "the peer is away", **nobody},
        ]

    play(f"{SENSOR}  errors: {{type: on-error}}\n", story)


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        ("", ["expression", "odd", "odd"]),
        ("codes: [expression]", ["expression"]),
        ("codes: [odd, other]", ["odd", "odd"]),
        ("nodes: [a]", ["odd"]),
        ("nodes: [low, a], codes: [odd]", ["odd", "odd"]),
        ("nodes: [end]", []),
    ],
)
def test_only_some(options: str, codes: list[str]) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        rig.worker("a").ctx.error("odd", "")
        rig.worker("low").ctx.error("odd", "")
        await rig.settle()
        assert [one["code"] for one in rig.payloads("errors")] == codes

    play(f"{SENSOR}  errors: {{type: on-error{', ' if options else ''}{options}}}\n", story)


def test_who_is_heard_when_nobody_is_named() -> None:
    """All but what stands behind a listener: behind this one, behind another, and the listeners themselves."""
    found = graph(f"""{SENSOR}
  errors: {{type: on-error}}
  told: {{type: merge, from: errors}}
  later: {{type: sink, from: [told, low]}}
  states: {{type: on-status}}
  noted: {{type: sink, from: states}}
  some: {{type: on-error, nodes: [told]}}
""")
    assert heard(found, "errors") == {"a.error", "low.error", "end.error"}
    assert heard(found, "states") == {"a.status", "low.status", "end.status"}
    assert heard(found, "some") == {"told.error"}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_behind_whatever_nothing_runs_in_a_circle(data: st.DataObject) -> None:
    """Random flows with listeners that name nobody, read by others in any order."""
    names = [f"n{number}" for number in range(data.draw(st.integers(1, 8)))]
    lines = ["  a: {type: inject, every: 1d, payload: {x: 1}}"]
    for index, name in enumerate(names):
        kind = data.draw(st.sampled_from(["merge", "on-error", "on-status"]))
        reads = data.draw(st.lists(st.sampled_from(["a", *names[:index]]), min_size=1, max_size=3, unique=True))
        wires = f", from: [{', '.join(reads)}]" if kind == "merge" else ""
        lines.append(f"  {name}: {{type: {kind}{wires}}}")
    found = graph("\n".join(data.draw(st.permutations(lines))) + "\n")
    behind: set[str] = set()
    for address, spec in found.nodes.items():  # sources come first
        if spec.kind.cls.listens or any(wire.source in behind for wire in spec.wires):
            behind.add(address)
    for spec in found.nodes.values():
        if spec.kind.cls.listens:
            assert {wire.source for wire in spec.wires} == found.nodes.keys() - behind


def test_a_node_of_another_flow() -> None:
    other = "flow: other\nnodes:\n  b: {type: inject, every: 1d, payload: 1}\n  end: {type: sink, from: b}\n"
    text = f"flow: t\nnodes:\n{SENSOR}  errors: {{type: on-error, nodes: [other/b, a]}}\n  all: {{type: on-error}}\n"
    checked = check_flows({"a.yaml": text, "b.yaml": other}, {}, REGISTRY)
    assert checked.graph is not None
    assert heard(checked.graph, "errors") == {"other/b.error", "a.error"}
    assert heard(checked.graph, "all") == {"a.error", "low.error", "end.error"}, "those of its own flow"


def test_the_disabled_are_as_if_they_were_not_there() -> None:
    found = graph(f"""{SENSOR}
  off: {{type: sink, from: a, enabled: false}}
  errors: {{type: on-error}}
  some: {{type: on-error, nodes: [off, end]}}
""")
    assert heard(found, "errors") == {"a.error", "low.error", "end.error"}
    assert heard(found, "some") == {"end.error"}


@pytest.mark.parametrize("queue", ["", "drop_oldest", "drop_newest"])
def test_who_cannot_follow_slows_nobody_and_counts_what_it_missed(queue: str) -> None:
    count = 3000 if not queue else 20

    async def story(rig: Rig) -> None:
        for _ in range(count):
            await rig.emit("a", {"x": 1})
        assert rig.worker("low").counters.received == count
        assert rig.worker("a").out.pending == rig.worker("low").out.pending == 0
        missed = rig.dropped("errors")[queue or "drop_oldest"]
        waiting = len(rig.worker("errors").inbox)
        assert waiting <= 1000
        assert missed
        told = rig.worker("slow").counters.received + len(rig.worker("slow").inbox) + rig.worker("slow").busy
        assert rig.worker("errors").counters.received + waiting + missed == count
        assert told <= count

    slow = "  slow: {type: slow, from: errors, time: 1h, queue: {size: 1}}\n"
    policy = f", queue: {{size: 5, when_full: {queue}}}" if queue else ""
    play(f"{SENSOR}  errors: {{type: on-error{policy}}}\n{slow}", story)


def test_it_answers_no_request_and_makes_none_wait() -> None:
    """Only who reads from the node's own error port may answer for it; else whoever asked hears of the error."""
    nodes = """
  rest: {type: http-in, route: POST /values}
  low: {type: filter, from: rest, when: soc_percent < 30}
  end: {type: http-response, from: low}
  errors: {type: on-error}
  answer: {type: http-response, from: errors, status: 299}
"""

    async def story(rig: Rig) -> None:
        answer = await rig.request("POST", "/values", b'{"x": 1}')
        body: Any = answer.body
        assert (answer.status, body["error"]) == (422, "expression")
        assert rig.errors("answer") == {"no-request": 1}

    play(nodes, story)


def test_it_is_told_by_the_api_that_it_listens() -> None:
    async def story(rig: Rig) -> None:
        shown = rig.engine.flow("t")
        assert {"from": "a", "port": "error", "to": "errors", "listens": True} in shown["wires"]
        assert {"from": "a", "port": "out", "to": "low", "listens": False} in shown["wires"]

    play(f"{SENSOR}  errors: {{type: on-error}}\n", story)
