"""The law of live orders: what may be sent at an instant and what must be true afterwards. It knows no nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal
from zoneinfo import ZoneInfo

from flowrunner.market import Slot, day_of
from flowrunner.message import Instant
from flowrunner.units import SECOND, iso
from tests.orders.believed import Asked, Model

VIENNA = ZoneInfo("Europe/Vienna")
CAPACITY_MWH, MIN_SOC, MAX_SOC, EFFICIENCY = 3.0, 5.0, 95.0, 0.9
POSITION_MWH, PER_DAY = 3.0, 6
"""What the stories' flow is limited to; less than the battery's own, so that a story meets it."""
Fate = Literal["sending", "not-sent", "answered", "lost"]
"""Of one attempt: under way; the exchange has it not, for sure; it said what it did with it; nobody knows."""


@dataclass
class Taken:
    """An order at the exchange: ours where it has an id of ours."""

    order_id: str
    id: str
    side: str
    slot: Slot
    quantity_mwh: float
    price: float
    at: Instant
    open: bool = True
    filled_mwh: float = 0.0

    @property
    def committed_mwh(self) -> float:
        return self.quantity_mwh if self.open else self.filled_mwh


@dataclass
class Law:
    """``models``: what the flow may have heard; more than one after a crash, which may take back the last second."""

    models: list[Model] = field(default_factory=lambda: [Model()])
    live: bool = True
    stopped: bool = True
    """A new journal starts so."""
    apart: bool = False
    """Whether the exchange's clock and ours are too far from each other."""
    shown_at: Instant | None = None
    """When this run of the program first got to see the exchange's clock, in true time."""
    latest: Instant = 0
    """What the journal has seen since a person last said that all is well."""
    taken: list[Taken] = field(default_factory=list)
    tries: dict[tuple[str, Slot], Fate] = field(default_factory=dict)
    """Side and slot → what became of the last attempt."""
    first: dict[tuple[str, Slot], Instant] = field(default_factory=dict)
    """When it was first sent."""
    waiting: dict[tuple[str, Slot], tuple[Asked, Instant]] = field(default_factory=dict)
    """What this run of the program decided, and until when what it rests on holds."""
    unclear: set[tuple[str, Slot]] = field(default_factory=set)
    """Whose fate nobody knows."""
    by_hand: set[str] = field(default_factory=set)
    """Ids that a person decided, right or wrong."""

    # ---- before the first byte ------------------------------------------------------------------------------

    def judge(self, order: Asked, now: Instant, true: Instant) -> None:
        """AssertionError where the order must not be sent now. ``true``: the time as it is."""
        identity = order.side, order.slot
        assert self.live, "it is sent in paper mode"
        assert not self.stopped, "it is sent while trading is stopped"
        assert order.slot.start - now > 300 * SECOND, "its gate has closed"
        fate = self.tries.get(identity, "not-sent")
        assert fate == "not-sent", f"it is sent a second time; the first time: {fate}"
        other = ("SELL" if order.side == "BUY" else "BUY", order.slot)
        assert self.tries.get(other, "not-sent") == "not-sent", "the other side of this slot was sent"
        lost = self.unclear - {identity}
        assert not lost, f"it is sent while nobody knows of {lost}"
        assert self.latest - now <= 5 * SECOND, "it is sent at a time that was before"
        assert not self.apart or self.shown_at is None or self.shown_at >= true, "the clocks are apart"
        again = identity in self.waiting
        if again:
            self._again(order, now)
        else:
            self._anew(order, now)
        self.first.setdefault(identity, now)
        self._limits(order, now)

    def _anew(self, order: Asked, now: Instant) -> None:
        why = [self._why_not(model, order, now) for model in self.models]
        assert "" in why, " / ".join(why)
        self.waiting[order.side, order.slot] = order, self.models[why.index("")].holds_until(now)

    def _again(self, order: Asked, now: Instant) -> None:
        """The first time not one byte had left, or it was too much at once. By what is known now it must be allowed,
        too, and what it was decided on must hold yet."""
        before, until = self.waiting[order.side, order.slot]
        assert order == before, "it is not the same order"
        assert until, "it should never have been decided"
        assert now < until, f"what it was decided on held until {iso(until)}"
        why = [self._why_not(model, order, now, again=True) for model in self.models]
        assert "" in why, f"again: {' / '.join(why)}"

    def _why_not(self, model: Model, order: Asked, now: Instant, *, again: bool = False) -> str:
        model.look(now)
        try:
            model.judge(order, now, again=again)
        except AssertionError as error:
            return str(error)
        return ""

    def listen(self, now: Instant, decided: Iterable[Asked]) -> None:
        """After something was said: heat is remembered, and an order that is decided and waits rests on newer values
        where it would be made again."""
        for model in self.models:
            model.look(now)
        for order in decided:
            self.waiting.setdefault((order.side, order.slot), (order, 0))
        for identity, (order, until) in self.waiting.items():
            ends = [model.holds_until(now) for model in self.models if not self._why_not(model, order, now, again=True)]
            self.waiting[identity] = order, max([until, *ends])

    def forget_waiting(self) -> None:
        """The program ends: what waits to be sent waits no more."""
        self.waiting.clear()

    def _limits(self, order: Asked, now: Instant) -> None:
        """By what is at the exchange, not by what our journal says."""
        ours = [one for one in self.taken if one.id]
        today = day_of(now, VIENNA)
        sent_today = {one for one, at in self.first.items() if today.covers(at)}
        assert len(sent_today) <= PER_DAY, "too many today"
        day = day_of(order.slot.start, VIENNA)
        before = sum(_signed(one.side, one.committed_mwh) for one in ours if day.covers(one.slot.start))
        after = before + _signed(order.side, order.quantity_mwh)
        assert abs(after) <= max(POSITION_MWH, abs(before)) + 1e-9, f"the day's position becomes {after}"
        assert any(self._fits(model, order, now, ours) for model in self.models), "it does not fit into the battery"

    def _fits(self, model: Model, order: Asked, now: Instant, ours: list[Taken]) -> bool:
        counted = model.counts("soc_percent", now)
        if counted is None:
            return False
        source, soc = counted
        at = model.said[source, "soc_percent"][1]
        total = order.quantity_mwh + sum(
            one.committed_mwh * max(one.slot.end - max(at, one.slot.start), 0) / (one.slot.end - one.slot.start)
            for one in ours
            if one.side == order.side
        )
        if order.side == "SELL":
            return soc - total / EFFICIENCY / CAPACITY_MWH * 100 >= MIN_SOC - 1e-6
        return soc + total * EFFICIENCY / CAPACITY_MWH * 100 <= MAX_SOC + 1e-6

    # ---- afterwards -----------------------------------------------------------------------------------------

    def check(self, states: dict[str, str], likeness: set[str]) -> None:
        """``states``: what the journal says of each live order; ``likeness``: of which it says that it found one like
        it, and an order of somebody else may be that."""
        ours = [one for one in self.taken if one.id]
        assert len({(one.side, one.slot) for one in ours}) == len(ours), "one identity, two orders at the exchange"
        assert len({one.slot for one in ours}) == len(ours), "both sides of one slot at the exchange"
        there = {one.id for one in ours}
        for one in ours:
            state = states.get(one.id, "absent")
            assert state not in ("absent", "intent", "expired", "paper"), f"the journal says of one there: {state}"
            assert state != "rejected" or one.id in self.by_hand, "the journal says rejected, and it is there"
        for name, state in states.items():
            if state in ("accepted", "partly-filled", "filled", "unfilled") and name not in self.by_hand | likeness:
                assert name in there, f"the journal says {state}, and it is not there"


def crashed(before: Iterable[Model], now: Iterable[Model], *, mixed: bool) -> list[Model]:
    """What may be left of what was heard: all of it, or what had been heard a second ago; but that it is hot is on the
    disk at once. ``mixed``: of several writes some may have failed."""
    before, now = list(before), list(now)
    if mixed:
        possible = [replace(one, hot_at=other.hot_at) for one in before + now for other in before + now]
    else:
        hot_at = min((one.hot_at for one in now if one.hot_at is not None), default=None)
        possible = [replace(one, hot_at=hot_at) if one.hot_at is None else one for one in before] + now
    different: list[Model] = []
    for one in possible:
        if one not in different:
            different.append(one)
    return different


def _signed(side: str, mwh: float) -> float:
    return mwh if side == "BUY" else -mwh
