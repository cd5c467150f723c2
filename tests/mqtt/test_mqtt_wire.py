"""The wire over real sockets: it pushes back, and its goodbye arrives."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from flowrunner.mqtt.wire import Wire

pytestmark = pytest.mark.anyio


class Watched(Wire):
    """Tells when bytes have come, also those that it throws away."""

    def __init__(self) -> None:
        super().__init__(lambda: None, lambda: None)
        self.came = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.came.set()


@pytest.fixture
async def peer(anyio_backend: object) -> AsyncIterator[tuple[Watched, socket.socket]]:
    """A wire, and the other end as a plain socket."""
    loop = asyncio.get_running_loop()
    wire = Watched()
    with socket.create_server(("127.0.0.1", 0)) as server:
        await loop.create_connection(lambda: wire, *server.getsockname())
        other, _ = server.accept()
    other.setblocking(False)
    with other:
        yield wire, other
        wire.abort()
        await wire.gone.wait()


async def fill(other: socket.socket) -> int:
    """Sends until nothing more is taken for a while; how many bytes that were."""
    loop, sent = asyncio.get_running_loop(), 0
    while True:
        try:
            async with asyncio.timeout(0.2):
                await loop.sock_sendall(other, b"x" * 65536)
        except TimeoutError:
            return sent
        sent += 65536
        assert sent < 256 << 20, "nobody pushes back"


async def read(wire: Wire) -> int:
    """Takes what is there; how many bytes that were."""
    taken = 0
    while wire.readable:
        taken += len(wire.take())
    wire.balance()
    return taken


async def test_what_nobody_takes_or_is_held_makes_the_sender_wait(peer: tuple[Wire, socket.socket]) -> None:
    wire, other = peer
    assert await fill(other) > 0
    wire.hold(True)
    assert not wire.readable
    assert wire.take() == b""
    wire.hold(False)
    assert await read(wire) > 0
    wire.hold(True)
    more = await fill(other)
    wire.hold(False)
    assert more < 64 << 20


async def test_closing_does_not_reset_the_connection(peer: tuple[Watched, socket.socket]) -> None:
    """A reset would take away from the broker what it has not read yet: acknowledgements, and the goodbye."""
    loop, (wire, other) = asyncio.get_running_loop(), peer
    wire.put(b"acknowledged" * 1000)
    wire.close()
    for _ in range(3):
        wire.came.clear()
        await loop.sock_sendall(other, b"one more message")
        async with asyncio.timeout(2):
            await wire.came.wait()
    received = b""
    while len(received) < 12_000:
        received += await loop.sock_recv(other, 65536)
    assert received == b"acknowledged" * 1000
    assert not wire.gone.is_set()
    other.close()
    async with asyncio.timeout(2):
        await wire.gone.wait()


async def test_a_full_buffer_says_so_until_it_drained(peer: tuple[Wire, socket.socket]) -> None:
    loop, (wire, other) = asyncio.get_running_loop(), peer
    sent = received = 0
    while not wire.full and sent < 256 << 20:
        wire.put(b"y" * 65536)
        sent += 65536
    assert wire.full
    async with asyncio.timeout(8):
        while received < sent:
            received += len(await loop.sock_recv(other, 1 << 20))
            wire.flush()
    assert not wire.full


async def test_the_end_of_the_other_side_is_read_after_its_last_words(peer: tuple[Wire, socket.socket]) -> None:
    loop, (wire, other) = asyncio.get_running_loop(), peer
    await loop.sock_sendall(other, b"last words")
    other.close()
    await wire.gone.wait()
    assert wire.readable
    assert (wire.take(), wire.take()) == (b"last words", b"")
    assert wire.readable  # the end
    with pytest.raises(ConnectionResetError):
        wire.put(b"?")


async def test_small_packets_do_not_wait_for_company(peer: tuple[Wire, socket.socket]) -> None:
    """Without TCP_NODELAY an answer waits for the other side's delayed acknowledgement: 40 ms."""
    wire, _ = peer
    assert wire._transport is not None
    line = wire._transport.get_extra_info("socket")
    assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
