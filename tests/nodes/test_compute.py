"""compute: new fields, as old and as good as what they are made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.errors import BadFlow
from flowrunner.expression import measured_names, parse, unit_of
from flowrunner.graph import check_flows
from flowrunner.message import FieldInfo
from flowrunner.registry import Registry
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND


def flow(fields: str, source: str = "{type: inject, once: true, payload: {x: 0, y: 0, name: text}}") -> str:
    return f"""
flow: t
vars: {{capacity: 10}}
nodes:
  a: {source}
  c:
    type: compute
    from: a
    fields: {{{fields}}}
  e: {{type: log, from: c.error}}
"""


def play(story: Any, fields: str, **more: Any) -> Any:
    return run_flow(flow(fields, **more), story, stubs=["a"])


def test_numbers_texts_and_conditions_are_added() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 40, "y": 2, "name": "north"}, key="k", meta={"topic": "t"})
        (out,) = rig.out("c")
        assert out.payload == {
            "x": 40, "y": 2, "name": "north", "energy": 4.0, "high": True, "place": "north", "fixed": 10,
        }  # fmt: skip
        assert (out.key, out.meta) == ("k", {"topic": "t"})

    play(story, 'energy: "x / 100 * capacity", high: "x > 3 and y < 3", place: name, fixed: capacity')


def test_a_result_is_as_old_as_its_oldest_value_and_usable_no_longer_than_any() -> None:
    async def story(rig: Rig) -> None:
        now = rig.now
        x = FieldInfo(at=now - 9 * SECOND, received_at=now - 8 * SECOND, source="m", valid_until=now + 60 * SECOND)
        y = FieldInfo(at=now - 3 * SECOND, received_at=now - 9 * SECOND, source="n", origin="manual",
                      valid_from=now - 5 * SECOND, valid_until=now + 30 * SECOND)  # fmt: skip
        await rig.emit("a", {"x": 1, "y": 2}, fields={"x": x, "y": y})
        infos = rig.out("c")[0].fields or {}
        assert infos["sum"] == FieldInfo(
            at=now - 9 * SECOND, received_at=now - 9 * SECOND, source="c", origin="manual",
            valid_from=now - 5 * SECOND, valid_until=now + 30 * SECOND,
        )  # fmt: skip
        assert infos["one"] == FieldInfo(at=x.at, received_at=x.received_at, source="c", valid_until=x.valid_until)
        assert (infos["old"].at, infos["old"].valid_until, infos["old"].unit) == (now, None, "s")  # known as of now
        assert infos["x"] == x

    play(story, 'sum: "x + y", one: "-x", old: "age(x)"')


def test_a_value_that_cannot_be_used_takes_its_own_results_only() -> None:
    async def story(rig: Rig) -> None:
        now = rig.now
        bad = FieldInfo(at=now, received_at=now, source="m", quality="bad")
        await rig.emit("a", {"y": 2}, fields={"x": bad})
        (out,) = rig.out("c")
        assert out.payload == {"y": 2, "twice": 4}
        assert (out.info("sum").quality, out.info("twice").quality, out.info("x")) == ("bad", "good", bad)
        assert [one["reason"] for one in rig.payloads("c", "error")] == ["sum: x is missing"]
        assert rig.errors("c") == {"expression": 1}
        await rig.emit("a", {"x": 1, "y": 0})
        assert rig.payloads("c")[1] == {"x": 1, "y": 0, "sum": 1, "twice": 0}
        await rig.emit("a", {"x": 1, "y": 2}, quality="uncertain")
        assert rig.payloads("c")[2] == {"x": 1, "y": 2}

    play(story, 'sum: "x + y", twice: "y * 2"')


def test_a_calculation_that_fails_is_no_value() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1, "y": 0})
        (out,) = rig.out("c")
        assert (out.payload, out.info("ratio").quality) == ({"x": 1, "y": 0}, "bad")
        assert rig.payloads("c", "error")[0]["reason"] == "ratio: division by zero: 1 / 0"

    play(story, 'ratio: "x / y"')


def test_a_field_that_is_there_is_never_overwritten() -> None:
    anything = "{type: mqtt-in, broker: 'mqtt://localhost', topic: x}"

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 1, "z": 5})
        assert (rig.out("c"), rig.errors("c")) == ([], {"field-exists": 1})
        await rig.emit("a", {"x": 1})
        assert rig.payloads("c") == [{"x": 1, "z": 2}]

    play(story, 'z: "x * 2"', source=anything)
    with pytest.raises(BadFlow, match=r"'fields\.x' would overwrite the field 'x' that comes in; rename it"):
        play(story, 'x: "x * 2"')


def test_values_that_manual_ones_took_the_place_of_are_calculated_too() -> None:
    """A threshold behind judges both, and takes the worse."""

    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 25, "y": 1}, meta={"overridden": {"x": [45, "junk", 50]}})
        (out,) = rig.out("c")
        assert (out.payload["f"], out.payload["g"]) == (77, 1)
        assert (out.meta or {})["overridden"] == {"x": [45, "junk", 50], "f": [113, 122]}

    play(story, 'f: "x * 9 / 5 + 32", g: y')


def test_a_plain_number_is_the_field_value() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", 21)
        assert rig.payloads("c") == [{"value": 21, "twice": 42}]

    play(story, 'twice: "value * 2"', source="{type: mqtt-in, broker: 'mqtt://localhost', topic: x}")


def test_kinds_and_units_that_are_known_before_a_run() -> None:
    source = '{type: manual-in, fields: {x: {unit: MW}, y: {unit: MW}, t: {unit: "°C"}}}'
    fields = 'sum: "x + y - 1", big: "max(x, y, 0)", mean: "(x + y) / 2", warm: "t > 20", d: "t - 5", same: t'
    graph = check_flows({"f.yaml": flow(fields, source)}, {}, Registry()).graph
    assert graph is not None
    shape = graph.nodes["t/c"].shapes["out"]
    assert {name: shape.fields[name] for name in ("sum", "big", "mean", "warm", "d", "same")} == {
        "sum": "number", "big": "number", "mean": "number", "warm": "bool", "d": "number", "same": "number",
    }  # fmt: skip
    assert shape.units == {"x": "MW", "y": "MW", "t": "°C", "sum": "MW", "big": "MW", "same": "°C"}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("p", "MW"), ("-p", "MW"), ("abs(p)", "MW"), ("round(p, 2)", "MW"), ("min(p, q)", "MW"), ("p - q + 1", "MW"),
        ("p + e", None), ("min(p, e)", None), ("p + u", None), ("p * 2", None), ("p / q", None), ("5", None),
        ("t - 3", None), ("min(t, 3)", "°C"), ("age(u)", "s"), ("p > 3", None), ("hour()", None),
    ],
)  # fmt: skip
def test_units(text: str, unit: str | None) -> None:
    assert unit_of(parse(text), {"p": "MW", "q": "MW", "e": "MWh", "t": "°C"}) == unit


def test_the_names_whose_values_are_used() -> None:
    assert measured_names(parse("a + age(b) * max(c, a) > 3")) == ("a", "c")


@settings(max_examples=15)
@given(x=st.floats(allow_nan=True), y=st.integers() | st.none() | st.text(max_size=3))
def test_whatever_comes_the_field_is_a_value_or_absent_and_bad(x: float, y: Any) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": x, "y": y})
        (out,) = rig.out("c")
        assert ("sum" in out.payload) == (out.info("sum").quality == "good")

    play(story, 'sum: "x + y"')
