"""ENTSO-E Transparency Platform: energy prices (12.1.D) as documents of type A44.

The interface: https://transparency.entsoe.eu/content/static_content/Static%20content/web%20api/Guide.html.
A document holds several series: of several days, of auctions of the same day that are told apart by the position of
their classification sequence (in DE-LU and AT 1 is the single day-ahead coupling, 2 the earlier auction of EXAA), and
of intraday auctions (contract A07). Curve type A03 leaves out a position that has the price of the one before.
"""

from __future__ import annotations

import re
import xml.parsers.expat
from collections.abc import Iterator, Mapping

from flowrunner.market.prices import MOST_PRICES, TIME_UNITS, BadPrices, Curve, Price, curve_of, number
from flowrunner.message import Instant
from flowrunner.units import DURATION_UNITS, iso, parse_instant, to_datetime

URL = "https://web-api.tp.entsoe.eu/api"
DAY_AHEAD = "A01"
_RESOLUTIONS = {f"PT{length // DURATION_UNITS['min']}M": length for length in TIME_UNITS} | {"PT1H": TIME_UNITS[-1]}
_SEQUENCE = "classificationSequence_AttributeInstanceComponent.position"
_POSITION = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_DEEPEST = 16
"""Elements within elements; real documents have 5."""


def query(domain: str, start: Instant, end: Instant, token: str) -> Mapping[str, str]:
    """The parameters that ask for the day-ahead prices of a bidding zone (its EIC). ``token`` is a secret."""
    return {
        "documentType": "A44",
        "contract_MarketAgreement.type": DAY_AHEAD,
        "in_Domain": domain,
        "out_Domain": domain,
        "periodStart": f"{to_datetime(start):%Y%m%d%H%M}",
        "periodEnd": f"{to_datetime(end):%Y%m%d%H%M}",
        "securityToken": token,
    }


def parse(body: bytes, domain: str, sequence: int = 1) -> list[Price]:
    """The day-ahead prices of the bidding zone ``domain`` (EIC) in an A44 document.

    Where auctions are numbered, those of ``sequence``. BadPrices for everything that is not understood, for prices
    that contradict each other, and with the platform's own reason where it gives none.
    """
    root = _tree(body)
    if root.name == "Acknowledgement_MarketDocument":
        raise BadPrices(f"ENTSO-E gives no prices: {reason_of(root)}")
    if root.name != "Publication_MarketDocument":
        raise BadPrices(f"this is no answer of ENTSO-E with prices: the document is {root.name[:60]!r}")
    if (kind := root.text("type")) not in ("A44", None):
        raise BadPrices(f"the document is of type {kind!r}, prices are A44")
    numbered: dict[str, list[Price]] = {}
    for place, series in enumerate(root.all("TimeSeries"), 1):
        if series.text("contract_MarketAgreement.type") in (DAY_AHEAD, None):
            numbered.setdefault(series.text(_SEQUENCE) or "", []).extend(_series(series, f"series {place}", domain))
            if sum(map(len, numbered.values())) > MOST_PRICES:
                raise BadPrices(f"more than {MOST_PRICES} prices in one answer")
    plain = numbered.pop("", [])
    wanted = numbered.get(str(sequence), [])
    every = Curve.of(plain)
    for position, prices in numbered.items():
        for one in Curve.of(prices).prices:
            if every.within(one.start, one.end).prices:
                raise BadPrices(f"for {one.slot} there is auction {position} and one without a number: which counts?")
    if numbered and not plain and not wanted:
        raise BadPrices(f"auction {sequence} is not in it, only {', '.join(sorted(numbered))}: not published yet?")
    return curve_of([*plain, *wanted])


def reason(body: bytes) -> str:
    """Why the platform refuses, as its answer says; ``""`` when the body says nothing that is understood."""
    try:
        root = _tree(body)
    except BadPrices:
        return ""
    return reason_of(root) if root.name == "Acknowledgement_MarketDocument" else ""


def reason_of(acknowledgement: Element) -> str:
    """The text of a refusal with its code, or what there is of it."""
    texts = [f"{one.text('text') or 'no text'} (code {one.text('code')})" for one in acknowledgement.all("Reason")]
    return "; ".join(texts)[:400] or "it does not say why"


