"""A flow that runs in virtual time under the hands of a test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from flowrunner.changeover import Reloaded
from flowrunner.clock import Clock, VirtualClock, VirtualLoop, run_virtual
from flowrunner.connections import Connections
from flowrunner.engine import Engine
from flowrunner.errors import BadFlow, FlowrunnerError, UsageError, did_you_mean
from flowrunner.graph import Checked, check_flows
from flowrunner.http import Request, Response
from flowrunner.message import JSON, Instant, Message
from flowrunner.registry import Registry
from flowrunner.runtime.worker import Worker
from flowrunner.store import Store
from flowrunner.units import Duration, parse_instant

T = TypeVar("T")
START = "2025-01-25T02:00:00+01:00"
"""Where virtual time begins unless told; a Saturday."""
PATIENCE_S = 30.0
"""Real seconds that a story may take unless told; it normally takes milliseconds."""


class Sent(NamedTuple):
    """A message that left a node."""

    at: Instant
    """Flow time then."""
    address: str
    port: str
    message: Message


class StoryStuck(FlowrunnerError):
    """A story took too long in real time: something in it never waits. The text names the nodes at work."""


class Rig:
    """Put messages in, let time pass, look at what came out. Nodes go by their id, in another flow by ``flow/id``.

    Time stands still except in ``advance`` (and while the story itself awaits something that takes time): after
    ``emit``, ``request`` and ``enter`` everything has run that can run at this instant, and what waits for a time or
    for a peer still waits.
    """

    def __init__(self, make: Callable[[], Engine], clock: VirtualClock, loop: VirtualLoop) -> None:
        self.clock = clock
        self._make = make
        self._loop = loop
        self.sent: list[Sent] = []
        """Every message that left a node, in order, also by error ports that nobody reads."""
        self._numbers = 0
        self.registry = Registry()
        """Of the node types that a reload may use."""
        self.engine = make()

    async def start(self) -> None:
        """For `run_flow`: begin to run the flow."""
        self.engine.runtime.on_worker = self._record
        await self.engine.start()
        await self.settle()

    async def reload(self, checked: Checked | str) -> Reloaded:
        """Run another version of the flow from now on, as when its file is saved; a text is checked first."""
        if isinstance(checked, str):
            checked = check_flows({"flow.yaml": checked}, {}, self.registry, before=self.engine.graph)
        outcome = await self.engine.reload(checked)
        await self.settle()
        return outcome

    async def restart(self) -> None:
        """Stop the program cleanly and start it again, with what it kept. What was seen before stays in ``out``."""
        await self.engine.runtime.stop()
        self.engine = self._make()
        await self.start()

    def _record(self, worker: Worker) -> None:
        address = worker.spec.address

        def record(port: str, message: Message) -> None:
            self.sent.append(Sent(self.clock.now(), address, port, message))

        worker.tap = record

    def _address(self, node: str) -> str:
        flow = next(iter(self.engine.graph.flows))
        address = node if "/" in node else f"{flow}/{node}"
        if address not in self.engine.graph.nodes:
            if address in self.engine.graph.disabled:
                raise UsageError(f"{node!r} does not run: {self.engine.graph.disabled[address]}")
            known = [one.removeprefix(f"{flow}/") for one in self.engine.graph.nodes]
            raise UsageError(
                f"there is no node {node!r} here; {did_you_mean(node, known) or 'nodes: ' + ', '.join(known)}"
            )
        return address

    def worker(self, node: str) -> Worker:
        """The worker of a node, with its counters, inbox and state. UsageError when there is no such node."""
        return self.engine.runtime.workers[self._address(node)]

    @property
    def now(self) -> int:
        """Flow time in nanoseconds."""
        return self.clock.now()

    @property
    def failed(self) -> str:
        """What a node said that demanded that the flow stops (Fatal), or ""."""
        failed = self.engine.failed
        return failed.result() if failed.done() else ""

    async def emit(self, node: str, payload: JSON, port: str = "out", **more: Any) -> Message:
        """A message leaves ``node`` as if it had made it (``at``, ``key``, ``origin``, ``quality``, ``fields``,
        ``meta``, ``position``). Where a reader is full it waits in line; the story goes on."""
        self._numbers += 1
        position = more.pop("position", f"test:{self._numbers}")
        return await self.hand_on(node, self.worker(node).ctx.message(payload, position=position, **more), port)

    async def hand_on(self, node: str, message: Message, port: str = "out") -> Message:
        """As ``emit``, with a message that is made already."""
        out = self.worker(node).out
        out.check(port)
        message = out.stamp(message, message.root, None)
        out.put(port, message)
        await self.settle()
        return message

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        """A request to a route of the flow, without a socket; ``x_api_key="…"`` is the header ``X-API-KEY``."""
        route = self.engine.routes.get((method, path))
        if route is None or route.address in self.engine.runtime.stubs:
            known = ", ".join(f"{method} {path}" for method, path in self.engine.routes) or "none"
            raise UsageError(f"no node runs for the route {method} {path}; routes: {known}")
        named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
        request = Request(method=method, path=path, headers=named, query={}, body=body, client="test")
        response = await self.engine.request(route, request)
        await self.settle()
        return response

    async def enter(self, node: str, values: Mapping[str, JSON]) -> JSON:
        """A manual entry. Reject when it is refused."""
        flow, _, name = self._address(node).partition("/")
        taken = await self.engine.enter(flow, name, values, by="test")
        await self.settle()
        return taken

    async def advance(self, time: str) -> None:
        """Let flow time pass (``30s``, ``5min``); every timer on the way fires at its time."""
        await self.clock.sleep_until(self.now + Duration.parse(time))
        await self.settle()

    async def settle(self) -> None:
        """Until nothing can run any more without time moving on."""
        await self._loop.quiet()

    def out(self, node: str, port: str = "out") -> list[Message]:
        """Every message that left by a port, in order."""
        address = self._address(node)
        return [one.message for one in self.sent if one.address == address and one.port == port]

    def payloads(self, node: str, port: str = "out") -> list[JSON]:
        """The payloads of ``out``."""
        return [message.payload for message in self.out(node, port)]

    def errors(self, node: str) -> dict[str, int]:
        """Errors by code."""
        return dict(self.worker(node).counters.errors)

    def dropped(self, node: str) -> dict[str, int]:
        """Messages left out, by reason: by the node itself and by its inbox."""
        worker = self.worker(node)
        return worker.counters.drop(worker.inbox.dropped)


def run_flow(
    text: str,
    story: Callable[[Rig], Awaitable[T]],
    *,
    start: str = START,
    environment: Mapping[str, str] | None = None,
    registry: Registry | None = None,
    stubs: Collection[str] = (),
    store: Store | None = None,
    connections: Callable[[], Connections] = Connections,
    patience_s: float = PATIENCE_S,
) -> T:
    """Run a flow's text in virtual time while ``story`` plays; returns what the story returns.

    ``stubs`` are ids of nodes that the story speaks for: those with a peer outside. They take what comes in and
    send what ``rig.emit`` says. ``registry`` knows more node types (``Registry([folder])``). ``store`` keeps state
    beyond the story: ``Store.open(None, inline=True)`` given to two runs is a restart. ``connections`` makes those of
    each start: a node whose peer is there already, like an exchange simulated in this process, needs no stub.

    BadFlow when the text has problems, with every one of them; VirtualDeadlock when the story waits for what cannot
    come; StoryStuck when it takes more than ``patience_s`` of real time.
    """

    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101  (run_virtual makes it)
        clock = VirtualClock(loop)
        own = store or Store.open(None, inline=True)

        def make() -> Engine:
            return engine_of(text, clock, own, environment, registry or Registry(), stubs, connections())

        rig = Rig(make, clock, loop)
        rig.registry = registry or rig.registry
        try:
            with patience(rig, patience_s):
                await rig.start()
                return await story(rig)
        finally:
            await rig.engine.runtime.stop()
            if store is None:
                await own.close()

    return run_virtual(play(), start=parse_instant(start))


def engine_of(
    text: str,
    clock: Clock,
    store: Store,
    environment: Mapping[str, str] | None,
    registry: Registry,
    stubs: Collection[str],
    connections: Connections,
) -> Engine:
    """What one start of a `Rig` takes, as `run_flow` has it. Nodes keep things: a new engine needs new ones."""
    checked = check_flows({"flow.yaml": text}, environment or {}, registry)
    if checked.graph is None:
        raise BadFlow(checked.problems)
    flow, nodes = next(iter(checked.graph.flows)), checked.graph.nodes
    addresses = [node if "/" in node else f"{flow}/{node}" for node in stubs]
    unknown = [node for node in addresses if node not in nodes]
    if unknown:
        hint = did_you_mean(unknown[0], nodes) or f"nodes: {', '.join(nodes)}"
        raise UsageError(f"the stub {unknown[0]!r} is no node that runs here; {hint}")
    return Engine(
        Checked(checked.graph, []), store=store, clock=clock, sliced=False, stubs=addresses, connections=connections
    )


@contextmanager
def patience(rig: Rig, seconds: float) -> Iterator[None]:
    """Cancel the story when its real time is over: in virtual time a loop that never waits would never end."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    over = False

    def end() -> None:
        nonlocal over
        over = True
        if task is not None:
            task.cancel()

    timer = threading.Timer(seconds, lambda: loop.call_soon_threadsafe(end))
    timer.daemon = True
    timer.start()
    try:
        yield
    except asyncio.CancelledError:
        if not over or task is None:
            raise
        task.uncancel()
        nodes = [f"{worker.spec.id} ({len(worker.inbox)} wait, {worker.counters.sent} sent)" for worker in _busy(rig)]
        raise StoryStuck(
            f"the story is not over after {seconds:g} s of real time; at work: {', '.join(nodes) or 'no node'}. "
            "A source that never waits for time, or a story that never ends?"
        ) from None
    finally:
        timer.cancel()


def _busy(rig: Rig) -> list[Worker]:
    workers = rig.engine.runtime.workers.values()
    return [one for one in workers if not one.at_rest or one.life.producing is not None]
