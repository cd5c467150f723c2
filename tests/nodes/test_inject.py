"""inject: messages at set times, also on the days the clocks change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowrunner.errors import BadFlow
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import iso


def flow(options: str) -> str:
    return f"flow: t\ntimezone: Europe/Vienna\nnodes:\n  a: {{type: inject, {options}}}\n"


def times(options: str, start: str, span: str) -> list[str]:
    """Event times of what was made, UTC."""

    async def story(rig: Rig) -> list[str]:
        await rig.advance(span)
        for one in rig.out("a"):
            assert one.received_at == one.at, "virtual time is punctual"
            assert one.root == ("a", iso(one.at))
        return [iso(one.at)[:19] for one in rig.out("a")]

    found: list[str] = run_flow(flow(options), story, start=start)
    return found


def test_every_is_at_full_multiples_however_the_start_lies() -> None:
    assert times("every: 5min", "2025-01-25T01:03:17.250Z", "15min") == [
        f"2025-01-25T01:{minute}:00" for minute in ("05", "10", "15")
    ]
    assert times("every: 5min", "2025-01-25T01:05:00Z", "5min") == ["2025-01-25T01:10:00"]
    assert len(times("every: 250ms", "2025-01-25T01:03:17.1Z", "10s")) == 40


def test_once_is_at_the_start_and_beside_every_too() -> None:
    async def story(rig: Rig) -> None:
        assert [one.root for one in rig.out("a")] == [("a", "once")]
        await rig.advance("2h")
        assert len(rig.out("a")) == 1
        assert rig.payloads("a") == [{"x": 1}]

    run_flow(flow("once: true, payload: {x: 1}"), story)

    async def both(rig: Rig) -> None:
        await rig.advance("1h")
        assert [one.root for one in rig.out("a")] == [("a", "once"), ("a", "2025-01-25T02:00:00.000Z")]

    run_flow(flow("once: true, every: 1h"), both)


def test_cron_is_in_the_flows_zone() -> None:
    assert times("at: 0 7 * * MON-FRI", "2025-01-24T06:30:00+01:00", "4d") == [
        "2025-01-24T06:00:00",
        "2025-01-27T06:00:00",
    ]
    assert times("at: 0 7 * * *", "2025-07-01T00:00:00Z", "1d") == ["2025-07-01T05:00:00"]


@pytest.mark.parametrize(
    ("options", "start", "expected"),
    [
        # 2026-03-29: after 01:59:59 comes 03:00:00, which is 01:00 UTC
        ("at: 30 2 * * *", "2026-03-29T00:00:00+01:00", ["01:00"]),
        ("at: 0 3 * * *", "2026-03-29T00:00:00+01:00", ["01:00"]),
        ('at: "*/30 * * * *"', "2026-03-29T00:59:00+01:00", ["00:00", "00:30", "01:00", "01:30", "02:00"]),
        ("every: 30min", "2026-03-29T00:59:00+01:00", ["00:00", "00:30", "01:00", "01:30", "02:00"]),
        # 2026-10-25: after 02:59:59 comes 02:00:00 again, which is 01:00 UTC
        ("at: 30 2 * * *", "2026-10-25T00:00:00+02:00", ["00:30"]),
        ("at: 0 3 * * *", "2026-10-25T00:00:00+02:00", ["02:00"]),
        ('at: "*/30 * * * *"', "2026-10-25T01:59:00+02:00", ["00:00", "00:30", "01:00", "01:30", "02:00"]),
        ("every: 30min", "2026-10-25T01:59:00+02:00", ["00:00", "00:30", "01:00", "01:30", "02:00"]),
    ],
)
def test_the_days_the_clocks_change(options: str, start: str, expected: list[str]) -> None:
    found = times(options, start, "20h")
    assert [one[11:16] for one in found[: len(expected)]] == expected
    if options.startswith(("at: 30", "at: 0")):
        assert len(found) == len(expected), "once that day"


def test_a_start_in_the_hour_that_comes_twice_does_not_send_what_was_sent_in_the_first() -> None:
    assert times("at: 30 2 * * *", "2026-10-25T02:10:00+01:00", "3h") == []
    assert times("at: 30 2 * * *", "2026-10-25T02:10:00+02:00", "3h") == ["2026-10-25T00:30:00"]


@pytest.mark.parametrize(("day", "quarters"), [("2026-03-29", 92), ("2026-10-25", 100), ("2026-06-01", 96)])
def test_the_quarter_hours_of_a_day(day: str, quarters: int) -> None:
    offset = "+02:00" if day == "2026-06-01" or day == "2026-10-25" else "+01:00"
    found = times('at: "*/15 * * * *"', f"{day}T00:00:00{offset}", f"{quarters * 15}min")
    assert (len(found), len(set(found))) == (quarters, quarters)


SLOW = """
from flowrunner.node import Node


class Slow(Node):
    async def process(self, message, ctx):
        await ctx.sleep_until(ctx.now() + 600 * 10**9)
"""


def test_what_was_missed_while_the_reader_was_full_is_not_made_up_for(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    text = flow("every: 1min") + "  b: {type: slow, from: a, queue: {size: 1}}\n"

    async def story(rig: Rig) -> list[str]:
        await rig.advance("25min")
        return [iso(one.at)[14:16] for one in rig.out("a")]

    made = run_flow(text, story, start="2025-01-25T01:00:00Z", registry=Registry([tmp_path]))
    assert made == ["01", "02", "03", "12", "22"]  # one is at work, one waits, one is at the door


def test_positions_are_the_same_after_a_restart() -> None:
    store = Store.open(None, inline=True)

    def roots(start: str) -> list[Any]:
        async def story(rig: Rig) -> list[Any]:
            await rig.advance("10min")
            return [one.root for one in rig.out("a")]

        found: list[Any] = run_flow(flow("every: 1min"), story, start=start, store=store)
        return found

    assert roots("2025-01-25T01:00:00Z")[5:] == roots("2025-01-25T01:05:00Z")[:5]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("payload: 1", "it would never send anything"),
        ("every: 1h, at: 0 7 * * *", "exclude each other"),
        ("every: 0s", "too short"),
        ("every: 30", "without|unit"),
        ("at: 0 25 * * *", "no cron time"),
        ("at: 0 0 30 2 *", "no cron time"),
        ("at: 0 0 0 7 * *", "it has not five parts"),
        ("at: daily", "it has not five parts"),
    ],
)
def test_mistakes_in_the_file(options: str, complaint: str) -> None:
    with pytest.raises(BadFlow, match=complaint):
        run_flow(flow(options), None)  # type: ignore[arg-type]  # it does not come to a story
