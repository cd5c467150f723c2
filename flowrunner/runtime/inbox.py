"""A node's inbox: bounded, with the four policies of a full queue. It outlives the node that reads it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from flowrunner.message import Message
from flowrunner.node import Queue
from flowrunner.runtime.receipt import Receipt

Entry = tuple[str, Message, Receipt | None]
"""(the wire's name as the reader knows it, message, the part of the source's message that ends with this entry)"""

NONE_YET: Any = ()
"""Stands for a queue that nothing was put into yet. An empty deque takes 0.7 kB, and most nodes of a large flow work on
what comes where it comes."""
Taken = Callable[[], None]
"""Told to a writer in the line, once, when its entry has found its place."""


class Disk(Protocol):
    """The durable side of an inbox."""

    def keep(self, entry: Entry) -> Entry:
        """The same entry, kept: what it carries now lets it go from the disk when it is done with."""

    def too_old(self, entry: Entry) -> bool:
        """Whether it has waited for longer than the queue allows."""


class Inbox:
    """Entries that wait, in order; and, where a full inbox blocks, a line of writers at the door.

    Somebody is in line only while the inbox is full: whoever takes an entry lets the first in line in, so nobody
    overtakes. Nothing here waits, and nothing that was handed over can be lost by a cancelled task. ``dropped``
    counts every loss by its reason.
    """

    def __init__(self, queue: Queue, disk: Disk | None = None) -> None:
        """``disk``: where a durable queue keeps what it takes."""
        self.queue = queue
        self.disk = disk
        self.dropped: dict[str, int] = {}
        self._entries: deque[Entry] = NONE_YET
        self._newest: dict[tuple[str, str], Entry] = {}  # only for `latest`: by wire and key, in order of arrival
        self._line: deque[tuple[Entry, Taken]] = NONE_YET
        self._latest = queue.when_full == "latest"
        self._durable = disk if queue.durable else None

    def __len__(self) -> int:
        return len(self._newest) if self._latest else len(self._entries)

    @property
    def full(self) -> bool:
        """Whether a writer would have to wait. Inboxes that drop never make anybody wait."""
        return self.queue.when_full == "block" and len(self._entries) >= self.queue.size

    @property
    def room(self) -> int:
        """Entries that it takes at once without making anybody wait."""
        return max(0, self.queue.size - len(self._entries)) if self.queue.when_full == "block" else sys.maxsize

    @property
    def idle(self) -> bool:
        """Whether what comes now may go straight to the reader: nothing waits, and nothing is kept on disk."""
        return not (self._entries or self._newest or self._line) and self._durable is None

    @property
    def in_line(self) -> int:
        """Entries of writers that wait for room."""
        return len(self._line)

    @property
    def durable(self) -> bool:
        """Whether what it takes is kept on the disk."""
        return self._durable is not None

    def offer(self, entry: Entry) -> bool:
        """Take ``entry`` now, or say that there is no room (only where the policy is to block)."""
        if self._latest:
            self._keep_newest(entry if self._durable is None else self._durable.keep(entry))
            return True
        if len(self._entries) >= self.queue.size:
            if self.queue.when_full == "block":
                return False
            if self.queue.when_full == "drop_newest":
                self._drop(entry)
                return True
            self._drop(self._entries.popleft())
        self._append(entry)
        return True

    def restore(self, entries: Iterable[Entry]) -> None:
        """What waited when the last run ended: first in line, and all of it, whatever the size."""
        waiting = [*entries, *self.empty()]
        if self._latest:
            for entry in waiting:
                self._keep_newest(entry)
        else:
            self._entries = deque(waiting)

    def empty(self) -> list[Entry]:
        """Take everything that waits, in order; who is in line stays there."""
        waiting = [*self._newest.values(), *self._entries]
        self._newest.clear()
        self._entries = NONE_YET
        return waiting

    def empty_line(self) -> list[Entry]:
        """Take the entries of all who wait at the door; their writers go on."""
        line, self._line = self._line, NONE_YET
        for _, taken in line:
            taken()
        return [entry for entry, _ in line]

    def let_all_in(self) -> None:
        """Who is in line comes in, however full it is: ways have changed, and two who wait for each other's room would
        wait for ever."""
        for entry in self.empty_line():
            self._append(entry)

    def line_up(self, entry: Entry, taken: Taken) -> None:
        """For an entry that ``offer`` refused: it comes in, in its turn, as soon as there is room."""
        if self._line is NONE_YET:
            self._line = deque()
        self._line.append((entry, taken))

    def take(self) -> Entry | None:
        """The oldest entry, or None. What has waited for too long is dropped on the way."""
        while True:
            if self._latest:
                if not self._newest:
                    return None
                entry = self._newest.pop(next(iter(self._newest)))
            elif self._entries:
                entry = self._entries.popleft()
                if self._line:
                    self._let_in()
            else:
                return None
            if self._durable is None or not self._durable.too_old(entry):
                return entry
            self._drop(entry, "max_age")

    def put_back(self, entry: Entry) -> None:
        """Return an entry that was taken and not processed to the front. It may exceed the size for a moment."""
        if self._latest:
            rest = [*self._newest.values()]
            self._newest.clear()
            self._newest[(entry[0], entry[1].key)] = entry
            for one in rest:  # a newer entry of the same wire and key has overtaken it
                self._keep_newest(one)
            return
        if self._entries is NONE_YET:  # it was worked on where it came
            self._entries = deque()
        self._entries.appendleft(entry)

    def requeue(self, queue: Queue) -> None:
        """Another policy for what waits (a reload changed ``queue``). A smaller size that blocks loses nothing."""
        waiting = self.empty()
        self.queue = queue
        self._latest = queue.when_full == "latest"
        self._durable = self.disk if queue.durable else None
        for entry in waiting:
            if not self.offer(entry):
                self._append(entry)
        self._let_in()

    def _append(self, entry: Entry) -> None:
        """Behind all others, whatever the size."""
        if self._entries is NONE_YET:
            self._entries = deque()
        self._entries.append(entry if self._durable is None else self._durable.keep(entry))

    def _let_in(self) -> None:
        while self._line and self.offer(self._line[0][0]):
            _, taken = self._line.popleft()
            taken()

    def _keep_newest(self, entry: Entry) -> None:
        slot = (entry[0], entry[1].key)
        old = self._newest.get(slot)
        if old is not None:
            self._drop(old)
        elif len(self._newest) >= self.queue.size:
            self._drop(self._newest.pop(next(iter(self._newest))))
        self._newest[slot] = entry  # in the place of the older one: news must not put a key back behind the others

    def _drop(self, entry: Entry, reason: str = "") -> None:
        reason = reason or self.queue.when_full
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        if entry[2] is not None:
            entry[2].done()
