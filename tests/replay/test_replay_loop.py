"""What a replay adds to virtual time: to be first at an instant, and timers that are put off again and again."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.clock import Clock, LiveClock, VirtualClock, VirtualLoop, run_virtual
from flowrunner.clock.timers import TimerQueue
from flowrunner.units import SECOND

START = 1_700_000_000 * SECOND


def loop_and_clock() -> tuple[VirtualLoop, VirtualClock]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop, VirtualClock(loop)


def test_who_reaches_an_instant_comes_before_its_timers() -> None:
    async def main() -> list[str]:
        loop, clock = loop_and_clock()
        said: list[str] = []
        for second in (1, 2, 3):
            clock.call_at(START + second * SECOND, lambda second=second: said.append(f"timer {second}"))  # type: ignore[misc]
        for second in (0, 2, 2, 3, 4):
            await loop.reach(START + second * SECOND)
            said.append(f"reached {(clock.now() - START) // SECOND}")
        return said

    assert run_virtual(main(), start=START) == [
        "reached 0", "timer 1", "reached 2", "reached 2", "timer 2", "reached 3", "timer 3", "reached 4",
    ]  # fmt: skip


def test_tasks_that_timers_wake_are_done_before() -> None:
    async def main() -> list[tuple[str, int]]:
        loop, clock = loop_and_clock()
        said: list[tuple[str, int]] = []

        async def work(name: str, pause: int) -> None:
            for _ in range(3):
                await clock.sleep_until(clock.now() + pause * SECOND)
                said.append((name, (clock.now() - START) // SECOND))

        tasks = [asyncio.create_task(work("a", 2)), asyncio.create_task(work("b", 3))]
        await loop.reach(START + 7 * SECOND)
        said.append(("here", (clock.now() - START) // SECOND))
        await asyncio.gather(*tasks)
        return said

    assert run_virtual(main(), start=START) == [
        ("a", 2), ("b", 3), ("a", 4), ("b", 6), ("a", 6), ("here", 7), ("b", 9),
    ]  # fmt: skip


def test_threads_are_waited_for() -> None:
    async def main() -> int:
        loop, _ = loop_and_clock()
        answer = asyncio.ensure_future(asyncio.to_thread(lambda: 42))
        await asyncio.sleep(0)  # it has begun
        await loop.reach(START + SECOND)
        return answer.result()

    assert run_virtual(main(), start=START) == 42


def test_one_at_a_time() -> None:
    async def main() -> None:
        loop, clock = loop_and_clock()
        waiting = asyncio.ensure_future(clock.sleep_until(START + SECOND))
        first = asyncio.ensure_future(loop.reach(START + 5 * SECOND))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one at a time"):
            await loop.reach(START + 2 * SECOND)
        await asyncio.gather(first, waiting)
        assert loop.now == START + 5 * SECOND

    run_virtual(main(), start=START)


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    async def main() -> int:
        loop, clock = loop_and_clock()
        hold = asyncio.ensure_future(clock.sleep_until(START + 2 * SECOND))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.ensure_future(loop.reach(START + 100 * SECOND))
        await loop.reach(START + 3 * SECOND)
        await hold
        return (loop.now - START) // SECOND

    assert run_virtual(main(), start=START) == 3


# ---- timers that are put off ------------------------------------------------------------------------------------


def test_a_timer_that_is_put_off_rings_once_and_then() -> None:
    async def main() -> list[int]:
        loop, clock = loop_and_clock()
        rung: list[int] = []
        timer = clock.call_at(START + 90 * SECOND, lambda: rung.append((clock.now() - START) // SECOND))
        for minute in range(1, 5):
            await loop.reach(START + 60 * minute * SECOND)
            assert timer.postpone(clock.now() + 90 * SECOND)
        await loop.reach(START + 1000 * SECOND)
        assert not timer.postpone(START + 2000 * SECOND)
        return rung

    assert run_virtual(main(), start=START) == [240 + 90]


def test_a_timer_whose_time_has_come_cannot_be_put_off() -> None:
    """Two ring at one instant, and the first would put the second off: it is too late for that."""

    async def main() -> tuple[bool, list[str]]:
        _, clock = loop_and_clock()
        rung: list[str] = []
        put_off: list[bool] = []
        at = START + SECOND
        clock.call_at(at, lambda: put_off.append(second.postpone(at + SECOND)))
        second = clock.call_at(at, lambda: rung.append("second"))
        await clock.sleep_until(at + 5 * SECOND)
        return put_off[0], rung

    assert run_virtual(main(), start=START) == (False, ["second"])


@pytest.mark.anyio
async def test_live_timers_are_put_off_too() -> None:
    clock: Clock = LiveClock()
    rung = asyncio.get_running_loop().create_future()
    begun = clock.now()
    timer = clock.call_at(begun + SECOND // 50, lambda: rung.set_result(clock.now() - begun))
    assert timer.postpone(begun + SECOND // 10)
    assert await asyncio.wait_for(rung, 5) >= SECOND // 10


class Entry:
    """Of a queue."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.postponed: tuple[int, int] | None = None
        self.waits = False
        self.gone = False

    def cancelled(self) -> bool:
        return self.gone


@given(st.lists(st.tuples(st.sampled_from(["push", "later", "cancel", "take"]), st.integers(0, 9), st.integers(0, 30))))
def test_a_queue_with_postponed_entries_is_a_queue_where_they_were_set_anew(does: list[tuple[str, int, int]]) -> None:
    """Against a list that is sorted by instant and by the order of the last word about each entry."""
    queue: TimerQueue[Entry] = TimerQueue()
    entries: dict[int, Entry] = {}
    model: dict[int, tuple[int, int]] = {}
    now = 0
    for word, (what, name, number) in enumerate(does):
        entry = entries.get(name)
        if what == "push" and name not in model:
            entries[name] = entry = Entry(name)
            queue.push(now + number, entry)
            model[name] = (now + number, word)
        elif what == "later" and entry is not None and not entry.gone:
            later = max(model[name][0], now) + number if name in model else now + number
            assert queue.postpone(entry, later) == (name in model)
            if name in model:
                model[name] = (later, word)
        elif what == "cancel" and entry is not None and name in model:
            entry.gone = True
            queue.entry_cancelled()
            del model[name]
        elif what == "take":
            now += number
            due = sorted((place, one) for one, place in model.items() if place[0] <= now)
            assert [one.name for one in queue.take_due(now)] == [one for _, one in due]
            for _, one in due:
                del model[one]
        assert queue.first() == min((place[0] for place in model.values()), default=None)
    assert [one.name for one in queue.take_all()] == sorted(model, key=lambda one: model[one])
