"""Delivery slots: the next one whose gate is open, and the days on which the clocks change."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.market import Market, Slot, local_day, midnight
from flowrunner.units import Duration, iso, parse_instant

VIENNA = ZoneInfo("Europe/Vienna")


def market(slot: str = "15min", gate_closure: str = "5min") -> Market:
    return Market(name="m", slot_ns=int(Duration.parse(slot)), gate_closure_ns=int(Duration.parse(gate_closure)))


MARKETS = st.builds(
    market, st.sampled_from(["15min", "30min", "1h"]), st.sampled_from(["0s", "1s", "5min", "15min", "1h", "25h"])
)
INSTANTS = st.integers(1_600_000_000_000_000_000, 1_900_000_000_000_000_000)


@pytest.mark.parametrize(
    ("now", "delivery"),
    [
        ("2025-01-25T02:00:00+01:00", "2025-01-25T01:15:00.000Z"),  # DOMAIN's first scenario
        ("2025-01-25T02:09:59.999+01:00", "2025-01-25T01:15:00.000Z"),
        ("2025-01-25T02:10:00+01:00", "2025-01-25T01:30:00.000Z"),  # at the very instant the gate is closed
    ],
)
def test_an_order_is_for_the_first_slot_whose_gate_is_open(now: str, delivery: str) -> None:
    slot = market().delivery(parse_instant(now))
    assert iso(slot.start) == delivery
    assert slot.hours == 0.25
    assert str(slot).startswith(f"{delivery}/")


def test_without_gate_closure_an_order_is_for_the_next_slot() -> None:
    m = market(gate_closure="0s")
    at = parse_instant("2025-01-25T02:00:00Z")
    assert m.delivery(at).start == m.current(at).end


@given(MARKETS, INSTANTS)
def test_the_delivery_slot_is_the_first_open_one_until_it_changes(m: Market, now: int) -> None:
    slot, current = m.delivery(now), m.current(now)
    assert current.covers(now)
    assert not current.covers(current.end)
    assert slot.start - m.gate_closure_ns > now, "its gate is open"
    assert slot.start - m.slot_ns - m.gate_closure_ns <= now, "the gate of the one before is not"
    change = m.changes_at(now)
    assert now < change
    assert m.delivery(change - 1) == slot
    assert m.delivery(change).start == slot.end
    assert slot.contains(slot)
    assert not slot.contains(Slot(slot.start, slot.end + 1))


@pytest.mark.parametrize(
    ("day", "quarters", "hours", "position"),
    [
        (date(2026, 3, 29), 92, 23, 69),
        (date(2026, 10, 25), 100, 25, 77),
        (date(2026, 6, 1), 96, 24, 73),
    ],
)
def test_days_on_which_the_clocks_change(day: date, quarters: int, hours: int, position: int) -> None:
    slots = list(market().of_day(day, VIENNA))
    assert len(slots) == quarters
    assert len(list(market("1h").of_day(day, VIENNA))) == hours
    assert [market().position(slot, VIENNA) for slot in slots] == list(range(1, quarters + 1))
    assert {local_day(slot.start, VIENNA) for slot in slots} == {day}
    assert slots[0].start == midnight(day, VIENNA)
    evening = parse_instant(f"{day}T18:00:00{'+02:00' if quarters != 100 else '+01:00'}")
    assert slots[position - 1].start == evening
    assert market().position(market().current(evening), VIENNA) == position
