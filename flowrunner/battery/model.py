"""The battery itself: state of charge, power and temperature as physics moves them. Pure, no clock of its own.

Power is counted at the AC terminals in MW, positive = discharging. What is stored follows
``dE = -P*dt/efficiency`` while discharging and ``dE = |P|*efficiency*dt`` while charging; half of the losses warm the
cells: ``C*dT/dt = loss/2 - UA*(T - ambient) - cooling``.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from flowrunner.battery.motion import Ability, Cooling, leg
from flowrunner.message import Instant
from flowrunner.units import SECOND

HvacState = Literal["off", "cooling", "failed"]

NEVER_S = 1e12
NEVER: Instant = 1 << 80
"""Later than any instant that is asked for; what lies further off than the seconds above is that late."""
COLDEST_C, HOTTEST_C = -60.0, 200.0
"""Beyond these a starting or ambient temperature is a slip of the pen."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a battery is made of. ValueError when a figure is not a number or makes no battery."""

    capacity_mwh: float = 10.0
    power_mw: float = 5.0
    """The most that flows, either way, at the AC terminals."""
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    taper_percent: float = 5.0
    """In this last part at either end the limit falls linearly, to nothing at 0 % (discharging) and 100 %."""
    derate_from_c: float = 40.0
    """From here the limit falls linearly ..."""
    derate_to_c: float = 50.0
    """... to nothing here."""
    heat_capacity_j_per_k: float = 6.7e7
    ua_w_per_k: float = 150.0
    """Heat that leaves through the walls per kelvin of difference to the ambient."""
    hvac_kw: float = 150.0
    """Heat that the air conditioning takes away at most."""
    set_point_c: float = 25.0
    """Above this it cools ..."""
    hvac_band_k: float = 2.0
    """... with a power that grows linearly, full at this much above the set point."""
    ambient_c: float = 20.0
    hot_day_c: float = 42.0
    """The ambient temperature of the fault 'hot day'."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"battery: {name} must be a finite number, not {value}")
        for name in ("capacity_mwh", "power_mw", "heat_capacity_j_per_k", "hvac_band_k"):
            if getattr(self, name) <= 0:
                raise ValueError(f"battery: {name} must be above 0, not {getattr(self, name)}")
        for name in ("ua_w_per_k", "hvac_kw"):
            if getattr(self, name) < 0:
                raise ValueError(f"battery: {name} must not be below 0, it is {getattr(self, name)}")
        for name in ("charge_efficiency", "discharge_efficiency"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"battery: {name} is a share above 0 and at most 1, not {getattr(self, name)}")
        if not 0 < self.taper_percent <= 50:
            raise ValueError(f"battery: taper_percent must be above 0 and at most 50, not {self.taper_percent}")
        if not self.derate_from_c < self.derate_to_c:
            raise ValueError(
                f"battery: derate_to_c {self.derate_to_c} must be above derate_from_c {self.derate_from_c}"
            )
        for name in ("ambient_c", "hot_day_c", "set_point_c"):
            _check_temperature(name, getattr(self, name))


class Battery:
    """One battery, from ``at`` on. Nothing moves by itself: :meth:`advance` brings it to an instant.

    Faults are plain attributes: ``hvac_failed`` and ``ambient_c`` (or :meth:`hot_day`). Like :meth:`command` they
    hold from the instant that the battery was last brought to; bring it to now before changing them.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        at: Instant,
        soc_percent: float = 50.0,
        temperature_c: float | None = None,
    ) -> None:
        """``temperature_c``: the set point unless told. ValueError for a state that no battery has."""
        self.settings = settings or Settings()
        if not 0 <= soc_percent <= 100:  # NaN too
            raise ValueError(f"battery: soc_percent must be from 0 to 100, not {soc_percent}")
        temperature_c = self.settings.set_point_c if temperature_c is None else temperature_c
        _check_temperature("temperature_c", temperature_c)
        s = self.settings
        self._discharge = _ability(s, 1 / s.discharge_efficiency)
        self._charge = _ability(s, s.charge_efficiency)
        self._cooling = Cooling(s.hvac_kw * 1000, s.set_point_c, s.hvac_band_k)
        self._hvac_failed = False
        self._ambient_c = s.ambient_c
        self._requested_mw = 0.0
        self._charged_mwh = self._discharged_mwh = self._losses_mwh = 0.0
        self._at = at
        self._begin(min(s.capacity_mwh, s.capacity_mwh * soc_percent / 100), temperature_c)

    # ---- what it is told

    def command(self, power_mw: float) -> None:
        """Ask for a power from now on: positive discharges, negative charges. ValueError when it is no number.

        Any finite number is taken; what flows is limited by rating, state of charge and temperature.
        """
        if power_mw == self._requested_mw:
            return
        if not math.isfinite(power_mw):
            raise ValueError(f"battery: a commanded power must be a finite number of MW, not {power_mw}")
        stored = self._settle()
        self._requested_mw = float(power_mw)
        self._begin(*stored)

    def advance(self, now: Instant) -> None:
        """Bring the battery to ``now``. An instant that it has passed already changes nothing."""
        if now <= self._at:
            return
        while now >= self._ends:
            self._follow()
        self._at = now
        self._passed_s = (now - self._since) / SECOND

    def hot_day(self, on: bool = True) -> None:
        """Make it the hot day of the settings outside, or an ordinary one again."""
        self.ambient_c = self.settings.hot_day_c if on else self.settings.ambient_c

    # ---- what it is

    @property
    def at(self) -> Instant:
        """The instant that everything here is true for."""
        return self._at

    @property
    def stored_mwh(self) -> float:
        room = self._leg.room(self._passed_s)
        return room if self._discharging else self.settings.capacity_mwh - room

    @property
    def soc_percent(self) -> float:
        """State of charge, 0 to 100."""
        return min(100.0, 100 * self.stored_mwh / self.settings.capacity_mwh)

    @property
    def charged_mwh(self) -> float:
        """Taken from the grid since the start, at the AC terminals."""
        return self._charged_mwh if self._discharging else self._charged_mwh + self._leg.flowed_mwh(self._passed_s)

    @property
    def discharged_mwh(self) -> float:
        """Given to the grid since the start, at the AC terminals."""
        return (
            self._discharged_mwh + self._leg.flowed_mwh(self._passed_s) if self._discharging else self._discharged_mwh
        )

    @property
    def losses_mwh(self) -> float:
        """Lost on the way into the cells and out of them since the start: it has become heat."""
        return self._losses_mwh + self._lost_mwh(self._leg.flowed_mwh(self._passed_s))

    @property
    def temperature_c(self) -> float:
        return self._leg.temperature(self._passed_s)

    @property
    def requested_power_mw(self) -> float:
        """What was commanded, whether or not it can flow."""
        return self._requested_mw

    @property
    def active_power_mw(self) -> float:
        """What really flows at the AC terminals: positive = discharging."""
        flow = self._leg.flow_mw(self._passed_s)
        return flow if self._discharging else 0.0 - flow  # never -0.0

    @property
    def dc_power_mw(self) -> float:
        """What flows out of the cells (negative: into them): the AC power and its losses."""
        flow, s = self.active_power_mw, self.settings
        return flow / s.discharge_efficiency if flow > 0 else flow * s.charge_efficiency

    @property
    def ambient_c(self) -> float:
        return self._ambient_c

    @ambient_c.setter
    def ambient_c(self, value: float) -> None:
        if value == self._ambient_c:
            return
        _check_temperature("ambient_c", value)
        stored = self._settle()
        self._ambient_c = value
        self._begin(*stored)

    @property
    def hvac_failed(self) -> bool:
        return self._hvac_failed

    @hvac_failed.setter
    def hvac_failed(self, value: bool) -> None:
        if value == self._hvac_failed:
            return
        stored = self._settle()
        self._hvac_failed = value
        self._begin(*stored)

    @property
    def hvac(self) -> HvacState:
        """What the air conditioning is doing."""
        if self._hvac_failed:
            return "failed"
        return "cooling" if self.cooling_kw > 0 else "off"

    @property
    def cooling_kw(self) -> float:
        """Heat that the air conditioning is taking away."""
        return 0.0 if self._hvac_failed else self._cooling.watts(self.temperature_c) / 1000

    # ---- from leg to leg

    def _begin(self, stored_mwh: float, temperature_c: float) -> None:
        """From now on the law that this state, the command and the faults ask for."""
        self._discharging = self._requested_mw >= 0
        room = stored_mwh if self._discharging else self.settings.capacity_mwh - stored_mwh
        self._rule(self._at, room, temperature_c)

    def _settle(self) -> tuple[float, float]:
        """Count what has flowed, and close the running leg: (MWh stored, °C) now."""
        state = self.stored_mwh, self.temperature_c
        self._count(self._leg.flowed_mwh(self._passed_s))
        return state

    def _follow(self) -> None:
        """The leg has come to its corner: the next one starts there."""
        flowed, room, temperature = self._leg.end((self._ends - self._since) / SECOND)
        self._count(flowed)
        self._rule(self._ends, room, temperature)

    def _rule(self, since: Instant, room_mwh: float, temperature_c: float) -> None:
        self._leg = leg(
            self._discharge if self._discharging else self._charge,
            None if self._hvac_failed else self._cooling,
            power_mw=min(abs(self._requested_mw), self.settings.power_mw),
            ambient_c=self._ambient_c,
            room_mwh=room_mwh,
            temperature_c=temperature_c,
        )
        self._since, self._passed_s = since, 0.0
        ends = self._leg.ends_s
        # Always a step forward, even where a corner is less than a nanosecond away.
        self._ends: Instant = since + max(1, round(ends * SECOND)) if ends < NEVER_S else NEVER

    def _count(self, flowed_mwh: float) -> None:
        self._losses_mwh += self._lost_mwh(flowed_mwh)
        if self._discharging:
            self._discharged_mwh += flowed_mwh
        else:
            self._charged_mwh += flowed_mwh

    def _lost_mwh(self, flowed_mwh: float) -> float:
        s = self.settings
        return flowed_mwh * (1 / s.discharge_efficiency - 1 if self._discharging else 1 - s.charge_efficiency)


def _ability(s: Settings, room_per_mwh: float) -> Ability:
    return Ability(
        rating_mw=s.power_mw,
        room_per_mwh=room_per_mwh,
        taper_mwh=s.capacity_mwh * s.taper_percent / 100,
        heat_w_per_mw=abs(room_per_mwh - 1) * 1e6 / 2,  # half of the losses
        derate_from_c=s.derate_from_c,
        derate_to_c=s.derate_to_c,
        heat_capacity_j_per_k=s.heat_capacity_j_per_k,
        ua_w_per_k=s.ua_w_per_k,
    )


def _check_temperature(name: str, value: float) -> None:
    if not COLDEST_C <= value <= HOTTEST_C:  # NaN too
        raise ValueError(f"battery: {name} must be from {COLDEST_C:g} to {HOTTEST_C:g} °C, not {value}")
