"""The end of a run: sources first, then inboxes drain, then nodes close; what is left waits on the disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from flowrunner.runtime.departure import at_work, put_away, stuck
from flowrunner.runtime.supervision import CLOSE_LIMIT_S, END_LIMIT_S
from flowrunner.runtime.tasks import ended
from flowrunner.runtime.worker import Worker
from flowrunner.store import StoreFailed

if TYPE_CHECKING:
    from flowrunner.runtime import Runtime

log = logging.getLogger("flowrunner.runtime")


async def stop(runtime: Runtime, deadline_s: float) -> list[str]:
    """Returns who was late, with what was left; and whose messages are lost."""
    tasks, workers = runtime.tasks, [*runtime.going.values(), *runtime.workers.values()]
    tasks.stopping = True
    late: list[str] = []
    try:
        async with asyncio.timeout(deadline_s / 2):
            await _let_leave(runtime)
    except TimeoutError:
        log.warning("not every source came to an end within %g s", deadline_s / 2)
    try:
        async with asyncio.timeout(deadline_s):
            for worker in workers:
                worker.life.ending = True
            late += await tasks.end_sources(deadline_s / 2)
            while at_work(runtime.workers.values()):
                await runtime.next_rest()
    except TimeoutError:
        log.warning("the deadline of %g s for a clean stop has passed", deadline_s)
    for worker in workers:
        worker.end()
    overdue = {worker.spec.address for worker in at_work(runtime.workers.values())}
    late += await tasks.end(workers)
    late += _put_by(runtime, workers, overdue)
    await _keep(runtime)
    closing = [(one.spec.address, asyncio.ensure_future(one.life.close())) for one in workers]
    late += await ended(closing, END_LIMIT_S)
    if late:
        log.warning("stopped before these were done: %s", ", ".join(late))
    for worker in workers:
        worker.counters.state = "stopped"
    await _keep(runtime)
    runtime.commits.cancel()
    return late


async def _let_leave(runtime: Runtime) -> None:
    """Sources that can take nothing new and hand on what they have taken do so, unless a peer is away."""
    for worker in runtime.tasks.sources:
        if worker.leaves:
            runtime.tasks.leave(worker)
    while not runtime.tasks.still_leaving() <= stuck(reversed(runtime.workers.values())):
        await runtime.next_rest()


def _put_by(runtime: Runtime, workers: Collection[Worker], overdue: Collection[str]) -> list[str]:
    """What could not be delivered waits on the disk for the next start; never orders. Returns who was late, or
    leaves something that is lost."""
    late: list[str] = []
    for worker in workers:
        address, inbox = worker.spec.address, worker.inbox
        if address not in runtime.workers:  # it was removed, and had not handed on all that it had
            put_away(runtime, worker)
            continue
        waiting = [*inbox.empty(), *inbox.empty_line()]
        disk = None if worker.node.side_effect == "at_most_once" else inbox.disk
        if disk is not None:
            for entry in waiting:
                disk.keep(entry)
        if waiting and disk is not None and address not in overdue:
            log.info("%s: %s on the disk for the next start", address, _count(len(waiting), "wait"))
        elif waiting or address in overdue:
            kept = ", kept for the next start" if waiting and disk is not None else ""
            late.append(f"{address} ({_count(len(waiting), '')} left{kept})")
    return late


def _count(number: int, verb: str) -> str:
    text = "1 message" if number == 1 else f"{number} messages"
    return f"{text} {verb}{'s' if number == 1 else ''}" if verb else text


async def _keep(runtime: Runtime) -> None:
    try:
        async with asyncio.timeout(CLOSE_LIMIT_S):
            await runtime.commits.settle()
    except StoreFailed as error:
        log.error("state is lost: %s", error)
    except TimeoutError:
        log.error("state may be lost: the store did not answer within %g s", CLOSE_LIMIT_S)
