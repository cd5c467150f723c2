"""The queue of timers that both kinds of clock use: by instant, ties by the order of entry."""

from __future__ import annotations

import heapq
from typing import Generic, Protocol, TypeVar

_PURGE_FROM = 64
"""Fewer cancelled entries than this are not worth a pass."""


class _Cancellable(Protocol):
    postponed: tuple[int, int] | None
    """Its new place in the queue; None unless somebody has postponed it."""
    waits: bool
    """Whether it is in the queue."""

    def cancelled(self) -> bool: ...


T = TypeVar("T", bound=_Cancellable)


class TimerQueue(Generic[T]):
    """Entries with an integer instant. Cancelled ones are skipped, and swept out when they are the majority:
    a timer of 90 days that is set anew with every message must not fill the memory.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._entered = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, instant: int, entry: T) -> None:
        self._entered += 1
        entry.waits = True
        heapq.heappush(self._heap, (instant, self._entered, entry))

    def postpone(self, entry: T, instant: int) -> bool:
        """Move an entry to a later instant, behind all that are there by then. Costs nothing until its old one is
        reached: what is put off with every message does not fill the queue. False where it was taken already."""
        if not entry.waits:
            return False
        self._entered += 1
        entry.postponed = (instant, self._entered)
        return True

    def first(self) -> int | None:
        """The instant of the next live entry; None when nothing waits."""
        heap = self._heap
        while heap:
            entry = heap[0][2]
            if entry.cancelled():
                heapq.heappop(heap)
            elif entry.postponed is not None:
                place, entry.postponed = entry.postponed, None
                heapq.heapreplace(heap, (*place, entry))
            else:
                return heap[0][0]
        return None

    def take_due(self, now: int) -> list[T]:
        """Remove and return all live entries with an instant up to ``now``, in order."""
        due: list[T] = []
        while self._heap and self._heap[0][0] <= now and (first := self.first()) is not None and first <= now:
            entry = heapq.heappop(self._heap)[2]
            entry.waits = False
            due.append(entry)
        return due

    def take_all(self) -> list[T]:
        """Remove and return all live entries, in order."""
        live = sorted(
            ((item[2].postponed or item[:2], item[2]) for item in self._heap if not item[2].cancelled()),
            key=lambda item: item[0],
        )
        self.clear()
        for _, entry in live:
            entry.postponed, entry.waits = None, False
        return [entry for _, entry in live]

    def entry_cancelled(self) -> None:
        """To be told of every cancel, so that the queue stays small; the entry says itself that it is cancelled."""
        self._cancelled += 1
        if self._cancelled >= _PURGE_FROM and self._cancelled * 2 > len(self._heap):
            self._heap = [item for item in self._heap if not item[2].cancelled()]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def clear(self) -> None:
        self._heap.clear()
        self._cancelled = 0
