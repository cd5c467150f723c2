"""A node's inbox: bounded, with the four policies of a full queue. It outlives the node that reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from flowrunner.message import Message
from flowrunner.node import Queue


class Token(Protocol):
    """Rides with an entry from a source that acknowledges; told once when the entry is done with."""

    def done(self) -> None: ...


Entry = tuple[str, Message, Token | None]
"""(the wire's name as the reader knows it, message, token)"""

Taken = Callable[[], None]
"""Told to a writer in the line, once, when its entry has found its place."""


class Inbox:
    """Entries that wait, in order; and, where a full inbox blocks, a line of writers at the door.

    Somebody is in line only while the inbox is full: whoever takes an entry lets the first in line in, so nobody
    overtakes. Nothing here waits, and nothing that was handed over can be lost by a cancelled task. ``dropped``
    counts every loss by its reason.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.dropped: dict[str, int] = {}
        self._entries: deque[Entry] = deque()
        self._newest: dict[tuple[str, str], Entry] = {}  # only for `latest`: by wire and key, in order of arrival
        self._line: deque[tuple[Entry, Taken]] = deque()
        self._latest = queue.when_full == "latest"

    def __len__(self) -> int:
        return len(self._newest) if self._latest else len(self._entries)

    @property
    def full(self) -> bool:
        """Whether a writer would have to wait. Inboxes that drop never make anybody wait."""
        return self.queue.when_full == "block" and len(self._entries) >= self.queue.size

    @property
    def in_line(self) -> int:
        """Entries of writers that wait for room."""
        return len(self._line)

    def offer(self, entry: Entry) -> bool:
        """Take ``entry`` now, or say that there is no room (only where the policy is to block)."""
        if self._latest:
            self._keep_newest(entry)
            return True
        if len(self._entries) >= self.queue.size:
            if self.queue.when_full == "block":
                return False
            if self.queue.when_full == "drop_newest":
                self._drop(entry)
                return True
            self._drop(self._entries.popleft())
        self._entries.append(entry)
        return True

    def line_up(self, entry: Entry, taken: Taken) -> None:
        """For an entry that ``offer`` refused: it comes in, in its turn, as soon as there is room."""
        self._line.append((entry, taken))

    def take(self) -> Entry | None:
        """The oldest entry, or None."""
        if self._latest:
            if not self._newest:
                return None
            return self._newest.pop(next(iter(self._newest)))
        if not self._entries:
            return None
        entry = self._entries.popleft()
        if self._line:
            self._let_in()
        return entry

    def put_back(self, entry: Entry) -> None:
        """Return an entry that was taken and not processed to the front. It may exceed the size for a moment."""
        if self._latest:
            rest = [*self._newest.values()]
            self._newest.clear()
            self._newest[(entry[0], entry[1].key)] = entry
            for one in rest:  # a newer entry of the same wire and key has overtaken it
                self._keep_newest(one)
            return
        self._entries.appendleft(entry)

    def requeue(self, queue: Queue) -> None:
        """Another policy for what waits (a reload changed ``queue``). A smaller size that blocks loses nothing."""
        waiting = [*self._newest.values(), *self._entries]
        self.queue = queue
        self._latest = queue.when_full == "latest"
        self._newest.clear()
        self._entries.clear()
        for entry in waiting:
            if not self.offer(entry):
                self._entries.append(entry)
        self._let_in()

    def _let_in(self) -> None:
        while self._line and self.offer(self._line[0][0]):
            _, taken = self._line.popleft()
            taken()

    def _keep_newest(self, entry: Entry) -> None:
        slot = (entry[0], entry[1].key)
        old = self._newest.pop(slot, None)
        if old is not None:
            self._drop(old)
        elif len(self._newest) >= self.queue.size:
            self._drop(self._newest.pop(next(iter(self._newest))))
        self._newest[slot] = entry

    def _drop(self, entry: Entry) -> None:
        reason = self.queue.when_full
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        if entry[2] is not None:
            entry[2].done()
