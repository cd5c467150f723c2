"""One node at work: takes what waits in its inbox, calls ``process``, hands on what came out together.

A plain node whose turn comes while it is idle runs inside the call of the writer, so a chain of plain nodes costs
function calls; where that is not possible (an async node, a full reader, a deep chain) its own task does it.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from flowrunner.clock.io_time import breathe, pause, stopwatch
from flowrunner.errors import Fatal, NotConnected, Reject, Retry
from flowrunner.graph import GraphNode
from flowrunner.message import Message, Root
from flowrunner.node import Output
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.delivery import BATCH, SLICE_S, Outlet
from flowrunner.runtime.drive import drive
from flowrunner.runtime.host import Host
from flowrunner.runtime.inbox import Entry, Inbox
from flowrunner.runtime.supervision import NODE_FAULTS, Supervisor, cancelled_from_outside

if TYPE_CHECKING:
    from flowrunner.runtime.context import NodeContext

INLINE_DEPTH = 24
"""Plain nodes that run inside one another's call before the next gets its own turn."""
RETRY_S = (0.01, 3600.0)
"""Bounds of the wait that a node asks for with Retry."""
_FAULTS_OR_CANCELLED = (*NODE_FAULTS, asyncio.CancelledError)

Due = tuple[str, str, int]
"""A timer that is due: name, key, instant."""


