"""Everything around the program: its peers, the lines to them, and the streams that go through it."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from flowrunner.exchange.simulator import AcceptedOrder, Exchange
from flowrunner.exchange.simulator.server import ExchangeServer
from tests.chaos.flows import VERSIONS, Version, site, trade
from tests.exchange.simulated import KEY
from tests.peers.modbus_server import ModbusServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.mqtt_stream import Listener, Publisher
from tests.peers.program import Program, run
from tests.peers.proxy import Proxy
from tests.peers.raw_http import Asked, RawServer, serve, text
from tests.peers.until import until
from tests.streams.account import Account, account
from tests.streams.flow import arrivals, broker_of, promised

RATE_HZ = 100.0
READY_S = 20.0
"""After the last fault has ended; a line that was cut again and again is tried again after half a second here."""
ALL_S = 30.0
SITES = ("north", "south")
CHECKED_PER_S = 5


class Web:
    """The server behind ``http-out``: it notes what it takes; ``mood`` is what it does instead, for as long as it is
    set."""

    def __init__(self) -> None:
        self.mood = ""
        self.taken: list[tuple[str, int]] = []

    async def reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if self.mood == "silent":
            await asyncio.Event().wait()
        if self.mood == "closes":
            writer.close()
            return
        if self.mood == "garbage":
            writer.write(b"\x00\xff HTTP?\r\n\r\n")
            writer.close()
            return
        if self.mood.isdigit():
            writer.write(text("{}", f"{self.mood} not now", more="retry-after: 0\r\n"))
        else:
            record = json.loads(asked.body)
            self.taken.append((record["site"], int(record["number"])))
            if self.mood == "forgets to answer":
                writer.close()
                return
            writer.write(text("{}"))
        await writer.drain()


class Place:
    """``program`` is the engine's process; ``await start()`` begins one."""

    def __init__(self, folder: Path, markets: list[str]) -> None:
        self.flows, self.data = folder / "flows", folder / "data"
        self.flows.mkdir()
        self.broker: Mosquitto = broker_of(folder / "broker")
        self.markets = markets
        self.accepted: list[AcceptedOrder] = []
        self.exchange = Exchange(
            time.time_ns, lambda market, at: 50.0, markets=markets, on_accept=self.accepted.append
        )  # fmt: skip
        self.exchange_server = ExchangeServer(self.exchange, KEY)
        self.device = ModbusServer()
        self.web = Web()
        self.program: Program | None = None
        self.version = VERSIONS[0]
        self.tried: set[tuple[str, int]] = set()
        """What was posted, answered or not."""
        self.answered: dict[str, list[int]] = defaultdict(list)
        """Site → the numbers that the program answered with 200, in order."""
        self.lines: dict[str, Proxy] = {}
        self.source: Publisher
        self.sink: Listener
        self.places: dict[str, str] = {}
        self.lives: list[Program] = []
        self._stream: asyncio.Task[None] | None = None

    # ---- the program -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.program = Program(self.flows, data=self.data)
        self.lives.append(self.program)
        await asyncio.to_thread(self.program.__enter__)

    async def end(self, how: signal.Signals) -> int:
        program, self.program = self.program, None
        assert program is not None
        return await asyncio.to_thread(program.end, how)

    async def save(self, version: Version) -> None:
        """As editors do: beside it, and then renamed."""
        self.version = version
        beside = self.flows / "site.new"
        beside.write_text(site(version, self.places), "utf-8")
        beside.replace(self.flows / "site.yaml")

    async def ask(self, path: str) -> Any:
        """None while it does not answer."""
        program = self.program
        if program is None:
            return None
        try:
            async with httpx2.AsyncClient(base_url=program.url, trust_env=False, timeout=5) as http:
                return (await http.get(path)).json()
        except httpx2.HTTPError:
            return None

    async def until_ready(self) -> None:
        found: Any = None

        async def ready() -> bool:
            nonlocal found
            found = await self.ask("/health/ready")
            return found is not None and found.get("status") == "ready"

        await until(ready, lambda: f"ready by itself; it says {found}; {self.said()}", READY_S, every_s=0.1)

    def said(self) -> str:
        return "\n".join(["the program said:", *(self.lives[-1].lines[-40:] if self.lives else [])])

    # ---- streams -------------------------------------------------------------------------------------------------

    async def published(self, count: int) -> None:
        """Until the broker has taken so many more: how time goes by here."""
        await asyncio.to_thread(self.source.until_more, count)

    async def _post(self) -> None:
        """Numbers by HTTP, each again until it is taken; and now and then a wish to trade."""
        numbers = dict.fromkeys(SITES, 0)
        turn = 0
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as http:
            while True:
                turn += 1
                where = SITES[turn % len(SITES)]
                number = numbers[where] + 1
                self.tried.add((where, number))
                if await self._taken(http, "/in", {"number": number, "site": where, "sent_at": time.time()}):
                    numbers[where] = number
                    self.answered[where].append(number)
                await self.published(1)
                if turn % CHECKED_PER_S == 0:
                    await self.wish(http, self.markets[turn // CHECKED_PER_S % len(self.markets)])

    async def wish(self, http: httpx2.AsyncClient, market: str) -> bool:
        return await self._taken(http, f"/wish/{market.lower()}", {"soc_percent": 20, "price_eur_mwh": 50})

    async def _taken(self, http: httpx2.AsyncClient, path: str, body: Any) -> bool:
        program = self.program
        if program is None or not program.url:
            return False
        try:
            return (await http.post(f"{program.url}{path}", json=body)).status_code == 200
        except httpx2.HTTPError:
            return False

    async def end_streams(self) -> None:
        if self._stream is not None:
            self._stream.cancel()
            await asyncio.gather(self._stream, return_exceptions=True)
        await asyncio.to_thread(self.source.stop)

    def accounts(self) -> dict[str, Account]:
        """By the way that the messages went."""
        heard = list(self.sink.heard)
        rest: dict[str, list[int]] = {site: list(numbers) for site, numbers in self.answered.items()}
        return {
            "MQTT to MQTT": account(promised(self.source.acknowledged, "plant/in"), arrivals(heard, "plant/out")),
            "HTTP to MQTT": account(rest, arrivals(heard, "rest/out")),
            "HTTP to HTTP": account(rest, list(self.web.taken)),
        }


@asynccontextmanager
async def place(folder: Path, markets: int) -> AsyncIterator[Place]:
    """All of it is there, and flows."""
    async with AsyncExitStack() as stack:
        found = Place(folder, [f"M{number}" for number in range(markets)])
        stack.enter_context(found.broker)
        await stack.enter_async_context(found.device)
        found.device.set(0, [1, 7])
        await found.exchange_server.start()
        stack.push_async_callback(found.exchange_server.stop)
        web: RawServer = await stack.enter_async_context(serve(found.web.reply))
        ports = {
            "broker": found.broker.port,
            "device": found.device.port,
            "exchange": int(found.exchange_server.url.rpartition(":")[2]),
            "web": web.port,
        }
        for name, port in ports.items():
            found.lines[name] = await stack.enter_async_context(Proxy(port))
        lines = {name: line.port for name, line in found.lines.items()}
        found.places = {
            "broker": f"mqtt://127.0.0.1:{lines['broker']}",
            "web": f"http://127.0.0.1:{lines['web']}",
            "device": str(lines["device"]),
        }
        await found.save(VERSIONS[0])
        for market in found.markets:
            text_ = trade(market.lower(), market, f"http://127.0.0.1:{lines['exchange']}")
            (found.flows / f"trade-{market.lower()}.yaml").write_text(text_, "utf-8")
        found.source = Publisher(found.broker.port, ["plant/in/{key}"], rate_hz=RATE_HZ)
        found.sink = stack.enter_context(Listener(found.broker.port, "plant/out/#", "rest/out/#"))
        try:
            await found.start()
            resumed = await asyncio.to_thread(run, "resume-trading", "--data", found.data, "--by", "test")
            assert resumed.returncode == 0, resumed.stderr
            await found.until_ready()
            stack.enter_context(found.source)
            found._stream = asyncio.create_task(found._post())
            yield found
        finally:
            for number, life in enumerate(found.lives):
                (folder / f"life-{number}.log").write_text("\n".join(life.lines), "utf-8")
            if found._stream is not None:
                found._stream.cancel()
            if found.program is not None:
                program = found.program
                await asyncio.to_thread(program.__exit__)
