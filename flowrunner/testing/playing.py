"""One test played in virtual time: its steps done, its expectations judged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flowrunner.clock import VirtualClock, VirtualDeadlock, VirtualLoop, run_virtual
from flowrunner.connections import Connections
from flowrunner.engine import Engine
from flowrunner.errors import FlowrunnerError, Reject, UsageError, described
from flowrunner.flowfile import CaseStep, Environment, Expectation, Step
from flowrunner.graph import ERROR_PORT, Checked, Graph, GraphNode, check_flows
from flowrunner.message import Instant
from flowrunner.node import Node
from flowrunner.registry import Registry
from flowrunner.runtime.supervision import NODE_FAULTS
from flowrunner.store import Store
from flowrunner.testing.checking import ACTIONS, address_of, split
from flowrunner.testing.judging import judge
from flowrunner.testing.reasons import WHY
from flowrunner.testing.rig import PATIENCE_S, Rig, StoryStuck, patience
from flowrunner.testing.stage import Stage, dated, said
from flowrunner.testing.stubs import read_stub
from flowrunner.testing.suite import Trial, as_texts
from flowrunner.testing.view import View
from flowrunner.testing.wall import walled
from flowrunner.testing.watching import Watching
from flowrunner.units import parse_instant

INSIDE = ("exception", "defect")
"""Codes of errors that nobody means: a node type's own code, or the runtime, went wrong."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that is not as the test says. ``where``: ``file:line:column``."""

    where: str
    lines: list[str]


@dataclass(slots=True)
class Outcome:
    """What came of one test."""

    trial: Trial
    failures: list[Failure] = field(default_factory=list)
    watching: Watching | None = None
    graphs: list[Graph] = field(default_factory=list)
    """Of each start of the program."""
    received: set[str] = field(default_factory=set)
    """Addresses of the nodes that a message came to."""
    unnoticed: list[Failure] = field(default_factory=list)
    """What went wrong inside of nodes, and the test says nothing of it."""
    passed_ns: int = 0
    """Flow time that has passed."""

    @property
    def ok(self) -> bool:
        return not self.failures


class _StepFailed(FlowrunnerError):
    """A step that could not be done."""


def play(trial: Trial, registry: Registry, patience_s: float = PATIENCE_S) -> Outcome:
    """Play one test. What goes wrong is in the outcome. ``patience_s``: real seconds that it may take."""
    outcome = Outcome(trial)
    start = parse_instant(trial.case.at)
    try:
        with walled() as tried:
            run_virtual(_Play(trial, registry, outcome).run(patience_s), start=start)
    except (FlowrunnerError, VirtualDeadlock) as error:
        outcome.failures.append(Failure(trial.where("name"), [str(error)]))
    if tried:
        text = f"a node tried to reach {', '.join(tried)}; a test touches no network: stub that node"
        outcome.failures.append(Failure(trial.where("name"), [text]))
    outcome.failures += [] if outcome.failures else outcome.unnoticed  # else it is in why they failed
    return outcome


def _anew(graph: Graph) -> Graph:
    """The same, with nodes that have not run: for each start of a test, at a tenth of the cost of checking it again."""

    def node(spec: GraphNode) -> Node:
        made = type(spec.node)(spec.node.id, spec.node.options)
        made.simulated = spec.node.simulated
        list(made.check())  # it was asked so when the flow was checked, and may have noted something
        made.emits(spec.incoming)
        return made

    return replace(graph, nodes={name: replace(spec, node=node(spec)) for name, spec in graph.nodes.items()})


