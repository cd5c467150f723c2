"""What a person decides at a terminal, with and without an engine on the folder."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import httpx2
import pytest

from flowrunner.cli import DECISIONS, main
from flowrunner.deciding import DECISIONS as KNOWN
from flowrunner.orders import INTERRUPTED, STEPS, STOP_FILE, Book, Journal, Order, State, Switch, SwitchStep
from flowrunner.store import FILE_NAME, Store, StoreFailed, reading, writing
from flowrunner.units import parse_instant
from tests.orders.example import filled
from tests.peers.program import GOOD, ROOT, Program, environment
from tests.peers.until import until_elsewhere

REDUCED, REJECTED, UNKNOWN = (f"epex_at-20250125T0{when}" for when in ("130Z-BUY", "145Z-SELL", "200Z-SELL"))
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
SAID = ("--reason", "storm", "--by", "risk desk")
LATER = parse_instant("2100-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def journal_of_before(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (filled(tmp_path_factory.mktemp("data")) / FILE_NAME).read_bytes()


@pytest.fixture
def data(tmp_path: Path, journal_of_before: bytes) -> Path:
    """The folder of an engine that is gone: `filled` tells what its journal holds."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(journal_of_before)
    return folder


def ask(*arguments: object, code: int = 0, capsys: pytest.CaptureFixture[str]) -> str:
    """What it said: on standard output where all went well, else on standard error."""
    assert main([str(one) for one in arguments]) == code
    out, err = capsys.readouterr()
    assert (err if code == 0 else out) == ""
    return (out if code == 0 else err).removeprefix("flowrunner: ").removesuffix("\n")


def steps(data: Path) -> list[SwitchStep]:
    with reading(data / FILE_NAME) as store:
        return Journal(store).switch_steps()[::-1]


def order(data: Path, name: str) -> tuple[Order, list[Any]]:
    with reading(data / FILE_NAME) as store:
        found = Journal(store).story(name)
    assert found is not None
    return found


def put(data: Path, name: str, **values: object) -> None:
    """Make the order look so."""
    with writing(data / FILE_NAME) as sql:
        for column, value in values.items():
            sql.execute(f"UPDATE orders SET {column} = ? WHERE id = ?", (value, name))  # noqa: S608  (a name of ours)


# ---- stop and resume -----------------------------------------------------------------------------------------------


