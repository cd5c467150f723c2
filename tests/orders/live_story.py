"""Stories of live orders: each step happens, and what must be true is checked after it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from flowrunner.clock import VirtualLoop, run_virtual
from flowrunner.market import Slot
from flowrunner.orders import STEPS, STOP_FILE, Order, State
from flowrunner.registry import Registry
from flowrunner.store import StoreFailed
from flowrunner.testing.rig import PATIENCE_S, START, patience
from flowrunner.units import SECOND, iso, parse_instant
from tests.orders.believed import CALM, MARKET, Asked, tell
from tests.orders.live_steps import Step
from tests.orders.live_world import World

REGISTRY = Registry()
"""The node types as they are, loaded once."""


class Story:
    """One world and what was seen of it so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.states: dict[str, list[str]] = {}
        self.refused: set[tuple[str, int]] = set()

    async def do(self, *step: Any) -> None:
        world = self.world
        if world.dead:
            await world.restart(kill=True)
        world.remember()
        before, intents = world.rig.now, self.intents()
        if step[0] == "wish" or await self._said(step):
            for one in self._wish(*step[1:]) if step[0] == "wish" else ():
                if not world.dead:
                    await self._said(one)
            if not world.dead and world.runs:
                self.answered(before, intents)
        else:
            await self._happen(step)
        self.check()

    async def _said(self, step: Step) -> bool:
        world = self.world
        if step[0] == "wait":
            return await tell(world.rig, world.law.models, step)
        if step[0] not in ("mqtt", "modbus", "part", "typed", "retained", "price"):
            return False
        if world.runs:
            world.heard()
            await tell(world.rig, world.law.models, step)
            decided = [asked(one) for one in world.orders() if (one.mode, one.state) == ("live", "intent")]
            world.law.listen(world.rig.now, decided)
        return True

    def _wish(self, side: str, power: float = 0, times: int = 1, temperature: float = 25) -> list[Step]:
        told = {"soc_percent": 20 if side == "BUY" else 80, "active_power_mw": power, "temperature_c": temperature}
        once: list[Step] = [("price", 50 if side == "BUY" else 150, 0, 0), ("modbus", told, None)]
        return [*once, ("wait", 30)] * (times - 1) + once

    async def _happen(self, step: Step) -> None:
        world, law, trading = self.world, self.world.law, self.world.rig.engine.trading
        exchange = world.exchange
        match step:
            case ("fault", name, on, times):
                exchange.faults.arm(name, on=on, times=times)
            case ("delay", seconds):
                exchange.faults.arm("delay", on="orders", times=1, seconds=seconds)
            case ("late", seconds):
                world.late = seconds
            case ("away", away):
                world.direct.away = away
            case ("clear",):
                exchange.faults.clear()
                world.direct.away, world.late, world.dies, world.store.commits = False, None, "", None
            case ("others", many, like):
                self.others(many, like)
            case ("mended",):
                await self.mend()
            case ("restart",):
                await world.restart()
            case ("kill",):
                await world.restart(kill=True)
            case ("die", "before" | "after" as where):
                world.dies = where
            case ("die", int(commits)):
                world.store.commits = commits
            case ("rename",):
                await world.restart(rename=True)
            case ("mode",):
                await world.restart(mode=True)
            case ("clock", ahead):
                await world.restart(ahead=ahead)
            case ("off", seconds):
                await world.restart(off=seconds)
            case ("stop", "file"):
                (world.folder / STOP_FILE).touch()
                law.stopped = True
            case ("stop", _):
                trading.switch.stop(by="test", reason="a step of the story", now=world.rig.now)
                law.stopped = True
            case ("resume",):
                await self.resume()
            case ("resolve", truly):
                await self.resolve(truly)
            case ("disk", how):
                world.fill_disk(how)
                if not how and not world.runs:
                    await world.restart()
            case _:
                raise AssertionError(f"no step {step}")
        await world.rig.settle()

    async def mend(self) -> None:
        """All is well but for what nobody knows."""
        world = self.world
        await self._happen(("clear",))
        await self._happen(("disk", ""))
        if world.clock.ahead or not world.law.live:
            await world.restart(ahead=0, mode=not world.law.live)
        await self.resume()

    async def resume(self) -> None:
        world, trading = self.world, self.world.rig.engine.trading
        if await self._by_person(trading.resume(by="test", reason="all is well", now=world.rig.now)):
            world.law.stopped, world.law.latest = False, 0

    async def resolve(self, truly: bool) -> None:
        """A person decides what nobody knows, after a look at the exchange; without ``truly`` it is wrong."""
        world = self.world
        for order in world.orders():
            if order.state != "unknown":
                continue
            there = next((one.order_id for one in world.law.taken if one.id == order.id), "")
            taken = bool(there) is truly
            state: State = "accepted" if taken else "rejected"
            name = there or "made-up" if taken else ""
            world.law.by_hand.add(order.id)
            step = world.journal.advance(order.id, state, world.rig.now, exchange_id=name, reason="by hand")
            if not await self._by_person(step):
                world.law.by_hand.discard(order.id)

    async def _by_person(self, work: Coroutine[Any, Any, object]) -> bool:
        """Whether it was written: the disk may be full, or the program die of it."""
        task = asyncio.ensure_future(work)
        await self.world.rig.settle()
        if not task.done():
            task.cancel()
            return True  # it died behind the commit
        if isinstance(task.exception(), StoreFailed):
            return False
        task.result()
        return True

    def others(self, many: int, like: bool) -> None:
        """Orders of other users; ``like``: one of them looks like the next of ours."""
        slot = MARKET.delivery(self.world.true)
        for number in range(many):
            alike = like and number == 0
            self.world.exchange.place({
                "market": "epex_at", "delivery_start": iso(slot.start), "delivery_end": iso(slot.end), "side": "BUY",
                "quantity_mwh": 1.0 if alike else 2.5, "limit_price_eur_mwh": 50.0 if alike else 47.11,
            })  # fmt: skip

    # ---- what must be true ----------------------------------------------------------------------------------

    def intents(self) -> dict[str, int]:
        """How many each rule has made."""
        rig = self.world.rig
        return {side: len(rig.out(rule)) for side, rule in (("BUY", "buy"), ("SELL", "sell"))}

    def answered(self, before: int, intents: dict[str, int]) -> None:
        """For each intent there is an order, or somebody says why there is none."""
        world = self.world
        first, last = MARKET.delivery(before).start, MARKET.delivery(world.rig.now).start
        told: set[tuple[str, int]] = {(one.side, one.delivery_start) for one in world.orders()}
        told |= {(one.side, one.delivery_start) for one in world.journal.refusals(limit=1000)}
        for side, count in self.intents().items():
            if count > intents[side] and not world.rig.errors("guard"):
                assert any((side, at) in told for at in range(first, last + 1, 900 * SECOND)), (
                    f"{side}: nobody says why"
                )

    def check(self) -> None:
        world, law = self.world, self.world.law
        assert not world.wrong, world.wrong
        orders = world.orders()
        assert {one.id for one in orders} >= set(self.states), "the journal forgets nothing"
        for order in orders:
            self.walk(order)
        world.see_unclear()
        live = [one for one in orders if one.mode == "live"]
        theirs = {one.order_id for one in law.taken if not one.id}
        law.check({one.id: one.state for one in live}, {one.id for one in live if one.exchange_id in theirs})

    def walk(self, order: Order) -> None:
        """Its steps follow one another, none was forgotten, and where it ended badly it says why."""
        found = self.world.journal.story(order.id)
        assert found is not None
        states, seen = [str(one["state"]) for one in found[1]], self.states.get(order.id, [])
        assert states[: len(seen)] == seen, "the journal forgets nothing"
        assert states[0] == "intent"
        for one, other in pairwise(states):
            assert other in STEPS[one], f"{one} → {other}"  # type: ignore[index]  # a State
        assert states[-1] == order.state
        assert order.reason or order.state not in ("expired", "rejected", "unknown"), f"{order.state}: it says not why"
        new = [one["at"] for one in found[1][len(seen) :]]
        self.world.law.latest = max([self.world.law.latest, *new])
        self.states[order.id] = states

    async def tell(self, told: Sequence[Sequence[Step]]) -> None:
        """A new journal, and nobody has let it trade yet; then the chapters; then all is well."""
        await self.world.start()
        await self.do("wish", "BUY")
        assert not self.world.law.tries, "a new journal waits for a person"
        await self.do("wait", 900)
        await self.do("resume")
        for step in chain.from_iterable(told):
            await self.do(*step)
        await self.all_is_well()

    async def all_is_well(self) -> None:
        """The next day, everything mended: it trades."""
        world = self.world
        await self.do("mended")
        await self.do("off", 86_400)
        await self.do("resume")
        await self.do("wait", 60)
        await self.do("resolve", True)
        for _ in range(12):
            await self.do("modbus", CALM, None)
            await self.do("wait", 30)
        before = len(world.law.taken)
        await self.do("price", 50, 0, 0)
        await self.do("modbus", CALM, None)
        await self.do("wait", 1)
        new = world.law.taken[before:]
        assert [one.side for one in new if one.id] == ["BUY"], "when all is well it trades"


def asked(order: Order) -> Asked:
    slot = Slot(order.delivery_start, order.delivery_end)
    return Asked(order.side, slot, order.quantity_mwh, order.limit_price_eur_mwh)


def play(told: Sequence[Sequence[Step]], *, good: bool = False, registry: Registry = REGISTRY) -> Story:
    """Tell a story in a world of its own, which is gone then. AssertionError at the first step that breaks the law."""

    async def tells(folder: str) -> Story:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        world = World(loop, Path(folder), good, registry)
        story = Story(world)
        try:
            with patience(world.rig, PATIENCE_S):
                await story.tell(told)
        finally:
            await world.stop(kill=True)
            await world.direct.close()
            world.disk.close()
        return story

    with tempfile.TemporaryDirectory() as folder:
        return run_virtual(tells(folder), start=parse_instant(START))
