"""``flowrunner users`` and ``flowrunner keys``: what a person at a terminal reads and does, with an engine and without.

The texts are in ``tests/people/told``; after a change that is meant, ``python -m tests.test_people_commands`` writes
them.
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest

from flowrunner.admitting import KEY_PREFIX
from flowrunner.cli import main
from flowrunner.store import FILE_NAME, Audit, reading, writing
from flowrunner.store.people import Kept, add_key, add_user, read_people
from flowrunner.store.tables import connect
from flowrunner.units import parse_instant
from flowrunner.web.people import passwords
from flowrunner.web.people.person import digest
from tests.peers.program import GOOD, ROOT, Program, environment, run
from tests.peers.until import until_elsewhere

TOLD = Path(__file__).with_name("people") / "told"
HOW = "if it is meant, run: python -m tests.test_people_commands"
WORDS = "correct horse battery staple"
ASKED = {
    "users": ["users"],
    "users-json": ["users", "list", "--format", "json"],
    "keys": ["keys"],
    "keys-json": ["keys", "list", "--format", "json"],
}
DONE = {
    "users-add": ["users", "add", "Dora", "--role", "operator", "--password-file", "password"],
    "users-add-known": ["users", "add", "anna", "--role", "viewer", "--password-file", "password"],
    "users-add-no-name": ["users", "add", "-x", "--role", "viewer"],
    "users-add-strange-name": ["users", "add", "a b", "--role", "viewer", "--password-file", "password"],
    "users-add-weak": ["users", "add", "dora", "--role", "viewer", "--password-file", "weak"],
    "users-add-nobody-to-ask": ["users", "add", "dora", "--role", "viewer"],
    "users-add-no-file": ["users", "add", "dora", "--role", "viewer", "--password-file", "nowhere"],
    "users-remove": ["users", "remove", "anna"],
    "users-remove-unknown": ["users", "remove", "ana"],
    "users-role": ["users", "role", "bert", "editor"],
    "users-role-same": ["users", "role", "bert", "viewer"],
    "users-role-unknown": ["users", "role", "carl", "viewer"],
    "users-password": ["users", "password", "anna", "--password-file", "password"],
    "users-password-unknown": ["users", "password", "carl", "--password-file", "password"],
    "keys-remove": ["keys", "remove", "grafana"],
    "keys-remove-unknown": ["keys", "remove", "graphana"],
    "keys-add-known": ["keys", "add", "grafana", "--role", "viewer"],
}
"""What changes something; each on a folder of its own, where no engine runs."""
DAY = parse_instant("2025-01-25T08:15:00Z")


def filled(folder: Path) -> Path:
    """A data folder with two users and two keys, and files with passwords beside it."""
    data = folder / "data"
    data.mkdir()
    connect(data / FILE_NAME).close()
    with writing(data / FILE_NAME) as sql:
        add_user(sql, "anna", "operator", "a hash", DAY)
        add_user(sql, "bert", "viewer", "a hash", DAY)
        add_key(sql, "grafana", "viewer", digest("x"), DAY)
        add_key(sql, "scada", "operator", digest("y"), DAY)
        sql.execute("UPDATE users SET last_at = ? WHERE name = 'anna'", (DAY + 3_600_000_000_000,))
        sql.execute("UPDATE keys SET used_at = ? WHERE name = 'scada'", (DAY + 60_000_000_000,))
        sql.execute("INSERT INTO sessions VALUES (x'00', 'anna', ?, ?)", (DAY, DAY))
    (folder / "password").write_text(f"{WORDS}\r\nand more\n")
    (folder / "weak").write_text("sesame\n")
    return data


def said(arguments: list[str], folder: Path) -> str:
    """Standard output, then standard error, then the exit code where it is not 0."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([*arguments, "--data", "data"])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return out.getvalue() + err.getvalue() + (f"exit code {code}\n" if code else "")


def kept(data: Path) -> Kept:
    with reading(data / FILE_NAME) as store:
        return store.read(read_people)


