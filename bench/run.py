"""``./x bench``: a table of what start-up, validation, a chain of nodes and memory cost on this machine.

Each figure is a median of several runs; absolute times depend on the machine, so compare figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from flowrunner import __version__
from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import Store

ROOT = Path(__file__).resolve().parent.parent
BESS = ROOT / "flows" / "bess.yaml"
PROGRAM = [sys.executable, "-m", "flowrunner"]
MESSAGES = 100_000
SETTLE_S, MEASURED_S = 3.0, 10.0
"""Seconds before CPU is measured, and for which."""

CHAIN = """
flow: chain
nodes:
  source: {type: inject, once: true, payload: {value: 1}}
  scale: {type: scale, from: source, fields: {value: {factor: 2}}}
  filter: {type: filter, from: scale, when: value > 0}
  select: {type: select, from: filter, fields: [value]}
"""


def thousand_nodes() -> str:
    """A flow of 1,000 nodes: chains of the usual types that meet in merges."""
    lines = ["flow: large", "nodes:"]
    for number in range(125):
        lines += [
            f"  in-{number}: {{type: inject, every: 1s, payload: {{soc_percent: 50, temperature_c: 20}}}}",
            f"  scale-{number}: {{type: scale, from: in-{number}, fields: {{soc_percent: {{factor: 0.1, max: 100}}}}}}",
            f"  filter-{number}: {{type: filter, from: scale-{number}, when: soc_percent < 30 and temperature_c > 0}}",
            f"  select-{number}: {{type: select, from: filter-{number}, fields: [soc_percent, temperature_c]}}",
            f"  merge-{number}: {{type: merge, from: [select-{number}, in-{number}], stale_after: 90s}}",
            f"  hot-{number}: {{type: threshold, from: merge-{number}, field: temperature_c, above: 40}}",
            f"  full-{number}: {{type: threshold, from: hot-{number}, field: soc_percent, above: 90}}",
            f"  log-{number}: {{type: log, from: [full-{number}.above, hot-{number}.error]}}",
        ]
    return "\n".join(lines) + "\n"


def median(measure: Callable[[], float], runs: int) -> float:
    measure()  # the first run warms caches of files and code
    return statistics.median(measure() for _ in range(runs))


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


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
            port = _port_of(process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/bess/status") as answer:
                answer.read()
            return time.perf_counter() - began, _memory_mb(process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=20)


def _port_of(process: subprocess.Popen[str]) -> int:
    ready = _until(process, "ready on http://127.0.0.1:")
    return int(ready.removeprefix("ready on http://127.0.0.1:").partition(";")[0])


def first_record() -> float:
    """``./x run`` from start to the first merged record of the simulated battery (s)."""
    began = time.perf_counter()
    command = [str(ROOT / "x"), "run", "--port", "0", "--log", "json"]
    with tempfile.TemporaryFile("w+") as lines:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=lines, text=True)
        try:
            port = _port_of(process)
            while True:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/bess/status") as answer:
                    if json.load(answer)["status"] == "online":
                        return time.perf_counter() - began
                time.sleep(0.002)
        finally:
            process.terminate()
            process.communicate(timeout=20)


def cpu_at_one_hertz() -> float:
    """CPU of ``flows/bess.yaml`` in % of one core over ten seconds: Modbus polled once a second, MQTT, prices and
    orders beside it. The simulated world runs in a process of its own."""
    ports = ["--modbus-port", "0", "--exchange-port", "0", "--mqtt-port", "0", "--log", "json"]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "world.env").open("w+") as places:
        world = subprocess.Popen([*PROGRAM, "simulate", *ports], stdout=places, stderr=subprocess.PIPE, text=True)
        try:
            _until(world, "ready")
            arguments = ["run", str(BESS), "--port", "0", "--log", "json", "--data", folder, "--env-file", places.name]
            environment = os.environ | {"BESS_UPDATE_INTERVAL": "1"}
            flow = subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, text=True, env=environment)
            try:
                port = _port_of(flow)
                time.sleep(SETTLE_S)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/bess/status") as answer:
                    if json.load(answer)["fields"]["soc_percent"]["source"] != "modbus":
                        raise SystemExit("the flow does not hear the simulated battery")
                began = _cpu_s(flow.pid)
                time.sleep(MEASURED_S)
                return (_cpu_s(flow.pid) - began) / MEASURED_S * 100
            finally:
                flow.terminate()
                flow.communicate(timeout=20)
        finally:
            world.terminate()
            world.communicate(timeout=20)


def _until(process: subprocess.Popen[str], beginning: str) -> str:
    """The first message of its log that begins so."""
    for line in process.stderr or ():
        if not line.startswith("{"):
            continue  # x, which sets something up first
        message: str = json.loads(line)["message"]
        if message.startswith(beginning):
            return message
    raise SystemExit(f"the program ended with {process.wait()} before it was ready")


def _cpu_s(process: int) -> float:
    """User and system time by /proc (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(process: int) -> float:
    """Resident memory by /proc (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def chain() -> float:
    """Messages per second through three plain nodes, in this process."""

    async def run() -> float:
        checked = check_flows({"chain.yaml": CHAIN}, {}, Registry())
        engine = Engine(checked, store=Store.open(None), clock=LiveClock(), stubs=["chain/source"])
        await engine.start()
        worker = engine.runtime.workers["chain/source"]
        context = worker.ctx
        began = time.perf_counter()
        for number in range(MESSAGES):
            await context.emit(context.message({"value": number + 1}, position=str(number)))
        await engine.runtime.drained()
        took = time.perf_counter() - began
        arrived = engine.runtime.workers["chain/select"].counters.sent
        await engine.stop()
        if arrived != MESSAGES:
            raise SystemExit(f"of {MESSAGES} messages {arrived} arrived")
        return MESSAGES / took

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./x bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs per figure (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as compiled:  # as it is where a program is installed, whatever this shell says
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Print a table, or one JSON object."""
    text, registry = thousand_nodes(), Registry()

    def check() -> None:
        problems = check_flows({"large.yaml": text}, {}, registry).problems
        if problems:
            raise SystemExit("\n".join(map(str, problems[:5])))

    empty = median(lambda: seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True)), options.runs)
    answers = [first_answer() for _ in range(options.runs + 1)][1:]
    figures = {
        "python -c '' (for comparison)": (empty * 1000, "ms"),
        "flowrunner --help": (median(lambda: command("--help"), options.runs) * 1000, "ms"),
        "flowrunner validate flows/bess.yaml": (
            median(lambda: command("validate", str(BESS)), options.runs) * 1000,
            "ms",
        ),
        "flowrunner run flows/bess.yaml, to the first answer": (
            statistics.median(one[0] for one in answers) * 1000,
            "ms",
        ),
        "./x run, to the first merged record": (median(first_record, options.runs) * 1000, "ms"),
        "CPU of the flow at 1 Hz (of one core)": (median(cpu_at_one_hertz, min(options.runs, 3)), "%"),
        "its memory at the first answer": (statistics.median(one[1] for one in answers), "MB"),
        "validation of a file with 1,000 nodes, in process": (
            median(lambda: seconds(check), options.runs) * 1000,
            "ms",
        ),
        "chain of 3 (scale, filter, select)": (median(chain, options.runs), "messages/s"),
        "flowrunner test, the shipped flows": (
            median(lambda: command("test", str(BESS.parent)), options.runs),
            "s",
        ),
        "replay of a year, telemetry every hour": (median(lambda: replay("1h"), options.runs), "s"),
        "replay of a year, telemetry every minute (525,600 records)": (
            statistics.median(replay("1min") for _ in range(min(options.runs, 3))),
            "s",
        ),
        "memory of this process at its peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "MB"),
    }
    if options.json:
        print(json.dumps({name: {"value": round(value, 3), "unit": unit} for name, (value, unit) in figures.items()}))
        return
    print(f"flowrunner {__version__}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {platform.machine()}")
    print(f"medians of {options.runs} runs\n")
    for name, (value, unit) in figures.items():
        print(f"{name:<60}{value:>12,.{0 if value >= 100 else 1}f} {unit}")


if __name__ == "__main__":
    main()
