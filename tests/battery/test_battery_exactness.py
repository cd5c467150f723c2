"""The battery's closed forms against an integration that knows only the equations, and against itself."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowrunner.battery import Battery, Schedule, Settings
from flowrunner.units import SECOND

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
START = 1_769_295_600 * SECOND

kinds = st.one_of(
    st.just(Settings()),
    st.builds(
        Settings,
        capacity_mwh=st.floats(0.2, 40),
        power_mw=st.floats(0.5, 10),
        charge_efficiency=st.one_of(st.just(1.0), st.floats(0.6, 1)),
        discharge_efficiency=st.one_of(st.just(1.0), st.floats(0.6, 1)),
        taper_percent=st.floats(1, 50),
        derate_from_c=st.floats(20, 45),
        derate_to_c=st.floats(46, 60),
        heat_capacity_j_per_k=st.floats(1e7, 1e8),
        ua_w_per_k=st.one_of(st.just(0.0), st.floats(0, 5000)),
        hvac_kw=st.one_of(st.just(0.0), st.floats(0, 300)),
        set_point_c=st.floats(15, 50),
        hvac_band_k=st.floats(0.5, 8),
        ambient_c=st.floats(-20, 60),
        hot_day_c=st.floats(35, 70),
    ),
)
socs = st.one_of(st.floats(0, 100), st.floats(0, 8), st.floats(92, 100), st.sampled_from([0.0, 5.0, 50.0, 95.0, 100.0]))
temperatures = st.one_of(st.floats(-20, 70), st.floats(38, 52), st.sampled_from([25.0, 27.0, 40.0, 45.0, 50.0]))
powers = st.one_of(st.floats(-12, 12), st.sampled_from([-5.0, -2.5, 0.0, 2.5, 5.0]))
changes = st.sampled_from(["none", "hvac", "hot day"])
stories = st.lists(st.tuples(powers, st.integers(1, 3 * 3600), changes), min_size=1, max_size=5)
"""(MW asked for, seconds, the fault that begins or ends with it)"""


HEATING = Settings(
    capacity_mwh=40.0, power_mw=10.0, discharge_efficiency=0.6, taper_percent=50.0, heat_capacity_j_per_k=1e7
)
"""Warms faster than it empties: in its taper the heat begins to derate, and the taper rules again later."""

WARM_AND_SMALL = Settings(
    capacity_mwh=3.0,
    power_mw=6.0,
    charge_efficiency=0.75,
    discharge_efficiency=0.75,
    taper_percent=14.0,
    derate_from_c=20.0,
    heat_capacity_j_per_k=1.2630239e7,
    ua_w_per_k=0.0,
)
"""Without air conditioning nothing takes its heat: it comes ever nearer to where nothing flows."""


# ---- an integration that knows only the equations


def rates(
    s: Settings, power: float, hvac: bool, ambient: float, stored: float, celsius: float
) -> tuple[float, float, float]:
    """(MWh/s stored, K/s, MWh/s at the terminals) of a battery."""
    empty, full = stored / s.capacity_mwh * 100, 100 - stored / s.capacity_mwh * 100
    limit = s.power_mw * min(
        1.0,
        (empty if power > 0 else full) / s.taper_percent,
        (s.derate_to_c - celsius) / (s.derate_to_c - s.derate_from_c),
    )
    flow = math.copysign(min(abs(power), max(limit, 0.0)), power)
    inward = -flow / s.discharge_efficiency if flow > 0 else -flow * s.charge_efficiency
    watts = abs(flow + inward) * 1e6 / 2 - s.ua_w_per_k * (celsius - ambient)
    if hvac:
        watts -= s.hvac_kw * 1000 * min(1.0, max(0.0, (celsius - s.set_point_c) / s.hvac_band_k))
    return inward / 3600, watts / s.heat_capacity_j_per_k, flow / 3600


Law = tuple[Settings, float, bool, float]
State = tuple[float, float, float]
"""(MWh stored, °C, MWh that flowed at the terminals)"""


def runge_kutta(law: Law, state: State, h: float) -> State:
    def rate(of: State) -> State:
        return rates(*law, of[0], of[1])

    def moved(by: State, seconds: float) -> State:
        return state[0] + by[0] * seconds, state[1] + by[1] * seconds, state[2] + by[2] * seconds

    a = rate(state)
    b = rate(moved(a, h / 2))
    c = rate(moved(b, h / 2))
    d = rate(moved(c, h))
    mean = [(a[i] + 2 * b[i] + 2 * c[i] + d[i]) / 6 for i in range(3)]
    return moved((mean[0], mean[1], mean[2]), h)


def integrated(law: Law, state: State, seconds: float) -> State:
    """The state after that; a step is halved until halving it makes no difference."""
    h, left = 60.0, seconds
    while left > 0:
        h = min(h, left)
        whole = runge_kutta(law, state, h)
        half = runge_kutta(law, runge_kutta(law, state, h / 2), h / 2)
        if h > 1e-3 and (abs(whole[0] - half[0]) > 2e-11 or abs(whole[1] - half[1]) > 1e-8):
            h /= 2
            continue
        state, left = half, left - h
        h *= 2
    return state


@settings(max_examples=60)  # each integrates for hours, twelve evaluations a step
@given(kind=kinds, soc=socs, celsius=temperatures, story=stories)
@example(kind=HEATING, soc=20.0, celsius=40.0, story=[(10.0, 10800, "hvac"), (-10.0, 10800, "hvac")])
@example(kind=WARM_AND_SMALL, soc=0.0, celsius=0.0, story=[(-6.0, 337, "hvac"), (6.0, 149, "none")])
@example(kind=Settings(), soc=5.0, celsius=24.8, story=[(5.0, 200, "none"), (5.0, 10800, "none")])
@example(kind=Settings(hvac_band_k=0.5), soc=5.0, celsius=25.4, story=[(5.0, 100, "none"), (5.0, 10800, "none")])
@example(kind=Settings(), soc=8.0, celsius=41.0, story=[(5.0, 3600, "hvac")])
@example(kind=Settings(), soc=90.0, celsius=46.0, story=[(-5.0, 10800, "hvac"), (5.0, 10800, "hot day")])
@example(kind=Settings(ambient_c=60.0), soc=4.0, celsius=52.0, story=[(5.0, 10800, "none"), (-5.0, 10800, "hvac")])
def test_it_goes_where_an_integration_of_the_equations_goes(
    kind: Settings, soc: float, celsius: float, story: list[tuple[float, int, str]]
) -> None:
    battery = Battery(kind, at=START, soc_percent=soc, temperature_c=celsius)
    hvac, hot = True, False
    state = (kind.capacity_mwh * soc / 100, celsius, 0.0)
    for power, seconds, change in story:
        hvac, hot = hvac != (change == "hvac"), hot != (change == "hot day")
        battery.hvac_failed = not hvac
        battery.hot_day(hot)
        battery.command(power)
        law = (kind, power, hvac, kind.hot_day_c if hot else kind.ambient_c)
        state = integrated(law, state, seconds)
        battery.advance(battery.at + seconds * SECOND)
        assert battery.soc_percent == pytest.approx(100 * state[0] / kind.capacity_mwh, abs=1e-6)
        assert battery.temperature_c == pytest.approx(state[1], abs=1e-3)
        assert battery.discharged_mwh - battery.charged_mwh == pytest.approx(state[2], abs=1e-7)
        assert battery.active_power_mw == pytest.approx(rates(*law, state[0], state[1])[2] * 3600, abs=1e-4)


# ---- looking at it


@given(
    kind=kinds,
    soc=socs,
    celsius=temperatures,
    story=stories,
    looks=st.lists(st.integers(0, 15 * HOUR), max_size=40),
)
def test_looking_at_it_changes_not_one_bit(
    kind: Settings, soc: float, celsius: float, story: list[tuple[float, int, str]], looks: list[int]
) -> None:
    once, often = (Battery(kind, at=START, soc_percent=soc, temperature_c=celsius) for _ in range(2))
    for power, seconds, change in story:
        end = once.at + seconds * SECOND
        for battery in (once, often):
            battery.hvac_failed = change == "hvac"
            battery.hot_day(change == "hot day")
            battery.command(power)
        for look in sorted(looks):
            if START + look < end:
                often.advance(START + look)
                often.command(power)  # told again what it does already
                assert 0 <= often.soc_percent <= 100
                assert abs(often.active_power_mw) <= abs(power)
        for battery in (once, often):
            battery.advance(end)
        assert seen(once) == seen(often)


def seen(battery: Battery) -> tuple[float, ...]:
    return (
        battery.stored_mwh,
        battery.temperature_c,
        battery.active_power_mw,
        battery.charged_mwh,
        battery.discharged_mwh,
        battery.losses_mwh,
    )


@given(kind=kinds, soc=socs, celsius=temperatures, story=stories)
def test_an_order_that_changes_nothing_that_flows_makes_no_difference(
    kind: Settings, soc: float, celsius: float, story: list[tuple[float, int, str]]
) -> None:
    """Twice the rating is the rating: each such order begins a new stretch, only rounding may tell."""
    once, again = (Battery(kind, at=START, soc_percent=soc, temperature_c=celsius) for _ in range(2))
    for power, seconds, _ in story:
        full = math.copysign(kind.power_mw, power)
        once.command(full)
        once.advance(once.at + seconds * SECOND)
        for piece in range(10):
            again.command(full * (1 + piece))
            again.advance(once.at - seconds * SECOND + seconds * SECOND * (piece + 1) // 10)
        assert again.at == once.at
        assert seen(again) == pytest.approx(seen(once), rel=1e-9, abs=1e-9)


# ---- the books


def year(step: int, kind: Settings, seed: int) -> Iterator[Battery]:
    """A year of four orders a day, of hot days and of failing air conditioning, looked at at every step."""
    chance = random.Random(seed)  # noqa: S311  # a story to repeat, no secret
    schedule, battery = Schedule(), Battery(kind, at=START, soc_percent=40)
    for day in range(365):
        midnight = START + day * 24 * HOUR
        schedule.forget(midnight)
        for hour, side in ((3, "BUY"), (8, "SELL"), (13, "BUY"), (19, "SELL")):
            start = midnight + hour * HOUR
            schedule.add(f"{day}-{hour}", start, start + HOUR, side, chance.uniform(1, 6))  # type: ignore[arg-type]
        battery.hot_day(chance.random() < 0.1)
        battery.hvac_failed = chance.random() < 0.1
        for now in range(midnight + step, midnight + 24 * HOUR + 1, step):
            schedule.drive(battery, now)
            yield battery


@pytest.mark.parametrize("kind", [Settings(), Settings(charge_efficiency=0.93, discharge_efficiency=0.97)])
def test_the_books_of_a_year_balance(kind: Settings) -> None:
    tapered = derated = 0
    for battery in year(HOUR // 2, kind, seed=3):
        tapered += not 5 <= battery.soc_percent <= 95
        derated += battery.temperature_c > 40
    assert tapered > 1000
    assert derated > 100
    gained = battery.stored_mwh - 4.0
    throughput = battery.charged_mwh + battery.discharged_mwh
    assert throughput > 3000
    into_cells = battery.charged_mwh * kind.charge_efficiency - battery.discharged_mwh / kind.discharge_efficiency
    assert into_cells == pytest.approx(gained, abs=1e-12 * throughput)
    lost = battery.charged_mwh - battery.discharged_mwh - battery.losses_mwh
    assert lost == pytest.approx(gained, abs=1e-12 * throughput)


def test_a_year_by_hours_is_the_year_by_quarters() -> None:
    by_hours, by_quarters = (list(year(step, Settings(), seed=5))[-1] for step in (HOUR, HOUR // 4))
    assert seen(by_hours) == seen(by_quarters)


@given(kind=kinds, soc=socs, celsius=temperatures, story=stories)
@example(kind=Settings(capacity_mwh=21.214122659340067), soc=100.0, celsius=0.0, story=[(-1.0, 1, "none")])
def test_every_loss_is_booked(kind: Settings, soc: float, celsius: float, story: list[tuple[float, int, str]]) -> None:
    battery = Battery(kind, at=START, soc_percent=soc, temperature_c=celsius)
    held = battery.stored_mwh
    for power, seconds, _ in story:
        battery.command(power)
        battery.advance(battery.at + seconds * SECOND)
    entered, left, lost = battery.charged_mwh, battery.discharged_mwh, battery.losses_mwh
    assert lost >= 0
    assert battery.stored_mwh - held == pytest.approx(entered - left - lost, abs=1e-12 * (1 + held + entered + left))


# ---- corners


@pytest.mark.parametrize(("power", "soc", "corner"), [(5.0, 50.0, 0.5), (-5.0, 50.0, 9.5)])
def test_the_taper_is_entered_at_its_instant_and_left_over_by_the_exponential(
    power: float, soc: float, corner: float
) -> None:
    """4.5 MWh lie before the taper; within it what is left falls by the factor e in each time constant."""
    per_hour = 5 / 0.95 if power > 0 else 5 * 0.95
    battery = Battery(at=START, soc_percent=soc)
    battery.command(power)
    enters = START + round(4.5 / per_hour * HOUR)
    battery.advance(enters - SECOND)
    assert battery.active_power_mw == power
    battery.advance(enters)
    assert battery.stored_mwh == pytest.approx(corner, abs=1e-9)
    for constants in (1, 2, 10):
        battery.advance(enters + round(constants * 0.5 / per_hour * HOUR))
        left = battery.stored_mwh if power > 0 else 10 - battery.stored_mwh
        assert left == pytest.approx(0.5 * math.exp(-constants), abs=1e-9)
        assert abs(battery.active_power_mw) == pytest.approx(5 * math.exp(-constants), abs=1e-8)


@pytest.mark.parametrize("power", [5.0, -5.0])
def test_at_its_end_it_stays_for_years(power: float) -> None:
    battery = Battery(at=START, soc_percent=0.0 if power > 0 else 100.0)
    battery.command(power)
    battery.advance(START + 3 * 365 * 24 * HOUR)
    assert battery.soc_percent == (0.0 if power > 0 else 100.0)
    assert battery.active_power_mw == battery.charged_mwh == battery.discharged_mwh == battery.losses_mwh == 0
    assert math.copysign(1, battery.active_power_mw) == 1  # nobody wants to read -0.0
    assert battery.temperature_c == pytest.approx(20, abs=1e-9)


def test_a_battery_without_losses_or_walls_keeps_its_temperature() -> None:
    kind = Settings(charge_efficiency=1.0, discharge_efficiency=1.0, ua_w_per_k=0.0)
    battery = Battery(kind, at=START, soc_percent=10.0, temperature_c=44.0)
    battery.hvac_failed = True
    battery.command(-5.0)
    battery.advance(START + HOUR)
    assert battery.active_power_mw == pytest.approx(-3.0)
    assert battery.stored_mwh == pytest.approx(4.0, abs=1e-12)
    assert (battery.temperature_c, battery.losses_mwh) == (44.0, 0.0)


def test_heat_and_derating_settle_where_the_walls_take_the_loss() -> None:
    """Without air conditioning the flow falls until its half loss leaves through the walls."""
    kind = Settings(capacity_mwh=1e5, ua_w_per_k=3000.0)
    battery = Battery(kind, at=START, soc_percent=90.0, temperature_c=30.0)
    battery.hvac_failed = True
    battery.command(5.0)
    battery.advance(START + 20 * 24 * HOUR)
    half_loss_w = battery.active_power_mw * (1 / 0.95 - 1) * 1e6 / 2
    assert 40 < battery.temperature_c < 50
    assert half_loss_w == pytest.approx(3000 * (battery.temperature_c - 20), rel=1e-9)


@pytest.mark.parametrize("power", [5e-324, -5e-324, 1e-300, 1e308])
def test_the_least_and_the_most_that_can_be_asked(power: float) -> None:
    battery = Battery(at=START, soc_percent=50.0)
    battery.command(power)
    battery.advance(START + 30 * 24 * HOUR)
    assert battery.soc_percent == pytest.approx(0.0 if power > 1 else 50.0, abs=1e-9)


def test_a_corner_on_the_way_of_every_law_is_passed_at_the_nanosecond() -> None:
    """Steps of a nanosecond around the instant at which the taper begins: nothing sticks, nothing jumps."""
    battery = Battery(at=START, soc_percent=6.0)
    battery.command(5.0)
    enters = START + round(0.1 / (5 / 0.95) * HOUR)
    before = 0.6
    for now in range(enters - 50, enters + 50):
        battery.advance(now)
        assert battery.stored_mwh <= before
        before = battery.stored_mwh
    assert before == pytest.approx(0.5, abs=1e-9)
    assert battery.active_power_mw == pytest.approx(5.0, abs=1e-6)


# ---- faults


def test_a_fault_holds_from_the_instant_that_it_was_brought_to() -> None:
    told, never = Battery(at=START, temperature_c=30.0), Battery(at=START, temperature_c=30.0)
    for battery in (told, never):
        battery.advance(START + MINUTE)
    was = told.temperature_c
    told.hvac_failed = True
    assert told.temperature_c == never.temperature_c == was
    told.advance(START + 2 * MINUTE)
    never.advance(START + 2 * MINUTE)
    assert never.temperature_c < told.temperature_c < was
    assert (told.hvac, told.cooling_kw, never.hvac) == ("failed", 0.0, "cooling")
