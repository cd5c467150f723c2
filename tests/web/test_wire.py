"""Clients that are slow, broken or hostile, on raw sockets; and bodies that nobody would think of."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.web.connection import MAX_HEAD
from tests.peers.until import until
from tests.web.site import PATIENCE_S, Site, site

LARGE = '''
from flowrunner.http import Response
from flowrunner.node import Node

class Large(Node):
    """More than all buffers hold."""

    inputs = "none"

    def claims(self):
        return ["route:GET /large"]

    def handle(self, request, ctx):
        return Response(body=b"x" * 20_000_000)
'''
HEAD = b"POST /values HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


async def opened(web: Site, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


# ---- slow and broken -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_half_requests_do_not_hold_up_others_and_become_no_value() -> None:
    async with site() as web:
        halves = [
            b"",
            b"POST /val",
            HEAD,
            HEAD + b"Content-Length: 20\r\n\r\n" + b'{"soc_percent": 1',
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + b'{"soc',
            HEAD + b'Content-Length: 500\r\n\r\n{"soc_percent": 1}',
        ]
        open_ones = [await opened(web, half) for half in halves * 10]
        assert (await web.post('{"count": 7}')).status_code == 200
        for _, writer in open_ones:
            writer.close()
        assert (await web.post('{"count": 8}')).status_code == 200
        assert web.record == {"count": 8}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n", b"POST /val", HEAD + b"Content-Length: 20\r\n\r\n{", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"],
)
async def test_a_request_that_does_not_end_is_closed(data: bytes) -> None:
    async with site(request_s=0.1) as web:
        reader, writer = await opened(web, data)
        assert await rest(reader) == b""
        writer.close()
        assert web.record is None


@pytest.mark.anyio
async def test_dripping_does_not_help() -> None:
    async with site(request_s=0.2) as web:
        reader, writer = await opened(web, b"GET /status HTTP/1.1\r\n")
        closed = asyncio.ensure_future(rest(reader))
        while not closed.done():
            writer.write(b"x")
            assert (await web.http.get("/health/live")).status_code == 200  # others have their answers meanwhile
        assert closed.result() == b""
        writer.close()


@pytest.mark.anyio
async def test_a_connection_is_kept_between_requests() -> None:
    async with site(request_s=0.1) as web:
        reader, writer = await opened(web, b"")
        number, enough = 0, asyncio.get_running_loop().time() + 0.3  # longer in all than one request may take
        while asyncio.get_running_loop().time() < enough:
            number += 1
            body = b'{"count": %d}' % number
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}}")
        writer.close()
        assert web.record == {"count": number}


@pytest.mark.anyio
async def test_a_connection_that_nobody_uses_after_a_refusal_is_closed() -> None:
    """Also where the refusal came before the body did."""
    async with site() as web:
        web.server._server.config.timeout_keep_alive = 0.2  # type: ignore[assignment]  # seconds, and it may be a part
        reader, writer = await opened(web, b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        assert status_of(await reader.readuntil(b"}")) == 404
        writer.write(b"12345")
        assert await rest(reader) == b""
        writer.close()


@pytest.mark.anyio
@pytest.mark.parametrize("header", [b"", b"Sec-Fetch-Mode: cors\r\n"])
async def test_who_takes_nothing_of_an_answer_is_dropped(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    async with site("flow: site\nnodes:\n  large: {type: large}\n", nodes=[tmp_path], request_s=0.2) as web:
        _, writer = await asyncio.open_connection("127.0.0.1", web.port, limit=1000)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        writer.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n")
        state = web.server._server.server_state
        await web.until(lambda: state.total_requests == 1, "the answer")
        await web.until(lambda: not state.connections, "the end of the connection")
        writer.transport.abort()


async def a_while(seconds: float) -> None:
    """A client that does not hurry: what is waited for is the client's own."""
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    await until(lambda: loop.time() >= due, "its own time")


