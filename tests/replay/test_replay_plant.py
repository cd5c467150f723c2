"""The battery in the loop: energy is neither made nor lost, whatever is ordered of it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.battery import Battery, Settings, Side, Site
from flowrunner.errors import FlowrunnerError
from flowrunner.replay.plant import HOUR, Plant
from flowrunner.units import parse_instant

START = parse_instant("2024-06-10T05:00:00+02:00")
QUARTER = HOUR // 4


def plant(soc: float = 50.0, efficiency: float = 0.95, site: bool = False, power_mw: float = 5.0) -> Plant:
    made = Settings(charge_efficiency=efficiency, discharge_efficiency=efficiency, power_mw=power_mw)
    home = Site(zone=ZoneInfo("Europe/Vienna")) if site else None
    return Plant(Battery(made, at=START, soc_percent=soc), QUARTER, home, (5.0, 95.0))


def test_of_a_bought_mwh_ninety_per_cent_can_be_sold() -> None:
    there = plant()
    there.deliver("in", "BUY", START + HOUR, START + 2 * HOUR, 1.0)
    there.deliver("out", "SELL", START + 3 * HOUR, START + 4 * HOUR, 0.9025)
    there.advance(START + 5 * HOUR)
    account = there.account
    assert (account.bought, account.sold) == pytest.approx((1.0, 0.9025), rel=1e-12)
    assert account.losses == pytest.approx(0.05 + 0.9025 / 0.95 - 0.9025, rel=1e-12)
    assert there.stored_change == pytest.approx(0.0, abs=1e-12)
    there.check()


def test_a_full_battery_takes_no_more_and_it_is_counted() -> None:
    there = plant(soc=99.0)
    there.deliver("in", "BUY", START, START + HOUR, 4.0)
    there.advance(START + 2 * HOUR)
    assert there.account.bought + there.account.not_bought == pytest.approx(4.0)
    assert there.account.not_bought > 3.5
    assert there.limits.at_max_soc == pytest.approx(2.0)
    there.check()


def test_an_empty_battery_gives_no_more_and_it_is_counted() -> None:
    there = plant(soc=1.0)
    there.deliver("out", "SELL", START, START + HOUR, 4.0)
    there.advance(START + 2 * HOUR)
    assert there.account.sold + there.account.not_sold == pytest.approx(4.0)
    assert there.account.not_sold > 3.5
    assert there.limits.at_min_soc == pytest.approx(2.0)
    there.check()


def test_hours_at_full_power() -> None:
    there = plant(power_mw=2.0)
    there.deliver("in", "BUY", START, START + HOUR, 2.0)
    there.deliver("more", "BUY", START + HOUR, START + 2 * HOUR, 1.0)
    there.advance(START + 4 * HOUR)
    assert there.limits.full_power == pytest.approx(1.0)
    assert there.limits.hours == pytest.approx(4.0)


def test_the_slots_hold_what_flowed_in_them() -> None:
    there = plant()
    there.deliver("in", "BUY", START + QUARTER, START + 2 * QUARTER, 1.0)
    there.deliver("out", "SELL", START + 3 * QUARTER, START + 4 * QUARTER, 0.5)
    there.advance(START + HOUR)
    assert [(round(one.bought, 9), round(one.sold, 9), round(one.given, 9)) for one in there.slots] == [
        (0, 0, 0), (1, 0, -1), (0, 0, 0), (0, 0.5, 0.5),
    ]  # fmt: skip
    assert [one.soc_percent for one in there.slots] == pytest.approx([50, 59.5, 59.5, 59.5 - 5 / 0.95])


@settings(max_examples=30, deadline=None)
@given(
    orders=st.lists(
        st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(0, 23), st.integers(1, 4), st.floats(0.001, 3.0)),
        max_size=25,
    ),
    soc=st.floats(0, 100),
    efficiency=st.floats(0.5, 1.0),
    site=st.booleans(),
    step=st.sampled_from([60, 900, 3600, 1111]),
)
def test_the_balance_closes_whatever_is_ordered(
    orders: list[tuple[Side, int, int, float]], soc: float, efficiency: float, site: bool, step: int
) -> None:
    there = plant(soc, efficiency, site)
    asked = {"BUY": 0.0, "SELL": 0.0}
    for number, (side, quarter, length, mwh) in enumerate(orders):
        begin = START + quarter * QUARTER
        there.deliver(str(number), side, begin, begin + length * QUARTER, mwh)
        asked[side] += mwh
    for second in range(0, 7 * 3600, step):
        there.advance(START + second * 1_000_000_000)
    there.advance(START + 8 * HOUR)
    there.check()
    account = there.account
    assert account.bought + account.not_bought == pytest.approx(asked["BUY"], rel=1e-9, abs=1e-9)
    assert account.sold + account.not_sold == pytest.approx(asked["SELL"], rel=1e-9, abs=1e-9)
    assert min(account.bought, account.sold, account.not_bought, account.not_sold, account.losses) >= -1e-12
    assert site or account.site == 0.0
    assert sum(one.bought for one in there.slots) == pytest.approx(account.bought, abs=1e-9)
    assert sum(one.sold for one in there.slots) == pytest.approx(account.sold, abs=1e-9)


def test_a_balance_that_does_not_close_is_no_result() -> None:
    there = plant()
    there.deliver("in", "BUY", START, START + HOUR, 1.0)
    there.advance(START + HOUR)
    there.account.losses += 1e-6
    with pytest.raises(FlowrunnerError, match="does not close"):
        there.check()
