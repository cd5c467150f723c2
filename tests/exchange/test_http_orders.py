"""An exchange that is only described: what is sent, what answers mean, and which descriptions cannot work."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.errors import NotConnected
from flowrunner.exchange import Adapter, HttpInterface, HttpOrders
from flowrunner.exchange.http_interface import PLACES, check, filled_body, filled_path, values
from flowrunner.httpclient import HttpClient
from flowrunner.schema import decode
from flowrunner.units import SECOND
from tests.exchange.desk import Way, still, ticket
from tests.exchange.simulated import KEY, NOON, Venue, served
from tests.peers.raw_http import RawServer, Reply, always, serve, text

pytestmark = pytest.mark.anyio
TOKEN = "t0p-s3cret-token"


def interface(**changes: Any) -> HttpInterface:
    """As a flow file has it."""
    written: dict[str, Any] = {
        "path": "/v2/orders",
        "headers": {"Authorization": f"Bearer {TOKEN}", "X-Empty": ""},
        "body": {
            "clientId": "{client_order_id}",
            "what": {"side": "{side}", "mwh": "{quantity_mwh}", "limit": "{limit_price_eur_mwh}"},
            "slot": ["{delivery_start}", "{delivery_end}"],
            "note": "{{{market}}} by {order_type}, {quantity_mwh} MWh",
            "fixed": [1, True, None, {}],
        },
        "id": "data.orderId",
        "status": "data.state",
        "accepted": ["OPEN", "DONE"],
        "rejected": ["NO"],
        "find": {
            "path": "/v2/orders?client={client_order_id}",
            "id": "0.orderId",
            "client_order_id": "0.client",
            "status": "0.state",
            "filled": "0.mwh",
            "average_price": "0.price",
            "ended": ["DONE", "GONE"],
        },
    }
    return decode({name: one for name, one in (written | changes).items() if one is not None}, HttpInterface)


def plain(**changes: Any) -> HttpInterface:
    """Without a status and without a question for one order."""
    nothing = {"status": None, "accepted": None, "rejected": None, "find": None}
    return interface(**(nothing | changes))


@asynccontextmanager
async def against(reply: Reply, settings: HttpInterface) -> AsyncIterator[tuple[HttpOrders, RawServer]]:
    assert list(check(settings)) == []
    async with serve(reply) as server:
        client = HttpClient(server.url, timeout_s=5)
        exchange = HttpOrders(client, f"{server.url}/api/", settings, 1.0, lambda: NOON)
        _: Adapter = exchange  # it is one
        try:
            yield exchange, server
        finally:
            await client.close()


def data(**said: Any) -> bytes:
    return text(json.dumps({"data": said}))


# ---- placing --------------------------------------------------------------------------------------------------------


async def test_what_is_sent() -> None:
    async with against(always(data(orderId=7, state="OPEN")), interface()) as (exchange, server):
        outcome = await exchange.place(ticket(), still)
        assert (outcome.meaning, outcome.exchange_id, outcome.answer) == ("accepted", "7", {"status": "OPEN"})
        (asked,) = server.asked
        assert asked.line == "POST /api/v2/orders HTTP/1.1"
        assert asked.header("authorization") == f"Bearer {TOKEN}"
        assert asked.header("content-type") == "application/json"
        assert asked.header("x-empty") is None
        assert json.loads(asked.body) == {
            "clientId": "mine",
            "what": {"side": "BUY", "mwh": 1.0, "limit": 60.0},
            "slot": ["2026-03-02T12:15:00.000Z", "2026-03-02T12:30:00.000Z"],
            "note": "{AT} by LIMIT, 1.0 MWh",
            "fixed": [1, True, None, {}],
        }


async def test_the_exchanges_own_words_and_power_in_place_of_energy() -> None:
    body = {
        "dir": "{side}", "mw": "{quantity_mw}", "tif": "{time_in_force}", "id": "{client_order_id}",
        "at": "{limit_price_eur_mwh}", "from": "{delivery_start}",
    }  # fmt: skip
    settings = interface(body=body, words={"BUY": 1, "SELL": 2, "GFD": "day"})
    async with against(always(data(orderId=7, state="OPEN")), settings) as (exchange, server):
        await exchange.place(ticket(), still)
        assert json.loads(server.asked[0].body) == {
            "dir": 1, "mw": 4.0, "tif": "day", "id": "mine", "at": 60.0, "from": "2026-03-02T12:15:00.000Z",
        }  # fmt: skip


async def test_an_order_without_a_limit_leaves_its_key_out() -> None:
    async with against(always(data(orderId="7")), plain()) as (exchange, server):
        await exchange.place(ticket(limit_price_eur_mwh=None), still)
        assert json.loads(server.asked[0].body)["what"] == {"side": "BUY", "mwh": 1.0}


async def test_another_method_another_media_and_a_path_with_places() -> None:
    settings = plain(
        method="PUT",
        path="/{market}/{side}/{client_order_id}?q={quantity_mwh}&at={delivery_start}",
        headers={"Content-Type": "application/vnd.orders+json"},
        body={"limit": "{limit_price_eur_mwh}"},
    )
    async with against(always(data(orderId="7")), settings) as (exchange, server):
        await exchange.place(ticket(client_order_id="../a b?&#ü%", market="A/T"), still)
        (asked,) = server.asked
        assert asked.line == (
            "PUT /api/A%2FT/BUY/..%2Fa%20b%3F%26%23%C3%BC%25?q=1.0&at=2026-03-02T12%3A15%3A00.000Z HTTP/1.1"
        )
        assert (asked.header("content-type"), asked.body) == ("application/vnd.orders+json", b'{"limit":60.0}')


async def test_an_order_goes_out_on_a_connection_of_its_own() -> None:
    async with against(always(listed(), data(orderId="7", state="OPEN")), interface()) as (exchange, server):
        await exchange.find(ticket(), NOON, NOON, [])
        await exchange.place(ticket(), still)
        await exchange.place(ticket(), still)
        assert [one.on for one in server.asked] == [1, 2, 3]


async def test_a_path_that_needs_a_limit_is_never_asked_without() -> None:
    settings = plain(path="/orders/{limit_price_eur_mwh}")
    async with against(always(data(orderId="7")), settings) as (exchange, server):
        outcome = await exchange.place(ticket(limit_price_eur_mwh=None), still)
        assert (outcome.meaning, server.asked) == ("rejected", [])
        assert outcome.reason == "the path needs limit_price_eur_mwh, which this order does not have; nothing was sent"


@pytest.mark.parametrize("bad", [{"quantity_mwh": float("nan")}, {"client_order_id": "\udcff"}])
async def test_what_json_cannot_carry_is_never_sent(bad: dict[str, Any]) -> None:
    async with against(always(data(orderId="7")), plain()) as (exchange, server):
        outcome = await exchange.place(ticket(**bad), still)
        assert (outcome.meaning, server.asked) == ("rejected", [])
        assert "which no request can carry; nothing was sent" in outcome.reason


@pytest.mark.parametrize(
    ("answer", "meaning", "reason"),
    [
        (data(orderId="7", state="OPEN"), "accepted", ""),
        (text('{"data": {"orderId": "7", "state": "OPEN"}}', "201 Created"), "accepted", ""),
        (data(orderId="7", state="NO"), "rejected", '200: {"data": {"orderId": "7", "state": "NO"}}'),
        (data(state="NO"), "rejected", "200: "),
        (data(orderId="7", state="QUEUED"), "unknown", "its status is not a known word: 200: "),
        (data(orderId="7", state=None), "unknown", "there is no 'data.state' in the answer: 200: "),
        (data(orderId="7", state=["OPEN"]), "unknown", "there is no 'data.state' in the answer: 200: "),
        (data(orderId="7"), "unknown", "there is no 'data.state' in the answer: 200: "),
        (data(state="OPEN"), "unknown", "there is no 'data.orderId' in the answer: 200: "),
        (data(orderId=None, state="OPEN"), "unknown", "there is no 'data.orderId' in the answer: 200: "),
        (data(orderId={"id": 7}, state="OPEN"), "unknown", "there is no 'data.orderId' in the answer: 200: "),
        (text("<html>"), "unknown", "there is no 'data.orderId' in the answer: 200: <html>"),
        (text("", "204 No Content"), "unknown", ""),
        (text("moved", "307 Temporary Redirect"), "unknown", "307: moved"),
        (text("slow", "429 Slow"), "throttled", "429: slow"),
        (text("twice", "409 Conflict"), "unknown", "409: twice"),
        (text("oh", "500 Oh"), "unknown", "500: oh"),
        *((text("no", f"{code} No"), "rejected", f"{code}: no") for code in (400, 401, 403, 404, 405, 413, 415, 422)),
    ],
)
async def test_what_an_answer_means(answer: bytes, meaning: str, reason: str) -> None:
    async with against(always(answer), interface()) as (exchange, server):
        outcome = await exchange.place(ticket(), still)
        assert outcome.meaning == meaning
        assert outcome.reason.startswith(reason)
        assert len(server.asked) == 1


async def test_a_status_may_be_any_plain_value() -> None:
    settings = interface(accepted=["1", "true"])
    async with against(always(data(orderId="7", state=1), data(orderId="8", state=True)), settings) as (exchange, _):
        assert [(await exchange.place(ticket(), still)).meaning for _ in range(2)] == ["accepted", "accepted"]


async def test_nobody_there_and_nobody_answering() -> None:
    async def hang_up(_: object, writer: Any) -> None:
        writer.close()

    async with against(hang_up, interface()) as (exchange, server):
        assert (await exchange.place(ticket(), still)).meaning == "unknown"
        with pytest.raises(NotConnected):
            await exchange.look(ticket(), "7")
        assert (await exchange.find(ticket(), NOON, NOON, [])).meaning == "unclear"
        gone = server.url
    client = HttpClient(gone, timeout_s=5)
    assert (await HttpOrders(client, gone, interface(), 1.0, lambda: NOON).place(ticket(), still)).meaning == "not-sent"
    await client.close()


# ---- looking for it -------------------------------------------------------------------------------------------------


def listed(**changes: Any) -> bytes:
    right = {"orderId": "7", "client": "mine", "state": "PART", "mwh": 0.5, "price": 59.0}
    return text(json.dumps([right | changes]))


async def test_an_order_is_asked_for() -> None:
    async with against(always(listed(), listed(state="DONE", mwh="?")), interface()) as (exchange, server):
        assert (exchange.can_query, exchange.can_cancel, exchange.dedupes_client_order_id) == (True, False, False)
        found = await exchange.find(ticket(), NOON, NOON, [])
        assert (found.meaning, found.reason) == ("there", "found by its client order id")
        told = found.told
        assert told is not None
        assert (told.exchange_id, told.status, told.filled_mwh, told.average_price_eur_mwh, told.ended) == (
            "7", "PART", 0.5, 59.0, False,
        )  # fmt: skip
        told = await exchange.look(ticket(), "7")
        assert told is not None
        assert (told.filled_mwh, told.average_price_eur_mwh, told.ended) == (None, None, True)
        assert await exchange.look(ticket(), "8") is None
        assert {one.line for one in server.asked} == {"GET /api/v2/orders?client=mine HTTP/1.1"}


@pytest.mark.parametrize(
    "answer",
    [
        listed(orderId=None), listed(client="other"), listed(client=None), text("[]"), text("{}"), text("nonsense"),
        text("[]", "500 Oh"), text("[]", "401 No"), text("[]", "302 Found"),
    ],
)  # fmt: skip
async def test_from_other_answers_nothing_follows(answer: bytes) -> None:
    async with against(always(answer), interface(dedupes_client_order_id=True)) as (exchange, _):
        found = await exchange.find(ticket(), NOON, NOON, [])
        assert (found.meaning, found.told) == ("unclear", None)
        assert found.reason


async def test_that_it_is_missing_is_believed_once_the_question_is_known_to_work() -> None:
    missing = text("gone", "410 Gone")
    find = msgspec.to_builtins(interface().find) | {"missing": 410}
    async with against(always(missing, listed(), missing), interface(find=find)) as (exchange, _):
        first, _, later = [await exchange.find(ticket(), NOON, NOON, []) for _ in range(3)]
        assert (first.meaning, later.meaning) == ("unclear", "absent")
        assert first.reason.endswith("and was never seen to know one: is find.path right? 410: gone")
    async with against(always(missing), interface(find=find, dedupes_client_order_id=True)) as (exchange, _):
        found = await exchange.find(ticket(), NOON, NOON, [])
        assert found.meaning == "unclear"  # that a second one would be refused says nothing of the path


async def test_without_a_question_there_is_nothing_to_ask() -> None:
    async with against(always(text("[]")), plain()) as (exchange, server):
        assert (await exchange.find(ticket(), NOON, NOON, [])).meaning == "unclear"
        assert await exchange.look(ticket(), "7") is None
        async with aclosing(exchange.listen()) as news:
            assert [one async for one in news] == []
        assert (exchange.can_query, server.asked, exchange.offset_ns) == (False, [], None)


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "401 No", "429 Slow", "500 Oh"])
async def test_whatever_its_address_answers_shows_its_clock(status: str) -> None:
    ahead = text("what?", status, more="date: Mon, 02 Mar 2026 12:01:00 GMT\r\n")
    async with against(always(ahead), plain()) as (exchange, server):
        assert await exchange.greet() is True
        assert exchange.offset_ns == 60 * SECOND
        assert [one.line for one in server.asked] == ["GET /api HTTP/1.1"]


async def test_greeting_nobody_and_one_who_says_nothing() -> None:
    async def hang_up(_: object, writer: Any) -> None:
        writer.close()

    async with against(hang_up, plain()) as (exchange, server):
        with pytest.raises(NotConnected, match="closed the connection"):
            await exchange.greet()
        gone = server.url
    client = HttpClient(gone, timeout_s=5)
    with pytest.raises(NotConnected, match="connection refused"):
        await HttpOrders(client, gone, plain(), 1.0, lambda: NOON).greet()
    await client.close()


async def test_what_must_not_be_sent_any_more_is_not() -> None:
    async with against(always(data(orderId="7")), plain()) as (exchange, server):
        outcome = await exchange.place(ticket(), lambda: "trading was stopped")
        assert (outcome.meaning, outcome.reason, server.asked) == ("not-sent", "trading was stopped", [])


@pytest.mark.parametrize(("said", "filled"), [({"mwh": None}, 0.0), ({"mwh": 0.25}, 0.25), ({"mwh": -1}, 0.0)])
async def test_an_order_that_is_said_to_be_refused_has_ended_with_nothing(said: dict[str, Any], filled: float) -> None:
    async with against(always(listed(state="NO", **said)), interface()) as (exchange, _):
        for told in ((await exchange.find(ticket(), NOON, NOON, [])).told, await exchange.look(ticket(), "7")):
            assert told is not None
            assert (told.filled_mwh, told.ended) == (filled, True)


async def test_what_was_traded_may_be_told_as_power() -> None:
    find = msgspec.to_builtins(interface().find) | {"filled": None, "filled_mw": "0.mw"}
    replies = [listed(mw=2.0), listed(mw=0), listed(mw="2"), listed(mw=-2), listed()]
    async with against(always(*replies), interface(find=find)) as (exchange, _):
        told = [await exchange.look(ticket(), "7") for _ in replies]
        assert [one and one.filled_mwh for one in told] == [0.5, 0.0, None, None, None]


async def test_its_answers_tell_what_its_clock_shows() -> None:
    ahead = text(json.dumps({"data": {"orderId": "7"}}), more="date: Mon, 02 Mar 2026 12:01:00 GMT\r\n")
    async with against(always(ahead), plain()) as (exchange, _):
        await exchange.place(ticket(), still)
        assert exchange.offset_ns == 60 * SECOND


@pytest.mark.parametrize("quoting", [f"Bearer {TOKEN}", TOKEN])
async def test_no_answer_brings_a_secret_back(quoting: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [
        text(quoting, "401 No"), data(orderId="7", state=f"no {quoting}"), data(orderId=quoting, state="OPEN"),
        listed(state=quoting), listed(orderId=quoting), text(quoting, "500 Oh"),
    ]  # fmt: skip
    async with against(always(*replies), interface()) as (exchange, _):
        told: list[Any] = [await exchange.place(ticket(), still) for _ in range(3)]
        told += [await exchange.find(ticket(), NOON, NOON, []) for _ in range(2)]
        with pytest.raises(NotConnected) as caught:
            await exchange.look(ticket(), "7")
        told.append(str(caught.value))
    assert [one.meaning for one in told[:5]] == ["rejected", "unknown", "unknown", "there", "unclear"]
    assert TOKEN not in repr(told)
    assert "***" in repr(told[0]) + repr(told[3])
    assert not [one for one in caplog.records if TOKEN in one.getMessage()]


# ---- the simulated exchange, described ------------------------------------------------------------------------------


def described() -> HttpInterface:
    return interface(
        path="/orders",
        headers={"X-API-KEY": KEY},
        body={name: f"{{{name}}}" for name in PLACES},
        id="order_id",
        status="status",
        accepted=["ACCEPTED"],
        rejected=None,
        find={
            "path": "/orders/{client_order_id}", "id": "order_id", "client_order_id": "client_order_id",
            "status": "status", "filled": "filled_mwh", "average_price": "average_price",
            "ended": ["FILLED", "CANCELLED", "EXPIRED"],
        },
        dedupes_client_order_id=True,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["socket", "direct"])
async def test_the_good_exchange_without_code(way: Way) -> None:
    async def trade(client: HttpClient, url: str, venue: Venue) -> None:
        exchange = HttpOrders(client, url, described(), 5.0, lambda: venue.now)
        assert (await exchange.find(ticket(), NOON, NOON, [])).meaning == "unclear"
        venue.exchange.faults.arm("answer-lost", times=1)
        assert (await exchange.place(ticket(quantity_mwh=3.0, limit_price_eur_mwh=50.0), still)).meaning == "unknown"
        found = await exchange.find(ticket(), NOON, NOON, [])
        assert found.told is not None
        assert (found.told.exchange_id, found.told.filled_mwh) == (venue.accepted[0].order_id, 2.0)
        assert (await exchange.place(ticket(), still)).reason.startswith("409: client_order_id 'mine' exists already")
        free = ticket(client_order_id="free", side="SELL", limit_price_eur_mwh=None)
        placed = await exchange.place(free, still)
        assert placed.meaning == "accepted"
        assert await exchange.look(free, placed.exchange_id) is not None
        assert len(venue.accepted) == 2
        assert (await exchange.find(ticket(client_order_id="never"), NOON, NOON, [])).meaning == "absent"

    if way == "socket":
        async with served("good") as there:
            client = HttpClient(there.server.url, timeout_s=5)
            await trade(client, there.server.url, there)
            await client.close()
    else:
        from flowrunner.exchange.simulator.direct import DirectClient

        here = Venue("good")
        direct = DirectClient(here.exchange, KEY)
        await trade(direct, "http://127.0.0.1:9100", here)
        await direct.close()


# ---- descriptions that cannot work ----------------------------------------------------------------------------------

BODY: dict[str, Any] = {
    "id": "{client_order_id}", "side": "{side}", "mwh": "{quantity_mwh}", "limit": "{limit_price_eur_mwh}",
    "from": "{delivery_start}",
}  # fmt: skip
FIND: dict[str, Any] = {"path": "/{client_order_id}", "id": "id", "client_order_id": "client"}


def without(name: str) -> dict[str, Any]:
    return {key: one for key, one in BODY.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "option", "message"),
    [
        ({"path": "orders"}, "path", "a path begins with /"),
        ({"path": "/orders#1"}, "path", "a path to ask for has no #fragment"),
        ({"path": "/orders/{merket}"}, "path", "{merket} is nothing that an order has"),
        ({"path": "/orders/{"}, "path", "'/orders/{': '{' is not a place"),
        ({"body": BODY | {"x": "{quantity}"}}, "body", "{quantity} is nothing that an order has"),
        ({"body": BODY | {"x": [{"y": "}"}]}}, "body", "'}': '}' is not a place"),
        ({"body": without("mwh")}, "body", "the order would not say its quantity_mwh"),
        ({"body": without("side")}, "body", "the order would not say its side"),
        ({"body": without("id")}, "body", "the order would not say its client_order_id"),
        ({"body": without("limit")}, "body", "the order would not say its limit_price_eur_mwh"),
        ({"body": without("from")}, "body", "the order would not say its delivery_start"),
        ({"body": "{side} {quantity_mwh} {client_order_id}"}, "body", "an order is an object or a list"),
        ({"body": BODY | {"x": float("inf")}}, "body", "x is no finite number, which JSON cannot hold"),
        ({"body": BODY | {"x": ["{limit_price_eur_mwh}"]}}, "body", "limit_price_eur_mwh cannot be left out of a list"),
        ({"words": {"BUY": "trade", "SELL": "trade"}}, "words.SELL", "buying and selling would be said by the same"),
        ({"words": {"BUY": "SELL"}}, "words.SELL", "buying and selling would be said by the same word"),
        ({"headers": {"Host": "x"}}, "headers.Host", "the client itself writes the header Host"),
        ({"headers": {"X": "a\nb"}}, "headers.X", "the value of X holds a character"),
        ({"status": None}, "accepted", "these are words of a status, and no status is read"),
        ({"accepted": None}, "status", "no word of it says that an order was taken"),
        ({"rejected": ["OPEN"]}, "rejected", "'OPEN' cannot say both"),
        ({"find": FIND | {"path": "/orders"}}, "find.path", "it asks for no order in particular"),
        ({"find": FIND | {"path": "/{client_order_id}/{x}"}}, "find.path", "{x} is nothing that an order has"),
        ({"find": FIND | {"ended": ["X"], "filled": "mwh"}}, "find.ended", "these are words of a"),
        ({"find": FIND | {"ended": ["X"], "status": "s"}}, "find.ended", "an end counts only with what was traded"),
        ({"find": FIND | {"filled": "a", "filled_mw": "b"}}, "find.filled_mw", "what was traded is read twice"),
        ({"find": FIND | {"missing": 429}}, "find.missing", "429 says nothing about"),
        ({"status": None, "accepted": None, "find": FIND}, "rejected", "these are words of a status, and no status is"),
    ],
)
def test_what_cannot_work_is_told_before_a_run(changes: dict[str, Any], option: str, message: str) -> None:
    found = list(check(interface(**changes)))
    assert (found[0].option, found[0].message[: len(message)]) == (option, message)
    assert TOKEN not in repr(found)


def test_a_near_miss_is_named() -> None:
    (wrong,) = check(interface(path="/{merket}"))
    assert wrong.hint == "did you mean 'market'?"


def test_what_works_has_no_fault() -> None:
    assert list(check(interface())) == []
    assert list(check(plain(body=[BODY]))) == []
    assert list(check(plain(path="/{delivery_start}/{limit_price_eur_mwh}", body=without("from") | {"limit": 0}))) == []
    assert list(check(interface(find=FIND | {"status": "s", "filled_mw": "mw", "ended": ["X"]}))) == []
    assert list(check(interface(status=None, accepted=None, find=FIND | {"status": "s"}))) == []


def test_how_the_answer_repeats_the_client_order_id_must_be_told() -> None:
    """An exchange that does not heed the question lists strangers."""
    with pytest.raises(ValueError, match="client_order_id"):
        interface(find={"path": "/{client_order_id}", "id": "id"})


def test_power_and_energy_do_not_contradict() -> None:
    """Orders in MW may be told of in MWh."""
    assert list(check(interface(body=without("mwh") | {"mw": "{quantity_mw}"}))) == []
    assert list(check(described())) == []


# ---- filling --------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXTS, TEXTS)
def test_no_value_becomes_more_than_one_step_of_a_path(client_id: str, market: str) -> None:
    path = filled_path(
        "/a/{client_order_id}/{market}?x={client_order_id}",
        values(ticket(client_order_id=client_id, market=market), {}),
    )
    assert (path.count("/"), path.count("?"), path.count("#"), path.count("&")) == (3, 1, 0, 0)
    assert path.isascii()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
    )
)
def test_a_body_without_places_is_sent_as_it_is(body: Any) -> None:
    escaped = _escaped(body)
    assert filled_body(escaped, values(ticket(), {})) == body


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return {key: _escaped(one) for key, one in value.items()} if isinstance(value, dict) else value
