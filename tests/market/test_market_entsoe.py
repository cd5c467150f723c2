"""ENTSO-E: documents as the platform sends them, and everything that must not become a price."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.market import BadPrices, Curve, Market, Slot, entsoe, zones
from flowrunner.units import Duration, iso, parse_instant
from tests.market.answers import AT, acknowledgement, document, period, series

SPRING = ("2026-03-28T23:00Z", "2026-03-29T22:00Z")
AUTUMN = ("2026-10-24T22:00Z", "2026-10-25T23:00Z")
HOUR = ("2026-03-29T16:00Z", "2026-03-29T17:00Z")


def hour(*prices: float, **more: Any) -> str:
    """A series of the four quarters of an hour."""
    return series(period(*HOUR, "PT15M", dict(enumerate(prices, 1))), **more)


def values(*all_series: str, auction: int = 1) -> list[float]:
    return [one.eur_mwh for one in entsoe.parse(document(*all_series), AT, auction)]


@pytest.mark.parametrize(("day", "count", "position"), [(SPRING, 92, 69), (AUTUMN, 100, 77)])
def test_days_on_which_the_clocks_change(day: tuple[str, str], count: int, position: int) -> None:
    points: dict[int, float | str] = {one: one / 4 for one in range(1, count + 1)}
    prices = entsoe.parse(document(series(period(*day, "PT15M", points))), AT)
    assert len(prices) == count
    assert prices[-1].end == parse_instant(day[1])
    market = Market(name="m", slot_ns=int(Duration.parse("15min")), gate_closure_ns=0)
    evening = parse_instant(f"{day[1][:10]}T18:00:00{'+02:00' if count == 92 else '+01:00'}")
    found = Curve.of(prices).for_slot(market.current(evening))
    assert found is not None
    assert found.eur_mwh == position / 4


def test_left_out_positions_repeat_the_one_before() -> None:
    """Also at the end of the period; zero and negative prices as they are."""
    points: dict[int, float | str] = {1: "0.00", 3: "-45.50", 60: "196.99"}
    prices = entsoe.parse(document(series(period(*SPRING, "PT15M", points))), AT)
    assert [one.eur_mwh for one in prices] == [0.0] * 2 + [-45.5] * 57 + [196.99] * 33
    assert {one.end - one.start for one in prices} == {int(Duration.parse("15min"))}


@given(st.dictionaries(st.integers(2, 92), st.integers(-50000, 400000)), st.integers(-50000, 400000))
def test_leaving_out_repeats_changes_nothing(points: dict[int, int], first: int) -> None:
    full: dict[int, float | str] = {}
    for position in range(1, 93):
        full[position] = (points | {1: first}).get(position, full.get(position - 1, 0))
    short = {one: price for one, price in full.items() if one == 1 or full[one - 1] != price}
    both = [document(series(period(*SPRING, "PT15M", one), curve="A03")) for one in (full, short)]
    assert entsoe.parse(both[0], AT) == entsoe.parse(both[1], AT)
    assert entsoe.parse(both[0].replace(b"A03", b"A01"), AT) == entsoe.parse(both[1], AT)


@pytest.mark.parametrize("resolution", ["PT15M", "PT30M", "PT60M", "PT1H"])
@pytest.mark.parametrize("version", ["7:0", "7:3", "9:9", ""])
def test_resolutions_and_versions(resolution: str, version: str) -> None:
    minutes = {"PT15M": 15, "PT30M": 30}.get(resolution, 60)
    points: dict[int, float | str] = dict.fromkeys(range(1, 23 * 60 // minutes + 1), 12.5)
    namespace = f"urn:iec62325.351:tc57wg16:451-3:publicationdocument:{version}" if version else ""
    prices = entsoe.parse(document(series(period(*SPRING, resolution, points), curve="A01"), namespace=namespace), AT)
    assert len(prices) == 23 * 60 // minutes
    assert Slot(prices[0].start, prices[-1].end).hours == 23


def test_the_coupled_auction_counts_wherever_it_stands() -> None:
    """As DE-LU and AT publish it: the earlier auction is in the same answer, and may come first."""
    coupled, earlier = hour(196.99, 184.4, 175.79, 170.59, auction=1), hour(192.55, 180, 170, 165, auction=2)
    assert values(earlier, coupled) == values(coupled, earlier) == [196.99, 184.4, 175.79, 170.59]
    assert values(earlier, coupled, auction=2) == [192.55, 180, 170, 165]


def test_before_the_coupled_auction_there_is_no_price_of_it() -> None:
    """Until noon only the earlier auction is there for tomorrow: that is not the price."""
    with pytest.raises(BadPrices, match="auction 1 is not in it, only 2: not published yet"):
        values(hour(192.55, 180, 170, 165, auction=2))
    tomorrow = period("2026-03-29T22:00Z", "2026-03-30T22:00Z", "PT15M", {1: 99})
    assert values(hour(1, 2, 3, 4, auction=1), series(tomorrow, auction=2)) == [1, 2, 3, 4]


def test_zones_without_numbers_and_several_days_in_one_answer() -> None:
    days = [period(f"2026-03-0{day}T23:00Z", f"2026-03-0{day + 1}T23:00Z", "PT60M", {1: day}) for day in (4, 1, 3)]
    found = values(*(series(one, auction=None) for one in days))
    assert found == [1] * 24 + [3] * 24 + [4] * 24
    assert values(series(*days, auction=None)) == found


def test_intraday_auctions_are_left_out() -> None:
    assert values(hour(9, 9, 9, 9, contract="A07"), hour(1, 2, 3, 4)) == [1, 2, 3, 4]
    with pytest.raises(BadPrices, match="no price in it"):
        values(hour(9, 9, 9, 9, contract="A07"))


def test_the_same_series_twice_is_once() -> None:
    assert values(hour(1, 2, 3, 4), hour(1, 2, 3, 4)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("all_series", "words"),
    [
        ([hour(1, 2, 3, 4, auction=None), hour(1, 2, 3, 5, auction=None)], "two prices for one time"),
        (
            [hour(1, 2, 3, 4, auction=None), series(period(*HOUR, "PT60M", {1: 2}), auction=None)],
            "two prices for one time",
        ),
        ([hour(1, 2, 3, 4, auction=None), hour(1, 2, 3, 4, auction=2)], "auction 2 and one without a number"),
        ([hour(1, 2, 3, 4, auction=None), hour(1, 2, 3, 4, auction=1)], "auction 1 and one without a number"),
        ([hour(1, 2, 3, 4, currency="PLN")], "series 1: the currency is 'PLN', not EUR"),
        ([hour(1, 2, 3, 4), hour(1, 2, 3, 4, unit="KWH")], "series 2: the prices are per 'KWH', not per MWH"),
        ([hour(1, 2, 3, 4, domain="10Y1001A1001A82H")], "it is about '10Y1001A1001A82H', asked was '10YAT-APG"),
        ([hour(1, 2, 3, 4, curve="A02")], "curve type 'A02' is not known"),
        ([hour(1, 2, 3, curve="A01")], "position 4 is missing, and a curve of type A01 leaves none out"),
        ([hour(1, 2, 3, curve=None)], "position 4 is missing"),
        ([hour(1, 2, 3, 4, 5)], "position '5' is not between 1 and 4"),
        ([series(period(*HOUR, "PT15M", {2: 1}))], "position 1 is missing"),
        ([series(period(*HOUR, "PT15M", {}))], "position 1 is missing"),
        ([series(period(*HOUR, "P1D", {1: 1}))], "resolution 'P1D' is not known"),
        ([series(period(*HOUR[::-1], "PT15M", {1: 1}))], "no believable number"),
        ([series(period(HOUR[0], "2026-03-29T16:20Z", "PT15M", {1: 1}))], "no believable number"),
        ([series(period("1970-01-01T00:00Z", "2970-01-01T00:00Z", "PT15M", {1: 1}))], "no believable number"),
        ([series(period("2026-03-29T16:00", HOUR[1], "PT15M", {1: 1}))], "no time zone"),
        ([series(period("soon", HOUR[1], "PT15M", {1: 1}))], "start of the period: 'soon' is not a time"),
        ([series(period("2026-03-29T16:07Z", "2026-03-29T17:07Z", "PT60M", {1: 1}))], "not the start of a market time"),
        ([series(period(*HOUR, "PT15M", {1: "NaN"}))], "position 1: 'NaN' is not a price"),
        ([series(period(*HOUR, "PT15M", {1: "85,5"}))], "'85,5' is not a price; write a decimal point"),
        ([series(period(*HOUR, "PT15M", {1: ""}))], "'' is not a price"),
        ([series("<Period><resolution>PT15M</resolution></Period>")], "a period without a time interval"),
        ([], "no price in it"),
    ],
)
def test_what_is_not_understood_is_refused(all_series: list[str], words: str) -> None:
    with pytest.raises(BadPrices, match=words):
        values(*all_series)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"<position>2</position>", b"<position>1</position>", "position 1 is there twice"),
        (b"<position>2</position>", b"<position>two</position>", "position 'two'"),
        (b"<position>2</position>", b"<position>" + b"9" * 5000 + b"</position>", "position '9999"),
        (b"<position>2</position>", b"", "position ''"),
        (b"<resolution>", b"<resolution>PT15M</resolution><resolution>", "resolution more than once"),
        (b"<type>A44</type>", b"<type>A65</type>", "type 'A65', prices are A44"),
        (b"Publication_", b"Balancing_", "the document is 'Balancing_MarketDocument'"),
        (b"</Period>", b"", "not XML"),
        (b"<?xml version", b"<?xml verschon", "not XML"),
        (b'encoding="utf-8"', b'encoding="klingon"', "not XML"),
    ],
)
def test_a_document_that_is_broken_is_refused(old: bytes, new: bytes, words: str) -> None:
    good = document(hour(1, 2, 3, 4))
    assert old in good
    with pytest.raises(BadPrices, match=words):
        entsoe.parse(good.replace(old, new), AT)


BOMB = b'<!DOCTYPE x [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = b'<!DOCTYPE x SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize("declared", [BOMB, OUTSIDE, b"<!DOCTYPE x>"])
def test_a_document_type_declaration_is_refused_before_anything_is_expanded(declared: bytes) -> None:
    good = document(hour(1, 2, 3, 4))
    attack = good.replace(b"\n", declared, 1).replace(b">4<", b">&b;<")
    with pytest.raises(BadPrices, match="declares a document type"):
        entsoe.parse(attack, AT)
    with pytest.raises(BadPrices, match="declares a document type"):
        entsoe.parse(attack.decode().replace('encoding="utf-8"', "").encode("utf-16"), AT)


def test_a_document_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(BadPrices, match="nested too deep"):
        entsoe.parse(b"<a>" * 100_000, AT)


def test_a_refusal_gives_the_platforms_reason() -> None:
    """Also the ordinary one, that there are no prices yet."""
    text = f"No matching data found for Data item ENERGY_PRICES [12.1.D] ({AT}, {AT}) and interval x/y."
    with pytest.raises(BadPrices, match=r"ENTSO-E gives no prices: No matching data found .* \(code 999\)"):
        entsoe.parse(acknowledgement(text), AT)
    assert entsoe.reason(acknowledgement(text)) == f"{text} (code 999)"
    assert entsoe.reason(b"<html>no</html>") == entsoe.reason(b"no XML") == ""
    assert "does not say why" in entsoe.reason(acknowledgement("x").replace(b"Reason", b"Other"))


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: document(text)))
def test_nothing_but_prices_or_a_refusal_comes_out(body: bytes) -> None:
    with pytest.raises(BadPrices):
        entsoe.parse(body, AT)


@given(st.data())
def test_a_document_that_is_cut_or_damaged_gives_prices_or_a_refusal(data: st.DataObject) -> None:
    body = bytearray(document(hour(1, 2, 3, 4), hour(5, 6, 7, 8, auction=2)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        prices = entsoe.parse(bytes(body), AT)
    except BadPrices:
        return
    assert Curve.of(prices).prices == tuple(prices)


def test_what_is_asked() -> None:
    start, end = parse_instant("2026-03-29T00:00:00+01:00"), parse_instant("2026-03-31T00:00:00+02:00")
    assert entsoe.query(AT, start, end, "geheim") == {
        "documentType": "A44",
        "contract_MarketAgreement.type": "A01",
        "in_Domain": AT,
        "out_Domain": AT,
        "periodStart": "202603282300",
        "periodEnd": "202603302200",
        "securityToken": "geheim",
    }
    assert iso(start) == "2026-03-28T23:00:00.000Z"


@pytest.mark.parametrize("name", zones.EIC)
def test_every_zone_has_a_code_whose_check_character_fits(name: str) -> None:
    assert zones.eic(name) == zones.EIC[name]
    assert zones.eic(zones.EIC[name]) == zones.EIC[name], "a code is a zone too"


def test_no_two_zones_have_one_code() -> None:
    assert len(set(zones.EIC.values())) == len(zones.EIC)


@pytest.mark.parametrize(
    ("zone", "words"),
    [
        ("DE_LU", "did you mean 'DE-LU'"),
        ("Mars", "no bidding zone that is known here; write its EIC"),
        ("", "no bidding zone"),
        ("10YAT-APG------M", "no EIC: its last character"),
        ("10YAT-APG-----ÄL", "no EIC"),
    ],
)
def test_a_zone_is_never_guessed(zone: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        zones.eic(zone)
