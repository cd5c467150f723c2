"""Expectations against a small model of what they mean, over what may have been sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as some
import msgspec
from hypothesis import given

from flowrunner.flowfile import Expectation
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.testing.judging import judge
from flowrunner.testing.rig import Sent
from flowrunner.testing.view import View
from flowrunner.testing.watching import Watching
from flowrunner.units import SECOND, Duration
from tests.trying.stage import REGISTRY

FLOW = """\
flow: f
nodes:
  a: {type: http-in, route: POST /a, body: {x: {type: number}}}
  b: {type: http-in, route: POST /b, body: {x: {type: number}}}
  sum: {type: merge, from: [a, b]}
"""
GRAPH = check_flows({"flow.yaml": FLOW}, {}, REGISTRY).graph
assert GRAPH is not None
NODES = GRAPH.nodes
NOW = 100 * SECOND


@dataclass
class Come:
    """A message that came, as the model has it."""

    node: str
    x: float | bool | None
    second: int


came = some.lists(
    some.builds(Come, some.sampled_from(["a", "b"]), some.integers(0, 3) | some.booleans(), some.integers(0, 9)),
    max_size=8,
).map(lambda those: sorted(those, key=lambda one: one.second))
counts = some.none() | some.integers(0, 4)


def view(those: list[Come], before: int = 0, since: int = 0) -> View:
    watching = Watching(lambda: NOW)
    for one in those:
        at = one.second * SECOND
        message = Message(payload={"x": one.x, "more": 1}, at=at, received_at=at, source=one.node)
        watching.sent.append(Sent(at, f"f/{one.node}", "out", message))
    return View(NODES, "f", watching, since * SECOND, before, "emit", NOW)


def expectation(**given_: Any) -> Expectation:
    return Expectation(**{"from_" if name == "from" else name: value for name, value in given_.items()})


def holds(one: Expectation, those: list[Come], **more: int) -> bool:
    lines = judge(one, view(those, **more))
    assert not lines or (lines[0].startswith("expected ") and lines[1].startswith("but "))
    return not lines


@given(came, some.sampled_from(["a", "b"]), some.integers(0, 4), some.integers(0, 4))
def test_how_many(those: list[Come], node: str, number: int, other: int) -> None:
    found = sum(one.node == node for one in those)
    assert holds(expectation(**{"from": node}), those) == (found > 0)
    assert holds(expectation(**{"from": node}, never=True), those) == (found == 0)
    assert holds(expectation(**{"from": node}, count=number), those) == (found == number)
    assert holds(expectation(**{"from": node}, at_least=number), those) == (found >= number)
    assert holds(expectation(**{"from": node}, at_most=number), those) == (found <= number)
    low, high = sorted((number, other))
    assert holds(expectation(**{"from": node}, at_least=low, at_most=high), those) == (low <= found <= high)


@given(came, some.integers(0, 4))
def test_what_came_into_a_node_is_what_left_those_it_reads(those: list[Come], number: int) -> None:
    assert holds(expectation(into="sum", count=number), those) == (len(those) == number)


@given(came, some.integers(-1, 4), some.integers(0, 4))
def test_where(those: list[Come], limit: int, number: int) -> None:
    """True and false are no numbers: of them the comparison says nothing, and they do not count."""
    met = [
        one for one in those if one.node == "a" and not isinstance(one.x, bool) and one.x is not None and one.x > limit
    ]
    wanted = expectation(**{"from": "a"}, where=f"x > {limit}", count=number)
    assert holds(wanted, those) == (len(met) == number)


@given(came, some.integers(0, 9), some.integers(0, 12), some.data())
def test_within(those: list[Come], since: int, span: int, data: some.DataObject) -> None:
    """What came after the last thing that was done, and so soon."""
    earlier = sum(one.second < since for one in those)
    before = data.draw(some.integers(earlier, sum(one.second <= since for one in those)))
    met = [one for one in those[before:] if one.second <= since + span]
    wanted = expectation(into="sum", within=Duration(span * SECOND), count=len(met))
    assert holds(wanted, those, before=before, since=since)
    wanted = msgspec.structs.replace(wanted, count=len(met) + 1)
    assert not holds(wanted, those, before=before, since=since)


values = some.integers(0, 3) | some.booleans() | some.just(1.0)


def same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@given(came, some.lists(values, max_size=3))
def test_equals(those: list[Come], wanted: list[Any]) -> None:
    found = [one.x for one in those if one.node == "a"]
    all_same = len(found) == len(wanted) and all(map(same, found, wanted))
    listed = expectation(**{"from": "a"}, equals=[{"x": one} for one in wanted])
    assert holds(listed, those) == all_same
    for value in wanted:
        one = expectation(**{"from": "a"}, equals={"x": value, "more": 1})
        assert holds(one, those) == (len(found) == 1 and same(found[0], value))
    assert not holds(expectation(**{"from": "a"}, equals={"x": 1, "other": 1}), those)


@given(came, some.permutations(["a", "b", "sum"]), some.integers(2, 3))
def test_order(those: list[Come], names: list[str], number: int) -> None:
    first = {name: next((place for place, one in enumerate(those) if one.node == name), None) for name in names}
    places = [first[name] for name in names[:number]]
    known = [place for place in places if place is not None]
    assert holds(expectation(order=names[:number]), those) == (len(known) == number and known == sorted(known))


def test_a_long_message_is_cut_and_what_was_asked_for_comes_first() -> None:
    watching = Watching(lambda: NOW)
    payload = {f"field_{number}": number for number in range(60)} | {"x": 7}
    message = Message(payload=payload, at=NOW, received_at=NOW, source="a")
    watching.sent.append(Sent(NOW, "f/a", "out", message))
    lines = judge(expectation(**{"from": "a"}, where="x > 8"), View(NODES, "f", watching, 0, 0, "emit", NOW))
    assert '"x": 7, "field_0": 0' in lines[2]
    assert lines[2].endswith("…")
    assert len(lines[2]) < 200
