"""The one writer: takes everything queued and commits it as one transaction, in a thread or in the caller."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from flowrunner.errors import FlowrunnerError, UsageError
from flowrunner.store.damaged import is_damage
from flowrunner.store.tables import transaction
from flowrunner.store.unsaved import Unsaved

T = TypeVar("T")
logger = logging.getLogger("flowrunner.store")

LINGER = 0.5
"""Seconds that changes of state wait for company before they are committed."""
RETRY_FIRST, RETRY_LAST = 1.0, 30.0
"""Seconds between two tries while the file cannot be written; doubled each time."""
UNSAVED_LIMIT = 100_000
"""Changes kept in memory while the file cannot be written; more are refused to the one who makes them."""

_TRY_LATER = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DISK = _TRY_LATER | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_NOMEM,
}
"""Primary result codes (sqlite.org/rescode.html) that speak of the file and not of the statement."""


class StoreFailed(FlowrunnerError):
    """The file cannot be written (disk full, I/O error). Nothing of what was asked for is on the disk."""


class Job(Generic[T]):
    """Work that somebody waits for: ``future`` is settled once its transaction is committed, or failed."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: T | None = None
        self.error: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        self.result = self.work(connection)
        self.error = None

    def settle(self) -> None:
        if self.future.done():  # the one who waited was cancelled
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # None only where T is


