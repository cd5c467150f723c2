"""The event loop of virtual time: it jumps to its next timer instead of waiting."""

from __future__ import annotations

import asyncio
import concurrent.futures
import selectors
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from pathlib import PurePath
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from flowrunner.clock.timers import TimerQueue
from flowrunner.errors import FlowrunnerError
from flowrunner.message import Instant
from flowrunner.units import SECOND, iso

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualDeadlock(FlowrunnerError):
    """Nothing can ever run again in virtual time; the text names the tasks that wait, and where."""


def _refused(method: str) -> Callable[..., NoReturn]:
    def refuse(_loop: VirtualLoop, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise RuntimeError(f"{method}: no sockets in virtual time; use a live or scaled clock for this flow")

    return refuse


class Handle(asyncio.TimerHandle):
    """A timer of this loop, which may be put off."""

    __slots__ = ("postponed", "waits")
    postponed: tuple[int, int] | None
    waits: bool


class VirtualLoop(asyncio.SelectorEventLoop):
    """The stdlib loop, except that time stands still while anything can run, and then jumps to the next timer.

    ``now`` counts integer nanoseconds from ``start``; all timers are kept in them. ``time()`` is seconds since
    ``start``. Work in other threads (``run_in_executor``, ``asyncio.to_thread``, :meth:`foreign_work`) is waited for
    really, and time stands still meanwhile. Sockets, pipes and processes are refused. Tasks that nobody named are
    called task-1, task-2 … in this loop. A task that polls with ``sleep(0)`` until time moves never sees it move.
    """

    _ready: deque[asyncio.Handle]  # of the base class: what runs in this turn

    def __init__(self, start: Instant) -> None:
        self.now = start
        self._start = start
        self._timers: TimerQueue[Handle] = TimerQueue()
        self._foreign = 0
        self._made = 0
        self._quiet: list[asyncio.Future[None]] = []
        self._reached: tuple[Instant, asyncio.Future[None]] | None = None
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        threads = concurrent.futures.ThreadPoolExecutor()
        self._threads: concurrent.futures.Executor = threads
        self._worked = False  # whether anything was ever given to a thread
        super().__init__(_JumpingSelector(self._turn, lambda: self._foreign > 0))
        super().set_default_executor(threads)

    # ---- time -------------------------------------------------------------------------------------------

    def time(self) -> float:
        return (self.now - self._start) / SECOND

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        # a delay above 0 moves time, if only by 1 ns: who sleeps until a deadline must get there
        ns = max(round(delay * SECOND), 1) if delay > 0 else 0
        return self.call_at_instant(self.now + ns, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        # ``when`` is time() + a delay in floats: some nanoseconds off after a month, so the delay is taken back
        # out and rounded to microseconds. asyncio.timeout(1) then ends after exactly 1 s, in any year.
        delay = when - self.time()
        return self.call_later(round(delay, 6) or delay, callback, *args, context=context)

    def call_at_instant(
        self,
        instant: Instant,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Handle:
        """As ``call_at``, with the exact instant in nanoseconds since the epoch."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = Handle((instant - self._start) / SECOND, callback, args, self, context)
        handle.postponed = None
        self._timers.push(instant, handle)
        return handle

    def postpone(self, handle: Handle, instant: Instant) -> bool:
        """Call what waits at ``instant`` instead, which is later, after all that is set for it by now. False when its
        time has come already."""
        return self._timers.postpone(handle, instant)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers.entry_cancelled()

    def _turn(self, idle: bool) -> bool:
        """Once per turn of the loop: jump if it is idle, hand it the timers that are due. True: wait for threads."""
        idle = idle and not self._ready  # a thread may have called meanwhile
        first = self._timers.first()
        if idle and not self._foreign and self._quiet and (first is None or first > self.now):
            for waiter in self._quiet:
                if not waiter.done():
                    waiter.set_result(None)
            self._quiet.clear()
            return False
        if idle and not self._foreign:
            if self._reached is not None and (first is None or first >= self._reached[0]):
                (self.now, waiter), self._reached = self._reached, None
                if not waiter.done():
                    waiter.set_result(None)
                return False
            if first is None:
                raise VirtualDeadlock(self._why_stuck())
            self.now = max(self.now, first)
        due = self._timers.take_due(self.now)
        self._ready.extend(due)
        return idle and not due

    async def quiet(self) -> None:
        """Return when nothing can run any more at this instant: all that is left waits for time, or for nothing."""
        waiter = self.create_future()
        self._quiet.append(waiter)
        await waiter

    async def reach(self, instant: Instant) -> None:
        """Let all run that is due before ``instant``, then let it be ``instant``: who waits here comes before the
        timers of that instant. For the one who plays the world outside. Where timers leave nothing to run behind them
        they are called from here: that costs no turn of the loop."""
        if self._reached is not None:
            raise RuntimeError("one at a time: somebody waits for an instant already")
        while self.now < instant and not self._ready and not self._foreign:
            first = self._timers.first()
            if first is None or first >= instant:
                self.now = instant
                return
            self.now = max(self.now, first)
            for handle in self._timers.take_due(self.now):
                if not handle.cancelled():  # by one of those before it
                    handle._run()  # as the loop itself does
        if self.now >= instant:
            return
        waiter = self.create_future()
        self._reached = (instant, waiter)
        try:
            await waiter
        finally:
            if self._reached is not None and self._reached[1] is waiter:
                self._reached = None

    # ---- work in threads --------------------------------------------------------------------------------

    @contextmanager
    def foreign_work(self) -> Iterator[None]:
        """Time stands still within: something outside the loop is at work and will call ``call_soon_threadsafe``."""
        self._foreign += 1
        try:
            yield
        finally:
            self._foreign -= 1

    def set_default_executor(self, executor: concurrent.futures.Executor) -> None:
        super().set_default_executor(executor)  # type: ignore[arg-type]  # which refuses what is no thread pool
        self._threads = executor

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        self._worked = True
        work = (executor or self._threads).submit(func, *args)
        self._foreign += 1
        result = asyncio.wrap_future(work, loop=self)
        # after wrap_future: the result is on its way into the loop before the work counts as done. A cancelled
        # await does not end it either; the thread may still be busy with what others will see.
        work.add_done_callback(self._thread_done)
        return result

    def _thread_done(self, _work: concurrent.futures.Future[Any]) -> None:
        if not self.is_closed():
            self.call_soon_threadsafe(self._foreign_done)

    def _foreign_done(self) -> None:
        self._foreign -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        if self._worked:  # to wait for nobody would take a thread, too
            with self.foreign_work():
                await super().shutdown_default_executor(*args)

    # ---- tasks ------------------------------------------------------------------------------------------

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **kwargs: Any
    ) -> asyncio.Task[Any]:
        self._made += 1
        number = self._made
        label = f"task-{number}" if name is None else str(name)
        task: asyncio.Task[Any] = super().create_task(coro, name=label, context=context, **kwargs)
        # held until done: asyncio itself forgets a task that nobody holds when the garbage collector happens
        # to come by, and a run would not repeat
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))
        return task

    def waiting(self) -> list[asyncio.Task[Any]]:
        """All tasks that are not done, in the order they were made."""
        return [task for task in self._tasks.values() if not task.done()]

    async def cancel_leftovers(self) -> None:
        """Cancel all other tasks in the order they were made, and wait for their ends."""
        leftovers = [task for task in self.waiting() if task is not asyncio.current_task()]
        for task in leftovers:
            task.cancel()
        await asyncio.gather(*leftovers, return_exceptions=True)
        for task in leftovers:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.call_exception_handler(
                    {"message": "a task failed while the virtual loop ended", "exception": error, "task": task}
                )

    def _why_stuck(self) -> str:
        waiting = "; ".join(f"{task.get_name()!r} in {_place(task)}" for task in self.waiting())
        return (
            f"nothing can run any more at {iso(self.now)} (virtual time): no timer is set, no thread is at work. "
            f"Tasks that wait: {waiting or 'none'}. What they wait for was never sent, or needs real I/O"
        )

    # ---- refused ----------------------------------------------------------------------------------------

    add_reader = _refused("add_reader")  # type: ignore[assignment]
    add_writer = _refused("add_writer")  # type: ignore[assignment]
    connect_accepted_socket = _refused("connect_accepted_socket")
    connect_read_pipe = _refused("connect_read_pipe")
    connect_write_pipe = _refused("connect_write_pipe")
    create_connection = _refused("create_connection")
    create_datagram_endpoint = _refused("create_datagram_endpoint")
    create_server = _refused("create_server")
    create_unix_connection = _refused("create_unix_connection")
    create_unix_server = _refused("create_unix_server")
    getaddrinfo = _refused("getaddrinfo")
    getnameinfo = _refused("getnameinfo")
    sock_accept = _refused("sock_accept")
    sock_connect = _refused("sock_connect")
    sock_recv = _refused("sock_recv")
    sock_recv_into = _refused("sock_recv_into")
    sock_recvfrom = _refused("sock_recvfrom")
    sock_recvfrom_into = _refused("sock_recvfrom_into")
    sock_sendall = _refused("sock_sendall")
    sock_sendfile = _refused("sock_sendfile")
    sock_sendto = _refused("sock_sendto")
    subprocess_exec = _refused("subprocess_exec")
    subprocess_shell = _refused("subprocess_shell")


class _JumpingSelector(selectors.DefaultSelector):
    """Where the base loop would wait, it asks ``turn`` instead. The loop keeps its timers from the base class,
    so a wait is either 0 (something can run) or without end (idle). What the system has to say is asked for only while
    foreign work is out: what else comes from a thread is in the loop's own list already.
    """

    def __init__(self, turn: Callable[[bool], bool], foreign: Callable[[], bool]) -> None:
        super().__init__()
        self._turn_of_loop = turn
        self._foreign = foreign

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.get_map():  # the first one is the loop's own wake-up pipe
            raise RuntimeError("no sockets in virtual time; use a live or scaled clock for this flow")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        woken = super().select(0) if self._foreign() else []
        must_wait = self._turn_of_loop(timeout != 0 and not woken)
        return super().select(None) if must_wait else woken


def _place(task: asyncio.Task[Any]) -> str:
    """Where a suspended task waits, from the outside in: ``Worker.run (worker.py:80) > Inbox.get (inbox.py:40)``."""
    places = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = _first(awaited, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            name = getattr(awaited, "__qualname__", frame.f_code.co_name)
            places.append(f"{name} ({PurePath(frame.f_code.co_filename).name}:{frame.f_lineno})")
        awaited = _first(awaited, "cr_await", "ag_await", "gi_yieldfrom")
    return " > ".join(places) or "?"


def _first(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)
