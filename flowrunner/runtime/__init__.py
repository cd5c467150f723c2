"""Running a graph: one worker and one inbox per node, supervision, and a clean stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from flowrunner.clock import Clock
from flowrunner.clock.io_time import later
from flowrunner.connections import Connections
from flowrunner.expression import Program
from flowrunner.graph import Graph, GraphNode
from flowrunner.http import refusal
from flowrunner.logs import Secrets
from flowrunner.message import Message
from flowrunner.node import Node
from flowrunner.orders import Trading
from flowrunner.runtime.context import NodeContext
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.inbox import Entry, Inbox, Token
from flowrunner.runtime.letters import dead_letter
from flowrunner.runtime.replies import Replies
from flowrunner.runtime.source import run_source
from flowrunner.runtime.state import NodeState
from flowrunner.runtime.supervision import CLOSE_LIMIT_S
from flowrunner.runtime.worker import Worker
from flowrunner.store import Store, StoreFailed

__all__ = ["Counters", "Entry", "Inbox", "Runtime", "Token", "Worker"]

COMMIT_DELAY_S = 0.5
"""State that changed is handed to the store after this many seconds; it commits within a second in all."""
DEFECT_PAUSE_S = 1.0
"""After a defect of the runtime itself a worker starts again this much later."""
log = logging.getLogger("flowrunner.runtime")


class Runtime:
    """Runs one graph.

    ``sliced=False`` (virtual time): runs do not depend on how fast the machine is. ``stubs``: addresses of nodes
    that are neither opened nor run, because a test speaks for them; they take what comes in.
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
        self.now = clock.now  # asked with every batch
        self.store = store
        self.trading = Trading(store)
        self.connections = connections or Connections()
        self.replies = Replies()
        self.mask = Secrets(graph.secrets).mask
        self.sliced = sliced
        self.stubs = frozenset(stubs)
        self.on_condition: Callable[[str, Program], Program] | None = None
        """Asked for every expression that a node (its address) compiles: tests look on."""
        self.volatile = False
        """Nothing outlives the run: state is not committed, and what was rejected is counted and not kept."""
        self.inboxes: dict[str, Inbox] = {}
        """By address; an inbox outlives the node that reads it."""
        self.workers: dict[str, Worker] = {}
        self.contexts: dict[str, NodeContext] = {}
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with a sentence when a node raised Fatal: the flow must stop."""
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[NodeState, None] = {}
        self._commit: asyncio.TimerHandle | None = None
        self._refused = False  # the store took no more at the last commit
        self._rest = asyncio.Event()
        self._stopping = False

    # ---- start -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make every worker and start it. A peer that is away is no error: its node waits."""
        for spec in self.graph.nodes.values():
            self._make(spec)
        for worker in self.workers.values():
            for wire in worker.spec.wires:
                self.workers[wire.source].out.readers[wire.port].append((worker, wire.name))
        for address, worker in reversed(self.workers.items()):  # readers first: a source finds them ready
            if address in self.stubs or type(worker.node).open is Node.open:
                worker.life.opened = True
                worker.counters.state = "running"
            self._spawn(worker, self._tasks)
        for address, worker in self.workers.items():
            if hasattr(worker.node, "produce") and address not in self.stubs:
                self._spawn(worker, self._sources)

    def _make(self, spec: GraphNode) -> None:
        inbox = self.inboxes.setdefault(spec.address, Inbox(spec.queue))
        worker = Worker(spec, inbox, self, stub=spec.address in self.stubs)
        self.workers[spec.address] = worker
        self.contexts[spec.address] = NodeContext(self, worker)

    def _spawn(self, worker: Worker, tasks: dict[str, asyncio.Task[None]]) -> None:
        """Start one half of a worker, and start it again should it ever end by itself."""
        if self._stopping:
            return
        produce: Any = getattr(worker.node, "produce", None)
        work: Coroutine[Any, Any, None] = run_source(worker, produce) if tasks is self._sources else worker.run()
        task = asyncio.get_running_loop().create_task(work, name=worker.spec.address)
        tasks[worker.spec.address] = task
        task.add_done_callback(lambda done: self._ended(worker, tasks, done))

    def _ended(self, worker: Worker, tasks: dict[str, asyncio.Task[None]], task: asyncio.Task[None]) -> None:
        if self._stopping or (tasks is self._sources and not task.cancelled() and task.exception() is None):
            return
        self.defect(worker, asyncio.CancelledError() if task.cancelled() else task.exception())
        worker.counters.restarts += 1
        later(DEFECT_PAUSE_S, self._spawn, worker, tasks)

    # ---- what workers ask of their host ----------------------------------------------------------------------------

    def rejected(self, worker: Worker, code: str, reason: str, message: Message | None) -> None:
        """A message leaves by the error port; where nobody takes it there, it is kept as a dead letter."""
        context = worker.ctx
        if context.report(code, reason, message) or message is None:  # the latter: a timer's
            return
        reason = self.mask(reason)
        if message.meta and (handle := message.meta.get("reply")) is not None:  # somebody waits for what will not come
            self.replies.answer(str(handle), refusal(422, code, f"{worker.spec.id}: {reason}"))
        if self.volatile:
            return
        try:
            self.store.add_dead_letter(dead_letter(worker.spec, self.now(), code, reason, message))
        except (StoreFailed, RuntimeError) as error:  # the latter: the store is closed already
            context.drop("dead-letter-refused")
            context.log.error("a rejected message could not be kept: %s", error)

    def fatal(self, worker: Worker, error: BaseException) -> None:
        worker.counters.error("fatal", str(error), self.now())
        log.critical("%s: %s: the flow stops", worker.spec.address, error)
        if not self.failed.done():
            self.failed.set_result(f"{worker.spec.address}: {error}")

    def defect(self, worker: Worker, error: BaseException | None) -> None:
        log.error("%s: a defect of flowrunner itself: %r", worker.spec.address, error, exc_info=error)
        worker.counters.error("defect", repr(error), self.now())
        worker.wake.set()

    def rested(self) -> None:
        self._rest.set()

    async def release(self, worker: Worker) -> None:
        await self.connections.release(worker.spec.address)

    def state_changed(self, state: NodeState) -> None:
        """Group commit: the first change of any node starts the clock."""
        if self.volatile:
            return
        self._changed[state] = None
        if self._commit is None:
            self._commit = later(COMMIT_DELAY_S, self.commit)

    def commit(self) -> None:
        """Hand every changed state to the store now. What it does not take is offered again."""
        if self._commit is not None:
            self._commit.cancel()
            self._commit = None
        changed, self._changed = self._changed, {}
        refused = False
        for state in changed:
            try:
                state.commit()
            except StoreFailed as error:
                if not (self._refused or refused):
                    log.error("state is not kept at present: %s", error)
                refused = True
                self.state_changed(state)
        self._refused = refused

    # ---- stop --------------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until nothing is on its way (sources may go on)."""
        while not all(worker.at_rest for worker in self.workers.values()):
            await self._next_rest()

    async def _next_rest(self) -> None:
        self._rest.clear()
        await self._rest.wait()

    def _at_work(self) -> list[Worker]:
        """Who has something to do and can go on: neither its own peer nor that of somebody behind it is away."""
        stuck: set[str] = set()
        found: list[Worker] = []
        for address, worker in reversed(self.workers.items()):  # readers come after what they read
            blocked = worker.out.pending and any(
                reader.inbox.in_line and reader.spec.address in stuck
                for readers in worker.out.readers.values()
                for reader, _ in readers
                if isinstance(reader, Worker)
            )
            if worker.stuck or blocked:
                stuck.add(address)
            elif not worker.at_rest:
                found.append(worker)
        return found

    async def stop(self, deadline_s: float = 5.0) -> list[str]:
        """Sources first, then inboxes drain, then all nodes close. Returns who was late, with what was left.

        Takes at most ``deadline_s`` for sources and inboxes, which is not waited for where a peer is away, and
        then a few seconds for nodes that do not close. Safe to repeat.
        """
        if self._stopping:
            return []
        self._stopping = True
        late: list[str] = []
        try:
            async with asyncio.timeout(deadline_s):
                for worker in self.workers.values():
                    worker.life.ending = True
                late += await _cancel(self._sources, deadline_s / 2)
                while self._at_work():
                    await self._next_rest()
        except TimeoutError:
            log.warning("the deadline of %g s for a clean stop has passed", deadline_s)
        for worker in self.workers.values():
            worker.closing = True
            self.contexts[worker.spec.address].cancel_timers()
        late += [_left(worker) for worker in self.workers.values() if not worker.at_rest]
        late += await _cancel(self._tasks, CLOSE_LIMIT_S)
        closing = {one.spec.address: asyncio.ensure_future(one.life.close()) for one in self.workers.values()}
        late += await _end(closing, 2 * CLOSE_LIMIT_S + 1)
        if late:
            log.warning("stopped before these were done: %s", ", ".join(late))
        for worker in self.workers.values():
            worker.counters.state = "stopped"
        self.commit()
        if self._commit is not None:
            self._commit.cancel()
        try:
            await self.store.flush()
        except StoreFailed as error:
            log.error("state is lost: %s", error)
        return late


def _left(worker: Worker) -> str:
    left = len(worker.inbox) + worker.inbox.in_line + worker.busy
    return f"{worker.spec.address} ({left} messages left)"


async def _cancel(tasks: dict[str, asyncio.Task[None]], limit_s: float) -> list[str]:
    for task in tasks.values():
        task.cancel()
    return await _end(tasks, limit_s)


async def _end(tasks: dict[str, asyncio.Task[None]], limit_s: float) -> list[str]:
    """Wait for the ends of tasks; returns whose did not come."""
    if tasks:
        await asyncio.wait(tasks.values(), timeout=limit_s)
    return [f"{address} (it does not let itself be stopped)" for address, task in tasks.items() if not task.done()]
