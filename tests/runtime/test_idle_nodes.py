"""A node that has nothing to do costs next to nothing: it is opened where it need not wait, and has no task."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import localcontext
from pathlib import Path
from typing import Any

import pytest

from flowrunner.runtime.supervision import waits
from flowrunner.testing import Rig
from tests.runtime.kit import numbers, play, types

FLOW = """
  make: {type: maker, count: 0}
  plain: {type: relay, how: new, from: make}
  work: {type: slow, time: 1s, from: plain}
  end: {type: sink, from: work}
"""


def test_a_task_begins_with_the_first_work_for_it() -> None:
    async def story(rig: Rig) -> None:
        tasks = rig.engine.runtime.tasks.works
        at_first = {worker.spec.id for worker in tasks}
        assert at_first <= {"make"}  # a source
        assert all(rig.worker(one).counters.state == "running" for one in ("plain", "work", "end"))
        await rig.emit("make", 1)
        assert {worker.spec.id for worker in tasks} - at_first == {"work"}
        await rig.advance("2s")
        assert numbers(rig, "end") == [1]

    play(FLOW, story)


def test_work_that_comes_at_the_end_is_done() -> None:
    """Nothing is started any more then, but for what is left to do."""

    async def story(rig: Rig) -> Any:
        await rig.emit("make", 1)
        assert rig.engine.runtime.tasks.works
        await rig.emit("make", 2)
        sink = rig.worker("end").node
        await rig.engine.stop(5)
        return [payload for _, payload, _ in sink.seen]  # type: ignore[attr-defined]  # the type's own

    assert play(FLOW, story) == [1, 2]


WRAPPED = '''"""wrapped: its ``open`` is wrapped, object by object."""

from flowrunner.node import Node, NodeOptions


class Wrapped(Node):
    """Pass on whether it is open."""

    class Options(NodeOptions):
        pass

    def __init__(self, id, options):
        super().__init__(id, options)
        inner = self.open

        async def first_look(ctx):
            await ctx.sleep_until(ctx.now() + 1_000_000_000)
            await inner(ctx)

        self.open, self.is_open = first_look, False

    async def open(self, ctx):
        self.is_open = True

    def process(self, message, ctx):
        return message.derive(self.is_open)
'''


def test_what_an_object_wraps_its_open_in_is_awaited(tmp_path: Path) -> None:
    (tmp_path / "wrapped.py").write_text(WRAPPED)

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        assert rig.worker("look").counters.state == "starting"
        await rig.advance("2s")
        assert numbers(rig, "end") == [True]

    text = """
  make: {type: maker, count: 0}
  look: {type: wrapped, from: make}
  end: {type: sink, from: look}
"""
    play(text, story, registry=types(tmp_path))


def test_a_task_that_dies_after_a_reload_begins_again_after_a_pause() -> None:
    async def story(rig: Rig) -> None:
        await rig.reload(f"flow: t\nnodes:\n{FLOW.replace('1s', '2s')}")
        works, work = rig.engine.runtime.tasks.works, rig.worker("work")
        works[work].cancel()
        await rig.settle()
        assert work not in works
        await rig.advance("2s")
        assert work in works

    play(FLOW, story)


EXACT = '''"""exact: says how exactly it reckons."""

from decimal import Context, getcontext, setcontext

from flowrunner.node import Node, NodeOptions


class Exact(Node):
    """Pass on the digits."""

    class Options(NodeOptions):
        digits: int = 0

    async def open(self, ctx):
        if self.options.digits:
            setcontext(Context(prec=self.options.digits))

    async def process(self, message, ctx):
        return message.derive(getcontext().prec)
'''


def test_a_task_takes_nothing_over_from_who_writes_first(tmp_path: Path) -> None:
    (tmp_path / "exact.py").write_text(EXACT)

    async def story(rig: Rig) -> None:
        with localcontext(prec=5):
            await rig.emit("make", 1)
        assert numbers(rig, "end") == [28]
        assert numbers(rig, "other") == [9]  # as it has set it itself

    text = """
  make: {type: maker, count: 0}
  reckon: {type: exact, from: make}
  end: {type: sink, from: reckon}
  roughly: {type: exact, digits: 9, from: make}
  other: {type: sink, from: roughly}
"""
    play(text, story, registry=types(tmp_path))


async def at_once(_: object) -> None: ...
async def awaits(_: object) -> None:
    await at_once(None)


@asynccontextmanager
async def somewhere() -> AsyncIterator[None]:
    yield


async def enters(_: object) -> None:
    async with somewhere():
        pass


async def many() -> AsyncIterator[int]:
    yield 1


async def walks(_: object) -> None:
    async for _one in many():
        pass


async def gathers(_: object) -> object:
    return [one async for one in many()]


def plain(_: object) -> None: ...


@pytest.mark.parametrize(
    ("call", "expected"),
    [(at_once, False), (awaits, True), (enters, True), (walks, True), (gathers, True), (plain, True), (many, True)],
)
def test_who_may_wait(call: Callable[..., object], expected: bool) -> None:
    assert waits(call) is expected
