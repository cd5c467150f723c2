"""``flowrunner users`` and ``flowrunner keys``: who may use the pages and the API of an engine.

All of it works on the data folder's file, with an engine that runs there, which sees it within a second, or without.
"""

from __future__ import annotations

import contextlib
import getpass
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from flowrunner.errors import StoreLocked, UsageError
from flowrunner.message import Instant
from flowrunner.store import FILE_NAME, Entry, FolderLock, reading, writing
from flowrunner.store.audit import Kind, write_entry
from flowrunner.store.people import (
    Role,
    add_key,
    add_user,
    checked_name,
    must_be_a_user,
    read_people,
    remove_key,
    remove_user,
    set_password,
    set_role,
    spelled,
)
from flowrunner.store.tables import connect
from flowrunner.trading import printable
from flowrunner.units import iso

Form = Literal["text", "json"]
KEY_BYTES, KEY_PREFIX = 32, "flowrunner_"
"""Of a key: 256 random bits, behind a word by which those who search for lost secrets know it."""
LONGEST_FILE = 10_000
_LAST = (
    "nobody is left: without FLOWRUNNER_API_KEY the next start on loopback is open to everybody on this machine,"
    " and beyond loopback there is none"
)


class PasswordFrom(NamedTuple):
    """Where a password comes from: ``file`` (its first line; ``-``: of standard input), or None: a person is asked."""

    file: Path | None


# ---- users -----------------------------------------------------------------------------------------------------


def admit_user(folder: Path, name: str, role: Role, password: PasswordFrom) -> None:
    """Add a user. UsageError where there is one of that name, or the password is too weak."""
    name = checked_name(name)
    made = _prepared(folder)
    with reading(folder / FILE_NAME) as store:
        if name in store.read(read_people).users:
            raise UsageError(f"there is a user {name} already; `flowrunner users role` and `users password` change one")
    kept = _hashed(password, name)
    with writing(folder / FILE_NAME) as sql:
        now = time.time_ns()
        add_user(sql, name, role, kept, now)
        _note(sql, now, "user", f"added the user {name} as {_a(role)}")
    print(f"{name} is {_a(role)}: may {MAY[role]} (data folder {folder}{', which is new' if made else ''})")


def dismiss_user(folder: Path, name: str) -> None:
    """Remove a user with all sessions. UsageError where there is none."""
    name = spelled(name)
    with writing(folder / FILE_NAME) as sql:
        ended = remove_user(sql, name)
        _note(sql, time.time_ns(), "user", f"removed the user {name}")
        left = read_people(sql)
    print(f"{name} is removed{_ended(ended)}")
    if not left.users and not left.keys:
        print(_LAST)


def change_role(folder: Path, name: str, role: Role) -> None:
    """Give a user another role. UsageError where there is none of that name."""
    name = spelled(name)
    with writing(folder / FILE_NAME) as sql:
        before = set_role(sql, name, role)
        if before != role:
            _note(sql, time.time_ns(), "user", f"made {name} {_a(role)}; it was {_a(before)}")
    if before == role:
        print(f"{name} is {_a(role)} already")
    else:
        print(f"{name} is {_a(role)} now, and was {_a(before)}: may {MAY[role]}, and has to log in again")


def change_password(folder: Path, name: str, password: PasswordFrom) -> None:
    """Give a user another password; all sessions end. UsageError where there is none, or it is too weak."""
    name, file = spelled(name), folder / FILE_NAME
    with reading(file) as store:
        store.read(lambda sql: must_be_a_user(sql, name))
    kept = _hashed(password, name)
    with writing(file) as sql:
        ended = set_password(sql, name, kept)
        _note(sql, time.time_ns(), "user", f"changed the password of {name}")
    print(f"{name} has another password{_ended(ended)}")


def print_users(data: Path, form: Form) -> None:
    """The users by name, with their roles and last log-ins."""
    with reading(data / FILE_NAME) as store:
        kept = store.read(read_people)
    users = list(kept.users.values())
    if form == "json":
        _print_json(
            {"name": one.name, "role": one.role, "created_at": iso(one.created_at), "last_at": _iso(one.last_at),
             "sessions": sum(session.user == one.name for session in kept.sessions.values())}
            for one in users
        )  # fmt: skip
        return
    if not users:
        print("no users; `flowrunner users add NAME --role viewer|operator|editor` adds one")
    rows = [[one.name, one.role, _minute(one.created_at), _minute(one.last_at)] for one in users]
    _print_rows(["name", "role", "added", "last log-in"], rows)


