"""A running flow behind the real server, in a loop of its own beside the test, for a browser to look at.

Engine, store and server are the real ones. Time is the wall clock's and whatever a test adds to it; the server can be
stopped, started again and made to stand still, and the exchange can be away.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal

from flowrunner.changeover import Reloaded
from flowrunner.clock import LiveClock, ScaledClock
from flowrunner.engine import Engine
from flowrunner.exchange.simulator import Exchange
from flowrunner.exchange.simulator.server import ExchangeServer
from flowrunner.graph import check_flows
from flowrunner.logs import Secrets
from flowrunner.message import Message
from flowrunner.orders import Journal
from flowrunner.registry import Registry
from flowrunner.reloading import Reloader, Sources
from flowrunner.store import Store
from flowrunner.store.people import ROLES, Role, add_user
from flowrunner.units import Duration
from flowrunner.web import Server, listen
from flowrunner.web.people.passwords import hashed
from tests.peers.until import until_elsewhere

T = TypeVar("T")
BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"
EXCHANGE_KEY = "key-of-the-exchange"
PRICE_EUR_MWH = 130.0
"""Of every slot: dear by the rules of flows/bess.yaml, so a full battery sells."""
PASSWORD = "a long enough sentence"
PATIENCE_S = 10.0
TELEMETRY = "/api/bess/telemetry"
NAMES: Mapping[Role, str] = {"viewer": "vera", "operator": "otto", "editor": "edith"}
"""Who has which role, where people have to log in; all with the same password."""


class DrivenClock(LiveClock):
    """The wall clock, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0
        super().__init__(lambda: time.time_ns() + self.ahead)

    def advance(self, duration: str) -> None:
        """In the running loop: time goes on at once, and what was to happen meanwhile is due."""
        self.ahead += Duration.parse(duration)
        self.call_at(0, lambda: None)  # first of all timers, and so all that are due ring with it


class CountingStore(Store):
    """A store that notes what is read from it."""

    queries: list[str]

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def noted(sql: sqlite3.Connection) -> T:
            sql.set_trace_callback(self._note)
            try:
                return work(sql)
            finally:
                sql.set_trace_callback(None)

        return super().read(noted)

    def _note(self, statement: str) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            self.queries.append(statement)


