"""Random changes of one flow into another: what a person may do to a file between two saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.reload.flows import PORTS, Draw, FlowText, Kinds, Maker, Spec


def changed(maker: Maker, flow: FlowText, ways: tuple[str, ...]) -> FlowText:
    """The flow after one edit; some edits find nothing to do."""
    way = maker.one_of(*ways) if flow.nodes else "add a source"
    inner = [name for name, one in flow.nodes.items() if one.inputs]
    if way == "head":
        return replace(flow, head=_other_head(maker, flow.head))
    if way == "add":
        return maker.with_inner(flow)
    if way == "add a source":
        return maker.with_source(flow, maker.one_of(*maker.sources))
    if way == "order":
        return _reordered(maker, flow)
    name = maker.one_of(*(flow.nodes if way in ("rename", "remove", "enabled", "option") else inner or flow.nodes))
    spec = flow.nodes[name]
    if way == "rename":
        return _renamed(flow, name, maker.name(name[0]))
    if way == "remove":
        return _removed(flow, name)
    if way == "enabled":
        enabled = not spec.envelope.get("enabled", True)
        return flow.with_node(name, replace(spec, envelope={**spec.envelope, "enabled": enabled}))
    if way == "option" and not spec.inputs and spec.type != "on-error":
        return flow.with_node(name, replace(spec, options=maker.source_options(spec.type, name)))
    if not spec.inputs:
        return flow
    if way == "option":
        return flow.with_node(name, replace(spec, options=_near(maker, spec)))
    if way == "queue":
        rest = {key: value for key, value in spec.envelope.items() if key != "queue"}
        return flow.with_node(name, replace(spec, envelope={**rest, **maker.queue()}))
    if way == "rewire":
        before = list(flow.nodes)[: list(flow.nodes).index(name)]
        return flow.with_node(name, replace(spec, inputs=maker.inputs(before, flow.nodes, spec.type) or spec.inputs))
    assert way == "type", way
    type_ = maker.one_of(*(one for one in maker.types if one != spec.type))
    made = replace(spec, type=type_, options=maker.options(type_), inputs=spec.inputs)
    return _without_lost_ports(flow.with_node(name, made))


RENAMED, GONE, MOVED = ("rename",), ("remove", "rename", "option"), ("rewire", "enabled")
WAYS = ("head", "add", "add a source", "order", "rename", "remove", "enabled", "option", "queue", "rewire", "type")


def _near(maker: Maker, spec: Spec) -> dict[str, Any]:
    """Other options; those of a compute or select keep the names of their fields, sometimes."""
    made = maker.options(spec.type)
    if spec.type in ("compute", "select") and maker.one_of(True, False):
        old, new = spec.options["fields"], made["fields"]
        made["fields"] = dict(zip(old, new.values(), strict=True))
    return made


def _other_head(maker: Maker, head: Mapping[str, Any]) -> dict[str, Any]:
    new = {**head, "vars": {"limit": maker.limit()}, "timezone": maker.one_of("Europe/Vienna", "UTC")}
    new.pop("market", None)
    if maker.one_of(True, False):
        new["market"] = {"name": "epex_at", "slot": maker.one_of("15min", "1h"), "gate_closure": "5min"}
    return new


def _reordered(maker: Maker, flow: FlowText) -> FlowText:
    """The same nodes, where a person moved lines: one that reads from nobody behind it stands elsewhere."""
    names = list(flow.nodes)
    name = maker.one_of(*names)
    earliest = max((names.index(one.partition(".")[0]) + 1 for one in flow.nodes[name].inputs), default=0)
    place = maker.draw(st.integers(earliest, names.index(name)))
    names.remove(name)
    names.insert(place, name)
    return replace(flow, nodes={one: flow.nodes[one] for one in names})


def _renamed(flow: FlowText, old: str, new: str) -> FlowText:
    def called(wire: str) -> str:
        node, _, port = wire.partition(".")
        return f"{new if node == old else node}.{port}"

    nodes = {
        (new if name == old else name): replace(one, inputs=tuple(called(wire) for wire in one.inputs))
        for name, one in flow.nodes.items()
    }
    return replace(flow, nodes=nodes)


def _removed(flow: FlowText, name: str) -> FlowText:
    return _without_lost_ports(replace(flow, nodes={one: spec for one, spec in flow.nodes.items() if one != name}))


def _without_lost_ports(flow: FlowText) -> FlowText:
    """Nobody reads from a port that is not there; who has nothing to read from any more goes too."""
    kept: dict[str, Spec] = {}
    for name, spec in flow.nodes.items():
        found = tuple(one for one in spec.inputs if _is_there(one, kept))
        if found or not spec.inputs:
            kept[name] = replace(spec, inputs=found)
    return replace(flow, nodes=kept)


def _again(maker: Maker, flow: FlowText, earlier: list[FlowText]) -> FlowText:
    """With a node that was there before and has gone, by its old name or by another."""
    gone = {
        name: spec
        for one in earlier
        for name, spec in one.nodes.items()
        if name not in flow.nodes and spec.inputs and all(_is_there(wire, flow.nodes) for wire in spec.inputs)
    }
    if not gone:
        return flow
    name = maker.one_of(*gone)
    return flow.with_node(maker.one_of(name, maker.name("n")), gone[name])


def _is_there(wire: str, nodes: Mapping[str, Spec]) -> bool:
    node, _, port = wire.partition(".")
    return node in nodes and port in PORTS.get(nodes[node].type, ("out",))


@st.composite
def histories(draw: Draw, kinds: Kinds, length: int = 2, ways: tuple[str, ...] = WAYS) -> list[FlowText]:
    """``length`` versions of a flow; each comes of the one before by some edits, or now and then is another flow."""
    maker = Maker(draw, kinds)
    versions = [maker.flow()]
    while len(versions) < length:
        version = versions[-1]
        if ways == WAYS and draw(st.integers(0, 9)) == 9:
            version = maker.flow()
        for _ in range(draw(st.integers(0, 4))):
            version = changed(maker, version, ways)
        if "remove" in ways and draw(st.booleans()):
            version = _again(maker, version, versions)
        versions.append(version)
    return versions
