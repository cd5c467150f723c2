"""What changes from one graph to the next. Pure: two graphs in, a plan out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from flowrunner.graph.model import Graph, GraphNode, Outgoing, Wire
from flowrunner.store import Known, fitting

__all__ = ["Change", "Outgoing", "change", "known"]


class Change(msgspec.Struct, frozen=True):
    """Addresses of the new graph; of the old one in ``removed`` and in the values of ``changed``.

    ``kept``: the very same object goes on. ``changed``: another takes the place, with the inbox and, where it fits,
    the state. ``rewired``: kept, and other wires go out of it or come in, or its queue has another policy.
    """

    kept: list[str]
    changed: dict[str, str]
    """New address → the one whose place it takes; another one where only the name has changed."""
    added: list[str]
    removed: list[str]
    rewired: list[str]
    wires: Mapping[str, Outgoing]
    """Of the new graph, by writer."""

    @property
    def nothing(self) -> bool:
        return not (self.changed or self.added or self.removed or self.rewired)

    @property
    def renamed(self) -> dict[str, str]:
        return {new: old for new, old in self.changed.items() if new != old}


def change(old: Graph, new: Graph, settled: Callable[[str], bool] = lambda _: False) -> Change:
    """The least that has to change so that ``new`` runs where ``old`` did. ``settled``: whether something is kept under
    an address that is new; then nobody else's place is taken there."""
    before, after = old.outgoing, new.outgoing
    kept: list[str] = []
    changed: dict[str, str] = {}
    rewired: list[str] = []
    for address, node in new.nodes.items():
        was = old.nodes.get(address)
        if was is None:
            continue
        if was is node and after is before and node.node.depends_on_wires != "both":
            kept.append(address)  # the check took it over as it was
            continue
        same_wires = _incoming(was) == _incoming(node) and before.get(address) == after.get(address)
        readers = {reader for wires in after.get(address, {}).values() for reader, _ in wires}
        inputs = _incoming(was) == _incoming(node) and _same_about(was, node)
        outputs = before.get(address) == after.get(address) and all(
            _same(old.nodes[one], new.nodes[one]) for one in readers
        )
        depends = node.node.depends_on_wires
        if not _same(was, node) or (depends and not inputs) or (depends == "both" and not outputs):
            changed[address] = address
        else:
            kept.append(address)
            if not same_wires or was.queue != node.queue:
                rewired.append(address)
    removed = [address for address in old.nodes if address not in new.nodes]
    added = [address for address in new.nodes if address not in old.nodes]
    if added and removed:
        coming = [known(new.nodes[one]) for one in added if not settled(one)]
        lost = {head.file for head in old.flows.values()} - {head.file for head in new.flows.values()}
        for was_known, now_known in fitting([known(old.nodes[one]) for one in removed], coming, new.flows, lost):
            changed[now_known.address] = was_known.address
        added = [one for one in added if one not in changed]
        removed = [one for one in removed if one not in set(changed.values())]
    return Change(kept, changed, added, removed, rewired, after)


def _incoming(node: GraphNode) -> set[Wire]:
    return set(node.wires)


def _same(old: GraphNode, new: GraphNode) -> bool:
    return (old.kind.name, old.digest, old.node.simulated) == (new.kind.name, new.digest, new.node.simulated)


def _same_about(old: GraphNode, new: GraphNode) -> bool:
    """Whether what comes to a node is of the same shape."""
    return (old.incoming, old.about) == (new.incoming, new.about)


def known(node: GraphNode, file: str = "") -> Known:
    """Who a node is, from one run or reload to the next. ``file``: as it is kept, whatever way leads there."""
    return Known(node.flow, node.id, file or node.file, node.kind.name, node.digest)
