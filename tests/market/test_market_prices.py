"""Prices and curves: no overlap, no price for a slot that nobody published one for, newer answers take over."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.market import BadPrices, Curve, Price, Slot
from flowrunner.market.prices import curve_of, finite, number, spaced
from flowrunner.units import DURATION_UNITS, iso, parse_instant

Q = 15 * DURATION_UNITS["min"]
START = parse_instant("2026-03-28T23:00:00Z")


def quarter(place: int, price: float = 1.0, length: int = 1) -> Price:
    return Price(START + place * Q, START + (place + length) * Q, price)


def slot(place: int, length: int = 1) -> Slot:
    return quarter(place, length=length).slot


VALUES = st.floats(-500, 4000)
CURVES = st.dictionaries(st.integers(0, 40), VALUES).map(
    lambda found: Curve.of(quarter(place, price) for place, price in found.items())
)
COARSE = st.dictionaries(st.integers(0, 10), VALUES).map(
    lambda found: Curve.of(quarter(4 * place, price, 4) for place, price in found.items())
)


def test_a_curve_finds_the_price_of_a_slot_and_nothing_else() -> None:
    curve = Curve.of([quarter(2, -45.5), quarter(0, 0.0), quarter(4, 7.25, length=4)])
    assert curve.for_slot(slot(0)) == quarter(0, 0.0), "a price of zero is a price"
    assert curve.for_slot(slot(1)) is None
    assert curve.for_slot(slot(2)) == quarter(2, -45.5)
    assert curve.for_slot(slot(5)) == quarter(4, 7.25, 4), "an hour's price is that of its quarter-hours"
    assert curve.for_slot(slot(4, 4)) == quarter(4, 7.25, 4)
    assert curve.for_slot(slot(2, 4)) is None, "no part of it makes a price of the whole"
    assert curve.for_slot(slot(-1)) is None
    assert curve.for_slot(slot(8)) is None
    assert curve.at(START) == quarter(0, 0.0)
    assert curve.at(START + Q) is None, "an end is not part of the interval"
    assert curve.at(START - 1) is None
    assert curve.end == START + 8 * Q
    assert Curve().end is None
    assert str(quarter(2, -45.5)) == f"-45.5 EUR/MWh for {iso(START + 2 * Q)}/{iso(START + 3 * Q)}"


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ([quarter(0, 1), quarter(0, 2)], "two prices for one time: 1 EUR/MWh for 2026-03-28T23:00:00.000Z"),
        ([quarter(0, 1, 4), quarter(1, 1)], "two prices for one time"),
        ([quarter(0, math.nan)], "not a finite number"),
        ([quarter(0, math.inf)], "not a finite number"),
        ([quarter(0, length=0)], "has no length"),
        ([quarter(1, length=-1)], "has no length"),
    ],
)
def test_what_is_no_curve_is_refused(prices: list[Price], words: str) -> None:
    with pytest.raises(BadPrices, match=words):
        Curve.of(prices)


def test_the_same_price_twice_is_once() -> None:
    assert Curve.of([quarter(0), quarter(1), quarter(0)]).prices == (quarter(0), quarter(1))


def test_a_curve_out_of_order_is_refused_however_it_is_made() -> None:
    with pytest.raises(BadPrices, match="two prices for one time"):
        Curve((quarter(1), quarter(0)))
    kept = msgspec.json.encode(Curve.of([quarter(0, 85.5), quarter(1)]))
    assert msgspec.json.decode(kept, type=Curve) == Curve.of([quarter(0, 85.5), quarter(1)])
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(kept.replace(str(START).encode(), str(START + Q).encode(), 1), type=Curve)


@given(CURVES | COARSE, CURVES | COARSE, st.integers(-1, 45))
def test_a_newer_answer_takes_the_place_of_what_it_overlaps(kept: Curve, newer: Curve, place: int) -> None:
    joined, wanted = kept.joined(newer), slot(place)
    if newer.at(wanted.start) is not None:
        assert joined.for_slot(wanted) == newer.for_slot(wanted)
    else:
        old = kept.for_slot(wanted)
        gone = old is not None and bool(newer.within(old.start, old.end).prices)
        assert joined.for_slot(wanted) == (None if gone else old)
    assert set(newer.prices) <= set(joined.prices)
    assert joined.joined(newer) == joined


@given(CURVES | COARSE, st.integers(-1, 45), st.integers(1, 4))
def test_parts_of_a_curve(curve: Curve, place: int, length: int) -> None:
    one = slot(place, length)
    part, rest = curve.within(one.start, one.end), curve.without(one)
    assert Curve.of([*part.prices, *rest.prices]) == curve
    assert all(price.end > one.start for price in curve.since(one.start).prices)
    assert [price for price in curve.prices if price not in curve.since(one.start).prices] == [
        price for price in curve.prices if price.end <= one.start
    ]
    for inside in range(length):
        assert rest.for_slot(slot(place + inside)) is None


def test_what_parsers_give_back() -> None:
    assert curve_of([quarter(1), quarter(0)]) == [quarter(0), quarter(1)]
    with pytest.raises(BadPrices, match="no price in it"):
        curve_of([])
    with pytest.raises(BadPrices, match=r"23:07:00\.000Z is not the start of a market time unit of 15min"):
        curve_of([Price(START + 7 * DURATION_UNITS["min"], START + 22 * DURATION_UNITS["min"], 1.0)])


@pytest.mark.parametrize(
    ("text", "value"), [("85.50", 85.5), ("-0.01", -0.01), ("+3", 3.0), ("0", 0.0), (".5", 0.5), ("12.", 12.0)]
)
def test_numbers_as_published(text: str, value: float) -> None:
    assert number(text, "here") == value


@pytest.mark.parametrize("text", ["", " 1", "1,5", "nan", "inf", "1e3", "0x1", "٣", "1_000", "-", ".", "9" * 40])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(BadPrices, match=r"^here: .* is not a price"):
        number(text, "here")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_no_price(value: float) -> None:
    with pytest.raises(BadPrices, match="here: the price is not a finite number"):
        finite(value, "here")


@given(st.sets(st.integers(0, 200), min_size=2), st.sampled_from([1, 2, 4]))
def test_a_length_is_never_more_than_the_times_say(places: set[int], step: int) -> None:
    starts = [START + place * step * Q for place in sorted(places)]
    distances = {later - sooner for later in starts for sooner in starts if later > sooner}
    try:
        length = spaced(starts)
    except BadPrices:
        assert min(distances) not in (Q, 2 * Q, 4 * Q) or any(one % min(distances) for one in distances)
    else:
        assert length == min(distances)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        ([0], "one time alone"),
        ([0, 15, 15], "do not rise"),
        ([0, 15, 0], "do not rise"),
        ([0, 10], "10min apart; market time units"),
        ([0, 120], "2h apart; market time units"),
        ([0, 30, 75], "are 45min apart, others 30min"),
    ],
)
def test_times_whose_length_cannot_be_told(minutes: list[int], words: str) -> None:
    with pytest.raises(BadPrices, match=words):
        spaced([START + one * DURATION_UNITS["min"] for one in minutes])
