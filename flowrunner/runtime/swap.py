"""From one graph to the next while it runs: only what changed stops, and what goes wrong is put back.

The new nodes are made and opened while all others work on; then, between two messages, everything changes at once.
After that nothing can fail any more: the old nodes hand on what they have, and are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from flowrunner.clock.io_time import stopwatch
from flowrunner.errors import FlowrunnerError, NotConnected, described
from flowrunner.graph import Change, Graph
from flowrunner.runtime.delivery import Reader
from flowrunner.runtime.departure import all_of, bounded, close, drain_source, remove
from flowrunner.runtime.supervision import END_LIMIT_S, NODE_FAULTS
from flowrunner.runtime.worker import Worker

if TYPE_CHECKING:
    from flowrunner.runtime import Runtime

HandOver = Callable[[Graph, Mapping[str, str]], Awaitable[None]]
"""Tells the store who the nodes of a graph are, and who of them had another name (new address → old one)."""
PAUSE_S, AT_MOST_ONCE_S = 5.0, 60.0
"""Seconds that a message in work may take to end before its node is replaced; the latter for what must not be broken
off, like an order that is being sent."""
OPEN_S = 10.0
"""Seconds that a new node may take to open."""
LISTEN_S = 5.0
"""Seconds that a new source may take until it hears all that comes."""
HAND_OVER_S = 10.0
"""Seconds that the store may take to give state another owner."""
log = logging.getLogger("flowrunner.runtime")


class SwapFailed(FlowrunnerError):
    """The new graph does not run; the old one does, as before."""


class Swap:
    """Used once: ``await run()``. SwapFailed when the old graph runs on."""

    def __init__(
        self, runtime: Runtime, graph: Graph, change: Change, hand_over: HandOver, arrived: Callable[[Graph], None]
    ) -> None:
        """See `Runtime.swap`."""
        self.runtime, self.graph, self.change = runtime, graph, change
        self.paused_s = 0.0
        """The longest that a node was paused."""
        self.switched = False
        """The new graph runs; the rest is to see the old nodes off."""
        self._hand_over, self._arrived = hand_over, arrived
        self._handed_over = False
        self._old = {address: runtime.workers[was] for address, was in change.changed.items()}
        self._removed = [runtime.workers[one] for one in change.removed]
        self._new: dict[str, Worker] = {}
        self._paused: list[Worker] = []
        self._closed: list[Worker] = []  # old ones that had to let go of something before
        self._left: list[Worker] = []  # old ones that take nothing new

    async def run(self) -> None:
        began = stopwatch()
        try:
            await self._prepare()
        except (SwapFailed, asyncio.CancelledError):
            await asyncio.shield(self._put_back())
            raise
        except NODE_FAULTS as error:  # of a type's own code, or of the store
            await asyncio.shield(self._put_back())
            raise SwapFailed(described(error)) from error
        self._switch()
        self.paused_s = stopwatch() - began
        await all_of(self._succeed(address, worker) for address, worker in self._new.items())
        await remove(self.runtime, self._removed)

    # ---- before: anything may fail ------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        runtime = self.runtime
        once = [one for one in [*self._old.values(), *self._removed] if one.node.side_effect == "at_most_once"]
        await all_of(self._pause(worker) for worker in once)  # they may take long: meanwhile nobody else waits
        await all_of(self._pause(worker) for worker in self._old.values() if worker not in once)
        runtime.commits.commit()
        if any(worker.ctx.state.dirty for worker in self._old.values()):
            raise SwapFailed("the state of the nodes that change cannot be kept at present; the log says why")
        if self.change.renamed or self.change.added:  # an added one may be one that went at an earlier reload
            self._handed_over = True
            await self._tell_store(self.graph, self.change.renamed)
        for address in [*self.change.changed, *self.change.added]:
            self._new[address] = self._made(address)
        for address, worker in self._new.items():
            worker.out.wire(self.change.wires.get(address, {}), self._reader)
        await self._open()

    async def _pause(self, worker: Worker) -> None:
        """Between two messages. A source goes on until the switch: who reads from it takes what comes meanwhile."""
        self._paused.append(worker)
        once = worker.node.side_effect == "at_most_once"
        limit = AT_MOST_ONCE_S if once else PAUSE_S
        if not await worker.pause(limit):
            if once:
                raise SwapFailed(
                    f"{worker.spec.address} is in the middle of something that must not be broken off, for more than "
                    f"{limit:g} s; try again when it has ended"
                )
            worker.ctx.log.warning("its message is broken off after %g s and given to the new node", limit)
            await self.runtime.tasks.end([worker])

    async def _tell_store(self, graph: Graph, renamed: Mapping[str, str]) -> None:
        try:
            async with asyncio.timeout(HAND_OVER_S):
                await self.runtime.store.flush()
                await self._hand_over(graph, renamed)
        except (FlowrunnerError, TimeoutError, sqlite3.Error, RuntimeError) as error:  # the last: it is closed
            why = str(error) or f"no answer within {HAND_OVER_S:g} s"
            raise SwapFailed(f"the store does not take the new names of nodes: {why}") from error

    def _made(self, address: str) -> Worker:
        spec, old = self.graph.nodes[address], self._old.get(address)
        fresh = old is not None and old.spec.kind.name != spec.kind.name
        inbox = self.runtime.inbox_of(spec) if old is None else old.inbox
        worker = self.runtime.make(spec, inbox, fresh=fresh)
        worker.paused = True
        worker.ctx.state.detach()
        return worker

    def _reader(self, address: str) -> Worker:
        return self._new.get(address) or self.runtime.workers[address]

    async def _open(self) -> None:
        """All at once; then, one by one, those that need what an old one has. Sources that take a place over must hear
        all that comes before the old ones may go."""
        owners = {claim: one for one in [*self._old.values(), *self._removed] for claim in _exclusive(one)}
        waits = {address: [claim for claim in _exclusive(one) if claim in owners] for address, one in self._new.items()}
        await all_of(self._open_one(worker) for address, worker in self._new.items() if not waits[address])
        for address, claims in waits.items():
            for owner in (owners[claim] for claim in claims):
                if owner not in self._closed:
                    self._closed.append(owner)
                    await self.runtime.tasks.end_source(owner)
                    await bounded(owner.life.close(), END_LIMIT_S)
            if claims:
                await self._open_one(self._new[address])
        heirs = {
            old: self._new[address] for address, old in self._old.items() if old.leaves and old not in self._closed
        }
        await all_of(self._listening(worker) for worker in heirs.values())
        for old, worker in heirs.items():
            self._left.append(old)
            self.runtime.tasks.make_way(old, worker.node)

    async def _listening(self, worker: Worker) -> None:
        """All that comes is heard by the new source: the old one may go. Where both share what brings it, at once."""
        listening: Callable[[], Awaitable[None]] | None = getattr(worker.node, "listening", None)
        if listening is not None and worker.opened:
            with contextlib.suppress(TimeoutError):  # its peer is away: as at a start
                async with asyncio.timeout(LISTEN_S):
                    await listening()

    async def _open_one(self, worker: Worker) -> None:
        """A peer that is away is no failure: the node waits for it, as at a start."""
        if worker.stub:
            worker.life.opened = True
            worker.counters.state = "running"
            return
        address = worker.spec.address
        try:
            if not await bounded(worker.life.open_once(OPEN_S), OPEN_S + END_LIMIT_S):
                raise SwapFailed(f"{address} does not open, and does not let itself be stopped")
        except NotConnected as error:
            worker.ctx.log.info("it is not connected yet: %s", error)
        except SwapFailed:
            raise
        except NODE_FAULTS as error:
            late = isinstance(error, TimeoutError) and not str(error)
            why = f"it took more than {OPEN_S:g} s" if late else described(error)
            raise SwapFailed(f"{address} does not open: {why}") from error

    async def _put_back(self) -> None:
        """As if nothing had been."""
        for worker in self._new.values():
            worker.end()
        for worker in self._new.values():
            await bounded(worker.life.close(), END_LIMIT_S)
        if self._handed_over:
            try:
                await self._tell_store(self.runtime.graph, {old: new for new, old in self.change.renamed.items()})
            except SwapFailed as error:
                log.error("after a reload that failed: %s", error)
        again = [*self._left, *self._closed]
        for worker in self._left:
            await drain_source(self.runtime, worker, has_left=True)
            worker.counters.state = "running"
        for worker in again:
            await bounded(worker.life.close(), END_LIMIT_S)
        for worker in dict.fromkeys([*self._paused, *again]):
            worker.ctx.state.again()
            worker.life.ending = worker.out.unhindered = False
            worker.resume()
            self.runtime.tasks.start(worker)
            if worker.counters.state != "finished":
                self.runtime.tasks.start_source(worker)
            worker.nudge(0)

    # ---- the switch: one step of the loop, between two messages ---------------------------------------------------

    def _switch(self) -> None:
        runtime, change = self.runtime, self.change
        for address in change.kept:
            worker, spec = runtime.workers[address], self.graph.nodes[address]
            if worker.spec is spec:
                continue
            spec.node = worker.node
            worker.spec, before = spec, worker.spec
            if before.queue != spec.queue:
                runtime.requeue(worker)
        instead: dict[Reader, Reader] = {old: self._new[address] for address, old in self._old.items()}
        runtime.workers = {address: self._reader(address) for address in self.graph.nodes}
        for address in {*change.rewired, *self._writers()}:
            runtime.workers[address].out.wire(change.wires.get(address, {}), self._reader)
        for worker in [*self._old.values(), *self._removed]:  # what it still has goes where it is waited for
            worker.out.rewire(instead)
        if self._other_ways():
            for worker in [*runtime.workers.values(), *self._removed]:
                if worker.inbox.in_line:
                    worker.inbox.let_all_in()
        runtime.wiring += 1
        for address, worker in self._new.items():
            if (old := self._old.get(address)) is not None:
                old.end()
                old.ctx.state.detach()
                worker.counters.carry(old.counters)
                runtime.rename(worker)
        self.graph.settle()
        runtime.take(self.graph, [*self._old.values(), *self._removed])
        self._arrived(self.graph)
        for worker in self._new.values():
            runtime.requeue(worker)
            worker.ctx.state.attach(runtime.commits.state_changed)
            worker.resume()
            if worker.opened or worker.spec.address not in self._old:
                runtime.tasks.start(worker)
            worker.nudge(0)
        self.switched = True

    def _other_ways(self) -> bool:
        """Whether a node may come behind one that it was before, and that waits for it with what it has."""
        change = self.change
        another = (worker.spec.wires != self._new[address].spec.wires for address, worker in self._old.items())
        return bool(change.rewired or change.added or change.removed or any(another))

    def _writers(self) -> set[str]:
        """Kept nodes that a new one reads from."""
        return {wire.source for worker in self._new.values() for wire in worker.spec.wires} - set(self._new)

    # ---- after: the old ones go -----------------------------------------------------------------------------------

    async def _succeed(self, address: str, worker: Worker) -> None:
        """The new source begins where the old one has ended."""
        old, opened = self._old.get(address), worker.opened
        if old is not None:
            await drain_source(self.runtime, old, has_left=old in self._left)
            if not opened:  # it may need what the old one still has, like its name at a broker
                await close(self.runtime, old, closed=old in self._closed)
        self.runtime.tasks.start(worker)
        self.runtime.tasks.start_source(worker)
        if old is not None and opened:
            await close(self.runtime, old, closed=old in self._closed)


def _exclusive(worker: Worker) -> list[str]:
    """What only one node can have at a time. Routes are rows of a table, which changes in one step."""
    return [one for one in worker.node.claims() if not one.startswith("route:")]
