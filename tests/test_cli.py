"""The command line: the program as a process, what it prints, and how it ends.

The texts of ``--help`` are in ``tests/cli``; after a change that is meant, ``python -m tests.test_cli`` writes them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.cli import main
from flowrunner.commands import read_env_file
from flowrunner.errors import UsageError
from flowrunner.registry import Registry
from tests.peers.program import ROOT, Program, run

HELP = Path(__file__).with_name("cli")
COMMANDS = {"flowrunner": [], "run": ["run"], "validate": ["validate"], "nodes": ["nodes"], "schema": ["schema"]}
BESS = "flows/bess.yaml"
BAD = "flow: bad\nnodes:\n  tick: {type: inject, every: 1}\n  out: {type: lg, from: tick}\n"
GOOD = "flow: good\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n  out: {type: log, from: tick}\n"
LONG = "0123456789abcdef"


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
        (["run", BESS, "--hos", "0.0.0.0"], "unrecognized arguments: --hos"),
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
    assert capsys.readouterr() == ("flow is good: 2 nodes\n", "")
    (flow.parent / "other.yaml").write_text(GOOD.replace("good", "other"))
    assert main(["validate", str(flow.parent)]) == 0
    assert capsys.readouterr().out == "2 flows are good: 4 nodes\n"


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
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == Registry().names
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
        [sys.executable, "-m", "flowrunner", command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
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
    done = run(*arguments, env={"FLOWRUNNER_API_KEY": "when_full"})
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


# ---- run -------------------------------------------------------------------------------------------------------------


def test_what_a_newcomer_reads(tmp_path: Path) -> None:
    with Program(BESS, data=tmp_path / "data") as program:
        first = [line.split(" INFO ", 1)[1] for line in program.lines]
        curl = next(line for line in first if line.startswith("try: curl"))
        body = re.search(r"-d '(.*?)' (http\S+)", curl)
        assert body is not None
        answer = httpx2.post(body[2], content=body[1], headers={"content-type": "application/json"}, trust_env=False)
        status = httpx2.get(f"{program.url}/api/bess/status", trust_env=False).json()
        assert program.end() == 0
    assert first == [
        "flowrunner 0.1.0 runs bess (flows/bess.yaml): 7 nodes",
        "bess: off: modbus (BESS_MODBUS_ENABLED is false), mqtt (BESS_MQTT_ENABLED is false),"
        " modbus-units (its only input 'modbus' is disabled)",
        f"data is kept in {tmp_path / 'data'}",
        f"bess/rest: POST {program.url}/api/bess/telemetry",
        f"bess/status: GET {program.url}/api/bess/status",
        """try: curl -H 'Content-Type: application/json' -d '{"soc_percent": 50, "active_power_mw": 0,"""
        f""" "temperature_c": 40}}' {program.url}/api/bess/telemetry""",
        f"ready on {program.url}; Ctrl-C stops",
    ]
    assert [line.split(" INFO ", 1)[1] for line in program.lines[len(first) :]] == [
        "stopping because of SIGTERM",
        "stopped",
    ]
    assert answer.status_code == 200
    assert (status["status"], status["soc_percent"]) == ("online", 50)


SLOW = '''
from flowrunner.node import Node
from flowrunner.units import Duration

class Slow(Node):
    """Takes its time."""

    class Options(Node.Options):
        time: Duration

    async def process(self, message, ctx):
        await ctx.sleep_until(ctx.now() + self.options.time)
        return message
'''


@pytest.mark.parametrize(
    ("one", "time", "status"),
    [
        (signal.SIGTERM, "300ms", 200),
        (signal.SIGINT, "300ms", 200),
        pytest.param(signal.SIGTERM, "1h", 503, marks=pytest.mark.slow),  # waits out the patience of server and flow
    ],
)
def test_a_clean_stop_answers_the_request_that_is_open(
    tmp_path: Path, one: signal.Signals, time: str, status: int
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "flow.yaml").write_text(f"""
flow: slow
nodes:
  ask: {{type: http-in, route: POST /ask, timeout: 1h}}
  wait: {{type: slow, from: ask, time: {time}}}
  answer: {{type: http-response, from: wait}}
""")
    with Program(tmp_path / "flow.yaml", "--nodes", tmp_path, data=tmp_path / "data") as program:
        answers: list[httpx2.Response] = []

        def ask() -> None:
            answers.append(httpx2.post(f"{program.url}/ask", json={"x": 1}, trust_env=False, timeout=20))

        asking = threading.Thread(target=ask)
        asking.start()
        with httpx2.Client(base_url=program.url, trust_env=False) as client:
            while client.get("/api/v1/flows/slow/nodes/ask").json()["sent"] == 0:
                pass
            idle = socket.create_connection(("127.0.0.1", int(program.url.rpartition(":")[2])))
            assert program.end(one) == 0
        asking.join()
        idle.close()
    assert answers[0].status_code == status
    assert answers[0].json().get("error") == (None if status == 200 else "stopping")
    assert program.lines[-1].endswith(" INFO stopped")
    assert "Traceback" not in "\n".join(program.lines)


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text('''
import asyncio
from flowrunner.node import Node

class Stuck(Node):
    """Does not let go."""

    inputs = "none"

    async def produce(self, ctx):
        await asyncio.Event().wait()
        yield

    async def close(self):
        await asyncio.Event().wait()
''')
    (tmp_path / "flow.yaml").write_text("flow: f\nnodes: {x: {type: stuck}, out: {type: log, from: x}}\n")
    with Program(tmp_path / "flow.yaml", "--nodes", tmp_path, data=tmp_path / "data") as program:
        program.send(signal.SIGINT)
        program.until("stopping because of SIGINT")
        assert program.end(signal.SIGINT) == 1
    assert program.lines[-1].endswith("ERROR stopped at once because of a second signal, SIGINT")
    assert "closing failed" not in "\n".join(program.lines), "its time for closing was not waited for"
    with Program(BESS, data=tmp_path / "data") as again:
        assert again.end() == 0, "the folder was let go"


