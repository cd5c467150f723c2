"""Orders of which nobody knows whether the exchange has them: looked for until that is certain, never sent again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flowrunner.exchange.simulator import AcceptedOrder, Character
from flowrunner.orders import Order
from flowrunner.store import Store
from flowrunner.testing import Rig
from flowrunner.units import SECOND, iso
from tests.exchange.simulated import Served, order, served
from tests.orders.guarded import play, wish
from tests.orders.venue import FLOW, Trading, trading, venue
from tests.peers.raw_http import Asked, RawServer, serve, text

ID = "AT-20260302T1215Z-BUY"
SHORT = FLOW.replace("gate_closure: 5min", "gate_closure: 5s")
SOON = "2026-03-02T12:14:10Z"
"""With SHORT, less than a minute before the delivery of the order that is made then."""
GONE = "the exchange does not have it, and its delivery has begun: it cannot come any more"


def ours(at: Served) -> list[AcceptedOrder]:
    return [one for one in at.accepted if one.client_order_id is not None]


def like_ours(at: Served, **changes: Any) -> str:
    """Somebody else orders: what the flow orders too, but for ``changes``; its id at the exchange."""
    answer: Any = at.exchange.place(order(**({"limit_price_eur_mwh": 50.0} | changes)))
    assert answer.status == 200
    return str(answer.body["order_id"])


def states(flow: Trading) -> list[str]:
    return [state for state, _ in flow.story()]


def asked_for_orders(server: RawServer) -> list[Asked]:
    return [one for one in server.asked if one.line.startswith("GET /orders ")]


async def looks(at: Served, flow: Trading, count: int = 3) -> None:
    """Until the list was asked for so many times more."""
    armed = at.exchange.faults.arm("delay", on="order-list", times=count, seconds=0)
    await flow.until(lambda: armed.times == 0, f"{count} looks")


async def lose_an_order(at: Served, store: Store) -> Order:
    """One that the exchange took, of whose answer nothing came, and that is still unknown when its program ends."""
    at.exchange.faults.arm("answer-lost", times=1)
    at.exchange.faults.arm("error-before", on="order-list")
    async with trading(at, store=store) as flow:
        await flow.wish()
        order = await flow.until_order("unknown")
    at.exchange.faults.clear()
    return order


# ---- it is there ------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(("character", "how"), [("plain", "by likeness, not by"), ("good", "by its client order id")])
@pytest.mark.parametrize("fault", ["answer-lost", "error-after", "delay"])
async def test_an_order_whose_answer_was_lost_is_found(fault: str, character: Character, how: str) -> None:
    async with venue(character, patience="400ms") as (at, flow):
        at.exchange.faults.arm(fault, times=1, seconds=3600)
        await flow.wish()
        found = await flow.until_order("accepted", "filled")
        (taken,) = ours(at)
        assert found.exchange_id == taken.order_id
        assert states(flow)[:4] == ["intent", "sending", "unknown", "accepted"]
        assert how in flow.story()[3][1]
        assert [code for code, _ in flow.errors()] == ["unknown"]
        await flow.until_left("exchange.out")
        record = flow.left["exchange.out"][0]
        assert (record["order"], record["state"], record["exchange_id"]) == (ID, "accepted", taken.order_id)


@pytest.mark.anyio
async def test_when_it_is_found_its_market_is_open_again_by_itself() -> None:
    async with venue(start="2026-03-02T12:09:52Z", speed=10) as (at, flow):
        at.exchange.faults.arm("answer-lost", times=1)
        await flow.wish()
        await flow.until_order("accepted")
        await flow.until(lambda: flow.engine.clock.now() % (600 * SECOND) < 300 * SECOND)
        await flow.wish()
        await flow.until(lambda: len(ours(at)) == 2)
        await flow.until(lambda: flow.order.state == "accepted")
        assert flow.order.id == "AT-20260302T1230Z-BUY"
        assert flow.left.get("guard.blocked") is None


@pytest.mark.anyio
async def test_another_order_of_ours_that_looks_like_it_is_not_it() -> None:
    async with venue(start="2026-03-02T12:09:57Z", speed=3) as (at, flow):
        await flow.wish()
        await flow.until_order("accepted")
        await flow.until(lambda: flow.engine.clock.now() % (600 * SECOND) < 300 * SECOND)
        at.exchange.faults.arm("answer-lost", times=1)
        await flow.wish()
        await flow.until(lambda: states(flow) == ["intent", "sending", "unknown", "accepted"])
        first, second = ours(at)
        assert second.accepted_at - first.accepted_at < 5 * SECOND  # else the time alone would tell them apart
        assert flow.order.exchange_id == second.order_id


@pytest.mark.anyio
async def test_the_exchange_is_away_during_the_search_and_comes_back() -> None:
    async with venue(speed=20) as (at, flow):
        faults = at.exchange.faults
        faults.arm("answer-lost", times=1)
        faults.arm("error-before", on="order-list")
        await flow.wish()
        await flow.until_order("unknown")
        await at.server.stop()
        faults.clear()
        exchange = flow.engine.runtime.workers["site/exchange"]
        await flow.until(lambda: exchange.counters.connected is False)
        assert flow.order.state == "unknown"
        await at.server.start()
        found = await flow.until_order("accepted")
        assert found.exchange_id == ours(at)[0].order_id
        await flow.until(lambda: exchange.counters.connected)
        assert len(ours(at)) == 1


@pytest.mark.anyio
async def test_an_exchange_that_fails_once_is_asked_again_as_retry_says_not_at_the_next_look() -> None:
    text = FLOW.replace('timeout: "${TIMEOUT}"', 'timeout: "${TIMEOUT}", retry: {first: 10ms, max: 50ms}')
    async with served() as at:
        at.exchange.faults.arm("error-before", on="order-list", times=3)
        async with trading(at, text=text) as flow:
            exchange = flow.engine.runtime.workers["site/exchange"]
            await flow.until(lambda: exchange.counters.connected is False)
            await flow.until(lambda: exchange.counters.connected)  # real seconds: a look every 30 s would be too late
            assert flow.errors() == [("not-connected", f"{at.server.url}: 500: Internal Server Error")]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["site", "renamed"])
async def test_the_search_goes_on_after_a_restart_whatever_the_flow_is_called(name: str) -> None:
    store = Store.open(None, inline=True)
    async with served() as at:
        await lose_an_order(at, store)
        again = FLOW.replace("flow: site", f"flow: {name}")
        async with trading(at, text=again, store=store, start="2026-03-02T12:20:00Z") as flow:
            found = await flow.until_order("accepted")
            assert found.exchange_id == ours(at)[0].order_id
            await flow.until_left("exchange.out")
            await flow.until(lambda: [code for code, _ in flow.errors()] == ["unknown"])
        assert len(ours(at)) == 1
    await store.close()


# ---- nothing follows --------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_was_sent_to_another_exchange_is_not_looked_for_here() -> None:
    """It is not on this one's list, and would be taken for one that never arrived."""
    store = Store.open(None, inline=True)
    async with served() as there, served() as here:
        assert (await lose_an_order(there, store)).venue == there.server.url
        async with trading(here, store=store, start="2026-03-02T12:20:00Z", speed=60) as flow:
            await flow.until(lambda: "unclear" in [code for code, _ in flow.errors()])
            (text,) = [reason for code, reason in flow.errors() if code == "unclear"]
            assert f"was sent to {there.server.url}, and orders go to {here.server.url} now" in text
            await flow.until(lambda: flow.engine.clock.now() > flow.order.delivery_start + 60 * SECOND)
            assert flow.order.state == "unknown"
    await store.close()


