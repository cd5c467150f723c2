"""The replay itself: the flow's own nodes in virtual time, and a world around them that speaks when it has to."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.battery import Battery, Site
from flowrunner.clock import VirtualClock, VirtualLoop, run_virtual
from flowrunner.engine import Engine
from flowrunner.errors import BadFlow, FlowrunnerError, UsageError
from flowrunner.expression import Program
from flowrunner.graph import Checked, Graph
from flowrunner.market import Market, midnight
from flowrunner.message import Instant
from flowrunner.replay.casting import Cast, cast
from flowrunner.replay.clauses import Counted, Tally
from flowrunner.replay.figures import Result
from flowrunner.replay.outcome import outcome
from flowrunner.replay.plant import Plant
from flowrunner.replay.prices import Published, published
from flowrunner.replay.recorded import read
from flowrunner.replay.settlement import Desk, Settlement
from flowrunner.replay.setup import Setup
from flowrunner.replay.voices import BatteryVoice, PriceVoice, RecordedVoice
from flowrunner.runtime import Worker
from flowrunner.runtime.delivery import Reader
from flowrunner.store import Store
from flowrunner.units import iso

DAY = timedelta(days=1)
Progress = Callable[[float], None]
"""Told from time to time which share is done, 0 to 1."""


class Span(msgspec.Struct, frozen=True):
    """From the first day to the last one, both included."""

    first: date
    last: date
    start: Instant
    end: Instant


def replay(checked: Checked, setup: Setup, progress: Progress = lambda share: None) -> Result:
    """Run a checked flow; see ``--json`` for what comes back. The graph is used up by it.

    BadFlow, UsageError where it cannot be replayed so, FlowrunnerError where a figure would not be true.
    """
    if checked.graph is None:
        raise BadFlow(checked.problems)
    setup.check()
    graph = checked.graph
    casting = cast(graph, [name for name, _ in setup.data])
    first_order = graph.nodes[casting.orders[0]]
    market, zone = first_order.market, first_order.zone
    assert market is not None  # noqa: S101  (a guard is in front, and it needs one)
    prices = published(setup.prices, market, zone)
    span = _span(prices, setup, zone)
    stage = Stage(graph, casting, setup, prices, span, market, zone)
    with quiet():
        return run_virtual(stage.play(progress), start=span.start)


def _span(prices: Published, setup: Setup, zone: ZoneInfo) -> Span:
    known_first, known_last = prices.days()
    first, last = setup.first or known_first, setup.last or known_last
    for name, day in (("--from", first), ("--to", last)):
        if not known_first <= day <= known_last:
            raise UsageError(f"{name} {day}: {setup.prices} has the days from {known_first} to {known_last}")
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}")
    return Span(first, last, midnight(first, zone), midnight(last + DAY, zone))


class Stage:
    """One run. ``play`` once."""

    def __init__(
        self, graph: Graph, casting: Cast, setup: Setup, prices: Published, span: Span, market: Market, zone: ZoneInfo
    ) -> None:
        self.graph = graph
        self.cast = casting
        self.setup = setup
        self.prices = prices
        self.span = span
        self.market = market
        self.zone = zone
        self.records = [
            (address, read(file, name, graph.nodes[address].shapes["out"]))
            for address, (name, file) in zip(casting.recorded, setup.data, strict=True)
        ]
        try:
            battery = Battery(
                setup.settings(casting.energy), at=span.start, soc_percent=setup.begin_soc(casting.energy)
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        energy = casting.energy
        limits = (0.0, 100.0) if energy is None else (energy.min_soc, energy.max_soc)
        self.begin_soc = battery.soc_percent
        self.plant = Plant(battery, market.slot_ns, Site(zone=zone) if setup.site else None, limits)
        self.tallies: dict[str, dict[str, Tally]] = {}
        self.spoken: dict[str, int] = {}
        """Node → how many recorded records it said."""
        self.store = Store.open(None, inline=True)

    async def play(self, progress: Progress) -> Result:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)  # noqa: S101  (run_virtual makes it)
        clock = VirtualClock(loop)
        settlement = Settlement(clock, self.store, self.prices, self.plant)
        desk = Desk(settlement.take)
        for address in self.cast.orders:
            node = self.graph.nodes[address].node
            node.stand_in(desk)  # type: ignore[attr-defined]  # what has a peer has it
            del node.produce  # type: ignore[attr-defined]  # it would look every 30 s for what the desk never says
        engine = Engine(Checked(self.graph, []), store=self.store, clock=clock, sliced=False, stubs=self.cast.stubs)
        engine.runtime.volatile = True
        engine.runtime.on_condition = self._watched
        try:
            await engine.start()
            _unhear(engine)
            await self._run(engine, loop, settlement, progress)
            await engine.runtime.stop()
            if engine.failed.done():
                raise FlowrunnerError(f"the flow stopped itself: {engine.failed.result()}")
            self._deliver_the_rest(settlement)
            self.plant.check()
            return outcome(self, engine)
        finally:
            await engine.runtime.stop()
            await self.store.close()

    # ---- what is said when ------------------------------------------------------------------------------------

    async def _run(self, engine: Engine, loop: VirtualLoop, settlement: Settlement, progress: Progress) -> None:
        """At each instant first the deliveries that begin, then prices, then what was recorded, then telemetry."""
        workers, cast, plant = engine.runtime.workers, self.cast, self.plant
        prices = [PriceVoice(workers[one], self.prices) for one in cast.prices]
        recorded = [RecordedVoice(workers[address], self._within(address, found)) for address, found in self.records]
        speaker = cast.speaker
        battery = BatteryVoice(workers[speaker], cast.port, cast.tells, plant.battery) if speaker else None
        step, start, end = self.setup.step, self.span.start, self.span.end
        report_at, every = start, (end - start) // 400

        async def replay_until(at: Instant) -> None:
            """What was recorded before that, each record at its own time."""
            while recorded:
                due = min((one.due for one in recorded if one.due is not None), default=at)
                if due >= at:
                    break
                await loop.reach(due)
                speak(due)
            await loop.reach(at)

        def speak(now: Instant) -> None:
            """All but the battery."""
            settlement.settle(now)
            for price in prices:
                price.speak(now)
            for voice in recorded:
                voice.speak(now)

        for at in range(start, end, step):
            await replay_until(at)
            speak(at)
            if battery is not None:
                plant.advance(at)
                battery.speak(at)
            if at >= report_at:
                report_at += every
                progress((at - start) / (end - start))
                if engine.failed.done():
                    break
        await replay_until(end)
        self.spoken = {voice.id: voice.spoken for voice in recorded}

    def _within(self, address: str, records: list) -> list:  # type: ignore[type-arg]
        inside = [one for one in records if self.span.start <= one.at < self.span.end]
        if not inside:
            raise UsageError(
                f"--data {self.graph.nodes[address].id}: no record is from the days that are replayed "
                f"({self.span.first} to {self.span.last}); the file's are from {iso(records[0].at)} to "
                f"{iso(records[-1].at)}"
            )
        return inside

    def _deliver_the_rest(self, settlement: Settlement) -> None:
        """What was ordered is delivered and paid, also behind the end; nothing new is decided."""
        self.plant.advance(self.span.end)
        while (begin := settlement.next) is not None:
            settlement.settle(begin)
        last = self.plant.last_end
        self.plant.advance(last + -last % self.market.slot_ns)

    # ---- what the rules did -----------------------------------------------------------------------------------

    def _watched(self, address: str, program: Program) -> Program:
        if address not in self.cast.rules:
            return program
        text = program.expression.text.strip()
        tally = self.tallies.setdefault(address, {}).setdefault(text, Tally(text))
        return Counted(program, tally)


def _unhear(engine: Engine) -> None:
    """Nobody hands anything to nodes that only stand there."""
    for worker in engine.runtime.workers.values():
        for port, readers in worker.out.readers.items():
            worker.out.readers[port] = [one for one in readers if not _is_stub(engine, one[0])]


def _is_stub(engine: Engine, reader: Reader) -> bool:
    return isinstance(reader, Worker) and reader.spec.address in engine.runtime.stubs


@contextmanager
def quiet() -> Iterator[None]:
    """A year in seconds: no lines of the log, and no collector of garbage, which would find next to none: what a record
    makes is gone with it."""
    collects, silent = gc.isenabled(), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        logging.disable(silent)
