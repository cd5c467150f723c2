"""Requests to a runner's HTTP server by wrk, a process of its own: how many a second, how long, at what cost.

The driver knows nothing of the runner but the URL and, for its CPU, the process.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import node_red
from bench.node_red import NotAtHand
from bench.programs import PROGRAM, cpu_s, port_of
from flowrunner.registry import ENVIRONMENT

NODES = Path(__file__).resolve().parent / "nodes"
MANY = 32
"""Connections of the throughput."""
WARM_S, MEASURED_S = 1.0, 4.0
WAITING, WORK_MS = 1000, 10
"""Messages that wait at the slow node, and how long it works for each: ten seconds in all."""
ASKED_PER_S, ASKED_S = 20, 8.0
BODY = {"value": 21.5}
ANSWER = {"value": 43.0}
"""What both runners say of it, at least."""

FLOW = """
flow: http
nodes:
  post:
    type: http-in
    route: POST /scale
    rate_limit: 1000000/s
    body: {value: {min: 0, max: 1000, required: true}}
  scale: {type: scale, from: post, fields: {value: {factor: 2}}}
  hot: {type: threshold, from: scale, field: value, above: 40}
  answer: {type: http-response, from: hot}
  load: {type: http-in, route: POST /load, rate_limit: 1000000/s}
  burst: {type: burst, from: load, queue: {size: 10}}
  slow: {type: slow, from: burst, queue: {size: 2000}}
"""
SCRIPT = """
wrk.method = "POST"
wrk.body = '%s'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %%d, "us": %%d, "wrong": %%d, "p50": %%d, "p99": %%d, "longest": %%d}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50),
    latency:percentile(99), latency.max))
end
"""


class Served(NamedTuple):
    """A runner's server with the flow."""

    url: str
    process: int


class Load(NamedTuple):
    """One run of the driver."""

    per_s: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    cpu_us: float
    """Of the runner's process, user and system, for each request."""


class Waits(NamedTuple):
    """How long answers took."""

    p50_ms: float
    p99_ms: float
    longest_ms: float


Runner = Callable[[], AbstractContextManager[Served]]


def through(runner: Runner, connections: int = MANY) -> Load:
    """POST → scale → threshold → answer, as fast as so many connections get their answers."""
    with runner() as served:
        _right(served.url)
        load(served, connections, WARM_S)
        return load(served, connections, MEASURED_S)


def beside_a_slow_node(runner: Runner) -> Waits:
    """The same answers while a thousand messages wait at a node that works ten milliseconds for each.

    Somebody asks twenty times a second. What had to wait because the one before was not answered yet counts from
    the moment when it was to be asked: a server that stands still for seconds has let down all who came meanwhile.
    """
    with runner() as served:
        _right(served.url)
        waits = []
        with Client(served.url) as client, ThreadPoolExecutor(1) as beside:
            for _ in range(ASKED_PER_S):
                client.ask("/scale", BODY)
            burst = beside.submit(_post, f"{served.url}/load", {"count": WAITING, "work_ms": WORK_MS})
            began = time.perf_counter()
            for number in range(round(ASKED_S * ASKED_PER_S)):
                due = began + number / ASKED_PER_S
                time.sleep(max(0.0, due - time.perf_counter()))
                client.ask("/scale", BODY)
                waits.append(time.perf_counter() - due)
            burst.result()
        waits.sort()
        return Waits(*(waits[round(part * (len(waits) - 1))] * 1e3 for part in (0.5, 0.99, 1.0)))


def load(served: Served, connections: int, seconds: float) -> Load:
    """One run. SystemExit where an answer was none. NotAtHand without wrk."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise NotAtHand("wrk is not installed")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % json.dumps(BODY))
        script.flush()
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s", "-s", script.name]
        began = cpu_s(served.process)
        said = subprocess.run([*command, f"{served.url}/scale"], check=True, capture_output=True, text=True).stdout
        spent = cpu_s(served.process) - began
    found = json.loads(said.strip().splitlines()[-1])
    if found["wrong"] or not found["requests"]:
        raise SystemExit(f"{found['wrong']} requests failed of {found['requests']}")
    count = found["requests"]
    return Load(
        per_s=count / found["us"] * 1e6, p50_ms=found["p50"] / 1e3, p99_ms=found["p99"] / 1e3,
        longest_ms=found["longest"] / 1e3, cpu_us=spent / count * 1e6,
    )  # fmt: skip


class Client:
    """One connection that is kept."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)

    def __enter__(self) -> Client:
        self._connect()
        return self

    def _connect(self) -> None:
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, path: str, body: object) -> None:
        """SystemExit where there is no answer. A server that stood still may have cut the connection: then by another,
        and the time goes on."""
        try:
            self._ask(path, body)
        except (ConnectionError, http.client.BadStatusLine):
            self._connection.close()
            self._connect()
            self._ask(path, body)

    def _ask(self, path: str, body: object) -> None:
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"POST {path}: {answer.status}")