class Station:
    """One engine and its server, from the test's thread; every method returns when the thing is done."""

    def __init__(
        self, portal: BlockingPortal, folder: Path, environment: Mapping[str, str], exchange: ExchangeServer
    ) -> None:
        self.portal, self.folder, self.environment, self.exchange = portal, folder, environment, exchange
        self.file = folder / "bess.yaml"
        self.clock = DrivenClock()
        self.engine: Engine
        self.reloader: Reloader
        self.server: Server
        self.order = ""
        """One that there is, where a test made one."""
        self.queries: list[str] = []
        """Everything that was read from the store."""
        self.port = 0
        self.http: httpx2.Client
        self.cookies: dict[str, list[Any]] = {}
        """Of who has logged in, by role."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log_in(self, role: Role) -> None:
        """A session of who has that role, without the page: that has its own tests."""
        people = self.server.people
        user = people.user(NAMES[role])
        assert user is not None, "this station is open; run it with people=True"
        session = self.inside(people.begin, user)
        self.cookies[role] = [{"name": people.cookie, "value": session, "url": self.url}]

    # ---- what happens to the flow ------------------------------------------------------------------------------

    def inside(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """``call(*arguments)`` in the engine's loop; awaited where it is to be awaited."""
        return self.portal.call(call, *arguments)

    def get(self, path: str, role: Role | None = None) -> httpx2.Response:
        """``role``: in the session of who has it."""
        return self.http.get(self.url + path, headers=self._cookie(role))

    def post(self, path: str, body: Any = None, role: Role | None = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(self.url + path, json=body, headers={**self._cookie(role), **named})

    def _cookie(self, role: Role | None) -> dict[str, str]:
        if role is None:
            return {}
        return {"cookie": "; ".join(f"{one['name']}={one['value']}" for one in self.cookies[role])}

    def telemetry(self, **values: Any) -> None:
        """Measured values as a device sends them: POST to the flow's own route."""
        answer = self.post(TELEMETRY, values)
        assert answer.status_code == 200, answer.text

    def measured(self, soc: float = 64.2, power: float = 4.8, temperature: float = 28.3) -> None:
        self.telemetry(soc_percent=soc, active_power_mw=power, temperature_c=temperature)

    def trade(self) -> str:
        """The battery is full: the flow makes an order (paper, the default). Its id."""
        journal = Journal(self.engine.store)
        self.until(lambda: self.last("price") is not None, "the exchange tells its price")
        self.measured(soc=82.0)
        self.until(lambda: journal.orders(limit=1), "the flow makes an order")
        return journal.orders(limit=1)[0].id

    def last(self, node: str, flow: str = "bess") -> Message | None:
        """The newest message that left a node by ``out``; in the engine's loop."""
        found: Message | None = self.engine.runtime.workers[f"{flow}/{node}"].counters.last.get("out")
        return found

    def advance(self, duration: str) -> None:
        """Flow time goes on by that much, at once."""
        self.inside(self.clock.advance, duration)

    def reload(self, text: str | None = None) -> Reloaded:
        """Read the flow's file again, after ``text`` was written to it."""
        if text is not None:
            self.file.write_text(text, "utf-8")
        found: Reloaded = self.inside(self.reloader.reload)
        return found

    def until(self, condition: Callable[[], object], what: str) -> None:
        """``condition()`` is asked in the engine's loop."""
        until_elsewhere(lambda: self.inside(condition), what, PATIENCE_S)

    # ---- what happens to the server ----------------------------------------------------------------------------

    async def _open(self) -> None:
        self.server = Server(
            self.engine, listen("127.0.0.1", self.port), self.environment, "127.0.0.1", reload=self.reloader.reload
        )
        self.port = self.server.port
        await self.server.start()

    async def _close(self) -> None:
        await self.server.close()

    def start_server(self) -> None:
        """On the same port as before."""
        self.inside(self._open)

    def stop_server(self) -> None:
        """Connections are closed, new ones refused; the engine runs on."""
        self.inside(self._close)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The process takes connections and says nothing: its loop stands still."""
        still, on = threading.Event(), threading.Event()

        def stand() -> None:
            still.set()
            on.wait(PATIENCE_S * 3)

        self.portal.start_task_soon(stand)  # a plain function blocks the loop: that is meant
        assert still.wait(PATIENCE_S)
        try:
            yield
        finally:
            on.set()


@asynccontextmanager
async def _station(
    portal: BlockingPortal,
    folder: Path,
    text: str,
    environment: Mapping[str, str],
    away: Collection[str],
    people: bool,
    speed: float,
) -> AsyncIterator[Station]:
    async with AsyncExitStack() as ends:
        clock = DrivenClock() if speed == 1 else ScaledClock(time.time_ns(), speed)
        market = Exchange(clock.now, lambda market, at: PRICE_EUR_MWH, markets=["epex_at"])
        exchange = ExchangeServer(market, EXCHANGE_KEY)
        await exchange.start()
        if "exchange" in away:
            await exchange.stop()  # its port is a closed one
        else:
            ends.push_async_callback(exchange.stop)
        found = {"EXCHANGE_URL": exchange.url, "EXCHANGE_API_KEY": EXCHANGE_KEY, **environment}
        station = Station(portal, folder, found, exchange)
        if isinstance(clock, DrivenClock):
            station.clock = clock
        station.file.write_text(text, "utf-8")
        registry = Registry()
        checked = check_flows({str(station.file): text}, found, registry)
        assert checked.graph is not None, "\n".join(map(str, checked.problems))
        store = CountingStore.open(folder / "data")
        assert isinstance(store, CountingStore)
        store.queries = station.queries
        ends.push_async_callback(store.close)
        if people:
            await store.submit(_add_people)
        station.engine = Engine(checked, store=store, clock=clock)
        station.reloader = Reloader(station.engine, Sources([station.file], lambda: found, None, registry), Secrets())
        ends.push_async_callback(station.engine.stop)
        await station.engine.start()
        ends.push_async_callback(station.reloader.close, PATIENCE_S)
        await station._open()
        ends.push_async_callback(station._close)
        with httpx2.Client(trust_env=False, timeout=PATIENCE_S) as station.http:
            yield station


def _add_people(sql: sqlite3.Connection) -> None:
    kept = hashed(PASSWORD)
    for role in ROLES:
        add_user(sql, NAMES[role], role, kept, time.time_ns())


@contextmanager
def station(
    folder: Path,
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    away: Collection[str] = (),
    people: bool = False,
    speed: float = 1,
) -> Iterator[Station]:
    """Run ``text`` (flows/bess.yaml unless told) until the block ends. ``away``: "exchange" is not there at all.
    ``people``: one of each role is there (``NAMES``), and everybody has to log in. ``speed``: of the flow's time; at
    another one than 1 nothing can be advanced."""
    text = text or BESS.read_text("utf-8")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            _station(portal, folder, text, environment or {}, away, people, speed)
        ) as running,
    ):
        if people:
            for role in ROLES:
                running.log_in(role)
        yield running
