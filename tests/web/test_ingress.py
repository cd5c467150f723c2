"""Flows' routes by both ways, straight from the connection and through the application: nobody can tell which."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowrunner.http import Response, refusal
from flowrunner.web import connection
from tests.web.site import PATIENCE_S, Site, site

pytestmark = pytest.mark.anyio
JSON = "content-type: application/json"
OTHER_WAY = "sec-fetch-mode: cors"
"""A header that changes nothing, but what says it goes through the application."""
STAMP = re.compile(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TYPES = '''
import asyncio
from flowrunner.errors import Reject
from flowrunner.http import Response
from flowrunner.node import Node

class Odd(Node):
    """Answers as it is asked to."""

    inputs = "none"

    class Options(Node.Options):
        path: str = "/odd"

    def claims(self):
        return [f"route:POST {self.options.path}"]

    async def open(self, ctx):
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    def handle(self, request, ctx):
        how = request.body.decode()
        if how == "later":
            return self.later()
        if how == "later-wrong":
            return self.wrong()
        if how == "future":
            self.begun.set()
            self.future = asyncio.get_running_loop().create_future()
            return self.future
        if how == "reject":
            raise Reject("odd", "it is odd")
        if how == "exit":
            raise SystemExit("the bell broke")
        if how == "nothing":
            return None
        return eval(how, {"Response": Response, "self": self})

    async def later(self):
        self.begun.set()
        await self.go.wait()
        return Response(status=201, body={"later": True})

    async def wrong(self):
        await asyncio.sleep(0)
        raise SystemExit("the bell broke")
'''
ODD = "flow: site\nnodes:\n  odd: {type: odd}\n"
SLOW = """
flow: site
nodes:
  ask: {type: http-in, route: POST /ask, rate_limit: 100000/s, timeout: 200ms}
  never: {type: filter, from: ask, when: n > 3}
  answer: {type: http-response, from: never, headers: {x-n: "{n}"}}
"""


def request(line: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    lines = [f"{line} HTTP/1.1", f"host: {host}", *headers]
    if body or line.startswith("POST"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Line:
    """One connection, on which answers are read one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode("latin-1").strip().split("\r\n")
            headers = dict(one.split(": ", 1) for one in lines)
            assert len(headers) == len(lines), "no header twice"
            return int(status.split()[1]), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def say(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.answer()

    async def closed(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read() == b""


@pytest.fixture(scope="module")
async def odd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "odd.py").write_text(TYPES)
    async with site(ODD, nodes=[folder]) as web:
        yield web


async def line(web: Site) -> Line:
    return Line(*await asyncio.open_connection("127.0.0.1", web.port))


async def both(web: Site, *asked: Any, **more: Any) -> list[tuple[int, dict[str, str], bytes]]:
    found = []
    for headers in ([], [OTHER_WAY]):
        talk = await line(web)
        status, named, body = await talk.say(request(*asked, *headers, **more))
        named.pop("date")
        named.pop("content-length" if STAMP.search(body) else "", None)  # the age has its own length
        found.append((status, dict(sorted(named.items())), STAMP.sub(b"now", body)))
        talk.writer.close()
    return found


async def test_which_way_a_request_takes(web: Site) -> None:
    """The length comes last where no application has made the answer: else the tests below would compare nothing."""
    for asked, body in (("GET /status", b""), ("POST /values", b'{"count": 1}')):
        for headers, short in (([JSON], True), ([JSON, OTHER_WAY], False)):
            talk = await line(web)
            _, named, _ = await talk.say(request(asked, *headers, body=body))
            assert (list(named)[-1] == "content-length") is short
            talk.writer.close()


# ---- the same words --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([JSON], b'{"soc_percent": 75.5}', 200),
        ([JSON], b'{"soc_percent": 175.5}', 422),
        ([JSON], b'{"soc_percent": 1, "soc_percent": 2}', 400),
        ([JSON], b"", 400),
        ([JSON], b"{" * 70_000, 413),
        (["content-type: text/plain"], b'{"soc_percent": 75.5}', 415),
        ([JSON, "content-encoding: gzip"], b'{"soc_percent": 75.5}', 415),
        ([JSON, "connection: close"], b'{"soc_percent": 75.5}', 200),
        ([JSON, "cookie: a=b"], b'{"soc_percent": 75.5}', 200),
        ([JSON, JSON], b'{"soc_percent": 75.5}', 200),
    ],
)
async def test_a_post_is_answered_the_same(web: Site, headers: list[str], body: bytes, status: int) -> None:
    one, other = await both(web, "POST /values", *headers, body=body)
    assert one == other
    assert one[0] == status


