"""The exchange's WebSocket streams: signed, in order, for those who may."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from flowrunner.exchange.simulator import signed, verified
from flowrunner.exchange.simulator.app import QUEUE
from tests.exchange.simulated import KEY, MINUTE, order, served

pytestmark = pytest.mark.anyio


async def frame(stream: ClientConnection) -> Any:
    """The next frame's data, its signature checked as the interface's description has it."""
    async with asyncio.timeout(10):
        got = json.loads(await stream.recv())
    meta, data = got["meta"], got["data"]
    text = meta["ts"] + "|" + json.dumps(data, separators=(",", ":"))
    digest = hmac.new(KEY.encode(), text.encode(), hashlib.sha256).digest()
    assert meta["sig"] == base64.b64encode(digest).decode()
    assert (meta["algo"], meta["key_id"]) == ("HMAC-SHA256", "simulator-1")
    assert verified(KEY.encode(), got)
    return data


async def test_orders_of_the_plain_exchange() -> None:
    async with served() as venue, connect(f"{venue.ws}/ws/orders?api_key={KEY}", proxy=None) as stream:
        for _ in range(2):
            answer = (await venue.post(client_order_id="mine")).json()
            data = await frame(stream)
            assert data == (await venue.http.get("/orders")).json()[0]
            assert data["order_id"] == answer["order_id"]


async def test_fills_of_the_good_exchange() -> None:
    async with (
        served("good") as venue,
        connect(f"{venue.ws}/ws/orders?api_key={KEY}", proxy=None) as orders,
        connect(f"{venue.ws}/ws/trades", proxy=None) as trades,
    ):
        await venue.post(client_order_id="mine", quantity_mwh=3.0, limit_price_eur_mwh=50.0)
        seen = [await frame(orders) for _ in range(2)]
        assert [one["status"] for one in seen] == ["ACCEPTED", "PARTIALLY_FILLED"]
        venue.now += MINUTE  # the server itself notices: nobody calls
        last = await frame(orders)
        assert (last["status"], last["filled_mwh"], last["client_order_id"]) == ("FILLED", 3.0, "mine")
        told = [await frame(trades) for _ in range(2)]
        assert [(one["quantity_mwh"], one["client_order_id"]) for one in told] == [(2.0, "mine"), (1.0, "mine")]


async def test_a_book_is_shown_at_once_and_when_it_changes() -> None:
    async with served("good") as venue, connect(f"{venue.ws}/ws/book/AT", proxy=None) as stream:
        book = await frame(stream)
        assert (book["market"], book["timestamp"]) == ("AT", "2026-03-02T12:00:00.000Z")
        assert book["asks"] == [[50.0, 2.0], [50.5, 2.0], [51.0, 2.0], [51.5, 2.0], [52.0, 2.0]]
        assert book["bids"] == [[50.0, 2.0], [49.5, 2.0], [49.0, 2.0], [48.5, 2.0], [48.0, 2.0]]
        await venue.post(quantity_mwh=3.0)
        assert (await frame(stream))["asks"][0] == [50.5, 1.0]
        venue.price = None
        book = await frame(stream)
        assert (book["asks"], book["bids"]) == ([], [])


@pytest.mark.parametrize("path", ["/ws/orders", "/ws/orders?api_key=wrong", "/ws/book/Atlantis", "/ws/other"])
async def test_streams_that_are_not_to_be_had(path: str) -> None:
    async with served() as venue:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{venue.ws}{path}", proxy=None)
        assert caught.value.response.status_code == 403


async def test_a_listener_that_left_is_forgotten_and_what_listeners_say_is_ignored() -> None:
    async with served() as venue:
        async with connect(f"{venue.ws}/ws/orders?api_key={KEY}", proxy=None) as stream:
            await stream.send("hello")
            await venue.post()
            await frame(stream)
        assert (await venue.post()).status_code == 200
        async with connect(f"{venue.ws}/ws/orders?api_key={KEY}", proxy=None) as stream:
            answer = (await venue.post()).json()
            assert (await frame(stream))["order_id"] == answer["order_id"]


async def test_a_listener_that_is_too_slow_is_closed_instead_of_missing_something() -> None:
    async with served() as venue, connect(f"{venue.ws}/ws/orders?api_key={KEY}", proxy=None) as stream:
        await venue.post()
        await frame(stream)  # it listens
        for _ in range(QUEUE + 1):  # all at once: the server has no chance to send between them
            venue.now += MINUTE
            assert venue.exchange.place(order()).status == 200
        async with asyncio.timeout(5):
            await stream.wait_closed()
        assert stream.close_code == 1013


async def test_stopping_closes_streams() -> None:
    async with served() as venue, connect(f"{venue.ws}/ws/trades", proxy=None) as stream:
        async with asyncio.timeout(5):
            await venue.server.stop()
        with pytest.raises(ConnectionClosedError) as caught:
            await frame(stream)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012


async def test_the_key_is_not_in_the_servers_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="uvicorn.error"):
        async with served() as venue:
            async with connect(f"{venue.ws}/ws/orders?api_key={KEY}", proxy=None) as stream:
                await venue.post()
                await frame(stream)
            with pytest.raises(InvalidStatus):
                await connect(f"{venue.ws}/ws/other?api_key={KEY}", proxy=None)
    lines = [one.getMessage() for one in caplog.records if one.name == "uvicorn.error"]
    assert any("WebSocket /ws/orders" in line for line in lines)
    assert not [line for line in lines if KEY in line]


@pytest.mark.parametrize(
    "spoilt",
    [
        {},
        {"data": {"a": 2}},
        {"meta": None},
        {"meta": {"ts": "other"}},
        {"meta": {"sig": "ä"}},
        {"meta": {"sig": 5}},
        {"meta": {"algo": "none"}},
    ],
)
async def test_a_frame_that_was_changed_is_not_verified(spoilt: dict[str, Any]) -> None:
    good = json.loads(signed(b"key", "2026-03-02T12:00:00.000Z", {"a": 1}))
    assert verified(b"key", good)
    assert not verified(b"other", good)
    meta = spoilt.get("meta", {})
    bad = good | spoilt | {"meta": good["meta"] | meta if isinstance(meta, dict) else meta}
    assert verified(b"key", bad) == (spoilt == {})
