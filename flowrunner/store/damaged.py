"""A state file that is damaged: noticed before anything relies on it, kept aside, replaced only where that is safe."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from flowrunner.errors import UsageError
from flowrunner.store.salvage import read_only, salvage
from flowrunner.store.tables import LIVE_SINCE, connect
from flowrunner.store.wal import header_fault, index_of, log_of, lost_commits

LOOK_SECONDS = 5.0
"""How long a start may look at tables that no order hangs on; what is behind is noticed when it is read."""
OF_ORDERS = ("orders", "order_steps", "refusals", "switch_steps", "known_nodes")
"""Looked at wholly, their indices too: it is an index that forbids a second order for one slot."""
MANY = 4
"""Findings that are told."""
DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Primary result codes (sqlite.org/rescode.html) that say that what the file holds is not what was written."""

logger = logging.getLogger("flowrunner.store")


def is_damage(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return code is not None and code & 0xFF in DAMAGE


def examine(file: Path) -> str:
    """What is wrong with the content of the state file; "" where nothing was found, and where there is none yet.

    It changes nothing. What keeps it from being read, like its owner or the disk, is no damage: opening says that.
    """
    log = log_of(file)
    if not file.exists():
        waits = log.exists() and log.stat().st_size
        return f"it is gone, and {log.name} with its newest changes is still there" if waits else ""
    if not file.is_file():
        return ""
    if not file.stat().st_size:
        return "it is empty; flowrunner never leaves it so"
    try:
        if fault := header_fault(log):
            return fault
        with closing(read_only(file)) as connection:
            findings = list(_findings(file, connection))
    except OSError:
        return ""
    except UnicodeDecodeError:
        return "the list of its tables is overwritten"  # and so are the words in which SQLite says it
    except sqlite3.Error as error:
        return str(error) if is_damage(error) else ""
    return "; ".join(findings[:MANY]) + ("; and more" if len(findings) > MANY else "")


def holds_orders(file: Path) -> bool:
    """Whether it shows that it holds orders: one can still be read, or none can and orders that counted were begun.
    Where nothing can be read, that is not known: False."""
    questions = ("SELECT 1 FROM orders LIMIT 1", f"SELECT 1 FROM counters WHERE name = '{LIVE_SINCE}'")  # noqa: S608  (a name of ours)
    for question in questions:
        try:
            with closing(read_only(file)) as connection:
                return connection.execute(question).fetchone() is not None
        except (FileNotFoundError, sqlite3.Error, UnicodeDecodeError):
            continue
    return False


def connect_sound(file: Path, *, may_start_fresh: bool) -> tuple[sqlite3.Connection, str]:
    """Open the file, or begin a new one where it is damaged and that is safe: the sentence says so.

    UsageError when it is damaged and must not be replaced.
    """
    what = examine(file)
    return replaced(file, what, may_start_fresh=may_start_fresh) if what else (connect(file), "")


def replaced(file: Path, what: str, *, may_start_fresh: bool) -> tuple[sqlite3.Connection, str]:
    """Keep the file aside, begin a new one with what goes on, and say so loudly. UsageError where it must not be."""
    if not may_start_fresh:
        raise UsageError(_refusal(file, what))
    if holds_orders(file):
        raise UsageError(_refusal(file, f"{what}; there are orders in it"))
    kept = _put_aside(file, what)
    connection = connect(file)
    taken = salvage(kept, connection)
    goes_on = ", ".join(f"{table} ({rows})" for table, rows in taken.items()) or "nothing"
    said = (
        f"{file} is damaged ({what}); it is kept as {kept.name}, and a new one is begun. Of the old one goes on: "
        f"{goes_on}. `sqlite3 {kept.name} .recover` shows what else can be read of it; look at the disk"
    )
    logger.error("%s", said)
    return connection, said


def _refusal(file: Path, what: str) -> str:
    return (
        f"cannot open {file}: {what}; it is damaged, and orders are written down in it: without it one could be sent "
        "twice, so nothing runs and nothing was changed. Either restore it from a backup (and move "
        f"{log_of(file).name} away); or save what can be read (`sqlite3 {file.name} .recover | sqlite3 new.db`) and "
        f"put that in its place; or move {file.name}* away by hand: live orders are then stopped until somebody has "
        "compared with the exchange and says `flowrunner resume-trading`"
    )


def _put_aside(file: Path, what: str) -> Path:
    """The file and its log under another name."""
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{file.name}.damaged-{stamp}{more}" for more in ("", *(f"-{number}" for number in range(2, 1000))))
    kept = next(one for name in names if not (one := file.with_name(name)).exists())
    try:
        for old, new in ((file, kept), (log_of(file), log_of(kept)), (index_of(file), index_of(kept))):
            if old.exists():  # a log without its file is a damage too, should this be cut off here
                old.rename(new)
        _sync(file.parent)
    except OSError as error:
        raise UsageError(
            f"{file} is damaged ({what}) and cannot be renamed: {error.strerror}; make its folder writable, "
            "or move it away by hand"
        ) from error
    return kept


def _findings(file: Path, connection: sqlite3.Connection) -> Iterator[str]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if bool(version) != bool(tables):
        yield "its tables are gone" if version else "its version is gone"
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    log = log_of(file)
    if file.stat().st_size % page and not (log.exists() and log.stat().st_size):
        yield "its end is cut off"
    lost = lost_commits(file)
    if lost > 1:
        yield f"{lost} commits in {log.name} cannot be read: it is overwritten before them"
    for table in OF_ORDERS:
        if table in tables:
            yield from _table(connection, "integrity_check", table)
    deadline = time.monotonic() + LOOK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    for table in sorted(set(tables).difference(OF_ORDERS), key=lambda name: (name == "history", name)):
        try:
            yield from _table(connection, "quick_check", table)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            logger.info("%s is large: %s was not looked at to its end", file, table)
            return


def _table(connection: sqlite3.Connection, check: str, table: str) -> Iterator[str]:
    try:
        for (said,) in connection.execute(f"PRAGMA {check}('{table}')"):
            if said != "ok":
                yield f"{table}: {' '.join(said.split())}"
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        yield f"{table}: {error}"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
