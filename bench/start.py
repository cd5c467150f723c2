"""Starts: how long until the first answer, and the memory then, of flows of any size."""

from __future__ import annotations

import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import node_red
from bench.flows import many_nodes
from bench.programs import PROGRAM, memory_mb, port_of

IDLE = "flow: idle\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n  log: {type: log, from: tick}\n"


def with_nodes(count: int) -> tuple[float, float]:
    """``flowrunner run`` with so many nodes (0: two, that do nothing) from start to the first answer (s), and its
    memory a moment later (MB)."""
    text = many_nodes(count, every="1h") if count else IDLE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flow.yaml").write_text(text, "utf-8")
        arguments = ["run", str(folder / "flow.yaml"), "--port", "0", "--log", "json", "--data", str(folder / "data")]
        began = time.perf_counter()
        process = subprocess.Popen([*PROGRAM, *arguments, "--no-watch"], stderr=subprocess.PIPE, text=True)
        try:
            port = port_of(process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live") as answer:
                answer.read()
            took = time.perf_counter() - began
            time.sleep(1)
            return took, memory_mb(process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def nodered(count: int) -> tuple[float, float]:
    """The same by Node-RED, with injects, functions, switches and changes. NotAtHand."""
    began = time.perf_counter()
    with node_red.serving(node_red.many_nodes(count)) as (_, process):
        took = time.perf_counter() - began
        time.sleep(1)
        return took, memory_mb(process)
