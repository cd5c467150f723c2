"""Who is spoken for in a replay, who runs, and who is cut off. Pure."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from flowrunner.errors import UsageError, did_you_mean
from flowrunner.graph import PORTS_OF_ALL, Graph, GraphNode
from flowrunner.orders import Energy

FIELDS = ("soc_percent", "active_power_mw", "temperature_c")
"""What a battery tells."""
TELEMETRY = "telemetry"


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of nodes. ``speaker``: the node that the battery speaks as; "" where recorded telemetry does."""

    orders: list[str]
    prices: list[str]
    rules: list[str]
    recorded: list[str]
    telemetry: str
    speaker: str
    port: str = "out"
    """By which the battery's words leave the speaker."""
    tells: tuple[str, ...] = ()
    """The fields that the speaker knows."""
    silent: list[str]
    """Sources that are cut off, and somebody would hear them."""
    stubs: list[str]
    energy: Energy | None
    """Of the flow's risk-guard."""


def cast(graph: Graph, recorded: Collection[str]) -> Cast:
    """``recorded``: ids of the nodes that --data names. UsageError where the flow cannot be replayed so."""
    if len(graph.flows) != 1:
        raise UsageError(
            f"replay runs one flow, and here are {len(graph.flows)}: {', '.join(graph.flows)}; name one file"
        )
    flow = next(iter(graph.flows))
    nodes = graph.nodes
    orders = [one for one, spec in nodes.items() if spec.node.peer == "exchange"]
    if not orders:
        raise UsageError(
            f"{flow} makes no orders: it has no exchange-out with 'send: orders', so there is nothing to reckon"
        )
    told = [_recorded(graph, flow, name) for name in recorded]
    telemetry = _telemetry(graph, flow)
    speaker, port, silenced = "", "out", set[str]()
    if not told or not (_upstream(graph, telemetry) | {telemetry}) & set(told):
        speaker, port = _speaker(graph, telemetry)
        silenced = {wire.source for wire in nodes[telemetry].wires} or {telemetry}
    prices = [one for one, spec in nodes.items() if spec.node.peer == "prices"]
    sources = [one for one, spec in nodes.items() if not spec.wires and not _runs_by_itself(spec)]
    heard = {
        wire.source for spec in nodes.values() for wire in spec.wires if wire.port in spec_ports(nodes[wire.source])
    }
    sinks = [
        one
        for one, spec in nodes.items()
        if one not in orders
        and spec.wires
        and (spec.node.side_effect != "none" or (one not in heard and spec.kind.name not in ("rule", "risk-guard")))
    ]
    stubs = list(dict.fromkeys([*told, *silenced, *prices, *sources, *sinks]))
    spoken = {speaker, *told, *prices}
    silent = [
        one
        for one in sources
        if one not in spoken
        and one not in silenced
        and any(
            wire.source == one and not wire.listens and spec.address not in stubs
            for spec in nodes.values()
            for wire in spec.wires
        )
    ]
    tells: tuple[str, ...] = ()
    if speaker:
        shape = nodes[speaker].shapes.get(port)
        tells = tuple(name for name in FIELDS if shape is None or shape.open or name in shape.fields)
        if not tells:
            raise UsageError(f"{nodes[speaker].id} knows none of {', '.join(FIELDS)}; name the node with --data")
    return Cast(
        orders=orders,
        prices=[one for one in prices if one not in told],
        rules=[one for one, spec in nodes.items() if spec.kind.name == "rule"],
        recorded=told,
        telemetry=telemetry,
        speaker=speaker,
        port=port,
        tells=tells,
        silent=silent,
        stubs=stubs,
        energy=next((found for spec in nodes.values() if (found := _energy(spec)) is not None), None),
    )


def spec_ports(spec: GraphNode) -> Collection[str]:
    """The ports by which its work leaves: not its errors."""
    return spec.node.ports


def _energy(spec: GraphNode) -> Energy | None:
    found = getattr(spec.node.options, "energy", None)
    return found if spec.kind.name == "risk-guard" and isinstance(found, Energy) else None


def _runs_by_itself(spec: GraphNode) -> bool:
    """A source that needs nobody outside, and says something without being asked."""
    return spec.node.self_contained and hasattr(spec.node, "produce")


def _recorded(graph: Graph, flow: str, name: str) -> str:
    address = name if "/" in name else f"{flow}/{name}"
    if address in graph.disabled:
        raise UsageError(f"--data {name}: the node does not run: {graph.disabled[address]}")
    if address not in graph.nodes:
        known = [one.removeprefix(f"{flow}/") for one in graph.nodes]
        hint = did_you_mean(name, known) or f"nodes: {', '.join(known)}"
        raise UsageError(f"--data {name}: there is no such node; {hint}")
    kind = graph.nodes[address].kind.name
    if kind in ("rule", "risk-guard", "exchange-out"):
        raise UsageError(f"--data {name}: a {kind} decides; recorded is what it decides on: name a node in front of it")
    return address


def _upstream(graph: Graph, address: str) -> set[str]:
    """All whose messages can reach it."""
    found: set[str] = set()
    waiting = [address]
    while waiting:
        for wire in graph.nodes[waiting.pop()].wires:
            if wire.source not in found:
                found.add(wire.source)
                waiting.append(wire.source)
    return found


def _telemetry(graph: Graph, flow: str) -> str:
    """The node that has the battery's record."""
    address = f"{flow}/{TELEMETRY}"
    if address in graph.nodes:
        return address
    if address in graph.disabled:
        raise UsageError(f"{TELEMETRY} does not run: {graph.disabled[address]}; enable one of its inputs")
    for one, spec in graph.nodes.items():
        if set(FIELDS) <= set(spec.shapes["out"].fields if "out" in spec.shapes else ()):
            return one
    raise UsageError(
        f"no node of {flow} sends {', '.join(FIELDS)} together, so there is nothing that the simulated battery could "
        f"take the place of; call the node with the battery's record {TELEMETRY!r}, or give its records "
        "with --data NODE=FILE"
    )


def _speaker(graph: Graph, telemetry: str) -> tuple[str, str]:
    """As whom the battery speaks to the node, and by which port."""
    spec = graph.nodes[telemetry]
    if not spec.wires:
        return telemetry, "out"
    for wire in spec.wires:
        if not graph.nodes[wire.source].node.manual and wire.port not in PORTS_OF_ALL:
            return wire.source, wire.port
    off = ", ".join(one.partition("/")[2] for one in graph.disabled) or "none is there"
    raise UsageError(
        f"every automatic input of {spec.id} is off ({off}): there is nobody that the simulated battery could speak "
        "as; enable one of them, or give records with --data NODE=FILE"
    )
