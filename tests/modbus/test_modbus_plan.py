"""Requests cover every register once, are never too long, and never tear a value."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.modbus import Register, Request, plan, split
from flowrunner.modbus.plan import MAX_BITS

tables: st.SearchStrategy[Any] = st.sampled_from(["holding", "input", "coil", "discrete"])


@st.composite
def registers(draw: st.DrawFn) -> Register:
    table = draw(tables)
    address = draw(st.one_of(st.integers(0, 60), st.integers(0, 4000), st.just(65500)))
    if table in ("coil", "discrete"):
        return Register(table=table, address=address, type="bool")
    type_: Any = draw(st.sampled_from(["int16", "float32", "uint64", "string", "bits"]))
    return Register(
        table=table, address=address, type=type_, count=draw(st.integers(1, 8)) if type_ == "string" else None
    )


maps = st.lists(registers(), max_size=30).map(lambda found: {f"r{n}": register for n, register in enumerate(found)})


def covers(requests: list[Request], wanted: dict[str, Register]) -> None:
    names = [name for request in requests for name in request.names]
    assert sorted(names) == sorted(wanted), "every register exactly once"
    for request in requests:
        for span in request.spans:
            register = wanted[span.name]
            assert (request.table, span.start, span.count) == (register.table, register.start, register.size)
            assert request.start <= span.start, "whole"
            assert span.end <= request.end, "whole"


@given(maps, st.integers(0, 40), st.integers(8, 125))
def test_a_plan(wanted: dict[str, Register], gap: int, longest: int) -> None:
    requests = plan(wanted, gap, longest)
    covers(requests, wanted)
    for request in requests:
        assert 1 <= request.count <= (MAX_BITS if request.table in ("coil", "discrete") else longest)
        end = request.start
        for span in request.spans:
            assert span.start - end <= gap, "no more than the stated gap is read in vain"
            end = max(end, span.end)
    for one, next_ in itertools.pairwise(requests):
        if one.table == next_.table:  # merging is worth while: neighbours that could be one request are one
            most = MAX_BITS if one.table in ("coil", "discrete") else longest
            assert next_.start - one.end > gap or next_.spans[0].end - one.start > most


@given(maps)
def test_splitting_ends_with_whole_values_alone(wanted: dict[str, Register]) -> None:
    waiting, done = plan(wanted), []
    while waiting:
        request = waiting.pop()
        pieces = split(request)
        assert sorted(name for piece in pieces for name in piece.names) == sorted(request.names)
        if len(pieces) > 1:
            assert all(len(piece.spans) < len(request.spans) for piece in pieces)
            waiting += pieces
        else:
            assert len({(span.start, span.count) for span in request.spans}) == 1
            done.append(request)
    covers(done, wanted)


def r(address: int, type: Any = "uint16", **options: Any) -> Register:  # noqa: A002
    return Register(address=address, type=type, **options)


def shape(requests: list[Request]) -> list[tuple[int, int]]:
    return [(request.start, request.count) for request in requests]


def test_the_first_users_three_registers_are_one_request() -> None:
    assert shape(plan({"soc": r(0), "power": r(1, "int16"), "temperature": r(2, "int16")})) == [(0, 3)]


def test_the_gap_is_stated() -> None:
    two = {"a": r(0), "b": r(9)}
    assert shape(plan(two, merge_gap=8)) == [(0, 10)]
    assert shape(plan(two, merge_gap=7)) == [(0, 1), (9, 1)]


def test_a_value_is_never_torn_at_the_limit() -> None:
    wide = {f"r{address}": r(address, "uint64") for address in range(0, 128, 4)}
    assert shape(plan(wide)) == [(0, 124), (124, 4)]


def test_address_base_one() -> None:
    assert shape(plan({"a": r(1, address_base=1)})) == [(0, 1)]


def test_a_value_longer_than_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="text takes 20 registers; a request may have 10 at most"):
        plan({"text": r(0, "string", count=20)}, max_registers=10)


def test_split_first_without_gaps_then_value_by_value() -> None:
    (merged,) = plan({"a": r(0), "b": r(1, "int32"), "low": r(6, bit=0), "high": r(6, bit=1)})
    assert shape([merged]) == [(0, 7)]
    pieces = split(merged)
    assert shape(pieces) == [(0, 3), (6, 1)]
    assert shape(split(pieces[0])) == [(0, 1), (1, 2)]
    assert split(pieces[1]) == [pieces[1]], "two bits of one register are one read"


def test_a_value_inside_another_does_not_shorten_the_request() -> None:
    wide = {"wide": r(0, "uint64"), "inner": r(1)}
    assert shape(plan(wide)) == [(0, 4)]
    assert shape(plan(wide | {"next": r(12)}, merge_gap=8)) == [(0, 13)]


def test_overlapping_values_of_different_size_stay_together_until_refused() -> None:
    (merged,) = plan({"both": r(0, "int32"), "upper": r(0), "lower": r(1)})
    assert shape([merged]) == [(0, 2)]
    assert sorted(shape(split(merged))) == [(0, 1), (0, 2), (1, 1)]