@pytest.mark.anyio
async def test_two_that_look_like_it_say_nothing_and_that_is_said_once() -> None:
    async with venue(speed=60, patience="10min") as (at, flow):  # so long ours may have been on its way
        at.exchange.faults.arm("answer-lost", times=1)
        later = flow.engine.clock.now() + 300 * SECOND  # however long it takes until ours is sent
        at.exchange.clock = lambda: later
        foreign = like_ours(at)
        at.exchange.clock = flow.engine.clock.now
        await flow.wish()
        await flow.until_order("unknown")
        await looks(at, flow)
        (mine,) = ours(at)
        assert flow.order.state == "unknown"
        unclear = [reason for code, reason in flow.errors() if code == "unclear"]
        assert len(unclear) == 1
        assert all(name in unclear[0] for name in (ID, "2 orders are like it", foreign, mine.order_id))
        await flow.wish(soc=80)
        assert (await flow.until_left("guard.blocked"))[0]["reason"] == "market-blocked"
        assert len(ours(at)) == 1


@pytest.mark.anyio
async def test_where_the_list_does_not_reach_back_nothing_is_concluded_until_a_person_decides() -> None:
    async with venue(text=SHORT, start=SOON, speed=60) as (at, flow):
        at.exchange.faults.arm("reset", times=1)
        at.exchange.faults.arm("error-before", on="order-list")
        await flow.wish()
        await flow.until_order("unknown")
        for number in range(100):
            like_ours(at, quantity_mwh=3.0, limit_price_eur_mwh=float(number))
        at.exchange.faults.clear()
        await flow.engine.clock.sleep_until(flow.order.delivery_start + 6 * SECOND)
        await looks(at, flow, 1)
        assert flow.order.state == "unknown"
        unclear = [reason for code, reason in flow.errors() if code == "unclear"]
        assert "the list does not reach back to" in unclear[-1]
        assert len([one for one in unclear if "does not reach" in one]) == 1
        await flow.wish()
        assert (await flow.until_left("guard.blocked"))[0]["reason"] == "market-blocked"

        await flow.decides("rejected", reason="the exchange's desk says so")
        await flow.wish()
        await flow.until(lambda: flow.order.id != ID)
        await flow.until_order("accepted")
        assert [one.client_order_id for one in ours(at)] == [flow.order.id]


