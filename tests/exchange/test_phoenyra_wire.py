"""The adapter and a server that answers, byte by byte, what no good exchange would."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest

from flowrunner.errors import NotConnected
from flowrunner.exchange import Phoenyra
from flowrunner.httpclient import HttpClient
from flowrunner.units import SECOND, iso
from tests.exchange.desk import still, ticket
from tests.exchange.simulated import KEY, NOON
from tests.peers.raw_http import RawServer, Reply, always, serve, text

pytestmark = pytest.mark.anyio
ACCEPTED = {"order_id": "7", "status": "ACCEPTED", "timestamp": iso(NOON), "throttle_remaining": 5}
ROW = {
    "order_id": "7", "side": "BUY", "quantity_mwh": 1.0, "price": 60.0, "market": "AT", "status": "ACCEPTED",
    "timestamp": iso(NOON),
}  # fmt: skip
ONE = ROW | {"client_order_id": "mine", "delivery_start": iso(NOON + 900 * SECOND), "filled_mwh": 0.5}


def date(at: int = NOON) -> str:
    return f"date: {formatdate(at / SECOND, usegmt=True)}\r\n"


@asynccontextmanager
async def against(reply: Reply, *, ids: bool = False, key: str = KEY) -> AsyncIterator[tuple[Phoenyra, RawServer]]:
    async with serve(reply) as server:
        client = HttpClient(server.url, timeout_s=5)
        try:
            yield Phoenyra(client, server.url, key, 1.0, lambda: NOON, ids), server
        finally:
            await client.close()


def answers(*said: Any, more: str = "") -> Reply:
    return always(*(text(json.dumps(one), more=more) for one in said))


# ---- placing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "meaning", "reason"),
    [
        (text(json.dumps(ACCEPTED)), "accepted", ""),
        (text(json.dumps(ACCEPTED | {"order_id": 7})), "accepted", ""),
        (text(json.dumps(ACCEPTED | {"order_id": ""})), "unknown", "the answer is not understood: 200: "),
        (text(json.dumps(ACCEPTED | {"order_id": True})), "unknown", "the answer is not understood: 200: "),
        (text(json.dumps(ACCEPTED | {"status": "PENDING"})), "unknown", "the answer is not understood: 200: "),
        (text(json.dumps(ACCEPTED), "201 Created"), "unknown", "201: "),
        (text("<html>hello</html>"), "unknown", "the answer is not understood: 200: <html>hello</html>"),
        (text("[1]"), "unknown", "the answer is not understood: 200: [1]"),
        (text(""), "unknown", "the answer is not understood: 200"),
        (text("", "302 Found", more="location: /elsewhere\r\n"), "unknown", "302"),
        (text('{"detail": "Market closed"}', "400 Bad Request"), "rejected", "400: Market closed"),
        (text('{"detail": [1, {"msg": "m"}]}', "422 No"), "rejected", "422: 1; m"),
        (text('{"detail": [{"loc": 5, "msg": "m"}]}', "422 No"), "rejected", "422: m"),
        (text("x" * 5000, "403 Forbidden"), "rejected", "403: " + "x" * 2000),
        (text(b"\xff\xfe", "400 Bad Request"), "rejected", "400: ��"),
        (text("slow down", "429 Too Many"), "throttled", "429: slow down"),
        (text("there is one", "409 Conflict"), "unknown", "409: there is one"),
        (text("bad gateway", "502 Bad Gateway"), "unknown", "502: bad gateway"),
    ],
)
async def test_what_an_answer_to_an_order_means(answer: bytes, meaning: str, reason: str) -> None:
    async with against(always(answer)) as (exchange, server):
        outcome = await exchange.place(ticket(), still)
        assert outcome.meaning == meaning
        assert outcome.reason.startswith(reason)
        assert bool(outcome.exchange_id) == (meaning == "accepted")
        assert len(outcome.reason) < 2100
        assert len(server.asked) == 1  # once, whatever comes back


async def test_an_order_goes_out_on_a_connection_of_its_own() -> None:
    async with against(answers([], ACCEPTED)) as (exchange, server):
        await exchange.greet()
        await exchange.place(ticket(), still)
        await exchange.place(ticket(), still)
        assert [one.on for one in server.asked] == [1, 2, 3]


async def test_half_an_answer_is_none() -> None:
    async def half(_: object, writer: asyncio.StreamWriter) -> None:
        writer.write(text(json.dumps(ACCEPTED))[:-5])
        writer.close()

    async with against(half) as (exchange, server):
        assert (await exchange.place(ticket(), still)).meaning == "unknown"
        assert len(server.asked) == 1


async def test_an_answer_about_another_order_is_unknown_where_ids_are_kept() -> None:
    other = ACCEPTED | {"client_order_id": "another"}
    async with against(answers(other), ids=True) as (exchange, _):
        outcome = await exchange.place(ticket(), still)
        assert (outcome.meaning, outcome.exchange_id) == ("unknown", "")
        assert outcome.reason.startswith("the answer is about another order")
    async with against(answers(other)) as (exchange, _):  # one that is not declared to keep any says what it likes
        assert (await exchange.place(ticket(), still)).meaning == "accepted"


# ---- looking for it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "meaning", "reason"),
    [
        (text(json.dumps([ROW])), "there", "found by likeness"),
        (text("[]"), "absent", "no order like it is among all 0"),
        (
            text(json.dumps([ROW | {"market": "DE"}] * 100)),
            "unclear",
            "no order like it is among the newest 100",
        ),
        (
            text(json.dumps([ROW, ROW | {"timestamp": "noon"}])),
            "unclear",
            "the list of orders says nothing",
        ),
        (text('{"orders": []}'), "unclear", "the list of orders says nothing certain: the answer is no list"),
        (text("[]", "500 Oh"), "unclear", "500: []"),
        (text("[]", "404 Not Found"), "unclear", "404: []"),
        (text("[]", "204 No Content"), "unclear", ""),
        (text("no list"), "unclear", "the list of orders says nothing certain: the answer is no list"),
        (text('[{"order_id": "1", "order_id": "2"}]'), "unclear", "the list of orders says nothing certain"),
        (text("[" + json.dumps(ROW) + ", NaN]"), "unclear", "the list of orders says nothing certain: its row 2"),
    ],
)
async def test_what_a_list_says(answer: bytes, meaning: str, reason: str) -> None:
    async with against(always(answer)) as (exchange, server):
        found = await exchange.find(ticket(), NOON, NOON, [])
        assert found.meaning == meaning
        assert found.reason.startswith(reason)
        assert (found.told is not None) == (meaning == "there")
        assert server.asked[0].line == "GET /orders HTTP/1.1"


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (text(json.dumps(ONE)), "there"),
        (text(json.dumps(ONE | {"delivery_start": None})), "there"),
        (text(json.dumps(ONE | {"delivery_start": "2026-03-02T13:15:00+01:00"})), "there"),
        (text(json.dumps(ONE | {"delivery_start": "soon"})), "unclear"),
        (text(json.dumps(ONE | {"delivery_start": 5})), "unclear"),
        (text(json.dumps(ONE | {"delivery_start": iso(NOON)})), "unclear"),
        (text(json.dumps(ONE | {"client_order_id": "other"})), "unclear"),
        (text(json.dumps(ROW)), "unclear"),
        (text(json.dumps(ONE | {"side": "SELL"})), "unclear"),
        (text(json.dumps(ONE | {"market": "DE"})), "unclear"),
        (text(json.dumps(ONE | {"quantity_mwh": None})), "unclear"),
        (text(json.dumps(ONE | {"order_id": None})), "unclear"),
        (text(json.dumps([ONE])), "unclear"),
        (text("[]", "500 Oh"), "unclear"),
        (text("[]", "401 No"), "unclear"),
    ],
)
async def test_what_a_single_order_says(answer: bytes, meaning: str) -> None:
    async with against(always(answer), ids=True) as (exchange, server):
        found = await exchange.find(ticket(client_order_id="mine"), NOON, NOON, [])
        assert found.meaning == meaning
        assert server.asked[0].line == "GET /orders/mine HTTP/1.1"
        assert len(server.asked) == 1
        if b" 500 " in answer:
            with pytest.raises(NotConnected, match="500: "):
                await exchange.look(ticket(), "7")
            return
        told = await exchange.look(ticket(), "7")
        assert (told is not None and told.filled_mwh == 0.5) == (meaning == "there")


async def test_a_404_is_an_answer_only_once_an_echo_was_seen() -> None:
    gone = text("no", "404 Not Found")
    order = text(json.dumps(ACCEPTED | {"client_order_id": "mine"}))
    async with against(always(gone, text("[]"), order, gone), ids=True) as (exchange, server):
        asked = [await exchange.find(ticket(), NOON, NOON, [])]
        assert [one.line for one in server.asked] == ["GET /orders/mine HTTP/1.1", "GET /orders HTTP/1.1"]
        await exchange.place(ticket(), still)
        asked.append(await exchange.find(ticket(client_order_id="../a b?"), NOON, NOON, []))
        assert server.asked[-1].line == "GET /orders/..%2Fa%20b%3F HTTP/1.1"
        assert [one.meaning for one in asked] == ["absent", "absent"]
        assert asked[1].reason == "it has no order ../a b?"


async def test_a_list_that_lacks_what_the_exchange_took_says_nothing_of_others() -> None:
    """It was emptied, or is not that of all orders: ours may be among what is lost."""
    other = ROW | {"order_id": "8", "market": "DE"}
    replies = [text(json.dumps(one)) for one in (ACCEPTED, [ROW, other], [other], [])]
    async with against(always(*replies)) as (exchange, _):
        await exchange.place(ticket(), still)
        sought = ticket(client_order_id="second", side="SELL")
        found = [await exchange.find(sought, NOON, NOON, ["7"]) for _ in range(3)]
        assert [one.meaning for one in found] == ["absent", "unclear", "unclear"]
        assert found[1].reason == "the list lacks 7, which it took: what else has it lost?"


@pytest.mark.parametrize(("oldest", "ahead", "meaning"), [(-10, 0, "unclear"), (-4, 0, "absent"), (50, 60, "unclear")])
async def test_a_full_list_may_lack_what_is_older_than_all_of_it(oldest: int, ahead: int, meaning: str) -> None:
    full = [ROW | {"order_id": "8", "market": "DE", "timestamp": iso(NOON + (oldest + n) * SECOND)} for n in range(100)]
    replies = [text(json.dumps(one), more=date(NOON + ahead * SECOND)) for one in (ACCEPTED, full)]
    async with against(always(*replies)) as (exchange, _):
        await exchange.place(ticket(), still)
        sought = ticket(client_order_id="second", side="SELL")
        found = await exchange.find(sought, NOON, NOON + (20 + ahead) * SECOND, ["7"])
        assert (found.meaning, "the list lacks 7" in found.reason) == (meaning, meaning == "unclear")


@pytest.mark.parametrize("ids", [False, True])
async def test_an_order_that_the_exchange_refused_later_has_ended_with_nothing(ids: bool) -> None:
    listed = ONE | {"status": "REJECTED", "filled_mwh": None} if ids else [ROW | {"status": "REJECTED"}]
    async with against(answers(listed), ids=ids) as (exchange, _):
        told = (await exchange.find(ticket(), NOON, NOON, [])).told
        assert told is not None
        assert (told.status, told.filled_mwh, told.ended) == ("REJECTED", 0.0, True)


@pytest.mark.parametrize("quoted", [{"order_id": f"x-{KEY}"}, {"status": f"the key is {KEY}"}])
async def test_an_exchange_that_quotes_the_key(quoted: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    more = {"detail": f"your key is {KEY}", "timestamp": KEY}
    replies = [
        text(json.dumps(ACCEPTED | more | quoted)),
        text(json.dumps([ROW | quoted])),
        text(json.dumps(more), "500 Oh"),
    ]
    async with against(always(*replies)) as (exchange, _):
        told: list[Any] = [await exchange.place(ticket(), still), await exchange.find(ticket(), NOON, NOON, [])]
        with pytest.raises(NotConnected) as caught:
            await exchange.greet()
        told.append(str(caught.value))
    assert "***" in repr(told)
    assert KEY not in repr(told)
    assert not [one for one in caplog.records if KEY in one.getMessage()]


async def test_ids_that_hold_a_short_key_by_chance_are_ids() -> None:
    async with against(answers(ACCEPTED | {"order_id": "ab-demo-cd"}), key="demo") as (exchange, _):
        assert (await exchange.place(ticket(), still)).exchange_id == "ab-demo-cd"


# ---- the exchange's clock -------------------------------------------------------------------------------------------


async def test_every_answer_tells_what_the_exchanges_clock_shows() -> None:
    ahead = [date(NOON + seconds * SECOND) for seconds in (60, 61, 62, 63, 64)]
    replies = [text(json.dumps(ACCEPTED), more=ahead[0]), *(text("[]", more=one) for one in ahead[1:])]
    replies += [text("[]"), text("[]", more="date: soon\r\n")]
    async with against(always(*replies)) as (exchange, _):
        seen: list[int | None] = [exchange.offset_ns]
        await exchange.place(ticket(), still)
        seen.append(exchange.offset_ns)
        await exchange.find(ticket(), NOON, NOON, [])
        seen.append(exchange.offset_ns)
        await exchange.look(ticket(), "7")
        seen.append(exchange.offset_ns)
        await exchange.greet()
        seen.append(exchange.offset_ns)
        await exchange.tell({})
        seen.append(exchange.offset_ns)
        for _ in range(2):  # without a date, or with none that can be read, the last one stays
            await exchange.greet()
            seen.append(exchange.offset_ns)
    assert seen == [None, *(seconds * SECOND for seconds in (60, 61, 62, 63, 64, 64, 64))]


async def test_a_clock_that_agrees_is_no_offset() -> None:
    async with against(answers([], more=date())) as (exchange, _):
        await exchange.greet()
        assert exchange.offset_ns == 0


async def test_an_order_is_found_at_an_exchange_whose_clock_is_wrong() -> None:
    late = [ROW | {"timestamp": iso(NOON - 600 * SECOND)}]
    async with against(answers(late, more=date(NOON - 600 * SECOND))) as (exchange, _):
        assert (await exchange.find(ticket(), NOON, NOON, [])).meaning == "there"
    async with against(answers(late, more=date())) as (exchange, _):
        assert (await exchange.find(ticket(), NOON, NOON, [])).meaning == "absent"
    async with against(answers(late)) as (exchange, _):
        assert (await exchange.find(ticket(), NOON, NOON, [])).meaning == "unclear"


@pytest.mark.parametrize("status", ["500 Oh", "429 Slow", "503 Later"])
async def test_an_exchange_that_cannot_be_greeted_shows_its_clock_all_the_same(status: str) -> None:
    async with against(always(text("no", status, more=date(NOON + 90 * SECOND)))) as (exchange, _):
        with pytest.raises(NotConnected):
            await exchange.greet()
        assert exchange.offset_ns == 90 * SECOND
