"""Awaiting a coroutine by hand, to know when it suspends and when it goes on."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def drive(work: Coroutine[Any, Any, Any], on_suspend: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await ``work``, and call ``on_suspend`` once if it does not finish at once (PEP 380 by hand)."""
    try:
        waiting_for = work.send(None)
    except StopIteration as stop:
        return stop.value
    on_suspend()
    while True:
        try:
            sent = yield waiting_for
        except BaseException as error:
            try:
                waiting_for = work.throw(error)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                waiting_for = work.send(sent)
            except StopIteration as stop:
                return stop.value


@types.coroutine
def stretches(
    work: Coroutine[Any, Any, None], begins: Callable[[], None], ends: Callable[[], None]
) -> Generator[Any, Any, None]:
    """Await ``work``, and call ``begins`` before and ``ends`` behind each stretch in which it runs without a pause."""
    step: Callable[[Any], Any] = work.send
    given: Any = None
    while True:
        begins()
        try:
            waiting_for = step(given)
        except StopIteration:
            return
        finally:
            ends()
        try:
            given = yield waiting_for
            step = work.send
        except BaseException as error:  # for the work to handle, cancellation as well
            step, given = work.throw, error
