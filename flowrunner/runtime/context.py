"""What a running node sees of its runtime: the one implementation of `node.Context`."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from flowrunner.clock import Timer
from flowrunner.clock.io_time import loop_seconds
from flowrunner.errors import FlowrunnerError, Reject
from flowrunner.expression import Program, RecordScope, program_of
from flowrunner.graph import ERROR_PORT, STATUS_PORT
from flowrunner.http import Response
from flowrunner.message import JSON, FieldInfo, Instant, Message, Origin, Quality
from flowrunner.node import Node, Queue, RetryPolicy
from flowrunner.orders import Journal, Trading
from flowrunner.runtime.flight import InFlight
from flowrunner.runtime.letters import shown, too_large
from flowrunner.runtime.logs import NodeLog
from flowrunner.runtime.state import NodeState
from flowrunner.runtime.worker import Worker
from flowrunner.shape import Shape
from flowrunner.store import Alarms, History
from flowrunner.units import iso

if TYPE_CHECKING:
    from flowrunner.runtime import Runtime

T = TypeVar("T")
PAYLOAD_CAP = 1 << 20
"""Characters of JSON, roughly, that a new message may hold. Everything on its way is kept in memory, the newest
message of every port for good; a larger payload belongs in a file or a database, and its name in the message."""


class _Ring:
    """What a timer calls: there may be one for each of very many keys."""

    __slots__ = ("_context", "_slot")

    def __init__(self, context: NodeContext, slot: tuple[str, str]) -> None:
        self._context, self._slot = context, slot

    def __call__(self) -> None:
        self._context.rings(self._slot)


class NodeContext:
    """One per node; see `node.Context` for what each call promises."""

    def __init__(self, runtime: Runtime, worker: Worker, *, fresh: bool = False) -> None:
        spec = worker.spec
        self.id = spec.id
        self.flow = spec.flow
        self.address = spec.address
        self.input = ""
        self.now: Callable[[], Instant] = runtime.clock.now
        self.zone: ZoneInfo = spec.zone
        self.market = spec.market
        self.log = NodeLog(spec.address, loop_seconds())
        self._runtime = runtime
        self._worker = worker
        self._timers: dict[tuple[str, str], Timer] = {}
        self._lost = ""  # the code of the outage that was told
        self._away = ("", "")  # why the peer is away, as it was said last
        self._status: tuple[str, bool | None] = (worker.counters.state, None)  # as it was told
        self._statuses = itertools.count(1)
        self._use = self._use_from = self._use_until = 0
        changed = runtime.commits.state_changed
        self.state = NodeState(
            runtime.store, spec.flow, spec.node, changed, self._hurry, self._state_trouble, fresh=fresh
        )
        worker.ctx = self

    def _hurry(self) -> None:
        """State that must not linger."""
        self._runtime.commits.commit()
        self._runtime.store.hurry()

    def _state_trouble(self, text: str) -> None:
        self._worker.counters.error("state", text, self.now())
        self.log.error("its kept state: %s", text)

    # ---- what the file says around it: it may change while the node stays -----------------------------------------

    @property
    def vars(self) -> Mapping[str, JSON]:
        return self._worker.spec.vars

    @property
    def flow_digest(self) -> str:
        return self._worker.spec.flow_digest

    @property
    def about(self) -> Mapping[str, Shape]:
        return self._worker.spec.about

    @property
    def incoming(self) -> Shape:
        return self._worker.spec.incoming

    @property
    def inputs(self) -> frozenset[str]:
        return frozenset(wire.name for wire in self._worker.spec.wires)

    @property
    def feeds(self) -> frozenset[str]:
        return self._worker.spec.feeds

    # ---- time ------------------------------------------------------------------------------------------------

    def use(self, now: Instant) -> Instant | None:
        """The instant that a decision made ``now`` is about: the next delivery, in a flow with a market."""
        market = self.market
        if market is None:
            return None
        if not self._use_from <= now < self._use_until:  # asked for every record, and the same until the gate closes
            self._use = market.delivery_start(now)
            self._use_until = self._use - market.gate_closure_ns
            self._use_from = self._use_until - market.slot_ns
        return self._use

    def trouble(self, info: FieldInfo) -> str:
        now = self.now()
        return info.trouble(now, self.use(now))

    def scope(self, message: Message) -> RecordScope:
        now = self.now()
        return RecordScope(message, now, self.zone, self.use(now))

    @property
    def journal(self) -> Journal:
        return self._runtime.trading.journal

    @property
    def trading(self) -> Trading:
        return self._runtime.trading

    def readers(self, port: str) -> list[Node]:
        return [reader.node for reader, _ in self._worker.out.readers[port] if isinstance(reader, Worker)]

    @property
    def history(self) -> History:
        return History(self._runtime.store)

    @property
    def alarms(self) -> Alarms:
        return Alarms(self._runtime.store)

    @property
    def queue(self) -> Queue:
        return self._worker.inbox.queue

    @property
    def retry(self) -> RetryPolicy:
        return self._worker.spec.retry

    @property
    def set_back(self) -> int:
        return self._runtime.clock.set_back

    def position(self, due: Instant) -> str:
        back = self.set_back
        return f"{iso(due)}~{back}" if back else iso(due)

    async def sleep_until(self, at: Instant) -> None:
        await self._runtime.clock.sleep_until(at)

    async def sleep_until_next(self, plan: Callable[[Instant], Instant]) -> Instant:
        return await self._runtime.clock.sleep_until_next(plan)

    def timer(self, name: str, key: str, at: Instant) -> None:
        if self._worker.on_timer is None:
            raise FlowrunnerError(f"{self.address} sets a timer but has no on_timer")
        slot = (name, key)
        before = self._timers.get(slot)
        if before is not None and before.when <= at and before.postpone(at):
            return
        self.cancel_timer(name, key)
        if self._worker.closing:
            return
        self._timers[slot] = self._runtime.clock.call_at(at, _Ring(self, slot))

    def rings(self, slot: tuple[str, str]) -> None:
        """A timer: name and key."""
        timer = self._timers.pop(slot)
        # for the root of what comes of it, as if the clock had never been set back: no instant comes again
        self._worker.is_due((*slot, self.set_back + min(timer.when, self.now())))

    def cancel_timer(self, name: str, key: str) -> None:
        timer = self._timers.pop((name, key), None)
        if timer is not None:
            timer.cancel()
        else:
            self._worker.forget_due(name, key)

    def cancel_timers(self) -> None:
        """At the end of the run."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # ---- messages ------------------------------------------------------------------------------------------------

    def message(
        self,
        payload: JSON,
        *,
        position: str,
        at: Instant | None = None,
        key: str = "",
        origin: Origin = "automatic",
        quality: Quality = "good",
        fields: dict[str, FieldInfo] | None = None,
        meta: dict[str, JSON] | None = None,
    ) -> Message:
        if too_large(payload, PAYLOAD_CAP):
            raise Reject("too-large", f"the payload is larger than {PAYLOAD_CAP} characters of JSON")
        now = self.now()
        return Message(
            payload=payload,
            at=now if at is None else at,
            received_at=now,
            source=self.id,
            origin=origin,
            quality=quality,
            key=key,
            fields=fields,
            meta=meta,
            root=(self.id, position),
        )

    async def emit(self, message: Message, port: str = "out") -> None:
        try:
            stamped = self._stamped(message, port)
        except Reject as error:
            self._runtime.rejected(self._worker, error.code, error.reason, message)
        else:
            await self._worker.out.send(port, stamped, self._worker.receipt)

    def offer(self, message: Message, port: str = "out") -> bool:
        return self._worker.out.offer(port, self._stamped(message, port), self._worker.receipt)

    def hold(self) -> Callable[[], None] | None:
        receipt = self._worker.receipt
        if receipt is None:
            return None
        receipt.hold()
        return receipt.done

    def in_flight(self) -> InFlight:
        worker = self._worker
        if worker.message is None or worker.plain or worker.node.side_effect == "at_most_once":
            raise FlowrunnerError(f"{self.address}: in flight can be what an async process, which may repeat, works on")
        return worker.flight.take_off((self.input, worker.message, worker.receipt))

    def keeps(self, port: str = "out") -> bool:
        return any(reader.inbox.durable for reader, _ in self._worker.out.readers[port])

    async def taken(self, port: str = "out") -> None:
        if self.keeps(port):
            await self._runtime.commits.kept()

    def _stamped(self, message: Message, port: str) -> Message:
        """What a node sends by itself: it has its root, or comes from the message that is being processed."""
        out, cause = self._worker.out, self._worker.message
        out.check(port)
        if message.root is None and cause is not None:
            return out.stamp(message, cause.root, cause.path)
        return out.stamp(message, message.root, message.path)

    def error(self, code: str, reason: str, message: Message | None = None) -> None:
        self.report(code, reason, message)

    def report(self, code: str, reason: str, message: Message | None) -> bool:
        """Count an error and send its record by the error port: whether somebody there took it."""
        reason = self._runtime.mask(reason)  # a peer may have echoed a key
        self._worker.counters.error(code, reason, self.now())
        if self.log.isEnabledFor(logging.WARNING):
            # Limited by the code and the first words, which name the field or topic: each trouble is said by itself.
            subject = reason.partition(":")[0][:40]
            self.log.warning(f"{code}: {subject.replace('%', '%%')}%s", reason[len(subject) :])
        return self._send_error(code, reason, message)

    def _send_error(self, code: str, reason: str, message: Message | None) -> bool:
        """The record of an error, by the error port: whether somebody there took it."""
        out = self._worker.out
        if not out.readers[ERROR_PORT] and out.tap is None:
            return False
        counters, now = self._worker.counters, self.now()
        about = shown(message.payload) if message is not None else None
        payload = {"node": self.id, "code": code, "reason": reason, "message": about}
        if message is not None:
            reply = (message.meta or {}).get("reply")  # who handles the error may answer the request
            if all(reader.listens for reader, _ in out.readers[ERROR_PORT]):
                reply = None
            meta = None if reply is None else {"reply": reply}
            record = message.derive(payload, at=now, received_at=now, fields=None, meta=meta)
            record = out.stamp_unkeyed(record, message.root, message.path)
        else:
            record = self.message(payload, position=f"error:{now}:{sum(counters.errors.values())}")
            record = out.stamp_unkeyed(record, record.root, None)
        took, full = out.spare(ERROR_PORT, record, self._worker.receipt if message is self._worker.message else None)
        for _ in range(full):
            self.drop("error-port-full")
        return took > 0

    def drop(self, reason: str) -> None:
        dropped = self._worker.counters.dropped
        dropped[reason] = dropped.get(reason, 0) + 1

    # ---- peers ----------------------------------------------------------------------------------------------------

    def connected(self, state: bool, reason: str = "", code: str = "not-connected") -> None:
        counters = self._worker.counters
        self._worker.life.away = False
        if state:
            if counters.connected is not True:
                lost = self._lost or counters.state == "disconnected"
                self.log.change(logging.INFO, "connected again" if lost else "connected")
            counters.connected, self._lost, self._away = True, "", ("", "")
            counters.state = "running" if counters.state == "disconnected" else counters.state
        else:
            news = counters.connected is not False or self._away != (code, reason)
            counters.connected = False
            if reason and news:  # without a reason it is only the beginning: nothing has failed yet
                self.log.change(logging.WARNING, f"{code.replace('-', ' ')}: %s", reason)
                counters.state = "disconnected" if counters.state == "running" else counters.state
                counters.error(code, reason, self.now())
                self._away = (code, reason)
                self.lost(code, reason)
        self.tell_status("" if state or not reason else f"{code}: {reason}")

    def tell_status(self, reason: str = "") -> None:
        """Send by the status port how the node is, where that has changed."""
        counters, out = self._worker.counters, self._worker.out
        if (counters.state, counters.connected) == self._status:
            return
        self._status = (counters.state, counters.connected)
        if not out.readers[STATUS_PORT]:
            return
        now = self.now()
        payload: dict[str, JSON] = {
            "node": self.id, "state": counters.state, "reason": self._runtime.mask(reason), "since": iso(now),
        }  # fmt: skip
        if counters.connected is not None:
            payload["connected"] = counters.connected
        record = self.message(payload, position=f"status:{now}:{next(self._statuses)}")
        for _ in range(out.tell(STATUS_PORT, out.stamp_unkeyed(record, record.root, None))):
            self.drop("status-port-full")

    def lost(self, code: str, reason: str) -> None:
        """Send the beginning of an outage by the error port: once, and again when its code changes."""
        if self._lost != code:
            self._lost = code
            self._send_error(code, self._runtime.mask(reason), None)

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        return self._runtime.connections.get(self._worker.owner, key, make)

    def condition(self, text: str) -> Program:
        program = program_of(text, self.vars)
        look = self._runtime.on_condition
        return program if look is None else look(self.address, program)

    def expect_reply(self) -> tuple[str, asyncio.Future[Response]]:
        return self._runtime.replies.expect(self.address)

    def forget_reply(self, handle: str) -> None:
        self._runtime.replies.forget(handle)

    def reply(self, handle: str, response: Response) -> bool:
        return self._runtime.replies.answer(handle, response)
