"""Reading a store from outside: by a command, while an engine works on it or while none does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from flowrunner.errors import UsageError
from flowrunner.store.tables import BUSY_SECONDS, MIGRATIONS

T = TypeVar("T")


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
    if not file.is_file():
        raise UsageError(f"there is no {file}; name the data folder of the engine with --data DIR")
    try:
        uri = f"{file.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise UsageError(f"cannot open {file}: {error}; check who owns the file") from error
    try:
        reader = Reader(connection, file)
        (version,) = reader.read(lambda sql: sql.execute("PRAGMA user_version").fetchone())
        if version != len(MIGRATIONS):
            age = "a newer" if version > len(MIGRATIONS) else "an older"
            step = "update flowrunner" if version > len(MIGRATIONS) else "run its flows once with this one"
            raise UsageError(f"{file} was written by {age} flowrunner; {step}")
        yield reader
    finally:
        connection.close()
