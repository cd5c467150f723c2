"""Orders and the site as power, and a battery that is driven by them."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.battery import Battery, Bump, Schedule, Settings, Site
from flowrunner.units import SECOND, parse_instant

HOUR = 3600 * SECOND
QUARTER = HOUR // 4
VIENNA = ZoneInfo("Europe/Vienna")
START = parse_instant("2026-01-25T00:00:00+01:00")


def test_an_order_flows_in_its_slot_only() -> None:
    schedule = Schedule()
    schedule.add("a", START + QUARTER, START + 2 * QUARTER, "SELL", 1.0)
    assert schedule.power_mw(START + QUARTER - 1) == 0
    assert schedule.power_mw(START + QUARTER) == 4.0
    assert schedule.power_mw(START + 2 * QUARTER - 1) == 4.0
    assert schedule.power_mw(START + 2 * QUARTER) == 0


def test_orders_of_one_slot_add_up_and_a_purchase_charges() -> None:
    schedule = Schedule()
    schedule.add("a", START, START + QUARTER, "SELL", 0.5)
    schedule.add("b", START, START + QUARTER, "BUY", 1.0)
    schedule.add("c", START, START + HOUR, "BUY", 1.0)
    assert schedule.power_mw(START) == pytest.approx(2.0 - 4.0 - 1.0)
    assert [one.order_id for one in schedule.deliveries] == ["a", "b", "c"]


def test_changes_are_the_edges_of_the_slots() -> None:
    schedule = Schedule()
    assert schedule.next_change(START) is None
    schedule.add("a", START + QUARTER, START + 2 * QUARTER, "SELL", 1.0)
    assert schedule.next_change(START) == START + QUARTER
    assert schedule.next_change(START + QUARTER) == START + 2 * QUARTER
    assert schedule.next_change(START + 2 * QUARTER) is None


def test_a_cancelled_order_does_not_flow() -> None:
    schedule = Schedule()
    schedule.add("a", START, START + QUARTER, "SELL", 1.0)
    assert schedule.cancel("a")
    assert not schedule.cancel("a")
    assert schedule.power_mw(START) == 0
    assert schedule.next_change(START) is None


def test_what_is_over_can_be_forgotten() -> None:
    schedule = Schedule()
    schedule.add("over", START, START + QUARTER, "SELL", 1.0)
    schedule.add("running", START, START + QUARTER + 1, "BUY", 1.0)
    schedule.forget(START + QUARTER)
    assert [one.order_id for one in schedule.deliveries] == ["running"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"order_id": "known"}, "order known is scheduled already"),
        ({"side": "HOLD"}, "side must be BUY or SELL, not 'HOLD'"),
        ({"quantity_mwh": 0.0}, "quantity_mwh must be a number above 0"),
        ({"quantity_mwh": -1.0}, "quantity_mwh must be a number above 0"),
        ({"quantity_mwh": math.nan}, "quantity_mwh must be a number above 0"),
        ({"quantity_mwh": math.inf}, "quantity_mwh must be a number above 0"),
        ({"end": START}, "not after its start 2026-01-24T23:00:00.000Z"),
    ],
)
def test_what_is_no_delivery_is_refused(changes: dict[str, Any], says: str) -> None:
    schedule = Schedule()
    schedule.add("known", START, START + QUARTER, "SELL", 1.0)
    order = {"order_id": "a", "start": START, "end": START + QUARTER, "side": "BUY", "quantity_mwh": 1.0}
    with pytest.raises(ValueError, match=says):
        schedule.add(**{**order, **changes})
    assert len(schedule.deliveries) == 1


# ---- driving a battery


def test_a_sale_takes_its_energy_and_the_losses() -> None:
    schedule = Schedule()
    schedule.add("a", START + QUARTER, START + 2 * QUARTER, "SELL", 1.0)
    battery = Battery(at=START, soc_percent=80)
    schedule.drive(battery, START + HOUR)
    assert battery.discharged_mwh == pytest.approx(1.0, abs=1e-9)
    assert battery.soc_percent == pytest.approx(80 - 10 / 0.95, abs=1e-6)
    assert battery.active_power_mw == 0


def test_more_than_the_battery_can_is_limited_by_it() -> None:
    schedule = Schedule()
    for number in range(3):
        schedule.add(str(number), START, START + QUARTER, "BUY", 1.0)
    battery = Battery(at=START, soc_percent=50)
    schedule.drive(battery, START + HOUR)
    assert battery.charged_mwh == pytest.approx(1.25, abs=1e-9)


@settings(max_examples=40)  # each drives two batteries for eight hours
@given(
    orders=st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 8), st.sampled_from(["BUY", "SELL"]), st.floats(0.01, 3)),
        max_size=8,
    ),
    looks=st.lists(st.integers(0, 8 * 3600), max_size=15),
    has_site=st.booleans(),
)
def test_how_often_it_is_driven_makes_no_difference(orders: list[Any], looks: list[int], has_site: bool) -> None:
    schedule = Schedule(Site(zone=VIENNA) if has_site else None)
    noon = START + 8 * HOUR
    for number, (slot, slots, side, quantity) in enumerate(orders):
        start = noon + slot * QUARTER
        schedule.add(str(number), start, start + slots * QUARTER, side, quantity)
    once, often = (Battery(at=noon, soc_percent=50) for _ in range(2))
    for look in sorted(looks):
        schedule.drive(often, noon + look * SECOND)
    for battery in (once, often):
        schedule.drive(battery, noon + 8 * HOUR)
    assert often.soc_percent == pytest.approx(once.soc_percent, abs=0.001)
    assert often.temperature_c == pytest.approx(once.temperature_c, abs=0.001)
    assert often.charged_mwh == pytest.approx(once.charged_mwh, abs=0.0001)


# ---- the site


def at(text: str) -> int:
    return parse_instant(f"2026-01-25T{text}+01:00")


def test_a_day_of_the_site() -> None:
    """A newcomer sees it empty in the morning, fill over noon, empty in the evening, and end as it began."""
    schedule, battery = Schedule(Site(zone=VIENNA)), Battery(at=START, soc_percent=30)
    seen = {}
    for clock in ("05:00", "07:30", "09:00", "12:30", "16:00", "19:30", "22:00"):
        schedule.drive(battery, at(clock))
        seen[clock] = (round(battery.soc_percent), round(battery.active_power_mw, 1))
    assert seen == {
        "05:00": (30, 0.0),
        "07:30": (24, 0.6),
        "09:00": (17, -0.0),
        "12:30": (48, -1.5),
        "16:00": (79, 0.0),
        "19:30": (55, 1.5),
        "22:00": (30, 0.0),
    }


@settings(max_examples=25)  # each drives a battery for up to a day
@given(st.integers(0, 24 * 60 - 1))
def test_the_usual_state_of_charge_is_where_the_site_alone_brings_it(minute: int) -> None:
    site = Site(zone=VIENNA)
    battery = Battery(at=START, soc_percent=site.midnight_soc_percent)
    now = START + minute * 60 * SECOND
    Schedule(site).drive(battery, now)
    assert site.usual_soc_percent(now, Settings()) == pytest.approx(battery.soc_percent, abs=0.6)


def test_the_site_keeps_local_time_when_the_clocks_change() -> None:
    site = Site(zone=VIENNA)
    winter, summer = (
        parse_instant(f"2026-{day}T12:30:00{zone}") for day, zone in (("01-25", "+01:00"), ("07-25", "+02:00"))
    )
    assert site.power_mw(winter) == site.power_mw(summer) < -1.4


def test_the_site_gives_a_set_point_every_five_minutes() -> None:
    schedule = Schedule(Site(zone=VIENNA))
    ten = at("10:00:00")
    assert schedule.next_change(ten) == at("10:05:00")
    assert schedule.power_mw(ten) == schedule.power_mw(at("10:04:59"))
    assert schedule.power_mw(at("10:05:00")) < schedule.power_mw(ten)


def test_a_site_without_a_life_of_its_own() -> None:
    assert Site(zone=VIENNA, bumps=()).power_mw(at("12:30")) == 0


@pytest.mark.parametrize(("hours", "peak"), [((9, 9), 1.0), ((-1, 5), 1.0), ((5, 24.5), 1.0), ((5, 6), math.nan)])
def test_a_bump_that_is_none_is_refused(hours: tuple[float, float], peak: float) -> None:
    with pytest.raises(ValueError, match="site: "):
        Bump(*hours, peak)
