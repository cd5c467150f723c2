"""One node at work: takes what waits in its inbox, calls ``process``, hands on what came out together.

A plain node whose turn comes while it is idle runs inside the call of the writer, so a chain of plain nodes costs
function calls; where that is not possible (an async node, a full reader, a deep chain) its own task does it.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
import types
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, Protocol, cast

import msgspec

from flowrunner.errors import Fatal, NotConnected, Reject, Retry
from flowrunner.graph import ERROR_PORT, GraphNode
from flowrunner.message import Message, Path, Root
from flowrunner.node import Context, Output
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.inbox import Entry, Inbox
from flowrunner.template import Text
from flowrunner.units import SECOND

BATCH = 256
"""Messages after which a worker hands on what it has."""
SLICE_S = 0.001
"""Seconds after which it does so as well. Not in virtual time, where runs must not depend on the machine."""
INLINE_DEPTH = 24
"""Plain nodes that run inside one another's call before the next gets its own turn."""
OPEN_LIMIT_S = 30.0
"""Seconds that ``open`` or ``close`` of a node may take."""

Due = tuple[str, str, int]
"""A timer that is due: name, key, instant."""


class Host(Protocol):
    """What a worker needs of the runtime."""

    sliced: bool

    def now(self) -> int: ...
    def rejected(self, worker: Worker, code: str, reason: str, message: Message | None) -> None: ...
    def fatal(self, worker: Worker, error: BaseException) -> None: ...
    async def release(self, worker: Worker) -> None: ...