def _right(url: str) -> None:
    """The flow does what it is to do, else its speed says nothing."""
    answer = _post(f"{url}/scale", BODY)
    if not isinstance(answer, dict) or {name: answer.get(name) for name in ANSWER} != ANSWER:
        raise SystemExit(f"the flow answered {answer!r}")


def _post(url: str, body: object) -> object:
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  (our own server)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  (the same)
        return json.loads(answer.read() or b"null")


# ---- the runners -------------------------------------------------------------------------------------------------


@contextmanager
def flowrunner() -> Iterator[Served]:
    """The program as a user starts it."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as lines:
        flow = Path(folder) / "http.yaml"
        flow.write_text(FLOW, "utf-8")
        arguments = ["run", str(flow), "--port", "0", "--log", "json", "--data", folder]
        process = subprocess.Popen(
            [*PROGRAM, *arguments], stdout=lines, stderr=subprocess.PIPE, text=True,
            env=os.environ | {ENVIRONMENT: str(NODES)},
        )  # fmt: skip
        try:
            yield Served(f"http://127.0.0.1:{port_of(process)}", process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=30)


@contextmanager
def nodered() -> Iterator[Served]:
    """Node-RED with the same flow. NotAtHand where it is not."""
    with node_red.serving(_node_red_flow()) as (port, process):
        yield Served(f"http://127.0.0.1:{port}", process)


def _node_red_flow() -> list[dict[str, object]]:
    """http in → function → switch → change → http response, and a burst of messages for a slow function."""
    place: dict[str, object] = {"z": "http", "x": 0, "y": 0}
    rules = [{"t": "gt", "v": "40", "vt": "num"}, {"t": "else"}]
    made = "Array.from({length: msg.payload.count}, () => ({payload: msg.payload}))"
    slow = "const until = Date.now() + msg.payload.work_ms; while (Date.now() < until) {} return null;"

    def door(name: str, wires: list[str]) -> dict[str, object]:
        return {"id": name, "type": "http in", "url": f"/{name}", "method": "post", "upload": False, "wires": [wires],
                **place}  # fmt: skip

    def function(name: str, text: str, wires: list[str]) -> dict[str, object]:
        return {"id": name, "type": "function", "func": text, "outputs": 1, "wires": [wires], **place}

    def says(name: str, verdict: str) -> dict[str, object]:
        rule = {"t": "set", "p": "payload.hot", "pt": "msg", "to": verdict, "tot": "str"}
        return {"id": name, "type": "change", "rules": [rule], "wires": [["answer"]], **place}

    return [
        {"id": "http", "type": "tab", "label": "http"},
        door("scale", ["function"]),
        function("function", "msg.payload.value *= 2; return msg;", ["hot"]),
        {"id": "hot", "type": "switch", "property": "payload.value", "propertyType": "msg", "rules": rules,
         "checkall": "false", "outputs": 2, "wires": [["above"], ["clear"]], **place},
        says("above", "above"),
        says("clear", "clear"),
        {"id": "answer", "type": "http response", "statusCode": "", "headers": {}, "wires": [], **place},
        door("load", ["answer", "burst"]),
        function("burst", f"return [{made}];", ["slow"]),
        function("slow", slow, []),
    ]  # fmt: skip


def main() -> None:
    """All of it, for both."""
    for runner in (flowrunner, nodered):
        print(f"{runner.__name__}, {MANY} connections: {through(runner)}", flush=True)
        print(f"{runner.__name__}, one connection: {through(runner, 1)}", flush=True)
        print(f"{runner.__name__}, beside a slow node: {beside_a_slow_node(runner)}", flush=True)


if __name__ == "__main__":
    main()
