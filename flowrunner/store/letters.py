"""Dead letters: what nodes rejected and nobody took, kept until it is put back, dropped or pushed out by newer ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import msgspec

from flowrunner.message import Instant

LETTERS_KEPT = 10_000
LETTERS_DROPPED = "dead_letters_dropped"

Obstacle = Literal["", "cut", "secret", "no-wire", "at-most-once"]
Standing = Literal["kept", "asked", "back"]

OBSTACLES: dict[Obstacle, str] = {
    "cut": "its message could not be kept whole (too large, or no JSON)",
    "secret": "its message held a secret, which is not kept",
    "no-wire": "its message came by no wire that is known (the node made it itself, or an older flowrunner kept it)",
    "at-most-once": "what this node does is done at most once (an order, the answer to a request):"
    " it is never given a message again",
}
"""Why a letter can never be put back, in words."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was rejected with nobody wired to the error port."""

    at: Instant
    flow: str
    node: str
    code: str
    reason: str
    message: bytes
    """Its JSON."""
    wire: str = ""
    """The wire that it came by, as the node calls it (``id.port``)."""
    attempts: int = 1
    """How often this node has rejected it."""
    obstacle: Obstacle = ""
    """Why it cannot be put back, whatever else changes."""
    standing: Standing = "kept"
    """``asked``: somebody wants it put back; ``back``: it is in the node's inbox, or was when the program ended."""
    answer: str = ""
    """Why it was not put back when that was last asked for."""
    id: int = 0
    """Counts up. 0: not given to a store yet."""

    @property
    def address(self) -> str:
        return f"{self.flow}/{self.node}"

    @property
    def hindrance(self) -> str:
        """Why it cannot be put back, in words, or ""."""
        obstacle: Obstacle = self.obstacle or ("" if self.wire else "no-wire")
        return OBSTACLES[obstacle] if obstacle else ""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters. ``since`` is about when they were rejected, ``before`` and ``after`` about their ids."""

    flow: str | None = None
    node: str | None = None
    code: str | None = None
    since: Instant | None = None
    before: int | None = None
    after: int | None = None
    limit: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether it is one of them, the limit aside."""
        return (
            self.flow in (None, letter.flow)
            and self.node in (None, letter.node)
            and self.code in (None, letter.code)
            and (self.since is None or letter.at >= self.since)
            and (self.before is None or letter.id < self.before)
            and (self.after is None or letter.id > self.after)
        )


COLUMNS = tuple(field.name for field in msgspec.structs.fields(DeadLetter))
_NAMES = ", ".join(COLUMNS)
_CONDITIONS = {
    "flow": "flow = ?",
    "node": "node = ?",
    "code": "code = ?",
    "since": "at >= ?",
    "before": "id < ?",
    "after": "id > ?",
}


def find_letters(connection: sqlite3.Connection, wanted: Wanted, *, bare: bool = False) -> list[DeadLetter]:
    """Newest first. ``bare``: without their messages, of which there may be many and large ones."""
    given = {name: getattr(wanted, name) for name in _CONDITIONS if getattr(wanted, name) is not None}
    where = " AND ".join(["TRUE", *(_CONDITIONS[name] for name in given)])
    limit = -1 if wanted.limit is None else wanted.limit
    names = _NAMES.replace("message", "x'' AS message") if bare else _NAMES
    query = f"SELECT {names} FROM dead_letters WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608  (own names)
    return [_letter(row) for row in connection.execute(query, [*map(_storable, given.values()), limit])]


def read_letters(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, DeadLetter]:
    """Those of these that there are."""
    query = f"SELECT {_NAMES} FROM dead_letters WHERE id = ?"  # noqa: S608  (own names)
    rows = (connection.execute(query, (one,)).fetchone() for one in ids)
    return {letter.id: letter for row in rows if row is not None for letter in (_letter(row),)}


def read_answers(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, str]:
    """Why those of these are not put back that were asked for and refused."""
    wanted = {*ids}
    rows = connection.execute("SELECT id, answer FROM dead_letters WHERE answer != ''")
    return {one: answer for one, answer in rows if one in wanted}


def count_letters(connection: sqlite3.Connection) -> int:
    """Those that lie there: not those that are to be put back, or were. By the indexes alone."""
    query = "SELECT (SELECT count(*) FROM dead_letters) - (SELECT count(*) FROM dead_letters WHERE standing != 'kept')"
    return int(connection.execute(query).fetchone()[0])


