"""A flow that runs in virtual time under the hands of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeVar

from flowrunner.clock import VirtualClock, VirtualLoop, run_virtual
from flowrunner.engine import Engine
from flowrunner.errors import BadFlow, UsageError
from flowrunner.graph import check_flows
from flowrunner.http import Request, Response
from flowrunner.message import JSON, Message
from flowrunner.registry import Registry
from flowrunner.runtime.worker import Worker
from flowrunner.store import Store
from flowrunner.units import Duration, parse_instant

T = TypeVar("T")
START = "2025-01-25T02:00:00+01:00"
"""Where virtual time begins unless told; a Saturday."""


class Rig:
    """Put messages in, let time pass, look at what came out."""

    def __init__(self, engine: Engine, clock: VirtualClock) -> None:
        self.engine = engine
        self.clock = clock
        self.flow = next(iter(engine.graph.flows))
        self._seen: dict[tuple[str, str], list[Message]] = {}
        for address, worker in engine.runtime.workers.items():
            worker.tap = self._recorder(address)

    def _recorder(self, address: str) -> Callable[[str, Message], None]:
        def record(port: str, message: Message) -> None:
            self._seen.setdefault((address, port), []).append(message)

        return record

    def worker(self, node: str) -> Worker:
        """The worker of a node: ``id``, or ``flow/id``."""
        return self.engine.runtime.workers[node if "/" in node else f"{self.flow}/{node}"]

    @property
    def now(self) -> int:
        """Flow time in nanoseconds."""
        return self.clock.now()

    async def emit(self, node: str, payload: JSON, port: str = "out", **more: Any) -> Message:
        """A message leaves ``node`` as if it had made it (``at``, ``key``, ``origin``, ``quality``, ``fields``)."""
        worker = self.worker(node)
        position = more.pop("position", f"test:{self.now}:{worker.counters.sent}")
        message = worker.ctx.message(payload, position=position, **more)
        await worker.ctx.emit(message, port)
        await self.settle()
        return message

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        """A request to a route of the flow, without a socket."""
        route = self.engine.routes.get((method, path))
        if route is None:
            raise UsageError(f"no route {method} {path}")
        named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        request = Request(method=method, path=path, headers=named, query={}, body=body, client="test")
        response = await self.engine.request(route, request)
        await self.settle()
        return response

    async def enter(self, node: str, values: Mapping[str, JSON]) -> JSON:
        """A manual entry."""
        taken = await self.engine.enter(self.flow, node, values, by="test")
        await self.settle()
        return taken

    async def advance(self, time: str) -> None:
        """Let flow time pass (``30s``); every timer on the way fires at its time."""
        await self.clock.sleep_until(self.now + Duration.parse(time))
        await self.settle()

    async def settle(self) -> None:
        """Until nothing is on its way."""
        await asyncio.sleep(0)
        await self.engine.runtime.drained()

    def out(self, node: str, port: str = "out") -> list[Message]:
        """Every message that left by a port, in order."""
        return list(self._seen.get((node if "/" in node else f"{self.flow}/{node}", port), ()))

    def payloads(self, node: str, port: str = "out") -> list[JSON]:
        return [message.payload for message in self.out(node, port)]

    def errors(self, node: str) -> dict[str, int]:
        """Errors by code."""
        return dict(self.worker(node).counters.errors)


def run_flow(
    text: str,
    story: Callable[[Rig], Awaitable[T]],
    *,
    start: str = START,
    environment: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    stubs: Collection[str] = (),
    store: Store | None = None,
) -> T:
    """Run a flow's text in virtual time while ``story`` plays. BadFlow when the text has problems.

    ``stubs`` are ids of nodes that the story speaks for: those with a peer outside.
    """
    checked = check_flows({"flow.yaml": text}, environment or {}, registry or Registry())
    if checked.graph is None:
        raise BadFlow(checked.problems)
    flow = next(iter(checked.graph.flows))
    addresses = [node if "/" in node else f"{flow}/{node}" for node in stubs]

    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101  (run_virtual makes it)
        clock = VirtualClock(loop)
        own = store or Store.open(None, inline=True)
        engine = Engine(checked, store=own, clock=clock, sliced=False, stubs=addresses)
        await engine.start()
        rig = Rig(engine, clock)
        try:
            await rig.settle()
            return await story(rig)
        finally:
            await engine.runtime.stop()
            if store is None:
                await own.close()

    return run_virtual(play(), start=parse_instant(start))
