"""Flows of the small node types of this folder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from flowrunner.registry import Registry
from flowrunner.testing import Rig, run_flow

T = TypeVar("T")
NODES = Path(__file__).parent / "nodes"


def types(*folders: Path) -> Registry:
    """The shipped types and those of this folder."""
    return Registry([NODES, *folders])


def play(nodes: str, story: Callable[[Rig], Awaitable[T]], **run: Any) -> T:
    """Run ``nodes`` (indented lines of a flow's ``nodes``) while ``story`` plays."""
    return run_flow(f"flow: t\nnodes:\n{nodes}", story, **{"registry": types(), **run})


def node(rig: Rig, name: str) -> Any:
    """The node object itself."""
    return rig.worker(name).node


def numbers(rig: Rig, name: str, wire: str | None = None) -> list[Any]:
    """The payloads that a sink saw, by one wire or by all."""
    return [payload for came_by, payload, _ in node(rig, name).seen if wire in (None, came_by)]


def refused(rig: Rig) -> list[tuple[str, str]]:
    """(node, code) of the dead letters, oldest first."""
    return [(letter.node, letter.code) for letter in reversed(rig.engine.store.dead_letters())]


def crash(rig: Rig) -> None:
    """The end of a program that nobody stops: nothing is said or done any more."""
    runtime = rig.engine.runtime
    runtime.commits.cancel()
    runtime.tasks.stopping = True
    for worker in runtime.workers.values():
        worker.wake.begin = None
    for task in [*runtime.tasks.works.values(), *runtime.tasks.sources.values()]:
        task.cancel()
