"""The kill switch: a file in the data folder. While it is there, no order is made and none is sent.

The file is the latch itself, so it works from every side (a command, the API, ``touch``), needs no running engine, and
survives whatever becomes of one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

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


class Switch:
    """The switch of one data folder; ``None``: in memory, for stores that are."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / STOP_FILE
        self._latched: Stop | None = None
        """What the file should say: it could not be written, or there is none."""

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
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Stop(reason=f"there is a file {self._file}")

    def stop(self, *, by: str, reason: str, now: Instant) -> Stop:
        """Stop. A second stop leaves what the first one said. SwitchStuck when the file cannot be made: then it is
        stopped in this process, and only here."""
        before = self.stopped
        if before is not None and self._latched is None:
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
            beside = self._file.with_name(f"{STOP_FILE}.{os.getpid()}")
            try:
                with beside.open("wb") as file:
                    file.write(msgspec.json.encode(stop) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self._file)
            finally:
                beside.unlink(missing_ok=True)
            _sync_folder(self._file.parent)
        return stop

    def resume(self) -> Stop | None:
        """Let trading go on; why it was stopped, or None when it was not. SwitchStuck when the file cannot be removed:
        then it stays stopped."""
        before = self.stopped
        if self._file is not None:
            try:
                self._file.unlink(missing_ok=True)
            except OSError as error:
                raise SwitchStuck(
                    f"{self._file} cannot be removed ({error.strerror}): trading stays stopped; remove it by hand"
                ) from error
        self._latched = None
        return before


def _sync_folder(folder: Path) -> None:
    """So that the file is there after a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
