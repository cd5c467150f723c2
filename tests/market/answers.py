"""Answers shaped like those of the real sources, made of prices that a test gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flowrunner.units import DURATION_UNITS, iso, parse_instant

NAMESPACE = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
AT = "10YAT-APG------L"
MINUTE = DURATION_UNITS["min"]


def period(start: str, end: str, resolution: str, points: Mapping[int, float | str]) -> str:
    """A Period; positions that are not in ``points`` are left out."""
    inner = "".join(
        f"<Point><position>{position}</position><price.amount>{price}</price.amount></Point>"
        for position, price in points.items()
    )
    return (
        f"<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>{inner}</Period>"
    )


def series(
    *periods: str,
    curve: str | None = "A03",
    auction: int | None = 1,
    currency: str = "EUR",
    unit: str = "MWH",
    domain: str = AT,
    contract: str = "A01",
) -> str:
    """A TimeSeries, its elements in the order in which the platform sends them."""
    position = "classificationSequence_AttributeInstanceComponent.position"
    numbered = "" if auction is None else f"<{position}>{auction}</{position}>"
    curve_type = "" if curve is None else f"<curveType>{curve}</curveType>"
    return (
        "<TimeSeries><mRID>1</mRID><auction.type>A01</auction.type><businessType>A62</businessType>"
        f'<in_Domain.mRID codingScheme="A01">{domain}</in_Domain.mRID>'
        f'<out_Domain.mRID codingScheme="A01">{domain}</out_Domain.mRID>'
        f"<contract_MarketAgreement.type>{contract}</contract_MarketAgreement.type>"
        f"<currency_Unit.name>{currency}</currency_Unit.name><price_Measure_Unit.name>{unit}</price_Measure_Unit.name>"
        f"{numbered}{curve_type}{''.join(periods)}</TimeSeries>"
    )


def document(*all_series: str, namespace: str = NAMESPACE, kind: str = "A44") -> bytes:
    """A Publication_MarketDocument."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<Publication_MarketDocument xmlns="{namespace}">'
        f"<mRID>d1</mRID><revisionNumber>1</revisionNumber><type>{kind}</type>"
        '<sender_MarketParticipant.mRID codingScheme="A01">10X1001A1001A450</sender_MarketParticipant.mRID>'
        "<createdDateTime>2026-03-28T12:58:02Z</createdDateTime>"
        "<period.timeInterval><start>2026-03-28T23:00Z</start><end>2026-03-29T22:00Z</end></period.timeInterval>"
        f"{''.join(all_series)}</Publication_MarketDocument>"
    ).encode()


def acknowledgement(text: str, code: str = "999") -> bytes:
    """How the platform says that it has no prices."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Acknowledgement_MarketDocument '
        'xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"><mRID>a1</mRID>'
        "<createdDateTime>2026-03-28T09:00:00Z</createdDateTime>"
        f"<Reason><code>{code}</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    ).encode()


def awattar(start: str, prices: Sequence[float], *, unit: str = "Eur/MWh", minutes: int = 60) -> bytes:
    first = parse_instant(start) // 1_000_000
    step = minutes * 60_000
    data = [
        {"start_timestamp": at, "end_timestamp": at + step, "marketprice": price, "unit": unit}
        for at, price in zip(range(first, first + step * len(prices), step), prices, strict=True)
    ]
    return json.dumps({"object": "list", "data": data, "url": "/at/v1/marketdata"}).encode()


def energy_charts(
    start: str, prices: Sequence[float | None], *, minutes: int = 15, unit: str = "EUR / MWh", **more: Any
) -> bytes:
    first = parse_instant(start) // 1_000_000_000
    answer = {
        "license_info": "CC BY 4.0 (creativecommons.org/licenses/by/4.0) from Bundesnetzagentur | SMARD.de",
        "unix_seconds": [first + minutes * 60 * number for number in range(len(prices))],
        "price": list(prices),
        "unit": unit,
        "deprecated": False,
    }
    return json.dumps(answer | more).encode()


def mark(price: float, at: int, market: str = "epex_at", **more: Any) -> bytes:
    """The exchange's answer, ``at`` an instant."""
    answer = {"mark": price, "ema": price + 1, "vwap": price - 1, "timestamp": iso(at), "market": market}
    return json.dumps(answer | more).encode()
