"""``flowrunner dead-letters``: what a person at a terminal reads and does, with an engine and without.

The texts are in ``tests/letters``; after a change that is meant, ``python -m tests.test_letters_command`` writes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flowrunner.cli import main
from flowrunner.lettering import TABLE, replay
from flowrunner.message import FieldInfo
from flowrunner.runtime.letters import LETTER_CAP
from flowrunner.sheet import FORMULA, guarded
from flowrunner.store import FILE_NAME, DeadLetter, FolderLock, Store, Wanted, reading, writing
from flowrunner.store.letters import OBSTACLES, asked_letters, find_letters, mark_letters, write_letters
from flowrunner.testing import Rig, run_flow
from tests.peers.program import Program, run
from tests.peers.until import until_elsewhere

TOLD = Path(__file__).with_name("letters") / "told"
ASKED = {
    "all": ["dead-letters"],
    "two": ["dead-letters", "--limit", "2"],
    "of-a-node": ["dead-letters", "--node", "plant/check", "--code", "expression"],
    "of-nothing": ["dead-letters", "--flow", "other"],
    "since": ["dead-letters", "--since", "2025-01-26"],
    "table": ["dead-letters", "--format", "csv"],
    "table-of-one": ["dead-letters", "--format", "csv", "--limit", "1"],
    "show-record": ["dead-letters", "show", "3"],
    "show-at-most-once": ["dead-letters", "show", "7"],
    "show-cut": ["dead-letters", "show", "4"],
    "show-strange": ["dead-letters", "show", "6"],
    "show-asked": ["dead-letters", "show", "2"],
    "show-refused": ["dead-letters", "show", "9"],
    "show-back": ["dead-letters", "show", "8"],
    "show-json": ["dead-letters", "show", "2", "--format", "json"],
}
DONE = {
    "replay-one": ["dead-letters", "replay", "3"],
    "replay-two-and-one-that-cannot": ["dead-letters", "replay", "3", "4", "5"],
    "replay-all": ["dead-letters", "replay", "--all"],
    "replay-all-of-a-node": ["dead-letters", "replay", "--all", "--node", "check", "--since", "2025-01-25"],
    "replay-nothing": ["dead-letters", "replay", "--all", "--flow", "other"],
    "drop-one": ["dead-letters", "drop", "3", "--yes"],
    "drop-some": ["dead-letters", "drop", "3", "4", "--yes"],
    "drop-all": ["dead-letters", "drop", "--all", "--yes"],
    "drop-nothing": ["dead-letters", "drop", "--all", "--flow", "other", "--yes"],
}
"""What changes something; each on a folder of its own, where no engine runs."""
HOW = "if it is meant, run: python -m tests.test_letters_command"
FLOW = """
flow: plant
nodes:
  values: {type: http-in, route: POST /values}
  check: {type: filter, from: values, when: soc_percent < 30}
  lines: {type: log, from: check}
  answer: {type: http-response, from: check}
  level: {type: scale, from: values, fields: {level_m: {factor: 0.001, min: 0, max: 5}}}
"""


def filled(folder: Path) -> Path:
    """The data folder of an engine that is gone, with letters of all kinds."""

    async def story(rig: Rig) -> None:
        info = FieldInfo(at=rig.now, received_at=rig.now, source="values", unit="MW", quality="bad")
        await rig.emit("values", {"soc": 20})
        await rig.engine.replay_letters([1])
        await rig.advance("1min")
        await rig.emit("values", {"power_mw": 2.5}, key="north", fields={"soc_percent": info}, meta={"topic": "a/b"})
        await rig.emit("values", "x" * (LETTER_CAP + 5))
        await rig.advance("1h")
        await rig.emit("values", {"\x1b[2J\u202e": "=1+1\r\n"})
        await rig.emit("values", {"soc_percent": 10, "level_m": 1})
        await rig.emit("values", {"soc_percent": None, "level_m": 0})
        await rig.engine.store.flush()

    store = Store.open(folder, inline=True)
    run_flow(FLOW, story, stubs=["values"], store=store)
    asyncio.run(store.close())
    with writing(folder / FILE_NAME) as sql:
        (*_, last) = find_letters(sql, Wanted())
        wordy = "the level is " + "far " * 30 + "too high"
        strange = DeadLetter(
            at=last.at + 86_400 * 10**9, flow="plant", node="level", code="=code", reason=wordy, attempts=3,
            message=b'{"odd": 1}', wire="values.out", answer="there is no node 'level' in plant any more",
        )  # fmt: skip
        write_letters(sql, [strange], 12)
        mark_letters(sql, {2: ""}, "asked")
        mark_letters(sql, {8: ""}, "back")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("data"))


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A folder to change."""
    shutil.copytree(data, tmp_path / "own")
    return tmp_path / "own"


