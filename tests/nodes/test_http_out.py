"""http-out: a real engine that sends to a real server, which answers byte by byte what the test says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.end_to_end.living import Living, living
from tests.peers.mosquitto import free_port
from tests.peers.raw_http import Asked, RawServer, Reply, always, serve, text

pytestmark = pytest.mark.anyio

OK = text('{"taken": 1}')
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def flow_of(url: str, *options: str, body: str = "") -> str:
    lines = "\n".join(f"    {one}" for one in (f"url: '{url}'", "retry: {first: 100ms, max: 200ms}", *options))
    return (
        f"flow: bess\nnodes:\n  a: {{type: http-in, route: POST /a, rate_limit: 10000/s{body}}}\n"
        f"  out:\n    type: http-out\n    from: a\n{lines}\n  e: {{type: merge, from: out.error, stale_after: 1h}}\n"
    )


@asynccontextmanager
async def sending(
    folder: Path, reply: Reply, *options: str, path: str = "/values"
) -> AsyncIterator[tuple[Living, RawServer]]:
    async with serve(reply) as server, living(folder, text=flow_of(server.url + path, *options)) as running:
        yield running, server


async def put(flow: Living, *values: Any) -> None:
    for value in values:
        answer = await flow.http.post("/a", json=value)
        assert answer.status_code == 200, answer.text


async def answers(flow: Living, count: int = 1) -> list[Any]:
    await flow.until(lambda: len(flow.seen.get("out", ())) >= count, f"{count} answers; {flow.node('out')}")
    return [one.payload for one in flow.seen["out"]]


def last_error(flow: Living) -> Any:
    return flow.engine.runtime.workers["bess/out"].counters.last["error"].payload


async def refusal(flow: Living, count: int = 1) -> Any:
    errors = flow.engine.runtime.workers["bess/out"].counters.errors
    await flow.until(lambda: sum(errors.values()) >= count, f"{count} errors; {flow.node('out')}")
    return last_error(flow)


# ---- what is sent ---------------------------------------------------------------------------------------------------


async def test_a_record_goes_as_json_and_the_answer_goes_on(tmp_path: Path) -> None:
    options = ('headers: {X-API-KEY: s3cret, X-None: ""}',)
    async with sending(tmp_path, always(OK), *options) as (flow, server):
        await put(flow, {"soc_percent": 75.5, "site": "north"})
        assert await answers(flow) == [{"status": 200, "body": {"taken": 1}}]
        (asked,) = server.asked
        assert asked.line == "POST /values HTTP/1.1"
        assert json.loads(asked.body) == {"soc_percent": 75.5, "site": "north"}
        assert asked.header("content-type") == "application/json"
        assert (asked.header("x-api-key"), asked.header("x-none")) == ("s3cret", None)
        assert flow.node("out")["connected"] is True
        assert "s3cret" not in str(await flow.get("/api/v1/config"))


BODIES: dict[str, tuple[Any, tuple[str, ...], str, str]] = {
    "text": ("hällo", (), "hällo", "text/plain; charset=utf-8"),
    "number": (5, (), "5", "application/json"),
    "list": ([1, None], (), "[1,null]", "application/json"),
    "template": ({"soc": 7}, ('body: "soc={soc}"',), "soc=7", "text/plain; charset=utf-8"),
    "own type": ({"soc": 7}, ('body: "s {soc}"', "content_type: text/vnd.x"), "s 7", "text/vnd.x"),
    "map": (
        {"soc": 7.5, "on": True, "cells": [1, 2]},
        ('body: {values: {soc: "{soc}", on: "{on}", cells: ["{cells}", 3]}, site: "no {soc}", fixed: 1}',),
        '{"values":{"soc":7.5,"on":true,"cells":[[1,2],3]},"site":"no 7.5","fixed":1}',
        "application/json",
    ),
}


@pytest.mark.parametrize("what", BODIES)
async def test_the_body(tmp_path: Path, what: str) -> None:
    value, options, body, media = BODIES[what]
    async with sending(tmp_path, always(EMPTY), *options, "method: PUT") as (flow, server):
        await put(flow, value)
        assert await answers(flow) == [{"status": 204}]
        assert (server.asked[0].body.decode(), server.asked[0].header("content-type")) == (body, media)
        assert server.asked[0].line[:4] == "PUT "


async def test_places_in_the_address_are_quoted(tmp_path: Path) -> None:
    async with sending(tmp_path, always(EMPTY), path="/sites/{site}/v?at={site}&fixed=a%20b") as (flow, server):
        nasty = ["a/b?c=d#e&f", "ü ..", "%2e%2e", "a+b"]
        await put(flow, *({"site": one} for one in nasty))
        await answers(flow, len(nasty))
        for asked, quoted in zip(
            server.asked, ["a%2Fb%3Fc%3Dd%23e%26f", "%C3%BC%20..", "%252e%252e", "a%2Bb"], strict=True
        ):
            assert asked.line == f"POST /sites/{quoted}/v?at={quoted}&fixed=a%20b HTTP/1.1"


@pytest.mark.parametrize("value", ["..", ".", ""])
async def test_a_value_that_leads_elsewhere_is_refused(tmp_path: Path, value: str) -> None:
    async with sending(tmp_path, always(EMPTY), path="/sites/{site}/v") as (flow, server):
        await put(flow, {"site": value}, {"other": 1}, {"site": "last"})
        await answers(flow)
        assert len(server.asked) == 1
        assert flow.node("out")["errors"] == {"url": 1, "missing-field": 1}


async def test_the_idempotency_key_tells_a_repeat_and_nothing_else(tmp_path: Path) -> None:
    reply = always(text("", "500 Oh"), EMPTY)
    async with sending(tmp_path, reply) as (flow, server):
        await put(flow, {"v": 1}, {"v": 1}, {"v": 2})
        await answers(flow, 3)
        first, again, same_value, other = [one.header("idempotency-key") for one in server.asked]
        assert first == again
        assert len({first, same_value, other}) == 3
        assert first is not None
        assert first[0] == first[-1] == '"'  # a String of RFC 8941, as the draft of the header asks
    async with sending(tmp_path / "b", always(EMPTY), 'idempotency_key: ""') as (flow, server):
        await put(flow, {"v": 1})
        await answers(flow)
        assert server.asked[0].header("idempotency-key") is None


# ---- what is answered -----------------------------------------------------------------------------------------------

SAID: dict[str, tuple[bytes, dict[str, Any]]] = {
    "text": (text("fine", media="text/plain"), {"status": 200, "body": "fine"}),
    "no JSON": (text("<html>"), {"status": 200, "body": "<html>"}),
    "NaN": (text('{"a": NaN}'), {"status": 200, "body": '{"a": NaN}'}),
    "no text": (text(b"\xff\xfe", media="text/plain"), {"status": 200}),
    "large": (text("x" * 70_000, media="text/plain"), {"status": 200}),
    "beyond": (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nxx", {"status": 200}),
    "cut off": (b"HTTP/1.1 201 Made\r\ncontent-length: 9\r\nconnection: close\r\n\r\nxx", {"status": 201}),
    "an echoed key": (text('{"key": "s3cret"}'), {"status": 200, "body": {"key": "***"}}),
}


@pytest.mark.parametrize("what", SAID)
async def test_an_answer_of_success(tmp_path: Path, what: str) -> None:
    """Its status counts, whatever is wrong with the rest: what is done must not be sent again."""
    answer, said = SAID[what]

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if what in ("cut off", "beyond"):
            writer.close()

    async with sending(tmp_path, reply, "headers: {Authorization: s3cret}", "timeout: 5s") as (flow, server):
        await put(flow, {"v": 1})
        assert await answers(flow) == [said]
        assert len(server.asked) == 1
        assert flow.node("out")["errors"] == {}


async def test_an_answer_that_never_ends_is_done_by_its_status(tmp_path: Path) -> None:
    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx")
        await writer.drain()
        await asyncio.Event().wait()

    async with sending(tmp_path, drip, "timeout: 100ms") as (flow, _):
        await put(flow, {"v": 1})
        assert await answers(flow) == [{"status": 200}]


REFUSED = {
    "400 Bad Request": "400 Bad Request: no s***t: why",
    "401 No": "401 Unauthorized; check the key: ",
    "302 Found": "302 Found; redirects are not followed, write the address it has moved to: ",
    "501 No": "501 Not Implemented: ",
    "409 There": "409 Conflict: ",
}


@pytest.mark.parametrize("status", REFUSED)
async def test_a_refusal_is_of_this_message_alone(tmp_path: Path, status: str) -> None:
    said = text("no s3cret: \n why " + "y" * 5000, status, more="location: http://127.0.0.1:1/\r\n")
    async with sending(tmp_path, always(said, OK), "headers: {X-Token: s3cret}", path="/v?token=t0ken") as (
        flow,
        server,
    ):
        await put(flow, {"v": 1}, {"v": 2})
        assert len(await answers(flow)) == 1
        error = await refusal(flow)
        assert (error["code"], error["message"]) == ("refused", {"v": 1})
        assert error["reason"].startswith(f"{server.url}/v: the server answers {REFUSED[status].partition(': ')[0]}")
        assert "no ***: why" in error["reason"]
        assert len(error["reason"]) < 700
        assert "s3cret" not in str(error)
        assert "t0ken" not in str(error)
        assert [json.loads(one.body) for one in server.asked] == [{"v": 1}, {"v": 2}]
        assert flow.node("out")["connected"] is True


def echo(asked: Asked, before: int = 0) -> bytes:
    return text("x" * before + f" you asked {asked.line} {asked.body.decode()}", "400 Bad Request", "text/plain")


@pytest.mark.parametrize("before", [0, 475])
async def test_a_server_that_repeats_the_request_tells_no_secret_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: int
) -> None:
    """Wherever a variable put it: neither errors nor the log nor dead letters have it, also not the half of it."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(echo(asked, before))
        await writer.drain()

    calls = (
        "flow: bess\nnodes:\n  a: {type: http-in, route: POST /a}\n  out:\n    type: http-out\n    from: a\n"
        "    url: '%s/${HOOK_TOKEN}?site=north-of-all&token=${URL_TOKEN}'\n    body: {auth: '${BODY_SECRET}', v: 1}\n"
    )
    secrets = {"HOOK_TOKEN": "hook/0123", "URL_TOKEN": "queryS3cretToken" * 4, "BODY_SECRET": 'say "please"'}
    async with (
        serve(reply) as server,
        living(tmp_path, text=calls % server.url, environment=secrets) as flow,
    ):
        await put(flow, {"v": 1})
        reason = (await refusal(flow))["reason"]
        assert "you asked" in reason
        assert "the server answers 400 Bad Request" in reason
        if not before:
            assert "?site=north-of-all&token=***" in reason
        await flow.until(lambda: len(flow.engine.store.dead_letters()) == 1, "the letter")
        seen = [reason, caplog.text, str(await flow.get("/api/v1/dead-letters")), str(flow.node("out"))]
        for one in seen:
            for piece in ("hook", "queryS", "please"):
                assert piece not in one


