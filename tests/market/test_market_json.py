"""aWATTar, Energy-Charts and the exchange: their JSON, and what of it is no price."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.market import BadPrices, Market, Price, awattar, energy_charts, mark
from flowrunner.units import DURATION_UNITS, Duration, parse_instant
from tests.market import answers

MINUTE = DURATION_UNITS["min"]
NIGHT = "2026-03-28T23:00:00Z"
AT = parse_instant(NIGHT)
MARKET = Market(name="epex_at", slot_ns=15 * MINUTE, gate_closure_ns=5 * MINUTE)
NOW = parse_instant("2026-03-29T01:03:00Z")
SLOT = MARKET.delivery(NOW)
OLDEST = Duration.parse("10min")


def marks(body: bytes) -> list[Price]:
    return mark.parse(body, "epex_at", SLOT, NOW, OLDEST)


# ---- aWATTar ----------------------------------------------------------------------------------------------------


def test_awattar_hours() -> None:
    prices = awattar.parse(answers.awattar(NIGHT, [28.98, 0, -45.5]))
    hour = 60 * MINUTE
    assert prices == [
        Price(AT, AT + hour, 28.98),
        Price(AT + hour, AT + 2 * hour, 0.0),
        Price(AT + 2 * hour, AT + 3 * hour, -45.5),
    ]
    assert len(awattar.parse(answers.awattar(NIGHT, list(range(92)), minutes=15))) == 92


def test_awattar_in_any_order_and_with_gaps() -> None:
    answer = json.loads(answers.awattar(NIGHT, [1, 2, 3]))
    answer["data"] = [answer["data"][2], answer["data"][0]]
    assert [one.eur_mwh for one in awattar.parse(json.dumps(answer).encode())] == [1.0, 3.0]


def test_what_awattar_is_asked() -> None:
    assert awattar.query(1_561_932_000_000_000_000, 1_561_935_600_000_000_000) == {
        "start": "1561932000000",
        "end": "1561935600000",
    }


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("unit", "ct/kWh", "price 2: the unit is 'ct/kWh', not 'Eur/MWh'"),
        ("unit", None, r"not understood: .*data\[1\]\.unit"),
        ("marketprice", "28.98", r"not understood: .*data\[1\]\.marketprice"),
        ("marketprice", None, r"data\[1\]\.marketprice"),
        ("marketprice", True, r"data\[1\]\.marketprice"),
        ("marketprice", math.nan, "price 2: the price is not a finite number"),
        ("end_timestamp", 0, "is no interval"),
        ("end_timestamp", AT // 1_000_000 + 2 * 3_600_000 + 420_000, "it is for 67min; 15, 30 and 60"),
        ("start_timestamp", -1, "is no interval"),
        ("start_timestamp", 10**30, "start_timestamp"),
        ("start_timestamp", "2026-03-28", "start_timestamp"),
        ("start_timestamp", AT // 1_000_000, "it is for 2h"),
    ],
)
def test_what_awattar_says_and_nobody_understands(field: str, value: Any, words: str) -> None:
    answer = json.loads(answers.awattar(NIGHT, [1, 2, 3]))
    answer["data"][1][field] = value
    with pytest.raises(BadPrices, match=words):
        awattar.parse(json.dumps(answer).encode())


def test_awattar_two_prices_for_one_hour() -> None:
    answer = json.loads(answers.awattar(NIGHT, [1, 2]))
    answer["data"].append(answer["data"][0] | {"marketprice": 7})
    with pytest.raises(BadPrices, match="two prices for one time"):
        awattar.parse(json.dumps(answer).encode())


# ---- Energy-Charts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["EUR / MWh", "EUR/MWh"])
@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_energy_charts_quarter_hours_and_hours(unit: str, minutes: int) -> None:
    prices = energy_charts.parse(answers.energy_charts(NIGHT, [88.1, -70.0, 0, 65.5], minutes=minutes, unit=unit))
    step = minutes * MINUTE
    assert prices == [
        Price(AT + place * step, AT + (place + 1) * step, price) for place, price in enumerate([88.1, -70.0, 0.0, 65.5])
    ]


def test_energy_charts_null_is_missing_and_no_price_is_stretched_over_it() -> None:
    prices = energy_charts.parse(answers.energy_charts(NIGHT, [88.1, None, None, 65.5, None]))
    assert [(one.start - AT) // (15 * MINUTE) for one in prices] == [0, 3]
    assert {one.end - one.start for one in prices} == {15 * MINUTE}, "the last one is no longer than the others"


def test_energy_charts_a_time_that_is_left_out_is_a_gap() -> None:
    answer = json.loads(answers.energy_charts(NIGHT, [1, 2, 3, 4]))
    del answer["unix_seconds"][2], answer["price"][2]
    prices = energy_charts.parse(json.dumps(answer).encode())
    assert [(one.start - AT) // (15 * MINUTE) for one in prices] == [0, 1, 3]
    assert {one.end - one.start for one in prices} == {15 * MINUTE}


def test_what_energy_charts_is_asked() -> None:
    asked = energy_charts.query("DE-LU", date(2026, 3, 29), date(2026, 3, 30))
    assert asked == {"bzn": "DE-LU", "start": "2026-03-29", "end": "2026-03-30"}


def test_energy_charts_says_when_the_interface_goes() -> None:
    assert energy_charts.deprecated(answers.energy_charts(NIGHT, [1, 2], deprecated=True))
    assert not energy_charts.deprecated(answers.energy_charts(NIGHT, [1, 2]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "EUR / kWh"}, "the unit is 'EUR / kWh', not 'EUR / MWh'"),
        ({"unit": None}, r"not understood: .*\$\.unit"),
        ({"price": [1, 2, 3]}, "4 times and 3 prices"),
        ({"price": [1, "2", 3, 4]}, r"\$\.price"),
        ({"price": [1, math.nan, 3, 4]}, "price 2: the price is not a finite number"),
        ({"price": [None] * 4}, "no price in it"),
        ({"price": [], "unix_seconds": []}, "no price in it"),
        ({"price": [1], "unix_seconds": [AT // 10**9]}, "one time alone"),
        ({"unix_seconds": [AT, AT + 1, AT + 2, AT + 3]}, "no time in seconds"),
        ({"unix_seconds": [-900, 0, 900, 1800]}, "no time in seconds"),
        ({"unix_seconds": [0, 900, 900, 1800]}, "do not rise"),
        ({"unix_seconds": [0, 900, 1800, 2000]}, "market time units"),
        ({"unix_seconds": [60, 960, 1860, 2760]}, "not the start of a market time unit"),
        ({"unix_seconds": [0.5, 900, 1800, 2700]}, r"\$\.unix_seconds"),
    ],
)
def test_what_energy_charts_says_and_nobody_understands(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadPrices, match=words):
        energy_charts.parse(answers.energy_charts(NIGHT, [1, 2, 3, 4], **change))


# ---- the exchange -----------------------------------------------------------------------------------------------


def test_the_mark_is_for_the_slot_that_it_was_asked_for() -> None:
    assert marks(answers.mark(50.25, NOW)) == [Price(SLOT.start, SLOT.end, 50.25)]
    assert marks(answers.mark(-45.5, NOW - OLDEST))[0].eur_mwh == -45.5
    assert marks(answers.mark(0, NOW + 5 * 10**9))[0].eur_mwh == 0.0
    assert mark.query("epex_at") == {"market": "epex_at"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (answers.mark(85.5, NOW, ema=84.2, vwap=85.1), "85.5 / 84.2 / 85.1: made-up numbers, it has no price of 'ep"),
        (answers.mark(50, NOW, market="epex_de"), "about the market 'epex_de', asked was 'epex_at'"),
        (answers.mark(50, NOW - OLDEST - 10**9), "older than 10min"),
        (answers.mark(50, NOW + 6 * 10**9), "ahead of now, a clock is wrong"),
        (answers.mark(50, NOW, timestamp="2026-03-29T01:03:00"), "no time zone"),
        (answers.mark(50, NOW, timestamp=1774746180), r"not understood: .*\$\.timestamp"),
        (answers.mark(math.nan, NOW), "mark: the price is not a finite number"),
        (answers.mark(50, NOW, mark=None), r"\$\.mark"),
        (answers.mark(50, NOW, mark="50"), r"\$\.mark"),
        (b'{"detail": "unknown market"}', "missing required field"),
    ],
)
def test_a_mark_that_is_not_believed(body: bytes, words: str) -> None:
    with pytest.raises(BadPrices, match=words):
        marks(body)


def test_only_exactly_the_triple_is_made_up() -> None:
    assert marks(answers.mark(85.5, NOW, ema=84.2, vwap=85.2))[0].eur_mwh == 85.5
    assert marks(answers.mark(85.5, NOW, ema=84.3, vwap=85.1))[0].eur_mwh == 85.5


# ---- all --------------------------------------------------------------------------------------------------------

PARSERS = [awattar.parse, energy_charts.parse, marks]
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "unit", "price", "mark", "unix_seconds"]), inner, max_size=4)
    ),
)


@pytest.mark.parametrize("parse", PARSERS)
@given(body=st.binary(max_size=40) | JSONS.map(lambda one: json.dumps(one).encode()))
def test_nothing_but_prices_or_a_refusal_comes_out(parse: Callable[[bytes], list[Price]], body: bytes) -> None:
    with pytest.raises(BadPrices):
        parse(body)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b'{"data": [], "data": []}', b"\xff", b"null"])
def test_what_is_no_answer_at_all(parse: Callable[[bytes], list[Price]], body: bytes) -> None:
    with pytest.raises(BadPrices, match=r"not understood|no price"):
        parse(body)
