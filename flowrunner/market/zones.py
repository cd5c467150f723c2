"""Bidding zones: their usual names and their Energy Identification Codes (EIC).

Names as Energy-Charts writes them; codes of ENTSO-E's list of areas (appendix of its API guide). Each code ends with
its check character; a name that is not here is given as its EIC.
"""

from __future__ import annotations

import string

from flowrunner.errors import did_you_mean

EIC = {
    "AT": "10YAT-APG------L",
    "BE": "10YBE----------2",
    "BG": "10YCA-BULGARIA-R",
    "CH": "10YCH-SWISSGRIDZ",
    "CZ": "10YCZ-CEPS-----N",
    "DE-LU": "10Y1001A1001A82H",
    "DK1": "10YDK-1--------W",
    "DK2": "10YDK-2--------M",
    "EE": "10Y1001A1001A39I",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "GR": "10YGR-HTSO-----Y",
    "HR": "10YHR-HEP------M",
    "HU": "10YHU-MAVIR----U",
    "LT": "10YLT-1001A0008Q",
    "LV": "10YLV-1001A00074",
    "NL": "10YNL----------L",
    "NO1": "10YNO-1--------2",
    "NO2": "10YNO-2--------T",
    "NO3": "10YNO-3--------J",
    "NO4": "10YNO-4--------9",
    "NO5": "10Y1001A1001A48H",
    "PL": "10YPL-AREA-----S",
    "PT": "10YPT-REN------W",
    "RO": "10YRO-TEL------P",
    "SE1": "10Y1001A1001A44P",
    "SE2": "10Y1001A1001A45N",
    "SE3": "10Y1001A1001A46L",
    "SE4": "10Y1001A1001A47J",
    "SI": "10YSI-ELES-----O",
    "SK": "10YSK-SEPS-----K",
}
_VALUES = {character: value for value, character in enumerate(f"{string.digits}{string.ascii_uppercase}-")}
_LENGTH = 16


def eic(zone: str) -> str:
    """The EIC of a zone that is given by name or as EIC. ValueError with a sentence when it is neither."""
    if zone in EIC:
        return EIC[zone]
    if len(zone) != _LENGTH:
        near = did_you_mean(zone, EIC)
        raise ValueError(f"{zone!r} is no bidding zone that is known here; {near or 'write its EIC, 16 characters'}")
    if not set(zone) <= set(_VALUES) or check_character(zone[:-1]) != zone[-1]:
        raise ValueError(f"{zone!r} is no EIC: its last character does not fit the others")
    return zone


def check_character(code: str) -> str:
    """The sixteenth character for the first fifteen (EIC reference manual, annex: weights 16 to 2, modulo 37)."""
    total = sum(weight * _VALUES[character] for weight, character in zip(range(_LENGTH, 1, -1), code, strict=True))
    return next(one for one, value in _VALUES.items() if value == 36 - (total - 1) % 37)
