"""The battery's physics against the figures that it must meet, and against what no battery can do."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.battery import Battery, Settings
from flowrunner.units import SECOND

HOUR = 3600 * SECOND
START = 1_769_295_600 * SECOND

socs = st.floats(0, 100)
powers = st.floats(-8, 8)
temperatures = st.floats(-20, 70)
moves = st.lists(st.tuples(powers, st.integers(1, 7200)), min_size=1, max_size=12)
"""(MW asked for, seconds)"""


def battery(soc: float = 50.0, power: float = 0.0, **state: Any) -> Battery:
    one = Battery(at=START, soc_percent=soc, **state)
    one.command(power)
    return one


# ---- the figures


@pytest.mark.parametrize(("soc", "power", "after"), [(75.5, 2.5, 49.18), (20.0, -5.0, 67.50), (50.0, 0.0, 50.0)])
def test_an_hour_at_constant_power(soc: float, power: float, after: float) -> None:
    one = battery(soc, power)
    one.advance(START + HOUR)
    assert round(one.soc_percent, 2) == after
    assert one.active_power_mw == power
    assert one.at == START + HOUR


def test_five_megawatts_warm_less_than_the_air_conditioning_takes() -> None:
    one = battery(20.0, -5.0)
    one.advance(START + HOUR)
    assert 25 < one.temperature_c < 27
    assert one.hvac == "cooling"
    # In balance: half of the loss of 250 kW leaves, nearly all of it by the air conditioning.
    leaves_kw = one.cooling_kw + 0.150 * (one.temperature_c - one.ambient_c)
    assert leaves_kw == pytest.approx(125, rel=0.05)


def test_without_air_conditioning_it_heats_as_the_formula_says() -> None:
    one = battery(95.0, 5.0)
    one.hvac_failed = True
    one.advance(START + HOUR // 2)
    loss_w = 5e6 * (1 / 0.95 - 1)
    assert one.temperature_c == pytest.approx(25 + loss_w / 2 * 1800 / 6.7e7, abs=0.05)
    assert one.hvac == "failed"
    assert one.cooling_kw == 0


def test_at_rest_it_drifts_to_the_ambient_temperature() -> None:
    one = battery(temperature_c=24.0)
    assert one.hvac == "off"
    one.advance(START + int(6.7e7 / 150) * SECOND)  # one time constant
    assert one.temperature_c == pytest.approx(20 + 4 / math.e, abs=0.01)


def test_a_hot_day_and_no_air_conditioning_end_in_the_heat() -> None:
    one = battery(50.0, temperature_c=38.0)
    one.hvac_failed = True
    one.hot_day()
    assert one.ambient_c == 42
    one.advance(START + int(6.7e7 / 150) * SECOND)  # one time constant
    assert one.temperature_c == pytest.approx(42 - 4 / math.e, abs=0.01)
    one.command(5.0)
    assert 0 < one.active_power_mw < 5.0
    one.hot_day(False)
    one.hvac_failed = False
    one.advance(one.at + 24 * HOUR)
    assert one.temperature_c < 26


# ---- limits


@pytest.mark.parametrize(
    ("soc", "power", "flows"),
    [
        (5.0, 5.0, 5.0),
        (2.5, 5.0, 2.5),
        (2.5, 1.0, 1.0),
        (0.0, 5.0, 0.0),
        (0.0, -5.0, -5.0),
        (95.0, -5.0, -5.0),
        (98.0, -5.0, -2.0),
        (100.0, -5.0, 0.0),
        (100.0, 5.0, 5.0),
        (50.0, 7.0, 5.0),
        (50.0, -7.0, -5.0),
    ],
)
def test_the_last_five_percent_taper(soc: float, power: float, flows: float) -> None:
    assert battery(soc, power).active_power_mw == pytest.approx(flows, abs=1e-12)


@pytest.mark.parametrize(
    ("temperature", "power", "flows"),
    [(40.0, 5.0, 5.0), (42.0, 5.0, 4.0), (42.0, -5.0, -4.0), (42.0, 3.0, 3.0), (50.0, 5.0, 0.0), (60.0, -5.0, 0.0)],
)
def test_from_forty_degrees_it_derates(temperature: float, power: float, flows: float) -> None:
    assert battery(power=power, temperature_c=temperature).active_power_mw == pytest.approx(flows, abs=1e-12)


@given(soc=socs, temperature=temperatures, plan=moves, failed=st.booleans(), hot=st.booleans())
def test_it_never_leaves_its_bounds(
    soc: float, temperature: float, plan: list[tuple[float, int]], failed: bool, hot: bool
) -> None:
    one = battery(soc, temperature_c=temperature)
    one.hvac_failed = failed
    one.hot_day(hot)
    for power, seconds in plan:
        one.command(power)
        one.advance(one.at + seconds * SECOND)
        assert 0 <= one.soc_percent <= 100
        assert abs(one.active_power_mw) <= 5
        assert one.active_power_mw * power >= 0
        assert abs(one.active_power_mw) <= abs(power)


@given(soc=socs, temperature=temperatures, plan=moves)
def test_energy_is_conserved(soc: float, temperature: float, plan: list[tuple[float, int]]) -> None:
    one = battery(soc, temperature_c=temperature)
    before = one.stored_mwh
    for power, seconds in plan:
        one.command(power)
        one.advance(one.at + seconds * SECOND)
    stored = one.charged_mwh * 0.95 - one.discharged_mwh / 0.95
    assert one.stored_mwh - before == pytest.approx(stored, abs=1e-9)
    assert one.charged_mwh >= 0
    assert one.discharged_mwh >= 0


@given(plan=moves, temperature=temperatures, soc=socs)
def test_no_cycle_gains_energy(plan: list[tuple[float, int]], temperature: float, soc: float) -> None:
    """What a battery gives can never be more than what it was given and what it held."""
    one = battery(soc, temperature_c=temperature)
    held = one.stored_mwh
    for power, seconds in plan:
        one.command(power)
        one.advance(one.at + seconds * SECOND)
    assert one.discharged_mwh <= (one.charged_mwh * 0.95 + held) * 0.95 + 1e-9


@given(soc=socs, temperature=temperatures, power=powers, cuts=st.lists(st.integers(1, 4 * 3600), max_size=20))
def test_how_often_it_is_looked_at_makes_no_difference(
    soc: float, temperature: float, power: float, cuts: list[int]
) -> None:
    end = START + 4 * HOUR
    once, often = (battery(soc, power, temperature_c=temperature) for _ in range(2))
    for cut in sorted(cuts):
        often.advance(START + cut * SECOND)
    for one in (once, often):
        one.advance(end)
    assert often.soc_percent == pytest.approx(once.soc_percent, abs=0.001)
    assert often.temperature_c == pytest.approx(once.temperature_c, abs=0.001)
    assert often.discharged_mwh == pytest.approx(once.discharged_mwh, abs=0.0001)


def test_a_small_fast_battery_is_stepped_finely_enough() -> None:
    settings = Settings(capacity_mwh=0.01, power_mw=5.0)
    one = Battery(settings, at=START, soc_percent=50)
    one.command(5.0)
    one.advance(START + HOUR // 30)
    assert one.soc_percent == pytest.approx(0, abs=0.01)
    assert one.discharged_mwh == pytest.approx(0.005 * 0.95, rel=1e-4)


# ---- time and commands


def test_an_instant_that_has_passed_changes_nothing() -> None:
    one = battery(50.0, 5.0)
    one.advance(START + HOUR)
    soc = one.soc_percent
    one.advance(START)
    one.advance(START + HOUR)
    assert (one.soc_percent, one.at) == (soc, START + HOUR)


@pytest.mark.parametrize("power", [math.nan, math.inf, -math.inf])
def test_a_power_that_is_no_number_is_refused_and_the_old_one_stays(power: float) -> None:
    one = battery(50.0, 2.0)
    with pytest.raises(ValueError, match="finite number of MW"):
        one.command(power)
    assert one.active_power_mw == 2.0


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ({"soc": -0.1}, "soc_percent"),
        ({"soc": 100.1}, "soc_percent"),
        ({"soc": math.nan}, "soc_percent"),
        ({"temperature_c": math.nan}, "temperature_c"),
        ({"temperature_c": 2500.0}, "temperature_c"),
    ],
)
def test_a_state_that_no_battery_has_is_refused(state: dict[str, float], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        battery(**state)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("capacity_mwh", 0.0),
        ("power_mw", -1.0),
        ("charge_efficiency", 0.0),
        ("discharge_efficiency", 1.01),
        ("taper_percent", 0.0),
        ("taper_percent", 51.0),
        ("derate_to_c", 40.0),
        ("heat_capacity_j_per_k", 0.0),
        ("ua_w_per_k", -1.0),
        ("hvac_kw", -1.0),
        ("hvac_band_k", 0.0),
        ("ambient_c", math.inf),
        ("hot_day_c", 500.0),
    ],
)
def test_settings_that_make_no_battery_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=option):
        Settings(**{option: value})


def test_an_ambient_that_is_no_number_is_refused() -> None:
    one = battery()
    with pytest.raises(ValueError, match="ambient_c"):
        one.ambient_c = math.nan
    assert one.ambient_c == 20