@pytest.mark.parametrize(
    ("asked", "host", "status"),
    [
        ("GET /status", "localhost", 200),
        ("GET /status?key=", "localhost", 200),
        ("GET /status?key=x&key=y", "localhost", 400),
        ("GET /%73tatus", "localhost", 200),
        ("GET //status", "localhost", 404),
        ("GET /status/", "localhost", 404),
        ("POST /status", "localhost", 405),
        ("PUT /values", "localhost", 405),
        ("GET /nothing", "localhost", 404),
        ("GET /status", "evil.example.org", 403),
        ("GET /status", "", 403),
    ],
)
async def test_all_else_is_answered_the_same(web: Site, asked: str, host: str, status: int) -> None:
    one, other = await both(web, asked, host=host)
    assert (one[0], one[1]) == (other[0], other[1])
    assert one[0] == status


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        (["secret"], 200), (["Secret"], 401), ([""], 401), ([], 401), (["secret", "other"], 200),
        (["other", "secret"], 401),
    ],
)  # fmt: skip
async def test_keys_are_asked_for_by_both_ways(keys: list[str], status: int) -> None:
    async with site(environment={"SITE_KEY": "secret"}) as web:
        given = [f"x-api-key: {key}" for key in keys]
        one, other = await both(web, "POST /values", JSON, *given, body=b'{"soc_percent": 75.5}')
        assert one == other
        assert one[0] == status


async def test_guesses_are_counted_together() -> None:
    async with site(environment={"SITE_KEY": "secret"}, speed=0.001) as web:  # no second goes by
        found = [(await both(web, "POST /values", JSON, "x-api-key: guess", body=b"{}")) for _ in range(4)]
        assert [status for pair in found for status, *_ in pair] == [401] * 5 + [429] * 3


async def test_what_a_connection_was_allowed_once_is_judged_again() -> None:
    async with site(environment={"SITE_KEY": "secret"}) as web:
        talk, body = await line(web), b'{"soc_percent": 1}'
        good = request("POST /values", JSON, "x-api-key: secret", body=body)
        for _ in range(2):
            assert (await talk.say(good))[0] == 200
            assert (await talk.say(request("POST /values", JSON, "x-api-key: other", body=body)))[0] == 401
            assert (await talk.say(request("POST /values", JSON, body=body)))[0] == 401
            assert (await talk.say(request("POST /values", JSON, "x-api-key: secret", body=body, host="evil")))[
                0
            ] == 403
        foreign = [JSON, "x-api-key: secret", "origin: http://evil.example.org"]
        assert (await talk.say(request("POST /values", *foreign, body=body)))[0] == 403
        cross = [JSON, "x-api-key: secret", "sec-fetch-site: cross-site"]
        assert (await talk.say(request("POST /values", *cross, body=body)))[0] == 403
        talk.writer.close()


async def test_after_a_reload_the_new_routes_are_asked(tmp_path: Path) -> None:
    text = "flow: site\nnodes:\n  rest: {{type: http-in, route: POST {path}, max_body: {most}}}\n"
    async with site(text.format(path="/one", most="1KiB"), folder=tmp_path) as web:
        talk, body = await line(web), b'{"name": "' + b"x" * 50 + b'"}'
        assert (await talk.say(request("POST /one", JSON, body=body)))[0] == 200
        for path, most in (("/two", "1KiB"), ("/two", "20B")):
            (tmp_path / "site.yaml").write_text(text.format(path=path, most=most))
            assert (await web.reloader.reload()).result == "applied"
            assert (await talk.say(request("POST /one", JSON, body=body)))[0] == 404
            status = 200 if most == "1KiB" else 413
            assert (await talk.say(request("POST /two", JSON, body=body)))[0] == status
        talk.writer.close()


