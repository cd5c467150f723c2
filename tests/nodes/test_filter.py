"""filter: true, false, or not to be judged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flowrunner.errors import BadFlow
from flowrunner.message import JSON, FieldInfo
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND


def play(story: Any, when: str) -> Any:
    text = f"""
flow: t
timezone: Europe/Vienna
vars: {{limit: 30}}
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0, name: text}}}}
  f:
    type: filter
    from: a
    when: {when}
  e: {{type: log, from: f.error}}
"""
    return run_flow(text, story, stubs=["a"])


def where(rig: Rig) -> list[int]:
    return [len(rig.out("f", port)) for port in ("out", "else", "error")]


def test_true_leaves_by_out_false_by_else_and_the_message_is_the_same() -> None:
    async def story(rig: Rig) -> None:
        low = await rig.emit("a", {"x": 29.9}, key="k", meta={"topic": "t"})
        await rig.emit("a", {"x": 30})
        assert (rig.payloads("f"), rig.payloads("f", "else")) == ([{"x": 29.9}], [{"x": 30}])
        out = rig.out("f")[0]
        assert (out.key, out.meta, out.at, out.root) == ("k", {"topic": "t"}, low.at, low.root)

    play(story, "x < limit")


@pytest.mark.parametrize("value", [None, "29", True, float("nan"), [1], {"v": 1}])
@pytest.mark.parametrize("when", ["x < 30", "not x < 30", "y == 1 or x < 30", "y == 0 and x < 30"])
def test_a_value_that_is_none_is_neither_true_nor_false(value: JSON, when: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": value, "y": 1})
        assert (where(rig), rig.errors("f")) == ([0, 0, 1], {"expression": 1})
        assert rig.payloads("f", "error")[0]["reason"].startswith("x")

    play(story, when)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quality": "bad"}, "bad"),
        ({"quality": "uncertain"}, "uncertain"),
        ({"at": 6}, "from the future"),
        ({"valid_until": 0}, "stale"),
        ({"valid_from": 1}, "not valid yet"),
    ],
)
def test_a_value_that_must_not_be_used_leaves_by_error(change: dict[str, Any], reason: str) -> None:
    async def story(rig: Rig) -> None:
        times = {name: rig.now + value * SECOND for name, value in change.items() if isinstance(value, int)}
        good = FieldInfo(at=rig.now, received_at=rig.now, source="a")
        info = msgspec.structs.replace(good, **(change | times))
        await rig.emit("a", {"x": 1}, fields={"x": info})
        assert where(rig) == [0, 0, 1]
        assert reason in rig.payloads("f", "error")[0]["reason"]

    play(story, "x < 30")


def test_missing_fields_and_calculations_that_fail() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"y": 1})
        await rig.emit("a", {"x": 1, "y": 0})
        await rig.emit("a", 5)
        assert where(rig) == [0, 0, 3]

    play(story, "x / y > 1")


def test_time_of_day_is_that_of_the_flows_zone() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1})
        assert where(rig) == [1, 0, 0]

    play(story, "hour() == 2 and weekday() == 6")  # the rig begins on a Saturday at 02:00 in Vienna


@pytest.mark.parametrize(
    ("when", "complaint"),
    [("z < 1", "'z'"), ("x <", "expression"), ("name < 1", "cannot be compared"), ("x", "not a condition")],
)
def test_mistakes_in_the_file(when: str, complaint: str) -> None:
    with pytest.raises(BadFlow, match=complaint):
        play(None, when)
