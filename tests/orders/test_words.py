"""What follows from what an exchange says of an order: nothing is taken back, nothing is believed that was not said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.exchange import Told
from flowrunner.orders import Order
from flowrunner.orders.words import contradicts, heard, together
from tests.orders.venue import an_order

MWH = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])
WORDS = st.builds(Told, exchange_id=st.just("x1"), status=st.just("S"), filled_mwh=st.none() | MWH, ended=st.booleans())


def _after(order: Order, told: Told) -> Order:
    follows = heard(order, told)
    if follows is None:
        return order
    state, filled, left = follows
    return msgspec.structs.replace(order, state=state, filled_mwh=filled, open_mwh=left)


@given(st.lists(WORDS, max_size=8))
def test_whatever_is_heard_nothing_traded_is_taken_back(words: list[Told]) -> None:
    order = an_order(state="accepted")
    for told in words:
        before, order = order, _after(order, told)
        assert before.filled_mwh <= order.filled_mwh
        assert order.open_mwh in (0.0, pytest.approx(1.0 - order.filled_mwh))
        assert before.open_mwh >= order.open_mwh
        assert (order.state == "filled") == (order.filled_mwh == 1.0)
        assert (order.state == "unfilled") == (order.filled_mwh == 0 and order.open_mwh == 0)
        assert heard(order, told) is None  # the same again is no news
    if order.state != "unfilled":
        assert order.filled_mwh == max((one.filled_mwh or 0.0 for one in words), default=0.0)


@given(WORDS, WORDS)
def test_two_words_that_came_early_say_together_what_they_say_one_after_the_other(one: Told, other: Told) -> None:
    order = an_order(state="accepted")
    apart, at_once = _after(_after(order, one), other), _after(order, together(one, other))
    if apart.state != "unfilled":  # then what came second counted for nothing
        assert (at_once.state, at_once.filled_mwh, at_once.open_mwh) == (apart.state, apart.filled_mwh, apart.open_mwh)


@pytest.mark.parametrize(
    "state", ["intent", "sending", "unknown", "rejected", "expired", "filled", "unfilled", "paper"]
)
def test_only_of_what_was_accepted_anything_is_heard(state: Any) -> None:
    assert heard(an_order(state=state), Told(exchange_id="x1", filled_mwh=1.0, ended=True)) is None


@pytest.mark.parametrize(
    ("state", "mode", "filled", "expected"),
    [
        ("rejected", "live", None, True), ("expired", "live", 0.0, True), ("expired", "paper", 1.0, False),
        ("unfilled", "live", None, False), ("unfilled", "live", 0.1, True), ("filled", "live", 2.0, False),
        ("unknown", "live", 1.0, False), ("sending", "live", 1.0, False), ("accepted", "live", 1.0, False),
    ],
)  # fmt: skip
def test_what_cannot_be_by_what_the_journal_says(state: Any, mode: Any, filled: float | None, expected: bool) -> None:
    told = Told(exchange_id="x9", filled_mwh=filled)
    assert contradicts(an_order(state=state, mode=mode), told) is expected