@pytest.mark.parametrize("other_way", [[], [OTHER_WAY]])
@pytest.mark.parametrize("after", ["", "  a: {type: log, from: b}\n"])
async def test_a_reload_while_the_body_comes(
    tmp_path: Path, other_way: list[str], after: str, caplog: pytest.LogCaptureFixture
) -> None:
    rest, route = "flow: site\nnodes:\n  b: {type: http-in, route: POST /b}\n", "  a: {type: http-in, route: POST /a}\n"
    async with site(rest + route, folder=tmp_path) as web:
        talk, asked = await line(web), request("POST /a", JSON, *other_way, body=b'{"n": 1}')
        talk.writer.write(asked[:-1])
        await web.until(
            lambda: any(getattr(one, "cycle", None) for one in web.server._server.server_state.connections), "the head"
        )
        (tmp_path / "site.yaml").write_text(rest + after, "utf-8")
        assert (await web.reloader.reload()).result == "applied"
        talk.writer.write(asked[-1:])
        status, headers, body = await talk.answer()
        assert (status, headers["retry-after"], b"send it again" in body) == (503, "1", True)
        talk.writer.close()
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


@pytest.mark.parametrize("other_way", [[], [OTHER_WAY]])
async def test_an_empty_line_while_the_answer_is_made(tmp_path: Path, other_way: list[str]) -> None:
    (tmp_path / "odd.py").write_text(TYPES)
    async with site(ODD, nodes=[tmp_path], request_s=0.1) as web:
        talk, node = await line(web), web.node("odd")
        talk.writer.write(request("POST /odd", *other_way, body=b"future"))
        await node.begun.wait()
        talk.writer.write(b"\r\n")
        asyncio.get_running_loop().call_later(0.3, node.future.set_result, Response(status=201))
        assert (await talk.answer())[0] == 201
        talk.writer.close()


async def test_headers_cannot_be_changed_by_a_node(tmp_path: Path) -> None:
    """They are those of the next request on the connection too."""
    (tmp_path / "odd.py").write_text(TYPES.replace("eval(how", "request.headers.update(a='b') or eval(how"))
    async with site(ODD, nodes=[tmp_path]) as web:
        talk = await line(web)
        assert (await talk.say(request("POST /odd", body=b"Response()")))[0] == 500
        talk.writer.close()


async def test_the_programs_own_paths_come_first(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(TYPES)
    text = ODD.replace("{type: odd}", "{type: odd, path: /login}")
    async with site(text, nodes=[tmp_path], users={"anna": "editor"}) as web:
        one, other = await both(web, "POST /login", body=b"Response(body=b'mine')")
        assert one[0] == other[0]
        assert b"mine" not in one[2] + other[2]


# ---- what nodes answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("Response()", 200),
        ("Response(body={'a': 1})", 200),
        ("Response(body=b'')", 200),
        ("Response(body=b'text', headers={'Content-Type': 'text/plain'})", 200),
        ("Response(body=float('nan'))", 200),
        ("Response(status=204)", 204),
        ("Response(status=304)", 304),
        ("Response(status=205)", 205),
        ("Response(status=599, headers={'cache-control': 'max-age=5', 'x-a': '\\u00e4'})", 599),
        ("reject", 422),
        ("exit", 500),
        ("later-wrong", 500),
        ("nothing", 500),
    ],
)
async def test_answers_of_nodes(odd: Site, answer: str, status: int) -> None:
    one, other = await both(odd, "POST /odd", body=answer.encode())
    assert one == other
    assert one[0] == status


