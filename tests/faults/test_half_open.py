"""Connections that are dead and do not say so: the network forgot them, or the peer takes them and says nothing.

Each is noticed within a bound, made anew, and nothing of the old one is taken for an answer on the new one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from flowrunner.errors import NotConnected
from flowrunner.httpclient import HttpClient, NoAnswer
from flowrunner.modbus import Device, Request
from flowrunner.modbus.plan import Span
from flowrunner.mqtt.address import parse_address
from flowrunner.mqtt.client import Client, Settings
from flowrunner.mqtt.link import CONNECT_S, SILENT_SHARE
from tests.mqtt.conftest import Inbox, States, settled, up
from tests.peers.modbus_server import ModbusServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.proxy import Proxy, Way
from tests.peers.until import until

pytestmark = pytest.mark.anyio

KEEPALIVE_S = 1
SLACK_S = 0.4
"""For a machine that is busy with other tests."""
SOON, SHORT = 5.0, 0.1
WAYS: list[tuple[Way, ...]] = [(), ("to_server",), ("to_client",)]
IDS = ["both ways", "to the peer", "from the peer"]
FIRST = Request("holding", (Span(0, 1, "a"),))


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


SLOW = pytest.mark.slow(reason="it takes as long as its bound; the way that is hardest to notice is in the short run")
PATIENT_WAYS = [
    pytest.param((), id="both ways"),
    *(pytest.param(way, id=name, marks=SLOW) for way, name in zip(WAYS[1:], IDS[1:], strict=True)),
]
LIVE_LOOP = pytest.mark.parametrize("anyio_backend", [True], indirect=True, ids=["uvloop"])
"""Of tests that take as long as their bound: on the loop of live runs only."""


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def nothing_is_left() -> AsyncIterator[None]:
    """As many tasks after as before."""
    before = len(asyncio.all_tasks())
    async with asyncio.timeout(4 * SOON):
        yield
        await until(lambda: len(asyncio.all_tasks()) <= before, "no task is left")


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue is full: the kernel drops every further SYN, and connecting hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


# ---- MQTT --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def mqtt_through_proxy(folder: Path) -> AsyncIterator[tuple[Mosquitto, Proxy, Client]]:
    with Mosquitto(folder) as broker:
        async with nothing_is_left(), Proxy(broker.port) as line:
            address = parse_address(f"mqtt://127.0.0.1:{line.port}")
            client = Client(Settings(address=address, keepalive=KEEPALIVE_S, client_id="site", persistent=True))
            try:
                yield broker, line, client
            finally:
                await client.close()


@LIVE_LOOP
@pytest.mark.parametrize("ways", PATIENT_WAYS)
async def test_mqtt_is_noticed_within_one_and_a_half_keepalives(tmp_path: Path, ways: tuple[Way, ...]) -> None:
    """What the broker has for us meanwhile comes when the line is there again, what we had is still ours."""
    async with mqtt_through_proxy(tmp_path) as (broker, line, client):
        inbox = Inbox()
        client.subscribe("a", 1, inbox)
        states = await up(client)
        await settled(client)
        line.freeze(*ways)
        began = now()
        ours = asyncio.create_task(client.publish("b", b"ours", 1))
        other = Client(Settings(address=parse_address(broker.url)))
        await up(other)
        await other.publish("a", b"theirs", 1)
        assert "the broker is silent for" in await states.until(False)
        assert now() - began < SILENT_SHARE * KEEPALIVE_S + SLACK_S
        with pytest.raises(NotConnected):
            await ours
        line.cut()
        line.thaw()
        await states.until(True)
        await client.publish("b", b"ours", 1)
        assert (await inbox.until(1))[0].payload == b"theirs"
        await other.close()


@LIVE_LOOP
async def test_mqtt_that_is_paused_is_noticed_when_it_goes_on(tmp_path: Path) -> None:
    """While a flow takes nothing, silence is ours; after it, the broker's."""
    async with mqtt_through_proxy(tmp_path) as (_, line, client):
        states = await up(client)
        await settled(client)
        client.pause()
        line.freeze()
        client.resume()
        began = now()
        await states.until(False)
        assert now() - began < SILENT_SHARE * KEEPALIVE_S + SLACK_S


@LIVE_LOOP
async def test_mqtt_broker_that_stands_still_and_goes_on(tmp_path: Path) -> None:
    """SIGSTOP: the kernel still takes connections, and nobody answers."""
    async with mqtt_through_proxy(tmp_path) as (broker, line, client):
        states = await up(client)
        broker.freeze()
        await states.until(False, "silent")
        await line.connected(2)
        broker.thaw()
        await states.until(True)
        await client.publish("a", b"1", 1)


