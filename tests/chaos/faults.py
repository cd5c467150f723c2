"""What goes wrong: each fault begins, lasts for as long as its block, and is then gone."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.chaos.flows import VERSIONS
from tests.chaos.place import Place
from tests.peers.proxy import Way

Fault = Callable[[Place, random.Random], AbstractAsyncContextManager[None]]
NO_LIMIT = resource.RLIM_INFINITY
FULL_AT = 4096
"""Bytes: what was written up to here may be written again, and nothing behind it."""


@asynccontextmanager
async def killed(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """SIGKILL, and a start after a while: the one thing that somebody (systemd, Docker) does."""
    await place.end(signal.SIGKILL)
    yield
    await place.start()


@asynccontextmanager
async def stopped(place: Place, dice: random.Random) -> AsyncIterator[None]:
    await place.end(signal.SIGTERM)
    yield
    await place.start()


@asynccontextmanager
async def paused(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """A machine that stands still: SIGSTOP, SIGCONT."""
    assert place.program is not None
    place.program.send(signal.SIGSTOP)
    try:
        yield
    finally:
        place.program.send(signal.SIGCONT)


@asynccontextmanager
async def disk_full(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """No file of the program can grow any more."""
    assert place.program is not None
    pid = place.program.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_AT, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (NO_LIMIT, hard))


@asynccontextmanager
async def broker_restarted(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """While it is away nobody publishes either: it comes back at once."""
    await asyncio.to_thread(place.broker.stop)
    await asyncio.to_thread(place.broker.start)
    yield


@asynccontextmanager
async def line_cut(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """Again and again, in either way."""
    line = place.lines[dice.choice([*place.lines])]
    line.cut(reset=dice.random() < 0.5)
    yield
    line.cut(reset=dice.random() < 0.5)


@asynccontextmanager
async def line_refused(place: Place, dice: random.Random) -> AsyncIterator[None]:
    line = place.lines[dice.choice([*place.lines])]
    line.refuse()
    line.cut()
    try:
        yield
    finally:
        await line.accept()


@asynccontextmanager
async def half_open(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """Nothing gets through, one way or both, and nobody is told; then it goes on, or the network has forgotten it."""
    line = place.lines[dice.choice([*place.lines])]
    ways: list[tuple[Way, ...]] = [(), ("to_client",), ("to_server",)]
    line.freeze(*dice.choice(ways))
    try:
        yield
    finally:
        if dice.random() < 0.5:
            line.cut()
        line.thaw()


@asynccontextmanager
async def line_slow(place: Place, dice: random.Random) -> AsyncIterator[None]:
    line = place.lines[dice.choice([*place.lines])]
    line.delay = dice.choice([0.05, 0.3])
    try:
        yield
    finally:
        line.delay = 0.0


@asynccontextmanager
async def device_garbage(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """Lengths, functions and transaction ids that are wrong, or no Modbus at all."""
    garble: Callable[[bytes], bytes] = dice.choice(
        [
            lambda data: bytes([data[0] ^ 0xFF, *data[1:]]),  # another transaction's id
            lambda data: data[:4] + b"\xff\xff" + data[6:],  # a length that never comes
            lambda data: data[::-1],
            lambda data: b"HTTP/1.1 400 Bad Request\r\n\r\n",
            lambda data: data[: len(data) // 2],
            lambda data: data + data,
        ]
    )
    line = place.lines["device"]
    line.garble("to_client", garble)
    try:
        yield
    finally:
        line.garble("to_client", None)


@asynccontextmanager
async def device_silent(place: Place, dice: random.Random) -> AsyncIterator[None]:
    if dice.random() < 0.5:
        place.device.silence()
    else:
        place.device.refuse(dice.choice([4, 6, 11]))
    try:
        yield
    finally:
        place.device.silence(silent=False)
        place.device.refuse(0)


@asynccontextmanager
async def web_moody(place: Place, dice: random.Random) -> AsyncIterator[None]:
    place.web.mood = dice.choice(["500", "503", "429", "408", "silent", "closes", "garbage", "forgets to answer"])
    try:
        yield
    finally:
        was, place.web.mood = place.web.mood, ""
        if was == "silent":  # who was asked meanwhile never answers
            place.lines["web"].cut()


@asynccontextmanager
async def exchange_faulty(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """Its next orders and questions, in all the ways that the simulated exchange knows."""
    faults = place.exchange.faults
    for name in dice.sample(["answer-lost", "error-before", "error-after", "throttled", "reset", "delay"], 2):
        faults.arm(name, on=dice.choice(["orders", "any"]), seconds=3.0)
    try:
        yield
    finally:
        faults.clear()


@asynccontextmanager
async def file_saved(place: Place, dice: random.Random) -> AsyncIterator[None]:
    """Changed, broken, changed again; in the end it is as the dice say, and good."""
    await place.save(dice.choice(VERSIONS))
    yield
    await place.save(dice.choice([one for one in VERSIONS if one.good]))


FAULTS: tuple[Fault, ...] = (
    killed, stopped, paused, disk_full, broker_restarted, line_cut, line_refused, half_open, line_slow, device_garbage,
    device_silent, web_moody, exchange_faulty, file_saved,
)  # fmt: skip
OF_THE_PROCESS: tuple[Fault, ...] = (killed, stopped, paused, disk_full)
"""Not two of these at a time."""