@pytest.mark.parametrize(
    "answer",
    [
        "Response(headers={'x-a': 'b\\r\\nx-c: d'})",
        "Response(headers={'x a': 'b'})",
        "Response(headers={'': 'b'})",
        "Response(headers={'x-a': '\\u20ac'})",
        "Response(headers={'transfer-encoding': 'chunked'}, body=b'x')",
        "Response(status=204, body=b'x')",
        "Response(status=99)",
        "Response(status=1000)",
        "Response(body=b'x', headers=7)",
    ],
)
async def test_what_cannot_be_sent_is_a_defect_and_the_connection_goes_on(
    odd: Site, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    talk = await line(odd)
    status, headers, body = await talk.say(request("POST /odd", body=answer.encode()))
    assert (status, json.loads(body)) == (500, refusal(500, "internal", json.loads(body)["detail"]).body)
    assert "x-c" not in headers
    assert "failed" in caplog.text
    assert (await talk.say(request("POST /odd", body=b"Response()")))[0] == 200
    talk.writer.close()


@pytest.mark.parametrize("other_way", [[], [OTHER_WAY]])
async def test_what_was_sent_behind_the_last_request_is_not_done(odd: Site, other_way: list[str]) -> None:
    """Nobody hears that it was done, and who sends it again would have it done twice."""
    odd.node("odd").done = []
    how = b"self.done.append(1) or Response(headers={'connection': 'close'})"
    talk = await line(odd)
    asked = request("POST /odd", *other_way, body=how)
    status, _, _ = await talk.say(request("POST /odd", body=how) + asked * 2)
    assert (status, await talk.closed(), odd.node("odd").done) == (200, True, [1])
    talk.writer.close()


async def test_an_answer_may_end_the_connection(odd: Site) -> None:
    for headers in ([], ["connection: close"]):
        talk = await line(odd)
        answer = b"Response(headers={'connection': 'close'})" if not headers else b"Response()"
        _, named, _ = await talk.say(request("POST /odd", *headers, body=answer))
        assert named["connection"] == "close"
        assert await talk.closed()
        talk.writer.close()


# ---- later ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [b"later", b"future"])
async def test_what_is_sent_ahead_waits_for_its_turn(tmp_path: Path, how: bytes) -> None:
    (tmp_path / "odd.py").write_text(TYPES)
    async with site(ODD, nodes=[tmp_path]) as web:
        talk, odd = await line(web), web.node("odd")
        talk.writer.write(request("POST /odd", body=how) + request("POST /odd", body=b"Response(status=202)") * 3)
        await odd.begun.wait()
        assert (await web.http.get("/health/live")).status_code == 200
        odd.go.set()
        if how == b"future":
            odd.future.set_result(Response(status=201))
        assert [(await talk.answer())[0] for _ in range(4)] == [201, 202, 202, 202]
        assert (await talk.say(request("POST /odd", body=b"Response(status=203)")))[0] == 203
        talk.writer.close()


async def test_who_goes_while_the_answer_is_made_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "odd.py").write_text(TYPES)
    async with site(ODD, nodes=[tmp_path]) as web:
        talk, odd = await line(web), web.node("odd")
        talk.writer.write(request("POST /odd", body=b"future"))
        await odd.begun.wait()
        talk.writer.transport.abort()
        state = web.server._server.server_state
        await web.until(lambda: not state.connections, "the connection is gone")
        odd.future.set_result(Response(body=b"x" * 100_000))
        await web.until(lambda: not state.tasks, "nothing is waited for")
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


