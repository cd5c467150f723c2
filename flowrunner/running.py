"""``flowrunner run``: engine, store and server in one loop, from the check to a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowrunner import hangup
from flowrunner.clock import Clock
from flowrunner.engine import Engine
from flowrunner.errors import Problem
from flowrunner.files import check_files, flow_files
from flowrunner.graph import Checked, Graph
from flowrunner.logs import Secrets
from flowrunner.reloading import Reloader, Sources, say_problems
from flowrunner.store import DATA_FOLDER, FILE_NAME
from flowrunner.watching import Watch
from flowrunner.welcome import base_address, welcome

if TYPE_CHECKING:
    from flowrunner.terminal.live import Terminal

OK, FAILED, BAD_FLOW = 0, 1, 78
API_KEY = "FLOWRUNNER_API_KEY"
GRACE_S = 5.0
"""Seconds that flows get to finish what they have taken, when they are stopped."""
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
    bind: Callable[[Mapping[str, str]], Mapping[str, str]] = dict
    """The environment, read again, as the flows find it here."""
    turn: Callable[[Graph], object] = lambda _: None
    """Changes a graph that was checked again before anything of it runs."""


def run(
    *,
    sources: Sources,
    host: str,
    port: int,
    data: Path | None,
    secrets: Secrets,
    on_problems: Callable[[Sequence[Problem]], None],
    table: bool = False,
    speed: float | None = None,
    watched: Sequence[Path] | None = None,
    grace_s: float = GRACE_S,
) -> int:
    """Run until a signal; the exit code. UsageError when the surroundings do not allow it.

    The log is set up by the caller; what must not be seen in it is added to ``secrets``. ``table``: standard error
    is a terminal, and the nodes are shown there, live. ``speed``: in a simulated world, whose time runs so fast.
    ``watched``: a change of the files, or in one of these folders of node files, is taken over; None: only when asked.
    """
    gc.disable()  # until all runs: a search for garbage among so much that is new takes long, and finds none
    try:
        return _run(sources, host, port, data, secrets, on_problems, table, speed, watched, grace_s)
    finally:
        gc.enable()


def _run(
    sources: Sources,
    host: str,
    port: int,
    data: Path | None,
    secrets: Secrets,
    on_problems: Callable[[Sequence[Problem]], None],
    table: bool,
    speed: float | None,
    watched: Sequence[Path] | None,
    grace_s: float,
) -> int:
    env_files = [] if sources.env_file is None else [sources.env_file]
    # Before they are read: what is saved from here on is another content.
    watch = None if watched is None else Watch(sources.paths, nodes=watched, files=env_files)
    paths, registry, environment = sources.paths, sources.registry, sources.environment()
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
        sources = sources._replace(simulated=speed is not None)
        return runner.run(_serve(stage, sources, watch, host, port, secrets, terminal, grace_s))


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
    sources: Sources,
    watch: Watch | None,
    host: str,
    port: int,
    secrets: Secrets,
    terminal: Terminal | None,
    grace_s: float,
) -> int:
    from flowrunner.store import Store
    from flowrunner.store.people import is_anybody_there
    from flowrunner.web import Server, check_exposure, exposed, listen  # late: a file with problems needs no server

    again = asyncio.Event()
    stop, hurry = _on_signals(None if hangup.at_a_terminal() else again.set)
    if hangup.noted():
        again.set()
    late: list[str] = []
    async with contextlib.AsyncExitStack() as cleanup:  # ends in the opposite order: requests, flows, store
        stage = await cleanup.enter_async_context(opening)
        secrets.add(stage.graph.secrets)
        sock = listen(host, port)
        cleanup.callback(sock.close)
        address = sock.getsockname()[0]
        anybody = is_anybody_there(stage.folder / FILE_NAME)
        check_exposure(stage.graph, host, address, stage.environment, anybody=anybody)
        store = Store.open(stage.folder, may_start_fresh=not stage.graph.keeps_orders)
        cleanup.push_async_callback(store.close)
        engine = Engine(stage.checked, store=store, clock=stage.clock)
        cleanup.push_async_callback(_unless, hurry, functools.partial(_drain, engine, grace_s, late))
        await engine.start()
        gc.freeze()  # what runs now stays: nobody need search it for garbage again and again
        gc.enable()
        now_exposed = functools.partial(exposed, host=host, address=address)
        sources = sources._replace(bind=stage.bind, turn=stage.turn, exposed=now_exposed)
        reloader = Reloader(engine, sources, secrets)
        attendants = [asyncio.ensure_future(engine.trading.watch(engine.clock.now))]
        attendants.append(asyncio.ensure_future(engine.watch_letters()))
        if stage.attend is not None:
            attendants.append(asyncio.ensure_future(stage.attend(engine)))
        attendants.append(asyncio.ensure_future(reloader.on(again)))
        cleanup.push_async_callback(_cancel, attendants)
        cleanup.push_async_callback(_unless, hurry, functools.partial(reloader.close, grace_s))
        server = Server(engine, sock, stage.environment, host, reload=reloader.reload)
        cleanup.push_async_callback(_unless, hurry, server.close)
        cleanup.callback(reloader.refuse)
        await server.start()
        if watch is not None:
            loop = asyncio.get_running_loop()
            cleanup.push_async_callback(asyncio.to_thread, watch.close)
            watch.start(lambda: loop.call_soon_threadsafe(reloader.ask))
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
    return FAILED if engine.failed.done() or late else OK


def _on_signals(hangup: Callable[[], None] | None = None) -> tuple[asyncio.Future[str], asyncio.Future[str]]:
    """Resolve with the first and with the second signal's name: Ctrl-C, a service's stop, a terminal that is closed.

    ``hangup``: what SIGHUP asks for instead.
    """
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
    if hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, hangup)
    return stop, hurry


async def until_signal() -> str:
    """Wait for SIGINT or SIGTERM; its name."""
    stop, _ = _on_signals()
    return await stop


async def _drain(engine: Engine, grace_s: float, late: list[str]) -> None:
    """Who was late is added to ``late``; the engine has said it."""
    late += await engine.stop(grace_s)


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
