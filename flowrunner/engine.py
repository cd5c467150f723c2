"""The only door into a running system: load, validate, run, ask, enter, stop."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection, Iterable, Mapping

import msgspec

from flowrunner import noted, views
from flowrunner.changeover import Changeover, Reloaded, sends_live
from flowrunner.clock import Clock, LiveClock
from flowrunner.clock.io_time import stopwatch
from flowrunner.connections import Connections
from flowrunner.errors import BadFlow, Problem, Reject, UsageError
from flowrunner.graph import Checked, Graph
from flowrunner.http import Request, Response, refusal, retry_after
from flowrunner.identities import Identities
from flowrunner.message import JSON
from flowrunner.node import Handle
from flowrunner.orders import Trading
from flowrunner.routes import Route, Routes, answered, node_failed, routes_of
from flowrunner.runtime import Runtime
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.supervision import NODE_FAULTS
from flowrunner.store import FILE_NAME, Audit, Store, StoreFailed
from flowrunner.store.letters import remove_letters

log = logging.getLogger("flowrunner.engine")
LOOK_S = 1.0
"""Seconds between two looks at what the command ``dead-letters`` asks for."""
audit = logging.getLogger("flowrunner.audit")


class Unknown(UsageError):
    """There is no flow or node of that name."""


class Engine:
    """Runs checked flows on one store and one clock."""

    def __init__(
        self,
        checked: Checked,
        *,
        store: Store,
        clock: Clock | None = None,
        sliced: bool = True,
        stubs: Collection[str] = (),
        connections: Connections | None = None,
    ) -> None:
        """``connections``: what some of them are, before anybody asks (a simulated exchange in this process)."""
        if checked.graph is None:
            raise BadFlow(checked.problems)
        self.graph: Graph = checked.graph
        self.problems = checked.problems
        self.generation = 1
        self.clock = clock or LiveClock()
        self.store = store
        self.audit = Audit(store)
        """Who did what: entries and reloads are noted here, the rest by who serves it."""
        self.runtime = Runtime(
            self.graph, clock=self.clock, store=store, sliced=sliced, stubs=stubs, connections=connections
        )
        self.routes: Routes = {}
        self.loaded_at = self.clock.now()
        """When what runs began to run."""
        self.last_reload: Reloaded | None = None
        self.reloads: dict[str, int] = {}
        """How many there were, by result."""
        self._identities = Identities(store)
        self._reloading = asyncio.Lock()
        self.reading = asyncio.Semaphore(1)
        """For who reads much of what is kept, in a thread: one at a time, the flows come first."""

    async def start(self) -> None:
        """Start every node; peers that are away are waited for in the background. StoreFailed where the journal of
        orders cannot be written: then nothing runs."""
        markets = {one.market.name for one in self.graph.nodes.values() if one.market is not None}
        await self.trading.begin(self.clock.now(), markets if sends_live(self.graph, self.runtime.stubs) else None)
        await self._identities.begin(self.graph)
        self.runtime.start()
        await self.runtime.returns.begin()
        self.routes = routes_of(self.graph)

    # ---- another graph -----------------------------------------------------------------------------------------

    async def reload(self, checked: Checked, *, by: str = "", origin: str = "") -> Reloaded:
        """Run what was checked from now on: what did not change goes on as if nothing had been.

        One at a time. Never raises for what is wrong with a flow: the answer says why the old one runs on. ``by`` and
        ``origin``: for the audit, who asked for it and from where; "" where the files have changed.
        """
        async with self._reloading:
            began = stopwatch()
            changeover = Changeover(checked, self.runtime, self._identities)
            outcome = await changeover.run(self.generation, self._arrived)
            if outcome.result == "applied":
                self.problems = outcome.problems
                await changeover.remember()
            outcome.seconds = stopwatch() - began
        self.last_reload = outcome
        self.reloads[outcome.result] = self.reloads.get(outcome.result, 0) + 1
        if by or outcome.result != "unchanged":
            await self.audit.add(noted.reloaded(outcome, self.clock.now(), by, origin))
        return outcome

    def _arrived(self, graph: Graph, routes: Routes) -> None:
        self.graph, self.routes = graph, routes
        self.generation += 1
        self.loaded_at = self.clock.now()

    @property
    def trading(self) -> Trading:
        """Whether orders may be made, and the journal of all orders."""
        return self.runtime.trading

    async def stop(self, grace_s: float = 5.0) -> list[str]:
        """No more requests, then sources, then inboxes, then sinks; returns the nodes that were late, with what was
        left. ``grace_s``: seconds for sources and inboxes."""
        self.routes = {}
        late = await self.runtime.stop(grace_s)
        await self.store.close()
        return late

    @property
    def failed(self) -> asyncio.Future[str]:
        """Resolves when a node demanded that everything stops."""
        return self.runtime.failed

    # ---- requests ---------------------------------------------------------------------------------------------

    async def request(self, route: Route, request: Request) -> Response:
        """A request to a flow's route, answered by its node."""
        answer = self.ask(route, request)
        return answer if isinstance(answer, Response) else await answer

    def ask(self, route: Route, request: Request) -> Response | asyncio.Future[Response]:
        """The same without waiting: the answer itself where the node has it at once, else who brings it."""
        worker = self.runtime.workers.get(route.address)
        handle: Handle | None = getattr(worker and worker.node, "handle", None)  # by presence: only they have routes
        if worker is None or handle is None:  # a reload came while the body did: whatever is there now is asked anew
            detail = f"{route.path} is another one since this request began; send it again"
            return refusal(503, "starting", detail, headers=retry_after(1))
        if not worker.opened:
            return refusal(503, "starting", f"{worker.spec.id} is not ready yet", headers=retry_after(1))
        try:
            answer = handle(request, worker.ctx)
        except NODE_FAULTS as error:
            return node_failed(worker, error)
        if isinstance(answer, Response | asyncio.Future):
            return answer
        return asyncio.ensure_future(answered(worker, answer))

    async def enter(
        self, flow: str, node: str, values: Mapping[str, JSON], *, by: str, reason: str = "", origin: str = ""
    ) -> JSON:
        """A manual entry. Reject with every reason when it is refused; all values are taken or none. It is in the audit
        when this returns. ``origin``: the address that it came from."""
        worker = self.runtime.workers[self._address(flow, node)]
        entry = getattr(worker.node, "entry", None)
        last = worker.counters.last.get("out")
        if not worker.node.manual or entry is None:
            raise Unknown(f"{flow}/{node} takes no manual values; it is a {worker.node.type}")
        try:
            message = entry(values, worker.ctx)
            if not worker.ctx.offer(message):
                raise Reject("full", "the flow cannot take more now; try again in a second")
        except Reject as error:
            worker.counters.error(error.code, error.reason, self.clock.now())
            raise
        shown = msgspec.json.encode(dict(values)).decode()
        audit.info("%s/%s: %s entered %s (%s)", flow, node, by, shown, reason or "no reason given")
        await self.audit.add(noted.entered(flow, node, values, message, last, by=by, origin=origin, reason=reason))
        return views.message(message, self.clock.now())

    # ---- questions ----------------------------------------------------------------------------------------------

    def _address(self, flow: str, node: str) -> str:
        address = f"{flow}/{node}"
        if flow not in self.graph.flows:
            raise Unknown(f"there is no flow {flow[:64]!r}")
        if address in self.graph.disabled:
            raise Unknown(f"{address} does not run: {self.graph.disabled[address]}")
        if address not in self.graph.nodes:
            raise Unknown(f"there is no node {node[:64]!r} in {flow}")
        return address

    def flows(self) -> list[JSON]:
        return [views.flow_line(self.graph, head, self.counters()) for head in self.graph.flows.values()]

    def flow(self, name: str) -> JSON:
        """One flow with its nodes and wires. Unknown when there is none."""
        if name not in self.graph.flows:
            raise Unknown(f"there is no flow {name[:64]!r}")
        return views.flow(self.graph, self.graph.flows[name], self.counters())

    def node(self, flow: str, node: str) -> JSON:
        """One node with its counters and the newest message of each port. Unknown when it does not run."""
        worker = self.runtime.workers[self._address(flow, node)]
        return views.node(worker.spec, worker.counters, worker.inbox, self.clock.now())

    def config(self) -> JSON:
        """What runs and how it came to run; secrets are masked."""
        return views.running(self.graph, self.generation, self.loaded_at, self.last_reload)

    # ---- dead letters -------------------------------------------------------------------------------------------

    async def replay_letters(self, ids: Iterable[int]) -> dict[int, str]:
        """Put rejected messages back to the nodes that rejected them: letter → why it is not put back, or "".
        StoreFailed where that cannot be written down; then it is not done."""
        return await self.runtime.returns.ask(ids)

    async def drop_letters(self, ids: Iterable[int]) -> int:
        """Forget letters; how many there were. StoreFailed where they stay."""
        return await self.store.submit(lambda sql, ids=list(ids): remove_letters(sql, ids))  # type: ignore[misc]

    async def watch_letters(self) -> None:
        """Take in what is asked for from outside, for as long as an engine runs in real time."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.runtime.returns.look()
            except (StoreFailed, sqlite3.Error) as error:  # the store says it loudly, and tries again by itself
                log.debug("dead letters are looked at again later: %s", error)

    def counters(self) -> dict[str, Counters]:
        return {address: worker.counters for address, worker in self.runtime.workers.items()}

    def inbox_depths(self) -> dict[str, int]:
        return {address: len(inbox) for address, inbox in self.runtime.inboxes.items()}

    def troubles(self) -> list[Problem]:
        """What is wrong beside the flows: a state file that was damaged, messages that wait for a node that is gone."""
        said, folder = self.store.begun_anew, self.store.folder
        file = "" if folder is None else str(folder / FILE_NAME)
        found = [("state-damaged", said, "")] if said and file else []
        found += [
            ("waiting-for-nobody", f"{count} messages on the disk wait for {address}, which does not run",
             "they come first when a node of that name runs; put it back for one reload to have them delivered")
            for address, count in self.store.inboxes().items() if address not in self.graph.nodes
        ]  # fmt: skip
        return [
            Problem(file=file, line=1, column=1, path="", code=code, severity="warning", message=message, hint=hint)
            for code, message, hint in found
        ]

    def not_ready(self) -> dict[str, str]:
        """Address → why, for every node that is not ready; ``store`` where what is to be kept cannot be written."""
        waiting: dict[str, str] = {
            address: "disconnected" if counters.connected is False else counters.state
            for address, counters in self.counters().items()
            if not counters.ready
        }
        return waiting if self.store.failed is None else waiting | {"store": self.store.failed}
