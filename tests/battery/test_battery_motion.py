"""From law to law: each stretch ends at a corner that the next one leaves behind; none is entered again and again."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from flowrunner.battery.motion import Ability, Cooling, Leg, Taper, leg

DAY_S = 86400.0


def ability(
    rating: float = 5.0,
    efficiency: float = 0.95,
    taper: float = 0.5,
    derate_from: float = 40.0,
    span: float = 10.0,
    heat_capacity: float = 6.7e7,
    ua: float = 150.0,
) -> Ability:
    """Of a battery that discharges."""
    return Ability(
        rating_mw=rating,
        room_per_mwh=1 / efficiency,
        taper_mwh=taper,
        heat_w_per_mw=(1 / efficiency - 1) * 1e6 / 2,
        derate_from_c=derate_from,
        derate_to_c=derate_from + span,
        heat_capacity_j_per_k=heat_capacity,
        ua_w_per_k=ua,
    )


def powers_of_ten(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: float(10**exponent))


abilities = st.builds(
    ability,
    rating=st.floats(0.5, 10),
    efficiency=st.one_of(st.just(1.0), st.floats(0.5, 1)),
    taper=st.floats(0.01, 20),
    derate_from=st.floats(20, 45),
    span=st.floats(0.01, 20),
    heat_capacity=powers_of_ten(4, 8),
    ua=st.one_of(st.just(0.0), powers_of_ten(-12, 5)),
)
coolings = st.one_of(
    st.none(),
    st.builds(Cooling, power_w=st.floats(0, 300e3), from_c=st.floats(15, 50), band_k=powers_of_ten(-3, 1)),
)


@given(
    able=abilities,
    cooling=coolings,
    asked=st.floats(0, 1),
    ambient=st.floats(-20, 60),
    room=st.one_of(st.floats(0, 1), st.floats(0, 40), powers_of_ten(-12, 0)),
    celsius=st.one_of(st.floats(-20, 70), st.floats(38, 52)),
)
@example(  # cools down to where the heat no longer derates
    able=ability(6.887859145535892, 0.7275641482852953, 0.3, 38.4987897538505, 15.0687867543263, 70969.0, 780.0),
    cooling=None,
    asked=2.924954896971433 / 6.887859145535892,
    ambient=38.4987897538505,
    room=5.0,
    celsius=52.0,
)
@example(  # next to empty, next to where nothing flows, and nothing but the walls to cool it
    able=ability(
        rating=7.34103253201721,
        efficiency=1.0,
        taper=32.56181404648481 * 50 / 100,
        derate_from=32.7950408868404,
        span=34.48458538907503 - 32.7950408868404,
        heat_capacity=15345.667310391496,
        ua=9.956151740163767e-06,
    ),
    cooling=None,
    asked=4.436685427634188 / 7.34103253201721,
    ambient=32.7950408868404,
    room=8.588693422890782e-09,
    celsius=34.484585388183746,
)
def test_a_day_has_few_corners(
    able: Ability, cooling: Cooling | None, asked: float, ambient: float, room: float, celsius: float
) -> None:
    passed, corners, power = 0.0, 0, able.rating_mw * asked
    while passed < DAY_S:
        now = leg(able, cooling, power_mw=power, ambient_c=ambient, room_mwh=room, temperature_c=celsius)
        if now.ends_s > DAY_S:
            break
        seconds = max(1e-9, round(now.ends_s, 9))
        flowed, left, celsius = now.end(seconds)
        assert 0 <= flowed <= power * seconds / 3600 * (1 + 1e-12) + 1e-12
        assert 0 <= left <= room
        assert abs(room - left - flowed * able.room_per_mwh) <= 1e-12 * (1 + room)
        room, passed, corners = left, passed + seconds, corners + 1
        assert corners < 40, now


def test_what_rests_for_ever_is_one_stretch() -> None:
    rest = leg(ability(), None, power_mw=0.0, ambient_c=20.0, room_mwh=5.0, temperature_c=30.0)
    assert type(rest) is Leg
    assert rest.ends_s == math.inf
    assert rest.temperature(1e12) == 20.0


def test_the_corner_belongs_to_the_law_that_the_state_moves_into() -> None:
    cooling = Cooling(150e3, 25.0, 2.0)
    first = leg(ability(), cooling, power_mw=5.0, ambient_c=20.0, room_mwh=9.0, temperature_c=24.9)
    flowed, room, celsius = first.end(first.ends_s)
    assert (celsius, flowed) == (25.0, 5.0 * first.ends_s / 3600)
    second = leg(ability(), cooling, power_mw=5.0, ambient_c=20.0, room_mwh=room, temperature_c=celsius)
    assert second.settling_per_s > first.settling_per_s  # the air conditioning is at work
    flowed, room, celsius = second.end(second.ends_s)
    assert room == 0.5
    assert type(leg(ability(), cooling, power_mw=5.0, ambient_c=20.0, room_mwh=room, temperature_c=celsius)) is Taper
