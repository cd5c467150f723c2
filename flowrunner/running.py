"""``flowrunner run``: engine, store and server in one loop, from the check to a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowrunner.clock import Clock
from flowrunner.engine import Engine, check_files, flow_files
from flowrunner.errors import Problem
from flowrunner.graph import Checked, Graph
from flowrunner.logs import Secrets
from flowrunner.registry import Registry
from flowrunner.store import DATA_FOLDER
from flowrunner.welcome import base_address, welcome

if TYPE_CHECKING:
    from flowrunner.terminal.live import Terminal

OK, FAILED, BAD_FLOW = 0, 1, 78
API_KEY = "FLOWRUNNER_API_KEY"
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "note": logging.INFO}
log = logging.getLogger("flowrunner")


class Stage(NamedTuple):
    """What flows run on: the real world, or a simulated one."""

    checked: Checked
    graph: Graph
    environment: Mapping[str, str]
    folder: Path
    clock: Clock | None = None
    lines: Sequence[str] = ()
    """What there is to say of it before all else."""
    tips: Callable[[str], Iterable[str]] | None = None
    """What to try in it, from the address of our own server."""
    attend: Callable[[Engine], Coroutine[Any, Any, None]] | None = None
    """Runs beside the engine until the end."""


def run(
    paths: Sequence[Path],
    *,
    environment: Mapping[str, str],
    registry: Registry,
    host: str,
    port: int,
    data: Path | None,
    secrets: Secrets,
    on_problems: Callable[[Sequence[Problem]], None],
    table: bool = False,
    speed: float | None = None,
) -> int:
    """Run until a signal; the exit code. UsageError when the surroundings do not allow it.

    The log is set up by the caller; what must not be seen in it is added to ``secrets``. ``table``: standard error
    is a terminal, and the nodes are shown there, live. ``speed``: in a simulated world, whose time runs so fast.
    """
    secrets.add([environment.get(API_KEY, "")])
    if speed is not None:
        from flowrunner import simulating  # late: a real run needs no simulated world

        environment = simulating.provisional(environment)
    checked = check_files(paths, environment, registry, simulated=speed is not None)
    if checked.graph is None:
        on_problems(checked.problems)
        return BAD_FLOW
    secrets.add(checked.graph.secrets)
    if speed is None:
        folder = data or flow_files(paths)[0].resolve().parent / DATA_FOLDER
        stage = _given(Stage(checked, checked.graph, environment, folder))
    else:
        stage = simulating.stage(paths, checked.graph, environment, registry, speed)
    with contextlib.ExitStack() as stack:
        terminal = None
        if table:
            from flowrunner.terminal.live import Terminal  # late: only where a person looks

            terminal = stack.enter_context(Terminal(sys.stderr, secrets))
        # What keeps a simulation on this machine sees Python's own sockets, and uvloop has its own.
        factory = _loop_factory() if speed is None else None
        runner = stack.enter_context(asyncio.Runner(loop_factory=factory))
        return runner.run(_serve(stage, host, port, secrets, terminal))


def say_problems(problems: Sequence[Problem]) -> None:
    """Problems as lines of the log, for logs that a machine reads."""
    for problem in problems:
        log.log(LEVELS[problem.severity], "%s", problem)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


@contextlib.asynccontextmanager
async def _given(stage: Stage) -> AsyncIterator[Stage]:
    """The real world is there already."""
    yield stage


async def _serve(
    opening: contextlib.AbstractAsyncContextManager[Stage],
    host: str,
    port: int,
    secrets: Secrets,
    terminal: Terminal | None,
) -> int:
    from flowrunner.store import Store
    from flowrunner.web import Server, check_exposure, listen  # late: a file with problems needs no server

    stop, hurry = _on_signals()
    async with contextlib.AsyncExitStack() as cleanup:  # ends in the opposite order: requests, flows, store
        stage = await cleanup.enter_async_context(opening)
        secrets.add(stage.graph.secrets)
        sock = listen(host, port)
        cleanup.callback(sock.close)
        check_exposure(stage.graph, host, sock.getsockname()[0], stage.environment)
        store = Store.open(stage.folder)
        cleanup.push_async_callback(store.close)
        engine = Engine(stage.checked, store=store, clock=stage.clock)
        cleanup.push_async_callback(_unless, hurry, engine.stop)
        await engine.start()
        attendants = [asyncio.ensure_future(engine.trading.watch(engine.clock.now))]
        if stage.attend is not None:
            attendants.append(asyncio.ensure_future(stage.attend(engine)))
        cleanup.push_async_callback(_cancel, attendants)
        server = Server(engine, sock, stage.environment, host)
        cleanup.push_async_callback(_unless, hurry, server.close)
        await server.start()
        say_problems([problem for problem in stage.checked.problems if problem.severity != "note"])
        base = base_address(host, server.port)
        tips = None if stage.tips is None else stage.tips(base)
        for line in (*stage.lines, *welcome(stage.graph, base, stage.folder, tips)):
            log.info("%s", line)
        if terminal is not None:
            terminal.show(engine, base)
        waiting: set[asyncio.Future[Any]] = {stop, engine.failed, *attendants}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if terminal is not None:
            terminal.rest()
        for attendant in attendants:
            if attendant.done():
                attendant.result()  # it ends by failing only
        if engine.failed.done():
            log.error("stopping because of %s", engine.failed.result())
        else:
            log.info("stopping because of %s", stop.result())
    if hurry.done():
        log.error("stopped at once because of %s", hurry.result())
        return FAILED
    log.info("stopped")
    return FAILED if engine.failed.done() else OK


def _on_signals() -> tuple[asyncio.Future[str], asyncio.Future[str]]:
    """Resolve with the first and with the second signal's name: Ctrl-C, a service's stop, a terminal that is closed."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()
    hurry: asyncio.Future[str] = loop.create_future()

    def heard(one: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(one.name)
        elif not hurry.done():
            hurry.set_result(f"a second signal, {one.name}")

    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(one, heard, one)
    return stop, hurry


async def until_signal() -> str:
    """Wait for SIGINT or SIGTERM; its name."""
    stop, _ = _on_signals()
    return await stop


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _unless(hurry: asyncio.Future[str], step: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """A step of the stop, broken off when a person has no patience."""
    task: asyncio.Future[Any] = asyncio.ensure_future(step())
    await asyncio.wait({task, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    else:
        task.cancel()
        await asyncio.wait({task}, timeout=1)
