"""The signed streams as the adapter reads them: from the simulated exchange, and from peers that lie."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from flowrunner.errors import NotConnected
from flowrunner.exchange import Phoenyra, Told
from flowrunner.exchange.fills import ORDERS, Fills
from flowrunner.exchange.likeness import Row
from flowrunner.exchange.signing import signed
from flowrunner.exchange.simulator.app import QUEUE
from flowrunner.httpclient import HttpClient
from flowrunner.httpclient.stream import WAITING
from flowrunner.units import SECOND, iso
from tests.exchange.desk import Desk, Way, desk, still
from tests.exchange.simulated import KEY, MINUTE, NOON, order
from tests.peers.until import until

pytestmark = pytest.mark.anyio
WAYS: tuple[Way, ...] = ("socket", "direct")


async def next_of(news: AsyncGenerator[Told, None]) -> Told:
    async with asyncio.timeout(10):
        return await anext(news)


async def listening(at: Desk) -> None:
    """Both streams are heard at the exchange."""
    heard = at.venue.exchange._listeners
    await until(lambda: heard.get("orders") and heard.get("trades"), "both streams are heard")


# ---- the simulated exchange -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_orders_and_fills_of_the_good_exchange(way: Way) -> None:
    async with desk(way, "good") as at, aclosing(at.adapter.listen()) as news:
        first = asyncio.ensure_future(next_of(news))
        await listening(at)
        placed = await at.adapter.place(at.ticket(quantity_mwh=3.0, limit_price_eur_mwh=50.0), still)
        told = [await first]
        while told[-1].filled_mwh != 2.0:
            told.append(await next_of(news))
        at.venue.now += MINUTE
        at.venue.exchange.advance()
        while not told[-1].ended:
            told.append(await next_of(news))
        assert {one.exchange_id for one in told} == {placed.exchange_id}
        filled = [one.filled_mwh for one in told if one.filled_mwh is not None]
        assert filled == sorted(filled)  # the two streams overtake each other, the sum never goes back
        assert (told[-1].status, told[-1].filled_mwh, told[-1].average_price_eur_mwh) == ("FILLED", 3.0, 50.0)
        assert at.adapter.distrusted == ""


@pytest.mark.parametrize("way", WAYS)
async def test_orders_of_the_plain_exchange(way: Way) -> None:
    async with desk(way, "plain") as at, aclosing(at.adapter.listen()) as news:
        first = asyncio.ensure_future(next_of(news))
        await listening(at)
        placed = await at.adapter.place(at.ticket(), still)
        assert await first == Told(exchange_id=placed.exchange_id, status="ACCEPTED")


@pytest.mark.parametrize("way", WAYS)
async def test_the_news_end_when_the_exchange_goes_away_and_come_again_with_it(way: Way) -> None:
    async with desk(way, "good") as at:
        async with aclosing(at.adapter.listen()) as news:
            first = asyncio.ensure_future(next_of(news))
            await listening(at)
            await at.close()
            with pytest.raises(NotConnected, match="the stream ended"):
                await first
        await at.open()
        async with aclosing(at.adapter.listen()) as news:
            first = asyncio.ensure_future(next_of(news))
            await listening(at)
            placed = await at.adapter.place(at.ticket(), still)
            assert (await first).exchange_id == placed.exchange_id


@pytest.mark.parametrize("way", WAYS)
async def test_a_wrong_key_hears_nothing_and_without_one_nothing_is_asked(way: Way) -> None:
    async with desk(way, "plain", key="another-key") as at:
        with pytest.raises(NotConnected, match=r"/ws/orders: the server answers 403 and opens no stream"):
            await next_of(at.adapter.listen())
    async with desk(way, "plain", key="") as at:
        with pytest.raises(StopAsyncIteration):
            await next_of(at.adapter.listen())


async def test_a_reader_of_the_direct_exchange_that_is_too_slow_is_closed_as_over_a_socket() -> None:
    async with desk("direct", "plain") as at:
        stream = at.client.listen("/ws/orders", params={"api_key": KEY})
        async with aclosing(stream) as slow, asyncio.timeout(10):
            first = asyncio.ensure_future(anext(slow))
            while not first.done():
                at.venue.exchange.place(order())
                await asyncio.sleep(0)
            for _ in range(QUEUE + 100):  # nobody reads meanwhile
                at.venue.now += MINUTE
                at.venue.exchange.place(order())
                await asyncio.sleep(0)
            count, why = 0, ""
            try:
                while await anext(slow):
                    count += 1
            except NotConnected as error:
                why = str(error)
        assert why == f"{at.url}/ws/orders: the stream ended (code 1013)"
        assert WAITING <= count < QUEUE


# ---- a peer that lies -----------------------------------------------------------------------------------------------


@dataclass
class Liar:
    """Says on its two streams what a test puts in."""

    url: str = ""
    orders: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    trades: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    seq: int = 0

    def frame(self, said: dict[str, Any], *, key: str = KEY, at: int = NOON) -> str:
        return signed(key.encode(), iso(at), said)


@asynccontextmanager
async def lying() -> AsyncIterator[tuple[Liar, Phoenyra, AsyncGenerator[Told, None]]]:
    liar = Liar()

    async def handle(stream: ServerConnection) -> None:
        assert stream.request is not None
        said = liar.orders if stream.request.path.startswith("/ws/orders") else liar.trades
        speaking = asyncio.ensure_future(speak(stream, said))
        await stream.wait_closed()
        speaking.cancel()

    async def speak(stream: ServerConnection, said: asyncio.Queue[str | None]) -> None:
        while (text := await said.get()) is not None:
            await stream.send(text)
        stream.transport.abort()

    async with serve(handle, "127.0.0.1", 0) as server:
        liar.url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        client = HttpClient(liar.url, timeout_s=5)
        exchange = Phoenyra(client, liar.url, KEY, 5, lambda: NOON)
        try:
            async with aclosing(exchange.listen()) as news:
                yield liar, exchange, news
        finally:
            await client.close()


def said(order_id: str = "1", quantity: float = 1.0, **changes: Any) -> dict[str, Any]:
    return {
        "order_id": order_id, "side": "BUY", "quantity_mwh": quantity, "price": 50.0, "market": "AT",
        "status": "ACCEPTED", "timestamp": iso(NOON),
    } | changes  # fmt: skip


GARBAGE = ["", "nonsense", "[]", '{"meta": {}}', "\x00", "[" * 30_000]


@pytest.mark.parametrize("text", GARBAGE)
async def test_garbage_is_dropped_and_told(text: str) -> None:
    async with lying() as (liar, exchange, news):
        await liar.orders.put(text)
        await liar.orders.put(liar.frame(said()))
        assert (await next_of(news)).exchange_id == "1"
        assert exchange.distrusted == "/ws/orders: a frame is no signed message"
        exchange.distrusted = ""
        assert exchange.distrusted == ""


async def test_a_frame_counts_once_on_whichever_stream_it_comes_again() -> None:
    async with lying() as (liar, exchange, news):
        await liar.orders.put(liar.frame(said()))
        assert (await next_of(news)).status == "ACCEPTED"
        await liar.trades.put(liar.frame(said()))
        await liar.trades.put(liar.frame(said("after")))
        assert (await next_of(news)).exchange_id == "after"
        assert exchange.distrusted == "/ws/trades: a frame came a second time"


async def test_each_distrusted_frame_says_why() -> None:
    for bad, why in [
        (signed(b"another-key", iso(NOON), said()), "a frame's signature is wrong; is the key right?"),
        (signed(KEY.encode(), iso(NOON - 400 * SECOND), said()), "the time of a frame is 400 s behind ours"),
        (signed(KEY.encode(), iso(NOON), said(timestamp="noon")), "a frame cannot be read: timestamp is no time"),
        (signed(KEY.encode(), iso(NOON), said(f"x{KEY}x")), "a frame cannot be read: it quotes the key"),
        (signed(KEY.encode(), iso(NOON), said(quantity=-1.0)), "a frame cannot be read: a trade of nothing, or less"),
    ]:
        async with lying() as (liar, exchange, news):
            await liar.trades.put(bad)
            await liar.trades.put(liar.frame(said("after")))
            assert (await next_of(news)).exchange_id == "after"
            assert exchange.distrusted.startswith(f"/ws/trades: {why}")


async def test_trades_are_summed_up_and_the_sum_is_what_is_told() -> None:
    async with lying() as (liar, _, news):
        for order_id, quantity, price in [("a", 1.0, 50.0), ("b", 0.5, -10.0), ("a", 3.0, 54.0), ("b", 0.5, None)]:
            await liar.trades.put(liar.frame(said(order_id, quantity, price=price)))
        told = [await next_of(news) for _ in range(4)]
        assert told == [
            Told(exchange_id="a", filled_mwh=1.0, average_price_eur_mwh=50.0),
            Told(exchange_id="b", filled_mwh=0.5, average_price_eur_mwh=-10.0),
            Told(exchange_id="a", filled_mwh=4.0, average_price_eur_mwh=53.0),
            Told(exchange_id="b", filled_mwh=1.0),  # one of its trades had no price
        ]


async def test_an_order_says_how_it_stands() -> None:
    async with lying() as (liar, _, news):
        for status in ("ACCEPTED", "FILLED", "CANCELLED", "EXPIRED", "REJECTED"):
            await liar.orders.put(liar.frame(said(status, status=status, filled_mwh="?", average_price=1)))
        told = [await next_of(news) for _ in range(5)]
        assert [one.ended for one in told] == [False, True, True, True, True]
        assert [one.filled_mwh for one in told] == [None, 1.0, None, None, 0.0], "FILLED is all of it, REJECTED nothing"
        assert {one.average_price_eur_mwh for one in told} == {None}


@pytest.mark.parametrize("which", ["orders", "trades"])
async def test_when_either_stream_breaks_all_that_came_is_told_and_then_the_end(which: str) -> None:
    async with lying() as (liar, _, news):
        stream: asyncio.Queue[str | None] = getattr(liar, which)
        for number in range(100):
            await stream.put(liar.frame(said(str(number))))
        await stream.put(None)
        assert [(await next_of(news)).exchange_id for _ in range(100)] == [str(number) for number in range(100)]
        with pytest.raises(NotConnected, match=rf"/ws/{which}: the stream ended$"):
            await next_of(news)


async def test_an_oversized_frame_ends_the_news() -> None:
    async with lying() as (liar, _, news):
        await liar.orders.put(liar.frame(said(market="x" * 70_000)))
        with pytest.raises(NotConnected, match="longer than 65536 bytes"):
            await next_of(news)


async def test_the_key_is_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="websockets.client")
    caplog.set_level(logging.WARNING, logger="websockets.server")  # the peer's, who knows the key
    async with lying() as (liar, exchange, news):
        await liar.orders.put(f"not JSON but {KEY}")
        await liar.orders.put(liar.frame(said(status=f"the key is {KEY}")))
        assert (await next_of(news)).status == "the key is ***"
        await liar.orders.put(None)
        with pytest.raises(NotConnected) as caught:
            await next_of(news)
        assert KEY not in str(caught.value) + exchange.distrusted
    lines = [one.getMessage() for one in caplog.records]
    assert not [line for line in lines if KEY in line]


# ---- sums -----------------------------------------------------------------------------------------------------------


def trade(order_id: str, quantity: float, price: float | None = 50.0) -> Row:
    return Row(order_id=order_id, market="AT", side="BUY", quantity_mwh=quantity, price=price, status="FILLED", at=NOON)


def test_what_the_order_itself_said_is_never_taken_back() -> None:
    fills = Fills()
    assert fills.order({"filled_mwh": 2.0, "average_price": 49.0}, trade("a", 3.0)).filled_mwh == 2.0
    assert fills.trade(trade("a", 1.0)) is None
    assert fills.trade(trade("a", 1.0)) is None
    third = fills.trade(trade("a", 0.5))
    assert third is not None
    assert third.filled_mwh == 2.5
    late = fills.order({"filled_mwh": 2.0, "average_price": 49.0}, trade("a", 3.0))
    assert (late.filled_mwh, late.average_price_eur_mwh) == (2.5, 50.0)


def test_the_oldest_orders_are_forgotten() -> None:
    fills = Fills()
    for number in range(ORDERS + 1):
        fills.trade(trade(str(number), 1.0))
    newest, oldest = fills.trade(trade(str(ORDERS), 1.0)), fills.trade(trade("0", 1.0))
    assert newest is not None
    assert oldest is not None
    assert (newest.filled_mwh, oldest.filled_mwh) == (2.0, 1.0)
    assert len(deque(fills._known)) == ORDERS
