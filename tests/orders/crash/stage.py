"""One round: an exchange behind a line, a data folder, flow time for all, and engines one after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from flowrunner.exchange.simulator import Character
from flowrunner.message import Instant
from flowrunner.orders import Switch
from flowrunner.units import SECOND, parse_instant
from tests.exchange.simulated import Served, served
from tests.orders import venue
from tests.orders.crash.findings import AT_EXCHANGE, findings, unknown
from tests.orders.crash.nursery import Gone, Nursery, Victim
from tests.orders.crash.told import Plan
from tests.orders.crash.wire import Passing, Place, Wire, wire

START = parse_instant("2026-03-02T12:00:00Z")
"""An order is for 12:15 to 12:30, and its gate closes at 12:10."""
TOO_LATE = parse_instant("2026-03-02T12:15:06Z")
"""What is not at the exchange by now cannot come any more."""
CLEAR = (*AT_EXCHANGE, "rejected", "expired")
ENDED = (*CLEAR, "unknown")
FLOW = (
    venue.FLOW.partition("  exchange:")[0].replace("flow: site", "flow: NAME")
    + """\
  exchange:
    type: KIND
    from: guard
    send: orders
    mode: live
    url: "${URL}"
    api_key: "${KEY}"
    timeout: "${TIMEOUT}"
    client_order_ids: WITH_IDS
  log: {type: log, from: [exchange.error, guard.error, guard.blocked, exchange]}
"""
)


class Stage:
    """``engine`` starts one, ``doomed`` one that dies; ``recovered`` ends a round and gives all that is wrong."""

    def __init__(self, nursery: Nursery, at: Served, line: Wire, folder: Path, character: Character) -> None:
        self.at, self.wire, self.folder, self.character = at, line, folder, character
        self.name = "site"
        """Of the flow."""
        self.kind, self.nodes = "exchange-out", ""
        """Type of the node that sends, and the folder that it comes from where it is none of ours."""
        self.speed, self.patience = 1, "5s"
        """Of flow time; how long an answer may take."""
        self._nursery = nursery
        self._victims: list[Victim] = []
        self._flow_time = START
        self._since = time.monotonic_ns()
        at.exchange.clock = self.now

    def now(self) -> Instant:
        """Flow time, the same for the exchange and for all engines."""
        return self._flow_time + (time.monotonic_ns() - self._since) * self.speed

    def later(self, seconds: float) -> None:
        """Flow time goes on. An engine that runs would not hear of it."""
        self._flow_time += int(seconds * SECOND)

    @property
    def text(self) -> str:
        ids = "true" if self.character == "good" else "false"
        return FLOW.replace("NAME", self.name).replace("WITH_IDS", ids).replace("KIND", self.kind)

    @property
    def posted(self) -> int:
        """How many orders were asked for at the exchange."""
        return sum(line.startswith("POST /orders ") for line in self.wire.asked)

    # ---- engines --------------------------------------------------------------------------------------------

    async def bring_up(self, **fate: object) -> Victim:
        """An engine that has begun, and perhaps not started yet. ``fate``: fields of `Plan`."""
        now = {"now": self.now(), "monotonic": time.monotonic_ns(), "speed": self.speed, "patience": self.patience}
        where = {"folder": str(self.folder), "url": self.wire.url, "text": self.text, "nodes": self.nodes}
        self._victims.append(await self._nursery.bring_up(msgspec.convert(where | now | fate, Plan)))
        return self._victims[-1]

    async def engine(self, **fate: object) -> Victim:
        """An engine that runs."""
        victim = await self.bring_up(**fate)
        await victim.hear("started")
        return victim

    async def doomed(self, **fate: object) -> Victim:
        """An engine that got its telemetry and is dead now: where it should, or when all was done."""
        victim = await self.engine(**fate)
        await self.dies(victim)
        return victim

    async def dies(self, victim: Victim) -> None:
        """The same of one that runs."""
        try:
            await victim.ask("wish", times=3)
            await victim.ask("until", states=ENDED)
            await victim.ask("rest")
        except Gone:
            return
        victim.kill()
        await victim.end()

    async def dies_by_the_wire(
        self, victim: Victim, place: Place, then: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """It is killed when its order is at that place; ``then`` is waited for before the order goes on."""

        async def strike(order: Passing) -> None:
            victim.kill()
            await victim.until_gone()
            if then is not None:
                await then()

        self.wire.strike_at(place, strike)
        await self.dies(victim)

    async def close(self) -> None:
        for victim in self._victims:
            await victim.close()

    # ---- the end of a round ---------------------------------------------------------------------------------

    async def recovered(self) -> list[str]:
        """What is wrong after the next engine had the same telemetry again; nothing should be."""
        self.later(5)
        engine = await self.engine()
        await engine.ask("wish", times=3)
        return await self.closed(engine)

    async def closed(self, engine: Victim) -> list[str]:
        """The same, of an engine that runs. What the exchange has by now must be found by it; what is still unknown
        is settled by the next one, when orders of that slot cannot come any more."""
        await engine.ask("until", states=AT_EXCHANGE if self.at.accepted else ENDED)
        found = await self.stopped(engine)
        return found + await self.settled() if found or unknown(self.folder) else found

    async def settled(self) -> list[str]:
        """What is wrong when there has been time enough."""
        self.later((TOO_LATE - self.now()) / SECOND)
        engine = await self.engine()
        await engine.ask("until", states=CLEAR)
        return await self.stopped(engine, settled=True)

    async def stopped(self, engine: Victim, *, settled: bool = False) -> list[str]:
        """What is wrong when it has stopped."""
        await engine.ask("stop")
        await engine.end()
        return findings(self.folder, self.at.accepted, settled=settled)


@asynccontextmanager
async def stage(
    nursery: Nursery, folder: Path, character: Character, *, template: Path | None = None
) -> AsyncIterator[Stage]:
    """``template``: a data folder whose journal has been released for live orders; None: a new one."""
    if template is not None:
        shutil.copytree(template, folder)
    async with served(character) as at, wire(at.server.port) as line:
        one = Stage(nursery, at, line, folder, character)
        try:
            yield one
        finally:
            await one.close()


async def released(nursery: Nursery, folder: Path) -> Path:
    """A data folder for live orders: an engine has seen it, and a person has let it go on."""
    async with stage(nursery, folder, "plain") as one:
        engine = await one.engine()
        await engine.ask("stop")
        assert await engine.end() == 0
        assert Switch(folder).resume() is not None
    return folder