async def test_a_refusal_does_not_repeat_what_the_address_calls_secret(tmp_path: Path) -> None:
    path = "/v?site=north&api_key=pla%2Fin&signature=a1b2&token={v}"

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(text(f"{asked.line} with pla/in", "400 No" if len(server.asked) == 1 else "200 OK", "text/plain"))
        await writer.drain()

    async with serve(reply) as server, living(tmp_path, text=flow_of(server.url + path)) as flow:
        await put(flow, {"v": "xyz"}, {"v": "xyz"})
        line = "POST /v?site=north&api_key={}&signature={}&token=xyz HTTP/1.1 with {}"
        assert server.asked[0].line in line.format("pla%2Fin", "a1b2", "")
        assert (await refusal(flow))["reason"].endswith(line.format("***", "***", "***"))
        assert await answers(flow) == [{"status": 200, "body": line.format("pla%2Fin", "a1b2", "pla/in")}], "as it is"


async def test_a_status_that_is_done_here(tmp_path: Path) -> None:
    async with sending(tmp_path, always(text("", "409 There")), "also_done: [409]") as (flow, _):
        await put(flow, {"v": 1})
        assert await answers(flow) == [{"status": 409}]
        assert flow.node("out")["errors"] == {}


# ---- what is sent again ---------------------------------------------------------------------------------------------

