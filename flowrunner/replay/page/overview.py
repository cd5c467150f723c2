"""The whole replay as plain drawings: for pages without script, and behind the range bar. Coordinates are per mille."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from flowrunner.replay.page.reading import Slots

WIDTH, HEIGHT = 1000.0, 100.0
MOST = 370
"""Strokes across the picture: a year's days."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One drawing: SVG paths in a box of WIDTH × HEIGHT, and what its edges stand for."""

    key: str
    paths: list[tuple[str, str]]
    """(CSS class, path data)"""
    low: float
    high: float
    zero: float | None = None
    """The height of nothing, where it is inside."""


class Box:
    """Slots of one column, cut into at most MOST strokes of the time axis."""

    def __init__(self, at: Sequence[int], end: int) -> None:
        self.begin, self.end = at[0], end
        self.each = max(len(at) / MOST, 1.0)
        self.cuts = [round(i * self.each) for i in range(round(len(at) / self.each))]
        self.at = at

    def x(self, index: int) -> str:
        seconds = self.at[index] if index < len(self.at) else self.end
        return f"{(seconds - self.begin) / (self.end - self.begin) * WIDTH:.1f}"

    def strokes(self, values: Sequence[float | None]) -> Iterable[tuple[str, str, list[float]]]:
        """(left edge, right edge, what is known in between)"""
        for cut, following in zip(self.cuts, [*self.cuts[1:], len(self.at)], strict=True):
            known = [value for value in values[cut:following] if value is not None]
            yield self.x(cut), self.x(following), known


def overview(slots: Slots, end: int) -> list[Lane]:
    """One lane for each of price, power, state of charge and profit; none for no slots."""
    if not slots.start:
        return []
    box = Box(slots.start, end)
    return [
        _spread(box, "price", slots.price_eur_mwh, _around(slots.price_eur_mwh)),
        _power(box, slots.power_mw),
        _spread(box, "soc", slots.soc_percent, (0.0, 100.0)),
        _course(box, "profit", slots.profit_eur, _around(slots.profit_eur)),
    ]


def _around(values: Sequence[float | None]) -> tuple[float, float]:
    """From the lowest to the highest, with nothing inside."""
    known = [value for value in values if value is not None]
    low, high = min([*known, 0.0]), max([*known, 0.0])
    return (low, high) if high > low else (low, low + 1.0)


def _height(low: float, high: float) -> Callable[[float], float]:
    return lambda value: HEIGHT - (value - low) / (high - low) * HEIGHT


def _lane(key: str, paths: list[tuple[str, str]], low: float, high: float) -> Lane:
    zero = round(_height(low, high)(0.0), 1) if low < 0 < high else None
    return Lane(key=key, paths=paths, low=low, high=high, zero=zero)


def _spread(box: Box, key: str, values: Sequence[float | None], edges: tuple[float, float]) -> Lane:
    """From the lowest to the highest of each stroke, and the mean."""
    y = _height(*edges)
    band, line, on = [], [], False
    for left, right, known in box.strokes(values):
        if not known:
            on = False
            continue
        top, bottom = y(max(known)), y(min(known))
        if bottom - top > 0.1:
            band.append(f"M{left} {top:.1f}H{right}V{bottom:.1f}H{left}z")
        mean = y(sum(known) / len(known))
        line.append(f"{'L' if on else 'M'}{left} {mean:.1f}H{right}")
        on = True
    return _lane(key, [(f"{key} band", "".join(band)), (f"{key} line", "".join(line))], *edges)


def _power(box: Box, values: Sequence[float | None]) -> Lane:
    """Mean power each way, as the charts draw it when a bar stands for many slots."""
    ways = {"ch": [], "di": []}  # type: dict[str, list[tuple[str, str, float]]]
    for left, right, known in box.strokes(values):
        for way, total in (("ch", sum(one for one in known if one < 0)), ("di", sum(one for one in known if one > 0))):
            if total:
                ways[way].append((left, right, total / len(known)))
    most = max([abs(mean) for means in ways.values() for *_, mean in means], default=1.0)
    y = _height(-most, most)
    paths = [
        (f"bar {way}", "".join(f"M{left} {HEIGHT / 2:g}H{right}V{y(mean):.1f}H{left}z" for left, right, mean in means))
        for way, means in ways.items()
    ]
    return _lane("power", paths, -most, most)


def _course(box: Box, key: str, values: Sequence[float | None], edges: tuple[float, float]) -> Lane:
    """The value at the end of each stroke, joined by lines."""
    y = _height(*edges)
    floor = f"{y(max(0.0, edges[0])):.1f}"
    line, area = "", ""
    on = ""
    for left, right, known in box.strokes(values):
        if not known:
            area += f"V{floor}z" if on else ""
            on = ""
            continue
        if not on:
            begin = f"{y(0.0 if left == '0.0' else known[0]):.1f}"
            line += f"M{left} {begin}"
            area += f"M{left} {floor}V{begin}"
        on = f"L{right} {y(known[-1]):.1f}"
        line += on
        area += on
    area += f"V{floor}z" if on else ""
    return _lane(key, [(f"{key} area", area), (f"{key} line", line)], *edges)