def ask(data: Path, *arguments: str) -> str:
    """What it prints, and its exit code where that is not 0."""
    out, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(wrong):
        try:
            code = main([*arguments, "--data", str(data)])
        except SystemExit as end:
            code = int(end.code or 0)
    return out.getvalue() + wrong.getvalue() + (f"---- exit code {code}\n" if code else "")


def told(name: str) -> str:
    """As it stands there: the lines of a table end as RFC 4180 has them."""
    return (TOLD / f"{name}.txt").read_bytes().decode()


def left(folder: Path, standing: str | None = None) -> list[int]:
    """Letters in the file, oldest first."""
    with reading(folder / FILE_NAME) as store:
        letters = store.read(lambda sql: find_letters(sql, Wanted()))[::-1]
    return [one.id for one in letters if standing in (None, one.standing)]


@pytest.mark.parametrize("name", ASKED)
def test_what_it_prints(data: Path, name: str) -> None:
    assert ask(data, *ASKED[name]) == told(name), HOW


@pytest.mark.parametrize("name", DONE)
def test_what_it_does(own: Path, name: str) -> None:
    assert ask(own, *DONE[name]) == told(name), HOW


def test_there_is_a_text_for_each() -> None:
    assert {one.stem for one in TOLD.iterdir()} == {*ASKED, *DONE}


def test_nothing_that_a_terminal_obeys_is_printed(data: Path) -> None:
    for text in (ask(data, "dead-letters"), ask(data, "dead-letters", "show", "6")):
        assert all(char.isprintable() or char == "\n" for char in text)


def test_a_table_is_what_the_api_shows(data: Path) -> None:
    rows = [*csv.DictReader(io.StringIO(ask(data, "dead-letters", "--format", "csv"), newline=""))]
    letters = json.loads(ask(data, "dead-letters", "--format", "json"))
    assert len(rows) == len(letters) == 8
    assert tuple(rows[0]) == TABLE
    for row, letter in zip(rows, letters[::-1], strict=True):
        for name in TABLE:
            text = "" if letter[name] is None else str(letter[name])
            assert row[name] == guarded(text)
            assert not row[name].startswith(FORMULA)


def test_replayed_without_an_engine_they_wait_for_the_next_start(own: Path) -> None:
    ask(own, "dead-letters", "replay", "3")
    assert left(own, "asked") == [2, 3]
    ask(own, "dead-letters", "replay", "--all", "--node", "check")
    assert left(own, "asked") == [2, 3, 6]


def test_dropped_they_are_gone(own: Path) -> None:
    ask(own, "dead-letters", "drop", "3", "4", "--yes")
    assert left(own) == [2, 5, 6, 7, 8, 9]
    ask(own, "dead-letters", "drop", "--all", "--node", "plant/level", "--yes")
    assert left(own) == [2, 6, 7, 8]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "77"], "there is no dead letter 77; `flowrunner dead-letters` lists them"),
        (["replay", "3", "77"], "there is no dead letter 77"),
        (["drop", "77", "3", "--yes"], "there is no dead letter 77"),
        (["drop", "3"], "this forgets 1 dead letter for good; add --yes if that is meant"),
        (["drop", "--all"], "this forgets 8 dead letters for good; add --yes"),
        (["replay"], "name dead letters by their numbers, or say --all"),
        (["replay", "3", "--all"], "name dead letters by their numbers, or say --all"),
        (["replay", "3", "--node", "check"], "--flow, --node, --code and --since belong to --all"),
        (["replay", "--all", "--flow", "a", "--node", "b/c"], "--flow a and --node b/c contradict each other"),
        (["show", "x"], "'x' is not the number of a dead letter"),
        (["replay", "0"], "'0' is not the number of a dead letter"),
        (["show", "9" * 40], "is not the number of a dead letter"),
        (["--since", "yesterday"], "'yesterday' is not a day, like 2025-01-25"),
    ],
)
def test_what_it_refuses(own: Path, arguments: list[str], said: str) -> None:
    before = left(own, "kept")
    text = ask(own, "dead-letters", *arguments)
    assert said in text
    assert text.endswith("---- exit code 2\n")
    assert left(own, "kept") == before


def test_no_data_folder(tmp_path: Path) -> None:
    for command in (["dead-letters"], ["dead-letters", "replay", "--all"], ["dead-letters", "drop", "--all"]):
        assert "name the data folder of the engine with --data DIR" in ask(tmp_path / "none", *command)
    assert [*tmp_path.iterdir()] == [], "asking makes nothing"


