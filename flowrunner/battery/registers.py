"""What the battery's registers say: the three of the first user's interface, and SunSpec. Pure.

Holding and input registers are the same: 0 = state of charge in 0.01 %, 1 = active power in kW (signed, positive =
discharging), 2 = temperature in 0.1 °C (signed), and from 40000 the SunSpec models 1, 103, 713 and 802.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from flowrunner.battery.model import Battery
from flowrunner.battery.sunspec import BASE, Value, chain, number_words, scale_for
from flowrunner.units import SECOND

SOC, POWER, TEMPERATURE = 0, 1, 2
"""Addresses of the first user's registers, as they are on the wire."""
SENTINELS: Mapping[int, int] = {SOC: 0xFFFF, POWER: 0x8000, TEMPERATURE: 0x8000}
"""What a device writes there when it has no value."""

AC_LINE_VOLTS, DC_VOLTS, GRID_HERTZ = 690.0, 1300.0, 50.0
"""The simulated grid and cells do not sag: these are constant, currents follow from the power."""
COUNTER_END = 0x7FFFFFFF
"""An acc32 goes on at 0 after this."""

STANDBY, PRODUCING, THROTTLED = 8, 4, 5  # model 103, St
OVER_TEMP = 1 << 7  # model 103, Evt1
OK, WARNING, ERROR = 0, 1, 2  # model 713, Sta
EMPTY, DISCHARGING, CHARGING, FULL, HOLDING = 2, 3, 4, 5, 6  # model 802, ChaSt
REMOTE, LITHIUM_ION = 0, 4  # model 802, LocRemCtl and Typ
BANK_CONNECTED, BANK_STANDBY = 3, 4  # model 802, State
CONNECT, INVERTER_STARTED = 1, 3  # model 802, SetOp and SetInvState
OVER_TEMP_ALARM, OVER_TEMP_WARNING, FAN_ERROR = 1 << 1, 1 << 2, 1 << 21  # model 802, Evt1

EDGE_PERCENT = 0.5
"""At rest and within this of an end the battery calls itself empty or full."""


def image(battery: Battery) -> dict[int, int]:
    """Every register that there is, address → word, for the instant that the battery was brought to.

    A value that does not fit in its register is written as "no value", never cut.
    """
    words = {
        SOC: number_words("uint16", battery.soc_percent, -2)[0],
        POWER: number_words("int16", battery.active_power_mw * 1000)[0],
        TEMPERATURE: number_words("int16", battery.temperature_c, -1)[0],
    }
    models = [(1, _common()), (103, _inverter(battery)), (713, _storage(battery)), (802, _bank(battery))]
    words.update(enumerate(chain(models), BASE))
    return words


def _common() -> dict[str, Value]:
    return {"Mn": "flowrunner", "Md": "simulated battery", "Vr": "1", "SN": "simulated-1"}


def _inverter(battery: Battery) -> dict[str, Value]:
    watts = battery.active_power_mw * 1e6
    amps = abs(watts) / (math.sqrt(3) * AC_LINE_VOLTS)
    power_scale = scale_for(battery.settings.power_mw * 1e6)
    phase_volts = AC_LINE_VOLTS / math.sqrt(3)
    return {
        "A": amps,
        "AphA": amps,
        "AphB": amps,
        "AphC": amps,
        "A_SF": scale_for(battery.settings.power_mw * 1e6 / (math.sqrt(3) * AC_LINE_VOLTS)),
        "PPVphAB": AC_LINE_VOLTS,
        "PPVphBC": AC_LINE_VOLTS,
        "PPVphCA": AC_LINE_VOLTS,
        "PhVphA": phase_volts,
        "PhVphB": phase_volts,
        "PhVphC": phase_volts,
        "V_SF": -1,
        "W": watts,
        "W_SF": power_scale,
        "Hz": GRID_HERTZ,
        "Hz_SF": -2,
        "WH": int(battery.discharged_mwh * 1000) % COUNTER_END * 1000,
        "WH_SF": 3,
        "DCV": DC_VOLTS,
        "DCV_SF": -1,
        "DCW": battery.dc_power_mw * 1e6,
        "DCW_SF": scale_for(_most_dc_mw(battery) * 1e6),
        "TmpCab": battery.temperature_c,
        "Tmp_SF": -1,
        "St": _inverter_state(battery),
        "Evt1": OVER_TEMP if _is_stopped_by_heat(battery) else 0,
        "Evt2": 0,
    }


