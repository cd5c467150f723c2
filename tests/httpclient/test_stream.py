"""WebSockets read by the HTTP client, against real sockets: bounded, to one server only, and silent about keys."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed

from flowrunner.clock import run_virtual
from flowrunner.errors import NotConnected
from flowrunner.httpclient import HttpClient
from flowrunner.httpclient.stream import MAX_FRAME
from tests.httpclient.test_http_client import closed_port, no_proxies
from tests.peers.raw_http import always, serve, text

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures(no_proxies.__name__)]
KEY = "s3cret-k3y"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param if request.param == "asyncio" else ("asyncio", {"loop_factory": uvloop.new_event_loop})


@asynccontextmanager
async def said(
    act: Callable[[ServerConnection], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server that does ``act`` with every stream; its address as the client wants it."""

    async def handle(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # the client has hung up
            await act(connection)

    async with serve_websocket(handle, "127.0.0.1", 0, ssl=tls) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


async def listened(base: str, path: str = "/ws", **options: Any) -> tuple[list[str], str]:
    """All that comes, and why it ended."""
    client = HttpClient(base, timeout_s=5, **options)
    got: list[str] = []
    told = "it ended without a word"
    try:
        async with asyncio.timeout(20), aclosing(client.listen(path, params={"api_key": KEY})) as messages:
            async for message in messages:
                got.append(message)  # noqa: PERF401  (what came before it raises)
    except NotConnected as error:
        told = str(error)
    finally:
        await client.close()
    assert KEY not in told
    assert told.startswith(base + path)
    return got, told.removeprefix(base + path + ": ")


async def test_messages_in_their_order_until_the_stream_ends() -> None:
    asked: list[str] = []

    async def act(stream: ServerConnection) -> None:
        assert stream.request is not None
        asked.append(f"{stream.request.path} {stream.request.headers['User-Agent'].partition('/')[0]}")
        await stream.send("one")
        await stream.send(["tw", "o"])
        await stream.send(b'{"three": 3}')
        await stream.send(b"\xff")
        await stream.close(1012, "restart")

    async with said(act) as base:
        assert await listened(base) == (["one", "two", '{"three": 3}', "�"], "the stream ended (code 1012)")
        assert asked == [f"/ws?api_key={KEY} flowrunner"]


async def test_more_than_waits_for_the_reader_comes_all_the_same() -> None:
    async def act(stream: ServerConnection) -> None:
        for number in range(500):
            await stream.send(str(number) + "x" * 1000)

    async with said(act) as base:
        got, _ = await listened(base)
        assert [one.rstrip("x") for one in got] == [str(number) for number in range(500)]


async def test_a_message_that_is_too_long_ends_the_stream() -> None:
    async def act(stream: ServerConnection) -> None:
        await stream.send("x" * MAX_FRAME)
        await stream.send(["x" * MAX_FRAME, "x"])
        await stream.send("never read")

    async with said(act) as base:
        got, why = await listened(base)
        assert [len(one) for one in got] == [MAX_FRAME]
        assert why == f"a message was longer than {MAX_FRAME} bytes; the stream was ended"


async def test_a_line_that_is_cut() -> None:
    async def act(stream: ServerConnection) -> None:
        await stream.send("one")
        stream.transport.abort()

    async with said(act) as base:
        assert await listened(base) == (["one"], "the stream ended")


async def test_text_that_is_no_utf8_ends_the_stream() -> None:
    async def act(stream: ServerConnection) -> None:
        await stream.send(b"\xff\xfe", text=True)
        await stream.wait_closed()

    async with said(act) as base:
        assert await listened(base) == ([], "the stream ended")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (text("no", "403 Forbidden"), "the server answers 403 and opens no stream"),
        (text("{}"), "the server answers 200 and opens no stream"),
        (text("", "302 Found", more=f"location: /elsewhere?{KEY}\r\n"), "the server answers 302 and opens no stream"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "what came back is no WebSocket; check host, port and path"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: nonsense\r\n\r\n",
            "what came back is no WebSocket; check host, port and path",
        ),
    ],
)
async def test_answers_that_open_no_stream(answer: bytes, why: str) -> None:
    async with serve(always(answer)) as server:
        assert await listened(server.url) == ([], why)
        assert len(server.asked) == 1  # no redirect is followed


