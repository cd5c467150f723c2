"""Whatever happens, in whatever order: what an order of the battery's flow must never be, by a small model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.market import Slot, day_of
from flowrunner.message import Instant
from flowrunner.orders import Order
from flowrunner.testing import Rig
from tests.flows.test_bess_trading import QUARTER, SECOND, journal, play, price, registers, slot

FRESH = 90 * SECOND
SOURCES = ("modbus", "mqtt", "rest", "manual")
FIELDS = ("soc_percent", "active_power_mw", "temperature_c")


@dataclass
class Model:
    """What the sources said last, and what of it an order may rest on. It knows no nodes."""

    said: dict[tuple[str, str], tuple[float, Instant, Instant]] = field(default_factory=dict)
    """Source and field → value, event time, arrival."""
    newest: dict[tuple[str, str], Instant] = field(default_factory=dict)
    price: tuple[float, Slot, Instant] | None = None
    hot_at: Instant | None = None
    orders: int = 0

    def hear(self, source: str, name: str, value: float | None, at: Instant, now: Instant) -> None:
        before = self.newest.get((source, name))
        if value is not None and before is not None and at < before and at != now:
            return  # what is older replaces nothing that the same source said
        self.newest[source, name] = at
        if value is None or at - now > 5 * SECOND:
            self.said.pop((source, name), None)
            self.newest.pop((source, name), None)  # a wrong clock holds back nothing
        else:
            self.said[source, name] = value, at, now

    def doubt(self, source: str, name: str, now: Instant) -> None:
        """A value that nobody may rest on; what is older than it does not come back for it."""
        self.said.pop((source, name), None)
        self.newest[source, name] = now

    def counts(self, name: str, now: Instant) -> tuple[str, float] | None:
        """Who counts and what it says: a person only where no sensor is fresh."""
        for source in SOURCES:
            if (source, name) in self.said:
                value, at, came = self.said[source, name]
                if source == "manual" or now < min(at, came) + FRESH:
                    return source, value
        return None

    def look(self, now: Instant) -> None:
        """Remember heat by the event time of what counts."""
        found = self.counts("temperature_c", now)
        if found is not None and found[1] > 40:
            self.hot_at = max(self.hot_at or 0, self.said[found[0], "temperature_c"][1])

    def judge(self, order: Order, now: Instant) -> None:
        """AssertionError where the order must not be."""
        found = {name: self.counts(name, now) for name in FIELDS}
        for name, one in found.items():
            assert one is not None, f"{name} is missing or stale"
            assert one[0] != "manual", f"{name} was typed"
        soc, power, temperature = (one[1] for one in found.values() if one is not None)
        assert temperature <= 40
        if self.hot_at is not None:
            assert now >= self.hot_at + 295 * SECOND, "too soon after it was hot"
        assert self.price is not None
        eur, own, fetched = self.price
        assert own == (order.delivery_start, order.delivery_end)
        assert order.delivery_start - now > 300 * SECOND, "its gate is open"
        assert now - fetched <= 600 * SECOND
        assert order.limit_price_eur_mwh == eur
        assert (soc < 30 and eur <= 60) if order.side == "BUY" else (soc > 70 and eur >= 120)
        assert order.quantity_mwh == (0.5 if abs(power) > 5 else 1.0)


def check(rig: Rig, model: Model) -> None:
    """After each step: every new order is one that may be, and all together keep the limits."""
    model.look(rig.now)
    orders = journal(rig).orders(limit=1000)[::-1]
    for order in orders[model.orders :]:
        model.judge(order, rig.now)
        found = journal(rig).story(order.id)
        assert found is not None
        steps = found[1]
        assert [one["state"] for one in steps] == ["intent", "paper"]
        decision = steps[0]["detail"]
        assert len(decision["clauses"]) == 2
        assert all(one["outcome"] for one in decision["clauses"])
        assert set(decision["inputs"]) == {*FIELDS, "price_eur_mwh"}
        assert all(not one["stale"] and one["quality"] == "good" for one in decision["inputs"].values())
    assert len(orders) >= model.orders, "the journal forgets nothing"
    model.orders = len(orders)
    assert len({(one.market, one.delivery_start) for one in orders}) == len(orders), "one order for each slot"
    sent = [one["order"] for one in rig.payloads("exchange")]
    assert sorted(sent) == sorted(one.id for one in orders), "each leaves once"
    for order in orders:
        day = day_of(order.delivery_start, rig.worker("guard").ctx.zone)
        net = [one.quantity_mwh * (1 if one.side == "BUY" else -1) for one in orders if day.covers(one.delivery_start)]
        assert abs(sum(net)) <= 10


values = st.fixed_dictionaries({
    "soc_percent": st.sampled_from([10, 20, 29.9, 30, 50, 70, 70.1, 80, 90]),
    "active_power_mw": st.sampled_from([0, 5, -5, 5.2, -5.2]),
    "temperature_c": st.sampled_from([25, 25, 25, 37.9, 38, 39, 40, 40.1, 45]),
})  # fmt: skip
seconds = st.sampled_from([0, 0, 0, 1, 4, 60, 89, 90, 91, 3600, -4, -6, -3600])
"""How old something is when it comes."""
steps = st.one_of(
    st.tuples(st.just("mqtt"), values, seconds),
    st.tuples(st.just("modbus"), values, st.sampled_from([None, *FIELDS])),
    st.tuples(st.just("part"), st.sampled_from(FIELDS), values),
    st.tuples(st.just("typed"), values),
    st.tuples(st.just("retained"), values),
    st.tuples(st.just("price"), st.sampled_from([-45.5, 0, 50, 60, 60.1, 119, 120, 200, None]),
              st.sampled_from([0, 0, 0, 0, -1, 1]), st.sampled_from([0, 0, 0, 599, 601])),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 30, 60, 89, 300, 600, 900, 7200])),
    st.tuples(st.just("restart")),
)  # fmt: skip


async def do(rig: Rig, model: Model, step: tuple[Any, ...]) -> None:
    now = rig.now
    match step:
        case ("mqtt", told, age):
            for name, value in told.items():
                model.hear("mqtt", name, value, now - age * SECOND, now)
            await rig.emit("mqtt", told, at=now - age * SECOND)
        case ("retained", told):
            for name in told:
                model.doubt("mqtt", name, now)
            await rig.emit("mqtt", told, quality="uncertain")
        case ("part", name, told):
            model.hear("mqtt", name, told[name], now, now)
            await rig.emit("mqtt", {name: told[name]})
        case ("modbus", told, nothing):
            raw = (told["soc_percent"] * 100, told["active_power_mw"] * 1000, told["temperature_c"] * 10)
            words = dict(zip(FIELDS, map(round, raw), strict=True))
            if nothing is not None:
                words[nothing] = 0xFFFF if nothing == "soc_percent" else 0x8000
            for name in FIELDS:
                model.hear("modbus", name, None if name == nothing else told[name], now, now)
            await registers(rig, *words.values())
        case ("typed", told):
            for name, value in told.items():
                model.hear("manual", name, value, now, now)
            await rig.enter("manual", told)
        case ("price", eur, shift, age):
            own = slot(rig)
            own = Slot(own.start + shift * QUARTER, own.end + shift * QUARTER)
            model.price = None if eur is None else (eur, own, now - age * SECOND)
            await price(rig, eur, own, now - age * SECOND)
        case ("wait", time):
            await rig.advance(f"{time}s")
        case ("restart",):
            await rig.restart()
    check(rig, model)


def hold(sequence: list[tuple[Any, ...]]) -> None:
    async def story(rig: Rig) -> None:
        model = Model()
        for step in sequence:
            await do(rig, model, step)
        before = model.orders
        await do(rig, model, ("wait", 900))
        calm = {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 25}
        for _ in range(12):
            await do(rig, model, ("modbus", calm, None))
            await do(rig, model, ("wait", 30))
        await do(rig, model, ("price", 50, 0, 0))
        await do(rig, model, ("modbus", calm, None))
        full = len(journal(rig).refusals()) and journal(rig).refusals()[0].reason == "position"
        assert model.orders == before + 1 or full, "and when all is well it trades"

    play(story)


@settings(max_examples=15)
@given(st.lists(steps, max_size=20))
def test_whatever_happens(sequence: list[tuple[Any, ...]]) -> None:
    hold(sequence)


@pytest.mark.slow  # a minute: longer stories, many more of them
@settings(max_examples=150)
@given(st.lists(steps, max_size=40))
def test_whatever_happens_for_longer(sequence: list[tuple[Any, ...]]) -> None:
    hold(sequence)
