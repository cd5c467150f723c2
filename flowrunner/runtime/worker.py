"""One node at work: takes what waits in its inbox, calls ``process``, hands on what came out together.

A plain node whose turn comes while it is idle runs inside the call of the writer, so a chain of plain nodes costs
function calls; where that is not possible (an async node, a full reader, a deep chain) its own task does it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flowrunner.clock.io_time import stopwatch
from flowrunner.errors import Fatal, NotConnected, Reject, Retry, described
from flowrunner.graph import GraphNode
from flowrunner.message import Message, Path, Root
from flowrunner.node import Output
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.delivery import BATCH, SLICE_S, Outlet
from flowrunner.runtime.flight import Flight
from flowrunner.runtime.host import Host
from flowrunner.runtime.inbox import NONE_YET, Entry, Inbox
from flowrunner.runtime.receipt import Receipt
from flowrunner.runtime.supervision import FAULTS_OR_CANCELLED, Supervisor
from flowrunner.runtime.wake import Wake

if TYPE_CHECKING:
    from flowrunner.runtime.context import NodeContext

STRIDE = 32
"""Messages between two looks at the stopwatch, at most."""
INLINE_DEPTH = 24
"""Plain nodes that run inside one another's call before the next gets its own turn."""
LONG_RETRY_S = 1.0
"""Nobody who stops waits for one that waits for so long."""
_set = msgspec.structs.force_setattr

Due = tuple[str, str, int]
"""A timer that is due: name, key, instant."""


