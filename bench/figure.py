"""One figure: ours and, where there is something to compare with, theirs; what a line of the table says of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from bench.node_red import NotAtHand

T = TypeVar("T")
NAME, COLUMN = 62, 14


class Sample(NamedTuple):
    """One measurement. ``cpu_us``: of the whole process for each message or request; 0 where that says nothing."""

    value: float
    cpu_us: float = 0.0


Measure = Callable[[], "Sample | float"]


class Figure(NamedTuple):
    """``ours`` and ``theirs`` take turns, ``runs`` times each. They raise NotAtHand where this machine cannot."""

    name: str
    unit: str
    ours: Measure
    theirs: Measure | None = None
    aim: float | None = None
    """What we want to reach at least (or at most, where less is better)."""
    more: bool = False
    """Whether more is better."""
    most: int = 1000
    """Runs at most."""
    warm: bool = False
    """The first run only fills caches of files and code."""


class Spread(NamedTuple):
    """What several runs gave."""

    median: float
    low: float
    high: float
    cpu_us: float


class Row(NamedTuple):
    """A figure as it was measured; ``why`` not, else."""

    figure: Figure
    ours: Spread | None
    theirs: Spread | None = None
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better we are than they are; None where one of both is missing, or nothing."""
        if self.ours is None or self.theirs is None or not (self.ours.median and self.theirs.median):
            return None
        ratio = self.ours.median / self.theirs.median
        return ratio if self.figure.more else 1 / ratio

    @property
    def reached(self) -> bool | None:
        """Whether the aim is; None where there is none."""
        aim = self.figure.aim
        if aim is None or self.ours is None:
            return None
        return self.ours.median >= aim if self.figure.more else self.ours.median <= aim

    def plain(self) -> dict[str, object]:
        """For JSON."""
        found: dict[str, object] = {"unit": self.figure.unit, "value": None if self.ours is None else self.ours.median}
        found |= {"flowrunner": None if self.ours is None else self.ours._asdict()}
        if self.theirs is not None:
            found |= {"node_red": self.theirs._asdict(), "ratio": self.ratio}
        if self.figure.aim is not None:
            found |= {"aim": self.figure.aim, "reached": self.reached}
        return found | ({"why": self.why} if self.why else {})


class Shared(Generic[T]):
    """Several figures of one run: whoever asks for a run that nobody had yet makes it."""

    def __init__(self, measure: Callable[[], T]) -> None:
        self._measure = measure
        self._runs: list[T] = []

    def figure(self, of: Callable[[T], Any]) -> Measure:
        """One of them, to be called as often as the others."""
        taken = 0

        def measure() -> Any:
            nonlocal taken
            if taken == len(self._runs):
                self._runs.append(self._measure())
            taken += 1
            return of(self._runs[taken - 1])

        return measure


def measured(figure: Figure, runs: int, *, alone: bool = False) -> Row:
    """``alone``: without what others do."""
    sides = [figure.ours] if alone or figure.theirs is None else [figure.ours, figure.theirs]
    found: list[list[Sample]] = [[], []]
    why = ""
    for number in range(min(runs, figure.most) + figure.warm):
        for place, measure in enumerate(sides):
            try:
                one = measure()
            except NotAtHand as missing:
                if place == 0:
                    return Row(figure, None, None, f"not measured, {missing}")
                why, sides = f"{missing}", sides[:1]
                break
            if number >= figure.warm:
                found[place].append(one if isinstance(one, Sample) else Sample(one))
    return Row(figure, _spread(found[0]), _spread(found[1]) if found[1] and not why else None, why)


def _spread(samples: list[Sample]) -> Spread:
    values = [one.value for one in samples]
    cpu = statistics.median(one.cpu_us for one in samples)
    return Spread(round(statistics.median(values), 3), round(min(values), 3), round(max(values), 3), round(cpu, 1))


HEAD = (
    f"{'':<{NAME}}{'flowrunner':>{COLUMN}}{'low to high':>24}{'CPU each':>12}{'Node-RED':>{COLUMN}}{'CPU each':>12}"
    f"{'ratio':>8}{'aim':>14}"
)


def line(row: Row) -> str:
    """One line of the table, below ``HEAD``."""
    figure, ours, theirs = row.figure, row.ours, row.theirs
    name = f"{figure.name} [{figure.unit}]" if figure.unit else figure.name
    if ours is None:
        return f"{name:<{NAME}} {row.why}"
    parts = [f"{name:<{NAME}}", f"{_number(ours.median):>{COLUMN}}"]
    parts += [f"{_number(ours.low)} to {_number(ours.high)}".rjust(24), _cpu(ours)]
    parts += [f"{'' if theirs is None else _number(theirs.median):>{COLUMN}}", _cpu(theirs)]
    parts.append(f"{'' if row.ratio is None else f'{row.ratio:.1f}x':>8}")
    if figure.aim is not None:
        sign = "≥" if figure.more else "≤"
        parts.append(f"{sign} {_number(figure.aim)} {'yes' if row.reached else 'no'}".rjust(14))
    return "".join(parts).rstrip() + (f"   (Node-RED: {row.why})" if row.why else "")


def _cpu(side: Spread | None) -> str:
    return f"{f'{side.cpu_us:,.1f} us' if side is not None and side.cpu_us else '':>12}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.{1 if abs(value) >= 10 else 2}f}"