class _Play:
    def __init__(self, trial: Trial, registry: Registry, outcome: Outcome) -> None:
        self.trial = trial
        self.registry = registry
        self.outcome = outcome
        self.environment = dict(trial.environment)
        self.stage = Stage({self._address(name): read_stub(given) for name, given in trial.case.stub.items()})
        self.since: Instant = 0
        self.before = 0
        self.stuck = False
        self.done = "the begin"

    def _address(self, name: str) -> str:
        return address_of(name, self.trial.flow)

    async def run(self, patience_s: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101  (run_virtual makes it)
        clock, store = VirtualClock(loop), Store.open(None, inline=True)
        begun = self.since = clock.now()
        self.watching = self.outcome.watching = Watching(clock.now)
        self.clock, self.store = clock, store
        self.rig = Rig(self._engine, clock, loop)
        self.watching.sent = self.rig.sent
        try:
            with patience(self.rig, patience_s):
                await self.rig.start()
                if await self._steps():
                    self._judge(self.trial.case.expect, "expect")
                self._look()
        except StoryStuck:
            self.stuck = True
            raise
        finally:
            self.outcome.passed_ns = clock.now() - begun
            if not self.stuck:  # what lets no time pass would not end cleanly either: the loop cancels it
                await self.rig.engine.runtime.stop()
            await store.close()

    def _graph(self) -> Graph:
        """The flow in the present environment, with nodes that have not run."""
        graph = self.trial.graph
        if graph is None or self.environment != self.trial.environment:
            checked = check_flows(self.trial.texts, self.environment, self.registry)
            if checked.graph is None:
                problem = next(one for one in checked.problems if one.severity == "error")
                raise _StepFailed(f"the flow has problems in this environment, the first: {problem}")
            graph = checked.graph
        graph = _anew(graph)
        self.stage.set(graph)
        self.outcome.graphs.append(graph)
        return graph

    def _engine(self) -> Engine:
        graph = self._graph()
        engine = Engine(Checked(graph, []), store=self.store, clock=self.clock, sliced=False, connections=Connections())
        engine.runtime.on_condition = self.watching.look_on
        return engine

    def _look(self) -> None:
        """What the counters of this start of the program say."""
        for address, worker in self.rig.engine.runtime.workers.items():
            if worker.counters.received:
                self.outcome.received.add(address)
            code = next((one for one in INSIDE if one in worker.counters.errors), "")
            if code and not self._expected(address):
                hint = f"if it is meant, expect something from {worker.spec.id}.error"
                lines = [f"{worker.spec.id} failed inside ({code}): {worker.counters.last_error}", hint]
                self.outcome.unnoticed.append(Failure(self.trial.where("name"), lines))
        if self.rig.failed:
            self._fail([f"the flow stopped: {self.rig.failed}"], "name")

    def _expected(self, address: str) -> bool:
        """Whether the test says something of what leaves this node's error port, or of who listens to it."""
        steps = (one for one in self.trial.case.steps if isinstance(one, CaseStep))
        everything = [*self.trial.case.expect, *(one for step in steps for one in step.expect or ())]
        wires = [wire for one in everything for wire in (one.from_, *(one.order or ())) if wire is not None]
        told = {(self._address(name), port) for name, port in map(split, wires)}
        inputs = [wire for name, _ in told if (spec := self.rig.engine.graph.nodes.get(name)) for wire in spec.wires]
        listened = {wire.source for wire in inputs if wire.listens and wire.port == ERROR_PORT}
        return (address, ERROR_PORT) in told or address in listened

    def _fail(self, lines: list[str], *place: Step) -> None:
        """Why it is so is said once."""
        why = lines.index(WHY) if WHY in lines else len(lines)
        if any(one.lines[-len(lines[why:]) :] == lines[why:] for one in self.outcome.failures):
            lines = lines[:why]
        self.outcome.failures.append(Failure(self.trial.where(*place), lines))

    # ---- steps ------------------------------------------------------------------------------------------------

    async def _steps(self) -> bool:
        """Whether all could be done: of a story that breaks off the end says nothing."""
        for index, step in enumerate(self.trial.case.steps):
            try:
                await self._step(step, "steps", index)
            except (_StepFailed, UsageError) as error:  # the latter: a node that does not run any more
                self._fail([str(error)], "steps", index)
                return False
        return True

    async def _step(self, step: CaseStep | str, *place: Step) -> None:
        if isinstance(step, str):
            step = CaseStep(restart=True) if step == "restart" else CaseStep(reload=True)
        if step.expect is not None:
            self._judge(step.expect, *place, "expect")
            return
        if step.advance is not None:
            await self.clock.sleep_until(self.clock.now() + step.advance)
        elif step.at is not None:
            await self.clock.sleep_until(parse_instant(step.at))
        else:
            self.since, self.before = self.clock.now(), len(self.rig.sent)
            self.done = next(name for name in ACTIONS if getattr(step, name) not in (None, False))
            await self._act(step)
        await self.rig.settle()

    async def _act(self, step: CaseStep) -> None:
        if step.emit is not None:
            await self._emit(step)
        elif step.stub is not None:
            for name, given in step.stub.items():
                self.stage.change(self._address(name), read_stub(given))
        elif step.disconnect is not None or step.reconnect is not None:
            address = self._address(step.disconnect or step.reconnect or "")
            worker = self.rig.worker(step.disconnect or step.reconnect or "")
            self.stage.leave(address, step.disconnect is not None, worker.ctx)
        elif step.restart:
            await self._restart({})
        else:
            await self._reload(step.reload if isinstance(step.reload, dict) else {})

    async def _emit(self, step: CaseStep) -> None:
        name, port = split(step.emit or "")
        worker = self.rig.worker(name)
        if worker.spec.address in self.stage.away and not worker.node.peer:  # prices that are kept may be spoken of
            raise _StepFailed(f"{name!r} is disconnected: it hears nothing")
        try:
            message = said(worker.node, step.value, worker.ctx, port)
        except Reject as error:
            if step.refused:
                return
            reason = f"{name!r} does not take this value: {error.reason}; if it should not: refused: true"
            raise _StepFailed(reason) from None
        except NODE_FAULTS as error:  # of the node's own `say`
            raise _StepFailed(f"{name} cannot say this: {described(error)}") from error
        if step.refused:
            raise _StepFailed(f"{name!r} was expected to refuse this value, and took it")
        age = (step.age or 0) - (step.ahead or 0)
        try:
            sent = await self.rig.hand_on(name, dated(message, age, step.quality, step.key), port)
        except Reject as error:  # its key cannot be made
            raise _StepFailed(f"{name!r} does not send this on: {error.reason}") from None
        self.watching.emitted.append(sent)

    async def _restart(self, changed: Environment) -> None:
        self._look()
        self.environment |= as_texts(changed)
        await self.rig.restart()

    async def _reload(self, changed: Environment) -> None:
        self._look()
        self.environment |= as_texts(changed)
        outcome = await self.rig.reload(Checked(self._graph(), []))
        if outcome.result in ("refused", "failed"):
            raise _StepFailed(f"the flow as it is now is not taken: {outcome.reason}")
        self.stage.reloaded(self.rig.engine.graph)

    # ---- expectations -----------------------------------------------------------------------------------------

    def _judge(self, expectations: Sequence[Expectation], *place: Step) -> None:
        nodes = {address: one for graph in self.outcome.graphs for address, one in graph.nodes.items()}
        view = View(nodes, self.trial.flow, self.watching, self.since, self.before, self.done, self.clock.now())
        for index, one in enumerate(expectations):
            if lines := judge(one, view):
                self._fail(lines, *place, index)
