"""From texts to one graph: order, wires, what is disabled, digests, and what a large file costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.graph import Checked, Graph, check_flows
from flowrunner.registry import Registry

REGISTRY = Registry()
TraceFunction = Callable[..., Any]
PANEL = "  panel: {type: manual-in, fields: {x: {}}}\n"


def check(nodes: str, head: str = "flow: f\n", **environment: str) -> Checked:
    return check_flows({"f.yaml": f"{head}nodes:\n{nodes}"}, environment, REGISTRY)


def graph_of(nodes: str, head: str = "flow: f\n", **environment: str) -> Graph:
    checked = check(nodes, head, **environment)
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    return checked.graph


# ---- order, wires ----------------------------------------------------------------------------------------------


@st.composite
def wirings(draw: st.DrawFn) -> dict[int, list[int]]:
    """Reader → sources among nodes 0…n, in any order, circles and all."""
    count = draw(st.integers(1, 8))
    numbers = st.integers(0, count - 1)
    return {node: draw(st.lists(numbers, max_size=3, unique=True)) for node in draw(st.permutations(range(count)))}


def circular(wiring: dict[int, list[int]]) -> bool:
    left = {node: set(sources) for node, sources in wiring.items()}
    while ready := [node for node, sources in left.items() if not sources & left.keys()]:
        for node in ready:
            del left[node]
    return bool(left)


@settings(deadline=None)
@given(wirings())
def test_sources_come_first_or_the_circle_is_named(wiring: dict[int, list[int]]) -> None:
    text = PANEL + "".join(
        f"  n{node}: {{type: merge, from: [panel{''.join(f', n{one}' for one in sources)}]}}\n"
        for node, sources in wiring.items()
    )
    checked = check(text)
    assert (checked.graph is None) == circular(wiring)
    if checked.graph is None:
        assert {one.code for one in checked.problems} == {"cycle"}
        cut = {(one.line, one.column) for one in checked.problems}  # without the wires that are named it is good
        lines = text.splitlines()
        for line, column in sorted(cut, reverse=True):
            row = lines[line - 3]
            comma, end = row.rindex(",", 0, column - 1), column - 1 + len(f"n{row[column]}")
            lines[line - 3] = row[:comma] + row[end:]
        assert check("\n".join(lines) + "\n").problems == []
        return
    seen: set[str] = set()
    for address, node in checked.graph.nodes.items():
        assert {wire.source for wire in node.wires} <= seen
        seen.add(address)
    assert len(seen) == len(wiring) + 1


def test_a_wire_is_called_as_the_file_calls_it() -> None:
    graph = graph_of(
        PANEL
        + "  t: {type: threshold, from: panel, field: x, above: 1}\n"
        + "  l: {type: log, from: [t.above, panel.error, f/t]}\n"
    )
    assert [(wire.source, wire.port, wire.name) for wire in graph.nodes["f/l"].wires] == [
        ("f/t", "above", "t.above"),
        ("f/panel", "error", "panel.error"),
        ("f/t", "out", "f/t.out"),
    ]


def test_what_a_node_feeds() -> None:
    graph = graph_of(
        PANEL
        + "  s: {type: select, from: panel, fields: [x]}\n"
        + "  l: {type: log, from: s}\n  m: {type: log, from: panel.error}\n"
    )
    assert graph.nodes["f/panel"].feeds == {"select", "log"}
    assert graph.nodes["f/s"].feeds == {"log"}
    assert graph.nodes["f/l"].feeds == frozenset()


# ---- disabled ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=4), st.booleans())
def test_a_reader_goes_with_its_last_input(enabled: list[bool], reverse: bool) -> None:
    sources = [
        f"  s{n}: {{type: manual-in, enabled: {str(on).lower()}, fields: {{x: {{}}}}}}\n"
        for n, on in enumerate(enabled)
    ]
    names = ", ".join(f"s{n}" for n in range(len(enabled)))
    readers = [
        f"  all: {{type: merge, from: [{names}]}}\n",
        "  next: {type: select, from: all, fields: [x]}\n",
        "  end: {type: log, from: next}\n",
    ]
    lines = [*sources, *readers]
    checked = check("".join(lines[::-1] if reverse else lines))
    assert checked.graph is not None
    assert {one.severity for one in checked.problems} <= {"note"}
    assert len(checked.problems) == (0 if any(enabled) else 3)
    assert ("f/end" in checked.graph.nodes) == any(enabled)
    assert len(checked.graph.nodes) + len(checked.graph.disabled) == len(lines)
    if any(enabled):
        sources_left = {wire.source for wire in checked.graph.nodes["f/all"].wires}
        assert sources_left == {f"f/s{n}" for n, on in enumerate(enabled) if on}


def test_why_a_node_does_not_run() -> None:
    graph = graph_of(
        '  a: {type: manual-in, enabled: "${ON:-false}", fields: {x: {}}}\n'
        "  b: {type: log, from: a}\n  c: {type: log, from: [a, a.error]}\n"
    )
    assert graph.disabled == {
        "f/a": "ON is false",
        "f/b": "its only input 'a' is disabled",
        "f/c": "its only input 'a' is disabled",
    }


# ---- digests -------------------------------------------------------------------------------------------------------

FILTER = "  w: {type: filter, from: panel, when: x > limit, enabled: true, note: a}\n"
HEAD = "flow: f\ntimezone: UTC\nvars: {limit: 3}\n"


@pytest.mark.parametrize(
    ("nodes", "head", "same"),
    [
        (PANEL + FILTER.replace("note: a", "note: b"), HEAD, True),
        (PANEL + FILTER.replace("from: panel", "from: [panel]"), HEAD, True),
        (PANEL + FILTER.replace("when: x > limit", "when:   x > limit"), HEAD, True),
        ("  w:\n    type: filter\n    when: x > limit\n    from: panel\n" + PANEL, HEAD, True),
        (PANEL + FILTER, HEAD + "title: T\n", True),
        (PANEL + FILTER.replace("x > limit", "x >= limit"), HEAD, False),
        (PANEL + FILTER.replace("note: a", "queue: {size: 5}"), HEAD, True),  # the inbox is not the node
        (PANEL + FILTER, HEAD.replace("limit: 3", "limit: 3, other: 4"), True),
        (PANEL + FILTER, HEAD.replace("limit: 3", "limit: 4"), False),
        (PANEL + FILTER, HEAD.replace("3", "4"), False),
        (PANEL + FILTER, HEAD.replace("UTC", "Europe/Vienna"), False),
    ],
)
def test_a_digest_tells_whether_a_node_changed(nodes: str, head: str, same: bool) -> None:
    before = graph_of(PANEL + FILTER, HEAD).nodes["f/w"].digest
    assert (graph_of(nodes, head).nodes["f/w"].digest == before) == same


# ---- large files -----------------------------------------------------------------------------------------------------


def large(chains: int) -> str:
    return "".join(
        f"""  device-{n}:
    type: modbus-in
    host: ${{HOST:-10.0.0.{n % 250}}}
    registers:
      soc_percent: {{address: 0, type: uint16, na: [0xFFFF]}}
      temperature_c: {{address: 1, type: int16}}
  units-{n}:
    type: scale
    from: device-{n}
    fields: {{soc_percent: {{factor: 0.01, unit: "%", min: 0, max: 100}}}}
  hot-{n}: {{type: threshold, from: units-{n}, field: temperature_c, above: 40, clear_after: 5min}}
  low-{n}:
    type: filter
    from: hot-{n}
    when: soc_percent < limit and hot_{n} != "above"
