"""Clocks: what flow time is now, and calls at an instant of it. Here those that run by themselves.

Instants are integer nanoseconds since the epoch, UTC. I/O time (timeouts, back-off) is not here: that is the
event loop's own time, plain asyncio.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from flowrunner.clock.steps import TOLERANCE, Steps
from flowrunner.clock.timers import TimerQueue
from flowrunner.message import Instant
from flowrunner.units import SECOND, seconds_text

LOOK_EVERY = 1.0
"""Seconds at most between two looks at a wall clock that timers wait for: a step is noticed within it."""
_SHORTEST_WAIT = 0.001
"""Loops round a wait to milliseconds; asking for less than one would only spin until the instant is there."""
_LOG = logging.getLogger("flowrunner.clock")


class Waits(Protocol):
    """Where a timer waits."""

    def let_go(self, timer: Timer) -> None:
        """It was cancelled; told once."""

    def put_off(self, timer: Timer, instant: Instant) -> bool:
        """It is to wait until this later instant. False when its time has come."""


class Timer:
    """A call that waits for its instant (``when``). ``cancel`` is safe at any time, and to repeat."""

    __slots__ = ("_call", "context", "place", "postponed", "waits", "when")

    def __init__(self, when: Instant, call: Callable[[], None]) -> None:
        self.when = when
        self.context = contextvars.copy_context()
        self.place: Waits | None = None
        """Set by the clock."""
        self.postponed: tuple[int, int] | None = None
        self.waits = False
        """Both of the clock's queue."""
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        if self._call is not None:
            self._call = None
            if self.place is not None:
                self.place.let_go(self)

    def postpone(self, instant: Instant) -> bool:
        """Wait until ``instant`` instead, which is no sooner than ``when``. Much cheaper than to cancel this timer and
        to make another one; the order among equal instants is as if that was done. False when its time has come."""
        if self._call is None or self.place is None or not self.place.put_off(self, instant):
            return False
        self.when = instant
        return True

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

    @property
    def set_back(self) -> int:
        """Nanoseconds by which the clock was set back since it was made, in all; for the running loop only.

        An instant together with what this was when the instant came happens once: the time that comes again after a
        step back has another one.
        """
        return 0

    @abstractmethod
    def call_at(self, instant: Instant, call: Callable[[], None]) -> Timer:
        """Call ``call()`` in the running loop once ``now() >= instant``, never from within here.

        Early, too, but only within a second of a step back of the clock: the instant may have gone days away, so
        whoever waits for it is called to look at ``now()`` and to wait again for what is right by the new time.
        At equal instants the order of ``call_at`` is kept. An instant that has passed is due at once. What the
        call raises goes to the loop's exception handler; other timers are not touched by it.
        """

    async def sleep_until(self, instant: Instant) -> None:
        """Return once ``now() >= instant``; lets others run at least once, also for an instant that has passed.

        Returns early when the clock is set back meanwhile: who must not be early looks at ``now()`` again, and asks
        itself whether the instant is still the right one. ``sleep_until_next`` does so.
        """
        reached = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not reached.done():
                reached.set_result(None)

        timer = self.call_at(instant, wake)
        try:
            await reached
        finally:
            timer.cancel()

    async def sleep_until_next(self, plan: Callable[[Instant], Instant]) -> Instant:
        """Wait for the instant that ``plan(now)`` gives, and return it; the plan is asked anew whenever the clock was
        set back. What comes regularly stands still for no longer than from one time to the next."""
        while True:
            back = self.set_back
            instant = plan(self.now())
            if self.set_back != back:
                continue  # reckoned from the time before
            await self.sleep_until(instant)
            if self.now() >= instant:
                return instant


class LiveClock(Clock):
    """The wall clock of the machine. ``wall`` returns its nanoseconds, ``monotonic`` those of a clock nobody sets."""

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._steps = Steps(wall, monotonic)
        self._agenda = _Agenda(wall, 1.0, self._steps)

    def now(self) -> Instant:
        return self._wall()

    @property
    def set_back(self) -> int:
        self._agenda.look()
        return self._steps.set_back

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

    def __init__(self, now: Callable[[], Instant], speed: float, steps: Steps | None = None) -> None:
        self._now = now
        self._speed = speed
        self._steps = steps
        self._timers: TimerQueue[Timer] = TimerQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, instant: Instant, call: Callable[[], None]) -> Timer:
        self._settle_in(asyncio.get_running_loop())
        timer = Timer(instant, call)
        timer.place = self
        first = self._timers.first()
        self._timers.push(instant, timer)
        self.look()  # after the push: the instant may have been reckoned from before the step
        if first is None or instant < first:
            self._arm()
        return timer

    def let_go(self, timer: Timer) -> None:
        self._timers.entry_cancelled()

    def put_off(self, timer: Timer, instant: Instant) -> bool:
        return self._timers.postpone(timer, instant)

    def look(self) -> None:
        """Ring for all who wait when the clock was set back."""
        stepped = self._steps.look() if self._steps is not None else 0
        if stepped > TOLERANCE:
            _LOG.warning(
                "the clock was set back by %s s; what waits for a time looks at it again", seconds_text(stepped)
            )
        if stepped and self._loop is not None and not self._loop.is_closed():
            for timer in self._timers.take_all():
                self._loop.call_soon(timer.fire, context=timer.context)

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
        self.look()
        for timer in self._timers.take_due(self._now()):
            self._loop.call_soon(timer.fire, context=timer.context)
        self._arm()
