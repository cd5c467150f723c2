"""``flowrunner run`` as a process: what it says, what it refuses, how it stops."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.peers.program import BAD, BESS, GOOD, LONG, Program, run


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


def said(lines: list[str]) -> list[str]:
    """The texts of ordinary lines; warnings tell of the exchange, which is not there."""
    return [line.split(" INFO ", 1)[1] for line in lines if " INFO " in line]


def test_what_a_newcomer_reads(tmp_path: Path) -> None:
    with Program(BESS, data=tmp_path / "data") as program:
        first = said(program.lines)
        curl = next(line for line in first if line.startswith("try: curl"))
        body = re.search(r"-d '(.*?)' (http\S+)", curl)
        assert body is not None
        answer = httpx2.post(body[2], content=body[1], headers={"content-type": "application/json"}, trust_env=False)
        status = httpx2.get(f"{program.url}/api/bess/status", trust_env=False).json()
        assert program.end() == 0
    assert first == [
        "flowrunner 0.1.0 runs bess (flows/bess.yaml): 15 nodes",
        "bess: off: modbus (BESS_MODBUS_ENABLED is false), mqtt (BESS_MQTT_ENABLED is false),"
        " modbus-units (its only input 'modbus' is disabled)",
        f"data is kept in {tmp_path / 'data'}",
        f"bess/rest: POST {program.url}/api/bess/telemetry",
        f"bess/status: GET {program.url}/api/bess/status",
        """try: curl -H 'Content-Type: application/json' -d '{"soc_percent": 50, "active_power_mw": 0,"""
        f""" "temperature_c": 40}}' {program.url}/api/bess/telemetry""",
        f"ready on {program.url}; Ctrl-C stops",
    ]
    begin, *kept, end = said(program.lines)[len(first) :]
    assert (begin, end) == ("stopping because of SIGTERM", "stopped")
    assert [line.split(": ")[0] for line in kept] == ["bess/mirror"], "its exchange is away"
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
    ("one", "time", "status", "code"),
    [
        (signal.SIGTERM, "300ms", 200, 0),
        (signal.SIGINT, "300ms", 200, 0),
        pytest.param(signal.SIGTERM, "1h", 503, 1, marks=pytest.mark.slow),  # waits out the patience of the server
    ],
)
def test_a_clean_stop_answers_the_request_that_is_open(
    tmp_path: Path, one: signal.Signals, time: str, status: int, code: int
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "flow.yaml").write_text(f"""
flow: slow
nodes:
  ask: {{type: http-in, route: POST /ask, timeout: 1h}}
  wait: {{type: slow, from: ask, time: {time}}}
  answer: {{type: http-response, from: wait}}
""")
    with Program(tmp_path / "flow.yaml", "--nodes", tmp_path, "--grace", "1s", data=tmp_path / "data") as program:
        answers: list[httpx2.Response] = []

        def ask() -> None:
            answers.append(httpx2.post(f"{program.url}/ask", json={"x": 1}, trust_env=False, timeout=20))

        asking = threading.Thread(target=ask)
        asking.start()
        with httpx2.Client(base_url=program.url, trust_env=False) as client:
            while client.get("/api/v1/flows/slow/nodes/ask").json()["sent"] == 0:
                pass
            idle = socket.create_connection(("127.0.0.1", int(program.url.rpartition(":")[2])))
            assert program.end(one) == code
        asking.join()
        idle.close()
    assert answers[0].status_code == status
    assert answers[0].json().get("error") == (None if status == 200 else "stopping")
    assert program.lines[-1].endswith(" INFO stopped")
    assert "Traceback" not in "\n".join(program.lines)


@pytest.mark.parametrize(("time", "grace", "code"), [("400ms", "20s", 0), ("1h", "300ms", 1)])
def test_what_was_taken_is_finished_within_the_grace(tmp_path: Path, time: str, grace: str, code: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "flow.yaml").write_text(f"""
flow: f
nodes:
  rest: {{type: http-in, route: POST /x, body: {{x: {{}}}}}}
  wait: {{type: slow, from: rest, time: {time}}}
  out: {{type: log, from: wait, text: "came {{x}}"}}
""")
    with Program(tmp_path / "flow.yaml", "--nodes", tmp_path, "--grace", grace, data=tmp_path / "data") as program:
        for number in range(2):
            assert httpx2.post(f"{program.url}/x", json={"x": number}, trust_env=False).status_code == 200
        assert program.end() == code
    text = "\n".join(program.lines)
    assert ("came 0" in text and "came 1" in text) == (code == 0)
    assert ("WARNING stopped before these were done: f/wait (2 messages left" in text) == (code == 1)
    assert program.lines[-1].endswith(" INFO stopped")


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


@pytest.mark.parametrize("more", [[], ["--no-watch"]])
def test_an_env_file_that_is_a_pipe_is_read_once_and_kept(tmp_path: Path, more: list[str]) -> None:
    """As the shell's `--env-file <(…)` is."""
    flow, env = tmp_path / "flow.yaml", tmp_path / "pipe"
    flow.write_text("flow: ${SITE}\nnodes: {tick: {type: inject, every: 1h, payload: 1}}\n")
    os.mkfifo(env)
    writer = threading.Thread(target=env.write_text, args=("SITE=north\n",))
    writer.start()  # opening it waits for the reader
    with Program(flow, "--env-file", env, *more, data=tmp_path / "data") as program:
        writer.join()
        assert "runs north" in program.until("runs ")
        flow.write_text(flow.read_text().replace("payload: 1", "payload: 2"))
        program.send(signal.SIGHUP)
        assert "changed north/tick" in program.until("reloaded in ")
        assert program.end() == 0


HANGS_UP = """
import os, signal, sys
from flowrunner import cli

def trace(frame, event, _):
    if event == "call" and frame.f_code.co_name == "execute":  # of the commands, which take their time to be imported
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGHUP)

sys.setprofile(trace)
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_hangup_at_the_very_start_is_a_request_for_later(flow: Path, tmp_path: Path) -> None:
    program = Program(flow, data=tmp_path / "data")
    program.command[1:3] = ["-c", HANGS_UP]
    with program:
        program.until("asked to reload: the files are as what runs (generation 1)")
        assert program.end() == 0


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
            assert ready.status_code == 503
            assert "bess/mqtt" in [one["node"] for one in ready.json()["nodes"]]
        assert program.end() == 0
    entries = program.entries()
    assert {"at", "level", "logger", "message"} <= set(entries[0])
    assert [one["node"] for one in entries if one["level"] == "warning"].count("bess/rest") == 2, (
        "one line for each kind"
    )
    for secret in (f"api-{LONG}", f"bess-{LONG}", f"pass word-{LONG}"):
        assert secret not in "\n".join(program.lines)