class Worker:
    """All is reached from one event loop. ``stub``: the node is not run, a test speaks for it."""

    def __init__(self, spec: GraphNode, inbox: Inbox, host: Host, *, stub: bool = False) -> None:
        self.spec = spec
        self.node = spec.node
        self.inbox = inbox
        self.host = host
        self.ctx: NodeContext  # comes right after: the two know each other
        self.counters = Counters()
        self.wake = asyncio.Event()
        self.out = Outlet(spec, self.counters, host, self.wake.set)
        self.life = Supervisor(self)
        self.due: deque[Due] = deque()
        own = None if stub else self.node
        self.process: Callable[[Message, NodeContext], Any] = getattr(own, "process", _swallow if stub else _refuse)
        self.on_timer: Callable[[str, str, NodeContext], Any] | None = getattr(own, "on_timer", None)
        self.plain = not any(inspect.iscoroutinefunction(call) for call in (self.process, self.on_timer))
        self.busy = False
        self.closing = False
        """The runtime stops: nothing more is begun."""
        self.trouble: NotConnected | Retry | Fatal | None = None
        """Why what is in front waits: the worker's task sees to it."""
        self.message: Message | None = None
        """What is being processed."""
        self._trouble_of = 0  # the generation of the node that raised it

    @property
    def opened(self) -> bool:
        return self.life.opened

    @property
    def tap(self) -> Callable[[str, Message], None] | None:
        """Sees every message that leaves, by port."""
        return self.out.tap

    @tap.setter
    def tap(self, see: Callable[[str, Message], None] | None) -> None:
        self.out.tap = see

    @property
    def at_rest(self) -> bool:
        """Nothing is on its way through this node."""
        return not (self.busy or self.out.pending or self.trouble is not None or self.due or len(self.inbox))

    @property
    def stuck(self) -> bool:
        """It cannot go on before its peer is there."""
        return not self.life.opened or isinstance(self.trouble, NotConnected | Fatal)

    # ---- plain nodes ----------------------------------------------------------------------------------------

    def nudge(self, depth: int) -> None:
        """Something waits for this worker."""
        if self.plain and depth < INLINE_DEPTH and self.life.opened and not self.busy:
            try:
                self.run_plain(depth)
            except Exception as error:  # of the runtime, not of the node: it must not hit the writer
                self.host.defect(self, error)
        else:
            self.wake.set()

    def run_plain(self, depth: int) -> None:
        """Process what waits, up to a batch; the worker's own task goes on with the rest."""
        began = stopwatch()
        out, inbox, host, ctx, waiting = self.out, self.inbox, self.host, self.ctx, self.due
        sliced, until = host.sliced, began + SLICE_S
        self.busy = True
        out.depth = depth
        count = received = 0
        entry: Entry | None = None
        due: Due | None = None
        try:
            while count < BATCH and not out.pending and self.trouble is None:
                if waiting:
                    due, entry = waiting.popleft(), None
                elif (entry := inbox.take()) is not None:
                    due = None
                    received += 1
                else:
                    break
                count += 1
                try:
                    if entry is not None:
                        ctx.input, message, _ = entry
                        self.message = message
                        result = self.process(message, ctx)
                        if result is not None:
                            out.collect(result, message.root, message.path)
                    elif due is not None:
                        self._on_due(due, self._timer_call(due))
                except _FAULTS_OR_CANCELLED as error:
                    self.failed(error, entry, due)
                else:
                    if entry is not None and entry[2] is not None:
                        entry[2].done()
                    if self.life.failures:
                        self.life.recovered()
                if sliced and stopwatch() > until:
                    break
        finally:
            self.busy = False
            self.message = None
            counters = self.counters
            counters.received += received
            counters.process_seconds += stopwatch() - began
            if out.batch:
                out.hand_on()
            elif received:
                counters.last_at = host.now()
            out.depth = 0
            if (waiting or self.trouble is not None or len(inbox)) and not out.pending:
                self.wake.set()

    def _timer_call(self, due: Due) -> Any:
        assert self.on_timer is not None  # noqa: S101  (Context.timer refuses nodes without on_timer)
        self.message = None
        self.ctx.input = ""
        return self.on_timer(due[0], due[1], self.ctx)

    def _on_due(self, due: Due, result: Output) -> None:
        if result is not None:
            self.out.collect(result, _timer_root(self.node.id, due), None)

    @property
    def _must_go_on(self) -> bool:
        if self.out.pending:
            return False  # who makes room wakes us
        return self.trouble is not None or bool(self.due) or len(self.inbox) > 0

    # ---- what goes wrong --------------------------------------------------------------------------------------

    def failed(self, error: BaseException, entry: Entry | None, due: Due | None = None) -> None:
        """What ARCHITECTURE §4 says for each exception."""
        message = entry[1] if entry is not None else None
        if isinstance(error, Reject):  # first: by far the most common
            self.host.rejected(self, error.code, error.reason, message)
        elif isinstance(error, Fatal):
            self._keep(entry, due, error)
            self.host.fatal(self, error)
            return
        elif isinstance(error, NotConnected | Retry) and self._may_repeat and (entry is not None or due is not None):
            self._keep(entry, due, error)
            if isinstance(error, Retry):
                self.counters.error("retry", str(error), self.host.now())
            return
        elif isinstance(error, NotConnected | Retry):
            code = "retry" if isinstance(error, Retry) else "not-connected"
            self.host.rejected(self, code, str(error), message)
        else:
            self.ctx.log.error("a message failed: %r", error, exc_info=error)
            self.host.rejected(self, "exception", f"{type(error).__name__}: {error}", message)
        if entry is not None and entry[2] is not None:
            entry[2].done()

    def _keep(self, entry: Entry | None, due: Due | None, trouble: NotConnected | Retry | Fatal) -> None:
        """Back to the front, to be tried again when the trouble is over."""
        self._put_back(entry, due)
        self.trouble, self._trouble_of = trouble, self.life.generation

    def _put_back(self, entry: Entry | None, due: Due | None) -> None:
        if entry is not None:
            self.inbox.put_back(entry)
            self.counters.received -= 1
        elif due is not None:
            self.due.appendleft(due)

    @property
    def _may_repeat(self) -> bool:
        return self.node.side_effect != "at_most_once"

    # ---- the worker's own task --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open the node, then see to whatever the inline calls leave over. Ends only by cancellation."""
        while not self.closing:
            if not self.life.opened:
                await self.life.open()
            if self.trouble is not None:
                await self._mend(self.trouble)
            elif self._must_go_on:
                if self.plain:
                    self.run_plain(0)
                else:
                    await self._run_async()
            self.host.rested()
            if self._must_go_on:
                await breathe()
            else:
                await self.wake.wait()
            self.wake.clear()

    async def _mend(self, trouble: NotConnected | Retry | Fatal) -> None:
        """What is in front waits: for its time, for the peer, or for the end."""
        if isinstance(trouble, Retry):
            shortest, longest = RETRY_S
            await pause(shortest if math.isnan(trouble.after) else min(max(trouble.after, shortest), longest))
        elif isinstance(trouble, NotConnected):
            await self.life.reopen(trouble, self._trouble_of)
            await self.life.open()
        else:
            await asyncio.Event().wait()  # until the runtime ends this task
        self.trouble = None

    async def _run_async(self) -> None:
        """The same for an async ``process``: one at a time, in order; put back if this task is cancelled."""
        began, count = stopwatch(), 0
        self.busy = True
        try:
            while self.life.opened and self.trouble is None and not (self.out.pending or self.closing):
                due = self.due.popleft() if self.due else None
                entry = None if due is not None else self.inbox.take()
                if due is None and entry is None:
                    break
                await self._one_async(entry, due)
                count += 1
                if count >= BATCH or (self.host.sliced and stopwatch() - began > SLICE_S):
                    break
        finally:
            self.busy = False
            self.message = None
            self.counters.process_seconds += stopwatch() - began
            self.out.hand_on()

    async def _one_async(self, entry: Entry | None, due: Due | None) -> None:
        generation = self.life.generation
        try:
            if entry is not None:
                self.counters.received += 1
                self.counters.last_at = self.host.now()
                self.message = entry[1]
                self.ctx.input = entry[0]
                result = await self._driven(self.process(entry[1], self.ctx))
                self.out.collect(result, entry[1].root, entry[1].path)
            elif due is not None:
                self._on_due(due, await self._driven(self._timer_call(due)))
        except asyncio.CancelledError as error:
            if cancelled_from_outside():
                self._interrupted(entry, due)
                raise
            self.failed(error, entry, due)
        except NODE_FAULTS as error:
            if generation != self.life.generation or not self.life.opened:
                # the node was closed under its feet, by its other half
                self.failed(NotConnected(f"{type(error).__name__}: {error}"), entry, due)
                self._trouble_of = generation
            else:
                self.failed(error, entry, due)
        else:
            if entry is not None and entry[2] is not None:
                entry[2].done()
            if self.life.failures:
                self.life.recovered()

    def _interrupted(self, entry: Entry | None, due: Due | None) -> None:
        if entry is None or self._may_repeat:
            self._put_back(entry, due)
        else:
            reason = "stopped in the middle; whether it was done is not known, and it is not tried again"
            self.host.rejected(self, "interrupted", reason, entry[1])

    async def _driven(self, result: Any) -> Output:
        """Await ``process``; hand on what is ready at the moment it suspends."""
        if not inspect.iscoroutine(result):
            return cast(Output, result)  # a plain call in an async node
        return cast(Output, await drive(result, self.out.hand_on))


def _swallow(message: Message, ctx: NodeContext) -> None:
    """A stub's: taken, and that is all."""


def _refuse(message: Message, ctx: NodeContext) -> None:
    raise Reject("no-process", "this node type takes no messages: it has no 'process'")


def _timer_root(node: str, due: Due) -> Root:
    return (node, f"timer:{due[0]}:{due[1]}@{due[2]}")
