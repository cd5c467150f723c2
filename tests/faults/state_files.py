"""State files as an engine leaves them behind, closed in order or in the middle of its work, and ways to damage."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path

from flowrunner.store import FILE_NAME, QueueChanges, Store, Waiting

PAGE = 4096
ORDER = (
    "INSERT INTO orders VALUES ('o1', 'epex_at', 1, 2, 'SELL', 1.0, 1.0, '', 90.0, 'LIMIT', 'GTC', 'bess', 'guard', "
    "'rule', 'sending', 'live', 1, 1, '', '', 0, 0, 0, NULL, '')"
)
WAITING = [Waiting(seq, seq, "meter.out", b'{"payload": %d}' % seq) for seq in range(1, 6)]


def content(store: Store, *, rows: int = 60, order: bool = False) -> None:
    """Node state in ``rows`` commits, an inbox with five messages, history; on request one order."""
    for number in range(rows):
        store.save_state("bess", "merge", 1, {f"key{number}": b'"%s"' % (b"x" * 300)})
    store.keep([], [QueueChanges("bess", "store", WAITING, [])])
    with closing(sqlite3.connect(file_of(store.folder), isolation_level=None)) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400) INSERT INTO history "
            "SELECT i, i, i, i, 'bess', 'store', 'w', 'merge', '', 'automatic', 'good', zeroblob(200), '' FROM n"
        )
        if order:
            connection.execute(ORDER)


def file_of(folder: Path | None) -> Path:
    assert folder is not None
    return folder / FILE_NAME


def left_behind(folder: Path, *, order: bool = False) -> Path:
    """The state file of an engine that was killed: what it wrote last is in the log beside it."""
    return _laid(folder, _killed(order))


def closed(folder: Path, *, order: bool = False) -> Path:
    """The state file of an engine that ended in order: all is in it, and there is no log."""
    return _laid(folder, _ended(order))


def _laid(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir()
    for name, held in files.items():
        (folder / name).write_bytes(held)
    return file_of(folder)


@cache
def _killed(order: bool) -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        store = Store.open(Path(place), inline=True)
        content(store, order=order)
        files = {one.name: one.read_bytes() for one in (file_of(store.folder), log_of(file_of(store.folder)))}
        with ThreadPoolExecutor() as other_thread:  # the caller may be in a loop
            other_thread.submit(asyncio.run, store.close()).result()
        return files


@cache
def _ended(order: bool) -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        file = _laid(Path(place) / "data", _killed(order))
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return {file.name: file.read_bytes()}


def log_of(file: Path) -> Path:
    return Path(f"{file}-wal")


def overwrite(file: Path, at: int, junk: bytes) -> None:
    """A negative ``at`` counts from the end."""
    with file.open("r+b") as opened:
        opened.seek(at, 2 if at < 0 else 0)
        opened.write(junk)


def root_page(file: Path, table: str) -> int:
    """Where the first page of a table begins, in bytes."""
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return (int(page) - 1) * PAGE


def pages_of(file: Path, table: str) -> Iterable[int]:
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT pageno FROM dbstat WHERE name = ?", (table,)).fetchall()
    return [(page - 1) * PAGE for (page,) in found]


def cut(size: Callable[[int], int]) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.truncate(size(file.stat().st_size))

    return damage
