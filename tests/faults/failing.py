"""Every shipped node type again as a type that fails as a test plans it, and does its real work otherwise."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from flowrunner.node import Node
from flowrunner.registry import Registry

PREFIX = "failing-"
MOODS: dict[str, BaseException] = {
    "error": ZeroDivisionError("division by zero"),
    "exit": SystemExit(3),
    "memory": MemoryError(),
    "cancelled": asyncio.CancelledError(),
    "stop": StopAsyncIteration(),
    "group": ExceptionGroup("several", [OSError("one"), ValueError("two")]),
}
HANGS = "hangs"
PROBE = "probe"
"""The timer that a failing ``on_timer`` is called by."""
PLAN: dict[str, list[str]] = {}
"""Method → what it does at its next calls, one after the other; after that, its work."""


def registry(folder: Path) -> Registry:
    """The shipped types, and each of them once more with ``failing-`` before its name."""
    shipped = Registry()
    for name in shipped.names:
        stem, cls = name.replace("-", "_"), shipped.get(name).cls.__name__
        (folder / f"failing_{stem}.py").write_text(
            f"from flowrunner.nodes.{stem} import {cls} as Shipped\n"
            "from tests.faults.failing import failing\n"
            "Failing = failing(Shipped, __name__)\n"
        )
    return Registry([folder])


def failing(base: type[Node], module: str) -> type[Node]:
    """The type with its methods behind the plan; those that it does not have it does not get."""

    async def opens(self: Any, ctx: Any) -> None:
        await _slowly("open")
        await base.open(self, ctx)
        if PLAN.get("on_timer"):
            ctx.timer(PROBE, "", ctx.now() + 1_000_000_000)

    async def closes(self: Any) -> None:
        await _slowly("close")
        await base.close(self)

    methods: dict[str, Any] = {"open": opens, "close": closes, "__doc__": base.__doc__, "__module__": module}
    process: Any = getattr(base, "process", None)
    if inspect.iscoroutinefunction(process):

        async def processes(self: Any, message: Any, ctx: Any) -> Any:
            await _slowly("process")
            return await process(self, message, ctx)

        methods["process"] = processes
    elif process is not None:

        def processes_plainly(self: Any, message: Any, ctx: Any) -> Any:
            _fault("process")
            return process(self, message, ctx)

        methods["process"] = processes_plainly
    produce: Any = getattr(base, "produce", None)
    if produce is not None:

        async def produces(self: Any, ctx: Any) -> AsyncIterator[Any]:
            await _slowly("produce")
            async with aclosing(produce(self, ctx)) as made:
                async for one in made:
                    yield one

        methods["produce"] = produces
    on_timer: Any = getattr(base, "on_timer", None)
    if on_timer is not None:

        def timer(self: Any, name: str, key: str, ctx: Any) -> Any:
            if name != PROBE:
                return on_timer(self, name, key, ctx)
            _fault("on_timer")
            return None

        methods["on_timer"] = timer
    return type("Failing", (base,), methods)


def _fault(method: str) -> str:
    planned = PLAN.get(method)
    mood = planned.pop(0) if planned else ""
    if mood in MOODS:
        raise MOODS[mood]
    return mood


async def _slowly(method: str) -> None:
    if _fault(method) == HANGS:
        await asyncio.Event().wait()
