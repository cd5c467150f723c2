"""A damaged state file: noticed before anything relies on it, kept aside, replaced only where no order hangs on it."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.errors import UsageError
from flowrunner.store import FILE_NAME, Store, StoreFailed, read_counter
from flowrunner.store.damaged import examine
from flowrunner.store.wal import FRAME, HEADER
from tests.faults.state_files import (
    PAGE,
    WAITING,
    closed,
    cut,
    file_of,
    left_behind,
    log_of,
    overwrite,
    pages_of,
    root_page,
)
from tests.peers.program import GOOD, Program, run

pytestmark = pytest.mark.anyio
JUNK = bytes(range(7, 255)) * 40
ORDERS_FLOW = """
flow: site
market: {name: AT, slot: 15min, gate_closure: 1min}
nodes:
  telemetry: {type: http-in, route: POST /telemetry, body: {soc_percent: {min: 0, max: 100}, price_eur_mwh: {}}}
  sell:
    type: rule
    from: telemetry
    when: soc_percent > 50
    then: {side: SELL, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard:
    type: risk-guard
    from: sell
    max_age: {telemetry: 1min}
    max_orders: {per_slot: 2, per_day: 10}
    price: {min: -500, max: 4000}
    max_quantity_mwh: 5
    max_value_eur: 1000
    max_position_mwh: 5
    energy: {capacity_mwh: 100}
  log: {type: log, from: guard}
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(folder.iterdir()) if one.suffix != ".lock"}


def kept(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if ".damaged-" in one.name and not one.name.endswith("-shm"))


# ---- noticing ----------------------------------------------------------------------------------------------


