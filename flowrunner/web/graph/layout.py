"""Where the boxes of a flow stand and how its wires run: pure, the same for the same wiring, in pixels.

Boxes stand in columns, readers right of what they read. Wires of the ports ``error`` and ``status`` are drawn apart:
down between the columns, along below all boxes and up to who reads them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from flowrunner.web.graph.layers import Layers, components, layers_of
from flowrunner.web.graph.rows import rows

WIDTH, HEIGHT = 168, 78
"""Of a box."""
GAP_X = 38
"""Between columns."""
GAP_Y, LANE = 26, 10
BUS, TRACK, TURN = 22, 12, 13
"""The first wire below all boxes, and the next ones; from a box to where such a wire turns."""
PIECE_GAP = 48
"""Between parts of a flow that no wire joins."""
SHAPE = 2.1
"""Width to height that several parts are set out to."""


class Line(NamedTuple):
    """A wire, by the positions of its boxes. ``apart``: of a port that every node has."""

    source: int
    port: str
    reader: int
    apart: bool = False


class Box(msgspec.Struct, frozen=True):
    """The upper left corner of a box, and where its ports are: name → height below the corner."""

    x: int
    y: int
    ports: dict[str, int]


class Path(msgspec.Struct, frozen=True):
    """A wire as SVG writes it, and the rectangle that it stays in: left, top, right, bottom."""

    d: str
    box: tuple[int, int, int, int]


class Layout(msgspec.Struct, frozen=True):
    """Boxes and wires in the order in which they were given."""

    width: int
    height: int
    boxes: list[Box]
    paths: list[Path]


def lay_out(count: int, lines: Sequence[Line]) -> Layout:
    """Set out ``count`` boxes. ValueError where the wires run in a circle."""
    groups = components(count, [(one.source, one.reader) for one in lines])
    where = {one: (number, index) for number, group in enumerate(groups) for index, one in enumerate(group)}
    mine: list[list[int]] = [[] for _ in groups]
    for index, line in enumerate(lines):
        mine[where[line.source][0]].append(index)
    pieces = []
    for group, own in zip(groups, mine, strict=True):
        inside = [(where[lines[one].source][1], where[lines[one].reader][1], lines[one]) for one in own]
        pieces.append(_piece(len(group), [Line(source, one.port, reader, one.apart) for source, reader, one in inside]))
    corners, width, height = _set_out(pieces)
    boxes: list[Box] = [Box(0, 0, {})] * count
    paths: list[Path] = [Path("", (0, 0, 0, 0))] * len(lines)
    for group, own, piece, (left, top) in zip(groups, mine, pieces, corners, strict=True):
        for one, box in zip(group, piece.boxes, strict=True):
            boxes[one] = Box(box.x + left, box.y + top, box.ports)
        for index, points in zip(own, piece.routes, strict=True):
            moved = [(x + left, y + top) for x, y in points]
            paths[index] = _bus(moved) if lines[index].apart else _curve(moved)
    return Layout(width, height, boxes, paths)


# ---- one part that wires hold together -------------------------------------------------------------------------------

Point = tuple[int, int]


class _Piece(NamedTuple):
    width: int
    height: int
    boxes: list[Box]
    routes: list[list[Point]]


def _piece(count: int, lines: Sequence[Line]) -> _Piece:
    layer = layers_of(count, [(one.source, one.reader) for one in lines])
    readers: dict[tuple[int, str], list[int]] = {}
    for line in lines:
        if not line.apart:
            readers.setdefault((line.source, line.port), []).append(line.reader)
    layers = Layers(count, layer, readers)
    half = [HEIGHT / 2] * count + [LANE / 2] * (len(layers.layer) - count)
    centre = rows(layers.columns, layers.before, layers.behind, half, count, GAP_Y)
    top = min((centre[one] - half[one] for one in range(len(half))), default=0.0)
    y = [round(one - top) for one in centre]
    lefts = [(WIDTH + GAP_X) * index for index in range(len(layers.columns))]
    named = _ports(count, lines)
    boxes = [Box(lefts[layer[one]], y[one] - HEIGHT // 2, named[one]) for one in range(count)]
    bottom = max((y[one] + HEIGHT // 2 for one in range(count)), default=0)
    for one in range(count, len(half)):
        bottom = max(bottom, y[one] + LANE)
    tracks = {reader: bottom + BUS + TRACK * index for index, reader in enumerate(_apart_readers(lines))}
    routes: list[list[Point]] = []
    for line in lines:
        start = (boxes[line.source].x + WIDTH, boxes[line.source].y + named[line.source][line.port])
        end = (boxes[line.reader].x, boxes[line.reader].y + HEIGHT // 2)
        if line.apart:
            track = tracks[line.reader]
            down, up = start[0] + TURN, end[0] - TURN
            routes.append([start, (down, start[1]), (down, track), (up, track), (up, end[1]), end])
            continue
        route = [start]
        for lane in layers.lanes[line.source, line.port]:
            if layers.layer[lane] >= layer[line.reader]:
                break
            left = lefts[layers.layer[lane]]
            route += [(left, y[lane]), (left + WIDTH, y[lane])]
        routes.append([*route, end])
    height = max([bottom, *(track + 8 for track in tracks.values())])
    return _Piece(lefts[-1] + WIDTH if lefts else 0, height, boxes, routes)


def _apart_readers(lines: Sequence[Line]) -> list[int]:
    return sorted({one.reader for one in lines if one.apart})


def _ports(count: int, lines: Sequence[Line]) -> list[dict[str, int]]:
    """Of each box the ports in use, those of every node at its foot."""
    used: list[dict[str, bool]] = [{} for _ in range(count)]
    for line in lines:
        used[line.source][line.port] = line.apart
    placed = []
    for ports in used:
        own = sorted((name for name, apart in ports.items() if not apart), key=lambda name: (name != "out", name))
        step = 0.0 if len(own) < 2 else (HEIGHT - 40) / (len(own) - 1)
        first = HEIGHT / 2 if len(own) < 2 else 20
        heights = {name: round(first + step * index) for index, name in enumerate(own)}
        placed.append(heights | {name: HEIGHT - 9 for name, apart in sorted(ports.items()) if apart})
    return placed


# ---- several parts ---------------------------------------------------------------------------------------------------


def _set_out(pieces: Sequence[_Piece]) -> tuple[list[Point], int, int]:
    """In rows from the top, each as wide as a screen would want it: (corner of each, width, height of all)."""
    area = sum((one.width + PIECE_GAP) * (one.height + PIECE_GAP) for one in pieces)
    wide = max([math.sqrt(area * SHAPE), *(one.width for one in pieces)], default=0.0)
    corners: list[Point] = []
    left = top = tall = right = 0
    for piece in pieces:
        if left and left + piece.width > wide:
            left, top, tall = 0, top + tall + PIECE_GAP, 0
        corners.append((left, top))
        left += piece.width + PIECE_GAP
        right, tall = max(right, left - PIECE_GAP), max(tall, piece.height)
    return corners, right, top + tall


# ---- as SVG writes it ------------------------------------------------------------------------------------------------


def _curve(points: Sequence[Point]) -> Path:
    """Soft from column to column, straight along a lane."""
    (x, y), parts = points[0], []
    parts.append(f"M{x} {y}")
    for index, (to_x, to_y) in enumerate(points[1:]):
        if y == to_y or index % 2:
            parts.append(f"H{to_x}" if y == to_y else f"L{to_x} {to_y}")
        else:
            middle = (x + to_x) // 2
            parts.append(f"C{middle} {y} {middle} {to_y} {to_x} {to_y}")
        x, y = to_x, to_y
    return Path("".join(parts), _around(points))


def _bus(points: Sequence[Point]) -> Path:
    """Along straight lines with round corners."""
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for (ax, ay), (bx, by), (cx, cy) in zip(points, points[1:], points[2:], strict=False):
        radius = min(7, (abs(bx - ax) + abs(by - ay)) // 2, (abs(cx - bx) + abs(cy - by)) // 2)
        before = (bx - radius * _sign(bx - ax), by - radius * _sign(by - ay))
        behind = (bx + radius * _sign(cx - bx), by + radius * _sign(cy - by))
        parts.append(f"L{before[0]} {before[1]}Q{bx} {by} {behind[0]} {behind[1]}")
    parts.append(f"L{points[-1][0]} {points[-1][1]}")
    return Path("".join(parts), _around(points))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _around(points: Sequence[Point]) -> tuple[int, int, int, int]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)
