"""The half of a node that makes messages: ``produce``, run until it ends, restarted when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from flowrunner.errors import Reject
from flowrunner.message import Message
from flowrunner.node import Output, Produce, Tracked
from flowrunner.runtime.drive import stretches
from flowrunner.runtime.lineage import BadOutput
from flowrunner.runtime.receipt import Receipt
from flowrunner.runtime.supervision import NODE_FAULTS, cancelled_from_outside

if TYPE_CHECKING:
    from flowrunner.runtime.worker import Worker


async def run_source(worker: Worker, produce: Produce) -> None:
    """Make messages until ``produce`` ends; its node is re-opened and it is started again when it fails."""
    life = worker.life
    while not life.ending:
        await life.open()
        generation = life.generation
        life.producing = asyncio.current_task()
        try:
            await stretches(_produce(worker, produce), worker.out.runs, worker.out.pauses)
        except asyncio.CancelledError as error:
            if life.interrupted and life.producing is not None:
                life.interrupted = False
                life.producing.uncancel()
                continue  # the other half restarts the node
            if cancelled_from_outside():
                raise
            life.producing = None
            await life.reopen(error, generation)
        except NODE_FAULTS as error:
            life.producing = None
            await life.reopen(error, generation)
        else:
            worker.counters.state = "finished"
            worker.ctx.tell_status()
            return
        finally:
            life.producing = None


async def _produce(worker: Worker, produce: Produce) -> None:
    source, out, life = produce(worker.ctx), worker.out, worker.life
    try:
        async for made in source:
            if life.ending or life.interrupted:  # a node that swallowed its cancellation
                raise asyncio.CancelledError
            if not (type(made) is Message and out.gather(made)):
                await _hand_on(worker, made)
            if life.failures:
                life.recovered()
    finally:
        close: Callable[[], Awaitable[None]] | None = getattr(source, "aclose", None)
        if close is not None:
            await close()


async def _hand_on(worker: Worker, made: Output | Tracked) -> None:
    """One that cannot be sent (no message, no key) is rejected; the source goes on."""
    if not isinstance(made, Tracked):
        await _send(worker, made, None)
        return
    receipt = Receipt(made.done, worker.host.commits)
    await _send(worker, made.message, receipt)
    receipt.done()


async def _send(worker: Worker, made: Output, receipt: Receipt | None) -> None:
    sent = 0
    try:
        pairs = worker.out.by_port(made)
    except BadOutput as error:
        worker.failed(error, None)
        pairs = []
    for port, message in pairs:
        try:
            stamped = worker.out.stamp(message, message.root, message.path)
        except Reject as error:
            worker.host.rejected(worker, error.code, error.reason, message)
            if receipt is not None:
                receipt.keep()
        else:
            await worker.out.send(port, stamped, receipt)
            sent += 1
    if not sent:
        await worker.out.breathe()
