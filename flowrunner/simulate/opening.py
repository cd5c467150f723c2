"""When a simulation begins and how full the battery is then: shortly before there is something to trade."""

from __future__ import annotations

from typing import NamedTuple

from flowrunner.market import Market, Slot
from flowrunner.market.year import shifted
from flowrunner.message import Instant
from flowrunner.units import Duration

CHEAP, DEAR = 60.0, 120.0
"""EUR/MWh: where ``flows/bess.yaml`` buys and sells unless told."""
LOOK_BACK = Duration.parse("7d")
RUN_UP = Duration.parse("2min")
"""Flow time before the first price that trades: enough for telemetry to come in."""
EMPTY, HALF, FULL = 18.0, 50.0, 82.0
"""State of charge in % at the beginning."""


class Opening(NamedTuple):
    """Where a simulation begins, and what there will be to do first."""

    start: Instant
    soc_percent: float
    side: str = ""
    """BUY, SELL, or "" where nothing is to be expected."""
    slot: Slot | None = None
    """The first delivery that is cheap or dear ..."""
    eur_mwh: float | None = None
    """... and its price."""


def opening(now: Instant, market: Market, *, cheap: float = CHEAP, dear: float = DEAR, run_up: int = RUN_UP) -> Opening:
    """The last time before ``now`` at which the price of the market's next slot became cheap (at most ``cheap``) or
    dear (at least ``dear``), less ``run_up``, with a battery to match.

    Where that did not happen for a week, it begins now with a battery half full.
    """

    def side(slot: Slot) -> str:
        price = shifted(slot.start).eur_mwh
        return "BUY" if price <= cheap else "SELL" if price >= dear else ""

    slot = market.delivery(now)
    wanted = side(slot)
    while (start := slot.start - market.slot_ns - market.gate_closure_ns - run_up) >= now - LOOK_BACK:
        before = Slot(slot.start - market.slot_ns, slot.start)
        was, found = side(before), wanted
        if found and was != found and start <= now:
            return Opening(start, EMPTY if found == "BUY" else FULL, found, slot, shifted(slot.start).eur_mwh)
        slot, wanted = before, was
    return Opening(now, HALF)
