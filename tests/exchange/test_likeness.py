"""An order looked for in a list without our ids: the whole table, and the one thing that must never happen."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.exchange import Found
from flowrunner.exchange.likeness import SHOWN, Row, Unreadable, is_like, row, rows, search
from flowrunner.exchange.taken import KEPT, Taken
from flowrunner.units import SECOND, iso
from tests.exchange.desk import ticket
from tests.exchange.simulated import NOON

SENT = NOON
TIMEOUT = 10 * SECOND


def line(order_id: str = "theirs", at: float = 0.0, **changes: Any) -> Row:
    """A row like the order that is looked for, stamped ``at`` seconds after it was sent."""
    like: dict[str, Any] = {"market": "AT", "side": "BUY", "quantity_mwh": 1.0, "price": 60.0, "status": "ACCEPTED"}
    return Row(**(like | {"order_id": order_id, "at": SENT + round(at * SECOND)} | changes))


def others(count: int, oldest: float) -> list[Row]:
    return [line(f"other-{number}", oldest + number, market="DE") for number in range(count)]


def look(
    seen: list[Row], *, taken: tuple[str, ...] = (), since: float = 0.0, offset: float | None = 0.0, **changes: Any
) -> Found:
    return search(
        ticket(**changes),
        seen,
        sent_at=SENT,
        since=SENT + round(since * SECOND),
        timeout_ns=TIMEOUT,
        offset_ns=None if offset is None else round(offset * SECOND),
        taken=taken,
    )


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [-5.0, 0.0, 0.001, 10.0, 15.0])
def test_exactly_one_within_the_window_is_it(at: float) -> None:
    found = look([*others(3, -50), line("ours", at), line("long ago", -60)])
    assert found.meaning == "there"
    assert found.told is not None
    assert (found.told.exchange_id, found.told.status, found.told.ended) == ("ours", "ACCEPTED", False)
    assert found.reason.startswith("found by likeness, not by its own id")


@pytest.mark.parametrize(
    "unlike",
    [{"market": "DE"}, {"side": "SELL"}, {"quantity_mwh": 1.1}, {"price": 60.1}, {"price": None}, {"price": 0.0}],
)
def test_what_differs_is_not_it(unlike: dict[str, Any]) -> None:
    assert look([line(**unlike)]).meaning == "absent"


@pytest.mark.parametrize(("price", "like"), [(None, True), (0.0, True), (-0.0, True), (60.0, False)])
def test_an_order_without_a_limit_is_shown_with_none_or_with_zero(price: float | None, like: bool) -> None:
    assert is_like(ticket(limit_price_eur_mwh=None), line(price=price)) == like


def test_a_limit_of_zero_is_a_limit() -> None:
    assert is_like(ticket(limit_price_eur_mwh=0.0), line(price=0.0))
    assert not is_like(ticket(limit_price_eur_mwh=0.0), line(price=None))


def test_the_last_digit_of_a_float_does_not_matter() -> None:
    assert is_like(ticket(quantity_mwh=0.3, limit_price_eur_mwh=-45.5), line(quantity_mwh=0.1 + 0.2, price=-45.5))


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"limit_price_eur_mwh": 50.123456}, {"price": 50.12}),
        ({"limit_price_eur_mwh": -50.125}, {"price": -50.13}),
        ({"limit_price_eur_mwh": 60.05}, {}),
        ({"quantity_mwh": 0.3333333}, {"quantity_mwh": 0.333}),
        ({"quantity_mwh": 0.3333333, "limit_price_eur_mwh": 50.123456}, {"quantity_mwh": 0.33, "price": 50.1}),
        ({}, {"price": 47.5, "status": "FILLED"}),
        ({}, {"price": None, "status": "FILLED"}),
        ({}, {"price": 47.5, "status": "PARTIALLY_FILLED", "quantity_mwh": 1.005}),
        ({"limit_price_eur_mwh": None}, {"price": 47.5, "status": "FILLED"}),
    ],
)
def test_what_may_be_it_but_for_rounding_or_the_price_of_its_trade_is_unclear(
    sent: dict[str, Any], shown: dict[str, Any]
) -> None:
    found = look([line("near", 1, **shown)], **sent)
    assert (found.meaning, found.reason[:24]) == ("unclear", "one is nearly like it, a")
    assert look([line("near", 15.001, **shown)], **sent).meaning == "absent"  # of another time
    assert look([line("near", 1, **shown)], taken=("near",), **sent).meaning == "absent"
    assert look([line("near", 1, **shown | {"side": "SELL"})], **sent).meaning == "absent"
    assert look([line("near", 1, **shown | {"market": "DE"})], **sent).meaning == "absent"
    assert look([line("near", 1, **shown)], offset=600.0, **sent).meaning == "unclear"  # by our clock
    assert look([line("near", 500, **shown)], offset=None, **sent).meaning == "unclear"  # by whichever
    full = [*others(120, -50), line("near", 1, **shown)]
    assert look(full, **sent).meaning == "unclear"


@pytest.mark.parametrize(
    "unlike", [{"price": 60.06}, {"quantity_mwh": 1.011}, {"price": None}, {"quantity_mwh": 1.1, "status": "FILLED"}]
)
def test_what_no_rounding_explains_is_another(unlike: dict[str, Any]) -> None:
    assert look([line("other", 1, **unlike)]).meaning == "absent"


def test_one_that_is_exactly_like_it_is_it_beside_one_that_is_nearly() -> None:
    found = look([line("near", 1, price=60.01), line("ours", 1)])
    assert found.told is not None
    assert found.told.exchange_id == "ours"


def test_two_are_unclear_and_one_row_twice_is_one() -> None:
    found = look([line("a", 1), line("b", 2)])
    assert (found.meaning, found.reason) == ("unclear", "2 orders are like it: a, b")
    assert look([line("a", 1), line("a", 1)]).meaning == "there"


def test_other_orders_of_ours_are_not_this_one() -> None:
    assert look([line("a", 1), line("b", 2)], taken=("a",)).told == look([line("b", 2)]).told
    assert look([line("a", 1), line("b", 20)], taken=("a", "b")).meaning == "absent"


def test_one_that_came_later_is_unclear() -> None:
    found = look([line("late", 15.001)])
    assert (found.meaning, found.reason[:41]) == ("unclear", "one that looks like it came later: late o")


def test_one_from_long_before_is_another() -> None:
    assert look([line("before", -5.001)]).meaning == "absent"


@pytest.mark.parametrize(
    ("count", "oldest", "meaning"), [(99, 50.0, "absent"), (100, -5.0, "absent"), (100, -4.999, "unclear")]
)
def test_a_full_list_must_reach_back_far_enough(count: int, oldest: float, meaning: str) -> None:
    found = look(list(reversed(others(count, oldest))))
    assert found.meaning == meaning
    if meaning == "unclear":
        assert found.reason.startswith(f"the list does not reach back to {iso(SENT)}: its oldest order is of ")
        assert look(others(count, oldest), since=-10).meaning == "unclear"


@pytest.mark.parametrize(("status", "filled"), [("CANCELLED", None), ("FILLED", 1.0), ("REJECTED", 0.0)])
def test_an_ended_order_is_there_too(status: str, filled: float | None) -> None:
    found = look([line(status=status)])
    assert found.told is not None
    assert (found.told.ended, found.told.filled_mwh) == (True, filled)


# ---- clocks that differ ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-600.0, -7.0, 7.0, 600.0])
def test_the_window_moves_with_the_exchanges_clock(offset: float) -> None:
    assert look([line("ours", offset)], offset=offset).meaning == "there"


def test_stamps_that_fit_the_one_clock_or_the_other_are_unclear() -> None:
    """The Date is a proxy's, the stamps are the exchange's: absent must not follow from that."""
    found = look([line("ours", 0)], offset=600.0)
    assert (found.meaning, found.reason[:59]) == (
        "unclear",
        "one that looks like it is of a time that does not fit its c",
    )
    assert look([line("ours", 0)], offset=-600.0).meaning == "unclear"


def test_without_the_exchanges_clock_an_earlier_one_is_unclear_and_so_is_a_full_list() -> None:
    assert look([line("ours", -600)], offset=None).meaning == "unclear"
    assert look([line("ours", 1)], offset=None).meaning == "there"
    assert look(others(99, 0), offset=None).meaning == "absent"
    assert look(others(100, -1000), offset=None).meaning == "unclear"


def test_a_list_of_a_clock_behind_reaches_less_far_back() -> None:
    assert look(others(100, -30), offset=-60).meaning == "unclear"
    assert look(others(100, -65), offset=-60).meaning == "absent"
    assert look(others(100, -30), offset=60).meaning == "absent"


# ---- rows -----------------------------------------------------------------------------------------------------------

GOOD = {
    "order_id": "1", "side": "BUY", "quantity_mwh": 1.0, "price": 60.0, "market": "AT", "status": "ACCEPTED",
    "timestamp": "2026-03-02T12:00:00.000Z",
}  # fmt: skip


def test_a_row_is_read() -> None:
    assert row(GOOD) == line("1")
    assert row(GOOD | {"order_id": 7, "price": None, "more": 1}) == line("7", price=None)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"order_id": ""}, "order_id is no id"),
        ({"order_id": True}, "order_id is no id"),
        ({"order_id": 1.5}, "order_id is no id"),
        ({"market": None}, "market is no text"),
        ({"status": 1}, "status is no text"),
        ({"side": "buy"}, "side is neither BUY nor SELL"),
        ({"side": []}, "side is neither BUY nor SELL"),
        ({"quantity_mwh": "1.0"}, "quantity_mwh is no number"),
        ({"quantity_mwh": float("nan")}, "quantity_mwh is no number"),
        ({"price": True}, "price is no number"),
        ({"timestamp": "2026-03-02T12:00:00"}, "timestamp is no time with a zone"),
        ({"timestamp": 5}, "timestamp is no text"),
    ],
)
def test_a_row_that_cannot_be_read_makes_the_list_worthless(bad: dict[str, Any], why: str) -> None:
    with pytest.raises(Unreadable) as caught:
        rows([GOOD, GOOD | bad])
    assert str(caught.value) == f"its row 2 cannot be read: {why}"


@pytest.mark.parametrize("said", [None, {}, {"orders": []}, "[]", [None], [[]]])
def test_what_is_no_list_of_rows(said: Any) -> None:
    with pytest.raises(Unreadable):
        rows(said)


def test_only_the_newest_that_an_exchange_took_are_remembered() -> None:
    taken = Taken()
    for number in range(KEPT + 1):
        taken.note(str(number), SENT)
    assert taken.lacking([line(str(number)) for number in range(1, KEPT + 1)], 0) == ""
    assert taken.lacking([line("2")], 0) == "1"
    assert taken.lacking([], None) == "1"


# ---- properties -----------------------------------------------------------------------------------------------------

ROWS = st.builds(
    line,
    st.sampled_from([str(number) for number in range(8)]),
    st.floats(-40, 40),
    market=st.sampled_from(["AT", "AT", "DE"]),
    side=st.sampled_from(["BUY", "BUY", "SELL"]),
    price=st.sampled_from([60.0, 60.0, 0.0, None]),
)
CLOCKS = st.floats(-3600, 3600)


@given(st.lists(ROWS, max_size=130), st.booleans(), st.floats(0, 14.9), CLOCKS, st.floats(-1, 1), st.data())
def test_an_order_that_the_exchange_shows_is_never_called_absent(
    seen: list[Row], known: bool, after: float, clock: float, doubt: float, data: st.DataObject
) -> None:
    """Wherever it stands, whoever else trades, whatever the exchange's clock shows, as far as its Date tells."""
    seen.insert(data.draw(st.integers(0, len(seen))), line("ours", after + clock))
    found = look(seen, offset=clock + doubt if known else None, taken=("0", "1"))
    assert found.meaning != "absent"
    if found.meaning == "there":
        assert found.told is not None
        assert found.told.exchange_id not in ("0", "1")


@given(st.lists(ROWS, min_size=1, max_size=12), CLOCKS)
def test_a_full_list_is_believed_only_where_all_since_is_on_it(some: list[Row], clock: float) -> None:
    seen = list(islice(cycle(some), SHOWN))
    found = look(seen, offset=clock)
    if found.meaning == "absent":
        assert min(one.at for one in seen) <= SENT - 5 * SECOND
        assert not [one for one in seen if is_like(ticket(), one) and one.at >= SENT - 5 * SECOND]