# ---- beside an engine that runs ---------------------------------------------------------------------------------

RUNNING = """
flow: plant
nodes:
  values: {type: http-in, route: POST /values}
  check: {type: filter, from: values, when: soc_percent < 30}
  levels: {type: log, from: [values, check]}
"""


@pytest.fixture
def engine(own: Path) -> Iterator[Program]:
    file = own.parent / "plant.yaml"
    file.write_text(RUNNING, "utf-8")
    with Program(file, data=own) as program:
        yield program


def attempts(folder: Path) -> dict[str, int]:
    """Lineage of the letters of ``check`` → how often it rejected them; of those that lie there."""
    found = json.loads(ask(folder, "dead-letters", "--node", "check", "--format", "json"))
    return {one["lineage"]: one["attempts"] for one in found if one["standing"] == "kept"}


def test_an_engine_that_runs_puts_them_back_and_says_which_it_cannot(own: Path, engine: Program) -> None:
    """Letter 2 was asked for before, and 8 was on its way when the last run ended: they are rejected again at once."""
    engine.until("2 dead letters are put back")
    said = run("dead-letters", "replay", "3", "7", "9", "--data", own)
    assert said.returncode == 1, said.stderr
    assert said.stdout.splitlines() == [
        f"dead letter 7 of plant/answer is not put back: {OBSTACLES['at-most-once']}",
        "dead letter 9 of plant/level is not put back: there is no node 'level' in plant any more; "
        "did you mean 'levels'?",
        "dead letter 3 is back in the inbox of plant/check",
    ]
    again = {"values@test:1": 3, "values@test:2": 2, "values@test:6": 2}
    until_elsewhere(lambda: again.items() <= attempts(own).items(), "they are rejected again")
    assert ask(own, "dead-letters", "show", "9").endswith("did you mean 'levels'?\n`flowrunner "
                                                          "dead-letters replay 9` asks for it again\n")  # fmt: skip


class Slowly(threading.Thread):
    """An engine that takes one letter of those that are asked for every ``pause_s``, ``most`` of them."""

    def __init__(self, folder: Path, pause_s: float, most: int = 99) -> None:
        super().__init__()
        self.folder, self.pause_s, self.most = folder, pause_s, most
        self.ended = threading.Event()

    def run(self) -> None:
        taken = 0
        while taken < self.most and not self.ended.wait(self.pause_s):
            with writing(self.folder / FILE_NAME) as sql:
                for one in asked_letters(sql)[:1]:
                    mark_letters(sql, {one: "not this one" if one == 6 else ""}, "kept" if one == 6 else "back")
                    taken += 1

    def __enter__(self) -> Slowly:
        self._lock = FolderLock.acquire(self.folder)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()
        self._lock.release()


def test_an_engine_that_works_on_it_is_waited_for(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However many there are: only while nothing moves does the time run out."""
    with Slowly(own, 0.5):
        began = time.monotonic()
        assert not replay(own, [], Wanted(node="check"), patience_s=1.2)  # not all of them are
        assert time.monotonic() - began > 1.2
    assert capsys.readouterr().out.splitlines() == [
        "dead letter 4 of plant/check is not put back: its message could not be kept whole (too large, or no JSON)",
        "dead letter 6 of plant/check is not put back: not this one",
        "3 dead letters are back in the inbox of plant/check",
    ]


def test_an_engine_that_does_no_more_is_not_waited_for(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Slowly(own, 0.05, most=1):
        assert not replay(own, [], Wanted(node="check"), patience_s=0.3)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "2 dead letters are back in the inbox of plant/check",
        "2 dead letters wait for the engine, which has not answered; `flowrunner dead-letters` tells",
    ]


def test_dropped_beside_an_engine_they_are_gone_for_it_too(own: Path, engine: Program) -> None:
    said = run("dead-letters", "drop", "--all", "--yes", "--data", own)
    assert said.returncode == 0, said.stderr
    assert run("dead-letters", "--data", own).stdout.splitlines()[0] == "no dead letters"


if __name__ == "__main__":
    with TemporaryDirectory() as first:
        begin = filled(Path(first) / "data")
        for name, arguments in ASKED.items():
            (TOLD / f"{name}.txt").write_bytes(ask(begin, *arguments).encode())
        for name, arguments in DONE.items():
            shutil.copytree(begin, Path(first) / name)
            (TOLD / f"{name}.txt").write_bytes(ask(Path(first) / name, *arguments).encode())
