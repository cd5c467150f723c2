"""What the sources of the battery's flow said, and which order may rest on it: a small model that knows no nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from flowrunner.market import Market, Slot
from flowrunner.message import Instant
from flowrunner.testing import Rig
from tests.flows.test_bess_trading import QUARTER, SECOND, price, registers

MARKET = Market(name="epex_at", slot_ns=QUARTER, gate_closure_ns=300 * SECOND)
FRESH, PRICE_FRESH = 90 * SECOND, 600 * SECOND
SOURCES = ("modbus", "mqtt", "rest", "manual")
FIELDS = ("soc_percent", "active_power_mw", "temperature_c")


class Asked(NamedTuple):
    """An order as far as the rules go. Energy in MWh, price in EUR/MWh."""

    side: str
    slot: Slot
    quantity_mwh: float
    price: float | None


@dataclass
class Model:
    """What the sources said last, and what of it an order may rest on."""

    said: dict[tuple[str, str], tuple[float, Instant, Instant]] = field(default_factory=dict)
    """Source and field → value, event time, arrival."""
    newest: dict[tuple[str, str], Instant] = field(default_factory=dict)
    price: tuple[float, Slot, Instant] | None = None
    hot_at: Instant | None = None

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

    def judge(self, order: Asked, now: Instant, *, again: bool = False) -> None:
        """AssertionError where the order must not be. ``again``: it was decided before and waits to be sent, when it
        may be for less than would be ordered now: its identity is taken, and less does no harm."""
        found = {name: self.counts(name, now) for name in FIELDS}
        for name, one in found.items():
            assert one is not None, f"{name} is missing or stale"
            assert one[0] != "manual", f"{name} was typed"
        soc, power, temperature = (one[1] for one in found.values() if one is not None)
        assert temperature <= 40, "it is hot"
        if self.hot_at is not None:
            assert now >= self.hot_at + 295 * SECOND, "too soon after it was hot"
        assert self.price is not None, "there is no price"
        eur, own, fetched = self.price
        assert own == order.slot, "the price is of another slot"
        assert order.slot.start - now > 300 * SECOND, "its gate has closed"
        assert now - fetched <= PRICE_FRESH, "the price is old"
        assert order.price == eur, "its price is not the slot's"
        assert (soc < 30 and eur <= 60) if order.side == "BUY" else (soc > 70 and eur >= 120), "no rule wants it"
        quantity = 0.5 if abs(power) > 5 else 1.0
        assert order.quantity_mwh == quantity or (again and order.quantity_mwh < quantity), "its quantity"

    def holds_until(self, now: Instant) -> Instant:
        """When the first of the values that count now runs out."""
        used = [self.said[found[0], name] for name in FIELDS if (found := self.counts(name, now)) is not None]
        price_ends = [self.price[2] + PRICE_FRESH] if self.price is not None else []
        return min([min(at, came) + FRESH for _, at, came in used] + price_ends, default=now)


CALM = {"soc_percent": 20, "active_power_mw": 0, "temperature_c": 25}
values = st.fixed_dictionaries({
    "soc_percent": st.sampled_from([10, 20, 29.9, 30, 50, 70, 70.1, 80, 90]),
    "active_power_mw": st.sampled_from([0, 5, -5, 5.2, -5.2]),
    "temperature_c": st.sampled_from([25, 25, 25, 37.9, 38, 39, 40, 40.1, 45]),
})  # fmt: skip
seconds = st.sampled_from([0, 0, 0, 1, 4, 60, 89, 90, 91, 3600, -4, -6, -3600])
"""How old something is when it comes."""
prices = st.tuples(
    st.just("price"), st.sampled_from([-45.5, 0, 50, 60, 60.1, 119, 120, 200, None]),
    st.sampled_from([0, 0, 0, 0, -1, 1]), st.sampled_from([0, 0, 0, 599, 601]),
)  # fmt: skip
waits = st.tuples(st.just("wait"), st.sampled_from([1, 30, 30, 60, 89, 300, 600, 900, 7200]))
words = st.one_of(
    st.tuples(st.just("mqtt"), values, seconds),
    st.tuples(st.just("modbus"), values, st.sampled_from([None, *FIELDS])),
    st.tuples(st.just("part"), st.sampled_from(FIELDS), values),
    st.tuples(st.just("typed"), values),
    st.tuples(st.just("retained"), values),
    prices,
)
"""What a source says: steps for `tell`."""


async def tell(rig: Rig, models: list[Model], step: tuple[Any, ...]) -> bool:
    """The models hear a step of ``words`` or ``waits`` and the flow then does. False: it is neither."""
    now = rig.now
    match step:
        case ("mqtt", told, age):
            for model in models:
                for name, value in told.items():
                    model.hear("mqtt", name, value, now - age * SECOND, now)
            await rig.emit("mqtt", told, at=now - age * SECOND)
        case ("retained", told):
            for model in models:
                for name in told:
                    model.doubt("mqtt", name, now)
            await rig.emit("mqtt", told, quality="uncertain")
        case ("part", name, told):
            for model in models:
                model.hear("mqtt", name, told[name], now, now)
            await rig.emit("mqtt", {name: told[name]})
        case ("modbus", told, nothing):
            raw = (told["soc_percent"] * 100, told["active_power_mw"] * 1000, told["temperature_c"] * 10)
            words = dict(zip(FIELDS, map(round, raw), strict=True))
            if nothing is not None:
                words[nothing] = 0xFFFF if nothing == "soc_percent" else 0x8000
            for model in models:
                for name in FIELDS:
                    model.hear("modbus", name, None if name == nothing else told[name], now, now)
            await registers(rig, *words.values())
        case ("typed", told):
            for model in models:
                for name, value in told.items():
                    model.hear("manual", name, value, now, now)
            await rig.enter("manual", told)
        case ("price", eur, shift, age):
            own = MARKET.delivery(now)
            own = Slot(own.start + shift * QUARTER, own.end + shift * QUARTER)
            for model in models:
                model.price = None if eur is None else (eur, own, now - age * SECOND)
            await price(rig, eur, own, now - age * SECOND)
        case ("wait", time):
            await rig.advance(f"{time}s")
        case _:
            return False
    return True