"""
        for n in range(chains)
    )


HEAD_LIMIT = "flow: f\nvars: {limit: 30}\n"


def steps(nodes: str, head: str = HEAD_LIMIT) -> int:
    """What a check costs, counted: calls, lines and returns of Python. Another machine counts the same."""
    counted = 0

    def count(*_: object) -> TraceFunction:
        nonlocal counted
        counted += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        check(nodes, head)
    finally:
        sys.settrace(before)
    return counted


def test_what_one_node_costs() -> None:
    """4200 steps where this was written; the bound leaves room, and still finds a schema made per node."""
    nodes = large(50)
    assert len(graph_of(nodes, HEAD_LIMIT).nodes) == 200
    assert steps(nodes) < 200 * 7000


def test_four_times_the_nodes_cost_four_times_the_steps() -> None:
    """A loop over all nodes for each of them would make it five."""
    steps(large(1))  # what is made once
    assert steps(large(200)) < steps(large(50)) * 4.5


PIECES = [
    "flow: f\n", "nodes:\n", "  a: ", "  b:\n", "    type: log\n", "    from: a\n", "{type: log, from: b}\n", "${A}",
    "[b, b.x]\n", "? ", "- x\n", "vars: {a: 1}\n", "timezone: UTC\n", "{}\n", "    queue: {}\n", "    when: a > 1\n",
    "type: filter\n", "    fields: {x: }\n", "    type: select\n", "&a ", "*a\n", "<<: *a\n", "\n",
]  # fmt: skip


def disabled_chain(length: int) -> str:
    """Written readers first: the order in which a loop over all nodes finds one more each time."""
    chain = "".join(f"  n{n}: {{type: select, from: n{n - 1}, fields: [x]}}\n" for n in range(length, 0, -1))
    return chain + "  n0: {type: manual-in, enabled: false, fields: {x: {}}}\n"


def test_a_long_chain_of_disabled_nodes_is_no_trouble() -> None:
    checked = check(disabled_chain(2000))
    assert checked.graph is not None
    assert len(checked.graph.disabled) == 2001
    assert steps(disabled_chain(2000)) < steps(disabled_chain(500)) * 4.8


@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_is_a_crash(text: str) -> None:
    checked = check_flows(
        {"f.yaml": text, "g.yaml": "flow: g\nnodes:\n  b: {type: log, from: f/a}\n"}, {"A": "a"}, REGISTRY
    )
    assert checked.graph is not None or any(one.severity == "error" for one in checked.problems)
    assert [one.order for one in checked.problems] == sorted(one.order for one in checked.problems)
