"""Running a graph: one worker and one inbox per node, supervision, and a clean stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

import msgspec

from flowrunner.clock import Clock
from flowrunner.connections import Connections
from flowrunner.graph import Graph, GraphNode
from flowrunner.message import Message
from flowrunner.node import Node
from flowrunner.runtime.context import NodeContext
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.inbox import Entry, Inbox, Token
from flowrunner.runtime.replies import Replies
from flowrunner.runtime.state import NodeState
from flowrunner.runtime.worker import Worker
from flowrunner.store import DeadLetter, Store

__all__ = ["Counters", "Entry", "Inbox", "Runtime", "Token", "Worker"]

COMMIT_DELAY_S = 0.5
"""State that changed is handed to the store after this many seconds; it commits within a second in all."""
log = logging.getLogger("flowrunner.runtime")


class Runtime:
    """Runs one graph.

    ``sliced=False`` (virtual time): runs do not depend on how fast the machine is. ``stubs``: addresses of nodes
    that are neither opened nor run, because a test speaks for them.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        clock: Clock,
        store: Store,
        connections: Connections | None = None,
        sliced: bool = True,
        stubs: Collection[str] = (),
    ) -> None:
        self.graph = graph
        self.clock = clock
        self.store = store
        self.connections = connections or Connections()
        self.replies = Replies()
        self.sliced = sliced
        self.stubs = frozenset(stubs)
        self.inboxes: dict[str, Inbox] = {}
        """By address; an inbox outlives the node that reads it."""
        self.workers: dict[str, Worker] = {}
        self.contexts: dict[str, NodeContext] = {}
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with a sentence when a node raised Fatal: the flow must stop."""
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: set[NodeState] = set()
        self._commit: asyncio.TimerHandle | None = None

    # ---- start -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make every worker and start it. A peer that is away is no error: its node waits."""
        for spec in self.graph.nodes.values():
            self._make(spec)
        self._wire()
        for address, worker in reversed(self.workers.items()):  # readers first: a source finds them ready
            if address in self.stubs:
                worker.counters.state = "running"
                continue
            if type(worker.node).open is Node.open:
                worker.opened = True
                worker.counters.state = "running"
            self._tasks[address] = self._spawn(worker.run(), worker)
        for address, worker in self.workers.items():
            produce = getattr(worker.node, "produce", None)
            if produce is not None and address not in self.stubs:
                self._sources[address] = self._spawn(worker.run_source(produce), worker)

    def _make(self, spec: GraphNode) -> None:
        inbox = self.inboxes.setdefault(spec.address, Inbox(spec.queue))
        worker = Worker(spec, inbox, self)
        self.workers[spec.address] = worker
        self.contexts[spec.address] = NodeContext(self, worker)

    def _wire(self) -> None:
        for worker in self.workers.values():
            for wire in worker.spec.wires:
                self.workers[wire.source].readers.setdefault(wire.port, []).append((worker, wire.name))

    def _spawn(self, work: Coroutine[Any, Any, None], worker: Worker) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=worker.spec.address)
        task.add_done_callback(lambda done: self._ended(worker, done))
        return task

    def _ended(self, worker: Worker, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()  # a defect of the runtime itself: say it loudly, restart the worker alone
        log.error("%s: its worker ended: %r", worker.spec.address, error, exc_info=error)
        worker.counters.error("worker", repr(error), self.now())
        worker.counters.restarts += 1
        if task is self._tasks.get(worker.spec.address):
            self._tasks[worker.spec.address] = self._spawn(worker.run(), worker)
            worker.wake.set()

    # ---- what workers ask of their host ----------------------------------------------------------------------------

    def now(self) -> int:
        return self.clock.now()

    def rejected(self, worker: Worker, code: str, reason: str, message: Message | None) -> None:
        """A message leaves by the error port; with nobody there, it is kept as a dead letter."""
        context = self.contexts[worker.spec.address]
        context.error(code, reason, message)
        if message is not None and not worker.readers.get("error"):
            context.log.warning("rejected a message (%s): %s", code, reason)
            self.store.add_dead_letter(
                DeadLetter(
                    at=self.now(),
                    flow=worker.spec.flow,
                    node=worker.spec.id,
                    code=code,
                    reason=reason,
                    message=msgspec.json.encode(message, enc_hook=repr),
                )
            )

    def fatal(self, worker: Worker, error: BaseException) -> None:
        worker.counters.error("fatal", str(error), self.now())
        log.critical("%s: %s: the flow stops", worker.spec.address, error)
        if not self.failed.done():
            self.failed.set_result(f"{worker.spec.address}: {error}")

    async def release(self, worker: Worker) -> None:
        await self.connections.release(worker.spec.address)

    def state_changed(self, state: NodeState) -> None:
        """Group commit: the first change of any node starts the clock."""
        self._changed.add(state)
        if self._commit is None:
            self._commit = asyncio.get_running_loop().call_later(COMMIT_DELAY_S, self.commit)

    def commit(self) -> None:
        """Hand every changed state to the store now."""
        if self._commit is not None:
            self._commit.cancel()
            self._commit = None
        changed, self._changed = self._changed, set()
        for state in changed:
            state.commit()

    # ---- stop --------------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until nothing is on its way (sources may go on)."""
        for worker in self.workers.values():
            await worker.idle.wait()

    async def stop(self, deadline_s: float = 5.0) -> list[str]:
        """Sources first, then inboxes drain, then all nodes close. Returns who was late, with what was left."""
        late: list[str] = []
        await _cancel(self._sources.values())
        try:
            async with asyncio.timeout(deadline_s):
                await self.drained()
        except TimeoutError:
            late = [
                f"{worker.spec.address} ({len(worker.inbox) + len(worker.pending)} messages left)"
                for worker in self.workers.values()
                if not worker.idle.is_set()
            ]
            log.warning("stopped before these were done: %s", ", ".join(late))
        await _cancel(self._tasks.values())
        await asyncio.gather(*(worker.close() for worker in self.workers.values()))
        for context in self.contexts.values():
            context.cancel_timers()
        for worker in self.workers.values():
            worker.counters.state = "stopped"
        self.commit()
        await self.store.flush()
        return late


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
