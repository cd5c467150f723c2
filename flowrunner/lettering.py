"""``flowrunner dead-letters``: what nodes rejected and nobody took, for a person at a terminal; put back, or dropped.

All of it works on the data folder's file, with an engine that runs there or without: that one looks once a second at
what is to be put back, and one that starts takes it in then.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from flowrunner import shown, views
from flowrunner.errors import StoreLocked, UsageError
from flowrunner.message import JSON, Message
from flowrunner.sheet import cell
from flowrunner.store import FILE_NAME, DeadLetter, FolderLock, Wanted, read_counter, reading, writing
from flowrunner.store.letters import (
    LETTERS_DROPPED,
    asked_letters,
    find_letters,
    mark_letters,
    read_answers,
    read_letters,
    remove_letters,
)
from flowrunner.trading import printable
from flowrunner.units import iso

LIMIT = 20
"""Letters of a list, unless told."""
ANSWER_S = 5.0
"""How long an engine that runs may take for its next answer; it looks every second."""
LOOK_S = 0.05
SAID = 20
"""Refusals that are said one by one."""
REASON = 70
"""Characters of a reason in the list."""
LINE = 500
"""Characters of a line of a message."""
HEADER = ["id", "rejected", "node", "code", "reason"]
TABLE = ("id", "at", "flow", "node", "code", "reason", "wire", "attempts", "lineage", "standing", "hindrance", "answer")
"""Columns of the table: as the API names them; the message itself is in its own story."""
Form = Literal["text", "json", "csv"]


def print_letters(data: Path, wanted: Wanted, form: Form) -> None:
    """Letters, newest first; as csv all, oldest first."""
    limit = wanted.limit if wanted.limit is not None or form == "csv" else LIMIT
    with reading(data / FILE_NAME) as store:
        letters = store.read(lambda sql: find_letters(sql, msgspec.structs.replace(wanted, limit=limit)))
        whole = store.read(lambda sql: len(find_letters(sql, msgspec.structs.replace(wanted, limit=None), bare=True)))
        gone = store.read(lambda sql: read_counter(sql, LETTERS_DROPPED))
    if form == "csv":
        _print_table(letters)
        return
    if form == "json":
        _print_json([views.dead_letter(one) for one in letters])
        return
    if not letters:
        narrowed = any(getattr(wanted, name) is not None for name in ("flow", "node", "code", "since"))
        print("no such dead letters" if narrowed else "no dead letters")
    for line in _columns([HEADER, *map(_row, letters)] if letters else []):
        print(printable(line))
    if whole > len(letters):
        print(f"these are the newest {len(letters)} of {whole}; --limit {whole} shows all")
    if gone:
        print(f"{gone} older {'one has' if gone == 1 else 'ones have'} made room for newer ones, and cannot be seen")


def print_letter(data: Path, number: int, form: Form) -> None:
    """One letter with its whole message. UsageError when there is none of that number."""
    with reading(data / FILE_NAME) as store:
        found = store.read(lambda sql: read_letters(sql, [number]))
    if number not in found:
        raise _no_letter(number)
    letter = found[number]
    if form == "json":
        _print_json(views.dead_letter(letter))
        return
    for line in _story(letter):
        print(printable(line))


def replay(data: Path, ids: Sequence[int], wanted: Wanted | None, *, patience_s: float = ANSWER_S) -> bool:
    """Have letters put back: these, or all that are ``wanted``. Whether all of them are, or will be.
    ``patience_s``: seconds in which an engine that runs has to take at least one more.

    UsageError where there is no letter of a number; StoreFailed when it cannot be written down. Nothing was done then.
    """
    file = data / FILE_NAME
    with reading(file):  # where there is none nothing is made
        lock = _lock(data)
    try:
        with writing(file) as sql:
            letters = _chosen(find_letters(sql, wanted, bare=True) if wanted else read_letters(sql, ids).values(), ids)
            refused = {one.id: one.hindrance for one in letters if one.hindrance}
            asked = [one for one in letters if one.id not in refused]
            mark_letters(sql, {one.id: "" for one in asked if one.standing == "kept"}, "asked")
    finally:
        if lock is not None:
            lock.release()
    if not letters:
        print("no such dead letters: nothing is put back")
        return True
    late: list[int] = []
    if asked and lock is None:
        answers, late = _answers(file, [one.id for one in asked], patience_s)
        refused |= answers
    _say_refused(letters, refused)
    done = [one for one in asked if one.id not in refused and one.id not in late]
    if done:
        when = "back in the inbox of" if lock is None else "put back at the next start:"
        print(printable(f"{_letters(done)} {'is' if len(done) == 1 else 'are'} {when} {_places(done)}"))
    if late:
        waits = "waits" if len(late) == 1 else "wait"
        print(f"{_count(len(late))} {waits} for the engine, which has not answered; `flowrunner dead-letters` tells")
    return not refused


def drop(data: Path, ids: Sequence[int], wanted: Wanted | None, *, sure: bool) -> None:
    """Forget letters for good. UsageError where nobody said that it is meant, or there is no letter of a number."""
    file = data / FILE_NAME
    with writing(file) as sql:
        letters = _chosen(find_letters(sql, wanted, bare=True) if wanted else read_letters(sql, ids).values(), ids)
        if letters and not sure:
            raise UsageError(f"this forgets {_count(len(letters))} for good; add --yes if that is meant")
        remove_letters(sql, [one.id for one in letters])
    print(f"{_count(len(letters))} {'is' if len(letters) == 1 else 'are'} dropped" if letters else "nothing to drop")


def _lock(data: Path) -> FolderLock | None:
    """While this is held no engine starts there. None: one works on the folder."""
    try:
        return FolderLock.acquire(data)
    except StoreLocked:
        return None
    except OSError as error:
        raise UsageError(
            f"{data} cannot be used: {error.strerror}; nothing was done. Do it as the user that the engine runs as"
        ) from None


def _chosen(found: Iterable[DeadLetter], ids: Sequence[int]) -> list[DeadLetter]:
    """Oldest first. UsageError when one that was named is not there."""
    letters = sorted(found, key=lambda one: one.id)
    known = {letter.id for letter in letters}
    for one in ids:
        if one not in known:
            raise _no_letter(one)
    return letters


def _answers(file: Path, ids: list[int], patience_s: float) -> tuple[dict[int, str], list[int]]:
    """What the engine says: why letters are not put back, and those that it has not come to. It is waited for as long
    as it goes on: there may be many."""
    late = [*ids]
    until = time.monotonic() + patience_s
    with reading(file) as store:
        while late and time.monotonic() < until:
            asked = {*store.read(asked_letters)}
            left = [one for one in late if one in asked]
            if len(left) < len(late):
                late, until = left, time.monotonic() + patience_s
            else:
                time.sleep(LOOK_S)
        return store.read(lambda sql: read_answers(sql, ids)), late


def _say_refused(letters: Sequence[DeadLetter], refused: dict[int, str]) -> None:
    hindered = [one for one in letters if one.id in refused]
    for one in hindered[:SAID]:
        print(printable(f"dead letter {one.id} of {one.address} is not put back: {refused[one.id]}"))
    if hindered[SAID:]:
        print(f"and {len(hindered) - SAID} more are not; `flowrunner dead-letters show ID` says why")


def _no_letter(number: int) -> UsageError:
    return UsageError(f"there is no dead letter {number}; `flowrunner dead-letters` lists them")


# ---- as text ------------------------------------------------------------------------------------------------


def _count(number: int) -> str:
    return f"{number} dead letter{'' if number == 1 else 's'}"


def _letters(letters: Sequence[DeadLetter]) -> str:
    return f"dead letter {letters[0].id}" if len(letters) == 1 else _count(len(letters))


def _places(letters: Iterable[DeadLetter]) -> str:
    return ", ".join(sorted({one.address for one in letters}))


def _row(letter: DeadLetter) -> list[str]:
    reason = letter.reason if len(letter.reason) <= REASON else f"{letter.reason[:REASON]}…"
    notes = [f"{letter.attempts} times"] if letter.attempts > 1 else []
    notes += {"kept": [], "asked": ["to be put back"], "back": ["put back, not done with"]}[letter.standing]
    text = f"{reason} ({', '.join(notes)})" if notes else reason
    return [str(letter.id), _second(iso(letter.at)), letter.address, letter.code, text]


def _columns(table: Sequence[list[str]]) -> Iterator[str]:
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))] if table else []
    for row in table:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _story(letter: DeadLetter) -> Iterator[str]:
    one: shown.DeadLetterShown = views.dead_letter(letter)
    yield f"dead letter {letter.id}: {letter.address} rejected it {_second(one['at'])}"
    yield f"  code      {letter.code}"
    yield f"  reason    {letter.reason or '(none given)'}"
    if letter.attempts > 1:
        yield f"  attempts  {letter.attempts}: put back and rejected again"
    yield f"  came by   {letter.wire or '(no wire)'}"
    yield f"  lineage   {one['lineage']}"
    try:
        message = msgspec.json.decode(letter.message, type=Message)
    except msgspec.MsgspecError:
        yield "  message"
        yield from _indented(msgspec.json.decode(letter.message))
    else:
        yield f"  message   at {iso(message.at)}, received {iso(message.received_at)}"
        about = f", key {message.key!r}" if message.key else ""
        yield f"            from {message.source}, {message.origin}, {message.quality}{about}"
        yield "  payload"
        yield from _indented(message.payload)
        for name, info in (message.fields or {}).items():
            unit = f" {info.unit}" if info.unit else ""
            judged = f" ({unit.strip()})" if unit else ""
            yield f"  field     {name}{judged}: {info.quality}, {iso(info.at)}, from {info.source} ({info.origin})"
        if message.meta:
            yield "  meta"
            yield from _indented(message.meta)
    yield from _prospect(letter)


def _indented(value: JSON) -> Iterator[str]:
    for line in msgspec.json.format(msgspec.json.encode(value)).decode().splitlines():
        more = len(line) - LINE
        yield f"    {line}" if more <= 0 else f"    {line[:LINE]}… ({more} characters more; --format json shows them)"


def _prospect(letter: DeadLetter) -> Iterator[str]:
    if letter.answer:
        yield f"it was not put back when that was last asked for: {letter.answer}"
    if letter.hindrance:
        yield f"it cannot be put back: {letter.hindrance}"
    elif letter.standing == "asked":
        yield "it is to be put back: by the engine that runs, or by the next start"
    elif letter.standing == "back":
        yield f"it was put back to {letter.address}, and is not done with"
    elif letter.answer:
        yield f"`flowrunner dead-letters replay {letter.id}` asks for it again"
    else:
        yield f"`flowrunner dead-letters replay {letter.id}` puts it back into the inbox of {letter.address}"


def _second(time: str) -> str:
    """``2025-01-25 01:15:00Z`` of an ISO time."""
    return f"{time[:10]} {time[11:19]}Z"


# ---- for programs -------------------------------------------------------------------------------------------


def _print_table(newest_first: Sequence[DeadLetter]) -> None:
    """RFC 4180, with a line of names."""
    table = csv.writer(sys.stdout)
    table.writerow(TABLE)
    for letter in reversed(newest_first):
        one: dict[str, JSON] = {**views.dead_letter(letter)}
        table.writerow([cell(one[name]) for name in TABLE])


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())