AGAIN: dict[str, bytes | None] = {
    "500": text("", "500 Oh"),
    "502": text("", "502 Bad Gateway"),
    "503": text("", "503 Later"),
    "408": text("", "408 Slow"),
    "425": text("", "425 Early"),
    "429": text("", "429 Much"),
    "reset": None,
    "no HTTP": b"220 hello\r\n\r\n",
}


@pytest.mark.parametrize("what", AGAIN)
async def test_it_is_sent_again_before_all_others(tmp_path: Path, what: str) -> None:
    bad, times = AGAIN[what], 0

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal times
        times += 1
        if times in (2, 3):
            if bad is None:
                writer.transport.abort()
                return
            writer.write(bad)
            writer.close()
        else:
            writer.write(EMPTY)

    async with sending(tmp_path, reply) as (flow, server):
        await put(flow, *({"v": one} for one in range(5)))
        await answers(flow, 5)
        assert [json.loads(one.body)["v"] for one in server.asked] == [0, 1, 1, 1, 2, 3, 4]
        assert set(flow.node("out")["errors"]) == {"not-connected"}
        await flow.until(lambda: flow.node("out")["connected"] is True, "it is there again")


async def test_a_silent_server_is_asked_again(tmp_path: Path) -> None:
    asked_of: list[Any] = []

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        asked_of.append(json.loads(asked.body))
        if len(asked_of) == 1:
            await asyncio.Event().wait()
        writer.write(EMPTY)

    async with sending(tmp_path, reply, "timeout: 100ms") as (flow, _):
        await put(flow, {"v": 1}, {"v": 2})
        await answers(flow, 2)
        assert asked_of == [{"v": 1}, {"v": 1}, {"v": 2}]


