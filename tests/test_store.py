"""The store on real files: what survives, what is undone, and what a person reads when it cannot work."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.clock import VirtualClock, VirtualLoop, run_virtual
from flowrunner.errors import StoreLocked, UsageError
from flowrunner.store import DeadLetter, NodeState, Store, StoreFailed, Wanted, write_state
from flowrunner.store.letters import LETTERS_KEPT
from flowrunner.store.tables import MIGRATIONS, connect
from flowrunner.store.unsaved import Unsaved
from flowrunner.store.writer import UNSAVED_LIMIT
from tests.peers.until import until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["thread", "inline"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    return lambda: Store.open(tmp_path / "data", inline=request.param == "inline")


@pytest.fixture
async def store(opener: Callable[[], Store]) -> AsyncIterator[Store]:
    opened = opener()
    yield opened
    await opened.close()


def letter(number: int, **changes: Any) -> DeadLetter:
    given = {"flow": "bess", "node": "scale", "code": "type", "reason": f"letter {number}", "message": b"{}"}
    return DeadLetter(at=number, **(given | changes))


def committed(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What another connection sees: only what is committed."""
    connection = sqlite3.connect(folder / "flowrunner.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def note(text: str) -> Callable[[sqlite3.Connection], str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT UNIQUE)")
        connection.execute("INSERT INTO notes VALUES (?)", (text,))
        return text

    return work


def notes(folder: Path) -> list[str]:
    return sorted(text for (text,) in committed(folder, "SELECT text FROM notes"))


# ---- node state --------------------------------------------------------------------------------------------


async def test_state_is_there_after_a_reopen(opener: Callable[[], Store]) -> None:
    store = opener()
    assert store.load_state("bess", "merge") == NodeState(0, {})
    store.save_state("bess", "merge", 1, {"": b"whole", "site-a": b"\x00\xff", "gone": b"1"})
    store.save_state("bess", "merge", 2, {"gone": None, "site-b": b""})
    store.save_state("bess", "other", 7, {})
    kept = NodeState(2, {"": b"whole", "site-a": b"\x00\xff", "site-b": b""})
    assert store.load_state("bess", "merge") == kept, "a reload sees what is not committed yet"
    await store.close()

    store = opener()
    assert store.load_state("bess", "merge") == kept
    assert store.load_state("bess", "other") == NodeState(7, {})
    assert store.load_state("other flow", "merge") == NodeState(0, {})
    store.drop_state("bess", "merge")
    assert store.load_state("bess", "merge") == NodeState(0, {})
    await store.close()

    store = opener()
    assert store.load_state("bess", "merge") == NodeState(0, {})
    await store.close()


async def test_changes_are_committed_without_being_asked_for(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    commit = threading.Event()
    await store.submit(lambda c: c.set_trace_callback(lambda sql: commit.set() if sql == "COMMIT" else None))
    commit.clear()
    store.save_state("bess", "merge", 1, {"a": b"1"})
    store.save_state("bess", "merge", 1, {"a": b"2"})
    assert committed(tmp_path, "SELECT * FROM node_state") == []
    assert await asyncio.to_thread(commit.wait, 20)
    assert store.load_state("bess", "merge") == NodeState(1, {"a": b"2"})  # waits for the transaction's end
    assert committed(tmp_path, "SELECT value FROM node_state") == [(b"2",)]
    await store.close()


async def test_changes_go_with_the_next_transaction(store: Store, tmp_path: Path) -> None:
    store.save_state("bess", "merge", 1, {"a": b"1"})
    await store.submit(lambda _: None)
    assert committed(tmp_path / "data", "SELECT key, value FROM node_state") == [("a", b"1")]


async def test_a_key_that_is_no_text_hits_only_the_one_who_made_it(store: Store) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.save_state("bess", "merge", 1, {"ok": b"1", "\ud800": b"2"})
    store.save_state("bess", "merge", 1, {"other": b"3"})
    await store.flush()
    assert store.load_state("bess", "merge") == NodeState(1, {"other": b"3"})


places = st.tuples(st.sampled_from(["f", "g"]), st.sampled_from(["a", "b"]))
keys = st.sampled_from(["", "x", "y"]) | st.text(st.characters(codec="utf-8"), max_size=3)
values = st.none() | st.binary(max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("save"), places, st.integers(0, 9), st.dictionaries(keys, values, max_size=3)),
        st.tuples(st.just("drop"), places),
        st.tuples(st.just("flush")),
        st.tuples(st.just("reopen")),
    ),
    max_size=25,
)


