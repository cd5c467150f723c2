"""Group commit: what nodes and durable inboxes keep goes to the store together, and who waits for it hears."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowrunner.clock.io_time import later, pause
from flowrunner.runtime.durable import DiskQueue
from flowrunner.runtime.state import NodeState
from flowrunner.store import Place, Store, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

STATE_DELAY_S = 0.5
"""State that changed is handed to the store after this many seconds; it commits within a second in all."""
PROMPT_S = 0.002
"""The same where somebody waits for it, or a durable inbox took something: company for one transaction."""
AGAIN_S = 1.0
"""While the store cannot be written, those who wait are looked at again after this time."""
log = logging.getLogger("flowrunner.runtime")


class Commits:
    """``volatile``: nothing outlives the run; state is not committed, and nobody waits for the disk."""

    def __init__(self, store: Store) -> None:
        self.volatile = False
        self._store = store
        self._states: dict[NodeState, None] = {}
        self._queues: dict[DiskQueue, None] = {}
        self._moves: list[tuple[Place, Place]] = []
        self._fresh: list[Callable[[], None]] = []
        """Who waits for what is not handed over yet."""
        self._waiting: list[Callable[[], None]] = []
        """Who waits for what the store has, and the disk maybe not."""
        self._timer: asyncio.TimerHandle | None = None
        self._prompt = False
        self._refused = False  # the store took no more at the last commit
        self._flushing: asyncio.Task[None] | None = None
        self._begun_anew = store.begun_anew
        self.on_begun_anew: Callable[[], None] | None = None
        """The store had to begin a new file: it has nothing of what was kept before, and all of it is wanted again."""

    def state_changed(self, state: NodeState) -> None:
        """The first change of any node starts the clock."""
        if not self.volatile:
            self._states[state] = None
            self._soon(STATE_DELAY_S)

    def queue_changed(self, queue: DiskQueue) -> None:
        self._queues[queue] = None
        self._soon(PROMPT_S)

    def queue_moved(self, old: Place, new: Place) -> None:
        self._moves.append((old, new))
        self._soon(PROMPT_S)

    def when_kept(self, done: Callable[[], None]) -> None:
        if self.volatile:
            done()
            return
        self._fresh.append(done)
        self._soon(PROMPT_S)

    async def kept(self) -> None:
        """Return when everything that was kept so far is on the disk."""
        kept = asyncio.Event()
        self.when_kept(kept.set)
        await kept.wait()

    def _soon(self, seconds: float) -> None:
        prompt = seconds < STATE_DELAY_S
        if self._timer is not None:
            if self._prompt or not prompt:
                return
            self._timer.cancel()
        self._prompt = prompt
        self._timer = later(seconds, self.commit)

    def cancel(self) -> None:
        """At the end of a run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is not None:
            self._flushing.cancel()

    def commit(self) -> None:
        """Hand everything to the store now, as one. What it does not take is offered again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._store.begun_anew != self._begun_anew:
            self._begun_anew = self._store.begun_anew
            if self.on_begun_anew is not None:
                self.on_begun_anew()
        states, queues = self._states, self._queues
        prompt = bool(queues or self._moves or self._fresh)
        try:
            self._store.keep([one.changes() for one in states], [one.changes() for one in queues], self._moves)
        except StoreFailed as error:
            if not self._refused:
                log.error("state is not kept at present: %s", error)
            self._refused = True
            self._soon(STATE_DELAY_S)
            return
        self._refused = False
        self._states, self._queues, self._moves = {}, {}, []
        _all_committed(states)
        _all_committed(queues)
        if prompt:
            self._store.hurry()
        if self._fresh:
            self._waiting += self._fresh
            self._fresh = []
            if self._flushing is None or self._flushing.done():
                self._flushing = asyncio.get_running_loop().create_task(self._tell(), name="commits")

    async def _tell(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                await self._store.flush()
            except StoreFailed:  # the store says it loudly, and tries again by itself
                self._waiting = waiting + self._waiting
                await pause(AGAIN_S)
                continue
            except BaseException:
                self._waiting = waiting + self._waiting
                raise
            for done in waiting:
                try:
                    done()
                except Exception:  # of a source's own code: the others are told all the same
                    log.exception("a source failed when it was told that its message is safe")

    async def settle(self) -> None:
        """Commit, and return when it is on the disk and all who waited have heard. StoreFailed when it cannot be."""
        self.commit()
        await self._store.flush()
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])


def _all_committed(kept: Iterable[NodeState | DiskQueue]) -> None:
    for one in kept:
        one.committed()
