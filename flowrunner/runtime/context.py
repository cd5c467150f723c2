"""What a running node sees of its runtime: the one implementation of `node.Context`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from flowrunner.clock import Timer
from flowrunner.clock.io_time import loop_seconds
from flowrunner.errors import FlowrunnerError, Reject
from flowrunner.expression import Program, RecordScope, program_of
from flowrunner.graph import ERROR_PORT
from flowrunner.http import Response
from flowrunner.message import JSON, FieldInfo, Instant, Message, Origin, Quality
from flowrunner.node import Node
from flowrunner.orders import Journal, Trading
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


class NodeContext:
    """One per node; see `node.Context` for what each call promises."""

    def __init__(self, runtime: Runtime, worker: Worker) -> None:
        spec = worker.spec
        self.id = spec.id
        self.flow = spec.flow
        self.address = spec.address
        self.input = ""
        self.now: Callable[[], Instant] = runtime.clock.now
        self.zone: ZoneInfo = spec.zone
        self.vars: Mapping[str, JSON] = spec.vars
        self.market = spec.market
        self.flow_digest = spec.flow_digest
        self.about = spec.about
        self.incoming: Shape = spec.incoming
        self.inputs = frozenset(wire.name for wire in spec.wires)
        self.feeds = spec.feeds
        self.log = NodeLog(spec.address, loop_seconds())
        self._runtime = runtime
        self._worker = worker
        self._timers: dict[tuple[str, str], Timer] = {}
        self._lost = ""  # the code of the outage that was told
        self._use = self._use_from = self._use_until = 0
        self.state = NodeState(runtime.store, spec.flow, spec.node, runtime.state_changed, self._state_trouble)
        worker.ctx = self

    def _state_trouble(self, text: str) -> None:
        self._worker.counters.error("state", text, self.now())
        self.log.error("its kept state: %s", text)

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

        def fire() -> None:
            self._timers.pop(slot, None)
            # for the root of what comes of it, as if the clock had never been set back: no instant comes again
            self._worker.due.append((name, key, self.set_back + min(timer.when, self.now())))
            self._worker.nudge(0)

        timer = self._timers[slot] = self._runtime.clock.call_at(at, fire)

    def cancel_timer(self, name: str, key: str) -> None:
        timer = self._timers.pop((name, key), None)
        if timer is not None:
            timer.cancel()
        elif self._worker.due:  # its time has come, but not its turn
            due = self._worker.due
            for one in [one for one in due if one[:2] == (name, key)]:
                due.remove(one)

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
            await self._worker.out.send(port, stamped)

    def offer(self, message: Message, port: str = "out") -> bool:
        return self._worker.out.offer(port, self._stamped(message, port))

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
            meta = None if reply is None else {"reply": reply}
            record = message.derive(payload, at=now, received_at=now, fields=None, meta=meta)
            record = out.stamp_unkeyed(record, message.root, message.path)
        else:
            record = self.message(payload, position=f"error:{now}:{sum(counters.errors.values())}")
            record = out.stamp_unkeyed(record, record.root, None)
        took, full = out.spare(ERROR_PORT, record)
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
            counters.connected, self._lost = True, ""
            counters.state = "running" if counters.state == "disconnected" else counters.state
        else:
            news = counters.connected is not False or counters.last_error != f"{code}: {reason}"
            counters.connected = False
            if reason and news:  # without a reason it is only the beginning: nothing has failed yet
                self.log.change(logging.WARNING, f"{code.replace('-', ' ')}: %s", reason)
                counters.state = "disconnected" if counters.state == "running" else counters.state
                counters.error(code, reason, self.now())
                self.lost(code, reason)

    def lost(self, code: str, reason: str) -> None:
        """Send the beginning of an outage by the error port: once, and again when its code changes."""
        if self._lost != code:
            self._lost = code
            self._send_error(code, self._runtime.mask(reason), None)

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        return self._runtime.connections.get(self.address, key, make)

    def condition(self, text: str) -> Program:
        program = program_of(text, self.vars)
        look = self._runtime.on_condition
        return program if look is None else look(self.address, program)

    def expect_reply(self) -> tuple[str, Awaitable[Response]]:
        return self._runtime.replies.expect(self.address)

    def forget_reply(self, handle: str) -> None:
        self._runtime.replies.forget(handle)

    def reply(self, handle: str, response: Response) -> bool:
        return self._runtime.replies.answer(handle, response)
