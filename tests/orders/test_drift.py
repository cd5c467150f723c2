"""Clocks: how far the exchange's is from ours, by the Date of its answers: told, and further off no order is made."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from flowrunner.units import SECOND, parse_instant
from tests.exchange.simulated import Served, served
from tests.orders.venue import FLOW, START, Trading, trading, venue
from tests.peers.raw_http import Asked, serve, text

pytestmark = pytest.mark.anyio


def drifts(flow: Trading) -> list[str]:
    return [reason for code, reason in flow.errors() if code == "clock-drift"]


async def looks(at: Served, flow: Trading, count: int = 3) -> None:
    """Until the exchange was greeted so many times more."""
    armed = at.exchange.faults.arm("delay", on="order-list", times=count, seconds=0)
    await flow.until(lambda: armed.times == 0, f"{count} looks")


@pytest.mark.parametrize(("offset_s", "side"), [(4.9, "ahead of"), (-4.9, "behind")])
async def test_a_little_off_is_told_once_and_orders_go_on(offset_s: float, side: str) -> None:
    async with served() as at:
        at.exchange.clock_offset_ns = int(offset_s * SECOND)
        async with trading(at, speed=30) as flow:
            await flow.wish()
            await flow.until_order("accepted")
            await looks(at, flow, 1)
            (told,) = drifts(flow)
            assert told.startswith("the exchange's clock is ")
            assert told.endswith(f" s {side} ours")


async def test_within_the_limit_nothing_is_told() -> None:
    async with venue(speed=60) as (at, flow):
        at.exchange.clock_offset_ns = SECOND
        await looks(at, flow, 2)
        assert flow.errors() == []


@pytest.mark.parametrize("offset_s", [10, -10])
async def test_far_off_no_order_is_made_until_it_is_right_again(offset_s: int) -> None:
    async with venue(speed=60) as (at, flow):
        await looks(at, flow, 1)
        at.exchange.clock_offset_ns = offset_s * SECOND
        await flow.until(lambda: drifts(flow))
        for _ in range(3):
            await flow.wish()
        (blocked,) = await flow.until_left("guard.blocked")
        assert blocked["reason"] == "clock-drift"
        assert "; no orders above 5s. Set the clock of this machine right" in blocked["text"]
        await looks(at, flow, 1)
        assert len(drifts(flow)) == 1
        assert (flow.journal.orders(), at.accepted) == ([], [])

        at.exchange.clock_offset_ns = 0
        await flow.until(lambda: flow.engine.trading.refusal("AT") is None)
        await flow.wish()
        await flow.until_order("accepted")
        assert len(at.accepted) == 1


async def test_the_very_first_order_is_not_sent_with_a_clock_that_is_far_off() -> None:
    """What the guard decides before anything was heard of the exchange."""
    async with served() as at:
        at.exchange.clock_offset_ns = 10 * SECOND
        at.exchange.faults.arm("error-before", on="order-list", times=1)  # the first greeting says nothing
        async with trading(at) as flow:
            await flow.wish()
            await flow.until(lambda: flow.order.state != "intent" if flow.journal.orders() else flow.reasons())
            await flow.until(lambda: drifts(flow))
            assert at.accepted == []


async def test_what_waits_is_not_sent_when_the_clocks_have_drifted_apart_meanwhile() -> None:
    async with venue(speed=60) as (at, flow):
        at.exchange.faults.arm("throttled")
        await flow.wish()
        await flow.until(lambda: ("sending", "") in flow.story() and flow.order.state == "intent")
        at.exchange.clock_offset_ns = 10 * SECOND
        await flow.until(lambda: drifts(flow))
        at.exchange.faults.clear("throttled")
        order = await flow.until_order("expired")
        assert order.reason.startswith("the exchange's clock is ")
        assert at.accepted == []


async def test_the_limits_are_options() -> None:
    strict = FLOW.replace('timeout: "${TIMEOUT}"', 'timeout: "${TIMEOUT}", clock_drift: {alarm: 1h, block: 1h}')
    async with served() as at:
        at.exchange.clock_offset_ns = 600 * SECOND
        async with trading(at, text=strict) as flow:
            await flow.wish()
            await flow.until_order("accepted")
            assert drifts(flow) == []


async def test_a_restarted_flow_holds_nothing_of_the_former_one() -> None:
    async with served() as at:
        at.exchange.clock_offset_ns = 10 * SECOND
        async with trading(at) as flow:
            await flow.until(lambda: flow.engine.trading.refusal("AT") is not None)
            trades = flow.engine.trading
        assert trades.refusal("AT") is None


@pytest.mark.parametrize("date", ["", "date: yesterday\r\n", "date: Mon, 99 Foo 2026 12:00:00 GMT\r\n"])
async def test_without_a_date_that_can_be_read_orders_go_on(date: str) -> None:
    """Nothing is known then; the rest of the checks hold."""
    accepted = text('{"order_id": "7", "status": "ACCEPTED"}', more=date)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted if asked.line.startswith("POST") else text("[]", more=date))

    async with serve(reply) as server, trading(server.url) as flow:
        await flow.wish()
        await flow.until_order("accepted")
        assert drifts(flow) == []


async def test_an_answer_from_a_cache_says_nothing_of_the_clock() -> None:
    old = formatdate(parse_instant(START) // SECOND - 3600, usegmt=True)

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = '{"order_id": "7", "status": "ACCEPTED"}' if asked.line.startswith("POST") else "[]"
        writer.write(text(body, more=f"date: {old}\r\nage: 3600\r\n"))

    async with serve(reply) as server, trading(server.url) as flow:
        await flow.wish()
        await flow.until_order("accepted")
        assert drifts(flow) == []