def _storage(battery: Battery) -> dict[str, Value]:
    events = _bank_events(battery)
    capacity_wh = battery.settings.capacity_mwh * 1e6
    return {
        "WHRtg": capacity_wh,
        "WHAvail": battery.stored_mwh * 1e6,
        "WH_SF": scale_for(capacity_wh),
        "SoC": battery.soc_percent,
        "SoH": 100,
        "Pct_SF": -2,
        "Sta": ERROR if events & OVER_TEMP_ALARM else WARNING if events else OK,
    }


def _bank(battery: Battery) -> dict[str, Value]:
    settings = battery.settings
    capacity_wh, power_w, most_dc_w = settings.capacity_mwh * 1e6, settings.power_mw * 1e6, _most_dc_mw(battery) * 1e6
    dc_w = battery.dc_power_mw * 1e6
    return {
        "AHRtg": capacity_wh / DC_VOLTS,
        "AHRtg_SF": scale_for(capacity_wh / DC_VOLTS),
        "WHRtg": capacity_wh,
        "WHRtg_SF": scale_for(capacity_wh),
        # DC watts: what goes in is less than what is taken from the grid, what comes out is more than what is given.
        "WChaRteMax": power_w * settings.charge_efficiency,
        "WDisChaRteMax": power_w / settings.discharge_efficiency,
        "WChaDisChaMax_SF": scale_for(most_dc_w),
        "SoCMax": 100,
        "SoCMin": 0,
        "SoC": battery.soc_percent,
        "SoC_SF": -2,
        "DoD": 100 - battery.soc_percent,
        "DoD_SF": -2,
        "SoH": 100,
        "SoH_SF": 0,
        "NCyc": int(battery.discharged_mwh / settings.discharge_efficiency / settings.capacity_mwh),
        "ChaSt": _charge_state(battery),
        "LocRemCtl": REMOTE,
        "Hb": battery.at // SECOND % 0xFFFF,
        "AlmRst": 0,
        "Typ": LITHIUM_ION,
        "State": BANK_STANDBY if _rests(battery) else BANK_CONNECTED,
        "Evt1": _bank_events(battery),
        "Evt2": 0,
        "EvtVnd1": 0,
        "EvtVnd2": 0,
        "V": DC_VOLTS,
        "V_SF": -1,
        "CellV_SF": -3,
        "A": dc_w / DC_VOLTS,
        "A_SF": scale_for(most_dc_w / DC_VOLTS),
        "AMax_SF": 0,
        "W": dc_w,
        "W_SF": scale_for(most_dc_w),
        "SetOp": CONNECT,
        "SetInvState": INVERTER_STARTED,
    }


def _most_dc_mw(battery: Battery) -> float:
    return battery.settings.power_mw / battery.settings.discharge_efficiency


def _rests(battery: Battery) -> bool:
    """Whether no power flows that register 1 could show."""
    return abs(battery.active_power_mw) < 0.0005


def _inverter_state(battery: Battery) -> int:
    if _rests(battery):
        return STANDBY
    return PRODUCING if battery.active_power_mw == battery.requested_power_mw else THROTTLED


def _charge_state(battery: Battery) -> int:
    if not _rests(battery):
        return DISCHARGING if battery.active_power_mw > 0 else CHARGING
    if battery.soc_percent < EDGE_PERCENT:
        return EMPTY
    return FULL if battery.soc_percent > 100 - EDGE_PERCENT else HOLDING


def _is_stopped_by_heat(battery: Battery) -> bool:
    return battery.temperature_c >= battery.settings.derate_to_c


def _bank_events(battery: Battery) -> int:
    events = FAN_ERROR if battery.hvac_failed else 0
    if _is_stopped_by_heat(battery):
        events |= OVER_TEMP_ALARM
    elif battery.temperature_c > battery.settings.derate_from_c:
        events |= OVER_TEMP_WARNING
    return events
