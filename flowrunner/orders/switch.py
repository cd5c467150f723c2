"""The kill switch: a file in the data folder. While it is there, no order is made and none is sent.

The file is the latch itself, so it works from every side (a command, the API, ``touch``), needs no running engine, and
survives whatever becomes of one.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from flowrunner.errors import FlowrunnerError
from flowrunner.message import Instant
from flowrunner.units import iso, parse_instant

STOP_FILE = "STOP-TRADING"
"""Name of the file in the data folder."""
_READ = 4096
"""Bytes of the file that are looked at."""


class SwitchStuck(FlowrunnerError):
    """The file could not be written or removed; the text says why and what to do."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why trading is stopped. What the file does not say is empty: any file of that name stops."""

    by: str = ""
    at: str = ""
    """ISO 8601."""
    reason: str = ""

    @property
    def since(self) -> Instant | None:
        with suppress(ValueError):
            return parse_instant(self.at)
        return None

    def __str__(self) -> str:
        """``trading is stopped since 2026-01-25T02:00:00.000Z by operator: maintenance``."""
        parts = ["trading is stopped", f"since {self.at}" if self.at else "", f"by {self.by}" if self.by else ""]
        return " ".join(filter(None, parts)) + (f": {self.reason}" if self.reason else "")


class Mark(NamedTuple):
    """What the latest stop left: two that are equal mean that nobody has stopped it in between."""

    stops: int
    """Of this process."""
    file: tuple[int, ...] | None
    """Which file it is and when it was written; None: there is none."""


class Switch:
    """The switch of one data folder; ``None``: in memory, for stores that are."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / STOP_FILE
        self._latched: Stop | None = None
        """What the file should say: it could not be written, or there is none."""
        self._stops = 0

    @property
    def stopped(self) -> Stop | None:
        """Why trading is stopped, or None. What cannot be looked at counts as stopped."""
        if self._latched is not None or self._file is None:
            return self._latched
        try:
            with self._file.open("rb") as file:
                raw = file.read(_READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            return Stop(reason=f"{self._file} cannot be read: {error.strerror}")
        try:
            return msgspec.json.decode(raw, type=Stop)
        except Exception:  # any file of that name stops, also one that the decoder cannot stand
            return Stop(reason=f"there is a file {self._file}")

    def stop(self, *, by: str, reason: str, now: Instant) -> Stop:
        """Stop. A second stop leaves what the first one said, and a mark, so that no resume that is under way ends
        it. SwitchStuck when the file cannot be made: then it is stopped in this process, and only here."""
        self._stops += 1
        before = self.stopped
        if before is not None and self._latched is None and self._touched(before):
            return before
        stop = before or Stop(by=by, at=iso(now), reason=reason)
        self._latched = stop
        if self._file is None:
            return stop
        try:
            self._file.touch(mode=0o600)  # an empty one stops too, and is there where the disk has no room for more
            self._latched = None
        except OSError as error:
            raise SwitchStuck(
                f"trading is stopped in this process, but {self._file} cannot be made ({error.strerror}): after a "
                "restart it would go on; mend that, then stop again"
            ) from error
        with suppress(OSError):  # it is stopped; only why is lost
            _write(self._file, stop)
        return stop

    def _touched(self, stop: Stop) -> bool:
        """Leave a mark on the file. False when it is gone: a resume was faster, and this stop is a new one."""
        if self._file is None:
            return True
        try:
            # Told, because the clock of the kernel may not have moved on since the file was made.
            at = max(time.time_ns(), self._file.stat().st_mtime_ns + 1)
            os.utime(self._file, ns=(at, at))
            return self._file.exists()  # a resume may have taken it away in between
        except FileNotFoundError:
            return False
        except OSError:  # somebody else's file: another one that says the same
            try:
                _write(self._file, stop)
            except OSError:
                self._latched = stop  # whatever becomes of the file, here it stays stopped
            return True

    def mark(self) -> Mark:
        """To be taken before a resume is written down, and given to :meth:`resume` then."""
        if self._file is None:
            return Mark(self._stops, None)
        try:
            try:
                now = self._file.stat()
            except FileNotFoundError:
                now = self._file.lstat()  # a link to nothing
        except FileNotFoundError:
            return Mark(self._stops, None)
        except OSError:
            return Mark(self._stops, ())
        return Mark(self._stops, _identity(now))

    def resume(self, mark: Mark | None = None) -> Stop | None:
        """Let trading go on; why it was stopped, or None when it was not. SwitchStuck when the file cannot be removed,
        or somebody has stopped it since ``mark`` was taken: then it stays stopped."""
        before = self.stopped
        if mark is not None and before is not None and self.mark() != mark:
            raise _meanwhile(before)
        if self._file is not None:
            try:
                again = _remove(self._file, None if mark is None else mark.file)
            except OSError as error:
                raise SwitchStuck(
                    f"{self._file} cannot be removed ({error.strerror}): trading stays stopped; remove it by hand"
                ) from error
            if again:
                raise _meanwhile(self.stopped)
        self._latched = None
        return before


def _meanwhile(stop: Stop | None) -> SwitchStuck:
    return SwitchStuck(f"somebody stopped it meanwhile: {stop}; ask them, then resume again")


def _identity(found: os.stat_result) -> tuple[int, ...]:
    """Another one after each stop; it lasts over a new name of the file."""
    return (found.st_dev, found.st_ino, found.st_mtime_ns)


def _write(file: Path, stop: Stop) -> None:
    """All of it or nothing, and there after a power cut."""
    beside = file.with_name(f"{STOP_FILE}.{os.getpid()}")
    try:
        with beside.open("wb") as made:
            made.write(msgspec.json.encode(stop) + b"\n")
            made.flush()
            os.fsync(made.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(file.parent)


def _remove(file: Path, known: tuple[int, ...] | None) -> bool:
    """Take the file away. True when another process has marked it since it was ``known``: then it is back again.

    It is moved aside first, because between a look and an unlink there is room for a stop: one that comes before the
    move has marked the file, and one that comes after it finds none and makes its own.
    """
    aside = file.with_name(f"{STOP_FILE}.{os.getpid()}-resumed")
    try:
        if stat.S_ISDIR(file.lstat().st_mode):
            file.unlink()  # which fails, and says how
        file.rename(aside)
    except FileNotFoundError:
        return False
    with suppress(FileNotFoundError):  # a link to nothing has no marks
        if known and _identity(aside.stat()) != known:
            aside.rename(file)
            return True
    try:
        aside.unlink(missing_ok=True)
    except OSError:
        aside.rename(file)
        raise
    return False


def _sync_folder(folder: Path) -> None:
    """So that the file is there after a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