def test_what_is_kept_survives(tmp_path: Path) -> None:
    for restart in (False, True):
        with Program(BESS, data=tmp_path / "data") as program:
            if not restart:
                httpx2.post(f"{program.url}/api/bess/telemetry", json={"soc_percent": 12.5}, trust_env=False)
            else:
                status = httpx2.get(f"{program.url}/api/bess/status", trust_env=False).json()
                assert (status["soc_percent"], status["fields"]["soc_percent"]["source"]) == (12.5, "rest")
            assert program.end() == 0
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    with sqlite3.connect(tmp_path / "data" / "flowrunner.db") as file:
        assert file.execute("pragma integrity_check").fetchone() == ("ok",)
    file.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Program]:
    with Program(BESS, data=tmp_path / "data") as program:
        yield program
        assert program.end() == 0


def test_a_second_one_on_the_same_folder_or_port(running: Program, tmp_path: Path, flow: Path) -> None:
    port = running.url.rpartition(":")[2]
    done = run("run", flow, "--port", "0", "--data", tmp_path / "data")
    assert (done.returncode, done.stderr) == (
        2,
        f"flowrunner: the data folder {tmp_path}/data is in use by another flowrunner (process {running.pid}); stop"
        " that one first, or give this one a folder of its own with --data DIR\n",
    )
    done = run("run", flow, "--port", port, "--log", "json")
    assert (done.returncode, json.loads(done.stderr)["message"]) == (
        2,
        f"cannot listen on 127.0.0.1:{port}: Address already in use; another port is chosen with --port",
    )
    assert not (tmp_path / ".flowrunner").exists(), "nothing is made before it is sure that it runs"
    assert httpx2.get(f"{running.url}/health/live", trust_env=False).status_code == 200


def test_a_data_folder_that_cannot_be(flow: Path) -> None:
    done = run("run", flow, "--port", "0", "--data", flow / "data")
    assert (done.returncode, done.stderr) == (
        2,
        f"flowrunner: cannot use the data folder {flow}/data: Not a directory; make it writable for this user, or give"
        " another one with --data DIR\n",
    )


def test_a_flow_with_problems_is_not_started(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    text, machine = run("run", file), run("run", file, "--log", "json")
    assert (text.returncode, text.stdout, machine.returncode, machine.stdout) == (78, "", 78, "")
    validated = run("validate", file).stdout
    assert text.stderr == f"{validated}flowrunner: nothing was started\n"
    entries = [json.loads(line) for line in machine.stderr.splitlines()]
    assert "".join(f"{one['message']}\n" for one in entries) == validated
    assert {one["level"] for one in entries} == {"error"}
    assert not (tmp_path / ".flowrunner").exists()


FATAL = '''
from flowrunner.errors import Fatal
from flowrunner.node import Node

class Stops(Node):
    """Stops all at the first message."""

    def process(self, message, ctx):
        raise Fatal("the breaker is open")
'''


def test_a_node_that_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "stops.py").write_text(FATAL)
    (tmp_path / "flow.yaml").write_text("""
flow: f
nodes:
  rest: {type: http-in, route: POST /x}
  x: {type: stops, from: rest}
""")
    with Program(tmp_path / "flow.yaml", "--nodes", tmp_path, data=tmp_path / "data") as program:
        httpx2.post(f"{program.url}/x", json={}, trust_env=False)
        assert program.end(None) == 1
    assert " ERROR stopping because of f/x: the breaker is open" in "\n".join(program.lines)
    assert program.lines[-1].endswith(" INFO stopped")


