"""A simple book around the mark: what others offer at each price, and how an order takes from it."""

from __future__ import annotations

import math
from typing import NamedTuple

from flowrunner.exchange.simulator.model import Side
from flowrunner.message import JSON

LEVELS = 5
STEP_EUR_MWH = 0.5
LEVEL_MWH = 2.0


class Fill(NamedTuple):
    """A quantity at a price."""

    quantity_mwh: float
    price_eur_mwh: float


class Book:
    """One market's book: on each side five levels of 2 MWh, 0.50 EUR/MWh apart, the first at the mark itself.

    So an order at the mark is filled, up to 2 MWh, and a larger one in part. What was taken comes back with the next
    minute or the next mark. Orders are not matched with each other. Without a mark the book is empty.
    """

    def __init__(self) -> None:
        self.mark: float | None = None
        self.minute = -1
        self._asks: list[Fill] = []
        self._bids: list[Fill] = []

    def refresh(self, mark: float | None, minute: int) -> bool:
        """Fill the book again where the mark or the minute is another one; says whether it is."""
        if (mark, minute) == (self.mark, self.minute):
            return False
        self.mark, self.minute = mark, minute
        steps = range(LEVELS) if mark is not None else range(0)
        base = mark or 0.0
        self._asks = [Fill(LEVEL_MWH, base + step * STEP_EUR_MWH) for step in steps]
        self._bids = [Fill(LEVEL_MWH, base - step * STEP_EUR_MWH) for step in steps]
        return True

    def take(self, side: Side, quantity_mwh: float, limit: float | None, *, whole: bool = False) -> list[Fill]:
        """Fills for up to ``quantity_mwh``, the best price first, none worse than ``limit`` (None: at any price).

        ``whole``: all of the quantity or nothing.
        """
        levels = self._asks if side == "BUY" else self._bids
        fills: list[Fill] = []
        left = quantity_mwh
        for there, price in levels:
            if left <= 0 or (limit is not None and (price > limit if side == "BUY" else price < limit)):
                break
            taken = min(left, there)
            fills.append(Fill(taken, price))
            left -= taken
        if whole and left > 0:
            return []
        rest = [Fill(there - taken, price) for (taken, _), (there, price) in zip(fills, levels, strict=False)]
        levels[:] = [level for level in [*rest, *levels[len(fills) :]] if level.quantity_mwh > 0]
        return fills

    def shown(self) -> dict[str, JSON]:
        """Both sides as ``[price, quantity]``, the best first."""
        return {
            "bids": [[price, quantity] for quantity, price in self._bids],
            "asks": [[price, quantity] for quantity, price in self._asks],
        }


def usable(price: float | None) -> float | None:
    """A mark must be a finite number: what is none is no price."""
    return price if price is not None and math.isfinite(price) else None
