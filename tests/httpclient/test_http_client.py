"""The HTTP client against real sockets: above all, what was certainly not sent and what may have arrived."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from flowrunner.clock import run_virtual
from flowrunner.errors import NotConnected
from flowrunner.httpclient import Answer, HttpClient, NoAnswer, check_url, header_fault, is_loopback, origin_of
from tests.peers.raw_http import Asked, Reply, always, serve, text

pytestmark = pytest.mark.anyio
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param if request.param == "asyncio" else ("asyncio", {"loop_factory": uvloop.new_event_loop})


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def clients() -> AsyncIterator[list[HttpClient]]:
    made: list[HttpClient] = []
    yield made
    for one in made:
        await one.close()


def client(clients: list[HttpClient], base: str, **options: Any) -> HttpClient:
    made = HttpClient(base, **({"timeout_s": 10.0} | options))
    clients.append(made)
    return made


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset and not with an orderly close."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


def then(*parts: bytes, end: str = "open") -> Reply:
    """Write the parts, then hang up (``close``, ``reset``) or say nothing more (``open``)."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()
        if end == "reset":
            await reset(writer)
        elif end == "close":
            writer.close()
        else:
            await asyncio.Event().wait()

    return reply


# ---- answers -----------------------------------------------------------------------------------------------------


async def test_an_answer_whatever_its_status(clients: list[HttpClient]) -> None:
    answers = always(text('{"a": 1}', more="X-One: 1\r\n"), text("no", "429 Slow", "text/plain", "retry-after: 7\r\n"))
    async with serve(answers) as server:
        http = client(clients, server.url + "/api")
        first = await http.request("GET", "/prices", params={"zone": "AT & DE", "n": 5}, headers={"X-API-KEY": "k"})
        assert (first.status, first.json(), first.headers["x-one"]) == (200, {"a": 1}, "1")
        second = await http.request("POST", "orders?x=1", content=b'{"side": "BUY"}')
        assert (second.status, second.body, second.headers["retry-after"]) == (429, b"no", "7")
        with pytest.raises(ValueError, match="not JSON"):
            second.json()
        get, post = server.asked
        assert get.line == "GET /api/prices?zone=AT+%26+DE&n=5 HTTP/1.1"
        assert (get.header("x-api-key"), get.header("accept-encoding")) == ("k", "identity")
        assert str(get.header("user-agent")).startswith("flowrunner/")
        assert (post.line, post.body) == ("POST /api/orders?x=1 HTTP/1.1", b'{"side": "BUY"}')
        assert server.connections == 1  # kept open


async def test_a_whole_url_of_the_same_server_and_never_of_another(clients: list[HttpClient]) -> None:
    async with serve(always(text("{}"))) as server:
        http = client(clients, server.url)
        await http.request("GET", f"http://anna:s3cret@127.0.0.1:{server.port}/a%20b?token=t#".rstrip("#"))
        assert server.asked[0].line == "GET /a%20b?token=t HTTP/1.1"
        assert str(server.asked[0].header("authorization")).startswith("Basic ")
        for other in (f"https://127.0.0.1:{server.port}/", f"http://localhost:{server.port}/?token=t", "http://x:1/"):
            with pytest.raises(ValueError, match=r"is not on http://127\.0\.0\.1") as found:
                await http.request("GET", other)
            assert "token" not in str(found.value)
        assert len(server.asked) == 1


async def test_a_redirect_is_an_answer_and_a_cookie_is_not_kept(clients: list[HttpClient]) -> None:
    moved = text("", "302 Found", more="location: /elsewhere\r\nset-cookie: session=abc; path=/\r\n")
    async with serve(always(moved)) as server:
        http = client(clients, server.url)
        for _ in range(2):
            answer = await http.request("GET", "/a")
            assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")
        assert [one.line for one in server.asked] == ["GET /a HTTP/1.1"] * 2
        assert server.asked[1].header("cookie") is None


async def test_a_fresh_request_meets_no_kept_connection(clients: list[HttpClient]) -> None:
    async with serve(always(text("{}"))) as server:
        http = client(clients, server.url)
        for fresh in (False, True, True, False):
            await http.request("POST", "/orders", content=b"{}", fresh=fresh)
        assert [one.on for one in server.asked] == [1, 2, 3, 1]
        assert server.asked[1].header("connection") == "close"


async def test_compressed_answers(clients: list[HttpClient]) -> None:
    packed = gzip.compress(b'{"price": 50.5}')
    more = "content-encoding: gzip\r\n"
    bomb = gzip.compress(b" " * 10_000_000)
    answers = always(
        text(packed, more=more), text(bomb, more=more), text(packed[:-4], more=more), text(b"nonsense", more=more),
        text(b"x", more="content-encoding: br\r\n"),
    )  # fmt: skip
    async with serve(answers) as server:
        http = client(clients, server.url, max_body=100_000)
        assert (await http.request("GET", "/")).json() == {"price": 50.5}
        for why in ("larger than 100000", "ends too early", "cannot be decompressed", "not asked for"):
            with pytest.raises(NoAnswer, match=why):
                await http.request("GET", "/")


