"""A small edit is checked by itself: the outcome is that of the whole check, whatever was edited."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowrunner.graph import Checked, Graph, check_flows
from flowrunner.graph.edit import after_edit
from flowrunner.registry import Registry

REGISTRY = Registry()
FILE = "plant.yaml"
FLOW = """\
flow: plant  # a comment
vars: {limit: 40}
nodes:
  # the sources
  meter: {type: inject, every: 1h, payload: {soc_percent: 50, temperature_c: 20}}
  scaled:
    type: scale
    from: meter
    fields:
      soc_percent: {factor: 0.1, max: 100}

  hot: {type: threshold, from: scaled, field: temperature_c, above: 40}
  low:
    type: filter
    from: hot
    when: soc_percent < 30 and temperature_c < limit
    note: |+
      a text

  idle: {type: log, from: low, enabled: false}
  chosen: {type: select, from: [low, hot.above], fields: [soc_percent, hot]}
  keyed: {type: select, from: chosen, fields: [hot], key: "{hot}"}
  store: {type: log, from: keyed, text: "{hot}", queue: {size: 5}}
tests:
  - {name: none, at: "2025-01-25T02:00:00+01:00"}
"""
PIECES = [
    "40", "41", "0.1", "1.5", "max", "above", "soc_percent", "temperature_c", "hot", "low", "type", "from", "meter",
    "{", "}", "[", "]", ":", ": ", ",", "\n", "\n  ", "\n    ", "  new: {type: log, from: low}\n", "#", " # x\n", "'",
    '"', "|", "|+", ">", "&a ", "*a", "<<: ", "\t", "${X}", "${limit}", "---\n", "...\n", "- ", "\r", "\x85", "é", "?",
    "!!str ", "1h", "2h", "limit", " and ", "enabled: false", "x", "", "note: y", "{hot}", "\n\n", "%",
]  # fmt: skip

OF_THE_FILE = ["dashboard:\n  - {tile: text, text: seen}\n", "vars: {limit: 4}\n", "timezone: UTC\n", "flow: other\n"]
"""At the left margin, behind the last node."""
OLD = ["40", "39", "100", "99", "5", "0.1"]


def whole(text: str) -> Checked:
    return check_flows({FILE: text}, {"X": "1"}, REGISTRY)


BEFORE = whole(FLOW)


def told(graph: Graph) -> object:
    """All that a graph says, nodes by what they do and not by which object they are."""
    nodes = []
    for one in graph.nodes.values():
        plain = {field.name: getattr(one, field.name) for field in dataclasses.fields(one) if field.name != "node"}
        nodes.append((plain, type(one.node), one.node.options, one.node.id))
    assert graph.seen is not None
    return nodes, graph.flows, graph.disabled, graph.secrets, graph.seen[0:2], graph.seen[3:], graph.outgoing


def same_outcome(before: Graph, text: str) -> Graph | None:
    """Hold the short way to the long one; the graph, where the short way gave one."""
    edited = after_edit({FILE: text}, {"X": "1"}, REGISTRY, before)
    if edited is None:
        return None
    expected = whole(text)
    assert expected.graph is not None, expected.problems
    assert edited.problems == expected.problems
    kept = {address: (one.line, one.flow_digest) for address, one in before.nodes.items()}
    edited.graph.settle()
    try:
        places, long = edited.graph.seen, expected.graph.seen
        assert places is not None
        assert long is not None
        if (
            FILE in places.places and FILE in long.places
        ):  # the number of values only grows here, to be on the safe side
            now = {FILE: places.places[FILE]._replace(values=long.places[FILE].values)}
            edited.graph.seen = places._replace(places=now)
        assert told(edited.graph) == told(expected.graph)
    finally:
        for address, (line, digest) in kept.items():
            before.nodes[address].line, before.nodes[address].flow_digest = line, digest
    return edited.graph


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("above: 40", "above: 41"),
        ("max: 100", "max: 99"),
        ("above: 40}", "above: 40,\n    clear_below: 39}\n"),
        ("temperature_c < limit", "temperature_c < limit - 1"),
        ("      a text\n\n", "      another text\n"),
        ("  # the sources\n", "  # one source\n  # and a line\n"),
        ("size: 5}}\n", "size: 6}}\n"),
        ("size: 5}}\n", "size: 5}, note: it ends here}\n"),
    ],
)
def test_an_option_is_checked_by_itself(old: str, new: str) -> None:
    assert BEFORE.graph is not None
    assert old in FLOW
    graph = same_outcome(BEFORE.graph, FLOW.replace(old, new))
    assert (graph is None) == (old.startswith("  # ")), "only what stands above the first node is not of one node"
    if graph is not None:
        assert graph.nodes["plant/meter"] is BEFORE.graph.nodes["plant/meter"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("above: 40", "above: forty"),
        ("above: 40", "above: ${X}"),
        ("from: scaled", "from: meter"),
        ("fields: [soc_percent, hot]", "fields: [hot]"),
        ("enabled: false", "enabled: true"),
        ("  keyed:", "  named:"),
        ("limit: 40", "limit: 41"),
        ("type: select, from: chosen", "type: log, from: chosen"),
        ("above: 40}", "above: 40}}"),
        ("above: 40}", "above: 40"),
        ('text: "{hot}"', 'text: "{hot}'),
        ('text: "{hot}"', 'text: "{cold}"'),
    ],
)
def test_what_is_more_than_an_option_is_left_to_the_whole_check(old: str, new: str) -> None:
    assert BEFORE.graph is not None
    assert old in FLOW
    assert after_edit({FILE: FLOW.replace(old, new)}, {"X": "1"}, REGISTRY, BEFORE.graph) is None


@pytest.mark.parametrize("more", OF_THE_FILE)
def test_what_is_added_to_the_file_behind_its_last_node_is_of_the_file(more: str) -> None:
    text = FLOW[: FLOW.index("tests:")]
    before = whole(text).graph
    assert before is not None
    assert after_edit({FILE: text + more}, {"X": "1"}, REGISTRY, before) is None
    assert after_edit({FILE: text.replace("size: 5}}\n", "size: 6}}\n")}, {"X": "1"}, REGISTRY, before) is not None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 200), st.integers(0, 12), st.lists(st.sampled_from([*PIECES, *OF_THE_FILE]), max_size=3))
def test_nor_does_one_at_the_end_of_a_file(back: int, gone: int, pieces: list[str]) -> None:
    text = FLOW[: FLOW.index("tests:")]
    at = len(text) - back
    before = whole(text).graph
    assert before is not None
    same_outcome(before, text[:at] + "".join(pieces) + text[at + gone :])


def test_another_environment_or_another_set_of_files_is_left_to_it_too() -> None:
    assert BEFORE.graph is not None
    text = FLOW.replace("above: 40", "above: 41")
    assert after_edit({FILE: text}, {"X": "2"}, REGISTRY, BEFORE.graph) is None
    assert after_edit({"other.yaml": text}, {"X": "1"}, REGISTRY, BEFORE.graph) is None
    assert after_edit({FILE: text}, {"X": "1"}, Registry(), BEFORE.graph) is None, "its types are loaded anew"


def test_nothing_new_is_the_very_same_graph() -> None:
    assert BEFORE.graph is not None
    edited = after_edit({FILE: FLOW}, {"X": "1"}, REGISTRY, BEFORE.graph)
    assert edited is not None
    assert edited.graph is BEFORE.graph


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(FLOW)), st.integers(0, 12), st.lists(st.sampled_from(PIECES), max_size=4))
def test_no_edit_comes_out_otherwise_than_by_the_whole_check(at: int, gone: int, pieces: list[str]) -> None:
    assert BEFORE.graph is not None
    same_outcome(BEFORE.graph, FLOW[:at] + "".join(pieces) + FLOW[at + gone :])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OLD), st.sampled_from(["7", "70", "41\n   "])), min_size=2, max_size=4))
def test_one_edit_after_the_other(edits: list[tuple[str, str]]) -> None:
    text, graph = FLOW, whole(FLOW).graph  # of its own: it settles
    for old, new in edits:
        assert graph is not None
        changed = text.replace(old, new, 1)
        found = same_outcome(graph, changed)
        if found is not None:
            graph, text = found, changed
            graph.settle()
