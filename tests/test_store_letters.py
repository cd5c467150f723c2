"""Dead letters in the store: what was queued is seen at once, in whatever order it was added, removed and committed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.store import DeadLetter, Store, Wanted
from flowrunner.store.letters import (
    LETTERS_KEPT,
    UnsavedLetters,
    find_letters,
    last_letter,
    mark_letters,
    write_letters,
)
from flowrunner.store.tables import MIGRATIONS, connect

pytestmark = pytest.mark.anyio


def letter(number: int, flow: str = "bess", **more: str) -> DeadLetter:
    given = {"flow": flow, "node": "check", "code": "c", "reason": "", **more}
    return DeadLetter(at=number, message=b"{}", wire="a.out", **given)  # type: ignore[arg-type]  # all of them texts


def ids(store: Store, **wanted: int | str) -> list[int]:
    return [one.id for one in store.dead_letters(Wanted(**wanted))]  # type: ignore[arg-type]  # as the test says


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path)
    yield opened
    await opened.close()


async def test_ids_go_on_over_a_restart_and_are_never_given_twice(tmp_path: Path) -> None:
    for expected in ([2, 1], [4, 3], [6, 5]):
        store = Store.open(tmp_path)
        store.add_dead_letter(letter(1))
        store.add_dead_letter(letter(2))
        assert ids(store) == expected
        await store.flush()
        store.remove_dead_letters(expected)
        assert ids(store) == []
        await store.close()


async def test_removed_they_are_gone_at_once_and_for_good(store: Store) -> None:
    for number in range(4):
        store.add_dead_letter(letter(number))
    await store.flush()
    store.add_dead_letter(letter(4))
    store.remove_dead_letters([2, 5])
    for _ in range(2):
        assert ids(store) == [4, 3, 1]
        assert ids(store, limit=2) == [4, 3]
        await store.flush()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["add", "flush", "fail"]) | st.integers(1, 9), max_size=20))
def test_whatever_happens_in_whatever_order(steps: list[str | int]) -> None:
    """Against a plain list; a commit that fails keeps all for the next."""
    sql = connect(None)
    model: list[int] = []
    unsaved, given = UnsavedLetters(), 0
    for step in steps:
        if step == "add":
            given += 1
            unsaved.append(DeadLetter(id=given, at=given, flow="f", node="n", code="c", reason="", message=b"{}"))
            model.append(given)
        elif step == "flush":
            unsaved.write(sql)
            unsaved = UnsavedLetters()
        elif step == "fail":
            newer, unsaved = unsaved, UnsavedLetters()
            newer.add(unsaved)
            unsaved = newer
        elif isinstance(step, int) and step <= given:
            unsaved.remove([step])
            model = [one for one in model if one != step]
        assert [one.id for one in unsaved.over(Wanted(), sql)] == model[::-1]
        assert [one.id for one in unsaved.over(Wanted(limit=2), sql)] == model[::-1][:2]


def test_dropping_some_makes_room_for_others() -> None:
    sql = connect(None)
    write_letters(sql, [letter(number) for number in range(LETTERS_KEPT)], 0)
    sql.execute("DELETE FROM dead_letters WHERE id % 2 = 0")
    write_letters(sql, [letter(number) for number in range(10)], 0)
    assert len(find_letters(sql, Wanted())) == LETTERS_KEPT // 2 + 10, "nobody had to make room"
    write_letters(sql, [letter(number) for number in range(LETTERS_KEPT)], 0)
    kept = find_letters(sql, Wanted(), bare=True)
    assert (len(kept), kept[0].id) == (LETTERS_KEPT, last_letter(sql))
    assert all(one.message == b"" for one in kept)


async def test_filters(store: Store) -> None:
    for number in range(6):
        store.add_dead_letter(letter(number, "odd" if number % 2 else "even", code="x" if number > 3 else "c"))
        if number == 2:
            await store.flush()
    for _ in range(2):
        assert ids(store, flow="odd") == [6, 4, 2]
        assert ids(store, flow="odd", code="x") == [6]
        assert ids(store, since=3) == [6, 5, 4]
        assert ids(store, before=3) == [2, 1]
        assert ids(store, after=2, before=5) == [4, 3]
        assert ids(store, node="none") == ids(store, since=10**30) == ids(store, flow="\ud800") == []
        await store.flush()


async def test_letters_of_an_older_file_cannot_be_put_back_and_say_so(tmp_path: Path) -> None:
    old = next(n for n, step in enumerate(MIGRATIONS) if "ADD COLUMN wire" in " ".join(step))
    sql: sqlite3.Connection = connect(tmp_path / "flowrunner.db", MIGRATIONS[:old])
    sql.execute(
        "INSERT INTO dead_letters (at, flow, node, code, reason, message) VALUES (1, 'bess', 'check', 'c', '', '{}')"
    )
    sql.close()
    store = await asyncio.to_thread(Store.open, tmp_path)
    (found,) = store.dead_letters()
    assert (found.wire, found.attempts, found.standing) == ("", 1, "kept")
    assert "an older flowrunner kept it" in found.hindrance
    await store.close()


async def test_letters_on_their_way_back_push_nobody_out(tmp_path: Path) -> None:
    """A letter that is rejected again is there twice for a moment: the room is for those that are kept."""
    store = Store.open(tmp_path)
    for number in range(LETTERS_KEPT):
        store.add_dead_letter(letter(number))
    await store.flush()
    newest = ids(store, limit=500)
    await store.submit(lambda sql: mark_letters(sql, dict.fromkeys(newest, ""), "back"))
    for number in range(500):
        store.add_dead_letter(letter(LETTERS_KEPT + number))
    await store.flush()
    store.remove_dead_letters(newest)
    await store.flush()
    assert len(ids(store, limit=2 * LETTERS_KEPT)) == LETTERS_KEPT
    assert store.dead_letters_dropped() == 0
    await store.close()
