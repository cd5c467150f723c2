"""One graph in place of another: what a reload must never do, how it is done, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable
from typing import Literal

import msgspec

from flowrunner.errors import Problem
from flowrunner.graph import Change, Checked, Graph, GraphNode, change
from flowrunner.identities import Identities, files_of
from flowrunner.logs import Secrets
from flowrunner.routes import Routes, routes_of
from flowrunner.runtime import Runtime, SwapFailed


class Reloaded(msgspec.Struct):
    """What came of a reload. Nodes by their addresses (``flow/id``)."""

    result: Literal["unchanged", "applied", "refused", "failed"]
    """refused: the new files have problems, or need a restart; failed: a node did not open, and all was put back."""
    generation: int
    """Of the graph that runs now."""
    reason: str = ""
    """Why the old one runs on, in a sentence."""
    added: list[str] = []
    removed: list[str] = []
    changed: list[str] = []
    rewired: list[str] = []
    problems: list[Problem] = []
    """Those of the files that were read, notes and warnings too."""
    seconds: float = 0.0
    pause_seconds: float = 0.0
    """The longest that messages waited for a node that changed."""


class Changeover:
    """From the graph that a runtime runs to the one that was checked. Used once: ``await run()``, and where that was
    applied ``await remember()``."""

    def __init__(self, checked: Checked, runtime: Runtime, identities: Identities) -> None:
        self.checked, self.runtime, self.identities = checked, runtime, identities
        self._plan: Change | None = None
        self._files = files_of(runtime.graph)

    async def run(self, generation: int, arrived: Callable[[Graph, Routes], None]) -> Reloaded:
        """Never raises for what is wrong with a flow: the answer says why the old one runs on. ``generation``: of the
        graph that runs; ``arrived`` is called in the very step in which the new one takes over."""
        runtime, store, before = self.runtime, self.runtime.store, self.runtime.graph
        graph, problems = self.checked.graph, self.checked.problems
        if graph is not None:
            problems = [*problems, *needs_restart(before, graph, runtime.stubs)]
        if graph is None or any(one.severity == "error" for one in problems):
            first = next(one for one in problems if one.severity == "error")
            return Reloaded("refused", generation, problems=problems, reason=str(first))
        inline = not runtime.sliced  # in virtual time nothing happens beside the loop
        self._plan = plan = self._planned(graph) if inline else await asyncio.to_thread(self._planned, graph)
        heads = (before.flows, before.disabled) == (graph.flows, graph.disabled)
        if plan.nothing and heads:
            return Reloaded("unchanged", generation, problems=problems)
        outcome = Reloaded(
            "applied", generation + 1, problems=problems, added=plan.added, removed=plan.removed,
            changed=list(plan.changed), rewired=plan.rewired,
        )  # fmt: skip
        # While both are there, both count.
        store.may_start_fresh = store.may_start_fresh and not graph.keeps_orders
        try:
            routes = routes_of(graph)
            outcome.pause_seconds = await runtime.swap(
                graph,
                plan,
                lambda graph, renamed: self.identities.tell(graph, renamed, before.nodes),
                lambda graph: arrived(graph, routes),
            )
        except SwapFailed as error:
            if plan.renamed or plan.added:  # the store was told already, and maybe not told back
                self.identities.doubt()
            reason = Secrets([*graph.secrets, *before.secrets]).mask(str(error))  # a node may quote its options
            outcome.result, outcome.reason, outcome.generation = "failed", reason, generation
        finally:
            store.may_start_fresh = not runtime.graph.keeps_orders
        return outcome

    def _planned(self, graph: Graph) -> Change:
        store = self.runtime.store
        return change(self.runtime.graph, graph, lambda address: store.has_kept(*address.split("/", 1)))

    async def remember(self) -> None:
        """Have the store know who the nodes are now."""
        if self._plan is not None:
            await self.identities.remember(self.runtime.graph, self._plan, self._files)


def needs_restart(running: Graph, graph: Graph, stubs: Container[str]) -> Iterable[Problem]:
    """What a reload must never do (DOMAIN: orders that count begin with a restart)."""
    before, after = _live_chain(running, stubs), _live_chain(graph, stubs)
    begins = {address for address, spec in after.items() if spec.node.live and address not in before}
    behind = {wire.source for address in begins for wire in after[address].wires}
    for address, spec in after.items():
        if address in behind and address not in before:
            continue  # said of the node that sends
        was = before.get(address)
        if was is None:
            message = "a reload never begins to send live orders"
        elif was.market != spec.market:
            message = "a reload never changes the market of live orders"
        elif was.node.live and _venue(was) != _venue(spec):
            message = "a reload never sends live orders to another exchange"
        else:
            continue
        yield Problem(
            file=spec.file, line=spec.line, column=1, path=f"nodes.{spec.id}", code="needs-restart",
            message=message, hint="restart flowrunner to let this change in; what ran before runs on",
        )  # fmt: skip


def sends_live(graph: Graph, stubs: Container[str]) -> dict[str, GraphNode]:
    """Nodes that send orders that count, in the world as it is. ``stubs``: for which a test speaks."""
    return {
        address: spec
        for address, spec in graph.nodes.items()
        if spec.node.live and not spec.node.simulated and address not in stubs
    }


def _live_chain(graph: Graph, stubs: Container[str]) -> dict[str, GraphNode]:
    """Nodes that send orders that count, and the guards that decide about them."""
    live = sends_live(graph, stubs)
    return live | {wire.source: graph.nodes[wire.source] for spec in live.values() for wire in spec.wires}


def _venue(spec: GraphNode) -> object:
    """Where its orders go, whatever the key."""
    return [getattr(spec.node.options, name, None) for name in ("url", "adapter", "http")]
