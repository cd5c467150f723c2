"""``/api/v1/orders`` and ``/api/v1/refusals`` over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.end_to_end.living import living
from tests.orders.example import BUY, filled
from tests.web.eventful import QUIET

SELL = "epex_at-20250125T0145Z-SELL"


@pytest.fixture(scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    """A flow that has nothing to do with the orders that are in its data folder."""
    folder = await asyncio.to_thread(filled, tmp_path_factory.mktemp("data"))
    async with living(folder, text=QUIET) as running:
        yield running.http


pytestmark = pytest.mark.anyio


async def states(http: httpx2.AsyncClient, query: str = "") -> list[str]:
    answer = await http.get(f"/api/v1/orders{query}")
    assert answer.status_code == 200
    return [one["state"] for one in answer.json()]


async def test_the_newest_first(http: httpx2.AsyncClient) -> None:
    assert await states(http) == ["unknown", "rejected", "accepted", "paper"]
    assert await states(http, "?limit=2") == ["unknown", "rejected"]
    assert await states(http, "?limit=1000") == await states(http)


async def test_filters(http: httpx2.AsyncClient) -> None:
    assert await states(http, "?state=paper") == ["paper"]
    assert await states(http, "?state=expired") == []
    assert len(await states(http, "?market=epex_at")) == 4
    assert await states(http, "?market=epex_at&state=unknown&limit=1") == ["unknown"]
    for nobody in ("epex", "EPEX_AT", "epex_at%27%20OR%201=1--", "%00"):
        assert await states(http, f"?market={nobody}") == []


async def test_one_order(http: httpx2.AsyncClient) -> None:
    (listed,) = [one for one in (await http.get("/api/v1/orders")).json() if one["state"] == "accepted"]
    assert listed == {
        "order": "epex_at-20250125T0130Z-BUY", "market": "epex_at", "side": "BUY",
        "delivery_start": "2025-01-25T01:30:00.000Z", "delivery_end": "2025-01-25T01:45:00.000Z",
        "quantity_mwh": 0.5, "requested_mwh": 1.75, "limited_by": "loaded", "limit_price_eur_mwh": -45.5,
        "order_type": "LIMIT", "time_in_force": "GFD", "rule": "buy", "state": "accepted", "mode": "paper",
        "filled_mwh": 0.0, "open_mwh": 0.5, "average_price_eur_mwh": None, "good_until": "2025-01-25T01:25:00.000Z",
        "venue": "", "exchange_id": "", "reason": "", "flow": "site", "guard": "guard",
        "created_at": "2025-01-25T01:15:01.000Z", "updated_at": "2025-01-25T01:15:03.000Z",
    }  # fmt: skip
    answer = await http.get(f"/api/v1/orders/{listed['order']}")
    assert answer.status_code == 200
    story = answer.json()
    assert story["order"] == listed
    assert [(one["at"], one["state"]) for one in story["steps"]] == [
        ("2025-01-25T01:15:01.000Z", "intent"), ("2025-01-25T01:15:02.000Z", "sending"),
        ("2025-01-25T01:15:03.000Z", "accepted"),
    ]  # fmt: skip
    decision = story["steps"][0]["detail"]
    assert decision["verdicts"] == {"hot": "clear", "loaded": "above"}
    assert decision["inputs"]["price_eur_mwh"]["value"] == -45.5
    refused = (await http.get(f"/api/v1/orders/{SELL}")).json()
    assert refused["steps"][-1]["reason"] == "400: SELL disabled at SoC 80.0%"
    assert refused["steps"][-1]["detail"] == {"status": 400}


@pytest.mark.parametrize("name", ["x", BUY.lower(), BUY + "x", "%00", "a" * 5000, "%F0%9F%94%8B", "..%2F..%2Fetc"])
async def test_an_order_that_is_not_there(http: httpx2.AsyncClient, name: str) -> None:
    answer = await http.get(f"/api/v1/orders/{name}")
    assert answer.status_code == 404
    assert answer.json()["detail"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit must be a whole number from 1 to 1000"), ("limit=1001", "limit must be"),
        ("limit=-1", "limit must be"), ("limit=ten", "limit must be"), ("limit=", "limit must be"),
        ("limit=%C2%B2", "limit must be"), ("limit=99999999999999999999", "limit must be"), ("limit=1.0", "limit must"),
        ("state=Paper", "state must be one of intent, sending, paper, accepted, rejected, unknown, expired"),
        ("state=", "state must be one of"),
    ],
)  # fmt: skip
async def test_wrong_parameters(http: httpx2.AsyncClient, query: str, said: str) -> None:
    for path in ["orders", *(["refusals"] if query.startswith("limit") else [])]:
        answer = await http.get(f"/api/v1/{path}?{query}")
        assert (answer.status_code, answer.json()["error"]) == (422, "query")
        assert answer.json()["detail"].startswith(said)


async def test_what_was_not_let_through(http: httpx2.AsyncClient) -> None:
    refusals = (await http.get("/api/v1/refusals")).json()
    assert [(one["rule"], one["side"], one["reason"], one["count"]) for one in refusals] == [
        ("buy", "BUY", "market-blocked", 1), ("sell", "SELL", "price", 1), ("buy", "BUY", "stopped", 3),
    ]  # fmt: skip
    assert refusals[-1]["text"] == "hot is above"
    assert refusals[-1]["delivery_start"] == "2025-01-25T01:15:00.000Z"
    assert len((await http.get("/api/v1/refusals?limit=1")).json()) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed(http: httpx2.AsyncClient, method: str) -> None:
    for path in ("/api/v1/orders", f"/api/v1/orders/{BUY}", "/api/v1/refusals"):
        assert (await http.request(method, path, headers={"content-type": "application/json"})).status_code == 405