@pytest.mark.parametrize(("status", "connected"), [("429 Much", True), ("503 Later", False)])
async def test_it_waits_as_long_as_the_server_asks(tmp_path: Path, status: str, connected: bool) -> None:
    later = text("", status, more="retry-after: 1\r\n")
    async with sending(tmp_path, always(later, EMPTY)) as (flow, server):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await put(flow, {"v": 1}, {"v": 2})
        await server.until(1)
        await flow.until(lambda: flow.node("out")["errors"].get("retry") == 1, "it waits")
        assert flow.node("out")["connected"] is connected
        await answers(flow, 2)
        assert loop.time() - began >= 1
        assert [json.loads(one.body)["v"] for one in server.asked] == [1, 1, 2]
        assert flow.node("out")["connected"] is True


async def test_who_is_asked_to_wait_for_long_is_not_connected(tmp_path: Path) -> None:
    later = text("", "429 Much", more=f"retry-after: {10**20}\r\n")
    async with sending(tmp_path, always(later)) as (flow, server):
        await put(flow, {"v": 1})
        await flow.until(lambda: flow.node("out")["errors"].get("retry") == 1, "it waits")
        assert flow.node("out")["connected"] is False
        assert flow.node("out")["last_error"].endswith(
            "the server answers 429 Too Many Requests; nothing is sent for 1h, as it asks"
        )
        assert len(server.asked) == 1


async def test_a_server_that_is_away_gets_all_in_order_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    async with living(tmp_path, text=flow_of(f"http://127.0.0.1:{port}/v")) as flow:
        await put(flow, *({"v": one} for one in range(20)))
        await flow.until(lambda: flow.node("out")["connected"] is False, "it is missed")
        assert "connection refused" in flow.node("out")["last_error"]
        async with serve(always(EMPTY), port=port) as server:
            await answers(flow, 20)
            assert [json.loads(one.body)["v"] for one in server.asked] == list(range(20))
        assert flow.node("out")["dropped"] == {}


@pytest.mark.parametrize("status", ["500 Oh", "408 Slow", "425 Early", "429 Much"])
async def test_patience_has_an_end_where_the_flow_says_so(tmp_path: Path, status: str) -> None:
    """A message on which the server always fails would hold all others up."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(text("", status) if b"poison" in asked.body else EMPTY)

    async with sending(tmp_path, reply, "give_up_after: 300ms") as (flow, server):
        await put(flow, "poison", "cure")
        await answers(flow)
        error = last_error(flow)
        assert (error["code"], error["message"]) == ("given-up", "poison")
        assert error["reason"].endswith("so it went on for 300ms")
        assert len(server.asked) >= 3
        assert server.asked[-1].body == b"cure"


async def test_only_a_server_with_a_trusted_certificate_gets_anything(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with serve(always(EMPTY), tls=tls) as server:
        async with living(tmp_path / "a", text=flow_of(server.url + "/v")) as flow:
            await put(flow, {"v": 1})
            await flow.until(lambda: flow.node("out")["connected"] is False, "it is not trusted")
            assert "the server's certificate is not trusted" in flow.node("out")["last_error"]
            assert server.asked == []
        async with living(tmp_path / "b", text=flow_of(server.url + "/v", f"ca_file: {tmp_path / 'ca.pem'}")) as flow:
            await put(flow, {"v": 2})
            await answers(flow)
            assert json.loads(server.asked[0].body) == {"v": 2}


async def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    async with sending(tmp_path, always(EMPTY)) as (flow, server):
        ctx = flow.engine.runtime.contexts["bess/a"]
        for number, nasty in enumerate([float("nan"), {"a": [float("inf")]}, "\ud800", {"a": "\ud800"}, 10**30]):
            await ctx.emit(ctx.message(nasty, position=str(number)))
        await put(flow, "last")
        await flow.until(lambda: bool(server.asked) and server.asked[-1].body == b"last", "the last one")
        assert flow.node("out")["errors"].get("exception") is None
        assert flow.node("out")["errors"]["body"] + len(server.asked) == 6
        assert flow.node("out")["restarts"] == 0