async def test_what_follows_a_compressed_answer_is_not_collected(clients: list[HttpClient]) -> None:
    endless = gzip.compress(b"1") + b" " * 8_000_000
    async with serve(always(text(endless, more="content-encoding: gzip\r\n"))) as server:
        http = client(clients, server.url, max_body=20_000_000)
        with pytest.raises(NoAnswer, match="more behind the end"):
            await http.request("GET", "/")


# ---- nothing was sent --------------------------------------------------------------------------------------------


async def test_refused_and_there_again(clients: list[HttpClient]) -> None:
    port = closed_port()
    http = client(clients, f"http://127.0.0.1:{port}")
    for fresh in (False, True):
        with pytest.raises(NotConnected) as found:
            await http.request("POST", "/orders?token=t0ken", fresh=fresh)
        assert str(found.value) == (
            f"http://127.0.0.1:{port}/orders: connection refused; is the server running, and are host and port right?"
        )
    async with serve(always(text("{}")), port=port):
        assert (await http.request("POST", "/orders")).status == 200


async def test_an_unknown_name(clients: list[HttpClient]) -> None:
    http = client(clients, "http://exchange.invalid:9100")
    with pytest.raises(NotConnected, match=r"http://exchange\.invalid:9100/x: the host name is not known"):
        await http.request("GET", "/x")


