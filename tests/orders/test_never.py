"""Whatever happens, in whatever order: what an order of the battery's flow must never be, by a small model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.market import Slot, day_of
from flowrunner.testing import Rig
from tests.flows.test_bess_trading import journal, play
from tests.orders.believed import CALM, FIELDS, Asked, Model, tell, waits, words

steps = st.one_of(words, waits, st.tuples(st.just("restart")))


class Story:
    """``orders``: how many there are."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.model = Model()
        self.orders = 0

    async def do(self, *step: Any) -> None:
        if step == ("restart",):
            await self.rig.restart()
        else:
            assert await tell(self.rig, [self.model], step)
        self.check()

    def check(self) -> None:
        """After each step: every new order is one that may be, and all together keep the limits."""
        rig = self.rig
        self.model.look(rig.now)
        orders = journal(rig).orders(limit=1000)[::-1]
        for order in orders[self.orders :]:
            slot = Slot(order.delivery_start, order.delivery_end)
            self.model.judge(Asked(order.side, slot, order.quantity_mwh, order.limit_price_eur_mwh), rig.now)
            found = journal(rig).story(order.id)
            assert found is not None
            steps = found[1]
            assert [one["state"] for one in steps] == ["intent", "paper"]
            decision = steps[0]["detail"]
            assert len(decision["clauses"]) == 2
            assert all(one["outcome"] for one in decision["clauses"])
            assert set(decision["inputs"]) == {*FIELDS, "price_eur_mwh"}
            assert all(not one["stale"] and one["quality"] == "good" for one in decision["inputs"].values())
        assert len(orders) >= self.orders, "the journal forgets nothing"
        self.orders = len(orders)
        assert len({(one.market, one.delivery_start) for one in orders}) == len(orders), "one order for each slot"
        sent = [one["order"] for one in rig.payloads("exchange")]
        assert sorted(sent) == sorted(one.id for one in orders), "each leaves once"
        for order in orders:
            day = day_of(order.delivery_start, rig.worker("guard").ctx.zone)
            net = [
                one.quantity_mwh * (1 if one.side == "BUY" else -1) for one in orders if day.covers(one.delivery_start)
            ]
            assert abs(sum(net)) <= 10


def hold(sequence: list[tuple[Any, ...]]) -> None:
    async def play_it(rig: Rig) -> None:
        story = Story(rig)
        for step in sequence:
            await story.do(*step)
        before = story.orders
        await story.do("wait", 900)
        for _ in range(12):
            await story.do("modbus", CALM, None)
            await story.do("wait", 30)
        await story.do("price", 50, 0, 0)
        await story.do("modbus", CALM, None)
        full = len(journal(rig).refusals()) and journal(rig).refusals()[0].reason == "position"
        assert story.orders == before + 1 or full, "and when all is well it trades"

    play(play_it)


@settings(max_examples=15)
@given(st.lists(steps, max_size=20))
def test_whatever_happens(sequence: list[tuple[Any, ...]]) -> None:
    hold(sequence)


@pytest.mark.slow  # a minute: longer stories, many more of them
@settings(max_examples=150)
@given(st.lists(steps, max_size=40))
def test_whatever_happens_for_longer(sequence: list[tuple[Any, ...]]) -> None:
    hold(sequence)