@pytest.mark.parametrize("name", [*ASKED, *DONE])
def test_what_a_person_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # nobody can be asked
    filled(tmp_path)
    told = said((ASKED | DONE)[name], tmp_path)
    assert told == (TOLD / f"{name}.txt").read_text("utf-8"), HOW


def test_there_is_a_text_for_each_and_no_other() -> None:
    assert {file.stem for file in TOLD.iterdir()} == {*ASKED, *DONE}


# ---- what is done --------------------------------------------------------------------------------------------------


def test_a_user_is_added_with_the_first_line_of_a_file(tmp_path: Path) -> None:
    data = filled(tmp_path)
    said(DONE["users-add"], tmp_path)
    user = kept(data).users["dora"]
    assert user.role == "operator"
    assert passwords.fits(WORDS, user.password)
    assert not passwords.fits(f"{WORDS}\r", user.password)


def test_before_the_first_start_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(WORDS)
    told = said(["users", "add", "anna", "--role", "editor", "--password-file", "password"], tmp_path)
    assert told.endswith("(data folder data, which is new)\n")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    told = said(["keys", "add", "x", "--role", "viewer"], tmp_path)
    assert told == "flowrunner: data cannot be used: File exists; nothing was done\nexit code 2\n"


def test_a_key_is_printed_once_and_kept_as_a_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = filled(tmp_path)
    assert main(["keys", "add", "plc", "--role", "operator", "--data", str(data)]) == 0
    out, err = capsys.readouterr()
    key = out.rstrip("\n")
    assert key.startswith(KEY_PREFIX)
    assert len(key) > 50
    assert kept(data).keys["plc"].digest == digest(key)
    assert key not in err
    assert "that is the key plc, an operator" in err
    assert all(key.encode() not in file.read_bytes() for file in data.iterdir())


@pytest.mark.parametrize(
    ("arguments", "ended"),
    [(DONE["users-password"], 0), (DONE["users-remove"], 0), (["users", "role", "anna", "viewer"], 0),
     (["users", "role", "anna", "operator"], 1), (DONE["users-role"], 1)],
)  # fmt: skip
def test_sessions_end_with_what_they_were_begun_by(arguments: list[str], ended: int, tmp_path: Path) -> None:
    data = filled(tmp_path)
    said(arguments, tmp_path)
    assert len(kept(data).sessions) == ended


def test_all_of_it_is_in_the_audit(tmp_path: Path) -> None:
    data = filled(tmp_path)
    for name in ("users-add", "users-role-same", "users-role", "users-password", "users-remove", "keys-remove"):
        said(DONE[name], tmp_path)
    said(["keys", "add", "plc", "--role", "viewer"], tmp_path)
    with reading(data / FILE_NAME) as store:
        entries = Audit(store).find()  # type: ignore[arg-type]  # it only reads
    assert [(one.kind, one.text) for one in entries] == [
        ("key", "added the key plc as a viewer"),
        ("key", "removed the key grafana"),
        ("user", "removed the user anna"),
        ("user", "changed the password of anna"),
        ("user", "made bert an editor; it was a viewer"),
        ("user", "added the user dora as an operator"),
    ]
    assert {one.origin for one in entries} == {"command line"}
    assert all(one.who for one in entries)


# ---- who is asked --------------------------------------------------------------------------------------------------