class Worker:
    """``readers``: port → (reader, wire name). All is reached from one event loop."""

    def __init__(self, spec: GraphNode, inbox: Inbox, host: Host) -> None:
        self.spec = spec
        self.node = spec.node
        self.inbox = inbox
        self.host = host
        self.ctx: Context
        self.set_input: Callable[[str], None] = lambda wire: None
        self.counters = Counters()
        self.readers: dict[str, list[tuple[Worker, str]]] = {}
        self.tap: Callable[[str, Message], None] | None = None
        """Sees every message that leaves, by port; costs nothing while there is none."""
        self.due: deque[Due] = deque()
        self.pending: deque[tuple[Worker, Entry]] = deque()
        """Handed on, but not yet taken by a full reader. While there is any, nothing more is processed."""
        self.key = Text(spec.key) if spec.key else None
        self.process: Callable[[Message, Context], Any] | None = getattr(self.node, "process", None)
        self.on_timer: Callable[[str, str, Context], Any] | None = getattr(self.node, "on_timer", None)
        self.plain = not any(inspect.iscoroutinefunction(call) for call in (self.process, self.on_timer))
        self.opened = False
        self.busy = False
        self.trouble: NotConnected | Retry | None = None
        """Why the message in front waits: the worker's task sees to it."""
        self.wake = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self._opening = asyncio.Lock()
        self._random = random.Random(spec.address)  # noqa: S311  (jitter, the same in every virtual run)
        self._failures = 0
        self._batch: list[tuple[str, Message]] = []

    # ---- taking -------------------------------------------------------------------------------------------

    def nudge(self, depth: int) -> None:
        """Something waits for this worker."""
        if self.plain and self.opened and not self.busy and self.trouble is None and depth < INLINE_DEPTH:
            self.run_plain(depth)
        else:
            self.idle.clear()
            self.wake.set()

    def run_plain(self, depth: int) -> None:
        """Process what waits, up to a batch; the worker's own task goes on with the rest."""
        self.busy = True
        began = time.perf_counter()
        count = 0
        try:
            while not self.pending and self.trouble is None and count < BATCH:
                if not self._next_plain():
                    break
                count += 1
                if self.host.sliced and time.perf_counter() - began > SLICE_S:
                    break
        finally:
            self.busy = False
            self.counters.process_seconds += time.perf_counter() - began
            self.hand_on(depth)
            if self.pending or self.trouble is not None or self.due or len(self.inbox):
                self.idle.clear()
                self.wake.set()

    def _next_plain(self) -> bool:
        if self.due:
            due = self.due.popleft()
            self._guard(None, lambda: self._collect(self._timer_call(due), _timer_root(self.node.id, due), None))
            return True
        entry = self.inbox.take()
        if entry is None:
            return False
        self._take_in(entry)
        assert self.process is not None  # noqa: S101  (a node without process has no wires in)
        message = entry[1]
        try:
            result = self.process(message, self.ctx)
            if result is not None:
                self._collect(result, message.root, message.path)
        except Exception as error:
            self._failed(error, entry)
        else:
            if entry[2] is not None:
                entry[2].done()
        return True

    def _take_in(self, entry: Entry) -> None:
        self.counters.received += 1
        self.set_input(entry[0])

    def _timer_call(self, due: Due) -> Any:
        assert self.on_timer is not None  # noqa: S101  (Context.timer refuses nodes without on_timer)
        return self.on_timer(due[0], due[1], self.ctx)

    def _guard(self, entry: Entry | None, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._failed(error, entry)

    def _failed(self, error: Exception, entry: Entry | None) -> None:
        """What ARCHITECTURE §4 says for each exception."""
        if isinstance(error, Fatal):
            self.host.fatal(self, error)
        elif isinstance(error, NotConnected | Retry) and entry is not None and self._may_repeat:
            self.counters.received -= 1
            self.inbox.put_back(entry)
            self.trouble = error
            return
        elif isinstance(error, Reject):
            self.host.rejected(self, error.code, error.reason, entry[1] if entry else None)
        elif isinstance(error, NotConnected | Retry):
            self.host.rejected(self, "not-connected", str(error), entry[1] if entry else None)
        else:
            self.ctx.log.error("a message failed: %r", error, exc_info=error)
            self.host.rejected(self, "exception", f"{type(error).__name__}: {error}", entry[1] if entry else None)
        if entry is not None and entry[2] is not None:
            entry[2].done()

    @property
    def _may_repeat(self) -> bool:
        return self.node.side_effect != "at_most_once"

    # ---- handing on ---------------------------------------------------------------------------------------

    def _collect(self, result: Output, root: Root | None, path: Path) -> None:
        for port, message in by_port(result):
            self._batch.append((port, self.stamp(message, root, path)))

    def stamp(self, message: Message, root: Root | None, path: Path) -> Message:
        """Lineage and the envelope's key. A message that was handed on before is copied, never changed."""
        if self.key is not None:
            message = msgspec.structs.replace(message, key=self.key.fill(message), path=None)
        step = (path, self.node.id)
        if message.path is None:
            msgspec.structs.force_setattr(message, "root", root)
            msgspec.structs.force_setattr(message, "path", step)
            return message
        return msgspec.structs.replace(message, root=root, path=step)

    def stamp_own(self, message: Message) -> Message:
        """The same for what a source made: its root is in the message already."""
        return self.stamp(message, message.root, message.path)

    def hand_on(self, depth: int = 0) -> None:
        """Give the batch to the readers; what a full one does not take goes to ``pending``, siblings get theirs."""
        batch = self._batch
        if not batch:
            return
        self._batch = []
        counters = self.counters
        touched: dict[int, Worker] = {}
        full = {id(reader) for reader, _ in self.pending}
        for port, message in batch:
            counters.last[port] = message
            if self.tap is not None:
                self.tap(port, message)
            for reader, wire in self.readers.get(port, ()):
                entry: Entry = (wire, message, None)
                if id(reader) not in full and reader.inbox.offer(entry):
                    touched[id(reader)] = reader
                else:
                    full.add(id(reader))
                    self.pending.append((reader, entry))
        counters.sent += len(batch)
        counters.last_at = self.host.now()
        for reader in touched.values():
            reader.nudge(depth + 1)

    async def send(self, port: str, message: Message) -> None:
        """For sources: hand one message on and wait until every reader took it."""
        self._count_sent(port, message)
        waiting: list[tuple[Worker, Entry]] = []
        for reader, wire in self.readers.get(port, ()):
            entry: Entry = (wire, message, None)
            if reader.inbox.offer(entry):
                reader.nudge(1)
            else:
                waiting.append((reader, entry))
        for reader, left in waiting:
            await reader.inbox.put(left)
            reader.nudge(1)

    def offer(self, port: str, message: Message) -> bool:
        """For sources that cannot wait: all readers take it now, or none."""
        readers = self.readers.get(port, ())
        if any(reader.inbox.full for reader, _ in readers):
            return False
        self._count_sent(port, message)
        for reader, wire in readers:
            reader.inbox.offer((wire, message, None))
        for reader, _ in readers:
            reader.nudge(1)
        return True

    def _count_sent(self, port: str, message: Message) -> None:
        self.counters.sent += 1
        self.counters.last[port] = message
        self.counters.last_at = self.host.now()
        if self.tap is not None:
            self.tap(port, message)

    async def _drain_pending(self) -> None:
        while self.pending:
            reader, entry = self.pending[0]
            await reader.inbox.put(entry)
            self.pending.popleft()
            reader.nudge(1)

    # ---- the worker's own task -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the node, then see to whatever the inline calls leave over. Ends only by cancellation."""
        await self.open()
        while True:
            await self.wake.wait()
            self.wake.clear()
            await self._drain_pending()
            if self.trouble is not None:
                await self._mend(self.trouble)
            elif self.plain:
                self.run_plain(0)
            else:
                await self._run_async()
            if not (self.pending or self.trouble or self.due or len(self.inbox)):
                self.idle.set()
            else:
                self.wake.set()
            await asyncio.sleep(0)

    async def _run_async(self) -> None:
        """The same for an async ``process``: one message at a time, in order; put back if it is cancelled."""
        began, count = time.perf_counter(), 0
        while self.trouble is None and not self.pending:
            due = self.due.popleft() if self.due else None
            entry = None if due else self.inbox.take()
            if due is None and entry is None:
                break
            try:
                if due is not None:
                    result = await self._driven(self._timer_call(due))
                    self._collect(result, _timer_root(self.node.id, due), None)
                elif entry is not None:
                    self._take_in(entry)
                    assert self.process is not None  # noqa: S101
                    result = await self._driven(self.process(entry[1], self.ctx))
                    self._collect(result, entry[1].root, entry[1].path)
                    if entry[2] is not None:
                        entry[2].done()
            except asyncio.CancelledError:
                if entry is not None and self._may_repeat:
                    self.inbox.put_back(entry)
                raise
            except Exception as error:
                self._failed(error, entry)
            self._failures = 0 if self.trouble is None else self._failures
            count += 1
            if count >= BATCH or (self.host.sliced and time.perf_counter() - began > SLICE_S):
                break
        self.counters.process_seconds += time.perf_counter() - began
        self.hand_on()

    async def _driven(self, result: Any) -> Output:
        """Await ``process``; hand on what is ready at the moment it suspends."""
        if not inspect.iscoroutine(result):
            return cast(Output, result)  # a plain call in an async node
        return cast(Output, await _drive(result, self.hand_on))

    # ---- opening, closing, waiting -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the node, however long its peer is away."""
        async with self._opening:
            while not self.opened:
                try:
                    async with asyncio.timeout(OPEN_LIMIT_S):
                        await self.node.open(self.ctx)
                    self.opened = True
                except Exception as error:
                    await self.back_off(error)
        if self.counters.state != "finished":
            self.counters.state = "running"
        if len(self.inbox) or self.due:
            self.wake.set()

    async def close(self) -> None:
        """Close the node and let go of its connections; what goes wrong is said and left."""
        self.opened = False
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                await self.node.close()
        except Exception as error:
            self.ctx.log.error("closing failed: %r", error)
        await self.host.release(self)

    async def back_off(self, error: Exception) -> None:
        """Say what happened, close, wait. Raises Fatal on."""
        if isinstance(error, Fatal):
            self.host.fatal(self, error)
            await asyncio.Event().wait()  # until the runtime stops this task
        now = self.host.now()
        if isinstance(error, NotConnected):
            if self.counters.connected is not False:
                self.ctx.log.warning("not connected: %s", error)
            self.counters.connected = False
            self.counters.state = "disconnected"
            self.counters.error("not-connected", str(error), now)
        else:
            reason = "it took too long" if isinstance(error, TimeoutError) and not str(error) else f"{error}"
            self.counters.state = "restarting"
            self.counters.error("exception", f"{type(error).__name__}: {reason}", now)
            self.ctx.log.error("it failed and is restarted: %r", error, exc_info=error)
        self.counters.restarts += 1
        await self.close()
        await asyncio.sleep(self._delay())

    def _delay(self) -> float:
        """Seconds: doubled from ``retry.first`` to ``retry.max``, less up to a fifth at random."""
        retry = self.spec.retry
        wait = min(retry.first * 2 ** min(self._failures, 20), retry.max) / SECOND
        self._failures += 1
        return float(wait * (1 - 0.2 * self._random.random()))

    async def _mend(self, trouble: NotConnected | Retry) -> None:
        """The message in front waits: for its time, or for the peer."""
        if isinstance(trouble, Retry):
            await asyncio.sleep(trouble.after)
        else:
            await self.back_off(trouble)
            await self.open()
        self.trouble = None

    async def run_source(self, produce: Callable[[Context], AsyncIterator[Message | Mapping[str, Message]]]) -> None:
        """Make messages until ``produce`` ends; restart it when it fails."""
        while True:
            try:
                await self.open()
                await self._produce(produce)
                self.counters.state = "finished"
                return
            except Exception as error:
                await self.back_off(error)

    async def _produce(self, produce: Callable[[Context], AsyncIterator[Message | Mapping[str, Message]]]) -> None:
        count, began = 0, time.perf_counter()
        source = produce(self.ctx)
        try:
            async for made in source:
                for port, message in by_port(made):
                    await self.send(port, self.stamp_own(message))
                self._failures = 0
                count += 1
                if count % BATCH == 0 or (self.host.sliced and time.perf_counter() - began > SLICE_S):
                    await asyncio.sleep(0)  # a source that never waits must not hold the loop
                    began = time.perf_counter()
        finally:
            close: Callable[[], Awaitable[None]] | None = getattr(source, "aclose", None)
            if close is not None:
                await close()


def by_port(result: Output) -> list[tuple[str, Message]]:
    """Whatever a node returned as (port, message) pairs, in order."""
    if result is None:
        return []
    if isinstance(result, Message):
        return [("out", result)]
    if isinstance(result, list):
        return [("out", message) for message in result]
    pairs: list[tuple[str, Message]] = []
    for port, messages in result.items():
        pairs += [(port, message) for message in (messages if isinstance(messages, list) else [messages])]
    return pairs


def _timer_root(node: str, due: Due) -> Root:
    return (node, f"timer:{due[0]}:{due[1]}@{due[2]}")


@types.coroutine
def _drive(work: Coroutine[Any, Any, Any], on_suspend: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await ``work``, and call ``on_suspend`` once if it does not finish at once (PEP 380 by hand)."""
    try:
        waiting_for = work.send(None)
    except StopIteration as stop:
        return stop.value
    on_suspend()
    while True:
        try:
            sent = yield waiting_for
        except BaseException as error:
            try:
                waiting_for = work.throw(error)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                waiting_for = work.send(sent)
            except StopIteration as stop:
                return stop.value


__all__ = ["ERROR_PORT", "Worker", "by_port"]
