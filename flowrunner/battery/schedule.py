"""What a battery is to do when: accepted orders, and the daily life of the site that it stands on."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.battery.model import NEVER, Battery, Settings
from flowrunner.message import Instant
from flowrunner.units import SECOND, iso, to_datetime

Side = Literal["BUY", "SELL"]
HOUR = 3600 * SECOND
SITE_STEP = 300 * SECOND
"""The site gives a new set point this often; in between its power is constant."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """The energy of one order, spread evenly over its delivery interval."""

    order_id: str
    start: Instant
    end: Instant
    side: Side
    quantity_mwh: float

    @property
    def power_mw(self) -> float:
        """Positive for SELL (the battery discharges), negative for BUY."""
        power = self.quantity_mwh * HOUR / (self.end - self.start)
        return power if self.side == "SELL" else -power


class Bump(msgspec.Struct, frozen=True):
    """A half wave of power between two hours of the local day, its highest in the middle."""

    from_hour: float
    to_hour: float
    peak_mw: float
    """Positive = the battery discharges."""

    def __post_init__(self) -> None:
        if not 0 <= self.from_hour < self.to_hour <= 24:
            raise ValueError(f"site: a time of day from {self.from_hour} h to {self.to_hour} h lies not within a day")
        if not math.isfinite(self.peak_mw):
            raise ValueError(f"site: peak_mw must be a finite number, not {self.peak_mw}")

    def power_mw(self, hour: float) -> float:
        if not self.from_hour < hour < self.to_hour:
            return 0.0
        return self.peak_mw * math.sin(math.pi * (hour - self.from_hour) / (self.to_hour - self.from_hour))

    def energy_mwh(self, hour: float) -> float:
        """What has flowed from midnight to ``hour``."""
        length = self.to_hour - self.from_hour
        passed = min(max(hour - self.from_hour, 0.0), length)
        return self.peak_mw * length / math.pi * (1 - math.cos(math.pi * passed / length))


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What the battery does for its own site, the same every day: it fills from the sun, and feeds the load.

    With the bumps below a battery of 10 MWh gives 1.2 MWh to the morning, takes 6.5 MWh around noon and gives
    4.7 MWh to the evening: over the losses it ends the day as it began. Orders come on top.
    """

    zone: ZoneInfo
    """Hours of the bumps are local time here."""
    bumps: tuple[Bump, ...] = (Bump(6, 9, 0.63), Bump(9, 16, -1.459), Bump(17, 22, 1.467))
    midnight_soc_percent: float = 30.0
    """The state of charge at midnight on a day without orders, for :meth:`usual_soc_percent`."""

    def power_mw(self, now: Instant) -> float:
        """The site's set point: that of the middle of the running step of ``SITE_STEP``."""
        hour = self._hour(now - now % SITE_STEP + SITE_STEP // 2)
        return sum(bump.power_mw(hour) for bump in self.bumps)

    def usual_soc_percent(self, now: Instant, settings: Settings) -> float:
        """State of charge at ``now`` had only the site used the battery since midnight: a start for a simulation."""
        hour = self._hour(now)
        stored = settings.capacity_mwh * self.midnight_soc_percent / 100
        for bump in self.bumps:
            flowed = bump.energy_mwh(hour)
            stored -= flowed / settings.discharge_efficiency if flowed > 0 else flowed * settings.charge_efficiency
        return min(max(100 * stored / settings.capacity_mwh, 0.0), 100.0)

    def _hour(self, now: Instant) -> float:
        local = to_datetime(now, self.zone)
        return local.hour + local.minute / 60 + local.second / 3600


class Schedule:
    """Orders, and the site if there is one, as the power that the battery is asked for."""

    def __init__(self, site: Site | None = None) -> None:
        self.site = site
        self._deliveries: dict[str, Delivery] = {}
        self._by_start: list[tuple[Instant, str]] = []
        self._edges: list[Instant] = []
        """Every start and end, as often as there are deliveries with it."""
        self._longest = 0
        """No delivery ever took longer: one that runs has not started before."""
        self._steady: tuple[Instant, Instant, float] = (0, 0, 0.0)
        """From the first instant up to the second nothing changes: the power asked for. Empty when not known."""

    @property
    def site(self) -> Site | None:
        return self._site

    @site.setter
    def site(self, site: Site | None) -> None:
        self._site = site
        self._steady = (0, 0, 0.0)

    @property
    def deliveries(self) -> list[Delivery]:
        """What is scheduled and not forgotten, by start."""
        return [self._deliveries[order_id] for _, order_id in self._by_start]

    def add(self, order_id: str, start: Instant, end: Instant, side: Side, quantity_mwh: float) -> None:
        """Deliver an order from ``start`` up to ``end``. ValueError when it is no delivery, or known already."""
        if order_id in self._deliveries:
            raise ValueError(f"order {order_id} is scheduled already")
        if side not in get_args(Side):
            raise ValueError(f"order {order_id}: side must be BUY or SELL, not {side!r}")
        if not (math.isfinite(quantity_mwh) and quantity_mwh > 0):
            raise ValueError(f"order {order_id}: quantity_mwh must be a number above 0, not {quantity_mwh}")
        if end <= start:
            raise ValueError(f"order {order_id}: delivery ends at {iso(end)}, not after its start {iso(start)}")
        self._deliveries[order_id] = Delivery(
            order_id=order_id, start=start, end=end, side=side, quantity_mwh=quantity_mwh
        )
        insort(self._by_start, (start, order_id))
        insort(self._edges, start)
        insort(self._edges, end)
        self._longest = max(self._longest, end - start)
        self._steady = (0, 0, 0.0)

    def cancel(self, order_id: str) -> bool:
        """Deliver no more of an order. False when there is none."""
        one = self._deliveries.pop(order_id, None)
        if one is None:
            return False
        del self._by_start[bisect_left(self._by_start, (one.start, order_id))]
        for edge in (one.start, one.end):
            del self._edges[bisect_left(self._edges, edge)]
        self._steady = (0, 0, 0.0)
        return True

    def forget(self, before: Instant) -> None:
        """Drop the deliveries that ended by then: a schedule that runs for months stays small."""
        for order_id in [order_id for order_id, one in self._deliveries.items() if one.end <= before]:
            self.cancel(order_id)

    def power_mw(self, now: Instant) -> float:
        """The power asked for at ``now``, positive = discharging. What flows is for the battery to limit."""
        by_start = self._by_start
        first, last = bisect_left(by_start, (now - self._longest, "")), bisect_left(by_start, (now + 1, ""))
        started = [self._deliveries[order_id] for _, order_id in by_start[first:last]]
        orders = math.fsum(one.power_mw for one in started if now < one.end)
        return orders + (self._site.power_mw(now) if self._site else 0.0)

    def next_change(self, now: Instant) -> Instant | None:
        """The first instant after ``now`` at which the power may be another. None: it stays as it is."""
        place = bisect_right(self._edges, now)
        edge = self._edges[place] if place < len(self._edges) else None
        if self._site is None:
            return edge
        step = now - now % SITE_STEP + SITE_STEP
        return step if edge is None else min(edge, step)

    def drive(self, battery: Battery, now: Instant) -> None:
        """Bring ``battery`` to ``now``, its power set anew at every change on the way: how often this is called
        makes no difference. Call it before an order is added or cancelled, too: what lies behind stays as it was.
        """
        since, until, power = self._steady
        if not since <= battery.at < until:
            until, power = self._look(battery.at)
        battery.command(power)
        while until <= now:
            battery.advance(until)
            until, power = self._look(until)
            battery.command(power)
        battery.advance(now)

    def _look(self, now: Instant) -> tuple[Instant, float]:
        """The power asked for at ``now``, and up to when; it is kept for the next look."""
        change = self.next_change(now)
        until = NEVER if change is None else change
        self._steady = (now, until, self.power_mw(now))
        return until, self._steady[2]
