"""A node's inbox: bounded, with the four policies of a full queue. It outlives the node that reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from flowrunner.message import Message
from flowrunner.node import Queue


class Token(Protocol):
    """Rides with an entry from a source that acknowledges; told once when the entry is done with."""

    def done(self) -> None: ...


Entry = tuple[str, Message, Token | None]
"""(the wire's name as the reader knows it, message, token)"""


class Inbox:
    """Entries that wait, in order. ``dropped`` counts every loss by its reason."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.dropped: dict[str, int] = {}
        self._entries: deque[Entry] = deque()
        self._newest: dict[tuple[str, str], Entry] = {}  # only for `latest`: by wire and key, in order of arrival
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._latest = queue.when_full == "latest"

    def __len__(self) -> int:
        return len(self._newest) if self._latest else len(self._entries)

    @property
    def full(self) -> bool:
        """Whether a writer would have to wait. Inboxes that drop never make anybody wait."""
        return self.queue.when_full == "block" and len(self._entries) >= self.queue.size

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

    async def put(self, entry: Entry) -> None:
        """Take ``entry``, waiting for room; writers are served in the order in which they came."""
        while not self.offer(entry):
            await self.room()

    async def room(self) -> None:
        """Wait until an entry may fit."""
        if not self.full:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # the room that this writer was given goes to the next
            raise

    def take(self) -> Entry | None:
        """The oldest entry, or None."""
        if self._latest:
            if not self._newest:
                return None
            return self._newest.pop(next(iter(self._newest)))
        if not self._entries:
            return None
        entry = self._entries.popleft()
        if self._waiting:
            self._wake()
        return entry

    def put_back(self, entry: Entry) -> None:
        """Return an entry that was taken and not processed to the front. It may exceed the size for a moment."""
        if self._latest:
            rest = {**self._newest}
            self._newest.clear()
            self._newest[(entry[0], entry[1].key)] = entry
            for one in rest.values():  # a newer entry of the same wire and key has overtaken it
                self._keep_newest(one)
            return
        self._entries.appendleft(entry)

    def requeue(self, queue: Queue, entries: Iterable[Entry] = ()) -> None:
        """Another policy for what waits (a reload changed ``queue``)."""
        waiting = [*self._newest.values(), *self._entries, *entries]
        self.queue = queue
        self._latest = queue.when_full == "latest"
        self._newest.clear()
        self._entries.clear()
        for entry in waiting:
            if not self.offer(entry):
                self._entries.append(entry)  # nothing is lost by a smaller size
        self._wake()

    def _keep_newest(self, entry: Entry) -> None:
        slot = (entry[0], entry[1].key)
        old = self._newest.pop(slot, None)
        if old is not None:
            self._drop(old, "latest")
        elif len(self._newest) >= self.queue.size:
            self._drop(self._newest.pop(next(iter(self._newest))), "latest")
        self._newest[slot] = entry

    def _drop(self, entry: Entry, reason: str = "") -> None:
        reason = reason or self.queue.when_full
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        if entry[2] is not None:
            entry[2].done()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