def _series(series: Element, where: str, domain: str) -> Iterator[Price]:
    for name in ("in_Domain.mRID", "out_Domain.mRID"):
        if (found := series.text(name)) not in (domain, None):
            raise BadPrices(f"{where}: it is about {found!r}, asked was {domain!r}")
    if (currency := series.text("currency_Unit.name")) != "EUR":
        raise BadPrices(f"{where}: the currency is {currency!r}, not EUR")
    if (unit := series.text("price_Measure_Unit.name")) != "MWH":
        raise BadPrices(f"{where}: the prices are per {unit!r}, not per MWH")
    curve_type = series.text("curveType") or "A01"  # the standard's default
    if curve_type not in ("A01", "A03"):
        raise BadPrices(f"{where}: curve type {curve_type!r} is not known, only A01 and A03 are")
    for period in series.all("Period"):
        yield from _period(period, where, repeats=curve_type == "A03")


def _period(period: Element, where: str, *, repeats: bool) -> Iterator[Price]:
    """One price for each position, of which those that are left out repeat the one before, if they may."""
    interval = next(period.all("timeInterval"), None)
    if interval is None:
        raise BadPrices(f"{where}: a period without a time interval")
    start, end = (_instant(interval.text(name), f"{where}, {name} of the period") for name in ("start", "end"))
    where = f"{where}, period {iso(start)}"
    resolution = period.text("resolution")
    step = _RESOLUTIONS.get(resolution or "")
    if step is None:
        raise BadPrices(f"{where}: resolution {resolution!r} is not known; {', '.join(_RESOLUTIONS)} are")
    count, rest = divmod(end - start, step)
    if not 0 < count <= MOST_PRICES or rest:
        raise BadPrices(f"{where}: up to {iso(end)} is no believable number of {resolution}")
    points: dict[int, float] = {}
    for point in period.all("Point"):
        text = point.text("position") or ""
        if _POSITION.fullmatch(text) is None or int(text) > count:
            raise BadPrices(f"{where}: position {text[:20]!r} is not between 1 and {count}")
        position = int(text)
        if position in points:
            raise BadPrices(f"{where}: position {position} is there twice")
        points[position] = number(point.text("price.amount") or "", f"{where}, position {position}")
    if 1 not in points:
        raise BadPrices(f"{where}: position 1 is missing")
    if not repeats and len(points) < count:
        missing = next(one for one in range(1, count + 1) if one not in points)
        raise BadPrices(f"{where}: position {missing} is missing, and a curve of type A01 leaves none out")
    price = points[1]
    for position in range(1, count + 1):
        price = points.get(position, price)
        begins = start + (position - 1) * step
        yield Price(begins, begins + step, price)


def _instant(text: str | None, where: str) -> Instant:
    try:
        return parse_instant(text or "")
    except ValueError as error:
        raise BadPrices(f"{where}: {error}") from None


# ---- XML -----------------------------------------------------------------------------------------------------------


class Element:
    """An element by its name without the namespace, whose version differs from document to document."""

    __slots__ = ("children", "content", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: list[Element] = []
        self.content: list[str] = []

    def all(self, name: str) -> Iterator[Element]:
        return (one for one in self.children if one.name == name)

    def text(self, name: str) -> str | None:
        """The text of the child of that name, None when there is none. BadPrices when there are several."""
        found = list(self.all(name))
        if len(found) > 1:
            raise BadPrices(f"{self.name} has {name} more than once")
        return "".join(found[0].content).strip() if found else None


def _tree(body: bytes) -> Element:
    """The document. BadPrices when it is not XML, is nested too deep, or declares a document type: without one there
    are no entities that could be expanded or fetched."""
    top = Element("")
    way = [top]

    def begin(name: str, _attributes: object) -> None:
        if len(way) > _DEEPEST:
            raise BadPrices("the XML is nested too deep")
        element = Element(name.rpartition(" ")[2])
        way[-1].children.append(element)
        way.append(element)

    def declared(*_: object) -> None:
        raise BadPrices("the XML declares a document type; no answer of ENTSO-E does")

    parser = xml.parsers.expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _name: way.pop()
    parser.CharacterDataHandler = lambda text: way[-1].content.append(text)
    parser.StartDoctypeDeclHandler = declared
    try:
        parser.Parse(body, True)
    except xml.parsers.expat.ExpatError as error:
        raise BadPrices(f"the answer is not XML: {error}") from None
    except (ValueError, LookupError) as error:  # of expat's own: an encoding that it does not know
        if isinstance(error, BadPrices):
            raise
        raise BadPrices(f"the answer is not XML: {error}") from None
    return top.children[0]
