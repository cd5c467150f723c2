"""SunSpec as words: the layouts of the models that the battery shows, and how a point becomes registers. Pure.

Point order, types, sizes and scale factors are those of the SunSpec information models (repository
``sunspec/models``, ``json/model_1.json``, ``_103``, ``_713``, ``_802``; model 713 in its form with ``Pct_SF``,
length 7). What a type writes for "not implemented" is in the SunSpec Device Information Model Specification 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

BASE = 40000
"""Address of the marker ``SunS``; the models follow it without a gap."""
MARKER = (0x5375, 0x6E53)
END = (0xFFFF, 0)

Value = float | int | str | None
"""A point's value in its unit, before its scale factor. None: not implemented."""


class Type(NamedTuple):
    """Registers that a point takes, the lowest and highest raw number it may have, and its "not implemented"."""

    size: int
    lowest: int
    highest: int
    missing: int


TYPES: Mapping[str, Type] = {
    "int16": Type(1, -0x7FFF, 0x7FFF, 0x8000),
    "uint16": Type(1, 0, 0xFFFE, 0xFFFF),
    "enum16": Type(1, 0, 0xFFFE, 0xFFFF),
    "sunssf": Type(1, -10, 10, 0x8000),
    "pad": Type(1, 0, 0, 0x8000),
    "uint32": Type(2, 0, 0xFFFFFFFE, 0xFFFFFFFF),
    "bitfield32": Type(2, 0, 0x7FFFFFFF, 0xFFFFFFFF),
    "acc32": Type(2, 0, 0x7FFFFFFF, 0),
}


class Point(NamedTuple):
    name: str
    type: str
    """One of ``TYPES``, or ``string8``/``string16``: text in that many registers."""
    scale: str | None = None
    """Name of the point that holds the power of ten."""


def _points(text: str) -> tuple[Point, ...]:
    return tuple(Point(*word.split(":")) for word in text.split())


MODELS: Mapping[int, tuple[Point, ...]] = {
    1: _points("Mn:string16 Md:string16 Opt:string8 Vr:string8 SN:string16 DA:uint16 Pad:pad"),
    103: _points(
        """
        A:uint16:A_SF AphA:uint16:A_SF AphB:uint16:A_SF AphC:uint16:A_SF A_SF:sunssf
        PPVphAB:uint16:V_SF PPVphBC:uint16:V_SF PPVphCA:uint16:V_SF
        PhVphA:uint16:V_SF PhVphB:uint16:V_SF PhVphC:uint16:V_SF V_SF:sunssf
        W:int16:W_SF W_SF:sunssf Hz:uint16:Hz_SF Hz_SF:sunssf VA:int16:VA_SF VA_SF:sunssf
        VAr:int16:VAr_SF VAr_SF:sunssf PF:int16:PF_SF PF_SF:sunssf WH:acc32:WH_SF WH_SF:sunssf
        DCA:uint16:DCA_SF DCA_SF:sunssf DCV:uint16:DCV_SF DCV_SF:sunssf DCW:int16:DCW_SF DCW_SF:sunssf
        TmpCab:int16:Tmp_SF TmpSnk:int16:Tmp_SF TmpTrns:int16:Tmp_SF TmpOt:int16:Tmp_SF Tmp_SF:sunssf
        St:enum16 StVnd:enum16 Evt1:bitfield32 Evt2:bitfield32
        EvtVnd1:bitfield32 EvtVnd2:bitfield32 EvtVnd3:bitfield32 EvtVnd4:bitfield32
        """
    ),
    713: _points(
        """
        WHRtg:uint16:WH_SF WHAvail:uint16:WH_SF SoC:uint16:Pct_SF SoH:uint16:Pct_SF Sta:enum16
        WH_SF:sunssf Pct_SF:sunssf
        """
    ),
    802: _points(
        """
        AHRtg:uint16:AHRtg_SF WHRtg:uint16:WHRtg_SF
        WChaRteMax:uint16:WChaDisChaMax_SF WDisChaRteMax:uint16:WChaDisChaMax_SF DisChaRte:uint16:DisChaRte_SF
        SoCMax:uint16:SoC_SF SoCMin:uint16:SoC_SF SoCRsvMax:uint16:SoC_SF SoCRsvMin:uint16:SoC_SF SoC:uint16:SoC_SF
        DoD:uint16:DoD_SF SoH:uint16:SoH_SF NCyc:uint32 ChaSt:enum16 LocRemCtl:enum16 Hb:uint16 CtrlHb:uint16
        AlmRst:uint16 Typ:enum16 State:enum16 StateVnd:enum16 WarrDt:uint32
        Evt1:bitfield32 Evt2:bitfield32 EvtVnd1:bitfield32 EvtVnd2:bitfield32
        V:uint16:V_SF VMax:uint16:V_SF VMin:uint16:V_SF
        CellVMax:uint16:CellV_SF CellVMaxStr:uint16 CellVMaxMod:uint16
        CellVMin:uint16:CellV_SF CellVMinStr:uint16 CellVMinMod:uint16 CellVAvg:uint16:CellV_SF
        A:int16:A_SF AChaMax:uint16:AMax_SF ADisChaMax:uint16:AMax_SF W:int16:W_SF
        ReqInvState:enum16 ReqW:int16:W_SF SetOp:enum16 SetInvState:enum16
        AHRtg_SF:sunssf WHRtg_SF:sunssf WChaDisChaMax_SF:sunssf DisChaRte_SF:sunssf SoC_SF:sunssf DoD_SF:sunssf
        SoH_SF:sunssf V_SF:sunssf CellV_SF:sunssf A_SF:sunssf AMax_SF:sunssf W_SF:sunssf
        """
    ),
}
"""Model id → its points after the header (id and length)."""