async def test_no_connection_in_time(clients: list[HttpClient]) -> None:
    """TLS to a server that takes the connection and says nothing: the request itself never leaves."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        http = client(clients, f"https://127.0.0.1:{mute.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(NotConnected, match=r"no connection within 0\.2 s"):
            await http.request("GET", "/")


async def test_certificates(clients: list[HttpClient], tmp_path: Path) -> None:
    authority = trustme.CA()
    pem, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(str(pem))
    trustme.CA().cert_pem.write_to_path(str(other))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the server's side of the refusals
    async with serve(always(text("{}")), tls=tls) as server:
        assert (await client(clients, server.url, ca_file=str(pem)).request("GET", "/")).status == 200
        for ca_file in ("", str(other)):
            with pytest.raises(NotConnected, match=r"certificate is not trusted \(.*\); give its authority by ca_file"):
                await client(clients, server.url, ca_file=ca_file).request("POST", "/")
        wrong_name = client(clients, server.url.replace("127.0.0.1", "localhost"), ca_file=str(pem))
        with pytest.raises(NotConnected, match="not trusted"):
            await wrong_name.request("POST", "/")
        with pytest.raises(NotConnected, match=r"missing\.pem cannot be used: No such file"):
            await client(clients, server.url, ca_file=str(tmp_path / "missing.pem")).request("GET", "/")
        empty = tmp_path / "empty.pem"
        empty.write_text("nothing")
        with pytest.raises(NotConnected, match="it holds no certificate"):
            await client(clients, server.url, ca_file=str(empty)).request("GET", "/")
        assert len(server.asked) == 1


async def test_https_where_http_is_spoken(clients: list[HttpClient]) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(text("", "400 Bad Request"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotConnected, match=r"no TLS connection .*does this port speak https"):
            await client(clients, f"https://127.0.0.1:{port}").request("GET", "/")


async def test_virtual_time_has_no_sockets() -> None:
    async def ask() -> str:
        http = HttpClient("http://127.0.0.1:1", timeout_s=1)
        with pytest.raises(NotConnected) as found:
            await http.request("GET", "/")
        await http.close()
        return str(found.value)

    text = await asyncio.to_thread(run_virtual, ask(), start=0)
    assert text == "http://127.0.0.1:1/: there are no sockets in virtual time; stub the node, or use a live clock"


async def test_a_closed_client_asks_nobody(clients: list[HttpClient]) -> None:
    async with serve(always(text("{}"))) as server:
        http = client(clients, server.url)
        await http.request("GET", "/")
        await http.close()
        await http.close()
        with pytest.raises(NotConnected, match="this client is closed"):
            await http.request("GET", "/")


# ---- something may have arrived ------------------------------------------------------------------------------------

ANSWERED = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
BROKEN: dict[str, tuple[Reply, str]] = {
    "hung up": (then(end="close"), "the server closed the connection without an answer"),
    "reset": (then(end="reset"), "the server closed the connection without an answer"),
    "reset in the answer": (then(ANSWERED + b"12", end="reset"), "broke in the middle of the answer"),
    "closed in the answer": (then(ANSWERED + b"12", end="close"), "broke in the middle of the answer"),
    "half a head": (then(b"HTTP/1.1 200 OK\r\ncontent-le", end="close"), "closed the connection without an answer"),
    "no HTTP": (then(b"220 mail.example ESMTP\r\n\r\n", end="open"), "what came back is no HTTP"),
    "declared too long": (then(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"), "has 5000 bytes; 1000 are read"),
    "endless": (
        then(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *([b"100\r\n" + b"x" * 256 + b"\r\n"] * 9)),
        "the answer is larger than 1000 bytes",
    ),
    "endless head": (then(b"HTTP/1.1 200 OK\r\n", *[b"x-%d: y\r\n" % n for n in range(20_000)]), "no HTTP"),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("fresh", [False, True], ids=["kept", "fresh"])
async def test_no_clear_answer(clients: list[HttpClient], how: str, fresh: bool) -> None:
    reply, why = BROKEN[how]
    async with serve(reply) as server:
        http = client(clients, server.url, max_body=1000)
        with pytest.raises(NoAnswer) as found:
            await http.request("POST", "/orders?token=t0ken", content=b"{}", fresh=fresh)
        assert str(found.value).startswith(f"{server.url}/orders: ")
        assert why in str(found.value)
        assert len(server.asked) == 1


async def test_a_silent_server(clients: list[HttpClient]) -> None:
    async with serve(then()) as server:
        http = client(clients, server.url)
        with pytest.raises(NoAnswer, match=r"no answer within 0\.1 s"):
            await http.request("POST", "/orders", timeout_s=0.1)


async def test_a_dripping_server_is_cut(clients: list[HttpClient]) -> None:
    """Each byte comes soon after the last: only a limit of the whole finds an end."""

    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)  # the client reads it

    async with serve(drip) as server:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match=r"the answer was not complete within 0\.3 s"):
            await client(clients, server.url).request("GET", "/", timeout_s=0.3)
        assert time.monotonic() - began < 3


async def test_a_connection_that_died_while_it_was_idle(clients: list[HttpClient]) -> None:
    """A GET is asked again on a new one; what may change something never is."""

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.on == 1 and len([one for one in server.asked if one.on == 1]) > 1:
            writer.close()  # it takes the second request on the first connection, and hangs up
        else:
            writer.write(text("{}"))

    for method in ("GET", "POST"):
        async with serve(once) as server:
            http = client(clients, server.url)
            await http.request(method, "/")
            if method == "GET":
                assert (await http.request("GET", "/")).status == 200
                assert [one.on for one in server.asked] == [1, 1, 2]
            else:
                with pytest.raises(NoAnswer):
                    await http.request("POST", "/")
                assert [one.on for one in server.asked] == [1, 1]


async def test_closed_while_a_request_is_on_its_way(clients: list[HttpClient]) -> None:
    async with serve(then()) as server:
        http = client(clients, server.url)
        waiting = asyncio.ensure_future(http.request("POST", "/orders"))
        await server.until(1)
        await http.close()
        with pytest.raises(NoAnswer):
            await waiting


# ---- what must not be sent any more ------------------------------------------------------------------------------


async def test_at_the_last_moment_it_is_asked_whether_to_send(clients: list[HttpClient]) -> None:
    stopped: list[str] = []
    seen: list[tuple[int, int]] = []

    async with serve(always(text("{}"))) as server:

        def still() -> str:
            seen.append((server.connections, len(server.asked)))
            return "trading was stopped" if stopped else ""

        http = client(clients, server.url)
        assert (await http.request("POST", "/orders", content=b"{}", fresh=True, still=still)).status == 200
        await http.request("GET", "/orders")  # leaves a connection
        stopped.append("now")
        for fresh in (True, False):
            with pytest.raises(NotConnected) as found:
                await http.request("POST", "/orders", content=b"{}", fresh=fresh, still=still)
            assert str(found.value) == "trading was stopped"
        assert len(seen) == 3
        assert [one.line for one in server.asked] == ["POST /orders HTTP/1.1", "GET /orders HTTP/1.1"]
        assert (await http.request("GET", "/orders")).status == 200  # as if nothing had been


async def test_a_stop_while_the_connection_was_being_made_is_heeded(clients: list[HttpClient], tmp_path: Path) -> None:
    """It is the TLS handshake here that takes its time: the question comes after it."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stopped: list[str] = []
    tls.sni_callback = lambda *_: stopped.append("while it shakes hands")
    async with serve(always(text("{}")), tls=tls) as server:
        with pytest.raises(NotConnected, match=r"^while it shakes hands$"):
            await client(clients, server.url, ca_file=str(tmp_path / "ca.pem")).request(
                "POST", "/orders", content=b"{}", fresh=True, still=lambda: "".join(stopped)
            )
        assert server.asked == []


