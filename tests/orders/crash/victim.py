"""Engines that die: a process that has everything loaded, and makes one more of itself for each of them.

Started by `tests.orders.crash.nursery`. It has no threads and no event loop, so what it makes is a fresh process. For
each byte on its socket comes the end of another: the victim's own, to talk to the test. It keeps that open until the
victim is gone, and says how it ended.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio._backends._asyncio
import httpcore2
import msgspec
import uvloop
import websockets.asyncio.client

from flowrunner.clock import ScaledClock
from flowrunner.engine import Engine
from flowrunner.errors import StoreLocked
from flowrunner.graph import check_flows
from flowrunner.message import JSON
from flowrunner.registry import Registry
from flowrunner.store import Store
from tests.exchange.simulated import KEY
from tests.orders.crash.points import Watch
from tests.orders.crash.told import Ask, Plan, Said
from tests.peers.until import until

LOADED = (anyio._backends._asyncio, httpcore2, websockets.asyncio.client)
"""What the product imports late is here once for all."""


def main(control: socket.socket) -> None:
    """Until the test closes ``control``."""
    registry = Registry()
    for name in ("manual-in", "rule", "risk-guard", "exchange-out", "log"):
        registry.get(name)
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                key.data()
                continue
            _, descriptors, *_ = socket.recv_fds(control, 1, 1)
            if not descriptors:
                _let_go(selector)
                return
            _fork(socket.socket(fileno=descriptors[0]), registry, selector)


def _fork(own: socket.socket, registry: Registry, selector: selectors.BaseSelector) -> None:
    alive, life = os.pipe()  # closed by the victim's end, however it comes
    pid = os.fork()
    if pid == 0:
        _let_go(selector)
        os.close(alive)
        try:
            _live(own, registry)
        finally:
            os._exit(0)
    os.close(life)

    def gone() -> None:
        selector.unregister(alive)
        os.close(alive)
        _, status = os.waitpid(pid, 0)
        own.setblocking(True)  # the victim's loop had changed that for both
        with suppress(ConnectionError):  # the test listens no more
            own.sendall(_line(Said(does="end", pid=pid, status=status)))
            own.shutdown(socket.SHUT_WR)
        selector.register(own, selectors.EVENT_READ, heard)

    def heard() -> None:  # closing with something unread would take the last words back
        with suppress(ConnectionError):
            if own.recv(65536):
                return
        selector.unregister(own)
        own.close()

    selector.register(alive, selectors.EVENT_READ, gone)


def _let_go(selector: selectors.BaseSelector) -> None:
    """Of the sockets of other victims, and of the test's."""
    for one in list(selector.get_map().values()):
        if isinstance(one.fileobj, socket.socket):
            one.fileobj.close()
    selector.close()


def _line(said: Said) -> bytes:
    return msgspec.json.encode(said) + b"\n"


def _live(own: socket.socket, registry: Registry) -> None:
    try:
        with own.makefile("rb") as asked:
            plan = msgspec.json.decode(asked.readline(), type=Plan)
            loop = uvloop.new_event_loop if plan.uvloop else asyncio.new_event_loop
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(_Victim(plan, own, registry).run())
    except BaseException:
        own.sendall(_line(Said(does="trouble", text=traceback.format_exc())))


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class _Victim:
    def __init__(self, plan: Plan, own: socket.socket, registry: Registry) -> None:
        self._plan = plan
        self._own = own
        self._registry = Registry([Path(plan.nodes)]) if plan.nodes else registry
        self._watch = Watch(plan.at, plan.line, self._strike)
        self._left: dict[str, list[JSON]] = {}
        self._log = _Log()
        logging.getLogger("flowrunner").addHandler(self._log)
        logging.getLogger("flowrunner").setLevel(logging.INFO)
        logging.getLogger("flowrunner").propagate = False

    def _say(self, said: Said) -> None:
        self._own.sendall(_line(said))

    def _strike(self, where: str) -> None:
        self._say(Said(does="died-at" if self._plan.then == "die" else "full-at", at=where, pid=os.getpid()))
        if self._plan.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            _fill_the_disk(True)

    async def run(self) -> None:
        self._say(Said(does="begins", pid=os.getpid()))
        plan, refused = self._plan, 0
        self._watch.begin()
        while True:
            try:
                store = Store.open(Path(plan.folder))
                break
            except StoreLocked:
                if not plan.wait_for_folder:
                    raise
                if not refused:
                    self._say(Said(does="refused"))
                refused += 1
                await asyncio.sleep(0)
        environment = {"URL": plan.url, "KEY": KEY, "TIMEOUT": plan.patience}
        checked = check_flows({"flow.yaml": plan.text}, environment, self._registry)
        assert checked.graph is not None, [str(one) for one in checked.problems]
        clock = ScaledClock(plan.now + (time.monotonic_ns() - plan.monotonic) * plan.speed, plan.speed)
        self._engine = Engine(checked, store=store, clock=clock)
        if plan.then == "full" and not plan.at:
            _fill_the_disk(True)
        await self._engine.start()
        for worker in self._engine.runtime.workers.values():
            worker.tap = self._tap(worker.node.id)
        self._say(Said(does="started", pid=os.getpid(), refused=refused))
        reader, writer = await asyncio.open_connection(sock=self._own)
        while line := await reader.readline():
            ask = msgspec.json.decode(line, type=Ask)
            await self._do(ask)
            writer.write(_line(Said(does=ask.does, lines=self._watch.lines, left=self._left, log=self._log.lines)))
            await writer.drain()
            if ask.does == "stop":
                break
        writer.close()

    async def _do(self, ask: Ask) -> None:
        (flow,) = self._engine.graph.flows
        match ask.does:
            case "wish":
                self._watch.arm()
                for _ in range(ask.times):
                    await self._engine.enter(flow, "hand", {"soc_percent": ask.soc, "price_eur_mwh": 50.0}, by="test")
            case "until":
                await self._until(lambda: self._states() and self._states() <= set(ask.states), ask)
            case "left":
                await self._until(lambda: len(self._left.get(ask.port, ())) >= ask.times, ask)
            case "searched":
                follower = self._engine.runtime.workers[f"{flow}/exchange"].node.follower  # type: ignore[attr-defined]  # exchange-out's own
                await self._until(lambda: follower._seen_until, ask)
            case "rest":
                await self._engine.runtime.drained()
            case "room":
                _fill_the_disk(False)
            case "stop":
                await self._engine.stop()

    def _states(self) -> set[str]:
        return {one.state for one in self._engine.trading.journal.orders()}

    async def _until(self, condition: Callable[[], object], ask: Ask) -> None:
        await until(condition, lambda: f"{ask}; {self._states()}, {self._left}, {self._log.lines}", every_s=0.002)

    def _tap(self, node: str) -> Any:  # Any: the runtime's own kind of tap
        return lambda port, message: self._left.setdefault(f"{node}.{port}", []).append(message.payload)


def _fill_the_disk(full: bool) -> None:
    """For this process: no file may become longer than nothing (EFBIG; Python ignores the signal that comes along)."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else most, most))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control:
        main(control)