class Worker:
    """All is reached from one event loop. ``stub``: the node is not run, a test speaks for it."""

    def __init__(self, spec: GraphNode, inbox: Inbox, host: Host, *, stub: bool = False, owner: str = "") -> None:
        self.spec = spec
        self.node = spec.node
        self.inbox = inbox
        self.listens = bool(spec.kind.cls.listens)
        self.host = host
        self.stub = stub
        self.owner = owner or spec.address
        """Under this name it has shared connections: another worker of the same node has another."""
        self.ctx: NodeContext  # comes right after: the two know each other
        self.counters = Counters()
        self.wake = Wake()
        self.out = Outlet(spec, self.counters, host, self.wake.set)
        self.life = Supervisor(self)
        self.due: deque[Due] = NONE_YET
        self.flight = Flight(self)
        own = None if stub else self.node
        self.process: Callable[[Message, NodeContext], Any] = getattr(own, "process", _swallow if stub else _refuse)
        self.on_timer: Callable[[str, str, NodeContext], Any] | None = getattr(own, "on_timer", None)
        self.plain = not any(inspect.iscoroutinefunction(call) for call in (self.process, self.on_timer))
        self.busy = False
        self.closing = False
        """It ends: nothing more is begun."""
        self.paused = False
        """Another may take its place: nothing is begun for now."""
        self.trouble: NotConnected | Retry | Fatal | None = None
        """Why what is in front waits: the worker's task sees to it."""
        self.message: Message | None = None
        """What is being processed."""
        self.counts = self.may_repeat and not self.listens
        """Whether a source waits for what it does. Not where it is never given a message again: it would be of no use,
        and the source would stand still while an order is on its way."""
        self.receipt: Receipt | None = None
        """Its part in the message of a source that wants to hear of the end."""
        self._stride = 1
        self.trouble_of = 0  # the generation of the node that raised it

    @property
    def leaves(self) -> bool:
        """Whether its source can be asked to take nothing new."""
        return hasattr(self.node, "leave") and not self.stub

    async def pause(self, limit_s: float) -> bool:
        """Begin nothing more; whether what was in work has ended within ``limit_s`` seconds."""
        self.paused = True
        try:
            async with asyncio.timeout(limit_s):
                while self.busy or (self.flight and self.trouble is None):
                    await self.host.next_rest()
        except TimeoutError:
            return False
        self.flight.give_back()  # nothing, unless its peer has gone
        return True

    def resume(self) -> None:
        self.paused = self.closing = False
        self.wake.set()

    def end(self) -> None:
        """For good."""
        self.closing = True
        self.ctx.cancel_timers()

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
        idle = not (self.busy or self.out.pending or self.trouble is not None or self.due or self.flight)
        return idle and not len(self.inbox)

    @property
    def stuck(self) -> bool:
        """It cannot go on before its peer is there, or before a time that its peer has named."""
        trouble = self.trouble
        long = isinstance(trouble, Retry) and trouble.after >= LONG_RETRY_S
        return not self.life.opened or long or isinstance(trouble, NotConnected | Fatal)

    # ---- plain nodes ----------------------------------------------------------------------------------------

    def nudge(self, depth: int) -> None:
        """Something waits for this worker."""
        if self.plain and depth < INLINE_DEPTH and self.life.opened and not (self.busy or self.paused):
            try:
                self.run_plain(depth)
            except Exception as error:  # of the runtime, not of the node: it must not hit the writer
                self.host.defect(self, error)
        else:
            self.wake.set()

    def receive(self, wire: str, messages: Sequence[Message], depth: int) -> int:
        """Work on these at once, where nothing waits before them: how many of them are done with. The others are for
        the inbox."""
        if (
            not self.plain or self.busy or self.paused or depth >= INLINE_DEPTH or not self.life.opened or self.due
            or self.trouble is not None or not self.inbox.idle or self.out.pending
        ):  # fmt: skip
            return 0
        began = stopwatch()
        out, ctx, process, life, stride = self.out, self.ctx, self.process, self.life, self._stride
        collect, plain = out.collect, out.simple
        came: Path = None
        onward = out.way(None)
        self.busy = True
        out.depth, ctx.input = depth, wire
        count = 0
        try:
            try:
                for message in messages:
                    self.message = message
                    count += 1
                    try:
                        result = process(message, ctx)
                        if type(result) is Message and result.path is None and plain:
                            _set(result, "root", message.root)  # as `collect` does it, without the call
                            if message.path is not came:
                                came, onward = message.path, out.way(message.path)
                            _set(result, "path", onward)
                            out.ready.append(result)  # anew each time: what the node sent by itself has handed it on
                        elif result is not None:
                            collect(result, message.root, message.path)
                            plain = out.simple
                    except FAULTS_OR_CANCELLED as error:
                        self.failed(error, (wire, message, None))
                    else:
                        if life.failures:
                            life.recovered()
                    if self.trouble is not None or out.pending:
                        break
                    if count % stride == 0 and self.host.sliced and stopwatch() > began + SLICE_S:
                        break
            finally:
                self.counters.received += count
                self._worked(began, count)
        except Exception as error:  # of the runtime, not of the node: it must not hit the writer
            self.host.defect(self, error)
        return count

    def _worked(self, began: float, count: int) -> None:
        """A round is over: what came of it is handed on."""
        self.busy = False
        self.message = self.receipt = None
        out, took = self.out, stopwatch() - began
        self.counters.process_seconds += took
        if count > 1:  # look at the stopwatch about eight times in a slice
            self._stride = max(1, min(STRIDE, int(count * SLICE_S / (8 * took + 1e-9))))
        if out.ready or out.batch:
            out.hand_on()
        elif count:
            self.counters.last_at = self.host.now()
        out.depth = 0
        if (self.due or self.trouble is not None or len(self.inbox)) and not out.pending:
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
                        ctx.input, message, receipt = entry
                        self.message = message
                        if receipt is None:
                            result = self.process(message, ctx)
                        else:
                            self.receipt = receipt
                            kept = ctx.state.changed_times
                            result = self.process(message, ctx)
                            if ctx.state.changed_times != kept:
                                receipt.keep()
                        if result is not None:
                            out.collect(result, message.root, message.path, receipt)
                    elif due is not None:
                        self.on_due(due, self.timer_call(due))
                except FAULTS_OR_CANCELLED as error:
                    self.failed(error, entry, due)
                else:
                    if entry is not None and entry[2] is not None:
                        self.receipt = None
                        entry[2].done()
                    if self.life.failures:
                        self.life.recovered()
                if sliced and stopwatch() > until:
                    break
        finally:
            self.counters.received += received
            self._worked(began, received)

    def timer_call(self, due: Due) -> Any:
        assert self.on_timer is not None  # noqa: S101  (Context.timer refuses nodes without on_timer)
        self.message = self.receipt = None
        self.ctx.input = ""
        return self.on_timer(due[0], due[1], self.ctx)

    def on_due(self, due: Due, result: Output) -> None:
        if result is not None:
            self.out.collect(result, _timer_root(self.node.id, due), None)

    def is_due(self, due: Due) -> None:
        """The time of a timer has come; its turn comes in order."""
        if self.due is NONE_YET:
            self.due = deque()
        self.due.append(due)
        self.nudge(0)

    def forget_due(self, name: str, key: str) -> None:
        """A timer was cancelled when its time had come already, and not its turn."""
        for one in [one for one in self.due if one[:2] == (name, key)]:
            self.due.remove(one)

    @property
    def idle(self) -> bool:
        """Open, and with nothing to do for its own task."""
        return self.life.opened and not (self.wake or self.must_go_on or self.busy or self.paused or self.out.pending)

    @property
    def must_go_on(self) -> bool:
        if self.out.pending or self.paused:
            return False  # who makes room, or resumes, wakes us
        return self.trouble is not None or bool(self.due) or len(self.inbox) > 0

    # ---- what goes wrong --------------------------------------------------------------------------------------

    def failed(self, error: BaseException, entry: Entry | None, due: Due | None = None) -> None:
        """What ARCHITECTURE §4 says for each exception."""
        message, receipt = (entry[1], entry[2]) if entry is not None else (None, None)
        if receipt is not None:
            receipt.keep()  # the node may have kept something before it failed
        if isinstance(error, Reject):  # first: by far the most common
            self.host.rejected(self, error.code, error.reason, message)
        elif isinstance(error, Fatal):
            self._keep(entry, due, error)
            self.host.fatal(self, error)
            return
        elif isinstance(error, NotConnected | Retry) and self.may_repeat and (entry is not None or due is not None):
            self._keep(entry, due, error)
            if isinstance(error, Retry):
                self.counters.error("retry", str(error), self.host.now())
            return
        elif isinstance(error, NotConnected | Retry):
            code = "retry" if isinstance(error, Retry) else "not-connected"
            self.host.rejected(self, code, str(error), message)
        else:
            self.ctx.log.error("a message failed: %r", error, exc_info=error)
            self.host.rejected(self, "exception", described(error), message)
        if receipt is not None:
            self.receipt = None
            receipt.done()

    def _keep(self, entry: Entry | None, due: Due | None, trouble: NotConnected | Retry | Fatal) -> None:
        """Back to the front, to be tried again when the trouble is over."""
        self.put_back(entry, due)
        self.trouble, self.trouble_of = trouble, self.life.generation

    def put_back(self, entry: Entry | None, due: Due | None) -> None:
        if entry is not None:
            self.inbox.put_back(entry)
            self.counters.received -= 1
        elif due is not None:
            self.due.appendleft(due)

    def stumbled(self, error: NotConnected | Retry | Fatal) -> None:
        """One in flight has failed, and will be tried again with those behind it: nothing more is begun before."""
        if self.trouble is None:
            self.trouble, self.trouble_of = error, self.life.generation
            if isinstance(error, Retry):
                self.counters.error("retry", str(error), self.host.now())
        self.wake.set()

    @property
    def may_repeat(self) -> bool:
        return self.node.side_effect != "at_most_once"


def _swallow(message: Message, ctx: NodeContext) -> None:
    """A stub's: taken, and that is all."""


def _refuse(message: Message, ctx: NodeContext) -> None:
    raise Reject("no-process", "this node type takes no messages: it has no 'process'")


def _timer_root(node: str, due: Due) -> Root:
    return (node, f"timer:{due[0]}:{due[1]}@{due[2]}")