def test_stop_and_resume(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = data / STOP_FILE
    said = ask("stop-trading", "--data", data, *SAID, capsys=capsys)
    found = re.fullmatch(rf"trading is stopped since ({TIME}) by risk desk: storm \({file}\)", said)
    assert found, said
    again = ask("stop-trading", "--data", data, "--by", "other", "--reason", "other", capsys=capsys)
    assert again == said.replace("stopped since", "stopped already since")
    goes = ask("resume-trading", "--data", data, "--by", "shift lead", "--reason", "over", capsys=capsys)
    words = said.removesuffix(f" ({file})")
    assert goes == f"trading goes on: {file} is removed; it said: {words}"
    assert not file.exists()
    kept = [(one.stopped, one.by, one.reason) for one in steps(data)]
    assert kept == [(True, "risk desk", "storm"), (False, "shift lead", "over")], "no engine has seen the stop"
    assert steps(data)[0].at == parse_instant(found[1])


def test_nothing_was_stopped(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writing(data / FILE_NAME) as sql:
        Book(sql).see(LATER)
    said = ask("resume-trading", "--data", data, "--reason", "the clock was wrong", capsys=capsys)
    assert said == f"trading was not stopped; there was no {data / STOP_FILE}"
    assert [(one.stopped, one.by, one.reason) for one in steps(data)] == [
        (False, getpass.getuser(), "the clock was wrong")
    ]
    with writing(data / FILE_NAME) as sql:
        assert Book(sql).latest() == 0


def test_without_a_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("stop-trading", "--data", tmp_path, capsys=capsys).endswith(f"({tmp_path / STOP_FILE})")
    assert str(Switch(tmp_path).stopped).endswith(f" by {getpass.getuser()}")
    assert ask("resume-trading", "--data", tmp_path, capsys=capsys).startswith("trading goes on")
    assert [*tmp_path.iterdir()] == []


def test_a_relative_folder_is_said_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ask("stop-trading", "--data", ".", capsys=capsys).endswith(f"({tmp_path / STOP_FILE})")


def test_a_name_and_a_reason_of_any_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = os.fsdecode(b"st\xf6rm\n") + "\x1b" + "m" * 1000
    ask("stop-trading", "--data", tmp_path, "--reason", bad, "--by", " ", capsys=capsys)
    found = Switch(tmp_path).stopped
    assert found is not None
    assert found.by == "somebody at the command line"
    assert (found.reason[:6], len(found.reason)) == ("st?rm ", 500)


@pytest.mark.parametrize("command", ["stop-trading", "resume-trading"])
def test_a_folder_that_is_not_there(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (tmp_path / "none", tmp_path / "none" / "deep"):
        said = ask(command, "--data", place, code=2, capsys=capsys)
        assert said.startswith(f"there is no folder {place}; name the data folder of the engine with --data DIR")
    assert [*tmp_path.iterdir()] == [], "a stop in a folder of nobody would stop nothing"


def test_folders_that_run_makes(
    tmp_path: Path, journal_of_before: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no data folder is here or in flows/" in ask("stop-trading", code=2, capsys=capsys)
    folders = [tmp_path / "flows" / ".flowrunner", tmp_path / ".flowrunner"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / FILE_NAME).write_bytes(journal_of_before)
    said = ask("stop-trading", capsys=capsys).splitlines()
    assert [line.rpartition(" (")[2] for line in said] == [f"{folder / STOP_FILE})" for folder in folders]
    for command in (["resume-trading"], ["orders", "resolve", UNKNOWN, "--as", "rejected"]):
        assert ask(*command, code=2, capsys=capsys) == (
            "there are flows/.flowrunner and .flowrunner; say with --data DIR which one is meant"
        )
    assert all(Switch(folder).stopped for folder in folders)


def test_a_stop_that_cannot_be_made_says_that_nothing_is_stopped(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / STOP_FILE).symlink_to(data / "away" / "nothing")  # root, too, cannot write there
    said = ask("stop-trading", "--data", data, code=1, capsys=capsys)
    assert said.startswith(
        f"trading is NOT stopped: {data / STOP_FILE} cannot be made (No such file or directory); stop the engine"
    )


def test_a_resume_that_cannot_be_done(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / STOP_FILE).mkdir()
    said = ask("resume-trading", "--data", data, code=1, capsys=capsys)
    assert "cannot be removed" in said
    assert "trading stays stopped; remove it by hand" in said
    assert [one.stopped for one in steps(data)] == [True, False, True], "the journal ends with how it is"


def test_a_resume_that_the_journal_cannot_keep_is_none(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask("stop-trading", "--data", data, capsys=capsys)
    with writing(data / FILE_NAME) as sql:
        sql.execute("PRAGMA user_version = 1")
    said = ask("resume-trading", "--data", data, code=2, capsys=capsys)
    assert said == f"{data / FILE_NAME} was written by an older flowrunner; run its flows once with this one"
    assert Switch(data).stopped is not None


AS_NOBODY = """
import os, sys
from flowrunner import cli, commands, deciding, trading
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
print([cli.main([command, "--data", sys.argv[1]]) for command in ("stop-trading", "resume-trading")])
"""


def test_what_this_user_cannot_look_at_is_not_taken_for_a_stop() -> None:
    """An engine takes it for one, because that is the safe side; for who wants to stop, it is not."""
    with TemporaryDirectory() as made:  # not in a folder of pytest's: who is nobody does not even see that
        folder = Path(made)
        folder.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, folder],
            env=environment(), cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        folder.chmod(0o700)
        assert [*folder.iterdir()] == []
    assert done.stdout == "[2, 2]\n"
    assert done.stderr == 2 * (
        f"flowrunner: {folder} cannot be used: Permission denied; nothing was done. Do it as the user that the engine"
        " runs as\n"
    )


# ---- resolve -------------------------------------------------------------------------------------------------------


def test_what_can_be_decided() -> None:
    assert KNOWN == DECISIONS
    assert set(DECISIONS) <= set(get_args(State))


@pytest.mark.parametrize("state", DECISIONS)
def test_an_unknown_order(data: Path, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    before, told = order(data, UNKNOWN)
    said = ask("orders", "resolve", UNKNOWN, "--as", state, "--data", data, *SAID, capsys=capsys)
    assert said.splitlines()[0] == f"{UNKNOWN} is {state}: risk desk decided: storm"
    assert ("--exchange-id" in said) == (state == "accepted")
    after, now_told = order(data, UNKNOWN)
    assert after.state == state
    assert after.reason == "risk desk decided: storm"
    assert after.filled_mwh == (1.0 if state == "filled" else 0.0)
    assert after.open_mwh == (1.0 if state == "accepted" else 0.0)
    assert after.updated_at > before.updated_at
    assert now_told[:-1] == told, "what was told before stays"
    assert now_told[-1]["detail"] == {"by": "risk desk", "reason": "storm"}
    with reading(data / FILE_NAME) as store:
        assert Journal(store).unsettled() == {}


def test_without_a_reason_and_with_the_exchanges_id(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["orders", "resolve", UNKNOWN, "--as", "accepted", "--exchange-id", "X-7", "--by", "me"]
    assert ask(*arguments, "--data", data, capsys=capsys) == f"{UNKNOWN} is accepted: me decided"
    after, told = order(data, UNKNOWN)
    assert after.exchange_id == "X-7"
    assert told[-1]["detail"] == {"by": "me", "reason": "", "exchange_id": "X-7"}
    arguments = ["orders", "resolve", REDUCED, "--as", "filled", "--exchange-id", "X-7"]
    said = ask(*arguments, "--data", data, code=2, capsys=capsys)
    assert said == "another order of epex_at has the exchange id 'X-7' already"
    assert order(data, REDUCED)[0].state == "accepted"


@pytest.mark.parametrize(
    ("known", "given", "mwh", "price"),
    [
        ({}, [], 0.5, None),
        ({}, ["--filled-mwh", "0.2"], 0.2, None),
        ({"filled_mwh": 0.2, "average_price_eur_mwh": -45.7}, [], 0.5, None),
        ({"filled_mwh": 0.2, "average_price_eur_mwh": -45.7}, ["--filled-mwh", "0.2"], 0.2, -45.7),
    ],
)
def test_how_much_was_filled(
    data: Path, known: dict[str, float], given: list[str], mwh: float, price: float | None,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if known:
        put(data, REDUCED, state="partly-filled", open_mwh=0.3, **known)
    ask("orders", "resolve", REDUCED, "--as", "filled", *given, "--data", data, capsys=capsys)
    after, _ = order(data, REDUCED)
    assert (after.filled_mwh, after.open_mwh, after.average_price_eur_mwh) == (mwh, 0.0, price)


@pytest.mark.parametrize("mwh", ["0", "-1", "0.1", "0.6", "nan", "inf"])
def test_what_cannot_have_been_filled(data: Path, mwh: str, capsys: pytest.CaptureFixture[str]) -> None:
    put(data, REDUCED, state="partly-filled", filled_mwh=0.2, open_mwh=0.3)
    arguments = ["orders", "resolve", REDUCED, "--as", "filled", f"--filled-mwh={mwh}", "--data", data]
    said = ask(*arguments, code=2, capsys=capsys)
    assert said == f"{mwh} MWh cannot be what was filled: 0.2 MWh are traded already, 0.5 MWh were ordered"
    assert order(data, REDUCED)[0].state == "partly-filled"


def test_a_quantity_belongs_to_a_fill(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["orders", "resolve", UNKNOWN, "--as", "unfilled", "--filled-mwh", "1", "--data", data]
    assert ask(*arguments, code=2, capsys=capsys) == "--filled-mwh belongs to --as filled"


@pytest.mark.parametrize("before", get_args(State))
@pytest.mark.parametrize("state", DECISIONS)
def test_what_an_order_cannot_become(
    data: Path, before: State, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the rules of the journal; what is being sent is unknown first."""
    put(data, UNKNOWN, state=before)
    told = order(data, UNKNOWN)
    ways = STEPS["unknown" if before == "sending" else before]
    arguments = ["orders", "resolve", UNKNOWN, "--as", state, "--data", data]
    if state in ways:
        ask(*arguments, capsys=capsys)
        assert order(data, UNKNOWN)[0].state == state
        return
    said = ask(*arguments, code=1, capsys=capsys)
    assert said.startswith(f"{UNKNOWN} is {before} and cannot become {state}: ")
    possible = [one for one in DECISIONS if one in ways]
    words = "it was not sent, and ends by itself when it may not be sent any more" if before == "intent" else ""
    assert said.endswith(words or (f"it can become {' or '.join(possible)}" if possible else "that is final"))
    assert order(data, UNKNOWN) == told


def test_an_order_that_is_not_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask("orders", "resolve", UNKNOWN.lower(), "--as", "filled", "--data", data, code=2, capsys=capsys)
    assert said == f"there is no order '{UNKNOWN.lower()}'; did you mean '{UNKNOWN}'?"
    said = ask("orders", "resolve", "x", "--as", "filled", "--data", data, code=2, capsys=capsys)
    assert said == "there is no order 'x'; `flowrunner orders` lists them"
    said = ask("orders", "resolve", "x", "--as", "filled", "--data", data / "none", code=2, capsys=capsys)
    assert said.startswith(f"there is no {data / 'none' / FILE_NAME}; name the data folder")


def test_a_time_of_the_flow_that_is_ahead_of_ours(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(data, UNKNOWN, updated_at=LATER)
    ask("orders", "resolve", UNKNOWN, "--as", "rejected", "--data", data, capsys=capsys)
    assert order(data, UNKNOWN)[0].updated_at == LATER


@pytest.mark.parametrize("before", ["unknown", "sending"])
def test_our_clock_says_nothing_of_the_flows(data: Path, before: State, capsys: pytest.CaptureFixture[str]) -> None:
    """The flow of this journal is simulated, and its clock is behind ours: its orders must not be too early then."""
    put(data, UNKNOWN, state=before)
    with reading(data / FILE_NAME) as store:
        seen = Journal(store).latest()
    assert 0 < seen < parse_instant("2025-01-26T00:00:00Z")
    ask("orders", "resolve", UNKNOWN, "--as", "rejected", "--data", data, capsys=capsys)
    with reading(data / FILE_NAME) as store:
        assert Journal(store).latest() == seen


def test_what_an_engine_left_in_the_middle_of_being_sent(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(data, UNKNOWN, state="sending")
    arguments = ["orders", "resolve", UNKNOWN, "--as", "accepted", "--data", data]
    with_engine = Store.open(data)  # this process holds the folder
    said = ask(*arguments, code=1, capsys=capsys)
    assert said == (f"{UNKNOWN} is being sent by the engine that works on {data}; that ends by itself, look again then")
    assert order(data, UNKNOWN)[0].state == "sending"
    assert with_engine.failed is None
    asyncio.run(with_engine.close())
    ask(*arguments, capsys=capsys)
    _, told = order(data, UNKNOWN)
    assert [(one["state"], one["reason"]) for one in told[-2:]] == [
        ("unknown", INTERRUPTED), ("accepted", f"{getpass.getuser()} decided"),
    ]  # fmt: skip


# ---- the file, from outside ----------------------------------------------------------------------------------------


def test_writing_undoes_what_fails(data: Path) -> None:
    def fails() -> None:
        with writing(data / FILE_NAME) as sql:
            Book(sql).resumed(1, "me", "")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert steps(data) == []


def test_somebody_who_holds_the_file(data: Path) -> None:
    holder = sqlite3.connect(data / FILE_NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    said = re.escape(f"cannot write {data / FILE_NAME}: database is locked; nothing was changed; check the disk")
    with pytest.raises(StoreFailed, match=said), writing(data / FILE_NAME, wait_s=0.05):
        pytest.fail("it is held")
    holder.close()
    with writing(data / FILE_NAME, wait_s=0.05) as sql:
        assert Book(sql).find(UNKNOWN) is not None


def test_what_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database, but a text of some length " * 100)
    with pytest.raises(StoreFailed, match="file is not a database"), writing(tmp_path / FILE_NAME):
        pytest.fail("it cannot be read")


ON_A_FULL_DISK = """
import json, resource, sys
from flowrunner.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
print(*[main(command) for command in json.loads(sys.argv[1])])
"""


def test_a_full_disk(data: Path) -> None:
    """The stop works; what has to be in the journal first does not, and changes nothing."""
    stop, resume, resolve = ["stop-trading", *SAID], ["resume-trading"], ["orders", "resolve", UNKNOWN, "--as"]
    commands = [[*one, "--data", str(data)] for one in (stop, resume, [*resolve, "rejected"])]
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, json.dumps(commands)],
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("trading is stopped since")
    assert done.stdout.splitlines()[1:] == ["0 1 1"]
    assert done.stderr.count(f"cannot write {data / FILE_NAME}: disk I/O error; nothing was changed") == 2
    assert Switch(data).stopped is not None
    assert order(data, UNKNOWN)[0].state == "unknown"


# ---- beside an engine ----------------------------------------------------------------------------------------------


@pytest.fixture
def running(data: Path, tmp_path: Path) -> Iterator[Program]:
    flow = tmp_path / "flow.yaml"
    flow.write_text(GOOD)
    with Program(flow, data=data) as program:
        yield program
        assert program.end() == 0
    assert not [line for line in program.lines if "ERROR" in line]


def test_beside_a_running_engine(running: Program, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The decisions come from another process, which is this one, and the engine knows them at once."""
    with httpx2.Client(base_url=f"{running.url}/api/v1", trust_env=False) as client:

        def trading() -> Any:
            return client.get("/trading").json()

        assert trading() == {"stopped": False, "since": None, "by": "", "reason": "", "held": [], "steps": []}
        said = ask("stop-trading", "--data", data, *SAID, capsys=capsys)
        told = trading()
        assert (told["stopped"], told["by"], told["reason"]) == (True, "risk desk", "storm")
        assert f"since {told['since']} by risk desk: storm" in said
        ask("orders", "resolve", UNKNOWN, "--as", "unfilled", "--data", data, *SAID, capsys=capsys)
        story = client.get(f"/orders/{UNKNOWN}").json()
        assert (story["order"]["state"], story["order"]["open_mwh"]) == ("unfilled", 0)
        assert story["steps"][-1]["detail"] == {"by": "risk desk", "reason": "storm"}
        ask("resume-trading", "--data", data, *SAID, capsys=capsys)
        told = trading()
        assert (told["stopped"], told["since"]) == (False, None)
        assert [(one["stopped"], one["by"]) for one in told["steps"]] == [(False, "risk desk"), (True, "risk desk")]
        assert {one["state"] for one in client.get("/orders").json()} == {"paper", "accepted", "rejected", "unfilled"}


MANY = """
import os, sys
from flowrunner import cli, commands, deciding, trading
data, name, *amounts = sys.argv[1:]
children = []
for mwh in amounts:
    children.append(os.fork())
    if not children[-1]:
        os._exit(cli.main(["orders", "resolve", name, "--as", "filled", "--filled-mwh", mwh, "--data", data]))
print(*[os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children])
"""


def test_many_decisions_at_once(running: Program, data: Path) -> None:
    """Four processes decide on one order while the API writes too: one of them has decided, and all is kept."""
    amounts = ["0.25", "0.5", "0.75", "1"]
    asked = subprocess.Popen(
        [sys.executable, "-c", MANY, data, UNKNOWN, *amounts],
        env=environment({"PYTHONUNBUFFERED": ""}), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    resumes = 0
    with httpx2.Client(base_url=f"{running.url}/api/v1", trust_env=False) as client:
        while asked.poll() is None:
            answer = client.post("/trading/resume", json={"reason": str(resumes)})
            assert answer.status_code in (200, 429)
            resumes += answer.status_code == 200
    out, err = asked.communicate()
    codes = out.splitlines()[-1].split()
    assert sorted(codes) == ["0", "1", "1", "1"], err
    assert err.count("that is final") == 3
    kept, told = order(data, UNKNOWN)
    assert kept.filled_mwh == float(amounts[codes.index("0")])
    assert [one["state"] for one in told][3:] == ["filled"]
    with reading(data / FILE_NAME) as store:
        assert len(Journal(store).switch_steps(10_000)) == resumes > 0


def test_a_stop_during_a_resume_holds(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second person's: the resume waits for the journal that somebody else writes, and must not end it."""
    ask("stop-trading", "--data", data, *SAID, capsys=capsys)
    codes: list[int] = []
    resuming = threading.Thread(target=lambda: codes.append(main(["resume-trading", "--data", str(data)])))
    holder = sqlite3.connect(data / FILE_NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    opened = files_open(data / FILE_NAME)
    resuming.start()
    until_elsewhere(lambda: files_open(data / FILE_NAME) > opened, "the resume is at the journal")
    Switch(data).stop(by="other", reason="fire", now=0)
    holder.rollback()
    resuming.join()
    holder.close()
    out, err = capsys.readouterr()
    assert (codes, out) == ([1], "")
    assert "somebody stopped it meanwhile: trading is stopped since" in err
    assert Switch(data).stopped is not None
    assert [one.stopped for one in steps(data)] == [True, False, True], "the journal ends with how it is"


def files_open(file: Path) -> int:
    """How often this process has it open."""
    count = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += one.readlink() == file
    return count


def test_it_is_still_stopped_after_the_program_was_killed(data: Path, tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(GOOD)
    with Program(tmp_path / "flow.yaml", data=data) as program:
        word = {"by": "risk desk", "reason": "storm"}
        told = httpx2.post(f"{program.url}/api/v1/trading/stop", json=word, trust_env=False).json()
        assert program.end(signal.SIGKILL) == -signal.SIGKILL
    with Program(tmp_path / "flow.yaml", data=data) as program:
        program.until(f"trading is stopped since {told['since']} by risk desk: storm")
        assert httpx2.get(f"{program.url}/api/v1/trading", trust_env=False).json() == told
        assert httpx2.get(f"{program.url}/health/ready", trust_env=False).status_code == 200, "a stop is no fault"
        assert program.end() == 0
    assert [(one.stopped, one.by) for one in steps(data)] == [(True, "risk desk")]
