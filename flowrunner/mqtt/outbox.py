"""What we have sent and the broker has not answered: bounded, in order, and told of its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from flowrunner.errors import NotConnected

from .limits import HungUp

MAXIMUM = 100
"""How many of our messages (QoS 1 and 2) may be unacknowledged; fewer where an MQTT 5 broker says so."""

Sent = Callable[[Exception | None], None]
"""Told once of a message of ours: None: the broker has it (QoS 0: it is handed to the socket); else why it has not."""


class Outbox:
    """Of one connection. ``full`` says whether the line takes nothing more at present.

    ``singly``: messages with QoS 2 leave one by one. A broker of MQTT 3.1.1 cannot say how many it takes at once, and
    Mosquitto (2.0) loses those with QoS 2 beyond its ``max_inflight_messages``, although it acknowledges them.
    """

    def __init__(self, full: Callable[[], bool], *, singly: bool = False) -> None:
        self.free = MAXIMUM
        """How many messages of QoS 1 and 2 may still leave before one is answered."""
        self._full = full
        self._sent: dict[int, tuple[str, Sent]] = {}
        self._unsaid: list[Sent] = []  # with QoS 0, and not handed to the socket yet
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._over = ""
        self._singly = singly
        self._single = 0  # the number of the one with QoS 2 that is under way

    def __bool__(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._sent)

    def has_room(self, qos: int) -> bool:
        if self._full() or self._over:
            return False
        return qos == 0 or (self.free > 0 and not (qos == 2 and self._single))

    async def room(self, qos: int) -> None:
        """Return when there is room, in this very step; who came first goes first. NotConnected when it is over."""
        turn = bool(self._waiting)
        while not self._over and (turn or not self.has_room(qos)):
            turn = False
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                self.let_in()  # it may have been called in
                raise
        if self._over:
            raise NotConnected(self._over)

    def let_in(self) -> None:
        """Who waits looks again: as many as there is room for, and all when it is over."""
        count = len(self._waiting) if self._over else min(len(self._waiting), max(1, self.free))
        for _ in range(count):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def add(self, mid: int, qos: int, topic: str, done: Sent) -> None:
        """One has been sent; ``mid`` is 0 with QoS 0."""
        if mid:
            self.free -= 1
            self._sent[mid] = (topic, done)
            if self._singly and qos == 2:
                self._single = mid
        else:
            self._unsaid.append(done)

    def answered(self, mid: int) -> tuple[str, Sent] | None:
        """Topic of the message of that number, and who is to be told; None where nobody is."""
        sent = self._sent.pop(mid, None)
        if sent is not None:
            self.free += 1
            if mid == self._single:
                self._single = 0
            if self._waiting:
                self.let_in()
        return sent

    def flushed(self) -> None:
        """All that was written is handed to the socket."""
        unsaid, self._unsaid = self._unsaid, []
        for done in unsaid:
            done(None)
        if self._waiting and not self._full():
            self.let_in()

    def over(self, reason: str, *, hung_up: bool) -> None:
        """The connection has ended; ``hung_up``: maybe because of a message of ours."""
        self._over = reason
        sent, self._sent = [done for _, done in self._sent.values()], {}
        unsaid, self._unsaid = self._unsaid, []
        for number, done in enumerate((*sent, *unsaid)):
            # The broker works in order: if a message made it hang up, it is the oldest without an answer.
            done(HungUp(reason) if hung_up and sent and number == 0 else NotConnected(reason))
        self.let_in()
