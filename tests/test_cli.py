"""The command line: the program as a process, what it prints, and how it ends.

The texts of ``--help`` are in ``tests/cli``; after a change that is meant, ``python -m tests.test_cli`` writes them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner import people_arguments
from flowrunner.cli import main
from flowrunner.envfile import read_env_file
from flowrunner.errors import UsageError
from flowrunner.registry import Registry
from tests.peers.program import BAD, BESS, GOOD, ROOT, environment, run

HELP = Path(__file__).with_name("cli")
COMMANDS: dict[str, list[str]] = (
    {"flowrunner": []}
    | {
        name: [name]
        for name in (
            "run",
            "validate",
            "test",
            "replay",
            "nodes",
            "orders",
            "dead-letters",
            "stop-trading",
            "resume-trading",
            "top",
            "tap",
            "simulate",
            "schema",
        )
    }
    | {"orders-resolve": ["orders", "resolve"]}
    | {name.replace(" ", "-"): name.split() for name in ("users", "keys", *people_arguments.COMMANDS)}
    | {f"dead-letters-{what}": ["dead-letters", what] for what in ("show", "replay", "drop")}
)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


# ---- help and usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main([*COMMANDS[name], "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == (HELP / f"{name}.txt").read_text("utf-8"), "python -m tests.test_cli writes it"


def test_without_a_command_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "first steps:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start"], "invalid choice: 'start'"),
        (["run"], "the following arguments are required: FLOW"),
        (["run", BESS, "--port", "65536"], "'65536' is not a port (0 to 65535)"),
        (["run", BESS, "--port", "²"], "'²' is not a port (0 to 65535)"),
        (["run", BESS, "--log", "xml"], "invalid choice: 'xml'"),
        (["run", BESS, "--simulate", "--speed", "0"], "'0' is not a speed (0.01 to 1000"),
        (["run", BESS, "--simulate", "--speed", "nan"], "'nan' is not a speed"),
        (["run", BESS, "--simulate", "--speed", "fast"], "'fast' is not a speed"),
        (["simulate", "--speed", "1001"], "'1001' is not a speed"),
        (["run", BESS, "--hos", "0.0.0.0"], "unrecognized arguments: --hos"),
        (["orders", "resolve", "X", "--as", "done"], "invalid choice: 'done'"),
        (["orders", "resolve", "X"], "the following arguments are required: --as"),
        (["orders", "resolve", "--as", "filled"], "the following arguments are required: ORDER"),
        (["stop-trading", "now"], "unrecognized arguments: now"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["validate", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["validate", BESS, "--nodes", "nowhere"], "there is no folder nowhere for node files"),
        (["validate", BESS, "--env-file", "nowhere.env"], "nowhere.env cannot be read: No such file or directory"),
        (["nodes", "treshold"], "there is no node type 'treshold'; did you mean 'threshold'?"),
        (["schema", "--write", "/proc/nowhere"], "/proc/nowhere cannot be written: No such file or directory"),
    ],
)
def test_surroundings_that_do_not_allow_it(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"flowrunner: {said}\n")


def test_a_flow_that_ships_with_the_program_is_found_for_who_looks_in_the_wrong_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, ours in ((BESS, ROOT / BESS), ("flows", ROOT / "flows")):
        assert main(["validate", path]) == 2
        said = f"flowrunner: there is no file {path}; the one that ships with flowrunner is {ours}\n"
        assert capsys.readouterr().err == said


# ---- validate, nodes, schema ----


def test_validate(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(flow)]) == 0
    assert capsys.readouterr() == ("flow is good: 2 nodes run\n", "")
    (flow.parent / "other.yaml").write_text(GOOD.replace("good", "other"))
    assert main(["validate", str(flow.parent)]) == 0
    assert capsys.readouterr().out == "2 flows are good: 4 nodes run\n"
    flow.write_text(flow.read_text().replace("from: tick", "from: tick, enabled: false"))
    assert main(["validate", str(flow.parent)]) == 0
    assert capsys.readouterr().out == "2 flows are good: 3 nodes run, 1 is off (good/out)\n"
    assert main(["validate", str(flow)]) == 0
    assert capsys.readouterr().out == "flow is good: 1 node runs, 1 is off (out)\n"


def test_validate_prints_errors_before_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mixed.yaml"
    off = GOOD.replace("payload: 1", "payload: 1, enabled: false")
    file.write_text(f"{off}  late: {{type: inject, every: 30, payload: 1}}\n")
    assert main(["validate", str(file)]) == 78
    first, _, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}:5:")
    assert rest[0].startswith(f"{file}:4:") and "note: out.from" in rest[0]  # noqa: PT018  (one line)


def test_validate_prints_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    assert main(["validate", str(file)]) == 78
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"{file}:3:31: tick.every: ")
    assert f"{file}:4:15: out.type: unknown node type 'lg', did you mean 'log'?" in lines
    assert printed.err == ""


def test_validate_for_tools(tmp_path: Path, flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    assert main(["validate", str(file), "--format", "json"]) == 78
    problems = json.loads(capsys.readouterr().out)
    assert len(problems) == 2
    for problem in problems:
        assert sorted(problem) == sorted(["file", "line", "column", "path", "code", "severity", "message", "hint"])
    assert problems[1] == {
        "file": str(file), "line": 4, "column": 15, "path": "out.type", "code": "unknown-type", "severity": "error",
        "message": "unknown node type 'lg'", "hint": "did you mean 'log'?",
    }  # fmt: skip
    assert main(["validate", str(flow), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes"]) == 0
    types, _, envelope = capsys.readouterr().out.partition("\n\n")
    assert [line.split()[0] for line in types.splitlines()] == Registry().names
    assert envelope.startswith("every node:\n  type (text, required): ")
    assert main(["nodes", "threshold"]) == 0
    assert capsys.readouterr().out.startswith("threshold: ")


def test_nodes_of_a_folder_and_a_broken_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own.py").write_text("1/0\n")
    assert main(["nodes", "--nodes", str(tmp_path)]) == 0
    assert re.search(rf"^my-own +BROKEN: {tmp_path}/my_own.py:1: ZeroDivisionError", capsys.readouterr().out, re.M)
    monkeypatch.setenv("FLOWRUNNER_NODES", f"{tmp_path}{os.pathsep}")
    assert main(["nodes"]) == 0
    assert "my-own" in capsys.readouterr().out


def test_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["title"] == "flowrunner flow"
    assert main(["schema", "--write", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "flow.schema.json").read_text("utf-8") == printed
    assert sorted(file.stem for file in (tmp_path / "new" / "nodes").iterdir()) == Registry().names


@pytest.mark.parametrize("command", ["schema", "nodes"])
def test_a_reader_who_has_seen_enough(command: str) -> None:
    """As ``flowrunner schema | head -1``: no traceback, whether the text fills a buffer or not."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "flowrunner", command], env=environment({"PYTHONUNBUFFERED": ""}), cwd=ROOT, text=True,
        stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_the_degree_sign() -> None:
    done = run("nodes", "scale", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")


# ---- a defect of the program itself --------------------------------------------------------------------------------


DEFECT = '''
from flowrunner.node import Node

class Broken(Node):
    """Fails where no node may."""

    default_queue = None

    def process(self, message, ctx): ...
'''


def test_a_defect_is_a_sentence_and_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(DEFECT)
    done = run("nodes", "broken", "--nodes", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"flowrunner: failed inside \(AttributeError at reference\.py:\d+\); this is a defect of flowrunner, not of"
        r" your file\n    the same command with FLOWRUNNER_TRACEBACK=1 shows all of it, for a report\n",
        done.stderr,
    )
    asked = run("nodes", "broken", "--nodes", tmp_path, env={"FLOWRUNNER_TRACEBACK": "1"})
    assert "Traceback (most recent call last):" in asked.stderr


def test_a_defect_of_a_run_is_in_its_log_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(DEFECT)
    (tmp_path / "flow.yaml").write_text(GOOD.replace("type: log", "type: broken"))
    arguments = ["run", str(tmp_path / "flow.yaml"), "--nodes", str(tmp_path), "--log", "json", "--port", "0"]
    done = run(*arguments, env={"FLOWRUNNER_API_KEY": "max_age"})
    (entry,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, entry["level"]) == (1, "critical")
    assert entry["trace"].endswith("AttributeError: 'NoneType' object has no attribute '***'")


# ---- environment files ---------------------------------------------------------------------------------------------


def env_file(folder: Path, text: str) -> dict[str, str]:
    file = folder / "env"
    file.write_text(text, encoding="utf-8", newline="")
    return read_env_file(file)


def test_an_env_file(tmp_path: Path) -> None:
    text = """\
\ufeff# the site
BESS_API_KEY=abc=def==
export BESS_REST_ENABLED = true
  QUOTED="a # b 'c' "   # a remark
SINGLE='x "y" #z'
EMPTY=
HASH=a#b c#d
REMARK=value # of no interest
ONLY_HASH=#1
UMLAUT=Süd\r
TWICE=1
TWICE=2
"""
    assert env_file(tmp_path, text) == {
        "BESS_API_KEY": "abc=def==", "BESS_REST_ENABLED": "true", "QUOTED": "a # b 'c' ", "SINGLE": 'x "y" #z',
        "EMPTY": "", "HASH": "a#b c#d", "REMARK": "value", "ONLY_HASH": "#1", "UMLAUT": "Süd", "TWICE": "2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nsesame\n", ":2: write NAME=value"),
        ("=sesame\n", ":1: write NAME=value"),
        ("\n\nA B=sesame\n", ":3: write NAME=value"),
        ("1A=sesame\n", ":1: write NAME=value"),
        ('KEY="sesame\n', ":1: KEY: the quote at its beginning must be closed at its end"),
        ("KEY='sesame' sesame\n", ":1: KEY: the quote at its beginning must be closed at its end"),
    ],
)
def test_a_bad_line_is_named_without_what_it_holds(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        env_file(tmp_path, text)
    assert str(caught.value) == f"{tmp_path}/env{said}"


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(b"A=\xff\n")
    with pytest.raises(UsageError, match="env cannot be read: not UTF-8 text"):
        read_env_file(tmp_path / "env")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r'\x00"), max_size=20))
def test_a_quoted_value_is_taken_as_it_is(value: str) -> None:
    with TemporaryDirectory() as folder:
        assert env_file(Path(folder), f"NAME='{value}'\n") == {"NAME": value}


if __name__ == "__main__":
    HELP.mkdir(exist_ok=True)
    for name, command in COMMANDS.items():
        (HELP / f"{name}.txt").write_text(run(*command, "--help").stdout, encoding="utf-8")