async def test_the_stop_waits_for_a_flow_and_then_says_so(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(TYPES)
    async with site(ODD, nodes=[tmp_path]) as web:
        web.server._server.config.timeout_graceful_shutdown = 1
        one, two = await line(web), await line(web)
        for talk, how in ((one, b"future"), (two, b"later")):
            talk.writer.write(request("POST /odd", body=how))
        state = web.server._server.server_state
        await web.until(lambda: len(state.tasks) == 2, "both wait")
        await web.server.close()
        for talk in (one, two):
            status, headers, body = await talk.answer()
            assert (status, headers["retry-after"], json.loads(body)["error"]) == (503, "5", "stopping")
            assert await talk.closed()
            talk.writer.close()


async def test_the_flow_that_gives_no_answer_in_time() -> None:
    async with site(SLOW) as web:
        talk = await line(web)
        assert (await talk.say(request("POST /ask", JSON, body=b'{"n": 4}')))[1]["x-n"] == "4"
        status, _, body = await talk.say(request("POST /ask", JSON, body=b'{"n": 3}'))
        assert (status, json.loads(body)) == (
            504, {"error": "timeout", "detail": "the flow gave no answer within 200ms"},
        )  # fmt: skip
        assert web.engine.runtime.workers["site/ask"].counters.errors == {"timeout": 1}
        assert web.engine.runtime.replies._open == {}
        assert (await talk.say(request("POST /ask", JSON, body=b'{"n": 5}')))[0] == 200
        talk.writer.close()


async def test_many_requests_of_one_packet_let_others_have_their_turn(odd: Site) -> None:
    talk, count, loop = await line(odd), connection.AT_ONCE * 3, asyncio.get_running_loop()
    node = odd.node("odd")
    node.turn, node.turns = 0, []

    def next_turn() -> None:
        node.turn += 1
        if len(node.turns) < count:
            loop.call_soon(next_turn)

    next_turn()
    bodies = [b"self.turns.append(self.turn) or Response(body=%d)" % one for one in range(count)]
    talk.writer.write(b"".join(request("POST /odd", body=body) for body in bodies))
    assert [json.loads((await talk.answer())[2]) for _ in range(count)] == list(range(count))
    assert max(Counter(node.turns).values()) == connection.AT_ONCE
    talk.writer.close()


async def test_a_body_in_pieces(web: Site) -> None:
    talk, data = await line(web), request("POST /values", JSON, body=b'{"name": "' + b"x" * 50_000 + b'"}')
    for at in range(0, len(data), 9_999):
        talk.writer.write(data[at : at + 9_999])
        await talk.writer.drain()
        assert (await web.http.get("/health/live")).status_code == 200
    assert (await talk.answer())[0] == 200
    talk.writer.close()


@pytest.mark.parametrize("other_way", [[], [OTHER_WAY]])
async def test_a_body_that_is_too_large_is_refused_before_it_comes(web: Site, other_way: list[str]) -> None:
    talk = await line(web)
    lines = ["POST /values HTTP/1.1", "host: localhost", JSON, "content-length: 9000000", *other_way, "", ""]
    assert (await talk.say("\r\n".join(lines).encode()))[0] == 413
    talk.writer.close()


@pytest.mark.parametrize("other_way", [[], [OTHER_WAY]])
async def test_old_and_odd_requests(web: Site, other_way: list[str]) -> None:
    old = request("GET /status", "connection: keep-alive", *other_way).replace(b"HTTP/1.1", b"HTTP/1.0")
    talk = await line(web)
    status, named, _ = await talk.say(old)
    assert (status, named["connection"]) == (200, "close"), "it knows no connection that goes on"
    talk.writer.close()
    talk = await line(web)
    for _ in range(2):
        assert (await talk.say(request("GET /status", *other_way, "content-length: 5") + b"hello"))[0] == 200
    talk.writer.close()


async def test_nobody_waits_for_a_message_that_the_flow_never_got() -> None:
    async with site(SLOW.replace("type: http-in,", 'type: http-in, key: "{site}",')) as web:
        talk = await line(web)
        status, _, body = await talk.say(request("POST /ask", JSON, body=b'{"n": 4}'))
        assert (status, b"site" in body) == (422, True)
        assert web.engine.runtime.replies._open == {}
        talk.writer.close()


async def test_a_connection_that_nobody_uses_is_closed() -> None:
    async with site() as web:
        web.server._server.config.timeout_keep_alive = 0.2  # type: ignore[assignment]  # seconds, and it may be a part
        for asked in (request("GET /status"), request("GET /status", OTHER_WAY)):
            talk = await line(web)
            assert (await talk.say(asked))[0] == 200
            began = asyncio.get_running_loop().time()
            assert await talk.closed()
            assert asyncio.get_running_loop().time() - began > 0.15
            talk.writer.close()


@pytest.mark.parametrize("other_way", [[], [OTHER_WAY]])
async def test_a_slow_answer_behind_a_quick_one_is_no_connection_that_nobody_uses(
    tmp_path: Path, other_way: list[str]
) -> None:
    (tmp_path / "odd.py").write_text(TYPES)
    async with site(ODD, nodes=[tmp_path]) as web:
        web.server._server.config.timeout_keep_alive = 0.1  # type: ignore[assignment]  # as above
        talk, node = await line(web), web.node("odd")
        talk.writer.write(request("POST /odd", body=b"Response()") + request("POST /odd", *other_way, body=b"future"))
        assert (await talk.answer())[0] == 200
        await node.begun.wait()
        asyncio.get_running_loop().call_later(0.3, node.future.set_result, Response(status=201))
        assert (await talk.answer())[0] == 201
        talk.writer.close()


async def test_half_a_request_behind_a_whole_one_has_its_time_too() -> None:
    async with site(request_s=0.2) as web:
        talk = await line(web)
        talk.writer.write(request("GET /status") + b"GET /sta")
        assert (await talk.answer())[0] == 200
        assert await talk.closed()
        talk.writer.close()
