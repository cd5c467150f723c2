"""Of the simulated exchange with anything as input: never an error inside, nothing stored when refused, volume kept."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.exchange.simulator import Fault, Faults
from flowrunner.exchange.simulator.book import LEVEL_MWH, LEVELS, Book
from flowrunner.exchange.simulator.faults import FAULTS
from tests.exchange.simulated import MINUTE, Venue, order

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "market": st.sampled_from(["AT", "DE", "at", ""]),
    "delivery_start": st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(lambda one: one.isoformat()),
    "delivery_end": st.datetimes(timezones=st.timezones()).map(lambda one: one.isoformat()),
    "side": st.sampled_from(["BUY", "SELL", "sell"]),
    "quantity_mwh": st.floats() | st.integers(),
    "limit_price_eur_mwh": st.floats() | st.integers(),
    "order_type": st.sampled_from(["LIMIT", "MARKET", "STOP"]),
    "time_in_force": st.sampled_from(["GFD", "IOC", "FOK", "GTC"]),
    "client_order_id": st.text(max_size=5),
}
CHANGES = st.fixed_dictionaries({}, optional={name: VALUES | likely for name, likely in LIKELY.items()})
PRICES = st.none() | st.floats(-500, 4000)
SIDES = st.sampled_from(["BUY", "SELL"])
QUANTITIES = st.floats(0.001, 30)


@given(
    character=st.sampled_from(["plain", "good"]),
    price=PRICES,
    bodies=st.lists(VALUES | CHANGES.map(lambda c: order() | c)),
)
def test_any_body_is_answered_and_only_200_stores(character: Any, price: float | None, bodies: list[Any]) -> None:
    venue = Venue(character)
    venue.price = price
    for body in bodies:
        before = len(venue.accepted)
        answer = venue.exchange.place(body)
        assert answer.status in (200, 409, 422)
        assert len(venue.accepted) - before == (answer.status == 200)
        msgspec.json.encode(answer.body)
        if answer.status == 422:
            assert isinstance(answer.body, dict)
            details: Any = answer.body["detail"]
            assert details
            assert all(set(one) == {"loc", "msg", "type"} for one in details)
    listed = venue.exchange.orders().body
    assert isinstance(listed, list)
    assert len(listed) == min(len(venue.accepted), 100)


@given(body=VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(("soc_percent", "temperature_c"), VALUES)))
def test_any_telemetry_is_answered(body: Any) -> None:
    venue = Venue("plain")
    answer = venue.exchange.telemetry(body)
    assert answer.status == 422
    assert venue.exchange.reported is None


@given(
    mark=st.floats(-500, 4000),
    wanted=st.lists(st.tuples(SIDES, QUANTITIES, st.none() | st.floats(-600, 5000), st.booleans())),
)
def test_a_book_gives_no_more_than_it_has_at_no_worse_price_the_best_first(mark: float, wanted: list[Any]) -> None:
    book = Book()
    book.refresh(mark, 0)
    given_mwh = {"BUY": 0.0, "SELL": 0.0}
    for side, quantity, limit, whole in wanted:
        fills = book.take(side, quantity, limit, whole=whole)
        total = sum(fill.quantity_mwh for fill in fills)
        assert all(fill.quantity_mwh > 0 for fill in fills)
        assert total <= quantity + 1e-9
        if whole:
            assert not fills or math.isclose(total, quantity)
        prices = [fill.price_eur_mwh for fill in fills]
        if limit is not None:
            assert all(price <= limit if side == "BUY" else price >= limit for price in prices)
        assert prices == sorted(prices, reverse=side == "SELL")
        given_mwh[side] += total
    assert all(total <= LEVELS * LEVEL_MWH + 1e-9 for total in given_mwh.values())
    left = book.shown()
    for side, rows in (("BUY", left["asks"]), ("SELL", left["bids"])):
        assert isinstance(rows, list)
        there = sum(row[1] for row in rows if isinstance(row, list))
        assert math.isclose(there + given_mwh[side], LEVELS * LEVEL_MWH)


@given(
    steps=st.lists(
        st.tuples(SIDES, QUANTITIES, st.floats(40, 60), st.sampled_from(["GFD", "IOC", "FOK"]), st.floats(40, 60)),
        max_size=20,
    )
)
def test_volume_is_conserved_and_limits_are_kept_whatever_the_mark_does(steps: list[Any]) -> None:
    venue = Venue("good")
    for number, (side, quantity, limit, force, mark) in enumerate(steps):
        venue.price = mark
        venue.now += MINUTE // 4
        body = order(side=side, quantity_mwh=quantity, limit_price_eur_mwh=limit, time_in_force=force)
        body |= {
            "client_order_id": str(number),
            "delivery_start": "2026-03-02T13:00Z",
            "delivery_end": "2026-03-02T13:15Z",
        }
        assert venue.exchange.place(body).status == 200
    for number, taken in enumerate(venue.accepted):
        view: Any = venue.exchange.find(str(number)).body
        filled = sum(one.quantity_mwh for one in venue.traded if one.order is taken)
        assert math.isclose(view["filled_mwh"], filled, abs_tol=1e-9)
        assert 0 <= filled <= taken.quantity_mwh + 1e-9
        assert (view["status"] == "FILLED") == math.isclose(filled, taken.quantity_mwh)
        if taken.time_in_force == "FOK":
            assert view["status"] in ("FILLED", "CANCELLED")
            assert filled == 0 or math.isclose(filled, taken.quantity_mwh)
        if taken.time_in_force == "IOC":
            assert view["status"] in ("FILLED", "CANCELLED")
    for trade in venue.traded:
        limit = trade.order.limit_price_eur_mwh
        assert trade.price_eur_mwh <= limit if trade.order.side == "BUY" else trade.price_eur_mwh >= limit


@given(
    st.lists(
        st.tuples(st.sampled_from([name for name in FAULTS if name != "clock"]), st.none() | st.integers(1, 3)),
        max_size=5,
    )
)
def test_each_fault_strikes_in_turn_as_often_as_armed(armed: list[tuple[str, int | None]]) -> None:
    faults = Faults()
    expected: list[str] = []
    for name, times in armed:
        faults.arm(name, times=times, on="prices")
    for name, times in armed:
        expected += [name] * (times or 20)
        if times is None:
            break
    struck: list[Fault | None] = []
    for _ in expected:
        fault = faults.next("prices")
        struck.append(fault)
        if fault is not None:
            faults.spend(fault)
    assert [fault.name for fault in struck if fault is not None] == expected
    assert faults.next("orders") is None
