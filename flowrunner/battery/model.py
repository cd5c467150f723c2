"""The battery itself: state of charge, power and temperature as physics moves them. Pure, no clock of its own.

Power is counted at the AC terminals in MW, positive = discharging. What is stored follows
``dE = -P*dt/efficiency`` while discharging and ``dE = |P|*efficiency*dt`` while charging; half of the losses warm the
cells: ``C*dT/dt = loss/2 - UA*(T - ambient) - cooling``.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from flowrunner.message import Instant
from flowrunner.units import SECOND

HvacState = Literal["off", "cooling", "failed"]

LONGEST_STEP_S = 10.0
"""One step of the integration is at most this long; shorter where the settings make a faster battery."""
STEPS_PER_TIME_CONSTANT = 16
"""Keeps the error of a step (second order) below what a register can show."""
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

    @property
    def step_s(self) -> float:
        """The longest step of the integration that is exact enough for this battery, in seconds."""
        fastest_mw = self.power_mw / self.discharge_efficiency
        taper_s = self.capacity_mwh * self.taper_percent / 100 / fastest_mw * 3600
        conductance = self.ua_w_per_k + self.hvac_kw * 1000 / self.hvac_band_k
        thermal_s = self.heat_capacity_j_per_k / conductance if conductance else math.inf
        return min(LONGEST_STEP_S, taper_s / STEPS_PER_TIME_CONSTANT, thermal_s / STEPS_PER_TIME_CONSTANT)


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
        self.hvac_failed = False
        self.charged_mwh = 0.0
        """Taken from the grid since the start, at the AC terminals."""
        self.discharged_mwh = 0.0
        """Given to the grid since the start, at the AC terminals."""
        self._at = at
        self._stored_mwh = self.settings.capacity_mwh * soc_percent / 100
        self._temperature_c = temperature_c
        self._ambient_c = self.settings.ambient_c
        self._requested_mw = 0.0
        self._step_s = self.settings.step_s

    # ---- what it is told

    def command(self, power_mw: float) -> None:
        """Ask for a power from now on: positive discharges, negative charges. ValueError when it is no number.

        Any finite number is taken; what flows is limited by rating, state of charge and temperature.
        """
        if not math.isfinite(power_mw):
            raise ValueError(f"battery: a commanded power must be a finite number of MW, not {power_mw}")
        self._requested_mw = float(power_mw)

    def advance(self, now: Instant) -> None:
        """Bring the battery to ``now``. An instant that it has passed already changes nothing."""
        seconds = (now - self._at) / SECOND
        if seconds <= 0:
            return
        steps = math.ceil(seconds / self._step_s)
        for _ in range(steps):
            self._step(seconds / steps)
        self._at = now

    def hot_day(self, on: bool = True) -> None:
        """Make it the hot day of the settings outside, or an ordinary one again."""
        self._ambient_c = self.settings.hot_day_c if on else self.settings.ambient_c

    # ---- what it is

    @property
    def at(self) -> Instant:
        """The instant that everything here is true for."""
        return self._at

    @property
    def stored_mwh(self) -> float:
        return self._stored_mwh

    @property
    def soc_percent(self) -> float:
        """State of charge, 0 to 100."""
        return min(100.0, 100 * self._stored_mwh / self.settings.capacity_mwh)

    @property
    def temperature_c(self) -> float:
        return self._temperature_c

    @property
    def requested_power_mw(self) -> float:
        """What was commanded, whether or not it can flow."""
        return self._requested_mw

    @property
    def active_power_mw(self) -> float:
        """What really flows at the AC terminals: positive = discharging."""
        return self._flow_mw(self._stored_mwh, self._temperature_c)

    @property
    def dc_power_mw(self) -> float:
        """What flows out of the cells (negative: into them): the AC power and its losses."""
        return self._from_cells_mw(self.active_power_mw)

    @property
    def ambient_c(self) -> float:
        return self._ambient_c

    @ambient_c.setter
    def ambient_c(self, value: float) -> None:
        _check_temperature("ambient_c", value)
        self._ambient_c = value

    @property
    def hvac(self) -> HvacState:
        """What the air conditioning is doing."""
        if self.hvac_failed:
            return "failed"
        return "cooling" if self.cooling_kw > 0 else "off"

    @property
    def cooling_kw(self) -> float:
        """Heat that the air conditioning is taking away."""
        return self._cooling_w(self._temperature_c) / 1000

    # ---- physics

    def _step(self, seconds: float) -> None:
        """One midpoint step: the rates half a step ahead hold for the whole of it."""
        stored, kelvin, _ = self._rates(self._stored_mwh, self._temperature_c)
        stored, kelvin, flow = self._rates(
            self._stored_mwh + stored * seconds / 2, self._temperature_c + kelvin * seconds / 2
        )
        self._stored_mwh = min(max(self._stored_mwh + stored * seconds, 0.0), self.settings.capacity_mwh)
        self._temperature_c += kelvin * seconds
        if flow > 0:
            self.discharged_mwh += flow * seconds / 3600
        else:
            self.charged_mwh -= flow * seconds / 3600

    def _rates(self, stored_mwh: float, temperature_c: float) -> tuple[float, float, float]:
        """(MWh per second into the cells, kelvin per second, MW at the terminals) in a state."""
        s = self.settings
        flow = self._flow_mw(stored_mwh, temperature_c)
        from_cells = self._from_cells_mw(flow)
        warming_w = (from_cells - flow) * 1e6 / 2
        leaving_w = s.ua_w_per_k * (temperature_c - self._ambient_c) + self._cooling_w(temperature_c)
        return -from_cells / 3600, (warming_w - leaving_w) / s.heat_capacity_j_per_k, flow

    def _flow_mw(self, stored_mwh: float, temperature_c: float) -> float:
        s = self.settings
        soc = 100 * stored_mwh / s.capacity_mwh
        room = soc if self._requested_mw > 0 else 100 - soc
        derated = (s.derate_to_c - temperature_c) / (s.derate_to_c - s.derate_from_c)
        limit = s.power_mw * max(0.0, min(1.0, room / s.taper_percent, derated))
        return max(-limit, min(limit, self._requested_mw))

    def _from_cells_mw(self, flow_mw: float) -> float:
        s = self.settings
        return flow_mw / s.discharge_efficiency if flow_mw > 0 else flow_mw * s.charge_efficiency

    def _cooling_w(self, temperature_c: float) -> float:
        s = self.settings
        if self.hvac_failed:
            return 0.0
        return s.hvac_kw * 1000 * max(0.0, min(1.0, (temperature_c - s.set_point_c) / s.hvac_band_k))


def _check_temperature(name: str, value: float) -> None:
    if not COLDEST_C <= value <= HOTTEST_C:  # NaN too
        raise ValueError(f"battery: {name} must be from {COLDEST_C:g} to {HOTTEST_C:g} °C, not {value}")