def test_sound_files_are_sound(tmp_path: Path) -> None:
    assert examine(tmp_path / FILE_NAME) == "", "there is none yet"
    assert examine(closed(tmp_path / "closed")) == ""
    killed = left_behind(tmp_path / "killed")
    before = contents(killed.parent)
    assert examine(killed) == ""
    assert {name: contents(killed.parent)[name] for name in before} == before, "looking changes nothing"


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (cut(lambda _: 0), "it is empty"),
    "header gone": (lambda file: overwrite(file, 0, bytes(100)), "file is not a database"),
    "garbage in the header": (lambda file: overwrite(file, 16, JUNK[:84]), "file is not a database"),
    "the list of tables": (lambda file: overwrite(file, 100, JUNK[:400]), "malformed"),
    "cut in the middle": (cut(lambda size: size // 2 // PAGE * PAGE), "malformed"),
    "the last page": (cut(lambda size: size - PAGE), "malformed"),
    "the last byte": (cut(lambda size: size - 1), "its end is cut off"),
    "a page of the state": (lambda file: overwrite(file, root_page(file, "node_state"), JUNK[:PAGE]), "malformed"),
    "a page of the orders": (lambda file: overwrite(file, root_page(file, "orders"), JUNK[:PAGE]), "malformed"),
    "an index of the orders": (
        lambda file: overwrite(file, root_page(file, "orders_by_time"), JUNK[:PAGE]),
        "malformed",
    ),
    "no version": (lambda file: overwrite(file, 60, bytes(4)), "its version is gone"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_to_the_file_is_noticed(tmp_path: Path, name: str) -> None:
    damage, words = DAMAGES[name]
    file = closed(tmp_path / "data", order=True)
    damage(file)
    assert words in examine(file)


def test_an_index_that_has_lost_an_order_is_noticed(tmp_path: Path) -> None:
    """It is what forbids the second order for one slot."""
    file = closed(tmp_path / "data", order=True)
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'orders' AND sql IS NULL "
            "AND name = 'sqlite_autoindex_orders_2'"
        ).fetchone()
    empty_leaf = b"\x0a\x00\x00\x00\x00\x10\x00\x00"
    overwrite(file, (page - 1) * PAGE, empty_leaf + bytes(PAGE - len(empty_leaf)))
    assert "missing from index" in examine(file)


def test_a_log_without_its_file_is_noticed(tmp_path: Path) -> None:
    """SQLite would begin a new file and delete the log."""
    file = left_behind(tmp_path / "data")
    cut(lambda _: 0)(file)
    assert "it is empty" in examine(file)
    file.unlink()
    with pytest.raises(UsageError, match="it is gone"):
        Store.open(file.parent)
    assert log_of(file).stat().st_size > PAGE


@pytest.mark.parametrize("at", [0, 9, HEADER + 2, HEADER + FRAME + 100, 20 * PAGE])
def test_a_log_that_is_overwritten_is_noticed(tmp_path: Path, at: int) -> None:
    """SQLite would go on, silently, without every commit behind that place."""
    file = left_behind(tmp_path / "data")
    overwrite(log_of(file), at, b"overwritten")
    assert "flowrunner.db-wal" in examine(file)


@given(share=st.floats(0, 1), torn=st.binary(min_size=1, max_size=200))
@settings(max_examples=40)
def test_what_a_power_cut_leaves_is_no_damage(share: float, torn: bytes) -> None:
    """A log that ends anywhere, and a last commit that was not promised yet and is torn."""
    with tempfile.TemporaryDirectory() as folder:
        file = left_behind(Path(folder) / "data")
        log = log_of(file)
        size = log.stat().st_size
        overwrite(log, size - FRAME - int(share * (PAGE - len(torn))) - len(torn), torn)
        assert examine(file) == ""
        cut(lambda all_of_it: int(all_of_it * share))(log)
        assert examine(file) == ""


@given(where=st.sampled_from(["file", "log"]), share=st.floats(0, 0.999), junk=st.binary(min_size=1, max_size=3 * PAGE))
@settings(max_examples=60)
def test_whatever_is_overwritten_it_works_on_or_says_why_not(where: str, share: float, junk: bytes) -> None:
    """And where orders were written down no new file is ever begun."""
    with tempfile.TemporaryDirectory() as folder:
        for order in (False, True):
            file = left_behind(Path(folder) / f"data{order}", order=order)
            damaged = file if where == "file" else log_of(file)
            overwrite(damaged, int(share * damaged.stat().st_size), junk)
            try:
                store = Store.open(file.parent, inline=True, may_start_fresh=not order)
            except UsageError:
                assert kept(file.parent) == []
                continue
            assert not (order and store.begun_anew)
            try:
                store.save_state("bess", "new", 1, {"a": b"1"})
                assert store.load_state("bess", "new").entries == {"a": b"1"}
            except StoreFailed:
                assert order, "without orders it heals itself"
            store._writer.connection.close()
            assert store._lock is not None
            store._lock.release()


# ---- refused where orders hang on it -------------------------------------------------------------------------


def test_where_orders_are_written_down_nothing_is_begun_and_nothing_changed(tmp_path: Path) -> None:
    file = left_behind(tmp_path / "data", order=True)
    overwrite(log_of(file), 20 * PAGE, JUNK)
    before = contents(file.parent)
    with pytest.raises(UsageError) as caught:
        Store.open(file.parent)
    said = str(caught.value)
    for words in (str(file), "commits in flowrunner.db-wal cannot be read", "restore it from a backup", ".recover",
                  "flowrunner.db*", "flowrunner resume-trading"):  # fmt: skip
        assert words in said
    assert {name: contents(file.parent)[name] for name in before} == before
    assert kept(file.parent) == []


def test_a_file_that_demonstrably_holds_orders_is_never_replaced(tmp_path: Path) -> None:
    """Even if the flows to be run make none."""
    file = closed(tmp_path / "data", order=True)
    overwrite(file, root_page(file, "history"), JUNK[:PAGE])
    with pytest.raises(UsageError, match="there are orders in it"):
        Store.open(file.parent, may_start_fresh=True)
    assert kept(file.parent) == []


def went_live(file: Path) -> None:
    """Orders that count were begun with this journal."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO counters VALUES ('journal_live_since_ns', 5)")


def test_where_orders_were_begun_and_none_can_be_read_it_is_never_replaced(tmp_path: Path) -> None:
    file = closed(tmp_path / "data", order=True)
    went_live(file)
    overwrite(file, root_page(file, "orders"), JUNK[:PAGE])
    with pytest.raises(UsageError, match="there are orders in it"):
        Store.open(file.parent, may_start_fresh=True)
    assert kept(file.parent) == []


async def test_a_journal_that_is_begun_anew_has_never_been_live(tmp_path: Path) -> None:
    """Else the next live run would not begin stopped."""
    file = closed(tmp_path / "data")
    went_live(file)
    overwrite(file, root_page(file, "history"), JUNK[:PAGE])
    store = Store.open(file.parent, may_start_fresh=True)
    assert store.read(lambda sql: read_counter(sql, "journal_live_since_ns")) == 0
    await store.close()


# ---- begun anew where that is safe -----------------------------------------------------------------------------


async def test_it_is_kept_aside_whole_and_said_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = left_behind(tmp_path / "data")
    cut(lambda _: 0)(file)
    before = contents(file.parent)
    store = Store.open(file.parent, may_start_fresh=True)
    aside, log = kept(file.parent)
    assert (file.parent / aside).read_bytes() == before[FILE_NAME]
    assert (file.parent / log).read_bytes() == before[f"{FILE_NAME}-wal"]
    assert log == f"{aside}-wal", "sqlite3 finds it by its name"
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == store.begun_anew
    assert aside in store.begun_anew
    store.save_state("bess", "merge", 1, {"a": b"1"})
    await store.close()
    again = Store.open(file.parent)
    assert (again.load_state("bess", "merge").entries, again.begun_anew) == ({"a": b"1"}, "")
    await again.close()


async def test_what_is_sound_goes_on(tmp_path: Path) -> None:
    file = closed(tmp_path / "data")
    history = list(pages_of(file, "history"))
    overwrite(file, history[len(history) // 2], JUNK[:PAGE])
    store = Store.open(file.parent, may_start_fresh=True)
    assert "node_state (60)" in store.begun_anew
    assert len(store.load_state("bess", "merge").entries) == 60
    assert store.waiting("bess", "store") == WAITING, "messages that somebody was promised"
    (rows,) = store.read(lambda sql: sql.execute("SELECT count(*) FROM history").fetchone())
    assert 300 < rows < 400, "all that can be read from both ends"
    await store.close()


async def test_half_a_state_is_none(tmp_path: Path) -> None:
    file = closed(tmp_path / "data")
    state = list(pages_of(file, "node_state"))
    assert len(state) > 3
    overwrite(file, state[-1], JUNK[:PAGE])
    store = Store.open(file.parent, may_start_fresh=True)
    assert store.load_state("bess", "merge").entries == {}
    assert store.waiting("bess", "store") == WAITING
    await store.close()


async def test_two_in_one_second_are_both_kept(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / FILE_NAME).write_bytes(JUNK)
        await Store.open(tmp_path, may_start_fresh=True).close()
    assert len([one for one in kept(tmp_path) if not one.endswith("-wal")]) == 2


# ---- no damage, and not to be used -----------------------------------------------------------------------------


@pytest.mark.parametrize("may_start_fresh", [True, False])
def test_a_folder_in_its_place_is_named(tmp_path: Path, may_start_fresh: bool) -> None:
    """As container engines make one where a file that is to be mounted is not there."""
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(UsageError, match="Is a directory"):
        Store.open(tmp_path, may_start_fresh=may_start_fresh)
    assert kept(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("may_start_fresh", [True, False])
def test_a_file_of_somebody_else_is_no_damage(may_start_fresh: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        file = closed(Path(place) / "data")
        file.parent.chmod(0o777)
        file.chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(UsageError, match="Permission denied"):
                Store.open(file.parent, may_start_fresh=may_start_fresh)
        finally:
            os.seteuid(0)
        assert kept(file.parent) == []


def test_a_full_disk_leaves_no_empty_file_behind(tmp_path: Path) -> None:
    """Else the next start would take it for a damaged one."""
    (tmp_path / f"{FILE_NAME}.new").mkdir()  # so that it cannot be written
    with pytest.raises(UsageError):
        Store.open(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    (tmp_path / f"{FILE_NAME}.new").rmdir()
    Store.open(tmp_path, inline=True)
    assert examine(tmp_path / FILE_NAME) == ""


# ---- while it runs -----------------------------------------------------------------------------------------------


def ruin(store: Store) -> None:
    """The file is overwritten while it is in use, and SQLite has nothing of it in memory."""
    file = file_of(store.folder)
    store.read(lambda sql: sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())
    for table in ("node_state", "node_version"):
        overwrite(file, root_page(file, table), JUNK[:PAGE])
    store.read(lambda sql: sql.execute("PRAGMA shrink_memory"))


async def test_damage_while_it_runs_begins_a_new_file_and_loses_nothing_that_waited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = closed(tmp_path / "data")
    store = Store.open(file.parent, may_start_fresh=True)
    ruin(store)
    store.save_state("bess", "merge", 1, {"after": b"1"})
    await store.flush()
    assert store.failed is None
    assert store.begun_anew in caplog.text
    assert len(kept(file.parent)) >= 1
    assert store.load_state("bess", "merge").entries == {"after": b"1"}
    assert store.waiting("bess", "store") == WAITING
    await store.close()
    again = Store.open(file.parent)
    assert again.load_state("bess", "merge").entries == {"after": b"1"}
    await again.close()


async def test_damage_while_it_runs_where_orders_are_fails_every_promise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = closed(tmp_path / "data", order=True)
    store = Store.open(file.parent)
    ruin(store)
    store.save_state("bess", "merge", 1, {"after": b"1"})
    with pytest.raises(StoreFailed, match=r"malformed; start flowrunner again: it then says what can be done"):
        await store.flush()
    assert "flowrunner resume-trading" in caplog.text
    assert caplog.text.count("it is damaged, and orders are written down in it") == 1
    assert kept(file.parent) == []
    with pytest.raises(StoreFailed):
        await store.close()


# ---- the program -------------------------------------------------------------------------------------------------


def test_the_program_goes_on_with_telemetry_and_tells(tmp_path: Path) -> None:
    flow, data = tmp_path / "good.yaml", tmp_path / "data"
    flow.write_text(GOOD)
    file = closed(data)
    overwrite(file, 0, JUNK[:PAGE])
    with Program(flow, data=data) as program:
        assert httpx2.get(f"{program.url}/health/ready").status_code == 200
        (problem,) = [
            one for one in httpx2.get(f"{program.url}/api/v1/problems").json() if one["code"] == "state-damaged"
        ]
        assert kept(data)[0] in problem["message"]
        assert program.end() == 0
    assert any("is damaged" in line for line in program.lines)


def test_the_program_does_not_start_where_orders_hang_on_it(tmp_path: Path) -> None:
    flow, data = tmp_path / "site.yaml", tmp_path / "data"
    flow.write_text(ORDERS_FLOW)
    file = closed(data)
    overwrite(file, 0, JUNK[:PAGE])
    ended = run("run", flow, "--data", data, "--port", "0")
    assert ended.returncode == 2
    assert "flowrunner resume-trading" in ended.stderr
    assert kept(data) == []
    for one in data.glob(f"{FILE_NAME}*"):
        one.unlink()  # as it says
    with Program(flow, data=data) as program:
        assert program.end() == 0
