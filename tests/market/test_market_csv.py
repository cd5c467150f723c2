"""Prices in files, and the shipped year that a simulated market lives on."""

from __future__ import annotations

import itertools
import os
import statistics
import threading
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.market import BadPrices, Curve, Market, Price, Slot, price_file, year
from flowrunner.market.feed import FileFeed, SourceAway
from flowrunner.market.price_file import PriceFile
from flowrunner.market.sources import Question
from flowrunner.units import DURATION_UNITS, Duration, iso, parse_instant, to_datetime

HOUR = DURATION_UNITS["h"]
INSTANTS = st.integers(1_500_000_000_000_000_000, 2_200_000_000_000_000_000)


def lines(*rows: str, end: str = "\n") -> bytes:
    return (end.join(["timestamp,price_eur_mwh", *rows]) + end).encode()


def test_a_file() -> None:
    rows = lines("2026-03-29T00:00:00Z,0.00", "2026-03-29T02:15:00+02:00,-45.50", "2026-03-29T00:30:00Z,7")
    start = parse_instant("2026-03-29T00:00:00Z")
    step = HOUR // 4
    expected = [Price(start + place * step, start + (place + 1) * step, one) for place, one in enumerate([0, -45.5, 7])]
    assert price_file.parse(rows) == expected
    assert price_file.parse(b"\xef\xbb\xbf" + rows.replace(b"\n", b"\r\n") + b"\r\n") == expected


def test_a_line_that_is_missing_is_a_price_that_is_missing() -> None:
    rows = [f"2026-03-29T0{hour}:00:00Z,{hour}" for hour in (0, 1, 4)]
    prices = price_file.parse(lines(*rows))
    assert [one.eur_mwh for one in prices] == [0.0, 1.0, 4.0]
    assert {one.end - one.start for one in prices} == {HOUR}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "line 1: it must be 'timestamp,price_eur_mwh'"),
        (b"time,price\n", "line 1"),
        (b"timestamp;price_eur_mwh\n", "line 1"),
        (lines(), "no price in it"),
        (lines("2026-03-29T00:00:00Z,1"), "one time alone"),
        (lines("2026-03-29T00:00:00Z,1", "2026-03-29T01:00:00,1"), "line 3: .* has no time zone"),
        (lines("2026-03-29T00:00:00Z,1", "", "x,1"), "line 4: 'x' is not a time"),
        (lines('2026-03-29T00:00:00Z,"85,5"'), "line 2: '85,5' is not a price; write a decimal point"),
        (lines("2026-03-29T00:00:00Z,85,5"), "line 2: 3 columns"),
        (lines("2026-03-29T00:00:00Z,"), "line 2: '' is not a price"),
        (lines("2026-03-29T00:00:00Z,nan"), "line 2: 'nan' is not a price"),
        (lines("2026-03-29T01:00:00Z,1", "2026-03-29T00:00:00Z,1"), "do not rise"),
        (lines("2026-03-29T00:00:00Z,1", "2026-03-29T00:00:00Z,1"), "do not rise"),
        (lines("2026-03-29T00:00:00Z,1", "2026-03-29T00:20:00Z,1"), "market time units"),
        (lines("2026-03-29T00:00:00Z,1") + b"\xff", "not UTF-8"),
        (lines('"2026-03-29'), "line 2"),
        (lines(*(f"{iso(n * HOUR)},1" for n in range(40_001))), "line 40002: more than 40000 prices"),
    ],
)
def test_a_file_that_is_not_understood(body: bytes, words: str) -> None:
    with pytest.raises(BadPrices, match=words):
        price_file.parse(body)


@given(st.binary(max_size=80) | st.text(max_size=60).map(lambda text: lines(text)))
def test_nothing_but_prices_or_a_refusal_comes_out(body: bytes) -> None:
    with pytest.raises(BadPrices):
        price_file.parse(body)


def test_a_file_is_parsed_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(lines("2026-03-29T00:00:00Z,1", "2026-03-29T01:00:00Z,2"))
    file = PriceFile(str(path))
    first = file.read()
    assert file.read() is first
    path.write_bytes(lines("2026-03-29T00:00:00Z,1", "2026-03-29T01:00:00Z,3"))
    os.utime(path, ns=(0, 1))
    assert [one.eur_mwh for one in file.read()] == [1.0, 3.0]
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.read()


