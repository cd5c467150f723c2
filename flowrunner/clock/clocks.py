"""Clocks: what flow time is now, and calls at an instant of it. Here those that run by themselves.

Instants are integer nanoseconds since the epoch, UTC. I/O time (timeouts, back-off) is not here: that is the
event loop's own time, plain asyncio.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from flowrunner.clock.timers import TimerQueue
from flowrunner.message import Instant
from flowrunner.units import SECOND

LOOK_EVERY = 1.0
"""Seconds at most between two looks at a wall clock that timers wait for: a step forward is noticed within it."""
_SHORTEST_WAIT = 0.001
"""Loops round a wait to milliseconds; asking for less than one would only spin until the instant is there."""


class Timer:
    """A call that waits for its instant (``when``). ``cancel`` is safe at any time, and to repeat."""

    __slots__ = ("_call", "context", "release", "when")

    def __init__(self, when: Instant, call: Callable[[], None]) -> None:
        self.when = when
        self.context = contextvars.copy_context()
        self.release: Callable[[], None] | None = None
        """Told once when the timer is cancelled; set by the clock."""
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        if self._call is not None:
            self._call = None
            if self.release is not None:
                self.release()

    def cancelled(self) -> bool:
        """Whether nothing will be called any more: cancelled, or done."""
        return self._call is None

    def fire(self) -> None:
        """For the clock: make the call, once, unless it was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Clock(ABC):
    """Flow time. ``call_at`` and ``sleep_until`` need a running event loop; ``now`` does not."""

    @abstractmethod
    def now(self) -> Instant:
        """Flow time in nanoseconds since the epoch, UTC. A live clock may step back when the wall clock is set."""

    @abstractmethod
    def call_at(self, instant: Instant, call: Callable[[], None]) -> Timer:
        """Call ``call()`` in the running loop once ``now() >= instant``, never earlier and never from within here.

        At equal instants the order of ``call_at`` is kept. An instant that has passed is due at once. What the
        call raises goes to the loop's exception handler; other timers are not touched by it.
        """

    async def sleep_until(self, instant: Instant) -> None:
        """Return once ``now() >= instant``; lets others run at least once, also for an instant that has passed."""
        reached = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not reached.done():
                reached.set_result(None)

        timer = self.call_at(instant, wake)
        try:
            await reached
        finally:
            timer.cancel()


class LiveClock(Clock):
    """The wall clock of the machine (``wall`` returns its nanoseconds)."""

    def __init__(self, wall: Callable[[], int] = time.time_ns) -> None:
        self._wall = wall
        self._agenda = _Agenda(wall, speed=1.0)

    def now(self) -> Instant:
        return self._wall()

    def call_at(self, instant: Instant, call: Callable[[], None]) -> Timer:
        return self._agenda.add(instant, call)


class ScaledClock(Clock):
    """A clock that shows ``start`` when it is made and runs ``speed`` times as fast as real time; never steps."""

    def __init__(self, start: Instant, speed: float, monotonic: Callable[[], int] = time.monotonic_ns) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"a clock's speed must be a number above 0, not {speed!r}")
        self.speed = speed
        self._start = start
        self._monotonic = monotonic
        self._began = monotonic()
        self._agenda = _Agenda(self.now, speed)

    def now(self) -> Instant:
        return self._start + int((self._monotonic() - self._began) * self.speed)

    def call_at(self, instant: Instant, call: Callable[[], None]) -> Timer:
        return self._agenda.add(instant, call)


class _Agenda:
    """The timers of one clock behind one timer of the loop: equal instants keep their order, and a stepped wall
    clock costs one look a second however many timers wait.
    """

    def __init__(self, now: Callable[[], Instant], speed: float) -> None:
        self._now = now
        self._speed = speed
        self._timers: TimerQueue[Timer] = TimerQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, instant: Instant, call: Callable[[], None]) -> Timer:
        self._settle_in(asyncio.get_running_loop())
        timer = Timer(instant, call)
        timer.release = self._timers.entry_cancelled
        first = self._timers.first()
        self._timers.push(instant, timer)
        if first is None or instant < first:
            self._arm()
        return timer

    def _settle_in(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            return
        if self._loop is not None and not self._loop.is_closed() and self._timers.first() is not None:
            raise RuntimeError("this clock has timers in another event loop; make one clock per loop")
        self._timers.clear()  # of a loop that is closed: nobody could call them
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._loop = loop

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        first = self._timers.first()
        if first is None or self._loop is None:
            return
        wait = (first - self._now()) / (SECOND * self._speed)
        if wait > 0:
            wait = min(max(wait, _SHORTEST_WAIT), LOOK_EVERY)
        self._alarm = self._loop.call_later(max(wait, 0), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._loop is None:
            return
        for timer in self._timers.take_due(self._now()):
            self._loop.call_soon(timer.fire, context=timer.context)
        self._arm()
