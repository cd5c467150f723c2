"""Keeping one node alive: opened however long its peer is away, closed within a bound, restarted with back-off."""

from __future__ import annotations

import asyncio
import contextvars
import dis
import functools
import inspect
import logging
import random
import types
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowrunner.clock.io_time import pause
from flowrunner.errors import Fatal, NotConnected, described
from flowrunner.node import Node
from flowrunner.units import SECOND

if TYPE_CHECKING:
    from flowrunner.runtime.worker import Worker

OPEN_LIMIT_S = 30.0
"""Seconds that ``open`` of a node may take."""
CLOSE_LIMIT_S = 5.0
"""Seconds that ``close`` of a node, or of a shared connection, may take."""
END_LIMIT_S = 2 * CLOSE_LIMIT_S + 1
"""Seconds after which nobody waits for the end of a node any more: both of these have had their time."""

NODE_FAULTS = (Exception, SystemExit)
"""What a node may raise without taking the engine with it; sys.exit() in a library is no wish to end the program."""
FAULTS_OR_CANCELLED = (*NODE_FAULTS, asyncio.CancelledError)
"""The same of a call that waits for nothing: there a cancellation is the node's own."""


@functools.lru_cache(maxsize=256)
def waits(call: Callable[..., object] | None) -> bool:
    """Whether a coroutine function may wait for something: not where it holds no await, or another word for one."""
    if not isinstance(call, types.FunctionType) or not call.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    return any(one.opname == "SEND" for one in dis.get_instructions(call))


def cancelled_from_outside() -> bool:
    """Whether a CancelledError is meant for the current task, or came out of something that a node awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Supervisor:
    """The life of one node. Its two halves, ``process`` and ``produce``, share it: whichever fails first restarts
    the node, the other is interrupted and goes on with the re-opened one (a new ``generation``).
    """

    def __init__(self, worker: Worker) -> None:
        self.opened = False
        self.generation = 0
        self.failures = 0
        """Failed attempts since the node last did its work."""
        self.away = False
        """The runtime marked the node as disconnected; a node that speaks for itself takes that over."""
        self.producing: asyncio.Task[None] | None = None
        """The task that is inside of ``produce``."""
        self.interrupted = False
        """``produce`` is to be left, because the other half restarts the node."""
        self.ending = False
        """``produce`` is to be left for good."""
        self.context: contextvars.Context | None = None
        """What the first attempt has set there, which was made before there was a task: its task begins with it."""
        self._refused: BaseException | None = None
        """What the first attempt raised, which was made before there was a task."""
        self._worker = worker
        self._lock = asyncio.Lock()

    async def open_once(self, limit_s: float) -> None:
        """One attempt; what it raises is raised here, TimeoutError included, with the node closed again."""
        worker = self._worker
        async with self._lock:
            try:
                async with asyncio.timeout(limit_s):
                    await worker.node.open(worker.ctx)
            except BaseException:
                await self.close()
                raise
            self.opened = True
            self.generation += 1
            worker.counters.state = "running"

    def open_at_once(self) -> None:
        """Open a node that need not wait for anything; what it raises is seen to by `open`, which comes next."""
        worker = self._worker
        if not worker.stub:
            call = getattr(worker.node.open, "__func__", None)  # None: the object has one of its own, a wrapped one
            if waits(call):
                return
            if call is not Node.open:
                try:
                    self.context = contextvars.copy_context()
                    self.context.run(worker.node.open(worker.ctx).send, None)
                except StopIteration:
                    self.generation += 1
                except FAULTS_OR_CANCELLED as error:
                    self._refused = error
                    return
        self.opened = True
        worker.counters.state = "running"

    async def open(self) -> None:
        """Return when the node is open."""
        worker = self._worker
        async with self._lock:
            refused = False
            while not self.opened:
                try:
                    if self._refused is not None:
                        error, self._refused = self._refused, None
                        raise error
                    async with asyncio.timeout(OPEN_LIMIT_S):
                        await worker.node.open(worker.ctx)
                except asyncio.CancelledError as error:
                    if cancelled_from_outside():
                        raise
                    await self._back_off(error)
                except NODE_FAULTS as error:
                    refused = isinstance(error, NotConnected)
                    await self._back_off(error)
                else:
                    self.opened = True
                    self.generation += 1
                    if worker.counters.state != "finished":
                        worker.counters.state = "running"
            if refused and self.away:
                worker.ctx.connected(True)
            worker.ctx.tell_status()

    async def reopen(self, error: BaseException, generation: int) -> None:
        """What the node of that generation raised: say it, close, wait. ``open`` comes next."""
        async with self._lock:
            if not self.opened or generation != self.generation:
                return  # the other half was faster
            if self.producing is not None and self.producing is not asyncio.current_task():
                self.interrupted = True
                self.producing.cancel()
            await self._back_off(error)

    def recovered(self) -> None:
        """The node did its work again."""
        self.failures = 0
        if self.away:
            self._worker.ctx.connected(True)

    async def close(self) -> None:
        """Close the node and let go of its connections, within a bound; what goes wrong is said and left.

        Where neither waits it is done in one go: a connection that all its nodes leave at once sees one end.
        """
        self.opened = False
        worker = self._worker
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await worker.node.close()
        except asyncio.CancelledError:
            if cancelled_from_outside():
                raise
        except NODE_FAULTS as error:
            worker.ctx.log.error("closing failed: %s", _said(error, CLOSE_LIMIT_S))
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await worker.host.release(worker)
        except TimeoutError as error:
            worker.ctx.log.error("closing its connections failed: %s", _said(error, CLOSE_LIMIT_S))

    async def _back_off(self, error: BaseException) -> None:
        self.opened = False
        worker, counters = self._worker, self._worker.counters
        if isinstance(error, Fatal):
            worker.host.fatal(worker, error)
            await asyncio.Event().wait()  # until the runtime ends this task
        if isinstance(error, NotConnected):
            if counters.connected is not False:
                worker.ctx.log.change(logging.WARNING, "not connected: %s", error)
                worker.ctx.lost("not-connected", str(error))
            counters.connected, self.away = False, True
            counters.state = "disconnected"
            counters.error("not-connected", str(error), worker.host.now())
        else:
            counters.state = "restarting"
            counters.error("exception", _said(error), worker.host.now())
            worker.ctx.log.error("it failed and is restarted: %s", _said(error), exc_info=error)
        counters.restarts += 1
        worker.ctx.tell_status(counters.last_error)
        await self.close()
        await pause(self._delay())

    def _delay(self) -> float:
        """Seconds, by the node's ``retry``."""
        chance = random.Random(f"{self._worker.spec.address} {self.failures}").random()  # noqa: S311  (jitter, the same in every virtual run)
        wait = self._worker.spec.retry.wait_ns(self.failures, chance)
        self.failures += 1
        return wait / SECOND


def _said(error: BaseException, limit_s: float = OPEN_LIMIT_S) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"TimeoutError: it took more than {limit_s:g} s"
    return described(error)
