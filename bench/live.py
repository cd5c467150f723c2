"""What it costs a running flow that people look at it: readers of the live stream, and some that do not read."""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.flows import CHAIN, many_nodes
from bench.inside import emit, in_loop, running
from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.web import Server, listen
from flowrunner.web.live import Watch
from flowrunner.web.live.frame import Board
from flowrunner.web.live.hub import event

MESSAGES = 100_000
ROUNDS = 7
READERS, FROZEN = 20, 5
FRAMES = 50
CLIENT = """
import asyncio, sys
async def main(port, readers, frozen):
    held = []
    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v1/live HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n")
        return reader, writer
    for _ in range(frozen):
        reader, writer = await one()
        writer.transport.pause_reading()
        held.append(writer)
    reading = [await one() for _ in range(readers)]
    for reader, _ in reading:
        await reader.readuntil(b"event: snapshot")
    print("ready", flush=True)
    async def drain(reader):
        while await reader.read(65536):
            pass
    await asyncio.gather(*(drain(reader) for reader, _ in reading))
asyncio.run(main(*map(int, sys.argv[1:])))
"""


def slowed_by_readers() -> float:
    """How much of its throughput a chain of three loses to 20 readers and 5 that do not read (%). With and without
    them take turns, so that what else the machine does hits both."""

    async def run() -> float:
        async with running(CHAIN, None) as engine:
            server = Server(engine, listen("127.0.0.1", 0), {}, "127.0.0.1")
            await server.start()
            gc.freeze()
            lost: list[float] = []
            try:
                await _rate(engine)
                for _ in range(ROUNDS):
                    alone = await _rate(engine)
                    with _clients(server.port) as ready:
                        await asyncio.to_thread(ready)
                        lost.append(1 - await _rate(engine) / alone)
                    async with asyncio.timeout(10):
                        await server.hub.alone()
            finally:
                await server.close()
                gc.unfreeze()
            return 100 * statistics.median(lost)

    return in_loop(run)


def frame() -> float:
    """Seconds that one frame of a flow of 1,000 nodes takes, of which each has changed."""

    async def run() -> float:
        checked = check_flows({"large.yaml": many_nodes(1000, every="1h")}, {}, Registry())
        engine = Engine(checked, store=Store.open(None), clock=LiveClock())
        await engine.start()
        try:
            workers = engine.runtime.workers
            watches = [Watch(address, "out", "soc_percent") for address in list(workers)[:30]]
            board = Board(workers, watches, engine.runtime.mask)
            taken = []
            for number in range(FRAMES):
                for worker in workers.values():
                    counters = worker.counters
                    counters.received, counters.sent = counters.received + 1, counters.sent + 1
                    counters.last_at = engine.clock.now()
                began = time.perf_counter()
                board.look(engine.clock.now(), judge=number % 10 == 0)
                for columns in board.nodes_changed():
                    event("delta", {"seq": number, "nodes": columns})
                event("delta", board.values_changed())
                taken.append(time.perf_counter() - began)
            return statistics.median(taken)
        finally:
            await engine.stop()

    return in_loop(run)


async def _rate(engine: Engine) -> float:
    """Messages per second of the processor: what else the machine does hardly counts."""
    began = time.process_time()
    await emit(engine, MESSAGES)
    await engine.runtime.drained()
    return MESSAGES / (time.process_time() - began)


@contextmanager
def _clients(port: int) -> Iterator[Callable[[], bytes]]:
    """In a process of their own; yields what waits until all have their snapshot."""
    arguments = [sys.executable, "-c", CLIENT, str(port), str(READERS), str(FROZEN)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  (it is a pipe)
        try:
            yield process.stdout.readline
        finally:
            process.kill()
