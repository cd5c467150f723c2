"""``run --simulate`` and ``simulate`` as real processes: what they show, what they leave, and that they stay inside."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flowrunner.envfile import read_env_file
from flowrunner.units import parse_instant
from tests.peers.program import BESS, LONG, PATIENCE_S, ROOT, Program, environment, run
from tests.peers.until import until_elsewhere

FREE = ["--modbus-port", "0", "--mqtt-port", "0", "--exchange-port", "0"]
ABROAD = {
    "BESS_MODBUS_ENABLED": "true", "BESS_MODBUS_HOST": "battery.example", "BESS_MODBUS_PORT": "502",
    "BESS_MQTT_ENABLED": "true", "BESS_MQTT_BROKER": "192.0.2.1", "BESS_MQTT_USERNAME": "bess",
    "BESS_MQTT_PASSWORD": "sesame-sesame", "EXCHANGE_URL": "https://exchange.example",
    "EXCHANGE_API_KEY": "real-key-real-key",
    "BESS_TRADING_MODE": "live", "HTTP_PROXY": "http://192.0.2.2:3128", "HTTPS_PROXY": "http://192.0.2.2:3128",
}  # fmt: skip
"""An environment that would reach real things, were it not simulated."""


def get(url: str) -> Any:
    return httpx2.get(url, trust_env=False).json()


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return ") Z " not in state


def folder(program: Program) -> Path:
    found = re.search(r"--data (\S+)/data`", program.until("orders, and why"))
    assert found is not None
    return Path(found[1])


# ---- run --simulate ----


def test_a_newcomer_sees_a_battery_being_traded(tmp_path: Path) -> None:
    with Program(BESS, "--simulate", data=None, env={"TMPDIR": str(tmp_path)}) as program:
        order = program.until("paper: ")
        brokers, data = children(program.pid), folder(program)
        assert data.parent == tmp_path
        assert get(f"{program.url}/api/v1/orders")[0]["state"] == "paper"
        listed = run("orders", "--data", data / "data").stdout
        tips = [line.partition(" INFO ")[2] for line in program.lines]
        fault = next(one for one in tips if one.startswith("try: "))
        assert not any(word in line for line in program.lines for word in ("Traceback", "WARNING", "ERROR"))
        wanted = re.search(r"-d '(.*?)' (http\S+)", fault)
        assert wanted is not None
        said = httpx2.post(wanted[2], content=wanted[1], headers={"content-type": "application/json"}, trust_env=False)
        assert said.json() == {"faults": ["drop"]}
        program.until("bess/modbus: not connected")
        assert httpx2.delete(wanted[2], trust_env=False).json() == {"faults": []}
        assert program.end() == 0
    assert re.search(r"bess/exchange: paper: (BUY|SELL) 1 MWh for \S+ at -?[\d.]+ EUR/MWh", order)
    assert "epex_at-" in listed
    assert re.match(
        r"a simulated world: a battery \(10 MWh, 5 MW, (18|82|50) % full\), a sensor and an exchange;", tips[0]
    )
    assert not any(one.startswith("try: curl") and "/api/bess/telemetry" in one for one in tips)
    assert list(tmp_path.iterdir()) == []
    assert not any(map(runs, brokers))


def test_a_broker_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    with Program(BESS, "--simulate", data=None, env={"TMPDIR": str(tmp_path)}) as program:
        brokers = children(program.pid)
        program.end(signal.SIGKILL)
    if "(mosquitto)" in program.until("sensor at"):
        assert len(brokers) == 1
        until_elsewhere(lambda: not any(map(runs, brokers)), "the broker ends")


def test_orders_are_really_placed_in_live_mode_and_the_environment_leads_nowhere(tmp_path: Path) -> None:
    env = ABROAD | {"TMPDIR": str(tmp_path)}
    with Program(BESS, "--simulate", "--speed", "120", data=None, env=env) as program:
        program.until("bess/exchange: accepted: ")
        exchange = re.search(r"exchange at (http://127\.0\.0\.1:\d+)", program.until("exchange at"))
        assert exchange is not None
        assert [one["market"] for one in get(f"{exchange[1]}/orders")] == ["epex_at"]
        assert program.end() == 0
    text = "\n".join(program.lines)
    assert not any(one in text for one in ("sesame", "real-key", "battery.example", "exchange.example", "192.0.2"))


OUTWARD = '''
import asyncio, socket
from flowrunner.node import Node

class Outward(Node):
    """Tries every way out that it knows."""

    inputs = "none"

    async def produce(self, ctx):
        loop = asyncio.get_running_loop()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ways = {
            "stream": lambda: asyncio.open_connection("192.0.2.1", 80),
            "name": lambda: asyncio.open_connection("exchange.example", 80),
            "endpoint": lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("192.0.2.1", 53)),
            "thread": lambda: asyncio.to_thread(socket.create_connection, ("192.0.2.1", 80)),
            "datagram": lambda: asyncio.to_thread(datagrams.sendto, b"x", ("192.0.2.1", 53)),
            "lookup": lambda: asyncio.to_thread(socket.gethostbyname, "exchange.example"),
            "back": lambda: asyncio.to_thread(socket.gethostbyaddr, "192.0.2.1"),
            "info": lambda: asyncio.to_thread(socket.getnameinfo, ("192.0.2.1", 80), 0),
            "six": lambda: asyncio.open_connection("2001:db8::1", 80),
        }
        found = []
        for name, way in ways.items():
            try:
                async with asyncio.timeout(5):
                    await way()
                found.append(f"{name}: got out")
            except (OSError, TimeoutError) as error:
                found.append(f"{name}: {error}")
        datagrams.close()
        ctx.log.info("tried all: %s", "; ".join(found))
        yield ctx.message(1)
'''


def test_no_code_in_the_process_reaches_another_machine(tmp_path: Path) -> None:
    (tmp_path / "outward.py").write_text(OUTWARD)
    (tmp_path / "flow.yaml").write_text("flow: f\nnodes:\n  a: {type: outward}\n  b: {type: log, from: a}\n")
    with Program(tmp_path / "flow.yaml", "--simulate", "--nodes", tmp_path, data=None) as program:
        line = program.until("tried all: ").partition("tried all: ")[2]
        assert program.end() == 0
    said = dict(one.split(": ", 1) for one in line.split("; "))
    assert sorted(said) == ["back", "datagram", "endpoint", "info", "lookup", "name", "six", "stream", "thread"]
    for name, reason in said.items():
        assert re.search("the simulation (reaches|knows) no other machine", reason), name
    assert len([line for line in program.lines if "something tried to reach 192.0.2.1" in line]) == 1


def test_without_any_network_it_is_the_same(tmp_path: Path) -> None:
    """In a network namespace that has nothing but loopback; the kernel tells every connection there is."""
    inside = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here")
    program = Program(BESS, "--simulate", data=None, env=ABROAD | {"TMPDIR": str(tmp_path)})
    program.command = [*inside, *program.command]
    with program:
        program.until("bess/exchange: accepted: ")
        tables = [Path(f"/proc/{program.pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "udp")]
        program.until("bess/modbus: connected")
        assert program.end() == 0
    peers = {line.split()[2].partition(":")[0] for table in tables for line in table}
    assert peers <= {"0100007F", "00000000"}
    assert "0100007F" in peers


@pytest.mark.parametrize("what", ["port", "modbus", "mqtt", "exchange"])
def test_ports_that_are_taken(tmp_path: Path, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = ["run", BESS, "--simulate", "--port", port]
        if what != "port":
            command = ["simulate", *FREE, f"--{what}-port", port]
        done = run(*command, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 2
    (line,) = [one for one in done.stderr.splitlines() if "INFO" not in one]
    assert line.startswith("flowrunner: ")
    assert f"127.0.0.1:{port}" in line
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", BESS, "--speed", "10"], "--speed belongs to --simulate: real time cannot be hurried"),
        (
            ["run", BESS, "--simulate", "--data", "x"],
            "--simulate keeps its data in a temporary folder; leave --data out",
        ),
        (["simulate", "--mqtt-broker", "localhost"], "--mqtt-broker: "),
        (
            ["simulate", "--host", "0.0.0.0"],
            "beyond loopback the simulated exchange needs EXCHANGE_API_KEY with at least 16 characters",
        ),
    ],
)
def test_what_does_not_go_together(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"flowrunner: {said}")
    assert len(done.stderr.splitlines()) == 1


# ---- simulate ----


class WorldProgram:
    """``flowrunner simulate`` while a block runs; ``env`` is what it printed."""

    def __init__(self, tmp_path: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "flowrunner", "simulate", *FREE, *arguments]
        self._folder, self._env = tmp_path, environment({"TMPDIR": str(tmp_path)} | (env or {}))

    def __enter__(self) -> WorldProgram:
        self.out, self._err = self._folder / "world.env", self._folder / "world.log"
        with self.out.open("w") as out, self._err.open("w") as err:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=err, env=self._env, cwd=ROOT)
        try:
            until_elsewhere(
                lambda: "ready; Ctrl-C stops" in self.log or self._process.poll() is not None, "it is ready"
            )
            assert self._process.poll() is None, self.log
        except BaseException:
            self.__exit__()
            raise
        self.pid = self._process.pid
        self.env = read_env_file(self.out)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        return self._err.read_text()

    def end(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE_S)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WorldProgram]:
    with WorldProgram(tmp_path) as world:
        yield world


def test_a_real_run_against_the_world_alone(world: WorldProgram, tmp_path: Path) -> None:
    with Program(BESS, "--env-file", world.out, data=tmp_path / "data") as program:
        for node in ("modbus", "mqtt", "price", "mirror"):
            program.until(f"bess/{node}: connected")
        status = get(f"{program.url}/api/bess/status")
        battery = get(f"{world.env['EXCHANGE_URL']}/world")["battery"]
        assert status["soc_percent"] == pytest.approx(battery["soc_percent"], abs=0.5)
        assert program.end() == 0
    brokers = children(world.pid)
    assert world.end() == 0
    assert not any(map(runs, brokers))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "world.env", "world.log"]
    assert "time begins at" in world.log
    assert world.env["EXCHANGE_API_KEY"] not in world.log


def test_at_speed_one_it_goes_by_the_wall_clock(world: WorldProgram) -> None:
    before = time.time_ns()
    now = parse_instant(get(f"{world.env['EXCHANGE_URL']}/world")["now"])
    price = get(f"{world.env['EXCHANGE_URL']}/market/prices?market=epex_at")
    assert before - 10**9 < now < time.time_ns() + 10**9
    assert abs(parse_instant(price["timestamp"]) - time.time_ns()) < 5 * 10**9


def test_secrets_that_were_given_are_not_printed(tmp_path: Path) -> None:
    env = {"EXCHANGE_API_KEY": LONG, "BESS_MQTT_USERNAME": "bess", "BESS_MQTT_PASSWORD": "sesame"}
    with WorldProgram(
        tmp_path, "--host", "0.0.0.0", "--mqtt-broker", "mqtt://127.0.0.1:9", "--log", "json", env=env
    ) as world:
        assert {"EXCHANGE_API_KEY", "BESS_MQTT_USERNAME", "BESS_MQTT_PASSWORD"}.isdisjoint(world.env)
        assert world.env["BESS_MODBUS_HOST"] == "127.0.0.1"
        assert httpx2.get(f"{world.env['EXCHANGE_URL']}/world", trust_env=False).status_code == 401
        assert children(world.pid) == []
        assert world.end() == 0
        lines = [json.loads(line) for line in world.log.splitlines()]
    assert all(one["level"] in ("info", "warning") for one in lines)
    assert LONG not in world.log
    assert "sesame" not in world.log


def test_a_signal_while_it_starts(tmp_path: Path) -> None:
    """Whenever it comes: nothing is left."""
    for wait in (0.2, 0.5, 0.8):
        process = subprocess.Popen(
            [sys.executable, "-m", "flowrunner", "simulate", *FREE], env=environment({"TMPDIR": str(tmp_path)}),
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.terminate()
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM)
        assert list(tmp_path.iterdir()) == []