async def test_nobody_listens() -> None:
    got, why = await listened(f"http://127.0.0.1:{closed_port()}")
    assert (got, why) == ([], "connection refused; is the server running, and are host and port right?")


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def silent(*_: object) -> None:
        await asyncio.Event().wait()

    async with serve(silent) as server:
        client = HttpClient(server.url, timeout_s=5)
        with pytest.raises(NotConnected, match=r"no connection within 0\.1 s"):
            await anext(client.listen("/ws", timeout_s=0.1))
        await client.close()


async def test_over_tls_only_the_named_authority_is_trusted(tmp_path: Path) -> None:
    async def act(stream: ServerConnection) -> None:
        await stream.send("one")

    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    pem = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))
    async with said(act, tls=tls) as base:
        assert await listened(base, ca_file=str(pem)) == (["one"], "the stream ended (code 1000)")
        got, why = await listened(base)
        assert not got
        assert why.startswith("the server's certificate is not trusted")


async def test_only_the_bases_server_is_listened_to() -> None:
    client = HttpClient("http://127.0.0.1:1", timeout_s=5)
    with pytest.raises(ValueError, match=r"http://localhost:1/ws is not on http://127\.0\.0\.1:1") as caught:
        await anext(client.listen(f"http://localhost:1/ws?{KEY}"))
    assert KEY not in str(caught.value)
    await client.close()


async def test_no_proxy_is_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://anna:{KEY}@127.0.0.1:{closed_port()}")

    async def act(stream: ServerConnection) -> None:
        await stream.send("one")

    async with said(act) as base:
        assert (await listened(base))[0] == ["one"]


@pytest.mark.parametrize(
    "proxy", ["http://anna:{key}@127.0.0.1:{port}", "nonsense://{key}", "socks5://{key}@127.0.0.1:1"]
)
async def test_a_proxy_that_does_not_work_is_told_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(always(text("", "407 Proxy Authentication Required"))) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.format(key=KEY, port=server.port))
        got, why = await listened("http://exchange.invalid")
        assert not got
        assert re.match("the proxy that the environment names (does not connect|cannot be used)", why)


async def test_closing_the_client_ends_its_streams_and_hangs_up() -> None:
    over = asyncio.Event()

    async def act(stream: ServerConnection) -> None:
        await stream.send("one")
        await stream.wait_closed()
        over.set()

    async with said(act) as base, asyncio.timeout(10):
        client = HttpClient(base, timeout_s=5)
        messages = client.listen("/ws")
        assert await anext(messages) == "one"
        later = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(NotConnected, match="the stream ended"):
            await later
        await over.wait()
        with pytest.raises(NotConnected, match="this client is closed"):
            await anext(client.listen("/ws"))


async def test_who_stops_listening_hangs_up() -> None:
    over = asyncio.Event()

    async def act(stream: ServerConnection) -> None:
        await stream.send("one")
        await stream.wait_closed()
        over.set()

    async with said(act) as base, asyncio.timeout(10):
        client = HttpClient(base, timeout_s=5)
        async with aclosing(client.listen("/ws")) as messages:
            await anext(messages)
        await over.wait()
        await client.close()


def test_no_streams_in_virtual_time() -> None:
    async def main() -> None:
        await anext(HttpClient("http://127.0.0.1:1", timeout_s=5).listen("/ws"))

    with pytest.raises(NotConnected, match="no sockets in virtual time"):
        run_virtual(main(), start=0)


def test_the_wall_round_a_simulation_holds_streams_back() -> None:
    program = """
import asyncio
from flowrunner.httpclient import HttpClient
from flowrunner.simulate.wall import wall_in
wall_in()
async def main():
    for host in ("exchange.example", "192.0.2.1"):
        try:
            await anext(HttpClient(f"http://{host}", timeout_s=5).listen("/ws"))
        except Exception as error:
            print(type(error).__name__, error)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    named, numbered = done.stdout.splitlines()
    assert named == "NotConnected http://exchange.example/ws: the host name is not known; check it"
    assert numbered.startswith("NotConnected http://192.0.2.1/ws: no connection (")
    assert "the simulation" in done.stderr or "in a simulation" in done.stderr


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def act(stream: ServerConnection) -> None:
        await stream.send("one")

    caplog.set_level(logging.DEBUG)
    for name in ("websockets", "websockets.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    async with said(act) as base:
        await listened(base)
        logging.getLogger("websockets.server").setLevel(logging.WARNING)
    ours = [one.getMessage() for one in caplog.records if one.name != "websockets.server"]
    assert not [line for line in ours if KEY in line]
