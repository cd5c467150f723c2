"""Faults on demand, as a client on a real socket meets them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from flowrunner.exchange.simulator import BadFault, Faults
from tests.exchange.simulated import Served, order, served

pytestmark = pytest.mark.anyio


async def outcome(venue: Served) -> int | str:
    """The status, or what the client sees in its place."""
    try:
        return (await venue.post()).status_code
    except httpx2.RemoteProtocolError:
        return "closed"
    except httpx2.ReadError:
        return "reset"


@pytest.mark.parametrize("character", ["plain", "good"])
@pytest.mark.parametrize(
    ("fault", "seen", "stored"),
    [
        ("answer-lost", "closed", True),
        ("reset", "reset", False),
        ("throttled", 429, False),
        ("error-before", 500, False),
        ("error-after", 500, True),
        ("refused", 400, False),
    ],
)
async def test_a_fault_strikes_as_often_as_it_is_armed(
    character: Any, fault: str, seen: int | str, stored: bool
) -> None:
    async with served(character) as venue:
        venue.exchange.faults.arm(fault, times=2)
        assert [await outcome(venue) for _ in range(3)] == [seen, seen, 200]
        assert len(venue.accepted) == (3 if stored else 1)
        listed = {row["order_id"] for row in (await venue.http.get("/orders")).json()}
        assert listed == {taken.order_id for taken in venue.accepted}
        assert venue.exchange.faults.armed() == []


async def test_a_fault_stays_until_it_is_cleared() -> None:
    async with served() as venue:
        faults = venue.exchange.faults
        faults.arm("error-before")
        faults.arm("throttled")
        assert [await outcome(venue) for _ in range(3)] == [500] * 3
        assert faults.clear("error-before") == 1
        assert [await outcome(venue) for _ in range(3)] == [429] * 3
        assert faults.clear() == 1
        assert await outcome(venue) == 200


async def test_a_delayed_answer_comes_and_its_order_was_stored_before() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("delay", times=1, seconds=0.2)
        stored = asyncio.Event()
        venue.exchange.listen("orders", lambda data: stored.set())
        began = asyncio.get_running_loop().time()
        late = asyncio.ensure_future(venue.post())
        async with asyncio.timeout(5):
            await stored.wait()
            assert not late.done()
            assert (await late).status_code == 200
        assert asyncio.get_running_loop().time() - began >= 0.19


async def test_a_client_that_does_not_wait_has_an_order_all_the_same() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("delay", times=1, seconds=3600)
        with pytest.raises(httpx2.ReadTimeout):
            await venue.http.post("/orders", json=order(), timeout=0.2)
        assert len((await venue.http.get("/orders")).json()) == 1


async def test_a_refusal_says_the_text() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("refused", text="Market closed")
        assert (await venue.post()).json() == {"detail": "Market closed"}


async def test_faults_that_follow_the_call_are_not_used_up_by_refused_orders() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("error-after", times=1)
        assert (await venue.post(side="x")).status_code == 422
        assert (await venue.post()).status_code == 500


async def test_a_wrong_key_meets_no_fault() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("reset", times=1)
        answer = await venue.http.post("/orders", json=order(), headers={"x-api-key": "wrong"})
        assert answer.status_code == 401
        assert await outcome(venue) == "reset"


async def test_each_call_has_faults_of_its_own() -> None:
    async with served("good") as venue:
        assert (await venue.post(client_order_id="mine", limit_price_eur_mwh=1.0)).status_code == 200
        calls = {
            "telemetry": ("POST", "/telemetry/bess"),
            "order-list": ("GET", "/orders"),
            "trades": ("GET", "/trades"),
            "prices": ("GET", "/market/prices?market=AT"),
            "order": ("GET", "/orders/mine"),
            "cancel": ("DELETE", "/orders/mine"),
        }
        for struck in calls:
            venue.exchange.faults.arm("error-before", on=struck)
            answers = [(name, (await venue.http.request(*call)).status_code) for name, call in calls.items()]
            assert [name for name, status in answers if status == 500] == [struck]
            venue.exchange.faults.clear()
        venue.exchange.faults.arm("throttled", on="any")
        assert {(await venue.http.request(*call)).status_code for call in calls.values()} == {429}


async def test_a_dead_price_store_makes_prices_up() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("prices-dead", times=1)
        first, second = [(await venue.http.get("/market/prices?market=AT")).json() for _ in range(2)]
        assert (first["mark"], first["ema"], first["vwap"]) == (85.5, 84.2, 85.1)
        assert second["mark"] == 50.0


async def test_a_price_store_that_stands_still_shows_old_times() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("prices-stale", times=1)
        answer = (await venue.http.get("/market/prices?market=AT")).json()
        assert (answer["mark"], answer["timestamp"]) == (50.0, "2026-03-02T11:00:00.000Z")


@pytest.mark.parametrize(
    ("arming", "complaint"),
    [
        ({"name": "answer-lots"}, "unknown fault 'answer-lots', did you mean 'answer-lost'?; there are: delay, "),
        ({"name": "delay", "on": "order-lists"}, "unknown call 'order-lists', did you mean 'order-list'?; there are: "),
        ({"name": "prices-dead", "on": "orders"}, "prices-dead strikes prices only"),
        ({"name": "delay", "times": 0}, "times must be a whole number from 1"),
        ({"name": "delay", "times": True}, "times must be"),
        ({"name": "delay", "seconds": float("nan")}, "seconds must be a number from 0 to 3600"),
        ({"name": "delay", "seconds": -1}, "seconds must be"),
        ({"name": "refused", "text": 5}, "text must be a text"),
    ],
)
async def test_what_cannot_be_armed_is_refused(arming: dict[str, Any], complaint: str) -> None:
    faults = Faults()
    with pytest.raises(BadFault) as caught:
        faults.arm(**arming)
    assert complaint in str(caught.value)
    assert faults.armed() == []


async def test_clearing_an_unknown_fault_is_refused() -> None:
    with pytest.raises(BadFault, match="unknown fault 'x'; there are: delay, answer-lost, reset"):
        Faults().clear("x")


async def test_armed_faults_are_listed() -> None:
    faults = Faults()
    faults.arm("delay", times=2, seconds=5)
    faults.arm("prices-dead")
    assert [(one["name"], one["on"], one["times"]) for one in faults.armed()] == [
        ("delay", "orders", 2),
        ("prices-dead", "prices", None),
    ]