@pytest.mark.anyio
async def test_a_disk_that_hangs_holds_one_thread_of_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    os.mkfifo(path)  # who opens it waits until somebody writes
    feed = FileFeed(str(path), Duration.parse("50ms"))
    market = Market(name="m", slot_ns=HOUR, gate_closure_ns=0)
    asked = Question.at(parse_instant("2026-03-29T00:30:00Z"), market, ZoneInfo("UTC"))
    for _ in range(3):
        with pytest.raises(SourceAway, match="was not read within 50ms"):
            await feed.fetch(asked, lambda: asked.now)
    (hung,) = [one for one in threading.enumerate() if one.name == "price-file"]
    assert hung.daemon, "it does not keep the program from ending"
    path.rename(tmp_path / "fifo")
    path.write_bytes(lines("2026-03-29T00:00:00Z,1", "2026-03-29T01:00:00Z,2"))
    (tmp_path / "fifo").open("wb").close()
    hung.join(5)
    assert [one.eur_mwh for one in await feed.fetch(asked, lambda: asked.now)] == [1, 2]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    with path.open("wb") as file:
        file.truncate(price_file.LARGEST + 1)
    with pytest.raises(BadPrices, match="larger than 16 MiB"):
        price_file.read(str(path))


# ---- what is shipped --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "mean", "least", "most", "negative"),
    [
        ("DE-LU-2024.csv", 8784, 78.512, -135.45, 936.28, 457),
        ("DE-LU-2025-12-15min.csv", 2976, 93.469, 3.28, 358.28, 0),
    ],
)
def test_the_shipped_prices_are_those_of_the_source(
    name: str, count: int, mean: float, least: float, most: float, negative: int
) -> None:
    """The figures are those of the data's own description."""
    prices = price_file.read(f"shipped:{name}")
    numbers = [one.eur_mwh for one in prices]
    assert len(numbers) == count
    assert round(statistics.fmean(numbers), 3) == mean
    assert (min(numbers), max(numbers), sum(one < 0 for one in numbers)) == (least, most, negative)
    assert all(one.end == after.start for one, after in itertools.pairwise(prices)), "no gap"


def test_the_credit_is_shipped_beside_them() -> None:
    folder = price_file.place("shipped:DE-LU-2024.csv")
    sources = Path(str(folder)).with_name("SOURCES.md").read_text("utf-8")
    assert price_file.CREDIT in sources


@pytest.mark.parametrize("name", ["shipped:", "shipped:FR-2024.csv", "shipped:../slots.py", "shipped:SOURCES.md"])
def test_nothing_else_is_shipped(name: str) -> None:
    with pytest.raises(ValueError, match=r"does not come with the program; DE-LU-2024\.csv, DE-LU-2025-12-15min\.csv"):
        price_file.place(name)


@cache
def shipped_curve() -> Curve:
    return Curve.of(price_file.read("shipped:DE-LU-2024.csv"))


@given(INSTANTS)
def test_the_year_is_shifted_by_whole_weeks(instant: int) -> None:
    shipped = shipped_curve()
    found = year.shifted(instant)
    assert found.slot.covers(instant)
    shift = (instant - shipped.prices[0].start) // (52 * year.WEEK) * 52 * year.WEEK
    original = shipped.at(instant - shift)
    assert original is not None
    assert found == Price(original.start + shift, original.end + shift, original.eur_mwh)
    there, here = to_datetime(original.start), to_datetime(found.start)
    assert (there.weekday(), there.time()) == (here.weekday(), here.time())


def test_a_known_hour_of_the_year() -> None:
    """2024-06-05 was a Wednesday; 104 weeks later is 2026-06-03."""
    assert year.shifted(parse_instant("2024-06-05T11:00:00Z")).eur_mwh == 30.17
    assert year.shifted(parse_instant("2026-06-03T11:30:00Z")).eur_mwh == 30.17
    assert year.shifted(parse_instant("2023-01-02T00:00:00Z")) == year.shipped().at(
        parse_instant("2023-01-02T00:59:59Z")
    )


def test_slots_of_the_year() -> None:
    start = parse_instant("2026-06-03T11:15:00Z")
    quarter = year.shipped().for_slot(Slot(start, start + HOUR // 4))
    assert quarter is not None
    assert quarter.eur_mwh == 30.17
    assert year.shipped().for_slot(Slot(start, start + HOUR)) is None, "two hours share it"
    december = year.shipped("DE-LU-2025-12-15min.csv")
    assert december.span == 4 * year.WEEK
    assert december.at(parse_instant("2025-12-01T00:00:00+01:00")).eur_mwh == 90.91


def test_what_cannot_be_shifted() -> None:
    hours = [Price(n * HOUR, (n + 1) * HOUR, n) for n in range(24 * 7)]
    assert year.Weeks(Curve.of(hours)).span == year.WEEK
    with pytest.raises(ValueError, match="less than a week"):
        year.Weeks(Curve.of(hours[:-1]))
    with pytest.raises(ValueError, match="a gap"):
        year.Weeks(Curve.of([*hours[:50], *hours[51:]]))
    with pytest.raises(ValueError, match="no price"):
        year.Weeks(Curve())
