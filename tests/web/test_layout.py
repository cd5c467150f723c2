"""Where boxes stand: whatever the wiring, none over another, wires from left to right, all there, always the same."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.web.graph.drawing import Drawings
from flowrunner.web.graph.layers import Layers, layers_of
from flowrunner.web.graph.layout import HEIGHT, WIDTH, Layout, Line, lay_out
from flowrunner.web.graph.rows import nearest

BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"


@st.composite
def wirings(draw: st.DrawFn) -> tuple[int, list[Line]]:
    """Any wiring without circles: every reader has a higher number in some order of the boxes."""
    count = draw(st.integers(0, 30))
    order = draw(st.permutations(range(count)))
    lines: dict[Line, None] = {}
    for place in range(1, count):
        for _ in range(draw(st.integers(0, 3))):
            source = order[draw(st.integers(0, place - 1))]
            port = draw(st.sampled_from(["out", "out", "above", "error"]))
            lines[Line(source, port, order[place], port == "error")] = None
    return count, list(lines)


def overlaps(layout: Layout) -> list[tuple[int, int]]:
    return [
        (one, other)
        for one, other in itertools.combinations(range(len(layout.boxes)), 2)
        if abs(layout.boxes[one].x - layout.boxes[other].x) < WIDTH
        and abs(layout.boxes[one].y - layout.boxes[other].y) < HEIGHT
    ]


@given(wirings())
def test_no_box_is_over_another_and_all_are_there(wiring: tuple[int, list[Line]]) -> None:
    layout = lay_out(*wiring)
    assert len(layout.boxes) == wiring[0]
    assert overlaps(layout) == []
    assert all(
        0 <= box.x <= layout.width - WIDTH and 0 <= box.y <= layout.height - HEIGHT for box in layout.boxes
    )  # fmt: skip


@given(wirings())
def test_wires_go_from_left_to_right_from_port_to_reader(wiring: tuple[int, list[Line]]) -> None:
    count, lines = wiring
    layout = lay_out(count, lines)
    assert len(layout.paths) == len(lines)
    for line, path in zip(lines, layout.paths, strict=True):
        source, reader = layout.boxes[line.source], layout.boxes[line.reader]
        assert source.x + WIDTH < reader.x
        numbers = [int(one) for one in re.findall(r"-?\d+", path.d)]
        assert numbers[:2] == [source.x + WIDTH, source.y + source.ports[line.port]]
        assert path.d.endswith(f"H{reader.x}") or numbers[-2:] == [reader.x, reader.y + HEIGHT // 2]
        left, top, right, bottom = path.box
        assert (left, right) == (source.x + WIDTH, reader.x)
        assert top <= min(reader.y + HEIGHT // 2, numbers[1]) <= max(reader.y + HEIGHT // 2, numbers[1]) <= bottom


@given(wirings())
def test_straight_parts_of_wires_cross_no_box(wiring: tuple[int, list[Line]]) -> None:
    count, lines = wiring
    layout = lay_out(count, lines)
    for line, path in zip(lines, layout.paths, strict=True):
        if line.apart:
            low = path.box[3]
            group = {one.source for one in lines if one.reader == line.reader}
            assert all(low >= layout.boxes[one].y + HEIGHT for one in group)
            continue
        x = y = 0
        for sign, text in re.findall(r"([MCHL])([-\d ]+)", path.d):
            to = [int(one) for one in text.split()]
            if sign == "H" and to[0] - x == WIDTH:
                assert not [
                    box for box in layout.boxes if box.x < to[0] and box.x + WIDTH > x and box.y < y < box.y + HEIGHT
                ]
            x, y = (to[0], y) if sign == "H" else (to[-2], to[-1])


@given(wirings())
def test_the_same_wiring_is_the_same_picture(wiring: tuple[int, list[Line]]) -> None:
    assert lay_out(*wiring) == lay_out(*wiring)


@given(
    st.lists(st.tuples(st.floats(-1000, 1000), st.floats(0.5, 8)), min_size=1, max_size=12),
    st.floats(0, 50),
    st.floats(-40, 40),
)
def test_nearest_places_keep_their_distance_and_cannot_be_nearer(
    boxes: list[tuple[float, float]], gap: float, shift: float
) -> None:
    wanted, weights = [one for one, _ in boxes], [weight for _, weight in boxes]
    gaps = [gap] * len(boxes)

    def cost(places: list[float]) -> float:
        return sum(
            weight * (place - want) ** 2 for place, want, weight in zip(places, wanted, weights, strict=True)
        )  # fmt: skip

    found = nearest(wanted, weights, gaps)
    assert all(after - before >= gap - 1e-6 for before, after in itertools.pairwise(found))
    for index in range(len(boxes)):  # no part of the column can move as a whole, and be nearer
        assert cost(found) <= cost([one + shift for one in found]) + 1e-6
        moved = [*found[:index], *(one + abs(shift) for one in found[index:])]
        assert cost(found) <= cost(moved) + 1e-6


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        lay_out(2, [Line(0, "out", 1), Line(1, "out", 0)])


def test_crossings_are_undone() -> None:
    """Three pairs, each with the wire to the place of another one."""
    lines = [Line(0, "out", 5), Line(1, "out", 4), Line(2, "out", 3)]
    hub = [Line(6, "out", one) for one in range(3)]  # holds them together
    layout = lay_out(7, [*hub, *lines])
    order = sorted(range(3), key=lambda one: layout.boxes[one].y)
    assert [5 - one for one in order] == sorted((3, 4, 5), key=lambda one: layout.boxes[one].y)


def test_readers_put_their_sources_in_order() -> None:
    """One reads the first and the last: the one between, which another reads, makes way."""
    layout = lay_out(6, [Line(0, "out", 3), Line(2, "out", 3), Line(1, "out", 4), Line(3, "out", 5), Line(4, "out", 5)])
    assert max(layout.boxes[0].y, layout.boxes[2].y) < layout.boxes[1].y
    assert layout.boxes[3].y < layout.boxes[4].y


def test_wires_of_one_port_share_their_lane() -> None:
    chain = [Line(one, "out", one + 1) for one in range(5)]
    far = [Line(0, "out", 4), Line(0, "out", 5)]
    layer = layers_of(6, [(one.source, one.reader) for one in [*chain, *far]])
    assert layer == [0, 1, 2, 3, 4, 5]
    ports: dict[tuple[int, str], list[int]] = {}
    for line in [*chain, *far]:
        ports.setdefault((line.source, line.port), []).append(line.reader)
    layers = Layers(6, layer, ports)
    assert len(layers.lanes[0, "out"]) == 4
    assert len(layers.layer) == 6 + 4


def test_wires_that_would_need_too_many_lanes_go_straight() -> None:
    """A thousand boxes in a line that all read each other's far ends: no memory of the square of that."""
    count = 400
    lines = [Line(one, "out", one + 1) for one in range(count - 1)]
    lines += [Line(one, "far", count - 1) for one in range(count - 2)]
    layout = lay_out(count, lines)
    assert overlaps(layout) == []
    assert sum(path.d.count("H") for path in layout.paths) < 5000