# ---- keys ------------------------------------------------------------------------------------------------------


def admit_key(folder: Path, name: str, role: Role) -> None:
    """Make a key and print it, once: only its hash is kept. UsageError where there is one of that name."""
    from flowrunner.web.people.person import digest

    name = checked_name(name)
    _prepared(folder)
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    with writing(folder / FILE_NAME) as sql:
        now = time.time_ns()
        add_key(sql, name, role, digest(key), now)
        _note(sql, now, "key", f"added the key {name} as {_a(role)}")
    print(key)
    print(
        f"that is the key {name}, {_a(role)}: it may {MAY[role]}. It is shown this once; send it as X-API-KEY",
        file=sys.stderr,
    )


def dismiss_key(folder: Path, name: str) -> None:
    """Remove a key. UsageError where there is none."""
    name = spelled(name)
    with writing(folder / FILE_NAME) as sql:
        remove_key(sql, name)
        _note(sql, time.time_ns(), "key", f"removed the key {name}")
        left = read_people(sql)
    print(f"the key {name} is removed")
    if not left.users and not left.keys:
        print(_LAST)


def print_keys(data: Path, form: Form) -> None:
    """The keys by name, with their roles and when they were last used; never a key itself."""
    with reading(data / FILE_NAME) as store:
        keys = list(store.read(read_people).keys.values())
    if form == "json":
        _print_json(
            {"name": one.name, "role": one.role, "created_at": iso(one.created_at), "used_at": _iso(one.used_at)}
            for one in keys
        )
        return
    if not keys:
        print("no keys; `flowrunner keys add NAME --role viewer|operator|editor` makes one")
    rows = [[one.name, one.role, _minute(one.created_at), _minute(one.used_at)] for one in keys]
    _print_rows(["name", "role", "added", "last used"], rows)


# ---- the parts -------------------------------------------------------------------------------------------------

MAY: dict[Role, str] = {
    "viewer": "see everything and change nothing",
    "operator": "enter values, acknowledge alarms and stop trading",
    "editor": "do everything, also reload files and put dead letters back",
}


def _a(role: Role) -> str:
    return f"a {role}" if role == "viewer" else f"an {role}"


def _ended(sessions: int) -> str:
    if not sessions:
        return ""
    return f"; {sessions} session{' has' if sessions == 1 else 's have'} ended"


def _prepared(folder: Path) -> bool:
    """Make the folder and its file where there is none: before the first start, too. Whether it was made. UsageError
    where that cannot be."""
    new = not (folder / FILE_NAME).is_file()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FolderLock.acquire(folder)
    except StoreLocked:
        return False  # an engine works there: it has made the file
    except OSError as error:
        raise UsageError(f"{folder} cannot be used: {error.strerror}; nothing was done") from None
    try:
        connect(folder / FILE_NAME).close()  # one of an older version is brought to this one
    finally:
        lock.release()
    return new


def _hashed(given: PasswordFrom, name: str) -> str:
    from flowrunner.web.people import passwords

    return passwords.hashed(passwords.checked(_asked(name) if given.file is None else _told(given.file), name))


def _asked(name: str) -> str:
    """By a person, without echo, twice. UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked for a password here; give --password-file FILE, or - for standard input")
    first = getpass.getpass(f"password of {name}: ")
    if getpass.getpass("once more: ") != first:
        raise UsageError("the two are not the same; nothing was changed")
    return first


def _told(file: Path) -> str:
    """The first line."""
    try:
        if str(file) == "-":
            text = sys.stdin.read(LONGEST_FILE)
        else:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(LONGEST_FILE)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{'standard input' if str(file) == '-' else file} is not UTF-8 text") from None
    return text.split("\n", 1)[0].removesuffix("\r")


def _note(sql: sqlite3.Connection, now: Instant, kind: Kind, text: str) -> None:
    who = "somebody"
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user of a container may have no name
        who = getpass.getuser()
    write_entry(sql, Entry(at=now, kind=kind, who=who, origin="command line", text=text))


def _print_json(rows: Iterable[object]) -> None:
    print(msgspec.json.format(msgspec.json.encode(list(rows))).decode())


def _print_rows(header: list[str], rows: list[list[str]]) -> None:
    for line in _columns([header, *rows]) if rows else ():
        print(printable(line))


def _columns(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _minute(at: Instant | None) -> str:
    if at is None:
        return "never"
    text = iso(at)
    return f"{text[:10]} {text[11:16]}Z"


def _iso(at: Instant | None) -> str | None:
    return None if at is None else iso(at)
