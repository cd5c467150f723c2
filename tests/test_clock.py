"""Clocks and the virtual loop. Live and scaled clocks run in virtual time here too: their source of time is a
parameter, so a stepping wall clock and hours of waiting cost nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import selectors
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowrunner.clock import (
    Clock,
    LiveClock,
    ScaledClock,
    Timer,
    VirtualClock,
    VirtualDeadlock,
    VirtualLoop,
    run_virtual,
)
from flowrunner.clock.steps import Steps
from flowrunner.clock.timers import TimerQueue
from flowrunner.errors import FlowrunnerError
from flowrunner.units import DURATION_UNITS, SECOND, parse_instant

START = parse_instant("2025-01-25T02:00:00Z") + 123_456_789
DAY, HOUR, MINUTE = DURATION_UNITS["d"], DURATION_UNITS["h"], DURATION_UNITS["min"]
MS = DURATION_UNITS["ms"]
WAITING = selectors.DefaultSelector.select.__code__


def loop_now() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_virtual(test(), start=START)

    run.__name__ = test.__name__
    return run


class Wall:
    """A wall clock that somebody sets: runs with the virtual loop, plus what it was stepped by."""

    def __init__(self) -> None:
        self.stepped = 0
        self._loop = loop_now()

    def __call__(self) -> int:
        return self._loop.now + self.stepped


CLOCKS: dict[str, Callable[[], Clock]] = {
    "virtual": lambda: VirtualClock(loop_now()),
    "live": lambda: LiveClock(Wall(), Wall()),
    "scaled": lambda: ScaledClock(START, 60.0, monotonic=Wall()),
}
LATEST = {"virtual": 0, "live": 2 * MS, "scaled": 60 * 2 * MS}
"""How late a call may be in flow time: loops round to milliseconds."""
every_clock = pytest.mark.parametrize("kind", CLOCKS)


# ---- timers, the same for every clock ---------------------------------------------------------------------


@every_clock
@given(timers=st.lists(st.tuples(st.integers(-3, 6).map(lambda n: n * SECOND // 2), st.booleans()), max_size=30))
@example(timers=[(SECOND, False)] * 20)
def test_timers_fire_in_the_order_of_instant_then_of_call_at(kind: str, timers: list[tuple[int, bool]]) -> None:
    async def main() -> list[int]:
        clock = CLOCKS[kind]()
        fired: list[int] = []
        begun = clock.now()

        def note(number: int) -> Callable[[], None]:
            def call() -> None:
                late = clock.now() - begun - max(timers[number][0], 0)
                assert 0 <= late <= LATEST[kind]
                fired.append(number)

            return call

        set_timers = [clock.call_at(begun + delay, note(n)) for n, (delay, _) in enumerate(timers)]
        assert [timer.when - begun for timer in set_timers] == [delay for delay, _ in timers]
        assert fired == [], "a timer must not fire within call_at"
        for timer, (_, cancel) in zip(set_timers, timers, strict=True):
            if cancel:
                timer.cancel()
                timer.cancel()
        await clock.sleep_until(begun + 4 * SECOND)
        for timer in set_timers:
            timer.cancel()  # after it fired: nothing
        return fired

    wanted = sorted((delay, n) for n, (delay, cancel) in enumerate(timers) if not cancel)
    assert run_virtual(main(), start=START) == [n for _, n in wanted]


@every_clock
def test_a_timer_cancelled_by_another_of_the_same_instant_does_not_fire(kind: str) -> None:
    async def main() -> list[str]:
        clock = CLOCKS[kind]()
        fired: list[str] = []
        at = clock.now() + SECOND

        def first() -> None:
            fired.append("first")
            second.cancel()

        clock.call_at(at, first)
        second = clock.call_at(at, lambda: fired.append("second"))
        await clock.sleep_until(at + SECOND)
        return fired

    assert run_virtual(main(), start=START) == ["first"]


@every_clock
def test_what_a_call_raises_is_reported_and_stops_no_other_timer(kind: str) -> None:
    async def main() -> tuple[list[str], list[str]]:
        clock = CLOCKS[kind]()
        fired: list[str] = []
        reported: list[str] = []
        loop_now().set_exception_handler(lambda _, context: reported.append(repr(context["exception"])))
        at = clock.now() + SECOND
        clock.call_at(at, lambda: [][0])
        clock.call_at(at, lambda: fired.append("next"))
        await clock.sleep_until(at)
        return fired, reported

    assert run_virtual(main(), start=START) == (["next"], ["IndexError('list index out of range')"])


@every_clock
def test_a_timer_set_for_the_past_by_a_timer_lets_others_run(kind: str) -> None:
    """Also a node that sets its next timer always too late must not starve the loop."""

    async def main() -> int:
        clock = CLOCKS[kind]()
        timers: list[Timer] = []

        def again() -> None:
            timers.append(clock.call_at(clock.now() - SECOND, again))

        again()
        for _ in range(50):
            await asyncio.sleep(0)
        timers[-1].cancel()
        return len(timers)

    assert 10 <= run_virtual(main(), start=START) <= 50


@every_clock
def test_a_call_sees_the_context_variables_of_who_set_it(kind: str) -> None:
    flow = contextvars.ContextVar("flow", default="")

    async def main() -> str:
        clock, seen = CLOCKS[kind](), []
        flow.set("bess")
        clock.call_at(clock.now() + 2 * SECOND, lambda: seen.append(flow.get()))
        flow.set("other")
        clock.call_at(clock.now() + SECOND, lambda: None)
        await clock.sleep_until(clock.now() + 3 * SECOND)
        return "".join(seen)

    assert run_virtual(main(), start=START) == "bess"


@every_clock
def test_a_cancelled_sleep_leaves_no_timer(kind: str) -> None:
    async def main() -> None:
        clock = CLOCKS[kind]()
        sleeper = asyncio.create_task(clock.sleep_until(clock.now() + DAY))
        await asyncio.sleep(0)
        sleeper.cancel()
        await asyncio.Event().wait()

    with pytest.raises(VirtualDeadlock, match=r"at 2025-01-25T02:00:0[01]\.123Z"):  # and not a day later
        run_virtual(main(), start=START)


def test_a_queue_of_timers_stays_small_when_most_are_cancelled() -> None:
    class Place:
        def let_go(self, timer: Timer) -> None:
            queue.entry_cancelled()

        def put_off(self, timer: Timer, instant: int) -> bool:
            return queue.postpone(timer, instant)

    queue: TimerQueue[Timer] = TimerQueue()
    kept = Timer(5, lambda: None)
    queue.push(5, kept)
    for when in range(10_000):
        timer = Timer(90 * DAY + when, lambda: None)
        timer.place = Place()
        queue.push(timer.when, timer)
        timer.cancel()
    assert len(queue) < 200
    assert queue.take_due(100 * DAY) == [kept]


# ---- live --------------------------------------------------------------------------------------------------


def live(wall: Wall) -> LiveClock:
    return LiveClock(wall, Wall())


@in_virtual_time
async def test_a_step_back_of_the_wall_clock_wakes_who_waits_within_a_second() -> None:
    wall = Wall()
    clock = live(wall)
    rung: list[str] = []
    for minutes in (3, 2):
        clock.call_at(clock.now() + minutes * MINUTE, lambda minutes=minutes: rung.append(f"{minutes} min"))  # type: ignore[misc]
    clock.call_at(clock.now() + MINUTE, lambda: rung.append("never")).cancel()
    sleeper = asyncio.create_task(clock.sleep_until(clock.now() + MINUTE))
    await asyncio.sleep(30.25)
    assert clock.set_back == 0
    wall.stepped -= 2 * DAY
    stepped_at = loop_now().now
    await sleeper
    assert 0 < loop_now().now - stepped_at <= SECOND
    assert rung == ["2 min", "3 min"]
    assert clock.set_back == 2 * DAY
    await clock.sleep_until(clock.now() + MINUTE)
    assert loop_now().now - stepped_at >= MINUTE, "it is woken once"


@in_virtual_time
async def test_who_waits_for_the_next_of_many_times_waits_by_the_new_clock() -> None:
    wall = Wall()
    clock = live(wall)

    def full_minute(now: int) -> int:
        return now - now % MINUTE + MINUTE

    waiting = asyncio.create_task(clock.sleep_until_next(full_minute))
    await asyncio.sleep(20)
    wall.stepped -= DAY + 10 * SECOND
    began = loop_now().now
    found = await waiting
    assert found % MINUTE == 0
    assert found <= clock.now() <= found + 2 * MS
    assert loop_now().now - began <= MINUTE


@in_virtual_time
async def test_a_plan_made_while_the_clock_is_set_back_is_made_again() -> None:
    wall = Wall()
    clock = live(wall)
    planned: list[int] = []

    def plan(now: int) -> int:
        if not planned:
            wall.stepped -= DAY
            assert clock.set_back == DAY  # somebody else has looked, and rung for all who wait
        planned.append(now)
        return now + SECOND

    began = loop_now().now
    await clock.sleep_until_next(plan)
    assert len(planned) == 2
    assert loop_now().now - began < 2 * SECOND


@in_virtual_time
async def test_an_instant_of_the_time_before_the_step_is_not_waited_for() -> None:
    wall = Wall()
    clock = live(wall)
    instant = clock.now() + MINUTE
    wall.stepped -= DAY
    await asyncio.wait_for(clock.sleep_until(instant), 1)


@in_virtual_time
async def test_a_clock_that_is_slowed_was_not_set_back() -> None:
    """By a twelfth, as fast as time services do it."""
    wall = Wall()
    clock = live(wall)
    began = loop_now().now
    sleeper = asyncio.create_task(clock.sleep_until(clock.now() + MINUTE))
    while not sleeper.done():
        await asyncio.sleep(0.012)
        wall.stepped -= MS
    assert clock.set_back == 0
    assert 65 * SECOND <= loop_now().now - began <= 67 * SECOND


@given(
    st.lists(
        st.tuples(st.integers(0, 10 * SECOND), st.integers(-2 * DAY, 2 * DAY) | st.integers(-10, 10), st.integers(0, 3))
    )
)
def test_no_time_comes_twice_when_what_was_set_back_is_added(moves: list[tuple[int, int, int]]) -> None:
    """We may be put to sleep before any reading. That is never taken for a step."""
    even, stepped, until_pause, seen = 0, 0, 0, 0

    def monotonic() -> int:
        nonlocal even, until_pause
        until_pause -= 1
        if until_pause == 0:
            even += 5 * SECOND
        return even

    def wall() -> int:
        nonlocal seen
        seen = monotonic() + stepped
        return seen

    steps = Steps(wall, monotonic)
    last = seen
    for passed, step, pause in moves:
        even += passed
        stepped += step
        until_pause = pause
        noticed = steps.look()
        assert seen + steps.set_back >= last, "a step back has been added"
        assert noticed <= max(-step, 0)
        last = seen + steps.set_back


@in_virtual_time
async def test_a_step_forward_of_the_wall_clock_is_noticed_within_a_second() -> None:
    wall = Wall()
    clock = live(wall)
    sleeper = asyncio.create_task(clock.sleep_until(clock.now() + DAY))
    await asyncio.sleep(30.25)
    wall.stepped += 2 * DAY
    stepped_at = loop_now().now
    await sleeper
    assert 0 < loop_now().now - stepped_at <= SECOND


@pytest.mark.anyio
async def test_the_live_clock_in_a_real_loop() -> None:
    clock = LiveClock()
    instant = clock.now() + 20 * MS
    order: list[int] = []
    for number in range(5):
        clock.call_at(instant, lambda number=number: order.append(number))  # type: ignore[misc]
    await clock.sleep_until(instant)
    assert clock.now() >= instant
    assert order == [0, 1, 2, 3, 4]


def test_a_clock_outlives_a_closed_loop_but_serves_one_at_a_time() -> None:
    clock = LiveClock()

    async def leave_a_timer() -> None:
        clock.call_at(clock.now() + DAY, lambda: None)

    async def second_loop() -> None:
        await asyncio.to_thread(asyncio.run, leave_a_timer())

    async def both() -> None:
        timer = clock.call_at(clock.now() + DAY, lambda: None)
        with pytest.raises(RuntimeError, match="one clock per loop"):
            await second_loop()
        timer.cancel()
        await second_loop()

    asyncio.run(leave_a_timer())
    asyncio.run(both())
    asyncio.run(asyncio.wait_for(clock.sleep_until(clock.now()), 5))


# ---- scaled ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_scaled_clock_runs_from_its_start_at_its_speed() -> None:
    start = parse_instant("2024-06-01T00:00:00Z")
    clock = ScaledClock(start, 3600.0, monotonic=Wall())
    assert clock.now() == start
    await asyncio.sleep(1)
    assert clock.now() == start + HOUR
    await clock.sleep_until(start + DAY)
    assert start + DAY <= clock.now() <= start + DAY + 3600 * 2 * MS
    assert loop_now().now - START == pytest.approx(24 * SECOND, abs=2 * MS)


@given(st.lists(st.integers(0, DAY), min_size=2).map(sorted), st.floats(1e-3, 1e6))
def test_a_scaled_clock_never_runs_back(readings: list[int], speed: float) -> None:
    source = iter([0, *readings])
    clock = ScaledClock(START, speed, monotonic=lambda: next(source))
    seen = [clock.now() for _ in readings]
    assert all(earlier <= later for earlier, later in pairwise(seen))


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be a number above 0"):
        ScaledClock(START, speed)


# ---- the virtual loop: time --------------------------------------------------------------------------------


def test_a_year_of_quarter_hours_is_exact() -> None:
    """Every instant to the nanosecond, also with I/O time (floats) in between."""

    slots = [START + slot * 15 * MINUTE + slot % 1000 for slot in range(365 * 96)]

    async def main() -> list[int]:
        clock = VirtualClock(loop_now())
        seen = []
        for slot in slots:
            await clock.sleep_until(slot)
            seen.append(clock.now())
            if len(seen) % 96 == 0:
                await asyncio.sleep(0.1)
                assert clock.now() == slot + 100 * MS
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await asyncio.Event().wait()
                assert clock.now() == slot + 400 * MS
        return seen

    assert run_virtual(main(), start=START) == slots


@given(st.lists(st.integers(1, 40 * DAY), max_size=30))
def test_instants_are_exact_to_the_nanosecond_over_long_spans(steps: list[int]) -> None:
    async def main() -> None:
        clock, instant = VirtualClock(loop_now()), START
        for step in steps:
            instant += step
            await clock.sleep_until(instant)
            assert clock.now() == instant

    run_virtual(main(), start=START)


@given(st.lists(st.floats(0, 1e6) | st.floats(0, 2e-6), max_size=20), st.integers(0, 400 * DAY), st.booleans())
def test_whoever_sleeps_until_a_deadline_in_loop_time_gets_there(
    delays: list[float], begin: int, by_deadline: bool
) -> None:
    async def main() -> None:
        loop = loop_now()
        await VirtualClock(loop).sleep_until(START + begin)
        for delay in delays:
            deadline, rounds = loop.time() + delay, 0
            while loop.time() < deadline:
                if by_deadline:
                    reached = asyncio.Event()
                    loop.call_at(deadline, reached.set)
                    await reached.wait()
                else:
                    await asyncio.sleep(deadline - loop.time())
                rounds += 1
                assert rounds < 20

    run_virtual(main(), start=START)


@in_virtual_time
async def test_time_stands_still_while_anything_can_run() -> None:
    for _ in range(1000):
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(5, lambda: None)
    for _ in range(1000):
        await asyncio.sleep(0)
    assert loop_now().now == START


@in_virtual_time
async def test_time_never_runs_back() -> None:
    clock = VirtualClock(loop_now())
    await clock.sleep_until(START + HOUR)
    await clock.sleep_until(START - HOUR)
    assert clock.now() == START + HOUR


@in_virtual_time
async def test_flow_timers_and_io_timers_of_one_instant_keep_their_order() -> None:
    loop = loop_now()
    clock = VirtualClock(loop)
    order: list[str] = []
    loop.call_later(1, order.append, "io 1")
    clock.call_at(START + SECOND, lambda: order.append("flow 1"))
    loop.call_at(loop.time() + 1, order.append, "io 2")
    clock.call_at(START + SECOND, lambda: order.append("flow 2"))
    await asyncio.sleep(1)
    assert order == ["io 1", "flow 1", "io 2", "flow 2"]


# ---- the virtual loop: repeatable --------------------------------------------------------------------------


def a_busy_program(seed: list[tuple[int, int]]) -> list[str]:
    """Producers, a consumer, timeouts, and leftovers that speak while they are cancelled: all it did, in order."""
    trace: list[str] = []

    async def main() -> None:
        loop = loop_now()
        clock = VirtualClock(loop)
        inbox: asyncio.Queue[str] = asyncio.Queue(2)

        def note(what: str) -> None:
            task = asyncio.current_task()
            trace.append(f"{clock.now()} {task.get_name() if task else '-'} {what}")

        async def produce(every: int, count: int) -> None:
            for number in range(count):
                await asyncio.sleep(every / 1000)
                await inbox.put(f"{every}/{number}")
                note(f"put {number}")
            try:
                await asyncio.Event().wait()
            finally:
                note("ends")
                await asyncio.sleep(every / 1000)
                note("ended")

        async def consume() -> None:
            while True:
                note(await inbox.get())
                await asyncio.sleep(0.003)

        tasks = [asyncio.create_task(produce(every, count)) for every, count in seed]
        consumer = asyncio.create_task(consume(), name="consumer")
        await clock.sleep_until(START + SECOND)
        note(f"{len(tasks)} producers, consumer {consumer.done()}")

    run_virtual(main(), start=START)
    return trace


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=12))
def test_the_same_program_twice_leaves_the_same_trace(seed: list[tuple[int, int]]) -> None:
    assert a_busy_program(seed) == a_busy_program(seed)


def test_leftovers_end_in_the_order_they_were_made() -> None:
    ends = [line.split()[1] for line in a_busy_program([(0, 0)] * 50) if line.endswith(" ends")]
    assert ends == [f"task-{n}" for n in range(2, 52)]


def test_a_task_that_nobody_holds_is_there_until_its_end() -> None:
    """The garbage collector must not decide what a run does."""

    async def main() -> None:
        asyncio.create_task(asyncio.Event().wait(), name="forgotten")  # noqa: RUF006  # that is the point
        await asyncio.sleep(1)
        gc.collect()
        assert [task.get_name() for task in loop_now().waiting()] == ["task-1", "forgotten"]

    run_virtual(main(), start=START)


def test_a_leftover_that_fails_at_the_end_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("lost the spanner")

    async def main() -> str:
        task = asyncio.create_task(clumsy())
        await asyncio.sleep(1)
        return task.get_name()

    with caplog.at_level(logging.ERROR):
        assert run_virtual(main(), start=START) == "task-2"
    assert "lost the spanner" in caplog.text


def test_what_main_raises_comes_out() -> None:
    async def main() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        run_virtual(main(), start=START)


def test_asynchronous_generators_are_closed() -> None:
    closed = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            closed.append(loop_now().now - START)

    async def main() -> Any:
        generator = numbers()
        assert await anext(generator) == 1
        return generator

    run_virtual(main(), start=START)
    assert closed == [SECOND]


# ---- the virtual loop: foreign work ------------------------------------------------------------------------


@in_virtual_time
async def test_work_in_a_thread_takes_no_virtual_time() -> None:
    """The timer of 1 s must wait for the thread, however long that takes in reality."""
    release = threading.Event()
    order: list[str] = []
    loop = loop_now()
    loop.call_later(1, order.append, "timer")
    work = loop.run_in_executor(None, release.wait, 30)
    work.add_done_callback(lambda _: order.append(f"work after {loop.now - START}"))
    loop.call_soon(release.set)
    await asyncio.sleep(1)
    assert order == ["work after 0", "timer"]
    assert await asyncio.to_thread(lambda: "result") == "result"
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 // 0)


def when_it_waits_for_threads(call: Callable[[], None]) -> None:
    """Call ``call()`` when the loop of this thread has nothing left to do and begins to wait for real."""

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is WAITING and frame.f_locals["timeout"] is None:
            sys.setprofile(None)
            call()

    sys.setprofile(look)


@in_virtual_time
async def test_a_cancelled_await_still_waits_for_its_thread() -> None:
    started, release = threading.Event(), threading.Event()
    order: list[int | str] = []
    loop = loop_now()

    def work() -> None:
        started.set()
        release.wait(30)
        loop.call_soon_threadsafe(order.append, loop.now - START)

    waiting = asyncio.create_task(asyncio.to_thread(work))
    await asyncio.to_thread(started.wait, 30)
    waiting.cancel()
    loop.call_later(1, order.append, "timer")
    when_it_waits_for_threads(release.set)
    try:
        await asyncio.sleep(1)
        assert order == [0, "timer"]
    finally:
        release.set()


@in_virtual_time
async def test_foreign_work_of_ones_own_holds_time_until_it_calls_in() -> None:
    loop = loop_now()
    heard: asyncio.Future[str] = loop.create_future()
    with loop.foreign_work():
        timer = loop.call_later(1, lambda: None)
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(heard.set_result, "hello"))
        thread.start()
        assert await heard == "hello"
        thread.join()
    timer.cancel()
    assert loop.now == START


# ---- the virtual loop: deadlock ----------------------------------------------------------------------------


def test_a_deadlock_names_the_tasks_and_where_they_wait() -> None:
    async def wait_for_godot() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(60)
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_godot(), name="worker merge")
            group.create_task(asyncio.Queue[int]().get(), name="worker scale")

    with pytest.raises(VirtualDeadlock) as caught:
        run_virtual(main(), start=START)
    text = str(caught.value)
    assert isinstance(caught.value, FlowrunnerError)
    assert "2025-01-25T02:01:00.123Z" in text
    assert "wait_for_godot (test_clock.py:" in text
    assert text.index("'task-1' in ") < text.index("'worker merge' in ") < text.index("'worker scale' in Queue.get")


def test_a_cancelled_timer_saves_nobody_from_a_deadlock() -> None:
    async def main() -> None:
        VirtualClock(loop_now()).call_at(START + DAY, lambda: None).cancel()
        await asyncio.Event().wait()

    with pytest.raises(VirtualDeadlock, match=r"02:00:00\.123Z"):
        run_virtual(main(), start=START)


# ---- the virtual loop: sockets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda: asyncio.open_connection("127.0.0.1", 9),
        lambda: asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
    ],
)
def test_the_network_is_refused(use: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        await use()

    with pytest.raises(RuntimeError, match="no sockets in virtual time; use a live or scaled clock"):
        run_virtual(main(), start=START)


def test_watching_a_socket_is_refused_by_every_door() -> None:
    near, far = socket.socketpair()

    async def main() -> None:
        loop = loop_now()
        near.setblocking(False)
        for use in (
            lambda: loop.add_reader(near, print),
            lambda: loop.add_writer(near, print),
            lambda: loop.sock_recv(near, 1),
            lambda: loop.sock_sendall(near, b"x"),
            lambda: super(VirtualLoop, loop).add_reader(near, print),  # a door that a later Python may open
        ):
            with pytest.raises(RuntimeError, match="no sockets in virtual time"):
                use()  # type: ignore[no-untyped-call]

    with near, far:
        run_virtual(main(), start=START)
