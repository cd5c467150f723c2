"""``flowrunner run``: engine, store and server in one loop, from the check to a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowrunner import __version__
from flowrunner.engine import Engine, check_files, flow_files
from flowrunner.errors import Problem
from flowrunner.graph import Checked, Graph, GraphNode
from flowrunner.logs import Secrets
from flowrunner.registry import Registry

OK, FAILED, BAD_FLOW = 0, 1, 78
API_KEY = "FLOWRUNNER_API_KEY"
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "note": logging.INFO}
log = logging.getLogger("flowrunner")


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
) -> int:
    """Run until a signal; the exit code. UsageError when the surroundings do not allow it.

    The log is set up by the caller; what must not be seen in it is added to ``secrets``.
    """
    secrets.add([environment.get(API_KEY, "")])
    checked = check_files(paths, environment, registry)
    if checked.graph is None:
        on_problems(checked.problems)
        return BAD_FLOW
    secrets.add(checked.graph.secrets)
    folder = data or flow_files(paths)[0].resolve().parent / ".flowrunner"
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(checked, checked.graph, environment, host, port, folder))


def say_problems(problems: Sequence[Problem]) -> None:
    """Problems as lines of the log, for logs that a machine reads."""
    for problem in problems:
        log.log(LEVELS[problem.severity], "%s", problem)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def _serve(
    checked: Checked, graph: Graph, environment: Mapping[str, str], host: str, port: int, folder: Path
) -> int:
    from flowrunner.store import Store
    from flowrunner.web import Server, check_exposure, listen  # late: a file with problems needs no server

    stop, hurry = _on_signals()
    async with contextlib.AsyncExitStack() as cleanup:  # ends in the opposite order: requests, flows, store
        sock = listen(host, port)
        cleanup.callback(sock.close)
        check_exposure(graph, host, sock.getsockname()[0], environment)
        store = Store.open(folder)
        cleanup.push_async_callback(store.close)
        engine = Engine(checked, store=store)
        cleanup.push_async_callback(_unless, hurry, engine.stop)
        await engine.start()
        server = Server(engine, sock, environment, host)
        cleanup.push_async_callback(_unless, hurry, server.close)
        await server.start()
        say_problems([problem for problem in checked.problems if problem.severity != "note"])
        for line in _welcome(graph, _base(host, server.port), folder):
            log.info("%s", line)
        waiting: set[asyncio.Future[Any]] = {stop, engine.failed}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
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
    """Resolve with the first and with the second signal's name."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()
    hurry: asyncio.Future[str] = loop.create_future()

    def heard(one: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(one.name)
        elif not hurry.done():
            hurry.set_result(f"a second signal, {one.name}")

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, heard, one)
    return stop, hurry


async def _unless(hurry: asyncio.Future[str], step: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """A step of the stop, broken off when a person has no patience."""
    task: asyncio.Future[Any] = asyncio.ensure_future(step())
    await asyncio.wait({task, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    else:
        task.cancel()
        await asyncio.wait({task}, timeout=1)


# ---- what a person reads first --------------------------------------------------------------------------------


def _base(host: str, port: int) -> str:
    """An address that can be typed on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _welcome(graph: Graph, base: str, folder: Path) -> Iterator[str]:
    for head in graph.flows.values():
        mine = [node for node in graph.nodes.values() if node.flow == head.name]
        yield f"flowrunner {__version__} runs {head.name} ({head.file}): {len(mine)} nodes"
        prefix = f"{head.name}/"
        off = {name.removeprefix(prefix): why for name, why in graph.disabled.items() if name.startswith(prefix)}
        if off:
            yield f"{head.name}: off: {', '.join(f'{name} ({why})' for name, why in off.items())}"
    yield f"data is kept in {_short(folder)}"
    routes = list(_routes(graph))
    for node, method, path in routes:
        yield f"{node.address}: {method} {base}{path}"
    for node, method, path in routes:
        example = getattr(node.node, "sample_body", lambda: None)()
        if example is not None:
            yield f"try: {_curl(node, method, base + path, example)}"
            break
    yield f"ready on {base}; Ctrl-C stops"


def _routes(graph: Graph) -> Iterator[tuple[GraphNode, str, str]]:
    """Node, method and path."""
    for node in graph.nodes.values():
        for claim in node.node.claims():
            kind, _, what = claim.partition(":")
            method, _, path = what.partition(" ")
            if kind == "route":
                yield node, method, path


def _curl(node: GraphNode, method: str, url: str, body: object) -> str:
    verb = "" if method == "POST" else f"-X {method} "
    key = ""
    if getattr(node.node.options, "api_key", ""):
        variable = node.variables.get("api_key", "")
        key = f'-H "X-API-KEY: {"$" + variable if variable.isidentifier() else "…"}" '
    return f"curl {verb}{key}-H 'Content-Type: application/json' -d '{json.dumps(body)}' {url}"


def _short(folder: Path) -> str:
    here = os.path.relpath(folder)
    return str(folder) if here.startswith(os.pardir) else here
