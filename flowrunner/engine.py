"""The only door into a running system: load, validate, run, ask, enter, stop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from flowrunner import views
from flowrunner.clock import Clock, LiveClock
from flowrunner.connections import Connections
from flowrunner.errors import BadFlow, Problem, Reject, UsageError
from flowrunner.flowfile import CASES_SUFFIX
from flowrunner.graph import Checked, Graph, GraphNode, check_flows
from flowrunner.http import Request, Response, refusal
from flowrunner.message import JSON
from flowrunner.node import Handle
from flowrunner.orders import Trading
from flowrunner.registry import Registry
from flowrunner.runtime import Runtime
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.supervision import NODE_FAULTS
from flowrunner.store import Known, Store, take_over

log = logging.getLogger("flowrunner.engine")
audit = logging.getLogger("flowrunner.audit")


class Unknown(UsageError):
    """There is no flow or node of that name."""


class Route(msgspec.Struct, frozen=True):
    """One route of the running flows."""

    method: str
    path: str
    address: str
    max_body: int
    """Bytes; the web reads no more."""


def flow_files(paths: Iterable[Path]) -> list[Path]:
    """Files as given, folders by their ``*.yaml`` and ``*.yml``. UsageError where there is nothing, and for a file of
    tests: it is no flow."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(
                one for one in path.iterdir() if one.suffix in (".yaml", ".yml") and not one.name.endswith(CASES_SUFFIX)
            )
            if not found:
                raise UsageError(f"{path} has no *.yaml file; name a flow file")
            files += found
        elif path.name.endswith(CASES_SUFFIX):
            raise UsageError(f"{path} has tests and no flow; `flowrunner test {path}` runs them")
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"there is no file {path}")
    return list(dict.fromkeys(files))


def check_files(
    paths: Iterable[Path], environment: Mapping[str, str], registry: Registry, *, simulated: bool = False
) -> Checked:
    """Validate files: the same check for ``validate``, ``run``, reload, the API and editors."""
    texts, problems = read_files(flow_files(paths))
    checked = check_flows(texts, environment, registry, simulated=simulated)
    if not problems:
        return checked
    return Checked(None, sorted([*problems, *checked.problems], key=lambda one: one.order))


def read_files(files: Iterable[Path]) -> tuple[dict[str, str], list[Problem]]:
    """Name (as shown) → text, and those that are no text. UsageError for one that cannot be read."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            texts[str(file)] = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            problems.append(
                Problem(
                    file=str(file), line=line, column=column, path="", code="encoding",
                    message="this is not UTF-8 text", hint="save the file as UTF-8",
                )
            )  # fmt: skip
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    return texts, problems


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
        self.runtime = Runtime(
            self.graph, clock=self.clock, store=store, sliced=sliced, stubs=stubs, connections=connections
        )
        self.routes: dict[tuple[str, str], Route] = {}

    async def start(self) -> None:
        """Start every node; peers that are away are waited for in the background. StoreFailed where the journal of
        orders cannot be written: then nothing runs."""
        live = any(self._is_live(one) for one in self.graph.nodes.values())
        markets = {one.market.name for one in self.graph.nodes.values() if one.market is not None}
        await self.trading.begin(self.clock.now(), markets if live else None)
        await self._take_over()
        self.runtime.start()
        self.routes = dict(self._routes())

    def _routes(self) -> Iterable[tuple[tuple[str, str], Route]]:
        for address, spec in self.graph.nodes.items():
            for claim in spec.node.claims():
                kind, _, what = claim.partition(":")
                if kind == "route":
                    method, _, path = what.partition(" ")
                    cap = int(getattr(spec.node.options, "max_body", 1 << 20))
                    yield (method, path), Route(method, path, address, cap)

    async def _take_over(self) -> None:
        """What a node kept goes on with it under another name."""
        known = [_known(one) for one in self.graph.nodes.values()]
        for old, new in await self.store.submit(lambda sql: take_over(sql, known)):
            log.info("%s goes on with what %s kept", new.address, old.address)

    def _is_live(self, spec: GraphNode) -> bool:
        """Whether it sends orders that count, in the world as it is."""
        return spec.node.live and not spec.node.simulated and spec.address not in self.runtime.stubs

    @property
    def trading(self) -> Trading:
        """Whether orders may be made, and the journal of all orders."""
        return self.runtime.trading

    async def stop(self) -> list[str]:
        """No more requests, then sources, then inboxes, then sinks; returns the nodes that were late."""
        self.routes = {}
        late = await self.runtime.stop()
        await self.store.close()
        return late

    @property
    def failed(self) -> asyncio.Future[str]:
        """Resolves when a node demanded that everything stops."""
        return self.runtime.failed

    # ---- requests ---------------------------------------------------------------------------------------------

    async def request(self, route: Route, request: Request) -> Response:
        """A request to a flow's route, answered by its node."""
        worker = self.runtime.workers[route.address]
        handle: Handle = getattr(worker.node, "handle")  # noqa: B009  (found by presence: only such nodes have routes)
        if not worker.opened:
            answer = refusal(503, "starting", f"{worker.spec.id} is not ready yet")
            return msgspec.structs.replace(answer, headers={"retry-after": "1"})
        try:
            return await handle(request, worker.ctx)
        except Reject as error:  # like a body without the field that the node's key is made of
            worker.ctx.error(error.code, error.reason)
            return refusal(422, error.code, error.reason)
        except NODE_FAULTS as error:
            worker.ctx.log.error("a request failed: %r", error, exc_info=error)
            worker.ctx.error("exception", f"{type(error).__name__}: {error}")
            return refusal(500, "internal", f"{worker.spec.id} could not handle this request; its log says why")

    async def enter(self, flow: str, node: str, values: Mapping[str, JSON], *, by: str, reason: str = "") -> JSON:
        """A manual entry. Reject with every reason when it is refused; all values are taken or none."""
        worker = self.runtime.workers[self._address(flow, node)]
        entry = getattr(worker.node, "entry", None)
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
        """The flows as they were bound, secrets masked."""
        return views.config(self.graph)

    def dead_letters(self, flow: str | None = None, limit: int = 100) -> JSON:
        """Messages that a node rejected and whose error port nobody reads, newest first."""
        return [views.dead_letter(one) for one in self.store.dead_letters(flow=flow, limit=limit)]

    def counters(self) -> dict[str, Counters]:
        return {address: worker.counters for address, worker in self.runtime.workers.items()}

    def inbox_depths(self) -> dict[str, int]:
        return {address: len(inbox) for address, inbox in self.runtime.inboxes.items()}

    def not_ready(self) -> dict[str, str]:
        """Address → why, for every node that is not ready."""
        return {
            address: "disconnected" if counters.connected is False else counters.state
            for address, counters in self.counters().items()
            if not counters.ready
        }


def _known(spec: GraphNode) -> Known:
    """Who a node is for the next run."""
    return Known(spec.flow, spec.id, os.path.realpath(spec.file), spec.kind.name, spec.digest)
