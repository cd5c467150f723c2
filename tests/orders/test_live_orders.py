"""Orders and telemetry on real sockets: what each answer makes of an order, and that none is ever sent twice."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from flowrunner.exchange import Phoenyra, Ticket
from flowrunner.httpclient import HttpClient
from flowrunner.store import Store
from flowrunner.units import SECOND
from tests.exchange.simulated import KEY, served
from tests.orders.venue import FLOW, trading, venue
from tests.peers.mosquitto import free_port
from tests.peers.raw_http import Asked, RawServer, Reply, always, serve, text

pytestmark = pytest.mark.anyio
ID = "AT-20260302T1215Z-BUY"


def posted(server: RawServer, path: str) -> list[Asked]:
    return [one for one in server.asked if one.line.startswith("POST ") and f"{path} " in one.line]


def to_telemetry(*answers: bytes) -> Reply:
    """The answers to telemetry alone; the exchange is also greeted, and asked for its streams."""
    tell, nothing = always(*answers), always(text("[]"))

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (tell if "/telemetry/bess " in asked.line else nothing)(asked, writer)

    return reply


# ---- a clear answer -----------------------------------------------------------------------------------------------


async def test_accepted() -> None:
    async with venue() as (at, flow):
        for _ in range(5):
            await flow.wish()
        await flow.until_left("exchange.out")
        (taken,) = at.accepted
        assert flow.order.state == "accepted"
        assert (flow.order.mode, flow.order.exchange_id, flow.order.reason) == ("live", taken.order_id, "")
        assert flow.story() == [("intent", ""), ("sending", ""), ("accepted", "")]
        (left,) = flow.left["exchange.out"]
        assert (left["order"], left["state"], left["exchange_id"]) == (ID, "accepted", taken.order_id)
        found = flow.journal.story(ID)
        assert found is not None
        assert found[1][-1]["detail"]["status"] == "ACCEPTED"
        assert found[1][-1]["detail"]["throttle_remaining"] == 119
        assert flow.errors() == []


async def test_s2_what_the_gate_refuses_is_rejected_word_for_word_and_not_repeated() -> None:
    async with venue() as (at, flow):
        await at.report(soc=10.0)
        for _ in range(5):
            await flow.wish(soc=10, price=30)
        ((code, reason),) = [(one["code"], one["reason"]) for one in await flow.until_left("exchange.error")]
        assert (code, reason) == ("rejected", f"{ID}: 400: BUY disabled at SoC 10.0% (<15%)")
        await flow.until(lambda: flow.engine.runtime.workers["site/guard"].counters.dropped.get("repeat") == 4)
        assert flow.story() == [
            ("intent", ""), ("sending", ""), ("rejected", "400: BUY disabled at SoC 10.0% (<15%)"),
        ]  # fmt: skip
        assert (at.accepted, flow.left.get("exchange.out")) == ([], None)


async def test_a_422_is_rejected_with_each_of_its_details() -> None:
    body = {"detail": [{"loc": ["body", "market"], "msg": "unknown market"}, {"loc": ["body", "side"], "msg": "no"}]}
    async with serve(always(text(json.dumps(body), "422 Unprocessable Entity"))) as server, trading(server.url) as flow:
        await flow.wish()
        assert (await flow.until_order("rejected")).reason == "422: body.market: unknown market; body.side: no"
        assert len(posted(server, "/orders")) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422])
async def test_what_a_server_says_that_it_did_not_take(status: int) -> None:
    page = text("no <b>such</b> thing", f"{status} No", "text/html")
    async with serve(always(page)) as server, trading(server.url) as flow:
        await flow.wish()
        assert (await flow.until_order("rejected", "unknown")).state == "rejected"
        assert flow.order.reason == f"{status}: no <b>such</b> thing"


# ---- not sent: tried again while the gate is open -----------------------------------------------------------------


async def test_a_throttle_is_waited_for_until_the_next_minute() -> None:
    async with venue(speed=60, start="2026-03-02T12:00:30Z") as (at, flow):
        at.exchange.faults.arm("throttled", times=2)
        await flow.wish()
        await flow.until_order("accepted")
        assert len(at.accepted) == 1
        assert [state for state, _ in flow.story()] == [
            "intent", "sending", "intent", "sending", "intent", "sending", "accepted",
        ]  # fmt: skip
        found = flow.journal.story(ID)
        assert found is not None
        minutes = [one["at"] // (60 * 10**9) % 60 for one in found[1] if one["state"] == "sending"]
        assert minutes == [0, 1, 2]
        assert found[1][2]["reason"] == "429: Throttle: on demand"


async def test_a_throttle_never_leads_beyond_the_gate() -> None:
    async with venue(speed=60, start="2026-03-02T12:08:30Z") as (at, flow):
        at.exchange.faults.arm("throttled")
        await flow.wish()
        order = await flow.until_order("expired")
        at.exchange.faults.clear()
        assert order.reason == "its gate has closed; the last attempt: 429: Throttle: on demand"
        assert at.accepted == []
        found = flow.journal.story(ID)
        assert found is not None
        gate = order.delivery_start - 300 * 10**9
        assert all(one["at"] < gate for one in found[1] if one["state"] == "sending")
        assert flow.errors() == [("expired", f"{ID}: {order.reason}")]


async def test_nobody_listens_until_the_gate_closes() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with trading(url, speed=60, start="2026-03-02T12:09:30Z") as flow:
        await flow.wish()
        order = await flow.until_order("expired")
        assert "refused" in order.reason
        assert order.reason.startswith("its gate has closed; the last attempt: ")
        states = [state for state, _ in flow.story()]
        assert states.count("sending") >= 2
        assert "unknown" not in states


async def test_somebody_listens_again() -> None:
    async with served() as at:
        await at.server.stop()
        async with trading(at, speed=60) as flow:
            await flow.wish()
            await flow.until(lambda: flow.story().count(("sending", "")) >= 1)
            await at.server.start()
            await flow.until_order("accepted")
            assert len(at.accepted) == 1


# ---- nobody knows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "said", "stored"),
    [
        ("answer-lost", "", True),
        ("reset", "", False),
        ("error-after", "500: Internal Server Error", True),
        ("error-before", "500: Internal Server Error", False),
    ],
)
async def test_no_clear_answer_blocks_the_market(fault: str, said: str, stored: bool) -> None:
    async with venue() as (at, flow):
        at.exchange.faults.arm(fault, times=1)
        at.exchange.faults.arm("error-before", on="order-list")  # nor can it be looked for
        await flow.wish()
        order = await flow.until_order("unknown")
        assert order.reason
        assert said in order.reason
        (error,) = [one for one in flow.errors() if one[0] == "unknown"]
        assert error == ("unknown", f"{ID}: {order.reason}")
        await flow.wish()
        await flow.wish(soc=80)
        (blocked,) = await flow.until_left("guard.blocked")
        assert (blocked["side"], blocked["reason"]) == ("SELL", "market-blocked")
        assert ID in blocked["text"]
        assert len(at.accepted) == stored
        assert flow.order.state == "unknown"


async def test_no_answer_in_time() -> None:
    async with venue(patience="100ms") as (at, flow):
        at.exchange.faults.arm("delay", times=1, seconds=3600)
        await flow.wish()
        await flow.until_left("exchange.error")
        ((code, reason),) = flow.errors()
        assert code == "unknown"
        assert "no answer within 0.1 s" in reason
        assert len(at.accepted) == 1


@pytest.mark.parametrize(
    "answer",
    [
        text("[]"), text("not json"), text("{}"), text(""), text('{"order_id": "1", "status": "REJECTED"}'),
        text('{"status": "ACCEPTED"}'), text('{"status": "ACCEPTED", "order_id": ""}'),
        text('{"status": "ACCEPTED", "order_id": true}'), text("", "204 No Content"), text("", "302 Found"),
        text("{}", "409 Conflict"), b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)  # fmt: skip
async def test_an_answer_that_is_not_understood_is_no_answer(answer: bytes) -> None:
    async with serve(always(answer)) as server, trading(server.url) as flow:
        await flow.wish()
        assert (await flow.until_order("unknown", "accepted", "rejected")).state == "unknown"
        assert len(posted(server, "/orders")) == 1


async def test_two_that_send_what_one_guard_decided_send_it_once() -> None:
    again = FLOW.replace("  mirror:", '  second: {type: exchange-out, from: guard, send: orders, mode: live, '
                         'url: "${URL}", api_key: "${KEY}"}\n  mirror:')  # fmt: skip
    async with venue(text=again) as (at, flow):
        for soc in (20, 20):
            await flow.wish(soc=soc)
        await flow.until_order("accepted")
        await flow.wish(soc=80)
        workers = [flow.engine.runtime.workers[f"site/{name}"].counters for name in ("exchange", "second")]
        await flow.until(lambda: sum(sum(one.errors.values()) for one in workers) == 1)
        assert len(at.accepted) == 1
        assert flow.order.state == "accepted"


# ---- a restart ----------------------------------------------------------------------------------------------------


async def test_what_was_being_sent_when_the_program_ended_is_unknown() -> None:
    store = Store.open(None, inline=True)
    async with served() as at:
        at.exchange.faults.arm("delay", times=1, seconds=3600)
        async with trading(at, store=store, patience="1h") as flow:
            await flow.wish()
            await flow.until(lambda: at.accepted)
        assert flow.order.state in ("sending", "unknown")
        at.exchange.faults.arm("error-before", on="order-list")
        async with trading(at, store=store, start="2026-03-02T12:31:00Z") as flow:
            order = await flow.until_order("unknown")
            assert order.reason == "the program ended while it was sent; whether the exchange has it is not known"
            await flow.until(lambda: ("unknown", f"{ID}: {order.reason}") in flow.errors())
            await flow.wish()
            assert (await flow.until_left("guard.blocked"))[0]["reason"] == "market-blocked"
        assert len(at.accepted) == 1
    await store.close()


async def test_what_was_decided_and_not_sent_when_the_program_ended_is_expired() -> None:
    store = Store.open(None, inline=True)
    url = f"http://127.0.0.1:{free_port()}"
    async with trading(url, store=store) as flow:
        await flow.wish()
        await flow.until(lambda: ("sending", "") in flow.story() and flow.order.state == "intent")
    async with venue(store=store) as (at, flow):
        assert (await flow.until_order("expired")).reason == "the program ended before it was sent"
        await flow.wish()
        await flow.until(lambda: flow.engine.runtime.workers["site/guard"].counters.dropped.get("repeat") == 1)
        assert at.accepted == []
    await store.close()


# ---- what is sent -------------------------------------------------------------------------------------------------


async def test_the_request_is_as_the_interface_says() -> None:
    accepted = text(
        '{"order_id": 7, "status": "ACCEPTED", "timestamp": "2026-03-02T12:00:00Z", "throttle_remaining": 1}'
    )
    async with serve(always(accepted)) as server, trading(f"{server.url}/api/") as flow:
        await flow.wish(price=-45.5)
        await flow.until_order("accepted")
        (asked,) = posted(server, "/orders")
        assert asked.line == "POST /api/orders HTTP/1.1"
        assert (asked.header("x-api-key"), asked.header("content-type")) == (KEY, "application/json")
        assert json.loads(asked.body) == {
            "client_order_id": ID, "market": "AT", "side": "BUY", "quantity_mwh": 1.0, "limit_price_eur_mwh": -45.5,
            "order_type": "LIMIT", "time_in_force": "GFD", "delivery_start": "2026-03-02T12:15:00.000Z",
            "delivery_end": "2026-03-02T12:30:00.000Z",
        }  # fmt: skip
        assert flow.order.exchange_id == "7"


async def test_an_order_without_a_limit_sends_none() -> None:
    """A guard of live orders has a price range, which holds none of them back but those without a limit."""
    accepted = text('{"order_id": "7", "status": "ACCEPTED"}')
    order = Ticket(
        client_order_id=ID, market="AT", delivery_start=0, delivery_end=900 * SECOND, side="BUY", quantity_mwh=1.0,
        limit_price_eur_mwh=None, order_type="MARKET", time_in_force="IOC",
    )  # fmt: skip
    async with serve(always(accepted)) as server:
        client = HttpClient(server.url, timeout_s=5)
        outcome = await Phoenyra(client, server.url, KEY, 5, lambda: 0).place(order, lambda: "")
        await client.close()
        assert (outcome.meaning, outcome.exchange_id) == ("accepted", "7")
        sent = json.loads(posted(server, "/orders")[0].body)
        assert (sent["order_type"], sent["time_in_force"]) == ("MARKET", "IOC")
        assert "limit_price_eur_mwh" not in sent


async def test_the_key_is_in_no_log_error_or_journal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = text(json.dumps({"detail": f"the key {KEY} is wrong"}), "401 Unauthorized")
    async with serve(always(echo)) as server, trading(server.url) as flow:
        await flow.wish()
        await flow.until_left("exchange.error")
        await flow.battery(20)
        await flow.until_left("mirror.error")
        told = [one.getMessage() for one in caplog.records if one.name.startswith("flowrunner")]
        assert told
        assert not [line for line in told if KEY in line]
        assert KEY not in repr(
            [flow.left, flow.journal.story(ID), flow.engine.runtime.workers["site/exchange"].counters]
        )
        assert flow.order.reason == "401: the key *** is wrong"


# ---- telemetry ----------------------------------------------------------------------------------------------------


async def test_telemetry_goes_when_all_three_are_there_and_no_value_twice() -> None:
    merged = FLOW.replace("  mirror:\n    {type: exchange-out, from: hand", "  all: {type: merge, from: hand}\n"
                          "  mirror:\n    {type: exchange-out, from: all")  # fmt: skip
    async with serve(always(text('{"status": "OK"}'))) as server, trading(server.url, text=merged) as flow:
        mirror = flow.engine.runtime.workers["site/mirror"]
        await flow.wish(soc=50)  # no power, no temperature
        await flow.until(lambda: mirror.counters.dropped == {"incomplete": 1})
        await flow.battery(50.0)
        await flow.until_left("mirror.out")
        await flow.wish(soc=50)  # one new value of three
        await flow.until(lambda: mirror.counters.dropped == {"incomplete": 1, "sent-before": 1})
        await flow.battery(50.0)  # the same numbers, measured again
        await flow.until_left("mirror.out", 2)
        assert len(posted(server, "/telemetry/bess")) == 2
        assert flow.errors("mirror") == []


async def test_telemetry_that_is_refused_is_an_error_and_not_repeated() -> None:
    refused = text('{"detail": [{"loc": ["body", "soc_percent"], "msg": "too good"}]}', "422 Unprocessable Entity")
    async with serve(always(refused)) as server, trading(server.url) as flow:
        await flow.battery(50.0)
        (error,) = await flow.until_left("mirror.error")
        assert (error["code"], error["reason"]) == ("refused", "422: body.soc_percent: too good")
        await flow.battery(51.0)
        await flow.until_left("mirror.error", 2)
        told = [json.loads(one.body) for one in posted(server, "/telemetry/bess")]
        assert [one["soc_percent"] for one in told] == [50.0, 51.0]
        assert told[0] == {
            "soc_percent": 50.0, "active_power_mw": 0.5, "temperature_c": 25.0,
        }  # fmt: skip


@pytest.mark.parametrize("status", ["500 Oops", "429 Too Many", "503 Later"])
async def test_telemetry_is_tried_again_until_it_arrives(status: str) -> None:
    async with (
        serve(to_telemetry(*[text("{}", status)] * 2, text('{"status": "OK"}'))) as server,
        trading(server.url) as flow,
    ):
        await flow.battery(50.0)  # neither rule wishes anything
        await flow.until_left("mirror.out")
        assert [json.loads(one.body)["soc_percent"] for one in posted(server, "/telemetry/bess")] == [50.0] * 3


async def test_telemetry_goes_on_when_the_exchange_is_back_with_the_newest() -> None:
    async with served() as at:
        await at.server.stop()
        async with trading(at) as flow:
            for soc in range(50, 60):
                await flow.battery(float(soc))
            mirror = flow.engine.runtime.workers["site/mirror"]
            await flow.until(lambda: mirror.counters.connected is False)
            await at.server.start()
            await flow.until(lambda: at.exchange.reported is not None and at.exchange.reported.soc_percent == 59.0)
            await flow.until(lambda: mirror.counters.connected)
