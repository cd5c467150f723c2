"""What a running node sees of its runtime: the one implementation of `node.Context`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from flowrunner.clock import Timer
from flowrunner.errors import FlowrunnerError
from flowrunner.expression import Program, compile_expression, parse
from flowrunner.graph import ERROR_PORT
from flowrunner.http import Response
from flowrunner.message import JSON, FieldInfo, Instant, Message, Origin, Quality
from flowrunner.runtime.logs import NodeLog
from flowrunner.runtime.state import NodeState
from flowrunner.runtime.worker import Worker
from flowrunner.shape import Shape

if TYPE_CHECKING:
    from flowrunner.runtime import Runtime

T = TypeVar("T")
ERROR_PAYLOAD_CAP = 4096
"""Characters of an offending payload that an error message carries."""


class NodeContext:
    """One per node; see `node.Context` for what each call promises."""

    def __init__(self, runtime: Runtime, worker: Worker) -> None:
        spec = worker.spec
        self.id = spec.id
        self.flow = spec.flow
        self.address = spec.address
        self.input = ""
        self.zone: ZoneInfo = spec.zone
        self.vars: Mapping[str, JSON] = spec.vars
        self.incoming: Shape = spec.incoming
        self.feeds = spec.feeds
        self.log = NodeLog(spec.address, runtime.clock)
        self.state = NodeState(runtime.store, spec.flow, spec.node, runtime.state_changed)
        if self.state.lost:
            self.log.warning("starts without its kept state: %s", self.state.lost)
        self._runtime = runtime
        self._worker = worker
        self._timers: dict[tuple[str, str], Timer] = {}
        worker.ctx = self
        worker.set_input = self._set_input

    def _set_input(self, wire: str) -> None:
        self.input = wire

    # ---- time ------------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        return self._runtime.clock.now()

    async def sleep_until(self, at: Instant) -> None:
        await self._runtime.clock.sleep_until(at)

    def timer(self, name: str, key: str, at: Instant) -> None:
        if self._worker.on_timer is None:
            raise FlowrunnerError(f"{self.address} sets a timer but has no on_timer")
        self.cancel_timer(name, key)
        slot = (name, key)

        def fire() -> None:
            self._timers.pop(slot, None)
            self._worker.due.append((name, key, at))
            self._worker.nudge(0)

        self._timers[slot] = self._runtime.clock.call_at(at, fire)

    def cancel_timer(self, name: str, key: str) -> None:
        timer = self._timers.pop((name, key), None)
        if timer is not None:
            timer.cancel()

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
        await self._worker.send(port, self._worker.stamp_own(message))

    def offer(self, message: Message, port: str = "out") -> bool:
        return self._worker.offer(port, self._worker.stamp_own(message))

    def error(self, code: str, reason: str, message: Message | None = None) -> None:
        self._worker.counters.error(code, reason, self.now())
        if not self._worker.readers.get(ERROR_PORT):
            return
        about = message.payload if message is not None else None
        if len(repr(about)) > ERROR_PAYLOAD_CAP:
            about = repr(about)[:ERROR_PAYLOAD_CAP] + "…"
        payload = {"node": self.id, "code": code, "reason": reason, "message": about}
        now = self.now()
        if message is not None:
            out = message.derive(payload, at=now, received_at=now, fields=None, meta=None)
            out = self._worker.stamp(out, message.root, message.path)
        else:
            position = f"error:{now}:{sum(self._worker.counters.errors.values())}"
            out = self._worker.stamp_own(self.message(payload, position=position))
        if not self._worker.offer(ERROR_PORT, out):
            self.drop("error-port-full")

    def drop(self, reason: str) -> None:
        dropped = self._worker.counters.dropped
        dropped[reason] = dropped.get(reason, 0) + 1

    # ---- peers ----------------------------------------------------------------------------------------------------

    def connected(self, state: bool, reason: str = "") -> None:
        counters = self._worker.counters
        if state:
            if counters.connected is False:
                self.log.info("connected again")
            counters.connected = True
            counters.state = "running" if counters.state == "disconnected" else counters.state
        else:
            news = counters.connected is not False or counters.last_error != f"not-connected: {reason}"
            counters.connected = False
            if reason and news:  # without a reason it is only the beginning: nothing has failed yet
                self.log.warning("not connected: %s", reason)
                counters.error("not-connected", reason, self.now())

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        return self._runtime.connections.get(self.address, key, make)

    def condition(self, text: str) -> Program:
        return compile_expression(parse(text), self.vars)

    def expect_reply(self) -> tuple[str, Awaitable[Response]]:
        return self._runtime.replies.expect(self.address)

    def forget_reply(self, handle: str) -> None:
        self._runtime.replies.forget(handle)

    def reply(self, handle: str, response: Response) -> bool:
        return self._runtime.replies.answer(handle, response)
