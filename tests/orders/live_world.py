"""The world of the battery's flow with live orders, in virtual time: an exchange without a socket, a network, a program
that dies, a clock that is set. Whatever leaves for the exchange is judged at that instant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from flowrunner.clock import VirtualLoop
from flowrunner.connections import Connections
from flowrunner.engine import Engine
from flowrunner.errors import NotConnected
from flowrunner.exchange.simulator import AcceptedOrder, Character, Exchange, Trade
from flowrunner.exchange.simulator.direct import DirectClient
from flowrunner.httpclient import Answer, NoAnswer
from flowrunner.market import Slot
from flowrunner.message import Instant
from flowrunner.orders import Journal, Order
from flowrunner.registry import Registry
from flowrunner.store import StoreFailed
from flowrunner.store.tables import connect
from flowrunner.testing import Rig
from flowrunner.testing.rig import engine_of
from flowrunner.units import SECOND, iso, parse_instant
from tests.flows.test_bess_trading import BESS, EVERYTHING
from tests.orders.believed import Asked, Model
from tests.orders.law import CAPACITY_MWH, PER_DAY, POSITION_MWH, Law, Taken, crashed
from tests.orders.mortal import MortalStore, SetClock

URL, KEY = "http://localhost:9100", "made-up-key"
STUBS = ["modbus", "mqtt", "price", "mirror"]
UNLIMITED = 2**30
TEXT = (
    BESS.replace("max_position_mwh: 10 ", f"max_position_mwh: {POSITION_MWH} ")
    .replace("capacity_mwh: 10,", f"capacity_mwh: {CAPACITY_MWH},")
    .replace("per_day: 48", f"per_day: {PER_DAY}")
)
"""The battery's flow, but smaller: its limits are met within a story."""
GOOD = TEXT.replace("    send: orders\n", "    send: orders\n    client_order_ids: true\n")
for limit in (f"max_position_mwh: {POSITION_MWH}", f"capacity_mwh: {CAPACITY_MWH}", f"per_day: {PER_DAY}", "order_ids"):
    assert GOOD.count(limit) == 1


class Wire:
    """What a run of the program has in place of the network. ``store``: of that run."""

    def __init__(self, world: World, store: MortalStore) -> None:
        self._world = world
        self._store = store

    async def request(self, method: str, path_or_url: str = "", **more: Any) -> Answer:
        world, store = self._world, self._store
        if store.dead:
            await asyncio.Event().wait()
        if method != "POST" or not path_or_url.endswith("/orders"):
            answer = await world.direct.request(method, path_or_url, **more)
        else:
            answer = await self._place(path_or_url, **more)
        if store.dead:
            await asyncio.Event().wait()
        if world.law.shown_at is None:
            world.law.shown_at = world.true
        return answer

    async def _place(self, url: str, *, content: bytes, still: Callable[[], str], **more: Any) -> Answer:
        world, store, tries = self._world, self._store, self._world.law.tries
        identity = None

        def leaves() -> str:
            nonlocal identity
            why = still()
            if not why:
                identity = world.leaves(msgspec.json.decode(content))
                tries[identity] = "lost"
                store.dead = world.dies == "before"
            return why or "the program is dead" * store.dead

        if world.late is not None and not world.direct.away:
            if why := leaves():
                raise NotConnected(why)
            world.comes_late(content)
            await world.clock.sleep_until(world.clock.now() + round(more["timeout_s"] * SECOND))
            raise NoAnswer("no answer in time")
        try:
            answer = await world.direct.request("POST", url, content=content, still=leaves, **more)
        except NotConnected:
            if store.dead:
                await asyncio.Event().wait()
            if identity is not None:
                tries[identity] = "not-sent"
            raise
        store.dead = store.dead or world.dies == "after"
        if identity is not None and answer.status < 500 and not store.dead:
            tries[identity] = "not-sent" if answer.status == 429 else "answered"
        return answer

    async def listen(self, path_or_url: str = "", **more: Any) -> AsyncGenerator[str, None]:
        async with aclosing(self._world.direct.listen(path_or_url, **more)) as frames:
            async for frame in frames:
                yield frame

    async def close(self) -> None:
        """The exchange outlives a run."""


