"""A log that nobody reads: no line waits for its reader, memory is bounded, and what is lost is counted and told."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from flowrunner.stderr import MOST_BYTES, Stderr
from tests.peers.mosquitto import free_port
from tests.peers.program import ROOT, environment
from tests.peers.until import until_elsewhere

PIPE_BYTES = 65_536
"""What a pipe of Linux holds."""
LOST = re.compile(r"(\d+) lines of the log are lost: nobody read them in time")


class Pipe:
    """A pipe with a handler at its end, and what the other end reads."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        self.handler = Stderr(os.fdopen(writing, "w", encoding="utf-8", closefd=False))

    def say(self, text: str) -> None:
        self.handler.handle(logging.LogRecord("flowrunner", logging.INFO, "x.py", 1, "%s", (text,), None))

    def read(self, count: int) -> str:
        return os.read(self.reading, count).decode()

    def read_all(self) -> list[str]:
        """What comes until the handler has nothing left, as lines."""
        found: list[bytes] = []

        def reads() -> None:
            while some := os.read(self.reading, 1 << 16):
                found.append(some)

        reader = threading.Thread(target=reads)
        reader.start()
        until_elsewhere(lambda: not (self.handler._waiting or self.handler._writing), "all is written")
        os.close(self.writing)
        reader.join()
        self.writing = -1
        return b"".join(found).decode().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe(*os.pipe())
    yield one
    for end in (one.reading, one.writing):
        if end >= 0:
            os.close(end)


def test_lines_are_out_at_once_while_somebody_reads(pipe: Pipe) -> None:
    """No thread stands between a line and the pipe: what was said before a crash can be read."""
    for number in range(100):
        pipe.say(f"line {number}")
        assert pipe.read(1000) == f"line {number}\n"
    assert pipe.handler._thread is None


def test_nobody_reads_and_the_writer_does_not_wait(pipe: Pipe) -> None:
    total, long = 5000, "x" * 1000
    for number in range(total):
        pipe.say(f"{number} {long}")
    assert pipe.handler.lost > 0
    assert pipe.handler._size <= MOST_BYTES
    lines = pipe.read_all()
    numbers = [int(line.split()[0]) for line in lines if not LOST.fullmatch(line)]
    assert numbers[-1] == total - 1, "the newest is there"
    expected = lost = 0
    for line in lines:
        if found := LOST.fullmatch(line):  # it is told where they are missing
            expected, lost = expected + int(found[1]), lost + int(found[1])
        else:
            assert int(line.split()[0]) == expected
            expected += 1
    assert (expected, lost) == (total, pipe.handler.lost)


def test_a_line_longer_than_the_pipe_and_one_behind_it(pipe: Pipe) -> None:
    pipe.say("y" * 200_000)
    pipe.say("the end")
    assert pipe.read_all() == ["y" * 200_000, "the end"]
    assert pipe.handler.lost == 0


def test_a_reader_that_is_gone(pipe: Pipe) -> None:
    os.close(pipe.reading)
    pipe.reading = -1
    for number in range(3):
        pipe.say(f"line {number}")
    until_elsewhere(lambda: pipe.handler.lost == 3, "they are counted")


def test_a_line_that_cannot_be_written_is_no_reason_to_fail(pipe: Pipe) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("odd")

    pipe.handler.handle(logging.LogRecord("flowrunner.x", logging.INFO, "x.py", 1, "%s", (Odd(),), None))
    pipe.say("\ud800")
    assert pipe.read(1000) == "a line of flowrunner.x cannot be written: RuntimeError\n\\ud800\n"


FLOW = """
flow: loud
nodes:
  tick: {type: inject, every: 5ms, payload: {text: "%s"}}
  say: {type: log, from: tick, text: "{text}"}
  numbers: {type: http-in, route: POST /n}
  take: {type: compute, from: numbers, fields: {n: "1"}}
"""


def test_the_program_goes_on_while_nobody_reads_its_log(tmp_path: Path) -> None:
    """Its standard error is a pipe that is full after the first moments. A line of a log node has 2000 characters."""
    (tmp_path / "flow.yaml").write_text(FLOW % ("z" * 8000))
    port = free_port()
    command: list[str | Path] = [sys.executable, "-m", "flowrunner", "run", tmp_path / "flow.yaml"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--data", tmp_path / "data"], env=environment(), cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=5) as http:

            def said() -> int:
                with contextlib.suppress(httpx2.TransportError):
                    return int(http.get("/api/v1/flows/loud/nodes/say").json()["received"])
                return 0

            until_elsewhere(lambda: said() * 2000 > 6 * PIPE_BYTES, "far more than the pipe holds", 30)
            assert http.post("/n", json={"n": 1}).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
