"""Which column each box stands in, and in which order: longest paths, then a few sweeps that undo crossings.

A wire over several columns gets a lane in each of them, a box of no content, which all wires of one port share.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Pair = tuple[int, int]
SWEEPS = 6
"""There and back; more of them find little."""
MANY, SWEEPS_OF_MANY = 800, 2
"""Boxes and lanes from which on fewer must do: nobody sees a crossing among thousands, and a page waits for it."""
LANES_PER_BOX = 3
"""Lanes for each box of the graph on average; wires beyond that, the longest, are drawn straight across."""


def layers_of(count: int, wires: Sequence[Pair]) -> list[int]:
    """The column of each of ``count`` boxes: right of all that it reads. ValueError where the wires run in a circle."""
    readers: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for source, reader in wires:
        readers[source].append(reader)
        waits[reader] += 1
    layer = [0] * count
    ready = [one for one in range(count) if not waits[one]]
    for one in ready:  # grows while it is read
        below = layer[one] + 1
        for reader in readers[one]:
            if layer[reader] < below:
                layer[reader] = below
            waits[reader] -= 1
            if not waits[reader]:
                ready.append(reader)
    if len(ready) < count:
        raise ValueError("the wires run in a circle")
    return layer


class Layers:
    """Boxes ``0 … count - 1`` and their lanes (from ``count`` on) in columns, each in its order from the top."""

    def __init__(self, count: int, layer: Sequence[int], ports: dict[tuple[int, str], list[int]]) -> None:
        """``ports``: (box, port) → who reads it; what is not in here has no say in the order."""
        self.count = count
        self.columns: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
        self.layer = list(layer)
        for one in range(count):
            self.columns[layer[one]].append(one)
        self.before: list[list[int]] = [[] for _ in range(count)]
        self.behind: list[list[int]] = [[] for _ in range(count)]
        self.lanes: dict[tuple[int, str], list[int]] = {}
        """(box, port) → its lanes, from left to right."""
        reach = self._reach(ports)
        for (source, port), readers in ports.items():
            lanes = self.lanes[source, port] = [source]
            for column in range(layer[source] + 1, reach[source, port] + 1):
                lanes.append(self._lane(column, lanes[-1]))
            for reader in readers:
                if layer[reader] - layer[source] <= len(lanes):
                    self._join(lanes[layer[reader] - layer[source] - 1], reader)
            del lanes[0]
        self._order()

    def _reach(self, ports: dict[tuple[int, str], list[int]]) -> dict[tuple[int, str], int]:
        """The last column that each port has a lane in."""
        wanted = {
            port: max((self.layer[one] for one in readers), default=self.layer[port[0]] + 1) - 1
            for port, readers in ports.items()
        }
        spans = {port: last - self.layer[port[0]] for port, last in wanted.items()}
        room = LANES_PER_BOX * self.count + 64
        if sum(spans.values()) > room:
            taken = 0
            for span, port in sorted((span, port) for port, span in spans.items()):
                taken += span
                if taken > room:
                    wanted[port] = self.layer[port[0]]
        return wanted

    def _lane(self, column: int, source: int) -> int:
        lane = len(self.layer)
        self.layer.append(column)
        self.columns[column].append(lane)
        self.before.append([])
        self.behind.append([])
        self._join(source, lane)
        return lane

    def _join(self, source: int, reader: int) -> None:
        self.behind[source].append(reader)
        self.before[reader].append(source)

    # ---- the order in the columns ------------------------------------------------------------------------------

    def _order(self) -> None:
        """Sort every column by the mean place of its neighbours, there and back; the best of all rounds stays."""
        place = [0] * len(self.layer)
        self._sweep(self.columns, self.before, place)
        best, fewest = [column[:] for column in self.columns], self._crossings(place)
        for turn in range(SWEEPS if len(place) < MANY else SWEEPS_OF_MANY):
            if not fewest:
                break
            back = turn % 2 == 0
            self._sweep(self.columns[::-1] if back else self.columns, self.behind if back else self.before, place)
            crossings = self._crossings(place)
            if crossings < fewest:
                best, fewest = [column[:] for column in self.columns], crossings
        self.columns = best

    @staticmethod
    def _sweep(columns: Iterable[list[int]], neighbours: list[list[int]], place: list[int]) -> None:
        for column in columns:
            keys: dict[int, float] = {}
            for index, one in enumerate(column):
                near = neighbours[one]
                if len(near) == 1:
                    keys[one] = place[near[0]]
                else:
                    keys[one] = sum([place[other] for other in near]) / len(near) if near else index
            column.sort(key=keys.__getitem__)
            for index, one in enumerate(column):
                place[one] = index

    def _crossings(self, place: list[int]) -> int:
        """How many pairs of wires cross between neighbouring columns."""
        total = 0
        for column in self.columns:
            ends: list[int] = []
            for one in column:
                near = self.behind[one]
                mine = [place[near[0]]] if len(near) == 1 else sorted([place[other] for other in near])
                if ends and mine and mine[0] < ends[-1]:
                    for end in mine:
                        total += len(ends) - bisect_right(ends, end)
                    ends += mine
                    ends.sort()
                else:
                    ends += mine
        return total


def components(count: int, wires: Iterable[Pair]) -> list[list[int]]:
    """The boxes that wires hold together, each in their order; the largest groups are no different from the rest."""
    above = list(range(count))

    def root(one: int) -> int:
        while above[one] != one:
            above[one] = above[above[one]]
            one = above[one]
        return one

    for source, reader in wires:
        first, second = sorted((root(source), root(reader)))
        above[second] = first
    groups: dict[int, list[int]] = {}
    for one in range(count):
        groups.setdefault(root(one), []).append(one)
    return list(groups.values())
