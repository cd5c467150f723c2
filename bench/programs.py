"""The program as a user starts it: how long its commands take, and what it costs while it runs."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

ROOT = Path(__file__).resolve().parent.parent
BESS = ROOT / "flows" / "bess.yaml"
PROGRAM = [sys.executable, "-m", "flowrunner"]
SETTLE_S, MEASURED_S = 3.0, 10
"""Seconds before CPU is measured, and for which."""
TELEMETRY = {"soc_percent": 64.2, "active_power_mw": 4.8, "temperature_c": 28.3}


@functools.cache
def client() -> httpx2.Client:
    """For what is asked in passing. One for all: to make one takes 25 ms of reading certificates, and that must not be
    counted as time of who answers. No connection is kept: programs end, and others get their ports."""
    return httpx2.Client(trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def python() -> float:
    """Seconds of a Python that does nothing."""
    return seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True))


def command(*arguments: str) -> float:
    """Seconds of a whole command, from start to exit."""
    return seconds(lambda: subprocess.run([*PROGRAM, *arguments], check=True, capture_output=True))


def replay(step: str) -> float:
    """Seconds of ``flowrunner replay flows/bess.yaml`` over the hourly prices of 365 days, from start to exit."""
    return command("replay", str(BESS), "--from", "2024-01-01", "--to", "2024-12-30", "--step", step)


def first_answer() -> tuple[float, float]:
    """``flowrunner run flows/bess.yaml`` from start to the first answer (s), and its memory then (MB)."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as lines:
        began = time.perf_counter()
        arguments = ["run", str(BESS), "--port", "0", "--data", folder, "--log", "json"]
        process = subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, stdout=lines, text=True)
        try:
            port = port_of(process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/bess/status") as answer:
                answer.read()
            return time.perf_counter() - began, memory_mb(process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=20)


def first_record() -> float:
    """``./x run`` from start to the first merged record of the simulated battery (s)."""
    began = time.perf_counter()
    command = [str(ROOT / "x"), "run", "--port", "0", "--log", "json"]
    with tempfile.TemporaryFile("w+") as lines:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=lines, text=True)
        try:
            port = port_of(process)
            while True:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/bess/status") as answer:
                    if json.load(answer)["status"] == "online":
                        return time.perf_counter() - began
                time.sleep(0.002)
        finally:
            process.terminate()
            process.communicate(timeout=20)


def cpu_at_one_hertz() -> float:
    """CPU of ``flows/bess.yaml`` in % of one core over ten seconds, its dashboard open: Modbus polled, MQTT heard and
    REST posted once a second, prices and orders beside it. The simulated world runs in a process of its own."""
    ports = ["--modbus-port", "0", "--exchange-port", "0", "--mqtt-port", "0", "--log", "json"]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "world.env").open("w+") as places:
        world = subprocess.Popen([*PROGRAM, "simulate", *ports], stdout=places, stderr=subprocess.PIPE, text=True)
        try:
            _until(world, "ready")
            arguments = ["run", str(BESS), "--port", "0", "--log", "json", "--data", folder, "--env-file", places.name]
            environment = os.environ | {"BESS_UPDATE_INTERVAL": "1"}
            flow = subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, text=True, env=environment)
            try:
                port = port_of(flow)
                time.sleep(SETTLE_S)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/bess/status") as answer:
                    if json.load(answer)["fields"]["soc_percent"]["source"] != "modbus":
                        raise SystemExit("the flow does not hear the simulated battery")
                with _page(port) as told:
                    began, spent, seen = time.perf_counter(), cpu_s(flow.pid), len(told)
                    for second in range(1, MEASURED_S + 1):
                        client().post(f"http://127.0.0.1:{port}/api/bess/telemetry", json=TELEMETRY).raise_for_status()
                        time.sleep(max(0.0, began + second - time.perf_counter()))
                    took = time.perf_counter() - began
                    if len(told) - seen < MEASURED_S:
                        raise SystemExit("the page is told nothing")
                    return (cpu_s(flow.pid) - spent) / took * 100
            finally:
                flow.terminate()
                flow.communicate(timeout=20)
        finally:
            world.terminate()
            world.communicate(timeout=20)


@contextmanager
def _page(port: int) -> Iterator[list[int]]:
    """What an open dashboard costs a server: the page, and its stream from then on. The sizes of what it is told."""
    client().get(f"http://127.0.0.1:{port}/").raise_for_status()
    told: list[int] = []
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET /api/v1/live HTTP/1.1\r\nhost: localhost\r\n\r\n")

        def read() -> None:
            while size := len(stream.recv(1 << 16)):
                told.append(size)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield told
        finally:
            stream.shutdown(socket.SHUT_RDWR)
            reader.join()


def port_of(process: subprocess.Popen[str]) -> int:
    """Where a program that has just been started listens."""
    ready = _until(process, "ready on http://127.0.0.1:")
    return int(ready.removeprefix("ready on http://127.0.0.1:").partition(";")[0])


def _until(process: subprocess.Popen[str], beginning: str) -> str:
    """The first message of its log that begins so."""
    for line in process.stderr or ():
        if not line.startswith("{"):
            continue  # x, which sets something up first
        message: str = json.loads(line)["message"]
        if message.startswith(beginning):
            return message
    raise SystemExit(f"the program ended with {process.wait()} before it was ready")


def cpu_s(process: int) -> float:
    """User and system time of a process by /proc (Linux), with that of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int | str) -> float:
    """Resident memory by /proc (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