def typed(data: Path, lines: list[str]) -> tuple[int, str]:
    """The command at a real terminal: what is typed, and what stands there."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "flowrunner", "users", "add", "dora", "--role", "viewer", "--data", str(data)],
        stdin=slave, stdout=slave, stderr=slave, env=environment(), cwd=ROOT, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(slave)
        seen = b""
        for line in lines:
            asked = seen.count(b": ")
            while seen.count(b": ") == asked:
                seen += os.read(master, 1000)
            os.write(master, f"{line}\n".encode())
        with contextlib.suppress(OSError):  # the end of a terminal
            while more := os.read(master, 1000):
                seen += more
        code = process.wait(30)
    os.close(master)
    return code, seen.decode()


def test_a_person_is_asked_twice_and_nothing_is_shown(tmp_path: Path) -> None:
    data = filled(tmp_path)
    code, seen = typed(data, [WORDS, WORDS])
    assert code == 0, seen
    assert WORDS not in seen
    assert passwords.fits(WORDS, kept(data).users["dora"].password)


def test_two_that_are_not_the_same(tmp_path: Path) -> None:
    data = filled(tmp_path)
    code, seen = typed(data, [WORDS, f"{WORDS} "])
    assert code == 2
    assert "the two are not the same; nothing was changed" in seen
    assert "dora" not in kept(data).users


def test_a_password_from_standard_input(tmp_path: Path) -> None:
    data = filled(tmp_path)
    command = [
        sys.executable,
        "-m",
        "flowrunner",
        "users",
        "password",
        "anna",
        "--password-file",
        "-",
        "--data",
        str(data),
    ]
    subprocess.run(command, input=f"{WORDS}\n", env=environment(), cwd=ROOT, text=True, check=True, timeout=30)
    assert passwords.fits(WORDS, kept(data).users["anna"].password)


# ---- beside an engine ----------------------------------------------------------------------------------------------


def me(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    answer = httpx2.get(f"{url}/api/v1/me", headers=headers, trust_env=False)
    return answer.status_code, answer.json().get("name", "")


def test_a_running_engine_sees_it_within_a_second(tmp_path: Path) -> None:
    flow, data = tmp_path / "good.yaml", tmp_path / "data"
    flow.write_text(GOOD)
    with Program(flow, data=data) as program:
        assert me(program.url) == (200, ""), "nobody is there: open to this machine"
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            assert main(["keys", "add", "plc", "--role", "viewer", "--data", str(data)]) == 0
        key = {"x-api-key": told.getvalue().strip()}
        until_elsewhere(lambda: me(program.url)[0] == 401, "closed for who has no key", 2.0)
        assert me(program.url, key) == (200, "plc")
        (tmp_path / "password").write_text(WORDS)
        admit = ["users", "add", "anna", "--role", "editor", "--password-file", str(tmp_path / "password")]
        assert main([*admit, "--data", str(data)]) == 0
        with httpx2.Client(base_url=program.url, trust_env=False) as browser:

            def logged_in() -> bool:
                return browser.post("/login", data={"name": "anna", "password": WORDS}).status_code == 303

            until_elsewhere(logged_in, "anna logs in", 5.0)
            assert browser.get("/api/v1/me").json()["name"] == "anna"
            main(["users", "role", "anna", "viewer", "--data", str(data)])
            until_elsewhere(lambda: browser.get("/api/v1/me").status_code == 401, "anna's session has ended", 2.0)
        main(["keys", "remove", "plc", "--data", str(data)])
        until_elsewhere(lambda: me(program.url, key)[0] == 401, "the key is gone", 2.0)
        assert program.end() == 0


def test_beyond_loopback_a_user_is_enough(tmp_path: Path) -> None:
    flow, data = tmp_path / "good.yaml", tmp_path / "data"
    flow.write_text(GOOD)
    alone = run("run", flow, "--host", "0.0.0.0", "--port", "0", "--data", data)
    assert alone.returncode == 2
    assert "FLOWRUNNER_API_KEY is not set" in alone.stderr
    assert "flowrunner users add NAME --role" in alone.stderr
    (tmp_path / "password").write_text(WORDS)
    admit = ["users", "add", "anna", "--role", "editor", "--password-file", str(tmp_path / "password")]
    assert main([*admit, "--data", str(data)]) == 0
    with Program(flow, "--host", "0.0.0.0", data=data) as program:
        assert me(program.url)[0] == 401
        assert program.end() == 0


if __name__ == "__main__":
    TOLD.mkdir(parents=True, exist_ok=True)
    os.environ["COLUMNS"] = "100"
    sys.stdin = io.StringIO()
    for name, arguments in (ASKED | DONE).items():
        with TemporaryDirectory() as folder:
            filled(Path(folder))
            (TOLD / f"{name}.txt").write_text(said(arguments, Path(folder)), "utf-8")