def test_parts_that_nothing_joins_are_set_out_beside_each_other() -> None:
    layout = lay_out(40, [Line(one, "out", one + 1) for one in range(0, 40, 2)])
    assert overlaps(layout) == []
    assert 0.8 < layout.width / layout.height < 4


def test_an_empty_flow_is_an_empty_picture() -> None:
    assert lay_out(0, []) == Layout(0, 0, [], [])


# ---- of a flow ----------------------------------------------------------------------------------------------------


def test_the_battery_flow() -> None:
    graph = check_flows({"bess.yaml": BESS.read_text("utf-8")}, {}, Registry()).graph
    assert graph is not None
    drawings = Drawings()
    drawn = drawings.of(graph, "bess", 1)
    assert {one.id for one in drawn.nodes} == {one.id for one in graph.nodes.values()}
    left = {one.id: one.x for one in drawn.nodes}
    assert left["rest"] == left["manual"] == left["price"] == 0
    assert left["telemetry"] < left["overheated"] < left["power-limit"] < left["state"] < left["buy"] == left["sell"]
    assert {one.reader for one in drawn.wires if one.apart} == {"alarms"}
    assert drawings.of(graph, "bess", 2).nodes == drawn.nodes


OTHERS = {
    "one.yaml": "flow: one\nnodes:\n  tick: {type: inject, every: 1s, payload: {a: 1}}\n",
    "two.yaml": "flow: two\nnodes:\n  here: {type: log, from: one/tick}\n",
}


def test_nodes_of_other_flows_stand_beside() -> None:
    graph = check_flows(OTHERS, {}, Registry()).graph
    assert graph is not None
    for flow in ("one", "two"):
        drawn = Drawings().of(graph, flow, 1)
        places = {one.id: one for one in drawn.nodes}
        assert set(places) == ({"tick", "two/here"} if flow == "one" else {"one/tick", "here"})
        (wire,) = drawn.wires
        assert places[wire.source].x < places[wire.reader].x