def chain(models: Sequence[tuple[int, Mapping[str, Value]]]) -> list[int]:
    """The words from ``BASE`` on: marker, the models in order, end. Points that are not named are not implemented.

    A value that does not fit in its point is written as not implemented, never cut. ValueError for a name that the
    model does not have, or a value whose scale factor is missing.
    """
    words = list(MARKER)
    for number, values in models:
        body = _body(number, values)
        words += [number, len(body), *body]
    return [*words, *END]


def scale_for(largest: float, highest: int = 0x7FFF) -> int:
    """The smallest power of ten (0 or above) that makes ``largest`` fit in a point."""
    power = 0
    while largest / 10**power > highest and power < TYPES["sunssf"].highest:
        power += 1
    return power


def _body(number: int, values: Mapping[str, Value]) -> list[int]:
    points = MODELS[number]
    unknown = values.keys() - {point.name for point in points}
    if unknown:
        raise ValueError(f"SunSpec model {number} has no point {', '.join(sorted(unknown))}")
    words: list[int] = []
    for point in points:
        value = values.get(point.name)
        if point.type.startswith("string"):
            words += _text(value, int(point.type.removeprefix("string")))
            continue
        power = 0
        if point.scale is not None and value is not None:
            named = values.get(point.scale)
            if not isinstance(named, int):
                raise ValueError(f"SunSpec model {number}: {point.name} has a value, but {point.scale} has none")
            power = named
        words += number_words(point.type, value, power)
    return words


def number_words(kind: str, value: Value, power: int = 0) -> list[int]:
    """A number as the registers of a point: rounded to its scale; what is missing or does not fit: not implemented."""
    size, lowest, highest, missing = TYPES[kind]
    raw = missing
    if isinstance(value, str):
        raise ValueError(f"a point of type {kind} cannot hold the text {value!r}")
    if value is not None:
        rounded = int(Decimal(value).scaleb(-power).to_integral_value(ROUND_HALF_EVEN))
        if lowest <= rounded <= highest:
            raw = rounded & ((1 << 16 * size) - 1)
    return [raw >> 16 * place & 0xFFFF for place in reversed(range(size))]


def _text(value: Value, size: int) -> list[int]:
    """Two characters a register, the rest NUL; all NUL is "not implemented"."""
    if not isinstance(value, str | None):
        raise ValueError(f"a point that is text cannot hold the number {value}")
    data = (value or "").encode("ascii")
    if len(data) > 2 * size:
        raise ValueError(f"{value!r} does not fit in {2 * size} characters")
    data = data.ljust(2 * size, b"\0")
    return [int.from_bytes(data[place : place + 2], "big") for place in range(0, 2 * size, 2)]
