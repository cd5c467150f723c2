"""The proxy that other tests lean on does what they believe."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.peers.proxy import Proxy, Way

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def echo_through_proxy() -> AsyncIterator[tuple[Proxy, asyncio.Server]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # cut, as the test wants it
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(10), Proxy(server.sockets[0].getsockname()[1]) as line:
            yield line, server
    finally:
        server.close()


async def joined(line: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", line.port)


async def test_it_forwards_both_ways_and_hands_on_the_end() -> None:
    async with echo_through_proxy() as (line, _):
        reader, writer = await joined(line)
        writer.write(b"to and fro")
        assert await reader.readexactly(10) == b"to and fro"
        await line.passed("to_client", 10)
        assert line.bytes == {"to_server": 10, "to_client": 10}
        assert line.open == 1
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_ends_what_is_open_and_the_next_connection_works(reset: bool) -> None:
    async with echo_through_proxy() as (line, _):
        reader, writer = await joined(line)
        writer.write(b"x")
        await reader.readexactly(1)
        line.cut(reset=reset)
        if reset:
            with pytest.raises(ConnectionResetError):
                await reader.read()
        else:
            assert await reader.read() == b""
        writer.close()
        assert line.open == 0
        reader, writer = await joined(line)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.close()
        assert line.connections == 2


@pytest.mark.parametrize("ways", [("to_server",), ("to_client",), ()])
async def test_frozen_nothing_arrives_not_even_the_end_until_it_thaws(ways: tuple[Way, ...]) -> None:
    async with echo_through_proxy() as (line, _):
        reader, writer = await joined(line)
        writer.write(b"a")
        await reader.readexactly(1)
        line.freeze(*ways)
        writer.write(b"b")
        writer.write_eof()
        if ways == ("to_client",):
            await line.passed("to_server", 2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        line.thaw()
        assert await reader.read() == b"b"
        writer.close()


async def test_frozen_it_accepts_even_for_a_server_that_is_away_and_what_waits_can_be_lost() -> None:
    async with echo_through_proxy() as (line, server):
        line.freeze()
        server.close()
        reader, writer = await joined(line)
        writer.write(b"lost")
        await line.connected(1)
        line.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        line.thaw()
        assert not line.bytes


async def test_a_server_that_is_away_is_a_reset() -> None:
    async with echo_through_proxy() as (line, server):
        server.close()
        reader, writer = await joined(line)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_it_refuses_and_serves_the_same_port_again() -> None:
    async with echo_through_proxy() as (line, _):
        reader, writer = await joined(line)
        await line.connected(1)
        line.refuse()
        with pytest.raises(ConnectionRefusedError):
            await joined(line)
        writer.write(b"still open")
        assert await reader.readexactly(10) == b"still open"
        writer.close()
        await line.accept()
        reader, writer = await joined(line)
        writer.write(b"z")
        assert await reader.readexactly(1) == b"z"
        writer.close()


async def test_it_delays_cuts_into_pieces_and_garbles() -> None:
    async with echo_through_proxy() as (line, _):
        line.piece = 1
        line.delay = 0.01
        line.garble("to_client", lambda data: data.upper())
        reader, writer = await joined(line)
        started = asyncio.get_running_loop().time()
        writer.write(b"abcde")
        assert await reader.readexactly(5) == b"ABCDE"
        assert asyncio.get_running_loop().time() - started >= 0.06, "five pieces in, the last one out"
        line.garble("to_client", lambda _: b"")
        writer.write(b"f")
        await line.passed("to_client", 6)
        line.garble("to_client", None)
        writer.write(b"g")
        assert await reader.read(1) == b"g", "f was swallowed"
        writer.close()