@pytest.mark.anyio
async def test_who_takes_an_answer_slowly_gets_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    async with site("flow: site\nnodes:\n  large: {type: large}\n", nodes=[tmp_path], request_s=0.2) as web:
        web.server._server.config.timeout_keep_alive = 0.1  # type: ignore[assignment]  # as above
        reader, writer = await opened(web, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        taken, began = 0, asyncio.get_running_loop().time()
        while piece := await reader.read(1_000_000):
            taken += len(piece)
            await a_while(0.02)  # a client's own slowness
        assert taken > 20_000_000
        assert asyncio.get_running_loop().time() - began > 0.4
        writer.close()


@pytest.mark.anyio
async def test_headers_behind_a_body_have_an_end_and_say_nothing() -> None:
    async with site() as web:
        start = HEAD.replace(b"Content-Type: application/json\r\n", b"") + b"Transfer-Encoding: chunked\r\n\r\n"
        body = b'c\r\n{"count": 1}\r\n0\r\n'
        said = b"Content-Type: application/json\r\nConnection: close\r\n"
        reader, writer = await opened(web, start + body + said + b"\r\n")
        assert status_of(await reader.readuntil(b"}")) == 415
        writer.close()
        for line in (b"x: y\r\n" * 250, b"y" * 1000):
            reader, writer = await opened(web, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"long: ")
            answer = asyncio.ensure_future(rest(reader))
            sent = 0
            while not answer.done() and sent < 20_000_000:
                try:
                    writer.write(line * 10)
                    await writer.drain()
                except ConnectionError:
                    break
                sent += len(line) * 10
            assert await answer == b""
            writer.close()
        assert web.record is None


@pytest.mark.anyio
async def test_small_pieces_of_a_large_body_are_no_headers() -> None:
    async with site() as web:
        reader, writer = await opened(web, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for piece in (b'{"name": "', *[b"x" * 10_000] * 6, b'"}'):
            for part in (b"%x\r\n" % len(piece), piece + b"\r\n"):
                writer.write(part)
                await writer.drain()
                await a_while(0.001)  # so that the head of a piece comes by itself
        writer.write(b"0\r\n\r\n")
        assert status_of(await rest(reader)) == 200
        writer.close()


@pytest.mark.anyio
async def test_heads_without_end_are_refused() -> None:
    async with site() as web:
        for line in (b"x: " + b"y" * 1000 + b"\r\n", b"y" * 1000):
            reader, writer = await opened(web, b"GET /status HTTP/1.1\r\nHost: localhost\r\nlong: ")
            answer = asyncio.ensure_future(rest(reader))
            for _ in range(10_000):
                if answer.done():
                    break
                try:
                    writer.write(line)
                    await writer.drain()
                except ConnectionError:
                    break
            got = await answer
            assert got == b"" or status_of(got) == 431
            assert b"refused" not in got
            writer.close()
        big = {"x-big": "y" * (MAX_HEAD // 2)}
        assert (await web.http.get("/status", headers=big)).status_code == 200, "a large head is none without end"


@pytest.mark.anyio
async def test_a_large_body_behind_a_head_in_pieces_is_no_large_head() -> None:
    async with site() as web:
        body = b'{"name": "' + b"x" * 60_000 + b'"}'
        head = HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        reader, writer = await opened(web, head[:30])
        writer.write(head[30:] + body)
        assert status_of(await rest(reader)) == 200
        writer.close()


@pytest.mark.anyio
async def test_bytes_after_a_refused_body_are_thrown_away() -> None:
    async with site() as web:
        body = b"x" * 3_000_000
        reader, writer = await opened(web, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 413")
        writer.write(HEAD + b'Content-Length: 12\r\n\r\n{"count": 1}')
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.anyio
async def test_a_body_without_end_is_refused_while_it_comes() -> None:
    async with site() as web:
        piece = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        reader, writer = await opened(web, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + piece * 7)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 413")
        writer.close()


@pytest.mark.anyio
async def test_expect_continue_is_refused_before_the_body_is_sent() -> None:
    async with site() as web:
        reader, writer = await opened(web, HEAD + b"Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 413")
        writer.close()


@pytest.mark.anyio
async def test_requests_in_one_packet_are_answered_in_order() -> None:
    async with site() as web:
        one = HEAD + b'Content-Length: 12\r\n\r\n{"count": 1}'
        two = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await web.raw(one + two)
        assert [int(part[9:12]) for part in answer.split(b"HTTP/1.1 ")[1:] for part in [b"HTTP/1.1 " + part]] == [
            200,
            404,
        ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nA\x00B: c\r\n\r\n",
        b"POST /values HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /values HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /values HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /values HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\x00" * 70_000,
    ],
)  # fmt: skip
async def test_what_is_no_request_harms_nobody(web: Site, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    answer = await web.raw(data)
    if answer:
        assert 200 <= status_of(answer) < 500
    assert (await web.http.get("/health/live")).status_code == 200
    assert web.record is None
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


# ---- bodies that nobody would think of -----------------------------------------------------------------------------


FIELDS: dict[str, Any] = {
    "soc_percent": lambda value: _number(value) and 0 <= value <= 100,
    "power_mw": lambda value: _number(value) and -20 <= value <= 20,
    "count": lambda value: (
        type(value) is int or (type(value) is float and value.is_integer())
    ),  # 7.0, as in JSON Schema
    "name": lambda value: isinstance(value, str),
    "on": lambda value: isinstance(value, bool),
}


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _fits(body: Any) -> bool:
    """The rules of FLOW, said once more."""
    return (
        isinstance(body, dict)
        and bool(body)
        and all(name in FIELDS and FIELDS[name](value) for name, value in body.items())
    )


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from([0, 100, 100.0001, -0.0, 5e-324, 1.8e308, 2**63, -(2**63) - 1, 2**64, "NaN", "75", "\x00"]),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
likely = st.dictionaries(
    st.one_of(st.sampled_from(sorted(FIELDS)), st.text(max_size=8)), anything, min_size=1, max_size=3
)
near = st.fixed_dictionaries(
    {},
    optional={
        "soc_percent": st.floats(-1, 101), "power_mw": st.integers(-21, 21), "count": st.integers(),
        "name": st.text(), "on": st.booleans(),
    },
)  # fmt: skip


class Talk:
    """One server for all the examples of this file, and what it has taken so far."""

    def __init__(self, runner: asyncio.Runner, web: Site) -> None:
        self.runner, self.web = runner, web
        self.known: dict[str, Any] = {}

    def say(self, body: bytes) -> tuple[int, Any]:
        answer: httpx2.Response = self.runner.run(self.web.post(body))
        assert self.web.engine.runtime.workers["site/rest"].counters.errors == {}
        return answer.status_code, answer.json()

    def check(self) -> None:
        assert (self.web.record or {}) == self.known


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    with asyncio.Runner() as runner:
        running = site()
        yield Talk(runner, runner.run(running.__aenter__()))
        runner.run(running.__aexit__(None, None, None))


@given(st.one_of(anything, likely, near))
@settings(max_examples=250, deadline=None)
def test_any_json_is_taken_or_refused_by_the_rules(talk: Talk, value: Any) -> None:
    status, answer = talk.say(json.dumps(value).encode("utf-8", "surrogatepass"))
    if _fits(value) and not _beyond_64_bits(value):
        assert status == 200, answer
        talk.known |= value
    else:
        assert (status, answer["error"]) in ((400, "not-json"), (422, "value"))
    talk.check()


def _beyond_64_bits(body: dict[str, Any]) -> bool:
    return not -(2**63) <= body.get("count", 0) < 2**64


pieces = st.text(alphabet='{}[]":,.0123456789eE+-\\uNaInfity \n', max_size=60).map(str.encode)


@given(st.one_of(st.binary(max_size=200), pieces))
@settings(max_examples=250, deadline=None)
def test_any_bytes_are_refused_with_a_sentence(talk: Talk, body: bytes) -> None:
    status, answer = talk.say(body)
    assert (status, answer["error"]) in ((400, "not-json"), (422, "value"))
    assert answer["detail"]
    talk.check()


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_on_the_wire(talk: Talk, packet: bytes, with_line: bool) -> None:
    answer = talk.runner.run(talk.web.raw((HEAD if with_line else b"") + packet))
    assert not answer.startswith(b"HTTP/1.1 5")
    talk.check()
