"""Which tile of a dashboard stands where: rows of twelve columns, in the order of the file. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from flowrunner.web.dashboard.tiles import Tile, TileKind

Size = Literal["small", "narrow", "wide"]
SIZES: dict[TileKind, Size] = {
    "value": "small", "power": "small",
    "why": "narrow", "form": "narrow", "button": "narrow", "alarms": "narrow", "events": "narrow", "text": "narrow",
    "chart": "wide", "table": "wide", "orders": "wide",
}  # fmt: skip
SMALL = {1: (12,), 2: (6, 6), 3: (4, 4, 4), 4: (3, 3, 3, 3), 5: (3, 3, 2, 2, 2), 6: (2, 2, 2, 2, 2, 2)}
"""How many small tiles are left → the columns of the next row."""
NARROW = {1: (12,), 2: (6, 6), 3: (4, 4, 4)}
BESIDE: dict[TileKind, tuple[int, int, int]] = {"chart": (8, 4, 2), "orders": (7, 5, 1), "table": (7, 5, 1)}
"""Wide tile → its columns, those of the stack beside it, and how many narrow tiles that may hold."""


class Column(NamedTuple):
    """One column of a row: tiles above each other."""

    span: int
    tiles: list[Tile]


def rows(tiles: Sequence[Tile]) -> Iterator[list[Column]]:
    """Every tile once, in its order; the columns of a row are twelve together, but for a tile that says its width."""
    left = list(tiles)
    while left:
        width = left[0]["width"]
        if width:
            yield [Column(width, [left.pop(0)])]
            continue
        size = _size(left[0])
        run = next((place for place, tile in enumerate(left) if _size(tile) != size or tile["width"]), len(left))
        if size == "small":
            spans = SMALL.get(run) or SMALL[4 if run in (7, 8) else 6]
            yield [Column(span, [left.pop(0)]) for span in spans]
        elif size == "narrow":
            yield [Column(span, [left.pop(0)]) for span in NARROW[min(run, 3)]]
        else:
            wide = left.pop(0)
            own, beside, most = BESIDE[wide["tile"]]
            stack: list[Tile] = []
            while left and len(stack) < most and _size(left[0]) == "narrow" and not left[0]["width"]:
                stack.append(left.pop(0))
            yield [Column(own, [wide]), Column(beside, stack)] if stack else [Column(12, [wide])]


def _size(tile: Tile) -> Size:
    return SIZES[tile["tile"]]
