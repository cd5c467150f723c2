"""How a battery moves while one law holds: closed forms of energy and temperature, and when the next law begins. Pure.

Every limit is a straight line: the taper in the energy, the derating and the band of the air conditioning in the
temperature. Between their corners energy and temperature obey linear equations, so a stretch of time is a formula,
however long it is, and nothing depends on how often somebody looks. Three laws of flow: constant, in the taper
(proportional to what is left), derated (falling with the temperature).

*Room* is the energy in MWh between the cells and the end that the flow leads to: what is stored while discharging,
what is free while charging. A MWh at the AC terminals uses ``room_per_mwh`` of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from flowrunner.battery.curves import approach, approached, approaches_after, crossing, first_rise

LONGEST_S = 86400.0
"""A stretch whose end has to be searched for is at most this long; another one follows."""
NEAR_K = 1e-9
"""So near to the corner of taper and derating the direction says which of them rules, not the last digit."""


class Ability(NamedTuple):
    """What holds for a battery in one direction of the flow, whatever its state."""

    rating_mw: float
    room_per_mwh: float
    taper_mwh: float
    """Room from which on the limit falls linearly, to nothing at no room."""
    heat_w_per_mw: float
    """What a MW at the AC terminals warms the cells with."""
    derate_from_c: float
    derate_to_c: float
    heat_capacity_j_per_k: float
    ua_w_per_k: float

    @property
    def derate_k(self) -> float:
        return self.derate_to_c - self.derate_from_c

    @property
    def emptying_per_s(self) -> float:
        """Share of the room that the limit takes in a second, in the taper."""
        return self.rating_mw * self.room_per_mwh / self.taper_mwh / 3600


class Cooling(NamedTuple):
    """The air conditioning: nothing up to ``from_c``, along a line through the band, then all of ``power_w``."""

    power_w: float
    from_c: float
    band_k: float

    @property
    def full_c(self) -> float:
        return self.from_c + self.band_k

    def watts(self, temperature_c: float) -> float:
        return self.power_w * max(0.0, min(1.0, (temperature_c - self.from_c) / self.band_k))


class Leg:
    """A stretch under one law, ``t`` seconds from its start: a constant flow, and the base of the two others.

    It holds up to ``ends_s`` (infinity: for ever). The state there, :meth:`end`, is on the very corner that ended it.
    """

    def __init__(
        self,
        ability: Ability,
        *,
        power_mw: float,
        room_mwh: float,
        temperature_c: float,
        kelvin_per_s: float,
        conductance: float,
        floor_c: float,
        ceiling_c: float,
        last_room_mwh: float = 0.0,
    ) -> None:
        """``conductance``: W/K by which the heat that leaves grows with the temperature. The law holds between the
        two temperatures, and down to ``last_room_mwh``.
        """
        self.ability = ability
        self.power_mw = power_mw
        self.room_mwh = room_mwh
        self.temperature_c = temperature_c
        self.kelvin_per_s = kelvin_per_s
        self.settling_per_s = conductance / ability.heat_capacity_j_per_k
        self.ends_s = math.inf
        self._last_c: float | None = None
        self._last_mwh: float | None = None
        self._find_end(floor_c, ceiling_c, last_room_mwh)

    # ---- the state

    def flow_mw(self, t: float) -> float:
        """What flows at the AC terminals, whichever way."""
        return self.power_mw

    def flowed_mwh(self, t: float) -> float:
        """What has flowed there since the start."""
        return self.power_mw * t / 3600

    def room(self, t: float) -> float:
        return max(0.0, self.room_mwh - self.ability.room_per_mwh * self.flowed_mwh(t))

    def temperature(self, t: float) -> float:
        return self.temperature_c + self.kelvin_per_s * approach(self.settling_per_s, t)

    def end(self, t: float) -> tuple[float, float, float]:
        """(MWh that flowed, room in MWh, °C) where the next law begins; ``t``: ``ends_s``, rounded as clocks do."""
        temperature = self.temperature(t) if self._last_c is None else self._last_c
        if self._last_mwh is None:
            return self.flowed_mwh(t), self.room(t), temperature
        return (self.room_mwh - self._last_mwh) / self.ability.room_per_mwh, self._last_mwh, temperature

    # ---- the end

    def _find_end(self, floor_c: float, ceiling_c: float, last_room_mwh: float) -> None:
        self._end_at_corner(floor_c, ceiling_c)
        mwh_per_s = self.ability.room_per_mwh * self.power_mw / 3600
        if mwh_per_s > 0:
            empties = (self.room_mwh - last_room_mwh) / mwh_per_s
            if empties <= self.ends_s:
                self.ends_s, self._last_c, self._last_mwh = empties, None, last_room_mwh

    def _end_at_corner(self, floor_c: float, ceiling_c: float) -> None:
        """Where an exponential crosses a corner of the temperature; it never turns."""
        corner = ceiling_c if self.kelvin_per_s > 0 else floor_c
        if self.kelvin_per_s == 0 or math.isinf(corner):
            return
        seconds = approaches_after(self.settling_per_s, (corner - self.temperature_c) / self.kelvin_per_s)
        if seconds < math.inf:
            self.ends_s, self._last_c = seconds, corner

    def _end_by_search(self, seconds: float, corner: float | None) -> None:
        self.ends_s, self._last_c = seconds, corner

    def _heat_over_taper(self, t: float) -> float:
        """K by which the temperature is above the one whose derating is as strict as the taper."""
        ability = self.ability
        # Not self.room: where that stops at nothing, this goes on; a search needs a curve without a bend.
        room = self.room_mwh - ability.room_per_mwh * self.flowed_mwh(t)
        return self.temperature(t) - ability.derate_to_c + ability.derate_k * room / ability.taper_mwh


class Taper(Leg):
    """The flow is what the limit leaves, proportional to the room: an exponential. It warms the cells ever less.

    The temperature is a sum of two exponentials: it rises, turns once and falls, or it only falls.
    """

    def flow_mw(self, t: float) -> float:
        return min(self.power_mw, self.ability.rating_mw * self.room(t) / self.ability.taper_mwh)

    def flowed_mwh(self, t: float) -> float:
        return -self.room_mwh * math.expm1(-self.ability.emptying_per_s * t) / self.ability.room_per_mwh

    def room(self, t: float) -> float:
        return self.room_mwh * math.exp(-self.ability.emptying_per_s * t)

    def temperature(self, t: float) -> float:
        a, settling = self.ability.emptying_per_s, self.settling_per_s
        slow, fast = (a, settling) if a < settling else (settling, a)
        # How far the warming has fallen behind that of a flow which stays: the integral of both exponentials' lag.
        lag = (approach(slow, t) - math.exp(-slow * t) * approach(fast - slow, t)) / fast
        return self.temperature_c + self.kelvin_per_s * approach(settling, t) - self._fading * lag

    def _find_end(self, floor_c: float, ceiling_c: float, last_room_mwh: float) -> None:
        ability = self.ability
        flow = ability.rating_mw * self.room_mwh / ability.taper_mwh
        self._fading = ability.emptying_per_s * ability.heat_w_per_mw * flow / ability.heat_capacity_j_per_k
        turns = self._turns_s()
        hottest = self.temperature(turns)
        self.ends_s = LONGEST_S
        if hottest > ceiling_c:
            self._end_by_search(crossing(lambda t: self.temperature(t) - ceiling_c, 0.0, turns), ceiling_c)
        elif self.temperature(LONGEST_S) < floor_c:
            self._end_by_search(crossing(lambda t: floor_c - self.temperature(t), turns, LONGEST_S), floor_c)
        if hottest > ability.derate_from_c:  # below this nothing derates, however strict the taper
            begins = first_rise(self._heat_over_taper, self._heating_over_taper, self.ends_s)
            if begins < self.ends_s:
                self._end_by_search(begins, None)

    def _turns_s(self) -> float:
        """When the temperature is highest, up to ``LONGEST_S``."""
        if self.kelvin_per_s <= 0:
            return 0.0
        if self._fading == 0:
            return LONGEST_S
        faster = self.settling_per_s - self.ability.emptying_per_s
        turns = self.kelvin_per_s / self._fading
        if faster:
            turns = math.log1p(faster * turns) / faster if faster * turns > -1 else math.inf
        return min(turns, LONGEST_S)

    def _heating_over_taper(self, t: float) -> float:
        """The sign of the slope of :meth:`_heat_over_taper`, scaled so that it does not fade to nothing."""
        ability, a, settling = self.ability, self.ability.emptying_per_s, self.settling_per_s
        slow = min(a, settling)
        taper_k_per_s = a * ability.derate_k * self.room_mwh / ability.taper_mwh
        return (
            self.kelvin_per_s * math.exp((slow - settling) * t)
            - self._fading * approach(abs(a - settling), t)
            - taper_k_per_s * math.exp((slow - a) * t)
        )


class Derated(Leg):
    """The temperature limits the flow, which warms the less: the temperature is an exponential, the flow follows."""

    def flow_mw(self, t: float) -> float:
        limit = self.ability.rating_mw * (self.ability.derate_to_c - self.temperature(t)) / self.ability.derate_k
        return max(0.0, min(self.power_mw, limit))

    def flowed_mwh(self, t: float) -> float:
        kelvin_s = (self.ability.derate_to_c - self.temperature_c) * t
        kelvin_s -= self.kelvin_per_s * approached(self.settling_per_s, t)
        return self.ability.rating_mw * max(0.0, kelvin_s) / self.ability.derate_k / 3600

    def _find_end(self, floor_c: float, ceiling_c: float, last_room_mwh: float) -> None:
        ability = self.ability
        per_kelvin = ability.heat_w_per_mw * ability.rating_mw / ability.derate_k
        self.settling_per_s += per_kelvin / ability.heat_capacity_j_per_k
        self._end_at_corner(floor_c, ceiling_c)
        if self.ends_s > LONGEST_S:
            self._end_by_search(LONGEST_S, None)
        ends = first_rise(lambda t: -self._heat_over_taper(t), self._taper_tightening, self.ends_s)
        if ends < self.ends_s:
            self._end_by_search(ends, None)

    def _taper_tightening(self, t: float) -> float:
        """K/s by which the taper gains on the derating."""
        left_k = self.ability.derate_to_c - self.temperature(t)
        return self.ability.emptying_per_s * left_k - self.kelvin_per_s * math.exp(-self.settling_per_s * t)


def leg(
    ability: Ability,
    cooling: Cooling | None,
    *,
    power_mw: float,
    ambient_c: float,
    room_mwh: float,
    temperature_c: float,
) -> Leg:
    """The law that rules from this state on. ``power_mw``: asked for, at most the rating; no ``cooling``: it failed."""
    span = ability.derate_k
    asked_share = power_mw / ability.rating_mw
    asked_room = asked_share * ability.taper_mwh
    asked_c = ability.derate_to_c - asked_share * span  # heat leaves less from here on; one number for both laws
    in_taper = room_mwh <= asked_room
    open_share = room_mwh / ability.taper_mwh if in_taper else asked_share
    share = max(0.0, min(open_share, (ability.derate_to_c - temperature_c) / span))
    leaving = ability.ua_w_per_k * (temperature_c - ambient_c) + (cooling.watts(temperature_c) if cooling else 0.0)
    rate = (ability.heat_w_per_mw * ability.rating_mw * share - leaving) / ability.heat_capacity_j_per_k

    def above(corner_c: float) -> bool:
        """On a corner it is the direction that decides: both laws agree there."""
        return temperature_c > corner_c or (temperature_c == corner_c and rate > 0)

    floor, ceiling, conductance = -math.inf, math.inf, ability.ua_w_per_k
    if cooling is not None:
        if not above(cooling.from_c):
            ceiling = cooling.from_c
        elif not above(cooling.full_c):
            floor, ceiling = cooling.from_c, cooling.full_c
            conductance += cooling.power_w / cooling.band_k
        else:
            floor = cooling.full_c

    kind: type[Leg] = Leg
    if power_mw > 0:
        if in_taper:
            over_k = temperature_c - (ability.derate_to_c - open_share * span)
            closing = ability.emptying_per_s * open_share * span
            derated = over_k > NEAR_K or (over_k > -NEAR_K and rate > closing)
        else:
            derated = above(asked_c)
        if not derated:
            kind = Taper if in_taper else Leg
            ceiling = ceiling if in_taper else min(ceiling, asked_c)
        elif above(ability.derate_to_c):  # too hot: nothing flows
            power_mw, floor = 0.0, max(floor, ability.derate_to_c)
        else:
            kind, floor, ceiling = Derated, max(floor, asked_c), min(ceiling, ability.derate_to_c)
    return kind(
        ability,
        power_mw=power_mw,
        room_mwh=room_mwh,
        temperature_c=temperature_c,
        kelvin_per_s=rate,
        conductance=conductance,
        floor_c=floor,
        ceiling_c=ceiling,
        last_room_mwh=asked_room,
    )
