"""Awaiting a coroutine by hand, to know when it suspends."""

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
