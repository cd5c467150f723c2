"""Who the nodes are, as the store knows it: what a node kept is found again under another name."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Container, Iterable, Mapping

from flowrunner.graph import Change, Graph, known
from flowrunner.store import Known, Store, StoreFailed, note, take_over

log = logging.getLogger("flowrunner.engine")


class Identities:
    """Tells a store who the nodes are: all of them, or, where it knows all, those that have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._all_known = False
        """The store knows who all nodes are."""

    async def begin(self, graph: Graph) -> None:
        """Tell of a graph that is about to start."""
        await self.tell(graph)
        self._all_known = True

    async def tell(self, graph: Graph, renamed: Mapping[str, str] | None = None, going: Container[str] = ()) -> None:
        """What a node kept goes on with it under another name. ``renamed`` are certain to (new address → old one);
        nodes that are ``going`` on, or not gone yet, are nobody else."""
        nodes = _known(graph)
        for old, new in await self._store.submit(lambda sql: take_over(sql, nodes, going=going, certain=renamed)):
            log.info("%s goes on with what %s kept", new.address, old.address)

    def doubt(self) -> None:
        """The store was told of a graph that did not come, and maybe not told back."""
        self._all_known = False

    async def remember(self, graph: Graph, plan: Change, files: Mapping[str, str]) -> None:
        """Tell of a graph that runs: where only options have changed, of these. ``files``: those of the graph before.
        A store that cannot keep it is told with the next one."""
        try:
            await self._remember(graph, plan, files)
        except (StoreFailed, sqlite3.Error) as error:
            log.error("who the nodes are now is not kept: %s", error)

    async def _remember(self, graph: Graph, plan: Change, files: Mapping[str, str]) -> None:
        others = plan.added or plan.removed or plan.renamed or files != files_of(graph)
        told, self._all_known = self._all_known, False
        if others or not told:
            await self.tell(graph)
        else:
            changed = _known(graph, plan.changed)
            await self._store.submit(lambda sql: note(sql, changed))
        self._all_known = True


def files_of(graph: Graph) -> dict[str, str]:
    """Flow → its file."""
    return {head.name: head.file for head in graph.flows.values()}


def _known(graph: Graph, some: Iterable[str] | None = None) -> list[Known]:
    """Who the nodes are for the next run; of all, or of those at these addresses."""
    files = {head.file: os.path.realpath(head.file) for head in graph.flows.values()}
    ones = graph.nodes.values() if some is None else [graph.nodes[address] for address in some]
    return [known(one, files[one.file]) for one in ones]
