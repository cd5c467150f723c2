"""``flowrunner run``: engine, store and server in one loop, from the check to a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from flowrunner import logs
from flowrunner.engine import Engine, check_files, flow_files
from flowrunner.errors import Problem
from flowrunner.graph import Checked
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.web import Server, check_exposure, listen
from flowrunner.web.guard import API_KEY

OK, FAILED, BAD_FLOW = 0, 1, 78
log = logging.getLogger("flowrunner")


def run(
    paths: Sequence[Path],
    *,
    environment: Mapping[str, str],
    registry: Registry,
    host: str,
    port: int,
    data: Path | None,
    style: Literal["text", "json"],
    on_problems: Callable[[Sequence[Problem]], None],
) -> int:
    """Run until a signal; the exit code. UsageError when the surroundings do not allow it."""
    checked = check_files(paths, environment, registry)
    if checked.graph is None:
        on_problems(checked.problems)
        return BAD_FLOW
    secrets = logs.Secrets([*checked.graph.secrets, environment.get(API_KEY, "")])
    logs.set_up(style, secrets)
    folder = data or flow_files(paths)[0].resolve().parent / ".flowrunner"
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(checked, environment, host, port, folder))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(checked: Checked, environment: Mapping[str, str], host: str, port: int, folder: Path) -> int:
    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    store = Store.open(folder)
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.push_async_callback(store.close)
        engine = Engine(checked, store=store)
        check_exposure(engine, host, environment)
        sock = listen(host, port)
        cleanup.callback(sock.close)
        server = Server(engine, sock, environment, host)
        for problem in checked.problems:
            log.info("%s", problem)
        await engine.start()
        await server.start()
        names = ", ".join(checked.graph.flows) if checked.graph else ""
        log.info("running %s: %d nodes on http://%s:%d", names, len(engine.graph.nodes), host, server.port)
        for route in engine.routes.values():
            log.info("route %s http://%s:%d%s", route.method, host, server.port, route.path)
        stopping = asyncio.ensure_future(stop.wait())
        waiting: set[asyncio.Future[Any]] = {stopping, engine.failed}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        log.info("stopping")
        await server.close()
        await engine.stop()
        if engine.failed.done():
            log.error("stopped because of %s", engine.failed.result())
            return FAILED
        log.info("stopped")
        return OK
