"""Virtual time for those who use it: the clock that reads the jumping loop, and a run from start to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from flowrunner.clock.clocks import Clock, Timer
from flowrunner.clock.loop import Handle, VirtualLoop
from flowrunner.message import Instant

T = TypeVar("T")


def run_virtual(main: Coroutine[Any, Any, T], *, start: Instant) -> T:
    """Run ``main`` in virtual time from ``start`` on, as ``asyncio.run`` would, and return its result.

    Tasks left over are cancelled in the order they were made, so the end is as repeatable as the run.
    VirtualDeadlock when everything waits for something that cannot come.
    """
    loop = VirtualLoop(start)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main)
        finally:
            runner.run(loop.cancel_leftovers())


class _Place:
    """In the loop: where a timer waits."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, loop: VirtualLoop, handle: Handle) -> None:
        self._loop, self._handle = loop, handle

    def let_go(self, timer: Timer) -> None:
        self._handle.cancel()

    def put_off(self, timer: Timer, instant: Instant) -> bool:
        return self._loop.postpone(self._handle, instant)


class VirtualClock(Clock):
    """Flow time of a :class:`VirtualLoop`: exact to the nanosecond."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> Instant:
        return self._loop.now

    def call_at(self, instant: Instant, call: Callable[[], None]) -> Timer:
        timer = Timer(instant, call)
        handle = self._loop.call_at_instant(instant, timer.fire, context=timer.context)
        timer.place = _Place(self._loop, handle)
        return timer