class Writer:
    """Lock order: ``using`` (the connection, for a whole transaction or read) before ``_wake`` (the queue)."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        place: str,
        *,
        inline: bool,
        replace: Callable[[str], sqlite3.Connection] | None = None,
    ) -> None:
        """``replace``: what is wrong with a damaged file → a connection to a new one; UsageError when that must not be.
        None: never."""
        self.connection = connection
        self._replace = replace
        self.using = threading.RLock()
        self.failed: str | None = None
        self.closed = False
        self._place = place
        self._wake = threading.Condition()
        self._unsaved = Unsaved()
        self._offered = self._saved = 0  # how often changes came; and up to which time they are all on the disk
        self._jobs: list[Job[Any]] = []
        self._commit_at = 0.0  # monotonic seconds; of meaning while something is unsaved
        self._retry = RETRY_FIRST
        self._writing = False
        self._thread = None if inline else threading.Thread(target=self._run, name="flowrunner-store", daemon=True)
        if self._thread is not None:
            self._thread.start()

    # ---- for the store ----------------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[Unsaved]:
        """The queue of changes, to add some. StoreFailed when they cannot be written and too many wait already."""
        with self._wake:
            self._refuse_closed()
            if self.failed is not None and self._unsaved.count() >= UNSAVED_LIMIT:
                raise StoreFailed(f"{self.failed}; {UNSAVED_LIMIT} changes wait already, this one is refused")
            if not self._unsaved:
                self._commit_at = time.monotonic() + LINGER
            self._offered += 1
            yield self._unsaved
            self._wake.notify()
        self._write_inline()

    def hurry(self) -> None:
        """Let nothing linger."""
        with self._wake:
            self._commit_at = 0.0
            self._wake.notify()

    def submit(self, job: Job[Any]) -> None:
        with self._wake:
            self._refuse_closed()
            self._jobs.append(job)
            self._wake.notify()
        self._write_inline()

    @contextmanager
    def reading(self) -> Iterator[tuple[sqlite3.Connection, Unsaved]]:
        """The committed and, in the same instant, what is not; nothing is in between."""
        with self.using, self._wake:
            self._refuse_closed()
            try:
                yield self.connection, self._unsaved
            except sqlite3.Error as error:
                raise StoreFailed(f"cannot read {self._place}: {error}; check the disk, or restore it") from error

    @property
    def offered(self) -> int:
        """A mark for `has_saved`: all changes that came so far."""
        with self._wake:
            return self._offered

    def has_saved(self, mark: int) -> bool:
        """Whether all changes up to ``mark`` are on the disk. That none wait means nothing: they may be on their way,
        and come back."""
        with self._wake:
            return self._saved >= mark

    async def close(self) -> None:
        """Refuse new work, write what is queued, close the connection. Safe to repeat."""
        with self._wake:
            self.closed = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        else:
            self._finish()

    def take_lost(self) -> int:
        """After ``close``: how many changes could not be written. Asked a second time, 0."""
        lost, self._unsaved = self._unsaved.count(), Unsaved()
        return lost

    # ---- the loop of the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while not self.closed:
            with self._wake:
                while (wait := self._seconds_to_wait()) is None or wait > 0:
                    self._wake.wait(wait)
            self._write()
        self._finish()

    def _seconds_to_wait(self) -> float | None:
        if self._jobs or self.closed:
            return 0
        return self._commit_at - time.monotonic() if self._unsaved else None

    def _write_inline(self) -> None:
        if self._thread is not None or self._writing:  # the latter: called from within a work, written after it
            return
        self._write()
        while self._jobs or (self._unsaved and self.failed is None):
            self._write()

    def _finish(self) -> None:
        with self.using:
            if self._jobs or self._unsaved:
                self._write()
            self.connection.close()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise RuntimeError("the store is closed")

    # ---- one transaction --------------------------------------------------------------------------------

    def _write(self) -> None:
        with self.using:
            with self._wake:
                unsaved, self._unsaved = self._unsaved, Unsaved()
                mark = self._offered
                jobs, self._jobs = self._jobs, []
            self._writing = True
            try:
                state_trouble = self._commit(unsaved, jobs)
                if self._replaced(state_trouble, jobs):
                    state_trouble = self._commit(unsaved, jobs)
            except BaseException:  # Ctrl-C, in the caller's thread
                self._put_back(unsaved)
                raise
            finally:
                self._writing = False
            if state_trouble is None:
                with self._wake:
                    self._saved = mark
            else:
                self._put_back(unsaved)
            self._note(state_trouble or next((job.error for job in jobs if _of_the_file(job.error)), None))
        for job in jobs:
            if _of_the_file(job.error):
                failure = StoreFailed(f"cannot write {self._place}: {job.error}")
                failure.__cause__ = job.error
                job.error = failure
        self._settle(jobs)

    def _put_back(self, unsaved: Unsaved) -> None:
        with self._wake:
            unsaved.add(self._unsaved)
            self._unsaved = unsaved
            self._commit_at = time.monotonic() + self._retry
            self._retry = min(self._retry * 2, RETRY_LAST)

    def _commit(self, unsaved: Unsaved, jobs: Sequence[Job[Any]]) -> Exception | None:
        """All in one transaction; where that fails, each alone, so that one does not fail another: a work that
        deletes makes room on a full disk. Errors of works are in the jobs; returns why the changes are still unsaved.
        """
        error = self._attempt(lambda: self._together(unsaved, jobs))
        if error is None:
            return None
        if _code(error) in _TRY_LATER:  # somebody holds the file: one wait is enough
            for job in jobs:
                job.error = error
            return error if unsaved else None
        state_trouble = self._attempt(lambda: unsaved.write(self.connection)) if unsaved else None
        for job in jobs:
            job.error = self._attempt(lambda job=job: job.run(self.connection))  # type: ignore[misc]
        return state_trouble

    def _replaced(self, state_trouble: Exception | None, jobs: Sequence[Job[Any]]) -> bool:
        """Whether the file turned out to be damaged, and a new one has taken its place."""
        damage = next((one for one in (state_trouble, *(job.error for job in jobs)) if is_damage(one)), None)
        if damage is None or self._replace is None:
            return False
        damaged = self.connection
        try:
            self.connection = self._replace(str(damage))
        except UsageError as error:
            logger.error("%s", error)
            self._replace = None  # it is not tried, and said, again and again
            return False
        damaged.close()
        return True

    def _attempt(self, write: Callable[[], None]) -> Exception | None:
        try:
            with transaction(self.connection):
                write()
        except Exception as error:  # whatever it is, it is told to the one who waits, or logged and tried again
            return error
        return None

    def _together(self, unsaved: Unsaved, jobs: Sequence[Job[Any]]) -> None:
        unsaved.write(self.connection)
        for job in jobs:
            self.connection.execute("SAVEPOINT work")
            try:
                job.run(self.connection)
            except Exception as error:
                # raises itself where a full disk has made SQLite undo everything: then each alone
                self.connection.execute("ROLLBACK TO work")
                job.error = error
            self.connection.execute("RELEASE work")

    def _note(self, trouble: Exception | None) -> None:
        """Remember and log a failure once, and its end."""
        if trouble is None:
            if self.failed is not None:
                logger.info("%s is written again; nothing that waited was lost", self._place)
            self.failed, self._retry = None, RETRY_FIRST
            return
        step = "start flowrunner again: it then says what can be done" if is_damage(trouble) else "free some space"
        text = f"cannot write {self._place}: {trouble}; {step}, or check the disk"
        if self.failed is None:
            known = _of_the_file(trouble)
            logger.error("%s. Changes are kept in memory and tried again", text, exc_info=None if known else trouble)
        self.failed = text

    def _settle(self, jobs: Sequence[Job[Any]]) -> None:
        if self._thread is None:
            _settle_all(jobs)
            return
        for loop in {job.loop: None for job in jobs}:
            with suppress(RuntimeError):  # that loop is closed, and all who waited with it
                loop.call_soon_threadsafe(_settle_all, [job for job in jobs if job.loop is loop])


def _settle_all(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        job.settle()


def _code(error: Exception | None) -> int | None:
    """The primary result code of an error of SQLite; None for other errors."""
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return None if code is None else code & 0xFF


def _of_the_file(error: Exception | None) -> bool:
    return _code(error) in _DISK
