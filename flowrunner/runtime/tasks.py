"""The tasks of workers: each has one for its inbox, as soon as there is work for it, and a source one more; started
again should they ever end."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flowrunner.clock.io_time import later
from flowrunner.graph import STATUS_PORT
from flowrunner.node import Node
from flowrunner.runtime.rounds import run
from flowrunner.runtime.source import run_source
from flowrunner.runtime.supervision import CLOSE_LIMIT_S, NODE_FAULTS
from flowrunner.runtime.worker import Worker

if TYPE_CHECKING:
    from flowrunner.runtime.context import NodeContext

DEFECT_PAUSE_S = 1.0
"""After a defect of the runtime itself a worker starts again this much later."""

Kind = dict[Worker, asyncio.Task[None]]


class Tasks:
    """``on_end`` hears whenever one ends."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.sources: Kind = {}
        self.works: Kind = {}
        self.stopping = False
        """Nothing is started any more, but for what is left to do."""
        self._on_end = on_end
        self._context = contextvars.copy_context()

    def start(self, worker: Worker) -> None:
        """Have its task see to what comes. Most nodes work where they are called and never need it: then there is none,
        and a flow of ten thousand nodes starts sooner and takes less memory."""
        if worker not in self.works and worker.idle and not worker.out.readers[STATUS_PORT]:
            worker.ctx.tell_status()
            worker.wake.begin = functools.partial(self._begin, worker)
        else:
            self._spawn(worker, self.works)

    def start_source(self, worker: Worker) -> None:
        if hasattr(worker.node, "produce") and not worker.stub:
            self._spawn(worker, self.sources)

    def _begin(self, worker: Worker) -> None:
        """There is work, be it that of the end: a run stops when all of it is done."""
        if not worker.closing and worker not in self.works:
            self._run(worker, self.works)

    def _spawn(self, worker: Worker, tasks: Kind) -> None:
        if not (self.stopping or worker.closing or worker in tasks):
            self._run(worker, tasks)

    def _run(self, worker: Worker, tasks: Kind) -> None:
        produce: Any = getattr(worker.node, "produce", None)
        work: Coroutine[Any, Any, None] = run_source(worker, produce) if tasks is self.sources else run(worker)
        context = (worker.life.context or self._context).copy()  # not of who happens to write to it first
        task = asyncio.get_running_loop().create_task(work, name=worker.spec.address, context=context)
        tasks[worker] = task
        task.add_done_callback(lambda done: self._ended(worker, tasks, done))

    def _ended(self, worker: Worker, tasks: Kind, task: asyncio.Task[None]) -> None:
        """Start it again, unless its end was meant."""
        self._on_end()
        meant = tasks.get(worker) is not task  # whoever ends a task takes it out first
        over = not task.cancelled() and task.exception() is None and (tasks is self.sources or worker.closing)
        if self.stopping or meant or over:
            return
        del tasks[worker]
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        worker.host.defect(worker, error or RuntimeError("its task came to an end"))
        worker.counters.restarts += 1
        later(DEFECT_PAUSE_S, self._spawn, worker, tasks)

    # ---- ends ---------------------------------------------------------------------------------------------------

    def leave(self, worker: Worker) -> None:
        """The program ends: have a source take nothing new; its task then ends by itself."""
        leave: Callable[[NodeContext], None] = getattr(worker.node, "leave")  # noqa: B009  (found by presence)
        self._let_go(worker, lambda: leave(worker.ctx))

    def make_way(self, worker: Worker, successor: Node | None) -> None:
        """The same while the program goes on. ``successor`` hears all that comes already."""
        make_way: Callable[[Node | None, NodeContext], None] | None = getattr(worker.node, "make_way", None)
        if make_way is None:
            self.leave(worker)
        else:
            self._let_go(worker, lambda: make_way(successor, worker.ctx))

    def _let_go(self, worker: Worker, call: Callable[[], None]) -> None:
        worker.out.leave()
        try:
            call()
        except NODE_FAULTS as error:
            worker.ctx.log.error("it does not let go of its source: %s", error, exc_info=error)

    def still_leaving(self) -> set[Worker]:
        """The sources that can leave and have not ended."""
        return {one for one, task in self.sources.items() if not task.done() and one.leaves}

    async def source_ended(self, worker: Worker) -> None:
        task = self.sources.get(worker)
        if task is not None and not task.done():
            await asyncio.wait([task])

    async def end_source(self, worker: Worker) -> list[str]:
        """Break a source off between two of its messages."""
        worker.life.ending = True
        return await self._cancel(self.sources, [worker], CLOSE_LIMIT_S)

    async def end_sources(self, limit_s: float) -> list[str]:
        """All of them; returns whose end did not come."""
        return await self._cancel(self.sources, list(self.sources), limit_s)

    async def end(self, workers: Collection[Worker], limit_s: float = CLOSE_LIMIT_S) -> list[str]:
        """The tasks of these; returns whose end did not come."""
        for worker in workers:
            worker.wake.begin = None
            if worker not in self.works:
                worker.flight.give_back()
        return await self._cancel(self.works, workers, limit_s)

    async def _cancel(self, tasks: Kind, workers: Iterable[Worker], limit_s: float) -> list[str]:
        ending = [(one.spec.address, tasks.pop(one)) for one in workers if one in tasks]
        for _, task in ending:
            task.cancel()
        return await ended(ending, limit_s)


async def ended(tasks: Sequence[tuple[str, asyncio.Future[None]]], limit_s: float) -> list[str]:
    """Wait for the ends of tasks; returns whose did not come."""
    if tasks:
        await asyncio.wait([task for _, task in tasks], timeout=limit_s)
    return [f"{address} (it does not let itself be stopped)" for address, task in tasks if not task.done()]
