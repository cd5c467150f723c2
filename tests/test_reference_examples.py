"""The example that ``flowrunner nodes TYPE`` shows of every type is part of a flow that is good."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from flowrunner.graph import check_flows
from flowrunner.reference import describe, example
from flowrunner.registry import Registry

REGISTRY = Registry()
MARKET = "market: {name: epex_at, slot: 15min, gate_closure: 5min}"
PLAIN = """from flowrunner.node import Message, Node


class Plain(Node):
    def process(self, message: Message, ctx: object) -> None: ...
"""


@pytest.mark.parametrize("name", REGISTRY.names)
def test_the_example_of_a_type_is_good(name: str) -> None:
    shown = example(REGISTRY.get(name))
    flow = f"flow: example\n{MARKET}\nnodes:\n{textwrap.indent(shown, '  ')}\n"
    checked = check_flows({"example.yaml": flow}, {}, REGISTRY)
    assert [str(problem) for problem in checked.problems] == []
    assert checked.graph is not None
    assert name in {part.node.type for part in checked.graph.nodes.values()}


@pytest.mark.parametrize("name", REGISTRY.names)
def test_the_example_is_shown_before_the_options(name: str) -> None:
    shown = textwrap.indent(example(REGISTRY.get(name)), "  ")
    assert f"\n\nexample:\n{shown}\n\noptions:\n" in describe(REGISTRY, name)


def test_a_type_without_an_example_has_no_heading_for_it(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN, encoding="utf-8")
    assert "example" not in describe(Registry([tmp_path]), "plain")