def test_two_flows_of_a_folder(tmp_path: Path) -> None:
    for name in ("north", "south"):
        (tmp_path / f"{name}.yaml").write_text(f"""
flow: {name}
nodes:
  rest: {{type: http-in, route: POST /{name}, body: {{x: {{}}}}}}
  out: {{type: log, from: rest}}
""")
    with Program(tmp_path, data=tmp_path / "data") as program:
        with httpx2.Client(base_url=program.url, trust_env=False) as client:
            assert [flow["flow"] for flow in client.get("/api/v1/flows").json()] == ["north", "south"]
            assert client.post("/north", json={"x": 1}).status_code == 200
            assert client.get("/api/v1/flows/north/nodes/rest").json()["sent"] == 1
            assert client.get("/api/v1/flows/south/nodes/rest").json()["sent"] == 0
        assert program.end() == 0
    assert len([line for line in program.lines if " runs " in line]) == 2
    assert len([line for line in program.lines if "try: curl" in line]) == 1


def test_beyond_loopback_nothing_starts_without_keys(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::"):
        done = run("run", BESS, "--host", host, "--port", "0", "--data", tmp_path / "data")
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(
            f"flowrunner: {host} can be reached from other machines, and FLOWRUNNER_API_KEY is"
        )
        assert "BESS_API_KEY (the api_key of bess/rest)" in done.stderr
    weak = run(
        "run", BESS, "--host", "0.0.0.0", "--port", "0", env={"FLOWRUNNER_API_KEY": LONG, "BESS_API_KEY": "sesame"}
    )
    assert weak.returncode == 2
    assert "has only 6 characters" in weak.stderr
    assert "sesame" not in weak.stderr
    assert not (tmp_path / "data").exists()


def test_beyond_loopback_with_keys_from_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.write_text(f"FLOWRUNNER_API_KEY='file-{LONG}'\nBESS_API_KEY=file-{LONG} # of the meter\n")
    with Program(
        BESS, "--host", "0.0.0.0", "--env-file", env, data=tmp_path / "data", env={"BESS_API_KEY": f"own-{LONG}"}
    ) as program:
        assert program.url.startswith("http://127.0.0.1:")
        with httpx2.Client(base_url=program.url, trust_env=False) as client:
            assert client.get("/api/v1/config").status_code == 401
            config = client.get("/api/v1/config", headers={"x-api-key": f"file-{LONG}"})
            assert (config.status_code, LONG in config.text) == (200, False)
            path, body = "/api/bess/telemetry", {"soc_percent": 1}
            assert client.post(path, json=body, headers={"x-api-key": f"file-{LONG}"}).status_code == 401
            assert client.post(path, json=body, headers={"x-api-key": f"own-{LONG}"}).status_code == 200
            assert client.get("/api/bess/status").status_code == 401
        assert program.end() == 0
    assert LONG not in "\n".join(program.lines)
    assert 'curl -H "X-API-KEY: $BESS_API_KEY" -H' in program.until("try: ")


def test_every_line_of_a_json_log_is_an_object_and_holds_no_secret(tmp_path: Path) -> None:
    secrets = {
        "FLOWRUNNER_API_KEY": f"api-{LONG}", "BESS_API_KEY": f"bess-{LONG}", "BESS_MQTT_ENABLED": "true",
        "BESS_MQTT_BROKER": "127.0.0.1", "BESS_MQTT_PORT": "9", "BESS_MQTT_USERNAME": "anna",
        "BESS_MQTT_PASSWORD": f"pass word-{LONG}",
    }  # fmt: skip
    with Program(BESS, "--log", "json", data=tmp_path / "data", env=secrets) as program:
        program.until("bess/mqtt: not connected")
        with httpx2.Client(base_url=program.url, trust_env=False) as client:
            for key in ("", f"api-{LONG}", "ä"):
                answer = client.post("/api/bess/telemetry", json={}, headers={b"x-api-key": key.encode()})
                assert answer.status_code == 401
            own = {"x-api-key": f"bess-{LONG}"}
            assert client.post("/api/bess/telemetry", json={f"bess-{LONG}": 1}, headers=own).status_code == 422
            ready = client.get("/health/ready")
            assert (ready.status_code, [one["node"] for one in ready.json()["nodes"]]) == (503, ["bess/mqtt"])
        assert program.end() == 0
    entries = program.entries()
    assert {"at", "level", "logger", "message"} <= set(entries[0])
    assert [one["node"] for one in entries if one["level"] == "warning"].count("bess/rest") == 2, (
        "one line for each kind"
    )
    for secret in (f"api-{LONG}", f"bess-{LONG}", f"pass word-{LONG}"):
        assert secret not in "\n".join(program.lines)


if __name__ == "__main__":
    HELP.mkdir(exist_ok=True)
    for name, command in COMMANDS.items():
        (HELP / f"{name}.txt").write_text(run(*command, "--help").stdout, encoding="utf-8")
