"""What becomes of accepted orders: heard over the signed streams, or asked for where those are away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_frames
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from flowrunner.clock import ScaledClock
from flowrunner.exchange.simulator import signed
from flowrunner.message import JSON
from flowrunner.store import Store
from flowrunner.units import SECOND, iso, parse_instant
from tests.exchange.simulated import KEY, served
from tests.orders.venue import FLOW, START, Trading, an_order, trading, venue

ID = "AT-20260302T1215Z-BUY"
LARGE = FLOW.replace("quantity_mwh: 1.0", "quantity_mwh: 3.0")
"""The simulated book has 2 MWh at the mark."""
LIMITED = LARGE.replace("max_quantity_mwh: 5", "max_quantity_mwh: 5\n    max_position_mwh: 4")


def records(flow: Trading, what: str = "state") -> list[Any]:
    return [one[what] for one in flow.left.get("exchange.out", [])]


async def streams(flow: Trading, at: Any) -> None:
    """Until the flow listens to orders and trades."""
    await flow.until(lambda: all(at.exchange._listeners.get(one) for one in ("orders", "trades")), "streams")


# ---- by the streams ---------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_an_order_at_the_mark_is_filled_at_once() -> None:
    async with venue("good") as (at, flow):
        await streams(flow, at)
        await flow.wish()
        order = await flow.until_order("filled")
        assert (order.filled_mwh, order.open_mwh, order.average_price_eur_mwh) == (1.0, 0.0, 50.0)
        await flow.until_left("exchange.out", 2)
        assert records(flow) == ["accepted", "filled"]
        assert [state for state, _ in flow.story()] == ["intent", "sending", "accepted", "filled"]
        assert flow.errors() == []


@pytest.mark.anyio
async def test_a_larger_one_partly_then_the_rest_with_the_next_minute() -> None:
    async with venue("good", text=LARGE, speed=60) as (at, flow):
        await streams(flow, at)
        await flow.wish()
        order = await flow.until_order("partly-filled")
        assert (order.filled_mwh, order.open_mwh) == (2.0, 1.0)
        order = await flow.until_order("filled")
        assert (order.filled_mwh, order.open_mwh) == (3.0, 0.0)
        await flow.until_left("exchange.out", 3)
        assert records(flow) == ["accepted", "partly-filled", "filled"]
        assert records(flow, "filled_mwh") == [0.0, 2.0, 3.0]
        assert records(flow, "open_mwh") == [3.0, 1.0, 0.0]
        assert len(at.accepted) == 1


@pytest.mark.anyio
async def test_one_below_the_mark_rests_until_the_mark_comes_down() -> None:
    async with venue("good") as (at, flow):
        await streams(flow, at)
        at.price = 80.0
        await flow.wish(price=50)
        await flow.until_order("accepted")
        at.price = 49.0
        at.exchange.advance()
        order = await flow.until_order("filled")
        assert order.average_price_eur_mwh == 49.0


@pytest.mark.anyio
@pytest.mark.parametrize(("mark", "state", "filled"), [(80.0, "unfilled", 0.0), (50.0, "partly-filled", 2.0)])
async def test_what_is_left_at_the_end_is_not_traded_any_more(mark: float, state: str, filled: float) -> None:
    soon = LARGE.replace("gate_closure: 5min", "gate_closure: 30s")
    async with venue("good", text=soon, start="2026-03-02T12:14:01Z", speed=40) as (at, flow):
        await streams(flow, at)
        at.price = mark
        await flow.wish(price=50)
        await flow.until_order("accepted", "partly-filled")
        at.price = 80.0
        await flow.until(lambda: flow.order.open_mwh == 0)
        assert (flow.order.state, flow.order.filled_mwh) == (state, filled)
        assert flow.order.reason == "EXPIRED"
        await flow.until(lambda: records(flow, "open_mwh")[-1] == 0)
        assert records(flow)[-1] == state


# ---- by asking --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_was_traded_while_nobody_listened_is_asked_for() -> None:
    store = Store.open(None, inline=True)
    async with served("good") as at:
        async with trading(at, text=LARGE, store=store) as flow:
            await streams(flow, at)
            at.price = 80.0
            await flow.wish(price=50)
            await flow.until_order("accepted")
        at.price = 50.0
        at.exchange.clock = lambda: parse_instant("2026-03-02T12:01:00Z")
        at.exchange.advance()  # traded while nobody listened
        async with trading(at, text=LARGE, store=store, start="2026-03-02T12:01:00Z") as flow:
            order = await flow.until_order("partly-filled")
            assert (order.filled_mwh, order.open_mwh) == (2.0, 1.0)
            await flow.until_left("exchange.out")
            assert records(flow) == ["partly-filled"]
    await store.close()


@pytest.mark.anyio
async def test_a_fill_that_comes_before_the_answer_is_not_lost() -> None:
    async with venue("good", patience="300ms") as (at, flow):
        await streams(flow, at)
        at.exchange.faults.arm("delay", times=1, seconds=0.1)
        await flow.wish()
        await flow.until(lambda: at.traded)
        assert flow.order.state == "sending"
        order = await flow.until_order("filled")
        assert (order.filled_mwh, order.average_price_eur_mwh) == (1.0, 50.0)
        await flow.until_left("exchange.out", 2)
        assert records(flow) == ["accepted", "filled"]


@pytest.mark.anyio
async def test_a_fill_is_not_lost_where_the_answer_is() -> None:
    async with venue("good") as (at, flow):
        await streams(flow, at)
        at.exchange.faults.arm("answer-lost", times=1)
        await flow.wish()
        await flow.until_order("filled")
        await flow.until_left("exchange.out", 2)
        assert records(flow) == ["accepted", "filled"]
        assert records(flow, "filled_mwh") == [0.0, 1.0]


# ---- what it counts for -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(("mark", "fits"), [(50.0, False), (80.0, True)])
async def test_the_position_counts_what_was_filled_and_what_is_open(mark: float, fits: bool) -> None:
    """3 MWh, of which 2 are traded before the rest expires or none; 4 are allowed on a day."""
    soon = LIMITED.replace("gate_closure: 5min", "gate_closure: 30s")
    async with venue("good", text=soon, start="2026-03-02T12:14:01Z", speed=40) as (at, flow):
        await streams(flow, at)
        at.price = mark
        await flow.wish(price=50)
        await flow.until_order("accepted", "partly-filled")
        at.price = 80.0
        await flow.engine.clock.sleep_until(parse_instant("2026-03-02T12:14:30Z"))
        await flow.wish(price=50)  # while the first is open: with it, it would be 6
        (blocked,) = await flow.until_left("guard.blocked")
        assert (blocked["reason"], blocked["delivery_start"]) == ("position", "2026-03-02T12:30:00.000Z")
        assert "would be 6 MWh" in blocked["text"]
        await flow.until(lambda: flow.order.open_mwh == 0)
        await flow.wish(price=50)
        guard = flow.engine.runtime.workers["site/guard"]
        await flow.until(lambda: len(at.accepted) == 2 if fits else guard.counters.dropped.get("repeat"))
        assert len(at.accepted) == 1 + fits


# ---- a stream that lies -----------------------------------------------------------------------------------


class Street:
    """An exchange that a test speaks for: it takes each order, knows nothing when it is asked, and sends what it is
    told to whoever listens."""

    url = ""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.listeners: list[ServerConnection] = []
        self.hung_up = 0

    async def http(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.startswith("/ws/"):
            return None
        return Response(200, "OK", Headers({"content-type": "application/json", "content-length": "2"}), b"[]")

    async def listen(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        if connection.request.path.startswith("/ws/orders"):
            self.listeners.append(connection)
        await connection.wait_closed()

    def frame(self, key: str = KEY, age_s: float = 0.0, **about: JSON) -> str:
        data = {
            "order_id": "x1", "side": "BUY", "quantity_mwh": 1.0, "price": 50.0, "market": "AT", "status": "FILLED",
            "timestamp": iso(self._clock()), "filled_mwh": 1.0, "average_price": 50.0,
        } | about  # fmt: skip
        return signed(key.encode(), iso(self._clock() - int(age_s * SECOND)), data)

    async def say(self, frame: str) -> None:
        for one in self.listeners:
            await one.send(frame)


@asynccontextmanager
async def street(speed: float = 60) -> AsyncIterator[tuple[Street, Trading]]:
    """With one accepted order, which the exchange calls x1."""
    clock = ScaledClock(parse_instant(START), speed)
    one = Street(clock.now)
    async with serve_frames(one.listen, "127.0.0.1", 0, process_request=one.http) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with trading(f"http://127.0.0.1:{port}", speed=speed) as flow:
            await flow.journal.decide(lambda book: book.add(an_order(), {}))
            await flow.decides("sending")
            await flow.decides("accepted", exchange_id="x1")
            await flow.until(lambda: one.listeners)
            yield one, flow


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"key": "another-key"}, "a frame's signature is wrong"),
        ({"age_s": 301}, "s behind ours: old, or a wrong clock"),
        ({"age_s": -301}, "s ahead of ours: old, or a wrong clock"),
    ],
)
async def test_a_frame_that_is_not_believed_records_nothing(made: dict[str, Any], why: str) -> None:
    async with street() as (exchange, flow):
        await exchange.say(exchange.frame(**made))
        await flow.until(lambda: any(code == "distrusted" for code, _ in flow.errors()))
        ((_, reason),) = [one for one in flow.errors() if one[0] == "distrusted"]
        assert reason.startswith("/ws/orders: ")
        assert why in reason
        assert KEY not in reason
        assert (flow.order.state, flow.order.filled_mwh, records(flow)) == ("accepted", 0.0, [])
        await exchange.say(exchange.frame())  # the stream itself goes on
        assert (await flow.until_order("filled")).filled_mwh == 1.0


@pytest.mark.anyio
async def test_a_frame_that_comes_again_counts_once() -> None:
    async with street() as (exchange, flow):
        frame = exchange.frame(status="PARTIALLY_FILLED", filled_mwh=0.25)
        await exchange.say(frame)
        await flow.until(lambda: flow.order.filled_mwh == 0.25)
        await exchange.say(frame)
        await flow.until(lambda: any(code == "distrusted" for code, _ in flow.errors()))
        assert "a frame came a second time" in dict(flow.errors())["distrusted"]
        assert (flow.order.filled_mwh, flow.order.open_mwh) == (0.25, 0.75)
        assert records(flow) == ["partly-filled"]


@pytest.mark.anyio
async def test_the_stream_is_opened_again_when_it_ends() -> None:
    async with street() as (exchange, flow):
        await exchange.listeners.pop().close()
        await flow.until(lambda: exchange.listeners, "a new stream")
        await exchange.say(exchange.frame())
        await flow.until_order("filled")


@pytest.mark.anyio
async def test_more_than_was_ordered_is_an_error_and_kept_as_it_is() -> None:
    async with street() as (exchange, flow):
        await exchange.say(exchange.frame(filled_mwh=1.5))
        order = await flow.until_order("filled")
        assert (order.filled_mwh, order.open_mwh) == (1.5, 0.0)
        assert f"{ID}: the exchange says 1.5 MWh were traded, ordered were 1" in dict(flow.errors())["overfilled"]


@pytest.mark.anyio
async def test_words_about_orders_of_others_change_nothing() -> None:
    async with street() as (exchange, flow):
        await exchange.say(exchange.frame(order_id="x2"))
        await exchange.say(exchange.frame(order_id="x1", filled_mwh=0.5, status="PARTIALLY_FILLED"))
        await flow.until_order("partly-filled")
        assert flow.order.filled_mwh == 0.5
        assert len(flow.journal.orders()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("state", "filled", "told"), [("rejected", 0.0, 1), ("unfilled", 0.5, 1), ("unfilled", 0.0, 0)]
)
async def test_what_ended_here_and_lives_at_the_exchange_is_an_error_once(state: Any, filled: float, told: int) -> None:
    async with street() as (exchange, flow):
        other = an_order(id="AT-20260302T1200Z-BUY", delivery_start=parse_instant(START))
        await flow.journal.decide(lambda book: book.add(other, {}))
        for step in ("sending", "unknown", state):
            await flow.journal.advance(other.id, step, flow.engine.clock.now())
        about: dict[str, Any] = {
            "order_id": "x9",
            "client_order_id": other.id,
            "filled_mwh": filled,
            "status": "CANCELLED",
        }
        for _ in range(2):
            await exchange.say(exchange.frame(**about))
        await exchange.say(exchange.frame())
        await flow.until(lambda: flow.journal.find(ID).state == "filled")  # type: ignore[union-attr]  # it is there
        found = [reason for code, reason in flow.errors() if code == "contradiction"]
        assert len(found) == told
        assert all(f"{other.id} is {state} here, and the exchange tells of it: x9 CANCELLED" in one for one in found)
