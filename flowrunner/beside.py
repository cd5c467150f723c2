"""Work in a thread beside the running flows, which notice little of it, and which no end waits for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

SWITCH_S = 0.0005
"""So long the check keeps the processor before the running flows have their turn; usually it is ten times as much."""
THREAD = "beside"
T = TypeVar("T")


def in_a_thread(read: Callable[[], T]) -> asyncio.Future[T]:
    """What ``read`` gives. The thread is one of its own that no end waits for: a node file may run for ever, a drive
    may not answer."""
    loop = asyncio.get_running_loop()
    given: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if given.done():
            return
        if error is None:
            given.set_result(cast(T, result))
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):
            given.set_exception(error)
        else:  # it would end the loop, or pass for a result
            given.set_exception(RuntimeError(f"the check ended with {error!r}"))

    def run() -> None:
        result, error = None, None
        try:
            result = read()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=THREAD, daemon=True).start()
    return given


def whereabouts() -> str:
    """`` (it is in nodes/x.py:5)``: the line where the newest of them is."""
    idents = [one.ident for one in threading.enumerate() if one.name == THREAD]
    frame = sys._current_frames().get(idents[-1] or 0) if idents else None
    return f" (it is in {frame.f_code.co_filename}:{frame.f_lineno})" if frame is not None else ""


@contextlib.contextmanager
def beside_others() -> Iterator[None]:
    """While a thread checks, the loop has its turn sooner than usual, and nobody searches the memory for garbage: a
    check leaves none (all of it goes when it is let go of), and each search among its objects would stop everything."""
    usual, searched = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(min(usual, SWITCH_S))
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
        if searched:
            gc.enable()
