"""Waiting until something is so: the one place of the suite that looks again and again, with a deadline.

Whoever can be told waits to be told: an event, a line of a program's log, a socket that closes, the end of a process.
The rest is here. Of another process there is only what it leaves behind: a file, an answer over HTTP. Of an engine in
the test's own loop it is what several of its parts make together (journal, counters, exchange), and none of them knows
when all of it is so. tests/test_time_seam.py keeps sleeps out of everything else.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 15.0
TURNS = 20
"""Looks at the first turns of the loop: what needs no more than others having their turn is seen at once."""
IN_THE_LOOP_S = 0.005
ELSEWHERE_S = 0.02
"""Between two looks; at another process they cost it, and us, more."""


async def until(
    condition: Callable[[], Awaitable[object] | object],
    what: Callable[[], object] | str,
    within_s: float = PATIENCE_S,
    *,
    every_s: float = IN_THE_LOOP_S,
) -> None:
    """Return as soon as ``condition()``, or what it awaits, is true; ``what`` says what was missed."""
    loop, looks = asyncio.get_running_loop(), 0
    deadline = loop.time() + within_s
    while True:
        found = condition()
        if await found if inspect.isawaitable(found) else found:
            return
        looks += 1
        assert loop.time() < deadline, _missed(what, within_s)
        await asyncio.sleep(0 if looks < TURNS else every_s)


def until_elsewhere(
    condition: Callable[[], object], what: Callable[[], object] | str, within_s: float = PATIENCE_S
) -> None:
    """The same for what another process does, where nothing runs in ours."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, _missed(what, within_s)
        time.sleep(ELSEWHERE_S)


def _missed(what: Callable[[], object] | str, within_s: float) -> str:
    return f"not within {within_s:g} s: {what() if callable(what) else what}"