@pytest.mark.parametrize("inline", [True, False])
@settings(deadline=None, max_examples=20)  # every flush is an fsync of a real disk
@given(steps=steps)
def test_state_behaves_as_a_dict(
    inline: bool, steps: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")

    async def main() -> None:
        model: dict[tuple[str, str], NodeState] = {}
        store = Store.open(folder, inline=inline)
        for step in steps:
            match step:
                case ("save", place, version, changes):
                    store.save_state(place[0], place[1], version, changes)
                    merged = {**model.get(place, NodeState()).entries, **changes}
                    model[place] = NodeState(version, {k: v for k, v in merged.items() if v is not None})
                case ("drop", place):
                    store.drop_state(*place)
                    model.pop(place, None)
                case ("flush",):
                    await store.flush()
                case ("reopen",):
                    await store.close()
                    store = Store.open(folder, inline=inline)
            for place in [("f", "a"), ("f", "b"), ("g", "a"), ("g", "b")]:
                assert store.load_state(*place) == model.get(place, NodeState())
        await store.close()

    asyncio.run(main())


@given(before=steps, after=steps)
def test_changes_offered_again_count_before_those_that_came_later(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    def queue(steps: list[tuple[Any, ...]], *into: Unsaved) -> None:
        for step in steps:
            for unsaved in into:
                if step[0] == "save":
                    unsaved.put(step[1][0], step[1][1], step[2], step[3])
                elif step[0] == "drop":
                    unsaved.drop(*step[1])

    at_once, failed, newer = Unsaved(), Unsaved(), Unsaved()
    queue(before, at_once, failed)
    queue(after, at_once, newer)
    failed.add(newer)
    saved = NodeState(5, {"": b"old", "x": b"old", "z": b"old"})
    for place in [("f", "a"), ("f", "b"), ("g", "a"), ("g", "b")]:
        assert failed.over(*place, saved) == at_once.over(*place, saved)
    assert failed.count() == at_once.count()


# ---- transactions ------------------------------------------------------------------------------------------


async def test_what_was_awaited_is_committed(store: Store, tmp_path: Path) -> None:
    assert await store.submit(note("order 1")) == "order 1"
    assert notes(tmp_path / "data") == ["order 1"]
    assert await store.submit(lambda c: c.execute("SELECT count(*) FROM notes").fetchone()[0]) == 1


async def test_a_work_that_raises_undoes_itself_alone(store: Store, tmp_path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise LookupError("no such slot")

    store.save_state("bess", "merge", 1, {"a": b"1"})
    works = [note("one"), half, note("one"), note("two")]
    results = await asyncio.gather(*(store.submit(work) for work in works), return_exceptions=True)
    assert results[0::3] == ["one", "two"]
    assert str(results[1]) == "no such slot"
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert notes(tmp_path / "data") == ["one", "two"]
    assert store.load_state("bess", "merge") == NodeState(1, {"a": b"1"})
    assert store.failed is None


async def test_a_constraint_that_only_the_commit_finds_fails_its_own_work(store: Store, tmp_path: Path) -> None:
    def tables(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE market (name TEXT PRIMARY KEY)")
        connection.execute("CREATE TABLE slot (market TEXT REFERENCES market DEFERRABLE INITIALLY DEFERRED)")

    await store.submit(tables)
    results = await asyncio.gather(
        store.submit(note("good")),
        store.submit(lambda c: c.execute("INSERT INTO slot VALUES ('nowhere')").rowcount),
        store.submit(note("good too")),
        return_exceptions=True,
    )
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert notes(tmp_path / "data") == ["good", "good too"]


async def test_one_transaction_carries_all_that_waits(tmp_path: Path) -> None:
    """Group commit: while one work runs, a hundred others come, and they share the next commit."""
    store = Store.open(tmp_path)
    entered, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        entered.set()
        go_on.wait(30)

    first = store.submit(slow)
    await asyncio.to_thread(entered.wait, 30)
    seen: list[bool] = []
    others = [store.submit(lambda c: seen.append(c.in_transaction)) for _ in range(100)]
    total = store.submit(lambda c: [str(each.done()) for each in others])
    go_on.set()
    await first
    assert set(await total) == {"False"}, "nobody hears of success before the common commit"
    await asyncio.gather(*others)
    assert seen == [True] * 100
    await store.close()


async def test_a_durable_step_is_one_transaction(store: Store, tmp_path: Path) -> None:
    def step(connection: sqlite3.Connection) -> None:
        note("output")(connection)
        write_state(connection, "bess", "merge", 3, {"position": b"17"})

    await store.submit(step)
    assert notes(tmp_path / "data") == ["output"]
    assert store.load_state("bess", "merge") == NodeState(3, {"position": b"17"})


async def test_work_runs_also_when_nobody_waits_any_more(store: Store, tmp_path: Path) -> None:
    waiting = asyncio.ensure_future(store.submit(note("order")))
    waiting.cancel()
    await store.flush()
    assert notes(tmp_path / "data") == ["order"]


async def test_a_work_may_queue_more(store: Store) -> None:
    def work(_: sqlite3.Connection) -> None:
        store.save_state("bess", "merge", 1, {"a": b"1"})

    await store.submit(work)
    assert store.failed is None
    await store.flush()
    assert store.load_state("bess", "merge") == NodeState(1, {"a": b"1"})


async def test_what_a_work_queues_inline_follows_it_at_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path, inline=True)
    inner: list[asyncio.Future[str]] = []

    def work(_: sqlite3.Connection) -> None:
        store.save_state("bess", "merge", 1, {"a": b"1"})
        inner.append(store.submit(note("inner")))

    await store.submit(work)
    assert inner[0].done()
    assert notes(tmp_path) == ["inner"]
    assert committed(tmp_path, "SELECT key FROM node_state") == [("a",)]
    await store.close()


async def test_a_read_sees_nothing_of_a_transaction_that_is_not_done(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    written, go_on = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        write_state(connection, "bess", "merge", 3, {"a": b"not yet"})
        written.set()
        go_on.wait(30)
        raise LookupError("changed my mind")

    job = store.submit(work)
    await asyncio.to_thread(written.wait, 30)
    found: list[NodeState] = []
    reader = threading.Thread(target=lambda: found.append(store.load_state("bess", "merge")))
    reader.start()

    def at_its_lock() -> bool:
        frame = sys._current_frames().get(reader.ident or 0)
        return frame is not None and frame.f_code.co_name == "reading"

    await until(lambda: found or at_its_lock(), "the reader has come to the lock")
    assert not found
    go_on.set()
    with pytest.raises(LookupError):
        await job
    await asyncio.to_thread(reader.join)
    assert found == [NodeState(0, {})]
    await store.close()


def test_the_virtual_loop_uses_it_inline() -> None:
    async def main() -> tuple[int, NodeState, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = VirtualClock(loop)
        store = Store.open(None, inline=True)
        store.save_state("bess", "merge", 1, {"a": b"1"})
        job = store.submit(lambda c: int(c.execute("SELECT count(*) FROM node_state").fetchone()[0]))
        assert job.done(), "no thread, no waiting"
        await clock.sleep_until(10**18 + 10**15)
        state = store.load_state("bess", "merge")
        await store.close()
        return await job, state, threading.active_count()

    threads = threading.active_count()
    assert run_virtual(main(), start=10**18) == (1, NodeState(1, {"a": b"1"}), threads)


# ---- the end -----------------------------------------------------------------------------------------------


async def test_close_writes_what_waits_and_may_be_repeated(opener: Callable[[], Store], tmp_path: Path) -> None:
    store = opener()
    store.save_state("bess", "merge", 1, {"a": b"1"})
    store.add_dead_letter(letter(1))
    job = store.submit(note("last"))
    await asyncio.gather(store.close(), store.close())
    await store.close()
    assert await job == "last"
    assert notes(tmp_path / "data") == ["last"]
    assert committed(tmp_path / "data", "SELECT key FROM node_state UNION ALL SELECT reason FROM dead_letters") == [
        ("a",),
        ("letter 1",),
    ]
    for use in (
        lambda: store.save_state("bess", "merge", 1, {}),
        lambda: store.load_state("bess", "merge"),
        lambda: store.submit(note("late")),
        lambda: store.dead_letters(),
    ):
        with pytest.raises(RuntimeError, match="the store is closed"):
            use()
    await opener().close()  # the folder is free again


WRITE_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from flowrunner.store import Store

async def main():
    store = Store.open(Path(sys.argv[1]))
    await store.submit(lambda c: c.execute("CREATE TABLE ledger (number INTEGER, filler BLOB)") and None)
    for number in range(10**9):
        store.save_state("bess", "journal", 1, {"newest": b"%d" % number, "padding": bytes(number % 5000)})
        await store.submit(
            lambda c: c.execute("INSERT INTO ledger VALUES (?, zeroblob(?))", (number, number * 37 % 9000)) and None
        )
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("kill_after", [3, 100])
async def test_a_killed_process_loses_nothing_that_it_was_promised(tmp_path: Path, kill_after: int) -> None:
    with subprocess.Popen(  # noqa: ASYNC220  # the test has nothing else to do
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        promised = [int(child.stdout.readline()) for _ in range(kill_after)]
        child.send_signal(signal.SIGKILL)
        promised += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    assert child.returncode == -signal.SIGKILL

    store = Store.open(tmp_path)
    orders = await store.submit(lambda c: c.execute("SELECT number FROM ledger ORDER BY number").fetchall())
    found = [number for (number,) in orders]
    assert found[: len(promised)] == promised
    assert len(found) <= len(promised) + 1
    newest = int(store.load_state("bess", "journal").entries["newest"])
    assert promised[-1] <= newest <= promised[-1] + 1
    assert await store.submit(lambda c: c.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
    await store.close()


# ---- one engine per folder ---------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from flowrunner.store import Store

store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked) as caught:
            Store.open(tmp_path)
        child.kill()
    text = str(caught.value)
    assert f"data folder {tmp_path} is in use by another flowrunner (process {child.pid})" in text
    assert "--data DIR" in text
    assert (tmp_path / "flowrunner.lock").read_text() == f"{child.pid}\n", "the file of the dead stays, and is stale"
    asyncio.run(Store.open(tmp_path).close())


async def test_a_second_store_in_the_same_process_is_refused_too(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreLocked, match="in use by this very process"):
        Store.open(tmp_path / "data")


def test_a_lock_without_a_process_id_is_respected_as_well(tmp_path: Path) -> None:
    with (tmp_path / "flowrunner.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreLocked, match="in use by another flowrunner;"):
            Store.open(tmp_path)


# ---- the file ----------------------------------------------------------------------------------------------


async def test_folder_and_files_are_for_their_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store = Store.open(tmp_path / "new" / "data")
        await store.submit(note("x"))
    finally:
        os.umask(before)
    folder = tmp_path / "new" / "data"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}
    assert modes == dict.fromkeys(
        ["flowrunner.db", "flowrunner.db-wal", "flowrunner.db-shm", "flowrunner.lock"], "0o600"
    )
    await store.close()


async def test_every_commit_is_synced(store: Store) -> None:
    pragmas = await store.submit(
        lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    assert pragmas == ["wal", 2]  # 2 is FULL


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path / "flowrunner.db")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 3}")
    connection.close()
    with pytest.raises(UsageError) as caught:
        Store.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'flowrunner.db'} was written by a newer flowrunner (its version is {len(MIGRATIONS) + 3}, this "
        f"program knows {len(MIGRATIONS)}); update flowrunner, or give another folder with --data DIR"
    )
    connection = sqlite3.connect(tmp_path / "flowrunner.db")  # untouched, and free to be opened again
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.close()
    asyncio.run(Store.open(tmp_path).close())


def test_an_older_file_is_brought_forward_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "flowrunner.db"
    first = ("CREATE TABLE slots (name TEXT)", "INSERT INTO slots VALUES ('02:15')")
    second = ("ALTER TABLE slots ADD COLUMN side TEXT NOT NULL DEFAULT 'BUY'",)
    connect(path, [first]).close()
    connection = connect(path, [first, second])
    assert connection.execute("SELECT * FROM slots").fetchall() == [("02:15", "BUY")]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_step_that_fails_leaves_the_file_at_the_version_before(tmp_path: Path) -> None:
    path = tmp_path / "flowrunner.db"
    first, broken = ("CREATE TABLE slots (name TEXT)",), ("INSERT INTO slots VALUES ('x')", "CREATE NONSENSE")
    with pytest.raises(UsageError, match="syntax error"):
        connect(path, [first, broken])
    connection = connect(path, [first])
    assert connection.execute("SELECT * FROM slots").fetchall() == []
    connection.close()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "flowrunner.db").write_bytes(b"flows:\n  - nothing to see here\n" * 100)
    with pytest.raises(UsageError, match=r"flowrunner\.db: file is not a database; .* restore it from a backup"):
        Store.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        Store.open(tmp_path / "file" / "data")
    assert str(tmp_path / "file" / "data") in str(caught.value)
    assert os.strerror(errno.ENOTDIR) in str(caught.value)


# ---- a disk that is full -----------------------------------------------------------------------------------


def fill_up(connection: sqlite3.Connection) -> None:
    """From here on the file cannot grow: what a full disk does, and SQLite answers the same."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1000000")


BIG = bytes(100_000)


async def test_a_full_disk_is_said_once_and_nothing_is_lost(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await store.submit(note("before"))
    await store.submit(fill_up)
    store.save_state("bess", "merge", 1, {"big": BIG, "newest": b"1"})
    with pytest.raises(StoreFailed, match="database or disk is full"):
        await store.flush()
    with pytest.raises(StoreFailed, match=r"cannot write .*flowrunner\.db: database or disk is full"):
        await store.submit(lambda c: c.execute("INSERT INTO notes VALUES (?)", (BIG,)) and None)
    store.save_state("bess", "merge", 1, {"newest": b"2"})
    store.add_dead_letter(letter(1))
    with pytest.raises(StoreFailed):
        await store.flush()
    assert "free some space" in str(store.failed)
    assert store.load_state("bess", "merge") == NodeState(1, {"big": BIG, "newest": b"2"})
    assert notes(tmp_path / "data") == ["before"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]

    await store.submit(make_room)  # the first try together fails still; alone each gets its way
    await store.flush()
    assert store.failed is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert committed(tmp_path / "data", "SELECT value FROM node_state ORDER BY key") == [(BIG,), (b"2",)]
    assert committed(tmp_path / "data", "SELECT reason FROM dead_letters") == [("letter 1",)]


async def test_a_small_work_still_gets_its_way_beside_a_big_one(store: Store, tmp_path: Path) -> None:
    await store.submit(note("before"))
    await store.submit(fill_up)
    results = await asyncio.gather(
        store.submit(note("small")),
        store.submit(lambda c: c.execute("INSERT INTO notes VALUES (?)", (BIG,)) and None),
        store.submit(lambda c: c.execute("DELETE FROM notes WHERE text = 'before'").rowcount),
        return_exceptions=True,
    )
    assert results[0] == "small"
    assert isinstance(results[1], StoreFailed)
    assert results[2] == 1
    assert notes(tmp_path / "data") == ["small"]
    await store.submit(make_room)


async def test_what_comes_while_a_commit_fails_is_newer_than_what_failed(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    await store.submit(fill_up)
    writing, go_on = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        writing.set()
        go_on.wait(30)

    store.save_state("bess", "merge", 1, {"big": BIG, "newest": b"1"})
    job = store.submit(slow)
    await asyncio.to_thread(writing.wait, 30)
    store.save_state("bess", "merge", 2, {"newest": b"2"})
    go_on.set()
    await job
    assert store.load_state("bess", "merge") == NodeState(2, {"big": BIG, "newest": b"2"})
    await store.submit(make_room)
    await store.close()


async def test_what_is_just_tried_again_is_not_on_the_disk(tmp_path: Path) -> None:
    """Nothing waits in the queue then: it is in the hands of the writer, who may have to put it back."""
    store = Store.open(tmp_path)
    await store.submit(fill_up)
    reached, go_on, trying, end = (threading.Event() for _ in range(4))
    transactions = itertools.count(1)

    def last_of_the_first_try(sql: str) -> None:
        if sql.startswith("BEGIN") and next(transactions) == 3:  # all together, then the state alone, then the flush
            reached.set()
            go_on.wait(30)

    def last_of_the_second_try(_: sqlite3.Connection) -> None:
        trying.set()
        end.wait(30)

    await store.submit(lambda c: c.set_trace_callback(last_of_the_first_try))
    store.save_state("bess", "merge", 1, {"big": BIG})
    flushing = asyncio.ensure_future(store.flush())
    assert await asyncio.to_thread(reached.wait, 30)
    second = store.submit(last_of_the_second_try)
    go_on.set()
    assert trying.wait(30)  # the loop stands still: whoever waits hears of the first try during the second
    with pytest.raises(StoreFailed):
        await flushing
    end.set()
    await second
    await store.submit(make_room)
    await store.flush()
    await store.close()


async def test_what_waits_for_a_full_disk_is_bounded(store: Store) -> None:
    await store.submit(fill_up)
    store.save_state("bess", "merge", 1, {str(number): b"" for number in range(UNSAVED_LIMIT)})
    with pytest.raises(StoreFailed):
        await store.flush()
    with pytest.raises(StoreFailed, match=f"{UNSAVED_LIMIT} changes wait already, this one is refused"):
        store.save_state("bess", "merge", 1, {"one more": b""})
    await store.submit(make_room)
    await store.flush()
    assert len(store.load_state("bess", "merge").entries) == UNSAVED_LIMIT
    store.save_state("bess", "merge", 1, {"one more": b""})


async def test_close_on_a_full_disk_says_what_is_lost_and_lets_go(opener: Callable[[], Store]) -> None:
    store = opener()
    await store.submit(fill_up)
    store.save_state("bess", "merge", 1, {"big": BIG})
    with pytest.raises(StoreFailed, match=r"disk is full.* changes since the last commit are lost"):
        await store.close()
    await store.close()
    await opener().close()


async def test_a_file_that_somebody_holds_by_hand_is_written_later(store: Store, tmp_path: Path) -> None:
    begun: list[str] = []
    await store.submit(lambda c: c.execute("PRAGMA busy_timeout = 10") and None)
    await store.submit(lambda c: c.set_trace_callback(lambda sql: begun.append(sql) if "BEGIN" in sql else None))
    by_hand = sqlite3.connect(tmp_path / "data" / "flowrunner.db", isolation_level=None)
    by_hand.execute("BEGIN IMMEDIATE")
    store.save_state("bess", "merge", 1, {"a": b"1"})
    with pytest.raises(StoreFailed, match="database is locked"):
        await store.submit(note("order"))
    begun.clear()
    await asyncio.gather(*(store.submit(note("order")) for _ in range(3)), return_exceptions=True)
    assert len(begun) <= 3, "who waits for the file waits once, not for each of all that is queued"
    by_hand.execute("ROLLBACK")
    by_hand.close()
    await store.submit(note("order"))
    assert store.load_state("bess", "merge") == NodeState(1, {"a": b"1"})
    assert notes(tmp_path / "data") == ["order"]
    assert store.failed is None


# ---- dead letters ------------------------------------------------------------------------------------------


async def test_letters_come_newest_first_of_one_flow_or_of_all(store: Store) -> None:
    for number in range(6):
        store.add_dead_letter(letter(number, flow="bess" if number % 2 else "other"))
        if number == 3:
            await store.flush()
    for _ in range(2):
        assert [each.at for each in store.dead_letters()] == [5, 4, 3, 2, 1, 0]
        assert [each.at for each in store.dead_letters(Wanted(flow="bess"))] == [5, 3, 1]
        assert [each.at for each in store.dead_letters(Wanted(flow="bess", limit=2))] == [5, 3]
        assert store.dead_letters(Wanted(limit=1)) == [letter(5, id=6)]
        assert store.dead_letters(Wanted(flow="nobody")) == []
        await store.flush()


@pytest.mark.parametrize("inline", [True, False])
async def test_the_newest_ten_thousand_are_kept_and_the_others_counted(inline: bool) -> None:
    store = Store.open(None, inline=inline)
    for number in range(LETTERS_KEPT + 5):
        store.add_dead_letter(letter(number))
    assert len(store.dead_letters(Wanted())) == LETTERS_KEPT
    await store.flush()
    for number in range(3):
        store.add_dead_letter(letter(LETTERS_KEPT + 5 + number))
    for _ in range(2):
        kept = store.dead_letters(Wanted())
        assert (kept[0].at, kept[-1].at, len(kept)) == (LETTERS_KEPT + 7, 8, LETTERS_KEPT)
        await store.flush()
    assert store.dead_letters_dropped() == 8
    await store.close()


def test_letters_that_wait_are_bounded_and_counted_too() -> None:
    first, second = Unsaved(), Unsaved()
    for number in range(LETTERS_KEPT + 2):
        first.letters.append(letter(number))
    for number in range(3):
        second.letters.append(letter(LETTERS_KEPT + 2 + number))
    first.add(second)
    waiting = first.letters.over(Wanted(), connect(None))
    assert (waiting[0].at, waiting[-1].at, len(waiting)) == (LETTERS_KEPT + 4, 5, LETTERS_KEPT)
    assert first.letters.dropped == 5


async def test_a_letter_with_odd_texts_stops_nobody(store: Store) -> None:
    store.add_dead_letter(letter(10**30, reason="\ud800!"))
    store.add_dead_letter(letter(2))
    await store.flush()
    second, odd = store.dead_letters()
    assert second == letter(2, id=2)
    assert (odd.at, odd.reason) == (2**63 - 1, "?!")