# ---- it is not there --------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(("fault", "character"), [("reset", "plain"), ("error-before", "good")])
async def test_what_the_exchange_has_not_got_stays_unknown_until_it_cannot_come_any_more(
    fault: str, character: Character
) -> None:
    async with venue(character, text=SHORT, start=SOON, speed=30) as (at, flow):
        at.exchange.faults.arm(fault, times=1)
        await flow.wish()
        await flow.until_order("unknown")
        await looks(at, flow, 1)
        await flow.wish()
        await flow.wish(soc=80)
        assert (await flow.until_left("guard.blocked"))[0]["reason"] == "market-blocked"
        gone = await flow.until_order("rejected")
        assert gone.reason == GONE
        assert gone.open_mwh == 0
        assert gone.updated_at >= gone.delivery_start + 5 * SECOND
        assert states(flow) == ["intent", "sending", "unknown", "rejected"]
        assert [one["state"] for one in await flow.until_left("exchange.out")] == ["rejected"]
        assert ours(at) == []
        await flow.wish()
        await flow.until_order("accepted", "filled")
        assert [one.client_order_id for one in ours(at)] == ["AT-20260302T1230Z-BUY"]


@pytest.mark.anyio
async def test_a_full_list_that_reaches_back_all_the_time_is_enough() -> None:
    async with venue(text=SHORT, start=SOON, speed=60) as (at, flow):
        like_ours(at, quantity_mwh=3.0)  # the one that shows how far the list reaches
        await flow.engine.clock.sleep_until(flow.engine.clock.now() + 6 * SECOND)
        at.exchange.faults.arm("reset", times=1)
        await flow.wish()
        await flow.until_order("unknown")
        await looks(at, flow, 1)
        for _ in range(99):
            like_ours(at, quantity_mwh=3.0)
        gone = await flow.until_order("rejected")
        assert gone.reason == GONE
        assert ours(at) == []


# ---- other modes, a person --------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_in_paper_mode_nobody_is_asked_and_the_market_stays_blocked() -> None:
    store = Store.open(None, inline=True)
    async with served() as at:
        await lose_an_order(at, store)
        asked = at.exchange.faults.arm("error-before", on="any", times=1)
        paper = FLOW.partition("  mirror:")[0].replace("mode: live", "mode: paper")
        async with trading(at, text=paper, store=store, start="2026-03-02T12:20:00Z", speed=600) as flow:
            for _ in range(5):
                await flow.wish()
                await flow.engine.clock.sleep_until(flow.engine.clock.now() + 60 * SECOND)
            blocked = await flow.until_left("guard.blocked")
            assert {one["reason"] for one in blocked} == {"market-blocked"}
            assert ID in blocked[0]["text"]
            assert flow.order.state == "unknown"
        assert asked.times == 1
        assert len(ours(at)) == 1
    await store.close()


def test_paper_mode_wakes_for_nothing() -> None:
    """A year of it: looking every 30 s would be a million times."""

    async def story(rig: Rig) -> int:
        before = rig.worker("exchange").counters.received
        await wish(rig)
        await rig.advance("365d")
        return rig.worker("exchange").counters.received - before

    assert play("", story, patience_s=3) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("state", ["accepted", "rejected", "filled", "unfilled"])
async def test_a_person_who_decides_while_it_is_looked_for_is_right(state: Any) -> None:
    looking, decided = asyncio.Event(), asyncio.Event()
    rows: list[dict[str, Any]] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.line.startswith("POST"):
            body = json.loads(asked.body)
            row = {"order_id": "x1", "price": body["limit_price_eur_mwh"], "status": "ACCEPTED"}
            at = iso(flow.engine.clock.now())
            rows.append({name: body[name] for name in ("market", "side", "quantity_mwh")} | row | {"timestamp": at})
            writer.close()
            return
        if rows and "/orders " in asked.line:
            looking.set()
            await decided.wait()
        writer.write(text(json.dumps(rows)))

    async with serve(reply) as server, trading(server.url, speed=60) as flow:
        await flow.wish()
        await flow.until_order("unknown")
        await asyncio.wait_for(looking.wait(), 10)
        await flow.decides(state, reason="a person")
        before = len(asked_for_orders(server))
        decided.set()
        await flow.until(lambda: len(asked_for_orders(server)) > before, "the next look")
        exchange = flow.engine.runtime.workers["site/exchange"]
        assert (flow.order.state, flow.order.reason) == (state, "a person")
        assert (exchange.counters.restarts, exchange.counters.state) == (0, "running")
        assert exchange.counters.errors.keys() <= {"unknown", "not-connected"}
