"""Who may do what: users with their sessions, and keys of machines. Secrets are kept as hashes only."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from flowrunner.errors import UsageError, did_you_mean
from flowrunner.message import Instant
from flowrunner.store.salvage import read_only

Role = Literal["viewer", "operator", "editor"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may all that the one before it may: see; enter, acknowledge and stop; change what runs."""
SESSIONS_OF_ONE = 20
"""Sessions of one user; the one that was begun first makes room."""
LONGEST_NAME = 64
_NAME = re.compile(r"\w[\w.@-]*")


class User(msgspec.Struct, frozen=True):
    """A person. ``password`` is its Argon2 hash, with salt and parameters (PHC string)."""

    name: str
    role: Role
    password: str
    created_at: Instant
    last_at: Instant | None = None
    """The last log-in."""


class Session(msgspec.Struct):
    """One log-in of a user, told by the SHA-256 of its id. ``seen_at`` may be ahead of what the disk has."""

    digest: bytes
    user: str
    begun_at: Instant
    seen_at: Instant


class MachineKey(msgspec.Struct):
    """A key for a program, told by its SHA-256. ``used_at`` may be ahead of what the disk has."""

    name: str
    role: Role
    digest: bytes
    created_at: Instant
    used_at: Instant | None = None


class Kept(NamedTuple):
    """All of them, sorted by name."""

    users: dict[str, User]
    sessions: dict[bytes, Session]
    keys: dict[str, MachineKey]


def spelled(name: str) -> str:
    """A name as it is compared and kept: whoever types ``Anna`` means ``anna``."""
    return unicodedata.normalize("NFKC", name).strip().lower()


def checked_name(name: str) -> str:
    """The name as it is kept. UsageError where it is none."""
    kept = spelled(name)
    if not _NAME.fullmatch(kept) or len(kept) > LONGEST_NAME:
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} cannot be a name: take letters, digits and . _ @ -, a letter or digit first,"
            f" at most {LONGEST_NAME} characters"
        )
    return kept


# ---- reading -------------------------------------------------------------------------------------------------------


def read_people(sql: sqlite3.Connection) -> Kept:
    users = sql.execute("SELECT name, role, password, created_at, last_at FROM users ORDER BY name")
    sessions = sql.execute("SELECT digest, user, begun_at, seen_at FROM sessions ORDER BY begun_at")
    keys = sql.execute("SELECT name, role, digest, created_at, used_at FROM keys ORDER BY name")
    return Kept(
        {row[0]: User(*row) for row in users},
        {row[0]: Session(*row) for row in sessions},
        {row[0]: MachineKey(*row) for row in keys},
    )


def is_anybody_there(file: Path) -> bool:
    """Whether there is a user or a key in the store ``file``, before anybody opens it. False where that cannot be read:
    who opens it says why."""
    try:
        with closing(read_only(file)) as sql:
            row = sql.execute("SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM keys)").fetchone()
    except (OSError, sqlite3.Error):
        return False
    return bool(row[0])


def written_by_others(sql: sqlite3.Connection) -> int:
    """Another number than before where another connection has written the file (``PRAGMA data_version``)."""
    return int(sql.execute("PRAGMA data_version").fetchone()[0])


# ---- users ---------------------------------------------------------------------------------------------------------


def add_user(sql: sqlite3.Connection, name: str, role: Role, password: str, now: Instant) -> None:
    """``password``: its hash. UsageError where there is one of that name."""
    done = sql.execute(
        "INSERT INTO users VALUES (?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING", (name, role, password, now)
    )
    if not done.rowcount:
        raise UsageError(f"there is a user {name} already; `flowrunner users role` and `users password` change one")


def remove_user(sql: sqlite3.Connection, name: str) -> int:
    """With all sessions; how many these were. UsageError where there is none of that name."""
    ended = end_sessions(sql, name)
    if not sql.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
        raise _unknown(sql, "user", name)
    return ended


