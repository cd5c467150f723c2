"""switch: the first case that holds, all that hold, none, or not to be judged."""

from __future__ import annotations

from typing import Any

import pytest

from flowrunner.errors import BadFlow
from flowrunner.testing import Rig, run_flow

PORTS = ("low", "mid", "else", "error")


def play(story: Any, more: str = "", cases: str = "low: x < limit\n      mid: x < 50 and y == 1") -> Any:
    text = f"""
flow: t
vars: {{limit: 10}}
nodes:
  a: {{type: inject, once: true, payload: {{x: 0, y: 0}}}}
  s:
    type: switch
    from: a
    cases:
      {cases}
    {more}
  l: {{type: log, from: [s.low, s.else], text: "{{x}}"}}
  e: {{type: log, from: s.error}}
"""
    return run_flow(text, story, stubs=["a"])


def where(rig: Rig) -> dict[str, int]:
    return {port: len(found) for port in PORTS if (found := rig.out("s", port))}


@pytest.mark.parametrize(
    ("record", "first", "all_of_them"),
    [
        ({"x": 5, "y": 1}, {"low": 1}, {"low": 1, "mid": 1}),
        ({"x": 5, "y": 0}, {"low": 1}, {"low": 1}),
        ({"x": 20, "y": 1}, {"mid": 1}, {"mid": 1}),
        ({"x": 20, "y": 0}, {"else": 1}, {"else": 1}),
        ({"x": None, "y": 1}, {"error": 1}, {"error": 1}),
        ({"x": 20}, {"error": 1}, {"error": 1}),
        ({"x": 5}, {"low": 1}, {"error": 1}),  # the second case was not asked, or cannot be judged
        ({"x": "5", "y": 1}, {"error": 1}, {"error": 1}),
    ],
)
def test_where_a_message_goes(record: Any, first: dict[str, int], all_of_them: dict[str, int]) -> None:
    for more, expected in (("", first), ("first: false", all_of_them)):

        async def story(rig: Rig, expected: dict[str, int] = expected) -> None:
            sent = await rig.emit("a", record, key="k")
            assert where(rig) == expected
            for port in expected.keys() - {"error"}:
                (out,) = rig.out("s", port)
                assert (out.payload, out.key, out.root) == (record, "k", sent.root)

        play(story, more)


def test_the_error_names_the_case() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 20})
        (error,) = rig.payloads("s", "error")
        assert (error["code"], error["reason"]) == ("expression", "mid: y is missing")

    play(story)


def test_a_bad_field_is_an_error_and_never_else() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("a", {"x": 99, "y": 0}, quality="uncertain")
        assert where(rig) == {"error": 1}

    play(story)


def test_readers_may_name_its_cases_and_nothing_else() -> None:
    async def story(rig: Rig) -> None: ...

    with pytest.raises(BadFlow, match=r"'s' has no port 'low'.*\n.*ports: high, else, error"):
        play(story, cases="high: x > 1")
