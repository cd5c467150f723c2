"""The battery flow, live, in a simulated world: real Modbus, MQTT and HTTP between them, one clock for both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from flowrunner.battery import Settings
from flowrunner.clock import ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.orders import Journal, Order
from flowrunner.registry import Registry
from flowrunner.simulate import World, turn_inward
from flowrunner.store import Store
from flowrunner.store.alarms import Alarms
from flowrunner.units import SECOND, parse_instant
from tests.end_to_end.living import BESS
from tests.peers.until import until
from tests.simulate.living_world import MARKET, VIENNA

MINUTE = 60 * SECOND


class Plant:
    """A world, and the flow that trades in it while :meth:`running`."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._folder = folder
        self.engine: Engine

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The flow from its start to a clean stop; what it wrote down is there in the next run."""
        environment = self.world.places.environment() | {"BESS_TRADING_MODE": "live"}
        checked = check_flows({"bess.yaml": BESS.read_text("utf-8")}, environment, Registry(), simulated=True)
        assert checked.graph is not None, checked.problems
        assert turn_inward(checked.graph, self.world.places) == []
        store = Store.open(self._folder / "data")
        try:
            self.engine = Engine(checked, store=store, clock=self.world.clock)
            await self.engine.start()
            try:
                yield
            finally:
                await self.engine.stop()
        finally:
            await store.close()

    @property
    def journal(self) -> Journal:
        return Journal(self.engine.store)

    @property
    def orders(self) -> list[Order]:
        return self.journal.orders()

    def alarms(self) -> list[str]:
        return [f"{one.wire}: {one.text}" for one in Alarms(self.engine.store).find()]

    def refused(self, rule: str = "") -> dict[str, int]:
        """Reason → how often, by the guard."""
        return {one.reason: one.count for one in self.journal.refusals() if rule in ("", one.rule)}

    def repeats(self) -> int:
        """Wishes that the guard had decided already."""
        return self.engine.counters()["bess/guard"].dropped.get("repeat", 0)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        def missed() -> str:
            return f"{what}; orders {[str(one) for one in self.orders]}, refused {self.journal.refusals()}"

        await until(condition, missed)

    async def at_the_exchange(self) -> list[tuple[str, float, float, str]]:
        """Its orders, oldest first: side, quantity, limit price and market."""
        async with httpx2.AsyncClient(base_url=self.world.places.exchange, trust_env=False) as client:
            rows: list[Any] = (await client.get("/orders")).json()
        return [(row["side"], row["quantity_mwh"], row["price"], row["market"]) for row in reversed(rows)]

    async def tell(self, soc: float) -> None:
        """The exchange knows the battery before the flow runs."""
        async with httpx2.AsyncClient(base_url=self.world.places.exchange, trust_env=False) as client:
            known = {"soc_percent": soc, "active_power_mw": 0.0, "temperature_c": 25.0}
            assert (await client.post("/telemetry/bess", json=known)).status_code == 200


@asynccontextmanager
async def plant(
    folder: Path, at: str, *, soc: float, price: float | None, temperature: float = 25.0, speed: float = 60.0
) -> AsyncIterator[Plant]:
    """A battery of 6 MW, so that 5.2 MW can flow, at an instant; without the daily life of a site."""
    world = World(
        ScaledClock(parse_instant(at), speed), folder, markets=[MARKET], zone=VIENNA, settings=Settings(power_mw=6.0),
        site=False, price=lambda slot: price,
    )  # fmt: skip
    world.place_battery(soc_percent=soc, temperature_c=temperature)
    await world.start()
    try:
        yield Plant(world, folder)
    finally:
        await world.stop()
