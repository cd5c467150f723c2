"""price-in and real HTTP: what each source is asked, outages, a server that hangs, secrets that stay secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowrunner.clock import Clock, ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.units import iso, parse_instant
from tests.market import answers
from tests.market.price_server import Answering, Asked, PriceServer, Reply, price_server
from tests.peers.until import until

pytestmark = pytest.mark.anyio
REGISTRY = Registry()
TOKEN = "s3cr3t/t0ken+plus"
START = parse_instant("2026-03-29T10:02:00Z")
DAY = "2026-03-28T23:00:00Z"
SPRING = ("2026-03-28T23:00Z", "2026-03-29T22:00Z")


class Running:
    """A flow with one price-in, and what left it."""

    def __init__(self, engine: Engine, server: PriceServer, clock: Clock) -> None:
        self.engine, self.server, self.clock = engine, server, clock
        self.worker = engine.runtime.workers["t/price"]
        self.out: list[Message] = []
        self.errors: list[Any] = []
        self.worker.tap = self._tap

    def _tap(self, port: str, message: Message) -> None:
        if port == "error":
            self.errors.append(message.payload)
        else:
            self.out.append(message)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        def missed() -> str:
            seen = [(iso(one.at), one.payload) for one in self.out[-3:]]
            return f"{what}; {seen} {self.errors} {self.server.asked[-3:]}"

        await until(condition, missed)

    def connected(self) -> bool | None:
        return self.worker.counters.connected

    @property
    def price(self) -> float | None:
        return self.out[-1].payload.get("price_eur_mwh") if self.out else None


@asynccontextmanager
async def on(
    server: PriceServer, options: str, *, speed: float = 1, start: int = START, folder: Path | None = None
) -> AsyncIterator[Running]:
    """``options`` may name the server as ``{url}``."""
    text = (
        "flow: t\ntimezone: Europe/Vienna\nmarket: {name: epex_at, slot: 15min, gate_closure: 5min}\nnodes:\n"
        f"  price: {{type: price-in, {options.replace('{url}', server.url)}}}\n"
        "  errors: {type: merge, from: price.error}\n"
    )
    checked = check_flows({"flow.yaml": text}, {"TOKEN": TOKEN}, REGISTRY)
    assert checked.graph is not None, checked.problems
    store, clock = Store.open(folder), ScaledClock(start, speed)
    engine = Engine(checked, store=store, clock=clock)
    try:
        await engine.start()
        yield Running(engine, server, clock)
    finally:
        assert await engine.stop() == []
        await store.close()


@asynccontextmanager
async def running(options: str, answer: Answering, *, speed: float = 1, start: int = START) -> AsyncIterator[Running]:
    async with price_server(answer) as server, on(server, options, speed=speed, start=start) as it:
        yield it


def quarters(first: str = DAY, count: int = 92) -> bytes:
    """A day of which every price is its position."""
    return answers.energy_charts(first, [float(position) for position in range(1, count + 1)])


# ---- what is asked ------------------------------------------------------------------------------------------------


async def test_entsoe() -> None:
    points: dict[int, float | str] = {1: "50.00", 44: "-1.25", 45: "61.5", 46: "7"}
    other = answers.series(answers.period(*SPRING, "PT15M", {1: 999}), auction=2)
    document = answers.document(other, answers.series(answers.period(*SPRING, "PT15M", points)))
    async with running(
        'source: entsoe, zone: AT, token: "${TOKEN}", url: "{url}/api"', lambda _: (200, document)
    ) as it:
        await it.until(lambda: bool(it.out), "a record")
        assert it.out[-1].payload == {"price_eur_mwh": 7.0, "price_now_eur_mwh": 61.5}
        assert it.server.asked == [
            Asked(
                "/api",
                {
                    "documentType": "A44",
                    "contract_MarketAgreement.type": "A01",
                    "in_Domain": answers.AT,
                    "out_Domain": answers.AT,
                    "periodStart": "202603282300",
                    "periodEnd": "202603302200",
                    "securityToken": TOKEN,
                },
            )
        ], "today and tomorrow, of which one has 23 hours"
        info = (it.out[-1].fields or {})["price_eur_mwh"]
        assert (info.valid_from, info.unit) == (parse_instant("2026-03-29T10:15:00Z"), "EUR/MWh")


async def test_awattar() -> None:
    body = answers.awattar(DAY, [float(hour) for hour in range(23)])
    async with running('source: awattar, url: "{url}"', lambda _: (200, body)) as it:
        await it.until(lambda: bool(it.out), "a record")
        assert it.out[-1].payload == {"price_eur_mwh": 11.0, "price_now_eur_mwh": 11.0}
        start, end = (str(parse_instant(one) // 1_000_000) for one in (DAY, "2026-03-30T22:00:00Z"))
        assert it.server.asked == [Asked("/v1/marketdata", {"start": start, "end": end})]


async def test_energy_charts_and_its_notice() -> None:
    body = answers.energy_charts(DAY, [float(position) for position in range(92)], deprecated=True)
    async with running('source: energy-charts, zone: DE-LU, url: "{url}"', lambda _: (200, body)) as it:
        await it.until(lambda: bool(it.out), "a record")
        assert it.out[-1].payload == {"price_eur_mwh": 45.0, "price_now_eur_mwh": 44.0}
        assert it.server.asked == [Asked("/price", {"bzn": "DE-LU", "start": "2026-03-29", "end": "2026-03-30"})]
        assert [one["code"] for one in it.errors] == ["notice"]
        assert "deprecated" in it.errors[0]["reason"]


async def test_tomorrow_comes_when_it_is_published() -> None:
    """Asked for with every fetch; at midnight the flow goes on with it."""
    clock: list[Clock] = []

    def answer(asked: Asked) -> Reply:
        published = bool(clock) and clock[0].now() > parse_instant("2026-03-29T21:30:00Z")
        return 200, quarters(count=92 + (96 if published else 0))

    options = 'source: energy-charts, zone: AT, url: "{url}"'
    start = parse_instant("2026-03-29T21:20:00Z")
    async with running(options, answer, speed=1800, start=start) as it:  # a quarter-hour is 0.5 s
        clock.append(it.clock)
        midnight = parse_instant("2026-03-29T22:00:00Z")
        await it.until(lambda: it.clock.now() > midnight, "midnight")
        await it.until(lambda: (it.price or 0) > 93, "a price of the new day")
        known = it.worker.node.known  # type: ignore[attr-defined]  # the node of this type
        assert known.curve.prices[0].end > midnight - 3600 * 10**9, "the past is forgotten"
        assert it.errors == []


# ---- the exchange -------------------------------------------------------------------------------------------------


async def test_the_exchange_is_asked_again_at_each_change_of_slot() -> None:
    clock: list[Clock] = []
    prices = iter(range(1, 1000))

    def answer(asked: Asked) -> Reply:
        return 200, answers.mark(next(prices), clock[0].now() if clock else START)

    # every 5 h: all but the first request come from a change of slot; a quarter-hour is 0.5 s
    async with running('source: exchange, url: "{url}", every: 5h, oldest: 1h', answer, speed=1800) as it:
        clock.append(it.clock)
        await it.until(lambda: len(it.server.asked) >= 5 and it.price == len(it.server.asked), "five requests")
        assert all(one == Asked("/market/prices", {"market": "epex_at"}) for one in it.server.asked)
        for one in it.out:
            info = (one.fields or {})["price_eur_mwh"]
            assert (info.quality == "good") == ("price_eur_mwh" in one.payload)
            if "price_eur_mwh" not in one.payload or info.valid_from is None:
                continue
            assert info.at < info.valid_from - 5 * 60 * 10**9, "fetched before the gate of its slot closed"
            assert info.at >= info.valid_from - 20 * 60 * 10**9, "and after that of the one before"
        now = [one.payload.get("price_now_eur_mwh") for one in it.out]
        assert [one for one in now if one is not None], "what was the price of the next slot is that of this one later"
        assert [one["code"] for one in it.errors] == []


async def test_an_answer_that_comes_after_the_gate_has_closed_is_asked_for_again_at_once() -> None:
    """It was for the slot before; that the next one has no price yet is no event."""
    flow: asyncio.Future[Running] = asyncio.get_running_loop().create_future()

    async def late(asked: Asked) -> Reply:
        it = await flow
        if len(it.server.asked) == 1:
            await it.clock.sleep_until(parse_instant("2026-03-29T10:11:00Z"))
        return 200, answers.mark(49 + len(it.server.asked), it.clock.now())

    async with running('source: exchange, url: "{url}", every: 5h, oldest: 1h', late, speed=600) as it:
        flow.set_result(it)
        await it.until(lambda: it.price == 51, "the price of the second answer")
        info = (it.out[-1].fields or {})["price_eur_mwh"]
        assert info.valid_from == parse_instant("2026-03-29T10:30:00Z")
        assert it.errors == []


@pytest.mark.parametrize(
    "bad",
    [
        answers.mark(85.5, START, ema=84.2, vwap=85.1),
        answers.mark(50, START, market="epex_de"),
        answers.mark(50, START - 7200 * 10**9),
    ],
    ids=["made up", "another market", "old"],
)
async def test_a_mark_that_is_not_believed_takes_the_price_away(bad: bytes) -> None:
    """One that was believed for the same slot before does not stand in for it."""
    options = 'source: exchange, url: "{url}", every: 5s, oldest: 1h'
    async with running(options, lambda _: (200, answers.mark(50, START)), speed=15) as it:
        await it.until(lambda: it.price == 50, "the good one")
        it.server.answer = lambda _: (200, bad)
        await it.until(lambda: it.price is None, "no price")
        info = (it.out[-1].fields or {})["price_eur_mwh"]
        assert (info.quality, info.valid_from) == ("bad", parse_instant("2026-03-29T10:15:00Z")), "it is the same slot"
        await it.until(lambda: len(it.errors) == 2, "two events")
        assert [one["code"] for one in it.errors] == ["bad-prices", "no-price"]
        assert it.connected() is False
        it.server.answer = lambda _: (200, answers.mark(51, START))
        await it.until(lambda: it.price == 51, "a price again")
        assert it.connected() is True
        assert len(it.errors) == 2


# ---- outages ------------------------------------------------------------------------------------------------------


async def test_a_server_that_hangs_does_not_hold_back_a_change_of_slot(tmp_path: Path) -> None:
    """The flow works on from what is kept, also after a restart."""
    options = 'source: energy-charts, zone: AT, url: "{url}", every: 1min, timeout: 30s'
    async with price_server(lambda _: (200, quarters())) as server:
        async with on(server, options, speed=3600, folder=tmp_path) as it:  # a quarter-hour is 0.25 s
            await it.until(lambda: it.price is not None, "a price")
            server.answer = lambda _: None
            asked = len(server.asked)
            await it.until(lambda: len(server.asked) > asked, "a request that hangs")
            hanging, price = len(server.asked), it.price or 0
            await it.until(lambda: (it.price or 0) >= price + 2, "two changes of slot")
            assert len(server.asked) == hanging, "one request at a time"
            last, now = it.price or 0, it.clock.now()
        async with on(server, options, speed=3600, start=now, folder=tmp_path) as it:
            await it.until(lambda: (it.price or 0) >= last + 2, "two more after a restart")
            assert len(server.asked) == hanging + 1
            assert it.out[0].root is not None
            assert it.out[0].root[1].startswith("kept:"), "it did not wait for the source"


async def test_kept_prices_of_another_address_are_not_used(tmp_path: Path) -> None:
    options = 'source: energy-charts, zone: AT, url: "{url}"'
    async with price_server(lambda _: (200, quarters())) as server, on(server, options, folder=tmp_path) as it:
        await it.until(lambda: it.price == 46, "a price")
    async with price_server(lambda _: (503, b"")) as server, on(server, options, folder=tmp_path) as it:
        await it.until(lambda: bool(it.errors), "an event")
        assert it.price is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"<html>Unauthorized " + TOKEN.encode() + b"</html>", "it answers with status 401: check the token"),
        (400, answers.acknowledgement(f"Token {TOKEN} is not valid"), r"status 400: Token *** is not valid (code 999)"),
        (200, answers.acknowledgement(f"No matching data, asked by {TOKEN}"), "No matching data, asked by ***"),
        (200, answers.document(answers.series(answers.period(*SPRING, f"P{TOKEN}", {1: 1}))), "resolution 'P***'"),
        (429, b"slow down", "status 429: it is asked too often"),
        (503, b"", "it answers with status 503;"),
        (302, b"", "it answers with status 302;"),
    ],
)
async def test_no_text_has_the_token(status: int, body: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    options = 'source: entsoe, zone: AT, token: "${TOKEN}", url: "{url}/api"'
    async with running(options, lambda _: (status, body)) as it:
        await it.until(lambda: bool(it.out), "a record")
        await it.until(lambda: len(it.errors) == 2, "two events")
        reason = it.errors[0]["reason"]
        assert words in reason
        assert reason.startswith("entsoe: ")
        shown = [*map(str, it.errors), it.worker.counters.last_error or "", caplog.text, str(it.worker.spec.shown)]
        assert not [text for text in shown if TOKEN in text or "s3cr3t" in text]


async def test_nobody_listens_and_then_somebody_does() -> None:
    state: list[Reply] = [None]
    async with running(
        'source: energy-charts, zone: AT, url: "{url}", timeout: 100ms', lambda _: state[0], speed=30
    ) as it:
        await it.until(lambda: it.connected() is False, "it says so")
        await it.until(lambda: len(it.errors) == 2, "two events")
        assert [one["code"] for one in it.errors] == ["source-away", "no-price"]
        assert "no answer within 0.1 s; there are no kept prices" in it.errors[0]["reason"]
        assert "bzn" not in it.errors[0]["reason"], "no query in a text"
        state[0] = (200, quarters())
        await it.until(lambda: it.price is not None, "a price")
        assert it.connected() is True
        assert [one["code"] for one in it.errors] == ["source-away", "no-price"], "once for the outage"