class World:
    """All around the program, and the program's runs. ``wrong`` is what was found, with its time."""

    def __init__(self, loop: VirtualLoop, folder: Path, good: bool, registry: Registry) -> None:
        self.law = Law()
        self.wrong: list[str] = []
        self.folder = folder
        self.disk = connect(None)
        self.clock = SetClock(loop)
        self.dies = ""
        self.late: float | None = None
        self._loop = loop
        self._registry = registry
        self._text = GOOD if good else TEXT
        self._flow, self._mode = "bess", "live"
        character: Character = "good" if good else "plain"
        self.exchange = Exchange(
            lambda: self.true, self._mark, markets=["epex_at"], character=character,
            on_accept=self._accepted, on_trade=self._traded,
        )  # fmt: skip
        self.exchange.listen("orders", self._told)
        self.direct = DirectClient(self.exchange, KEY, URL)
        self._since, self._sure, self._heard = [Model()], True, loop.now
        self.full = False
        self.store = MortalStore(self.disk, folder)
        self.rig = Rig(self._engine, self.clock, loop)
        self.runs = False

    @property
    def true(self) -> Instant:
        """The time as it is, in ns."""
        return self._loop.now

    @property
    def journal(self) -> Journal:
        return Journal(self.store)

    @property
    def dead(self) -> bool:
        """Whether the program has died in the middle of something."""
        return self.store.dead

    def _mark(self, market: str, at: Instant) -> float:
        return 55.0 if at // (900 * SECOND) % 3 else 125.0

    # ---- the exchange ---------------------------------------------------------------------------------------

    def _accepted(self, one: AcceptedOrder) -> None:
        self.law.taken.append(
            Taken(one.order_id, one.client_order_id or "", one.side, Slot(one.delivery_start, one.delivery_end),
                  one.quantity_mwh, one.limit_price_eur_mwh, self.true)
        )  # fmt: skip

    def _traded(self, trade: Trade) -> None:
        self._taken(trade.order.order_id).filled_mwh += trade.quantity_mwh

    def _told(self, data: Any) -> None:
        if data["status"] in ("CANCELLED", "EXPIRED"):
            self._taken(data["order_id"]).open = False

    def _taken(self, order_id: str) -> Taken:
        return next(one for one in self.law.taken if one.order_id == order_id)

    def leaves(self, body: dict[str, Any]) -> tuple[str, Slot]:
        """An order leaves for the exchange; its side and slot."""
        slot = Slot(parse_instant(body["delivery_start"]), parse_instant(body["delivery_end"]))
        order = Asked(body["side"], slot, body["quantity_mwh"], body.get("limit_price_eur_mwh"))
        now = self.clock.now()
        self.see_unclear()
        try:
            self.law.judge(order, now, self.true)
        except Exception as error:  # the node that asks would take it for one of the network's
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            self.wrong.append(f"{iso(now)} {order.side} for {slot}: {kind}{error}")
        self.law.latest = max(self.law.latest, now)
        return order.side, slot

    def see_unclear(self) -> None:
        """Of what was sent and lost, the journal may know by now what became of it, or a person."""
        states: dict[tuple[str, Slot], str] = {
            (one.side, Slot(one.delivery_start, one.delivery_end)): one.state for one in self.orders()
        }
        lost = {one for one, fate in self.law.tries.items() if fate == "lost"}
        self.law.unclear = {one for one in lost if states.get(one) in ("sending", "unknown")}

    def orders(self) -> list[Order]:
        """All of the journal, oldest first."""
        return self.journal.orders(limit=None)[::-1]

    def comes_late(self, content: bytes) -> None:
        """The network keeps a request for ``late`` seconds, then the exchange gets it, if it is not too late."""
        body = msgspec.json.decode(content)
        assert self.late is not None
        self._loop.call_later(self.late, lambda: self._arrives(body))
        self.late = None

    def _arrives(self, body: dict[str, Any]) -> None:
        if self.true < parse_instant(body["delivery_start"]):
            self.exchange.place(body)

    # ---- the program ----------------------------------------------------------------------------------------

    def _engine(self) -> Engine:
        connections = Connections()
        connections.get("the world", ("http", URL, ""), lambda: Wire(self, self.store))
        environment = EVERYTHING | {"BESS_TRADING_MODE": self._mode, "EXCHANGE_URL": URL, "EXCHANGE_API_KEY": KEY}
        text = self._text.replace("flow: bess\n", f"flow: {self._flow}\n", 1)
        return engine_of(text, self.clock, self.store, environment, self._registry, STUBS, connections)

    async def start(self) -> None:
        """Where the journal cannot be written nothing runs."""
        self.law.live, self.law.shown_at = self._mode == "live", None
        self.law.apart = abs(self.clock.ahead) > 6 * SECOND
        self.dies = ""
        if self.dead:
            self.store = MortalStore(self.disk, self.folder)
            self.rig.engine = self._engine()
        try:
            await self.rig.start()
            self.runs = True
        except StoreFailed:
            self.runs = False

    async def stop(self, *, kill: bool = False) -> None:
        """``kill``: from now on nothing is written and nothing sent."""
        self.store.dead = self.store.dead or kill
        await self.rig.engine.runtime.stop(0 if self.store.dead else 5)
        if self.store.dead or not self._sure:
            self.law.models = crashed(self._since, self.law.models, mixed=not self._sure)
        self.store.dead = True
        self.law.forget_waiting()
        self.runs = False

    async def restart(
        self, *, kill: bool = False, rename: bool = False, mode: bool = False, ahead: int | None = None, off: int = 0
    ) -> None:
        """In seconds: how far the clock is set ``ahead`` of the true time, how long the program is ``off``."""
        await self.stop(kill=kill)
        if off:
            await self.clock.sleep_until(self.clock.now() + off * SECOND)
        if rename:
            self._flow = "other" if self._flow == "bess" else "bess"
        if mode:
            self._mode = "paper" if self._mode == "live" else "live"
        if ahead is not None:
            self.clock.ahead = ahead * SECOND
        await self.start()

    # ---- what is on the disk --------------------------------------------------------------------------------

    def fill_disk(self, how: str) -> None:
        """``full``: there is room for some rows yet; ``closed``: not a byte can be written; ``""``: all is well."""
        self.full = bool(how)
        self.disk.execute("PRAGMA query_only = 0")
        if how == "full":
            self.disk.execute("VACUUM")
        pages = self.disk.execute("PRAGMA page_count").fetchone()[0] if how == "full" else UNLIMITED
        self.disk.execute(f"PRAGMA max_page_count = {pages}")
        self.disk.execute(f"PRAGMA query_only = {int(how == 'closed')}")
        self._sure = False

    def remember(self) -> None:
        """Before something happens: what was said a second ago is on the disk, if that is not full."""
        if self.true < self._heard + SECOND:
            return
        if self._sure:
            self._since = []
        self._since = [*self._since, *deepcopy(self.law.models)][-6:]

    def heard(self) -> None:
        """Something is said: what waited for room on the disk goes there with it."""
        self._heard = self.true
        self._sure = self._sure or not self.full
