"""The store: what an engine keeps on disk, and when it may be relied on."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from flowrunner.errors import UsageError
from flowrunner.store.damaged import connect_sound, replaced
from flowrunner.store.letters import LETTERS_DROPPED, DeadLetter, Wanted, last_letter
from flowrunner.store.lock import FolderLock
from flowrunner.store.queues import Place, QueueChanges, Waiting, count_waiting, read_waiting
from flowrunner.store.tables import (
    NodeState,
    StateChanges,
    connect,
    read_counter,
    read_state,
)
from flowrunner.store.writer import Job, StoreFailed, Writer

T = TypeVar("T")
FILE_NAME = "flowrunner.db"
DATA_FOLDER = ".flowrunner"
"""Of an engine that was told no other: beside its flow."""
_LAST_INSTANT = 2**63 - 1


class Store:
    """One SQLite file in a data folder that this process alone works on.

    Two promises. :meth:`submit` and :meth:`flush` return when their transaction is on the disk. ``save_state``,
    ``drop_state`` and ``add_dead_letter`` return at once and are committed together within a second; a crash may take
    back what was not committed yet, never a part of one commit. Reads see all that was queued, committed or not.

    While the file cannot be written, :attr:`failed` says why, changes are kept in memory and tried again, and
    ``submit`` raises StoreFailed. All methods but ``submit``, ``flush`` and ``close`` work without an event loop.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: FolderLock | None,
        folder: Path | None,
        *,
        inline: bool,
        may_start_fresh: bool = False,
    ) -> None:
        self.folder = folder
        """None: in memory."""
        self.begun_anew = ""
        """Why the file is a new one and where the damaged one is kept, or ""."""
        self._lock = lock
        place = "the store in memory" if folder is None else str(folder / FILE_NAME)
        self._place = place
        self._letter_ids = itertools.count(last_letter(connection) + 1)
        self.may_start_fresh = may_start_fresh
        self._writer = Writer(connection, place, inline=inline, replace=None if folder is None else self._replace)

    @classmethod
    def open(cls, folder: Path | None, *, inline: bool = False, may_start_fresh: bool = False) -> Store:
        """Open or make the store in ``folder``; ``None`` keeps it in memory (tests, dry runs).

        ``inline`` runs every statement in the caller, with no thread: for the virtual loop. ``may_start_fresh``: no
        order hangs on it, so that a damaged file that holds none may be kept aside and a new one begun (``begun_anew``
        says it then). StoreLocked when another engine has the folder, UsageError when folder or file cannot be used, is
        damaged, or of a newer version.
        """
        if folder is None:
            return cls(connect(None), None, None, inline=inline)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FolderLock.acquire(folder)
        except OSError as error:
            raise UsageError(
                f"cannot use the data folder {folder}: {error.strerror}; make it writable for this user, "
                "or give another one with --data DIR"
            ) from error
        try:
            connection, begun_anew = connect_sound(folder / FILE_NAME, may_start_fresh=may_start_fresh)
            store = cls(connection, lock, folder, inline=inline, may_start_fresh=may_start_fresh)
            store.begun_anew = begun_anew
            return store
        except BaseException:
            lock.release()
            raise

    def _replace(self, what: str) -> sqlite3.Connection:
        """The file turned out to be damaged: a new one. UsageError where that must not be."""
        assert self.folder is not None  # noqa: S101  (said to the writer)
        file = self.folder / FILE_NAME
        connection, self.begun_anew = replaced(file, what, may_start_fresh=self.may_start_fresh)
        return connection

    @property
    def failed(self) -> str | None:
        """Why the file cannot be written at present, with the next step; None while all is well."""
        return self._writer.failed

    # ---- node state -------------------------------------------------------------------------------------

    def load_state(self, flow: str, node: str) -> NodeState:
        """All that a node kept; version 0 and no entries when it never kept anything."""
        with self._writer.reading() as (connection, unsaved):
            return unsaved.over(flow, node, read_state(connection, flow, node))

    def save_state(self, flow: str, node: str, version: int, changes: Mapping[str, bytes | None]) -> None:
        """Queue changes (None deletes a key) and the state version that goes with them.

        UnicodeEncodeError for a key that is not text. For a node whose state belongs to a durable step use
        ``write_state`` within :meth:`submit` instead, never both for one node.
        """
        for key in changes:
            key.encode()  # here, where it hits the one who made it; in the queue it would block everybody's
        with self._writer.changing() as unsaved:
            unsaved.put(flow, node, version, changes)

    def keep(
        self, states: Iterable[StateChanges], queues: Iterable[QueueChanges], moves: Iterable[tuple[Place, Place]] = ()
    ) -> None:
        """Queue changes of many nodes and durable inboxes as one: all of it is on the disk, or nothing. ``moves`` come
        first: what waits for one node waits for another, which has nothing of its own."""
        states, queues, moves = list(states), list(queues), list(moves)
        if not any(one.entries for one in states) and not queues and not moves:
            return
        for state in states:
            for key in state.entries:
                key.encode()
        with self._writer.changing() as unsaved:
            for state in states:
                if state.entries:
                    unsaved.put(state.flow, state.node, state.version, state.entries)
            for old, new in moves:
                unsaved.move_queue(old, new)
            for queue in queues:
                unsaved.put_queue(queue)

    def waiting(self, flow: str, node: str) -> list[Waiting]:
        """What waits in a node's durable inbox, in order."""
        with self._writer.reading() as (connection, unsaved):
            place = unsaved.place_on_disk(flow, node)
            return unsaved.waiting_over(flow, node, [] if place is None else read_waiting(connection, *place))

    def has_kept(self, flow: str, node: str) -> bool:
        """Whether anything is kept under this name: state, or messages that wait."""
        return self.load_state(flow, node).version > 0 or bool(self.waiting(flow, node))

    def inboxes(self) -> dict[str, int]:
        """``flow/node`` → how many messages are on the disk for it; of those that have any."""
        return self.read(count_waiting)

    def drop_state(self, flow: str, node: str) -> None:
        """Queue the removal of all that a node kept, its version too."""
        with self._writer.changing() as unsaved:
            unsaved.drop(flow, node)

    def hurry(self) -> None:
        """Commit what is queued now, without waiting for more."""
        self._writer.hurry()

    # ---- transactions -----------------------------------------------------------------------------------

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Run ``work(connection)`` in a transaction; awaiting gives its result once that is on the disk.

        It is queued at once and runs whether it is awaited or not, in the order of ``submit``, committed together
        with what else waits. What it raises undoes this work alone and is raised to the one who awaits; StoreFailed
        when the file cannot be written. ``work`` runs in another thread, may run twice (the first run undone), and so
        touches the connection only: no commit, no ``executescript``. It should be short; others wait for it.
        """
        job = Job(work)
        self._writer.submit(job)
        return job.future

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """``work(connection)`` in the caller, at once; it must only read. It sees what is committed, and what a
        running transaction has done so far."""
        with self._writer.reading() as (connection, _):
            return work(connection)

    async def flush(self) -> None:
        """Return when everything queued so far is on the disk; StoreFailed when that cannot be."""
        mark = self._writer.offered
        await self.submit(lambda _: None)
        if not self._writer.has_saved(mark):
            raise StoreFailed(f"{self.failed or 'a commit failed'}; the changes are kept in memory and tried again")

    # ---- dead letters -----------------------------------------------------------------------------------

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Queue a letter. The newest 10,000 are kept; ``await flush()`` before the message is acknowledged."""
        text = {name: _storable(getattr(letter, name)) for name in ("flow", "node", "code", "reason", "wire")}
        at = max(min(letter.at, _LAST_INSTANT), -_LAST_INSTANT)
        with self._writer.changing() as unsaved:
            unsaved.letters.append(msgspec.structs.replace(letter, at=at, id=next(self._letter_ids), **text))

    def remove_dead_letters(self, ids: Collection[int]) -> None:
        """Queue the removal of letters that are done with."""
        with self._writer.changing() as unsaved:
            unsaved.letters.remove(ids)

    def dead_letters(self, wanted: Wanted = Wanted(limit=100)) -> list[DeadLetter]:  # noqa: B008  (it cannot change)
        """Newest first."""
        with self._writer.reading() as (connection, unsaved):
            return unsaved.letters.over(wanted, connection)

    def dead_letters_kept(self) -> int:
        """How many letters lie there, without those that are to be put back, or were."""
        with self._writer.reading() as (connection, unsaved):
            return unsaved.letters.count_over(connection)

    def dead_letters_dropped(self) -> int:
        """How many letters had to make room for newer ones, ever."""
        with self._writer.reading() as (connection, unsaved):
            return unsaved.letters.dropped + read_counter(connection, LETTERS_DROPPED)

    # ---- the end ----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Write what waits, close the file and let go of the folder; safe to repeat.

        StoreFailed, once, when changes could not be written and are lost; all is closed then, too.
        """
        await self._writer.close()
        if self._lock is not None:
            self._lock.release()
        lost = self._writer.take_lost()
        if lost:
            raise StoreFailed(f"{self.failed}; {lost} changes since the last commit are lost")


def _storable(text: str) -> str:
    """Texts of errors may quote anything; what is no Unicode is replaced."""
    return text.encode("utf-8", "replace").decode()
