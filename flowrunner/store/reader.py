"""The store of an engine from outside: read or written by a command, while an engine works on it or while none does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from flowrunner.errors import UsageError
from flowrunner.store.tables import BUSY_SECONDS, MIGRATIONS, transaction
from flowrunner.store.writer import StoreFailed

T = TypeVar("T")
WAIT_SECONDS = 5.0
"""How long a command waits to write while the engine, or somebody else, does."""


class Reader:
    """The committed content of a data folder's file. Nothing can be written through it."""

    def __init__(self, connection: sqlite3.Connection, place: Path) -> None:
        self._connection = connection
        self._place = place

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """UsageError when the file cannot be read."""
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise UsageError(f"cannot read {self._place}: {error}; check the disk and who owns the file") from error


@contextmanager
def reading(file: Path) -> Iterator[Reader]:
    """Open the store ``file`` for reading. UsageError when there is none, or one of another version."""
    connection = _opened(file, "ro", BUSY_SECONDS)
    try:
        reader = Reader(connection, file)
        _check_version(file, reader.read(_version))
        yield reader
    finally:
        connection.close()


@contextmanager
def writing(file: Path, *, wait_s: float = WAIT_SECONDS) -> Iterator[sqlite3.Connection]:
    """The block is one transaction on the store ``file``: on the disk when it ends, undone when it raises.

    It must be short; an engine that works on the file waits for it. UsageError as for ``reading``; StoreFailed when
    it cannot be written, or others write for longer than ``wait_s`` seconds.
    """
    connection = _opened(file, "rw", wait_s)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        with transaction(connection):
            _check_version(file, _version(connection))
            yield connection
    except sqlite3.Error as error:
        raise StoreFailed(
            f"cannot write {file}: {error}; nothing was changed; check the disk and who owns the file, then try again"
        ) from error
    finally:
        connection.close()


def _opened(file: Path, mode: str, wait: float) -> sqlite3.Connection:
    if not file.is_file():
        raise UsageError(f"there is no {file}; name the data folder of the engine with --data DIR")
    try:
        uri = f"{file.resolve().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)
    except sqlite3.Error as error:
        raise UsageError(f"cannot open {file}: {error}; check who owns the file") from error


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _check_version(file: Path, version: int) -> None:
    if version != len(MIGRATIONS):
        age = "a newer" if version > len(MIGRATIONS) else "an older"
        step = "update flowrunner" if version > len(MIGRATIONS) else "run its flows once with this one"
        raise UsageError(f"{file} was written by {age} flowrunner; {step}")
