"""The worker's own task: opens the node, and sees to whatever the calls of its writers leave over.

All of an async node's work is done here, one message at a time, in order; of a plain node what came while it was busy,
and what waits for its peer or its time.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import TYPE_CHECKING, Any, cast

from flowrunner.clock.io_time import breathe, pause, stopwatch
from flowrunner.errors import Fatal, NotConnected, Retry, described
from flowrunner.node import Output
from flowrunner.runtime.delivery import BATCH, SLICE_S
from flowrunner.runtime.drive import drive
from flowrunner.runtime.inbox import Entry
from flowrunner.runtime.supervision import NODE_FAULTS, cancelled_from_outside

if TYPE_CHECKING:
    from flowrunner.runtime.worker import Due, Worker

RETRY_S = (0.01, 3600.0)
"""Bounds of the wait that a node asks for with Retry."""


async def run(worker: Worker) -> None:
    """Open the node, then see to whatever the inline calls leave over. Ends only by cancellation."""
    worker.ctx.tell_status()
    try:
        await _rounds(worker)
    finally:
        worker.flight.give_back()


async def _rounds(worker: Worker) -> None:
    while not worker.closing:
        if not worker.life.opened:
            await worker.life.open()
        if worker.paused:
            pass
        elif worker.trouble is not None:
            await _mend(worker, worker.trouble)
        elif worker.must_go_on:
            if worker.plain:
                worker.run_plain(0)
            else:
                await _run_async(worker)
        worker.host.rested()
        if worker.must_go_on:
            await breathe()
        else:
            await worker.wake.wait()
        worker.wake.clear()


async def _mend(worker: Worker, trouble: NotConnected | Retry | Fatal) -> None:
    """What is in front waits: for its time, for the peer, or for the end."""
    worker.flight.give_back()
    if isinstance(trouble, Retry):
        shortest, longest = RETRY_S
        await pause(shortest if math.isnan(trouble.after) else min(max(trouble.after, shortest), longest))
    elif isinstance(trouble, NotConnected):
        await worker.life.reopen(trouble, worker.trouble_of)
        await worker.life.open()
    else:
        await asyncio.Event().wait()  # until the runtime ends this task
    worker.trouble = None


async def _run_async(worker: Worker) -> None:
    """The same for an async ``process``: one at a time, in order; put back if this task is cancelled."""
    began, count = stopwatch(), 0
    worker.busy = True
    try:
        while (
            worker.life.opened
            and worker.trouble is None
            and not (worker.out.pending or worker.closing or worker.paused)
        ):
            due = worker.due.popleft() if worker.due else None
            entry = None if due is not None else worker.inbox.take()
            if due is None and entry is None:
                break
            await _one_async(worker, entry, due)
            count += 1
            if count >= BATCH or (worker.host.sliced and stopwatch() - began > SLICE_S):
                break
    finally:
        worker.busy = False
        worker.message = worker.receipt = None
        worker.counters.process_seconds += stopwatch() - began
        worker.out.hand_on()


async def _one_async(worker: Worker, entry: Entry | None, due: Due | None) -> None:
    generation = worker.life.generation
    try:
        if entry is not None:
            worker.counters.received += 1
            worker.counters.last_at = worker.host.now()
            worker.message = entry[1]
            worker.ctx.input, worker.receipt = entry[0], entry[2]
            kept = worker.ctx.state.changed_times
            result = await _driven(worker, worker.process(entry[1], worker.ctx))
            if entry[2] is not None and worker.ctx.state.changed_times != kept:
                entry[2].keep()
            worker.out.collect(result, entry[1].root, entry[1].path, entry[2])
        elif due is not None:
            worker.on_due(due, await _driven(worker, worker.timer_call(due)))
    except asyncio.CancelledError as error:
        if cancelled_from_outside():
            _interrupted(worker, entry, due)
            raise
        worker.failed(error, entry, due)
    except NODE_FAULTS as error:
        if generation != worker.life.generation or not worker.life.opened:
            # the node was closed under its feet, by its other half
            worker.failed(NotConnected(described(error)), entry, due)
            worker.trouble_of = generation
        else:
            worker.failed(error, entry, due)
    else:
        if entry is not None and entry[2] is not None:
            worker.receipt = None
            entry[2].done()
        if worker.life.failures and not worker.flight:
            worker.life.recovered()


def _interrupted(worker: Worker, entry: Entry | None, due: Due | None) -> None:
    if entry is None or worker.may_repeat:
        worker.put_back(entry, due)
    else:
        reason = "stopped in the middle; whether it was done is not known, and it is not tried again"
        worker.host.rejected(worker, "interrupted", reason, entry[1])


async def _driven(worker: Worker, result: Any) -> Output:
    """Await ``process``; hand on what is ready at the moment it suspends."""
    if not inspect.iscoroutine(result):
        return cast(Output, result)  # a plain call in an async node
    return cast(Output, await drive(result, worker.out.hand_on))