async def test_what_asks_a_proxy_for_a_tunnel_is_not_the_request(
    clients: list[HttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def still() -> str:
        asked.append(1)
        return "no"

    async with serve(always(text("", "407 Authenticate"))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NotConnected, match="it refuses to connect"):
            await client(clients, "https://prices.invalid").request("POST", "/", still=still)
        assert (len(proxy.asked), asked) == (1, [])


# ---- proxies and secrets -----------------------------------------------------------------------------------------


async def test_proxies_are_for_hosts_that_are_not_this_machine(
    clients: list[HttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(always(text('{"from": "proxy"}'))) as proxy, serve(always(text('{"from": "server"}'))) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert (await client(clients, server.url).request("GET", "/")).json() == {"from": "server"}
        far = client(clients, "http://prices.invalid")
        assert (await far.request("GET", "/day")).json() == {"from": "proxy"}
        assert proxy.asked[0].line == "GET http://prices.invalid/day HTTP/1.1"


async def test_a_proxy_that_is_away_refuses_or_cannot_be_used(
    clients: list[HttpClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(scheme: str) -> str:
        with pytest.raises(NotConnected) as found:
            await client(clients, f"{scheme}://prices.invalid").request("POST", "/day?key=s3cret")
        assert "s3cret" not in str(found.value)
        return str(found.value)

    port = closed_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://anna:s3cret@127.0.0.1:{port}")
    assert f"the proxy 127.0.0.1:{port}: connection refused" in await ask("http")
    async with serve(always(text("", "407 Authenticate"))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://anna:s3cret@127.0.0.1:{proxy.port}")
        assert f"the proxy 127.0.0.1:{proxy.port}: it refuses to connect (407" in await ask("https")
        assert proxy.asked[0].line == "CONNECT prices.invalid:443 HTTP/1.1"
    monkeypatch.setenv("HTTP_PROXY", "gopher://anna:s3cret@127.0.0.1:70")
    assert "the proxy that the environment names cannot be used" in await ask("http")


async def test_the_log_holds_no_urls(clients: list[HttpClient], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(always(text("{}"))) as server:
        await client(clients, server.url).request("GET", "/x?token=t0ken", headers={"X-API-KEY": "s3cret"})
    assert "t0ken" not in caplog.text
    assert "s3cret" not in caplog.text


# ---- what can be asked for -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/x", "begins with http"), ("host:9100", "begins with http"), ("", "begins with http"),
        ("http://", "names no host"), ("http://host:99999/", "1 to 65535"), ("http://host:0/", "port 0"),
        ("http://host/#part", "fragment"), ("http://[::1/", "not an address"),
        ("http://a b/", "a character that no host has"),
    ],
)  # fmt: skip
async def test_what_is_no_address(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_url(url)
    with pytest.raises(ValueError, match=why):
        HttpClient(url, timeout_s=1)


async def test_origins() -> None:
    assert origin_of("HTTP://anna:pw@Host.example:80/x?y=1") == "http://host.example"
    assert origin_of("https://[::1]:8443/x") == "https://[::1]:8443"


async def test_headers(clients: list[HttpClient]) -> None:
    assert header_fault("X-API-KEY", "k€y") != ""
    assert header_fault("x", "a\r\nb: c") != ""
    assert header_fault("a b", "c") == "'a b' cannot be the name of a header"
    assert header_fault("Content-Length", "5") == "the client itself writes the header Content-Length"
    assert header_fault("X-API-KEY", "a b\tc") == ""
    http = client(clients, "http://127.0.0.1:1")
    with pytest.raises(ValueError, match="the value of X-API-KEY holds") as found:
        await http.request("GET", "/", headers={"X-API-KEY": "s3cret\n"})
    assert "s3cret" not in str(found.value)
    with pytest.raises(ValueError, match="no method"):
        await http.request("GET /", "/")


async def test_loopback() -> None:
    ours = ["127.0.0.1", "127.9.9.9", "127.1", "localhost", "LOCALHOST.", "a.localhost", "::1", "[::1]", "0.0.0.0",
            "::ffff:127.0.0.1"]  # fmt: skip
    assert [one for one in ours if not is_loopback(one)] == []
    others = ["192.168.1.1", "localhost.example", "127.0.0.1.example", "::2", "128.0.0.1", "exchange", "ünï"]
    assert [one for one in others if is_loopback(one)] == []


async def test_an_answer_reads_json_strictly() -> None:
    with pytest.raises(ValueError, match="twice"):
        Answer(200, {}, b'{"a": 1, "a": 2}').json()