@LIVE_LOOP
@pytest.mark.slow(reason="the bound of a connect is ten seconds")
@pytest.mark.parametrize("how", ["nothing is said", "the SYN is dropped"])
async def test_mqtt_connecting_is_bounded(how: str) -> None:
    with full_listener() as full:
        async with nothing_is_left(), Proxy(full) as line:
            line.freeze()
            port = full if how == "the SYN is dropped" else line.port
            client = Client(Settings(address=parse_address(f"mqtt://127.0.0.1:{port}")))
            states, began = States(client), now()
            client.start()
            await until(lambda: states.seen, "it is told", CONNECT_S + SLACK_S, every_s=0.05)
            assert "no answer in time" in states.seen[0][1]
            assert now() - began > CONNECT_S - SLACK_S
            await client.close()


# ---- Modbus ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ways", WAYS, ids=IDS)
async def test_modbus_is_noticed_by_the_timeout_and_connected_anew(ways: tuple[Way, ...]) -> None:
    async with nothing_is_left(), ModbusServer() as server, Proxy(server.port) as line:
        device = Device("127.0.0.1", line.port)
        server.set(0, [1])
        assert await device.read(1, FIRST, SOON) == [1]
        line.freeze(*ways)
        began = now()
        for _ in range(5):
            with pytest.raises(NotConnected, match="no answer within"):
                await device.read(1, FIRST, SHORT)
        assert now() - began < 5 * (SHORT + SLACK_S)
        server.set(0, [2])
        line.thaw()  # what waited arrives now: old questions at the device, old answers here
        assert await device.read(1, FIRST, SOON) == [2]
        await device.close()


async def test_modbus_lines_that_are_cut_in_any_way_leave_nothing_behind() -> None:
    async with nothing_is_left(), ModbusServer() as server, Proxy(server.port) as line:
        device = Device("127.0.0.1", line.port)
        server.set(0, [1])
        for number in range(20):
            assert await device.read(1, FIRST, SOON) == [1]
            line.cut(reset=number % 2 == 0)
            await until(lambda: not device.connected, "the device is seen as gone")
        line.refuse()
        with pytest.raises(NotConnected):
            await device.read(1, FIRST, SOON)
        await line.accept()
        assert await device.read(1, FIRST, SOON) == [1]
        assert line.open == 1
        await device.close()


async def test_modbus_connecting_is_bounded() -> None:
    with full_listener() as port:
        device, began = Device("127.0.0.1", port), now()
        with pytest.raises(NotConnected, match="no answer within"):
            await device.read(1, FIRST, SHORT)
        assert now() - began < SHORT + SLACK_S
        await device.close()


# ---- HTTP --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def web() -> AsyncIterator[int]:
    """Answers every request with OK and keeps the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it hung up
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("ways", WAYS, ids=IDS)
async def test_http_is_noticed_by_the_timeout_and_connected_anew(ways: tuple[Way, ...]) -> None:
    async with nothing_is_left(), web() as port, Proxy(port) as line:
        client = HttpClient(f"http://127.0.0.1:{line.port}", timeout_s=SHORT)
        assert (await client.request("GET", "a", timeout_s=SOON)).body == b"OK"
        line.freeze(*ways)
        began = now()
        for _ in range(5):
            with pytest.raises(NoAnswer, match="no answer within"):
                await client.request("GET", "a")
        assert now() - began < 5 * (SHORT + SLACK_S)
        line.thaw()
        assert (await client.request("GET", "a", timeout_s=SOON)).body == b"OK"
        await client.close()


async def test_http_connecting_is_bounded() -> None:
    with full_listener() as port:
        client, began = HttpClient(f"http://127.0.0.1:{port}", timeout_s=SHORT), now()
        with pytest.raises(NotConnected, match="no connection within"):
            await client.request("GET", "a")
        with pytest.raises(NotConnected, match="no connection within"):
            await anext(client.listen("a"))
        assert now() - began < 2 * SHORT + SLACK_S
        await client.close()


# ---- streams -----------------------------------------------------------------------------------------------------


@LIVE_LOOP
@pytest.mark.parametrize("ways", PATIENT_WAYS)
async def test_a_stream_is_noticed_by_its_ping(ways: tuple[Way, ...]) -> None:
    async def speak(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()

    ping_s = 0.2
    async with (
        nothing_is_left(),
        serve(speak, "127.0.0.1", 0, ping_interval=None, close_timeout=SHORT) as server,
        Proxy(next(iter(server.sockets)).getsockname()[1]) as line,
    ):
        client = HttpClient(f"http://127.0.0.1:{line.port}", timeout_s=SOON, ping_s=ping_s)
        stream = client.listen("a")
        assert await anext(stream) == "hello"
        line.freeze(*ways)
        began = now()
        with pytest.raises(NotConnected, match="the stream ended"):
            await anext(stream)
        assert now() - began < 2 * ping_s + SLACK_S + 2  # and the goodbye that nobody answers
        line.cut()
        line.thaw()
        again = client.listen("a")
        assert await anext(again) == "hello"
        await again.aclose()
        await client.close()
