"""What is measured in this process: validation, and messages through an inbox on disk."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from bench.flows import DURABLE, many_nodes
from bench.programs import seconds
from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import Store

NODES = Path(__file__).resolve().parent / "nodes"
T = TypeVar("T")
ON_DISK = 20_000


def validation() -> float:
    """Seconds for a file of 1,000 nodes."""
    text, registry = many_nodes(1000), Registry()

    def check() -> None:
        problems = check_flows({"large.yaml": text}, {}, registry).problems
        if problems:
            raise SystemExit("\n".join(map(str, problems[:5])))

    return seconds(check)


def durable_inbox() -> float:
    """Messages per second through an inbox on disk, each written with fsync before the next node has it, and taken
    off the disk again when it is done with: the reader begins only when all are written."""

    async def run() -> float:
        # Not where temporary files go: that may be memory.
        home = Path.home() / ".cache"
        home.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix="flowrunner-bench-") as folder:
            async with running(DURABLE, Path(folder)) as engine:
                began = time.perf_counter()
                await emit(engine, ON_DISK)
                await engine.store.flush()
                gate: Any = engine.runtime.workers["chain/gate"].node
                gate.gate.set()
                await engine.runtime.drained()
                await engine.store.flush()
                return ON_DISK / (time.perf_counter() - began)

    return in_loop(run)


@asynccontextmanager
async def running(text: str, folder: Path | None) -> AsyncIterator[Engine]:
    """The flow, whose source is told what to send; all that it sent must have left ``select`` at the end."""
    checked = check_flows({"chain.yaml": text}, {}, Registry([NODES]))
    engine = Engine(checked, store=Store.open(folder), clock=LiveClock(), stubs=["chain/source"])
    await engine.start()
    try:
        yield engine
    finally:
        sent, arrived = (engine.runtime.workers[f"chain/{one}"].counters.sent for one in ("source", "select"))
        await engine.stop()
    if arrived != sent:
        raise SystemExit(f"of {sent} messages {arrived} arrived")


async def emit(engine: Engine, count: int) -> None:
    context = engine.runtime.workers["chain/source"].ctx
    for number in range(count):
        await context.emit(context.message({"value": number + 1}, position=str(number)))


def in_loop(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
