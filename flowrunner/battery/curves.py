"""Exponentials that approach a level, and where a curve crosses nought. Pure arithmetic, knows no battery."""

from __future__ import annotations

import math
from collections.abc import Callable

NOTHING = 1e-18
"""An exponent that a number near 1 does not show; a quotient of such would lose its digits."""


def approach(per_s: float, t: float) -> float:
    """``(1 - exp(-per_s t)) / per_s``: how far what starts with slope 1 has come. ``t`` when nothing holds it."""
    return -math.expm1(-per_s * t) / per_s if per_s * t > NOTHING else t


def approaches_after(per_s: float, level: float) -> float:
    """When :func:`approach` is at ``level``: infinity when that is beyond where it goes."""
    passed = per_s * level
    if passed <= NOTHING:
        return level
    return -math.log1p(-passed) / per_s if passed < 1 else math.inf


def approached(per_s: float, t: float) -> float:
    """The integral of :func:`approach`; a series where the difference would lose its digits."""
    z = per_s * t
    if z < 0.01:
        return t * t * (1 / 2 - z * (1 / 6 - z * (1 / 24 - z * (1 / 120 - z * (1 / 720 - z / 5040)))))
    return (t - approach(per_s, t)) / per_s


def crossing(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where ``excess`` rises above 0, between a ``low`` where it has not and a ``high`` where it has; to the ns."""
    while high - low > 1e-9:
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if excess(middle) > 0:
            high = middle
        else:
            low = middle
    return high


def first_rise(excess: Callable[[float], float], slope: Callable[[float], float], until: float) -> float:
    """When ``excess`` first rises above 0, infinity if not by ``until``. Its ``slope`` changes sign once at most."""
    low, high = 0.0, until
    if slope(low) <= 0:
        if slope(high) <= 0:
            return math.inf
        low = crossing(slope, low, high)
    elif slope(high) < 0:
        high = crossing(lambda t: -slope(t), low, high)
    return crossing(excess, low, high) if excess(high) > 0 else math.inf
