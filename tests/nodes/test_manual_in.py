"""manual-in: what a person may enter, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from flowrunner.errors import BadFlow, Reject
from flowrunner.message import JSON
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND

FIELDS = 'fields: {soc_percent: {min: 0, max: 100, unit: "%"}, active_power_mw: {min: -20, max: 20, unit: MW}}'


def play(story: Any, options: str = f"{FIELDS}, expires_after: 2h") -> Any:
    return run_flow(f"flow: t\nnodes:\n  hand: {{type: manual-in, {options}}}\n", story)


def test_an_entry_is_marked_as_manual_with_its_unit_and_its_end() -> None:
    async def story(rig: Rig) -> None:
        answer = await rig.enter("hand", {"soc_percent": 55, "active_power_mw": -2.5})
        (out,) = rig.out("hand")
        assert (out.payload, out.origin) == ({"soc_percent": 55, "active_power_mw": -2.5}, "manual")
        info = out.info("active_power_mw")
        assert (info.at, info.source, info.origin, info.unit) == (rig.now, "hand", "manual", "MW")
        assert info.valid_until == rig.now + 7200 * SECOND
        assert answer["payload"] == out.payload

    play(story)


def test_the_limits_themselves_are_taken() -> None:
    async def story(rig: Rig) -> None:
        for value in (0, 100, 0.0, 99.99):
            await rig.enter("hand", {"soc_percent": value})
        assert len(rig.out("hand")) == 4

    play(story)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"soc_percent": 100.1}, "soc_percent: 100.1 is above 100 %"),
        ({"soc_percent": -0.1}, "soc_percent: -0.1 is below 0 %"),
        ({"soc_percent": "55"}, "soc_percent: it must be a finite number"),
        ({"soc_percent": True}, "soc_percent: it must be a finite number"),
        ({"soc_percent": float("nan")}, "soc_percent: it must be a finite number"),
        ({"soc_percent": float("inf")}, "soc_percent: it must be a finite number"),
        ({"soc_percent": 10**400}, "soc_percent: it must be a finite number"),
        ({"soc_percent": [1]}, "soc_percent: it must be a finite number"),
        ({"soc_precent": 1}, "soc_precent: there is no such field, did you mean 'soc_percent'?"),
        ({"x" * 9999: 1}, "x" * 64 + ": there is no such field"),
        ({}, "there is no value"),
        ({"soc_percent": 50, "active_power_mw": 21}, "active_power_mw: 21 is above 20 MW"),
        (
            {"soc_percent": -1, "active_power_mw": 21},
            "soc_percent: -1 is below 0 %; active_power_mw: 21 is above 20 MW",
        ),
    ],
)
def test_all_values_are_taken_or_none_with_every_reason(values: dict[str, JSON], reason: str) -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(Reject) as refused:
            await rig.enter("hand", values)
        assert (refused.value.code, refused.value.reason) == ("value", reason)
        assert (rig.out("hand"), rig.errors("hand")) == ([], {"value": 1})

    play(story)


def test_null_takes_a_value_back() -> None:
    async def story(rig: Rig) -> None:
        await rig.enter("hand", {"soc_percent": None, "active_power_mw": 0})
        (out,) = rig.out("hand")
        assert out.payload == {"active_power_mw": 0}, "0 is a value, null is none"
        assert (out.info("soc_percent").quality, out.info("soc_percent").valid_until) == ("bad", None)
        assert out.info("active_power_mw").quality == "good"

    play(story)


def test_without_expires_after_a_value_counts_until_it_is_taken_back() -> None:
    async def story(rig: Rig) -> None:
        await rig.enter("hand", {"soc_percent": 1})
        assert rig.out("hand")[0].info("soc_percent").valid_until is None

    play(story, FIELDS)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("fields: {}", "fields"),
        ("fields: {x: {min: 2, max: 1}}", "min 2 is above max 1"),
        ("fields: {x-y: {}}", "x-y"),
        ("fields: {x: {maximum: 1}}", "maximum"),
        ("fields: {x: {}}, expires_after: 2", "unit"),
    ],
)
def test_mistakes_in_the_file(options: str, complaint: str) -> None:
    with pytest.raises(BadFlow, match=complaint):
        play(None, options)
