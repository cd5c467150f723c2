"""Running a graph: one worker and one inbox per node, supervision, and a clean stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from flowrunner.clock import Clock
from flowrunner.connections import Connections
from flowrunner.expression import Program
from flowrunner.graph import Change, Graph, GraphNode
from flowrunner.http import refusal
from flowrunner.logs import Secrets
from flowrunner.message import Message
from flowrunner.orders import Trading
from flowrunner.runtime import ending
from flowrunner.runtime.commits import Commits
from flowrunner.runtime.context import NodeContext
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.durable import DiskQueue
from flowrunner.runtime.inbox import Entry, Inbox
from flowrunner.runtime.letters import dead_letter
from flowrunner.runtime.receipt import Receipt
from flowrunner.runtime.replies import Replies
from flowrunner.runtime.returns import Returns, attempts_before
from flowrunner.runtime.supervision import END_LIMIT_S
from flowrunner.runtime.swap import HandOver, Swap, SwapFailed
from flowrunner.runtime.tasks import Tasks
from flowrunner.runtime.worker import Worker
from flowrunner.store import Store, StoreFailed
from flowrunner.units import Duration

__all__ = ["Counters", "Entry", "Inbox", "Receipt", "Runtime", "SwapFailed", "Worker"]

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
        self.commits = Commits(store)
        self.commits.on_begun_anew = self._all_state_again
        self.replies = Replies()
        self.returns = Returns(self)
        self.mask = Secrets(graph.secrets).mask
        self.sliced = sliced
        self.stubs = frozenset(stubs)
        self.on_condition: Callable[[str, Program], Program] | None = None
        """Asked for every expression that a node (its address) compiles: tests look on."""
        self.wiring = 0
        self.workers: dict[str, Worker] = {}
        self.going: dict[str, Worker] = {}
        """By owner: of nodes that were removed or replaced, and hand on what they have."""
        self.tasks = Tasks(self.rested)
        self.on_worker: Callable[[Worker], None] | None = None
        """Told of every worker that is made: tests and pages look on."""
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Resolves with a sentence when a node raised Fatal: the flow must stop."""
        self._on_disk: Mapping[str, int] | None = None
        """At the start: who has messages on the disk, so that not everybody need look."""
        self._rest = asyncio.Event()
        self._made = 0
        self._swapping: asyncio.Task[None] | None = None

    # ---- start -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make every worker and start it. A peer that is away is no error: its node waits."""
        self._on_disk = self.store.inboxes()
        for address, spec in self.graph.nodes.items():
            self.workers[address] = self.make(spec, self.inbox_of(spec))
        wires = self.graph.outgoing
        for address, worker in self.workers.items():
            worker.out.wire(wires.get(address, {}), self.workers.__getitem__)
        for worker in reversed(self.workers.values()):  # readers first: a source finds them ready
            worker.life.open_at_once()
            self.tasks.start(worker)
        for worker in self.workers.values():
            self.tasks.start_source(worker)
        for address, count in self._on_disk.items():
            if address not in self.workers:
                log.warning("%s does not run, and %d messages on the disk wait for it", address, count)
        self._on_disk = None

    @property
    def volatile(self) -> bool:
        """Nothing outlives the run: state is not committed, and what was rejected is counted and not kept."""
        return self.commits.volatile

    @volatile.setter
    def volatile(self, on: bool) -> None:
        self.commits.volatile = on

    @property
    def contexts(self) -> dict[str, NodeContext]:
        return {address: worker.ctx for address, worker in self.workers.items()}

    @property
    def inboxes(self) -> dict[str, Inbox]:
        """By address; an inbox outlives the node that reads it."""
        return {address: worker.inbox for address, worker in self.workers.items()}

    def make(self, spec: GraphNode, inbox: Inbox, *, fresh: bool = False) -> Worker:
        """A worker with its context, not started. ``fresh``: what a node of that name kept is not for it."""
        self._made += 1
        worker = Worker(spec, inbox, self, stub=spec.address in self.stubs, owner=f"{spec.address}#{self._made}")
        NodeContext(self, worker, fresh=fresh)
        if self.on_worker is not None:
            self.on_worker(worker)
        return worker

    def inbox_of(self, spec: GraphNode) -> Inbox:
        """A new inbox, with what waited there when the last run ended."""
        if self.volatile:
            return Inbox(spec.queue)
        disk = DiskQueue(
            self.commits, spec.flow, spec.id, self.now, lambda text: log.error("%s: %s", spec.address, text)
        )
        disk.max_age_ns = _ns(spec.queue.max_age)
        inbox = Inbox(spec.queue, disk)
        if (self._on_disk is None or spec.address in self._on_disk) and (
            waiting := self.store.waiting(spec.flow, spec.id)
        ):
            inbox.restore(disk.restored(waiting))
            log.info("%s: what waits on the disk comes first (%d)", spec.address, len(inbox))
        return inbox

    # ---- what workers ask of their host ----------------------------------------------------------------------------

    def rejected(self, worker: Worker, code: str, reason: str, message: Message | None) -> None:
        """A message leaves by the error port; where nobody takes it there, it is kept as a dead letter."""
        context = worker.ctx
        if worker.receipt is not None:
            worker.receipt.keep()
        if context.report(code, reason, message) or message is None:  # the latter: a timer's
            return
        reason = self.mask(reason)
        if message.meta and (handle := message.meta.get("reply")) is not None:  # somebody waits for what will not come
            self.replies.answer(str(handle), refusal(422, code, f"{worker.spec.id}: {reason}"))
        if self.volatile:
            return
        came_in = message is worker.message  # else the node made it itself
        before = attempts_before(worker.receipt, worker.spec.address) if came_in else 0
        self.letter(worker, code, reason, message, context.input if came_in else "", before)

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
        await self.connections.release(worker.owner)

    # ---- one graph after the other ---------------------------------------------------------------------------------

    async def swap(
        self,
        graph: Graph,
        change: Change,
        hand_over: HandOver,
        arrived: Callable[[Graph], None],
    ) -> float:
        """Run another graph from now on; what did not change notices nothing. Seconds that a changed node was paused.

        SwapFailed when the old graph runs on. ``hand_over`` tells the store who the nodes of a graph are; ``arrived``
        is called in the step in which the new graph takes over.
        """
        swap = Swap(self, graph, change, hand_over, arrived)
        self._swapping = asyncio.create_task(swap.run(), name="reload")
        try:
            await asyncio.shield(self._swapping)
        except asyncio.CancelledError:
            if not self._swapping.cancelled():
                raise
            if not swap.switched:
                raise SwapFailed("flowrunner stops") from None
        return swap.paused_s

    def take(self, graph: Graph, going: Iterable[Worker]) -> None:
        """The books of another graph, whose workers are there already."""
        self.graph = graph
        self.mask = Secrets(graph.secrets).mask
        self.going.update((worker.owner, worker) for worker in going)

    def rename(self, worker: Worker) -> None:
        """What waits for a worker is that of the name that its node has now."""
        disk, spec = worker.inbox.disk, worker.spec
        if isinstance(disk, DiskQueue) and (disk.flow, disk.node) != (spec.flow, spec.id):
            disk.rename(spec.flow, spec.id)

    def requeue(self, worker: Worker) -> None:
        """Give the inbox of a worker the policy that its node has now."""
        disk, queue = worker.inbox.disk, worker.spec.queue
        if isinstance(disk, DiskQueue):
            disk.max_age_ns = _ns(queue.max_age)
        if worker.inbox.queue != queue:
            worker.inbox.requeue(queue)

    def _all_state_again(self) -> None:
        for worker in self.workers.values():
            worker.ctx.state.again()

    def letter(self, worker: Worker, code: str, reason: str, message: Message, wire: str = "", before: int = 0) -> bool:
        """Keep a message that nobody takes as a dead letter; whether it is kept."""
        if self.volatile:
            return True
        try:
            self.store.add_dead_letter(
                dead_letter(
                    worker.spec, self.now(), code, reason, message, wire=wire, mask=self.mask, attempts=before + 1
                )
            )
        except (StoreFailed, RuntimeError) as error:  # the latter: the store is closed already
            worker.ctx.drop("dead-letter-refused")
            worker.ctx.log.error("a rejected message could not be kept: %s", error)
            return False
        return True

    # ---- stop --------------------------------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until nothing is on its way (sources may go on)."""
        while not all(worker.at_rest for worker in self.workers.values()):
            await self.next_rest()

    async def next_rest(self) -> None:
        """Wait until a worker has come to the end of a round."""
        self._rest.clear()
        await self._rest.wait()

    async def stop(self, deadline_s: float = 5.0) -> list[str]:
        """Sources first, then inboxes drain, then all nodes close. Returns who was late, with what was left.

        Takes at most ``deadline_s`` for sources and inboxes, which is not waited for where a peer is away, and
        then a few seconds for nodes that do not close. What could not be delivered waits on the disk for the next
        start. Safe to repeat.
        """
        if self.tasks.stopping:
            return []
        if self._swapping is not None:
            self._swapping.cancel()
            await asyncio.wait([self._swapping], timeout=END_LIMIT_S)
        self.returns.cancel()
        return await ending.stop(self, deadline_s)


def _ns(time: Duration | None) -> int | None:
    return None if time is None else int(time)
