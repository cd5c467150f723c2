"""Nodes that go while others stay: what they have is handed on, kept, or told; every wait has a bound."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Collection, Iterable
from typing import TYPE_CHECKING

from flowrunner.runtime.durable import Row
from flowrunner.runtime.supervision import END_LIMIT_S
from flowrunner.runtime.worker import Worker

if TYPE_CHECKING:
    from flowrunner.runtime import Runtime

DRAIN_S = 5.0
"""Seconds that nodes which go may take to hand on what they have."""
log = logging.getLogger("flowrunner.runtime")


def stuck(workers: Iterable[Worker]) -> set[Worker]:
    """Who cannot go on: its own peer, or that of somebody behind it, is away. ``workers``: readers before writers."""
    found: set[Worker] = set()
    for worker in workers:
        blocked = worker.out.pending and any(
            reader.inbox.in_line and reader in found for readers in worker.out.readers.values() for reader, _ in readers
        )
        if worker.stuck or worker.paused or blocked:
            found.add(worker)
    return found


def at_work(workers: Collection[Worker], *, behind: Iterable[Worker] = ()) -> list[Worker]:
    """Who of these has something to do and can go on. ``behind``: others that they may write to. Writers first."""
    away = stuck(reversed([*workers, *behind]))
    return [worker for worker in workers if not worker.at_rest and worker not in away]


async def drain_source(runtime: Runtime, worker: Worker, *, has_left: bool = False) -> None:
    """What a source has taken it hands on, and then it ends. ``has_left``: it was asked to already."""
    if worker.leaves and worker.opened:
        if not has_left:
            runtime.tasks.make_way(worker, None)
        try:
            async with asyncio.timeout(DRAIN_S):
                await runtime.tasks.source_ended(worker)
        except TimeoutError:
            worker.ctx.log.warning("what it has not handed on within %g s is left to its peer", DRAIN_S)
    await runtime.tasks.end_source(worker)


async def remove(runtime: Runtime, workers: Collection[Worker]) -> None:
    """Nodes that nobody takes the place of; sources come first. They share one deadline."""
    await all_of(drain_source(runtime, worker) for worker in workers)
    with contextlib.suppress(TimeoutError):  # what is left is told below
        async with asyncio.timeout(DRAIN_S):
            while at_work(workers, behind=runtime.workers.values()):
                await runtime.next_rest()
    for worker in workers:
        worker.end()
    await runtime.tasks.end(workers)
    for worker in workers:
        put_away(runtime, worker)
    await all_of(close(runtime, worker) for worker in workers)
    for worker in workers:
        worker.ctx.tell_status("its node was removed from the flow")


def put_away(runtime: Runtime, worker: Worker) -> None:
    """What a node that is removed could not deliver: of a durable inbox it stays on the disk until a node of that name
    is back; all else becomes dead letters."""
    inbox, stays = worker.inbox, 0
    for entry in [*inbox.empty(), *inbox.empty_line()]:
        wire, message, receipt = entry
        if isinstance(receipt, Row) and receipt.disk is inbox.disk:
            stays += 1
            continue
        if receipt is not None:
            receipt.keep()
        reason = "its node was removed from the flow before it could take this"
        if runtime.letter(worker, "node-removed", reason, message, wire) and receipt is not None:
            receipt.done()
    if stays:
        log.warning("%s: %d messages stay on the disk until a node of that name is back", worker.spec.address, stays)


async def close(runtime: Runtime, worker: Worker, *, closed: bool = False) -> None:
    """The end of a worker. ``closed``: its node had to let go of what it had before."""
    await runtime.tasks.end([worker])
    if not closed and not await bounded(worker.life.close(), END_LIMIT_S):
        worker.ctx.log.error("its close does not let itself be stopped; it is left to itself")
    worker.counters.state = "stopped"
    runtime.going.pop(worker.owner, None)


async def bounded(work: Awaitable[object], limit_s: float) -> bool:
    """Whether it has ended within ``limit_s`` seconds, also where it does not let itself be cancelled. What it raises
    is raised here."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait([task], timeout=limit_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        return False
    task.result()
    return True


async def all_of(works: Iterable[Awaitable[None]]) -> None:
    """All of them to their ends; then the first that failed, if any, is raised."""
    for one in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(one, BaseException):
            raise one
