"""How values become the points of a chart: nothing is made up, nothing outside is shown, and a gap stays a gap."""

from __future__ import annotations

import itertools
from statistics import median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.store.thinned import Kept
from flowrunner.web.dashboard.course import GAP, Bucket, Point, Reader, course

S = 1_000_000_000
NOW = 10_000 * S


def at(*seconds: int) -> list[Point]:
    return [Point(one * S, float(one)) for one in seconds]


def shown(buckets: list[Bucket]) -> list[tuple[float, float | None]]:
    return [(one.at / S, one.last) for one in buckets]


@st.composite
def points(draw: st.DrawFn) -> list[Point]:
    times = sorted(draw(st.sets(st.integers(0, 2000), max_size=60)))
    return [
        Point(one * S, draw(st.floats(-1e6, 1e6)), draw(st.booleans())) for one in times
    ]  # fmt: skip


@given(points(), st.integers(0, 1000), st.integers(1, 1500), st.integers(1, 1000))
def test_a_course_is_what_was_there(values: list[Point], begin: int, length: int, most: int) -> None:
    since, until = begin * S, (begin + length) * S
    found = course(values, since, until, NOW, most)
    inside = [one for one in values if since <= one.at < until]
    told = [one for one in found.buckets if one.last is not None]
    assert len(told) <= most + sum(one.last is None for one in found.buckets)
    assert [one.at for one in found.buckets] == sorted(one.at for one in found.buckets)
    assert {(one.at, one.last) for one in told} <= {(one.at, one.value) for one in inside}
    if inside:
        assert told[-1].last == inside[-1].value
        assert min(one.least for one in told if one.least is not None) == min(one.value for one in inside)
        assert max(one.most for one in told if one.most is not None) == max(one.value for one in inside)
    else:
        assert found.buckets == []
    assert any(one.manual for one in told) == any(one.manual for one in inside)
    for one in told:
        assert one.least is not None
        assert one.most is not None
        assert one.last is not None
        assert one.least <= one.last <= one.most


@given(points(), st.integers(1, 1000))
def test_every_long_silence_is_a_gap_and_no_short_one(values: list[Point], most: int) -> None:
    since, until = 0, 2001 * S
    found = course(values, since, until, NOW, most)
    distances = [after.at - before.at for before, after in itertools.pairwise(values)]
    longest = max(GAP * int(median(distances)) if distances else 0, -(-until // most))
    ends = [*(one.at for one in values[1:]), until][: len(values)]
    wanted = [before.at for before, end in zip(values, ends, strict=True) if end - before.at > longest]
    begins = [
        before.at
        for before, after in itertools.pairwise(found.buckets)
        if after.last is None and before.last is not None
    ]
    assert begins == wanted
    assert not any(before.last is after.last is None for before, after in itertools.pairwise(found.buckets))


def test_a_gap_begins_where_the_next_value_would_have_been() -> None:
    found = course(at(0, 10, 20, 30, 100, 110, 120), 0, 121 * S, 121 * S, 1000)
    assert shown(found.buckets) == [
        (0, 0), (10, 10), (20, 20), (30, 30), (40, None), (100, 100), (110, 110), (120, 120),
    ]  # fmt: skip
    assert found.every == 10 * S


def test_the_end_is_a_gap_when_it_is_long_ago() -> None:
    assert shown(course(at(0, 10, 20), 0, 100 * S, NOW, 100).buckets)[-1] == (30, None)
    assert shown(course(at(0, 10, 20), 0, 100 * S, 45 * S, 100).buckets)[-1] == (20, 20)  # the rest is still to come


def test_values_for_an_interval_last_as_long_as_it() -> None:
    def price(begin: int, value: float) -> Point:
        return Point(begin * S, value, False, (begin + 900) * S)

    quarter = [price(0, 50.0), price(900, 60.0), price(2700, 70.0)]
    found = course(quarter, 0, 3600 * S, 3000 * S, 100)
    assert shown(found.buckets) == [(0, 50.0), (900, 60.0), (1800, None), (2700, 70.0)]
    assert found.every == 900 * S
    later = course(quarter, 450 * S, 3600 * S, 3000 * S, 100)
    assert shown(later.buckets)[0] == (0, 50.0)  # it still counts when the time begins


def test_many_values_of_a_bucket_are_least_most_and_last() -> None:
    values = [Point(one * S, value) for one, value in enumerate((5.0, 9.0, 1.0, 4.0))]
    (bucket,) = course(values, 0, 10 * S, 4 * S, 1).buckets
    assert bucket == (3 * S, 1.0, 9.0, 4.0, False)


# ---- rows ---------------------------------------------------------------------------------------------------------


def row(payload: object, fields: object | None = None, **more: object) -> Kept:
    given: dict[str, object] = {
        "at": 5 * S, "received_at": 6 * S, "wire": "a.out", "source": "a", "origin": "automatic", "quality": "good",
    }  # fmt: skip
    encoded = {"payload": msgspec.json.encode(payload), "fields": msgspec.json.encode(fields or {})}
    return Kept(**(given | encoded | more))  # type: ignore[arg-type]  # plain values of a test


@pytest.mark.parametrize(
    ("kept", "point"),
    [
        (row({"x": 3}), Point(5 * S, 3.0)),
        (row({"x": 3, "y": {"deep": [1]}}), Point(5 * S, 3.0)),
        (row({"x": 3}, {"x": {"at": 2 * S}}), Point(2 * S, 3.0)),  # a record repeats what it knows
        (row({"x": 3}, {"x": {"origin": "manual"}}), Point(5 * S, 3.0, True)),
        (row({"x": 3}, origin="manual"), Point(5 * S, 3.0, True)),
        (row({"x": 3}, {"x": {"origin": "automatic"}}, origin="manual"), Point(5 * S, 3.0)),
        (row({"x": 3}, {"x": {"valid_from": 7 * S, "valid_until": 9 * S}}), Point(7 * S, 3.0, False, 9 * S)),
        (row({"x": 3}, {"x": {"valid_until": 9 * S}}), Point(5 * S, 3.0)),
        (row({"x": 3}, {"y": {"quality": "bad"}}), Point(5 * S, 3.0)),
        (row({"x": 3}, {"x": {"quality": "bad"}}), None),
        (row({"x": 3}, quality="bad"), None),
        (row({"y": 3}), None),
        (row({"x": None}), None),
        (row({"x": "3"}), None),
        (row({"x": True}), None),
        (row([3]), None),
        (row(3), None),
        (row("x"), None),
    ],
)
def test_a_row_is_a_value_where_it_holds_one(kept: Kept, point: Point | None) -> None:
    reader = Reader("x")
    reader.take(kept)
    assert reader.points() == ([] if point is None else [point])


def test_a_message_that_is_no_record_is_its_own_value() -> None:
    reader = Reader("value")
    reader.take(row(3.5))
    reader.take(row({"value": 4}, at=9 * S))
    reader.take(row("text", at=10 * S))
    assert [one.value for one in reader.points()] == [3.5, 4.0]


def test_a_value_that_rows_repeat_counts_once() -> None:
    reader = Reader("x")
    for second in (5, 6, 7):
        reader.take(row({"x": 3}, {"x": {"at": 2 * S, "unit": "MW"}}, at=second * S))
    assert reader.points() == [Point(2 * S, 3.0)]
    assert reader.unit == "MW"
