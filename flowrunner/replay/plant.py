"""The battery in the loop: what it was asked for, what really flowed, and where the energy stayed."""

from __future__ import annotations

import msgspec

from flowrunner.battery import Battery, Schedule, Side, Site
from flowrunner.errors import FlowrunnerError
from flowrunner.message import Instant

HOUR = 3600 * 1_000_000_000
NEAR = 1e-6
"""Of power and of state of charge: that near a limit is at it."""
CLOSES = 1e-9
"""Relative to what has flowed: the energy balance must be that exact."""


class Account(msgspec.Struct):
    """Energy in MWh since the beginning, each figure summed up on its own."""

    bought: float = 0.0
    sold: float = 0.0
    """What flowed at the terminals for orders."""
    site: float = 0.0
    """What the site took (negative: what it gave)."""
    losses: float = 0.0
    """What the conversions took."""
    not_bought: float = 0.0
    not_sold: float = 0.0
    """Ordered, and did not flow."""
    from_cells: float = 0.0


class Limits(msgspec.Struct):
    """Hours in all, and at each limit."""

    hours: float = 0.0
    full_power: float = 0.0
    at_min_soc: float = 0.0
    at_max_soc: float = 0.0
    derated_by_heat: float = 0.0


class SlotFlow(msgspec.Struct):
    """What flowed in one delivery slot, and how full the battery was at its end."""

    start: Instant
    bought: float
    sold: float
    given: float
    """At the terminals in all: discharged minus charged."""
    from_cells: float
    soc_percent: float


class Plant:
    """``advance`` brings it to an instant, in spans in which nothing changes but the battery itself.

    What a limit of the battery takes away it takes from the orders that pull that way, and then from the site.
    ``soc_limits``: what counts as empty and full in ``limits``.
    """

    def __init__(
        self, battery: Battery, slot_ns: int, site: Site | None = None, soc_limits: tuple[float, float] = (0.0, 100.0)
    ) -> None:
        self.battery = battery
        self.account = Account()
        self.limits = Limits()
        self.slots: list[SlotFlow] = []
        self.stored_at_begin = battery.stored_mwh
        self._at = battery.at
        self._slot_ns = slot_ns
        self._slot_end = self._at - self._at % slot_ns + slot_ns
        self._pulls = {"BUY": Schedule(), "SELL": Schedule(), "site": Schedule(site)}
        self._change: Instant | None = None
        self._buys = self._sells = self._site = 0.0
        self._asked = False
        """Whether anybody wants anything; two may cancel each other out."""
        self._empty, self._full = soc_limits[0] + NEAR, soc_limits[1] - NEAR
        self._most = battery.settings.power_mw * (1 - NEAR)
        self._marks = (0.0, 0.0, 0.0, 0.0)
        """The account when the running slot began: bought, sold, given, from_cells."""
        self._look()

    def deliver(self, id: str, side: Side, start: Instant, end: Instant, mwh: float) -> None:  # noqa: A002
        """An order that was filled. The battery must have been brought to now."""
        self._pulls[side].add(id, start, end, side, mwh)
        self._look()

    @property
    def last_end(self) -> Instant:
        """When the last delivery ends, or where the battery is."""
        return max((one.end for pull in self._pulls.values() for one in pull.deliveries), default=self._at)

    def advance(self, now: Instant) -> None:
        while self._at < now:
            if not self._asked and (self._change is None or now < self._change):
                self._rest(now)
                return
            until = min(now, self._slot_end)
            if self._change is not None and self._change < until:
                until = self._change
            self._span(until)
            if until == self._change:
                for pull in self._pulls.values():
                    pull.forget(until)
                self._look()
            if until == self._slot_end:
                self._end_slot()

    def _look(self) -> None:
        """What is asked for from here on, and until when."""
        now = self._at
        self._sells, self._buys, self._site = (self._pulls[name].power_mw(now) for name in ("SELL", "BUY", "site"))
        changes = [change for pull in self._pulls.values() if (change := pull.next_change(now)) is not None]
        self._change = min(changes, default=None)
        self._asked = bool(self._sells or self._buys or self._site)
        self.battery.command(self._sells + self._buys + self._site)

    def _rest(self, until: Instant) -> None:
        """Nobody wants anything, and nothing of the energy moves: one span, however long."""
        self._span(until)
        if self._slot_end <= until:
            self._end_slot()  # something may have flowed in its beginning
        soc = self.battery.soc_percent
        while self._slot_end <= until:
            self.slots.append(SlotFlow(self._slot_end - self._slot_ns, 0.0, 0.0, 0.0, 0.0, soc))
            self._slot_end += self._slot_ns

    def _span(self, until: Instant) -> None:
        battery, hours, limits = self.battery, (until - self._at) / HOUR, self.limits
        if self._asked:
            charged, discharged, losses = battery.charged_mwh, battery.discharged_mwh, battery.losses_mwh
            battery.advance(until)
            self.account.losses += battery.losses_mwh - losses
            self._flow(hours, battery.charged_mwh - charged, battery.discharged_mwh - discharged)
        else:
            battery.advance(until)
        self._at = until
        limits.hours += hours
        soc = battery.soc_percent
        if soc <= self._empty:
            limits.at_min_soc += hours
        elif soc >= self._full:
            limits.at_max_soc += hours
        if battery.temperature_c > battery.settings.derate_from_c:
            limits.derated_by_heat += hours

    def _flow(self, hours: float, charged: float, discharged: float) -> None:
        """One span's energy: who asked for it, who got it, and what it cost on the way."""
        account, settings = self.account, self.battery.settings
        given = discharged - charged
        asked = self.battery.requested_power_mw * hours
        short = max(abs(asked) - abs(given), 0.0)
        bought, sold = -self._buys * hours, self._sells * hours
        not_sold = min(short, sold) if asked > 0 else 0.0
        not_bought = min(short, bought) if asked < 0 else 0.0
        account.not_sold += not_sold
        account.not_bought += not_bought
        account.sold += sold - not_sold
        account.bought += bought - not_bought
        account.site += given - (sold - not_sold) + (bought - not_bought) if self._site else 0.0
        account.from_cells += discharged / settings.discharge_efficiency
        if abs(given) >= self._most * hours:
            self.limits.full_power += hours

    def _end_slot(self) -> None:
        account, battery = self.account, self.battery
        marks = (account.bought, account.sold, battery.discharged_mwh - battery.charged_mwh, account.from_cells)
        bought, sold, given, from_cells = (one - before for one, before in zip(marks, self._marks, strict=True))
        start = self._slot_end - self._slot_ns
        self.slots.append(SlotFlow(start, bought, sold, given, from_cells, battery.soc_percent))
        self._marks = marks
        self._slot_end += self._slot_ns

    # ---- the balance ----------------------------------------------------------------------------------------

    @property
    def stored_change(self) -> float:
        """MWh, by the state of charge."""
        return self.battery.stored_mwh - self.stored_at_begin

    def check(self) -> None:
        """FlowrunnerError when the energy that was counted is not what the battery has: then no figure is true."""
        account = self.account
        left = account.bought - account.sold - account.site - account.losses
        if abs(left - self.stored_change) > CLOSES * max(account.bought + account.sold + abs(account.site), 1e-3):
            raise FlowrunnerError(
                f"the energy balance does not close: {left!r} MWh should be left, {self.stored_change!r} MWh are; "
                "this is a defect of flowrunner, and no figure of this replay is reported"
            )
