"""How high each box of a column stands: near its neighbours, in the given order, with the given room between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

ROUNDS = 3
MANY = 800
"""Boxes and lanes from which on one round must do."""
LANE_WEIGHT = 6.0
"""Of a lane against a box: long wires are straight before anything else is."""


def nearest(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The places nearest to ``wanted`` (least squares) at which each is at least ``gaps[i]`` below the one before it.

    By pooling neighbours that are in each other's way, which gives the optimum in one pass.
    """
    pools: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    offset = 0.0
    for index, want in enumerate(wanted):
        offset += gaps[index] if index else 0.0
        mean, weight, size = want - offset, weights[index], 1
        while pools and pools[-1][0] > mean:
            above, heavy, many = pools.pop()
            mean = (above * heavy + mean * weight) / (heavy + weight)
            weight += heavy
            size += many
        pools.append((mean, weight, size))
    found: list[float] = []
    offset, index = 0.0, 0
    for mean, _, size in pools:
        for _ in range(size):
            offset += gaps[index] if index else 0.0
            found.append(mean + offset)
            index += 1
    return found


def rows(
    columns: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]],
    behind: Sequence[Sequence[int]],
    half: Sequence[float],
    boxes: int,
    gap: float,
) -> list[float]:
    """The height of every centre, lanes too. ``half``: half the height of each; ``boxes``: below that, it is a box."""
    centre = [0.0] * len(half)
    room = {
        index: [0.0, *(half[one] + half[other] + gap for one, other in pairwise(column))]
        for index, column in enumerate(columns)
    }
    weights = {index: [1.0 if one < boxes else LANE_WEIGHT for one in column] for index, column in enumerate(columns)}
    for index, column in enumerate(columns):
        top = 0.0
        for one, more in zip(column, room[index], strict=True):
            top += more
            centre[one] = top
        shift = top / 2
        for one in column:
            centre[one] -= shift
    order = list(range(len(columns)))
    for _ in range(ROUNDS if len(half) < MANY else 1):
        for indexes, neighbours in ((order, before), (order[::-1], behind)):
            for index in indexes:
                column = columns[index]
                wanted = []
                for one in column:
                    near = neighbours[one]
                    if len(near) == 1:
                        wanted.append(centre[near[0]])
                    else:
                        wanted.append(sum([centre[other] for other in near]) / len(near) if near else centre[one])
                for one, at in zip(column, nearest(wanted, weights[index], room[index]), strict=True):
                    centre[one] = at
    return centre
