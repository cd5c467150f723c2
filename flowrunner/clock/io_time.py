"""I/O time, where the runtime itself needs it: a breath, a pause, a call some seconds later, a stopwatch.

It is the running loop's own time: real in a live run, virtual in the virtual loop. What happens in a flow never hangs
on it; flow time (``Clock``) is for that. Bounds on the work of others are plain ``asyncio.timeout``: the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter as stopwatch
from typing import Any, TypeVarTuple, Unpack

__all__ = ["breathe", "later", "loop_seconds", "pause", "stopwatch"]

Ts = TypeVarTuple("Ts")

# ``stopwatch()``: seconds since some moment, really gone by in any loop. For counters of work done, and for slices,
# which virtual runs do not have. Asked with every batch: it is the bare function of the standard library.


def breathe() -> Coroutine[Any, Any, None]:
    """``await breathe()``: one turn of the loop for everybody else; no time passes by it."""
    return asyncio.sleep(0)


def pause(seconds: float) -> Coroutine[Any, Any, None]:
    """``await pause(seconds)``: before something that failed is tried again."""
    return asyncio.sleep(seconds)


def later(seconds: float, call: Callable[[Unpack[Ts]], object], *args: *Ts) -> asyncio.TimerHandle:
    """Call ``call(*args)`` in the running loop after ``seconds``, unless the handle is cancelled."""
    return asyncio.get_running_loop().call_later(seconds, call, *args)


def loop_seconds() -> Callable[[], float]:
    """The running loop's own count of seconds, to be asked at any time."""
    return asyncio.get_running_loop().time
