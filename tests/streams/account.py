"""What became of a stream of numbers: pure judgement, from what was sent and what arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Arrival = tuple[str, int]
"""(the key of the stream, the number)"""
SHOWN = 10


class Account(NamedTuple):
    """All empty: each number arrived once, in order, and nothing else did."""

    lost: list[Arrival]
    """Sent, and never there."""
    repeated: list[Arrival]
    """There more than once: each number once for every time too often."""
    overtaken: list[tuple[Arrival, int]]
    """There for the first time only after a larger number of its key, which stands beside it. Repeats may come at any
    time: they are no news."""
    unknown: list[Arrival]
    """There, and never sent."""

    @property
    def broken(self) -> bool:
        """At least once, in order, was not kept. Repeats are allowed by that."""
        return bool(self.lost or self.overtaken or self.unknown)

    def __str__(self) -> str:
        found: dict[str, list[Any]] = self._asdict()
        return "; ".join(
            f"{len(ones)} {name}: {ones[:SHOWN]}{' …' if len(ones) > SHOWN else ''}"
            for name, ones in found.items()
            if ones
        )


def account(sent: Mapping[str, Iterable[int]], arrived: Sequence[Arrival]) -> Account:
    """``sent``: key → numbers that somebody was promised; ``arrived``: all deliveries, in their order."""
    wanted = {(key, number) for key, numbers in sent.items() for number in numbers}
    times = Counter(arrived)
    newest: dict[str, int] = {}
    seen: set[Arrival] = set()
    overtaken: list[tuple[Arrival, int]] = []
    for one in arrived:
        key, number = one
        if one not in seen:
            seen.add(one)
            if number < (highest := newest.get(key, number)):
                overtaken.append((one, highest))
            newest[key] = max(number, highest)
    return Account(
        lost=sorted(wanted - times.keys()),
        repeated=sorted(one for one, count in times.items() for _ in range(count - 1)),
        overtaken=overtaken,
        unknown=sorted(times.keys() - wanted),
    )
