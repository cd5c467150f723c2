"""The simulated exchange's own clock: told with every answer in flow time, and wrong on demand."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from flowrunner.exchange.simulator import BadFault, Exchange, Faults
from flowrunner.units import SECOND, from_datetime, iso, parse_instant
from tests.exchange.simulated import MINUTE, NOON, Served, order, served
from tests.simulate.living_world import http, living_world

pytestmark = pytest.mark.anyio
NEVER = NOON - 300 * 86400 * SECOND


def date(answer: httpx2.Response) -> int:
    (text,) = answer.headers.get_list("date")
    assert text.endswith(" GMT")
    return from_datetime(parsedate_to_datetime(text))


async def answers(venue: Served) -> dict[str, httpx2.Response]:
    http = venue.http
    return {
        "taken": await venue.post(),
        "refused": await venue.post(market="XX"),
        "no JSON": await http.post("/orders", content=b"{"),
        "wrong key": await http.post("/orders", json=order(), headers={"X-API-KEY": "wrong"}),
        "orders": await http.get("/orders"),
        "trades": await http.get("/trades"),
        "prices": await http.get("/market/prices", params={"market": "AT"}),
        "no such path": await http.get("/nothing"),
        "no such method": await http.put("/orders"),
    }


async def test_every_answer_tells_flow_time_once_and_in_full_seconds() -> None:
    async with served() as venue:
        for now in (NOON, NEVER + 999_999_999):
            venue.now = now
            found = await answers(venue)
            assert {answer.status_code for answer in found.values()} >= {200, 401, 404, 405, 422}
            for what, answer in found.items():
                assert date(answer) == now - now % SECOND, what
        assert found["orders"].headers["date"] == "Tue, 06 May 2025 12:00:00 GMT"


async def test_so_do_answers_to_faults_defects_and_streams() -> None:
    async with served() as venue:
        for fault in ("error-before", "error-after", "throttled", "refused"):
            venue.exchange.faults.arm(fault, times=1)
            assert date(await venue.post()) == NOON, fault
        venue.exchange.faults.arm("delay", times=1, seconds=0.01)
        assert date(await venue.post()) == NOON
        async with connect(f"{venue.ws}/ws/trades") as stream:
            assert stream.response is not None
            assert stream.response.headers.get_all("date") == ["Mon, 02 Mar 2026 12:00:00 GMT"]

        venue.price = "not a number"  # type: ignore[assignment]  # the world is broken: so is the exchange
        broken = await venue.http.get("/market/prices", params={"market": "AT"})
        assert broken.status_code == 500
        assert date(broken) == NOON


@pytest.mark.parametrize("offset", [7 * SECOND, -90 * SECOND, 3600 * SECOND])
async def test_a_clock_that_is_wrong_is_so_in_all_that_it_stamps(offset: int) -> None:
    async with served("good") as venue:
        venue.exchange.clock_offset_ns = offset
        wrong = NOON + offset
        taken = await venue.post()
        assert date(taken) == wrong
        book = f"{venue.ws}/ws/book/AT"
        async with connect(book) as stream, asyncio.timeout(5):
            frame = str(await stream.recv())
        stamps = {
            "order": taken.json(),
            "orders": (await venue.http.get("/orders")).json()[0],
            "trades": (await venue.http.get("/trades")).json()[0],
            "prices": (await venue.http.get("/market/prices", params={"market": "AT"})).json(),
        }
        for what, body in stamps.items():
            assert parse_instant(body["timestamp"]) == wrong, what
        assert frame.count(iso(wrong)) == 2, "the envelope, and the book in it"
        assert venue.exchange.clock() == NOON


def test_prices_are_those_of_the_time_that_it_is() -> None:
    asked: list[int] = []

    def price(market: str, at: int) -> float:
        asked.append(at)
        return 50.0

    exchange = Exchange(lambda: NOON, price, markets=["AT"])
    exchange.clock_offset_ns = 3600 * SECOND
    assert exchange.prices("AT").body["timestamp"] == iso(NOON + 3600 * SECOND)
    assert max(asked) == NOON


async def test_the_api_of_the_simulated_world_sets_it(tmp_path: Path) -> None:
    async with living_world(tmp_path) as world, http(world) as client:
        answer = await client.post("/world/faults", json={"fault": "clock", "seconds": -600})
        assert answer.status_code == 200, answer.text
        assert world.exchange.clock_offset_ns == -600 * SECOND
        late = world.clock.now() - date(await client.get("/trades"))
        assert 600 * SECOND <= late < 610 * SECOND
        await client.delete("/world/faults")
        assert abs(world.clock.now() - date(await client.get("/world"))) < 10 * SECOND


async def test_it_is_wrong_until_it_is_cleared_and_strikes_no_call() -> None:
    async with served() as venue:
        faults = venue.exchange.faults
        faults.arm("clock", seconds=-2.5)
        faults.arm("throttled", times=1)
        assert (await venue.post()).status_code == 429
        assert [(await venue.post()).status_code for _ in range(3)] == [200] * 3
        assert venue.exchange.clock_offset_ns == -2.5 * SECOND
        faults.arm("clock", seconds=60)
        assert [fault["seconds"] for fault in faults.armed()] == [60]
        assert date(await venue.http.get("/trades")) == NOON + MINUTE
        assert faults.clear("clock") == 1
        assert date(await venue.http.get("/trades")) == NOON
        venue.exchange.clock_offset_ns = SECOND
        venue.exchange.clock_offset_ns = 0
        assert faults.armed() == []


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"seconds": 3600.5}, "seconds must be a number from -3600 to 3600"),
        ({"seconds": -3601}, "seconds must be a number from -3600 to 3600"),
        ({"seconds": float("nan")}, "seconds must be a number from -3600 to 3600"),
        ({"seconds": True}, "seconds must be a number from -3600 to 3600"),
        ({"seconds": 1, "times": 1}, "clock strikes no call"),
        ({"seconds": 1, "on": "orders"}, "clock strikes no call"),
    ],
)
def test_what_a_clock_cannot_be(wanted: dict[str, Any], complaint: str) -> None:
    faults = Faults()
    with pytest.raises(BadFault, match=complaint):
        faults.arm("clock", **wanted)
    assert faults.armed() == []


@given(st.integers(-3600 * SECOND, 3600 * SECOND))
def test_an_offset_is_what_was_set(offset: int) -> None:
    faults = Faults()
    faults.arm("clock", seconds=offset / SECOND)
    assert abs(faults.clock_offset_ns - offset) <= 1