def set_role(sql: sqlite3.Connection, name: str, role: Role) -> Role:
    """The role before; all sessions end where it is another one. UsageError where there is none of that name."""
    row = sql.execute("SELECT role FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _unknown(sql, "user", name)
    before: Role = row[0]
    if before != role:
        sql.execute("UPDATE users SET role = ? WHERE name = ?", (role, name))
        end_sessions(sql, name)
    return before


def set_password(sql: sqlite3.Connection, name: str, password: str) -> int:
    """``password``: its hash. All sessions end; how many. UsageError where there is none of that name."""
    if not sql.execute("UPDATE users SET password = ? WHERE name = ?", (password, name)).rowcount:
        raise _unknown(sql, "user", name)
    return end_sessions(sql, name)


def must_be_a_user(sql: sqlite3.Connection, name: str) -> None:
    """UsageError where there is none of that name: said before a password is asked for."""
    if sql.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone() is None:
        raise _unknown(sql, "user", name)


# ---- sessions ------------------------------------------------------------------------------------------------------


def begin_session(sql: sqlite3.Connection, session: Session, password: str, *, gone: bytes = b"") -> bool:
    """Log in who was known by the hash ``password``; False where that is another by now. ``gone``: the digest of the
    session that the browser had until now; it ends."""
    sql.execute("DELETE FROM sessions WHERE digest = ?", (gone,))
    done = sql.execute(
        "INSERT INTO sessions SELECT ?, name, ?, ? FROM users WHERE name = ? AND password = ?",
        (session.digest, session.begun_at, session.seen_at, session.user, password),
    )
    if not done.rowcount:
        return False
    sql.execute("UPDATE users SET last_at = ? WHERE name = ?", (session.begun_at, session.user))
    sql.execute(
        "DELETE FROM sessions WHERE digest IN"
        " (SELECT digest FROM sessions WHERE user = ? ORDER BY begun_at DESC, digest LIMIT -1 OFFSET ?)",
        (session.user, SESSIONS_OF_ONE),
    )
    return True


def end_session(sql: sqlite3.Connection, digest: bytes) -> None:
    sql.execute("DELETE FROM sessions WHERE digest = ?", (digest,))


def end_sessions(sql: sqlite3.Connection, user: str) -> int:
    """All of a user; how many there were."""
    return sql.execute("DELETE FROM sessions WHERE user = ?", (user,)).rowcount


# ---- keys ----------------------------------------------------------------------------------------------------------


def add_key(sql: sqlite3.Connection, name: str, role: Role, digest: bytes, now: Instant) -> None:
    """UsageError where there is one of that name."""
    done = sql.execute("INSERT INTO keys VALUES (?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING", (name, role, digest, now))
    if not done.rowcount:
        raise UsageError(f"there is a key {name} already; remove it first, or take another name")


def remove_key(sql: sqlite3.Connection, name: str) -> None:
    """UsageError where there is none of that name."""
    if not sql.execute("DELETE FROM keys WHERE name = ?", (name,)).rowcount:
        raise _unknown(sql, "key", name)


def note_seen(sql: sqlite3.Connection, sessions: dict[bytes, Instant], keys: dict[str, Instant]) -> None:
    """When sessions and keys were last used."""
    sql.executemany(
        "UPDATE sessions SET seen_at = ? WHERE digest = ?", [(at, digest) for digest, at in sessions.items()]
    )
    sql.executemany("UPDATE keys SET used_at = ? WHERE name = ?", [(at, name) for name, at in keys.items()])


def _unknown(sql: sqlite3.Connection, what: Literal["user", "key"], name: str) -> UsageError:
    table = {"user": "SELECT name FROM users", "key": "SELECT name FROM keys"}[what]
    known = [row[0] for row in sql.execute(table)]
    hint = did_you_mean(name, known) or f"`flowrunner {what}s list` names them"
    return UsageError(f"there is no {what} {name}; {hint}" if known else f"there is no {what} {name}, nor any other")
