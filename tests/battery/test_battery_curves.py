"""The arithmetic of exponentials, against sums and against curves whose crossings are known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.battery.curves import approach, approached, approaches_after, crossing, first_rise


@given(per_s=st.floats(1e-9, 10), t=st.floats(0, 1000))
def test_an_approach_and_its_integral(per_s: float, t: float) -> None:
    assert approach(per_s, t) == pytest.approx((1 - math.exp(-per_s * t)) / per_s, rel=1e-6, abs=1e-15 / per_s)
    # Simpson's rule on pieces that are short beside the curve's bend.
    pieces = 200
    width = t / pieces
    middles = math.fsum(approach(per_s, (piece + 0.5) * width) for piece in range(pieces))
    edges = math.fsum(approach(per_s, piece * width) for piece in range(1, pieces)) + approach(per_s, t) / 2
    assert approached(per_s, t) == pytest.approx((4 * middles + 2 * edges) * width / 6, rel=1e-3)


@given(t=st.floats(0, 1e6))
def test_what_nothing_holds_grows_for_ever(t: float) -> None:
    assert approach(0.0, t) == t
    assert approached(0.0, t) == t * t / 2


@given(per_s=st.floats(0, 10), t=st.floats(0, 1000))
def test_when_it_is_there_is_where_it_is_then(per_s: float, t: float) -> None:
    level = approach(per_s, t)
    assert level <= t
    after = approaches_after(per_s, level)
    # Near its goal a curve is flat: there it is the level that has to agree.
    assert after == pytest.approx(t, rel=1e-9) or approach(per_s, after) == pytest.approx(level, rel=1e-12)


def test_beyond_its_goal_it_never_is() -> None:
    assert approaches_after(0.5, 1.999) == pytest.approx(math.log(2000) * 2)
    assert approaches_after(0.5, 2.0) == approaches_after(0.5, 3.0) == math.inf


@pytest.mark.parametrize("per_s", [0.0, 5e-324, 2.2e-316, 1e-300])
def test_what_holds_next_to_nothing_costs_no_digits(per_s: float) -> None:
    assert approach(per_s, 3.7) == approaches_after(per_s, 3.7) == 3.7


@pytest.mark.parametrize("z", [0.0099999, 0.01, 0.0100001])
def test_the_series_and_the_formula_meet(z: float) -> None:
    exact = 1 / 2 - z / 6 + z**2 / 24 - z**3 / 120 + z**4 / 720
    assert approached(z, 1.0) == pytest.approx(exact, rel=1e-12)


@given(root=st.floats(0, 86400))
def test_a_crossing_is_found_to_the_nanosecond(root: float) -> None:
    assert crossing(lambda t: t - root, 0.0, 90000.0) == pytest.approx(root, abs=2e-9)


@pytest.mark.parametrize(
    ("a", "b", "c", "rises"),
    [
        (-1, 1, 0, 1.0),  # straight up
        (1, -1, 0, math.inf),  # straight down: it was above before
        (-1, 0, 0, math.inf),
        (-3, 4, -1, 1.0),  # up, turns at 2, down: the first of two crossings
        (-5, 4, -1, math.inf),  # up, turns at 2 below nought
        (-3, -2, 1, 3.0),  # down, turns at 1, up
        (-30, -2, 1, math.inf),  # down, and not up again in time
    ],
)
def test_the_first_rise_of_a_curve_that_turns_once(a: float, b: float, c: float, rises: float) -> None:
    found = first_rise(lambda t: a + b * t + c * t * t, lambda t: b + 2 * c * t, 5.0)
    assert found == pytest.approx(rises, abs=1e-8)
