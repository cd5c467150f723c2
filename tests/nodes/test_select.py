"""select: fields, their names, and what is known of them."""

from __future__ import annotations

from typing import Any

import pytest

from flowrunner.errors import BadFlow
from flowrunner.message import FieldInfo
from flowrunner.testing import Rig, run_flow


def play(story: Any, names: str) -> Any:
    text = f"""
flow: t
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0}}}}
  s: {{type: select, from: a, fields: {names}}}
"""
    return run_flow(text, story, stubs=["a"])


def test_a_list_keeps_only_these() -> None:
    async def story(rig: Rig) -> None:
        info = FieldInfo(at=1, received_at=2, source="s", unit="MW")
        await rig.emit("a", {"x": 1, "y": 2}, fields={"x": info, "y": info}, key="k")
        (out,) = rig.out("s")
        assert (out.payload, out.fields, out.key) == ({"x": 1}, {"x": info}, "k")

    play(story, "[x]")


def test_a_map_renames_and_what_is_known_goes_with_the_value() -> None:
    async def story(rig: Rig) -> None:
        x, y = (FieldInfo(at=number, received_at=2, source="s", quality="uncertain") for number in (1, 2))
        await rig.emit("a", {"x": 1, "y": 2}, fields={"x": x, "y": y}, meta={"topic": "t", "overridden": {"y": [9]}})
        (out,) = rig.out("s")
        assert (out.payload, out.fields) == ({"y": 1, "x": 2, "both": 1}, {"y": x, "x": y, "both": x})
        assert out.meta == {"topic": "t", "overridden": {"x": [9]}}, "a threshold judges it by the new name"

    play(story, "{y: x, x: y, both: x}")


def test_a_field_without_a_value_stays_known_as_bad_and_one_that_did_not_come_is_not_made_up() -> None:
    async def story(rig: Rig) -> None:
        bad = FieldInfo(at=1, received_at=1, source="s", quality="bad")
        await rig.emit("a", {"y": 0}, fields={"x": bad})
        await rig.emit("a", {"y": 0})
        first, second = rig.out("s")
        assert (first.payload, first.fields) == ({"n": 0}, {"m": bad})
        assert (second.payload, second.fields) == ({"n": 0}, None)
        assert list(second.field_names()) == ["n"]

    play(story, "{m: x, n: y}")


def test_what_is_no_record_leaves_by_error() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", [1])
        assert (rig.out("s"), rig.errors("s")) == ([], {"not-a-record": 1})

    play(story, "[x]")


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("[]", "no field is selected"),
        ("{}", "no field is selected"),
        ("[z]", "no field 'z'"),
        ("{n: z}", "no field 'z'"),
    ],
)
def test_mistakes_in_the_file(names: str, complaint: str) -> None:
    with pytest.raises(BadFlow, match=complaint):
        play(None, names)


def test_downstream_only_the_new_names_are_known() -> None:
    text = """
flow: t
nodes:
  a: {type: inject, once: true, payload: {x: 0, y: 0}}
  s: {type: select, from: a, fields: {power: x}}
  f: {type: filter, from: s, when: x > 1}
"""
    with pytest.raises(BadFlow, match="'x'"):
        run_flow(text, None)  # type: ignore[arg-type]  # it does not come to a story