def write_letters(connection: sqlite3.Connection, letters: Sequence[DeadLetter], dropped: int) -> None:
    """Append, keep the newest LETTERS_KEPT, and count the others beside those ``dropped`` on the way here."""
    connection.executemany(
        f"INSERT INTO dead_letters ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})",  # noqa: S608  (own names)
        [[getattr(each, name) if name != "id" else each.id or None for name in COLUMNS] for each in letters],
    )
    oldest, newest = connection.execute("SELECT min(id), max(id) FROM dead_letters").fetchone()
    if oldest is not None and newest - oldest >= LETTERS_KEPT:  # else there cannot be too many
        dropped += connection.execute(
            "DELETE FROM dead_letters WHERE id IN"
            " (SELECT id FROM dead_letters WHERE standing = 'kept' ORDER BY id DESC LIMIT -1 OFFSET ?)",
            (LETTERS_KEPT,),
        ).rowcount
    if dropped:
        connection.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
            (LETTERS_DROPPED, dropped),
        )


def remove_letters(connection: sqlite3.Connection, ids: Iterable[int]) -> int:
    """How many there were."""
    return sum(connection.execute("DELETE FROM dead_letters WHERE id = ?", (one,)).rowcount for one in ids)


def mark_letters(connection: sqlite3.Connection, answers: dict[int, str], standing: Standing) -> None:
    """Letter → why it is not put back, or ""."""
    connection.executemany(
        "UPDATE dead_letters SET standing = ?, answer = ? WHERE id = ?",
        [(standing, answer, one) for one, answer in answers.items()],
    )


def asked_letters(connection: sqlite3.Connection, *, also_back: bool = False) -> list[int]:
    """Those that somebody wants put back, oldest first. ``also_back``: and those that an earlier run had in its
    inboxes."""
    query = "SELECT id FROM dead_letters WHERE standing != 'kept' AND standing IN (?, ?) ORDER BY id"
    rows = connection.execute(query, ("asked", "back" if also_back else "asked"))
    return [one for (one,) in rows]


def last_letter(connection: sqlite3.Connection) -> int:
    """The last id that was given."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'dead_letters'").fetchone()
    return int(row[0]) if row else 0


class UnsavedLetters:
    """Letters that the disk does not have yet, and those that it has and that are done with."""

    def __init__(self) -> None:
        self._new: list[DeadLetter] = []
        self._gone: set[int] = set()
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._new or self._gone or self.dropped)

    def __len__(self) -> int:
        return len(self._new)

    def append(self, letter: DeadLetter) -> None:
        self._new.append(letter)
        self._cut()

    def remove(self, ids: Collection[int]) -> None:
        self._new = [one for one in self._new if one.id not in ids]
        self._gone.update(ids)

    def over(self, wanted: Wanted, connection: sqlite3.Connection) -> list[DeadLetter]:
        """As it will be once this is written; newest first."""
        limit = LETTERS_KEPT if wanted.limit is None else min(wanted.limit, LETTERS_KEPT)
        found = [one for one in reversed(self._new) if wanted.takes(one)][:limit]
        rest = limit - len(found) + len(self._gone)
        saved = find_letters(connection, msgspec.structs.replace(wanted, limit=rest))
        return [*found, *(one for one in saved if one.id not in self._gone)][:limit]

    def count_over(self, connection: sqlite3.Connection) -> int:
        """How many lie there once this is written; those that are done with were put back, and are not among them."""
        return min(count_letters(connection) + len(self._new), LETTERS_KEPT)

    def add(self, newer: UnsavedLetters) -> None:
        """Take in what came after this."""
        self._new += newer._new
        self.remove(newer._gone)
        self.dropped += newer.dropped
        self._cut()

    def write(self, connection: sqlite3.Connection) -> None:
        """Within a transaction; this stays as it is, so it can be written again."""
        write_letters(connection, self._new, self.dropped)
        remove_letters(connection, self._gone)

    def _cut(self) -> None:
        surplus = len(self._new) - LETTERS_KEPT
        if surplus > 0:
            del self._new[:surplus]
            self.dropped += surplus


def _letter(row: Sequence[object]) -> DeadLetter:
    return DeadLetter(**dict(zip(COLUMNS, row, strict=True)))  # type: ignore[arg-type]  # rows of our own table


def _storable(value: object) -> object:
    """What is asked for may be no Unicode, or a time of another age: then it fits nothing."""
    if isinstance(value, int):
        return max(min(value, 2**63 - 1), -(2**63) + 1)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
