"""The real program as a process of its own: started on a free port, waited for, ended by its id."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BESS = "flows/bess.yaml"
BAD = "flow: bad\nnodes:\n  tick: {type: inject, every: 1}\n  out: {type: lg, from: tick}\n"
GOOD = "flow: good\nnodes:\n  tick: {type: inject, every: 1h, payload: 1}\n  out: {type: log, from: tick}\n"
LONG = "0123456789abcdef"
PATIENCE_S = 30.0
FOREIGN = ("FLOWRUNNER_", "BESS_", "EXCHANGE_")
READY = re.compile(r"ready on (http://[^;\s]+);")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without what the first user sets, and with ``more``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return own | {"COLUMNS": "100", "PYTHONUNBUFFERED": "1"} | dict(more or {})


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """``flowrunner …`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "flowrunner", *arguments], env=environment(env), cwd=cwd, timeout=PATIENCE_S,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


class Program:
    """``with Program("flows/bess.yaml", data=tmp_path) as program:`` – ``program.url`` answers until the block ends.

    ``lines`` is what it said so far; ``end()`` sends a signal and gives the exit code.
    """

    def __init__(
        self,
        *arguments: str | Path,
        data: Path | None,
        env: Mapping[str, str] | None = None,
        port: int = 0,
        cwd: Path = ROOT,
    ) -> None:
        self.command: list[str | Path] = [sys.executable, "-m", "flowrunner", "run", *arguments, "--port", str(port)]
        if data is not None:
            self.command += ["--data", data]
        self.lines: list[str] = []
        self.url = ""
        self._env, self._cwd = environment(env), cwd
        self._said = threading.Condition()
        self._ended = False

    def __enter__(self) -> Program:
        self._process = subprocess.Popen(
            self.command, env=self._env, cwd=self._cwd, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = READY.search(self.until("ready on "))[1]  # type: ignore[index]  # until() found the words
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                with self._said:
                    self.lines.append(line.rstrip("\n"))
                    self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def until(self, words: str) -> str:
        """The first line of the log that holds ``words``, waited for."""
        with self._said:
            self._said.wait_for(lambda: self._ended or any(words in line for line in self.lines), PATIENCE_S)
            found = next((line for line in self.lines if words in line), None)
        assert found is not None, "\n".join([f"it never said {words!r}:", *self.lines])
        return found

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, one: signal.Signals) -> None:
        self._process.send_signal(one)

    def end(self, one: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal (None: it ends by itself) and wait; the exit code."""
        if one is not None:
            self.send(one)
        code = self._process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def entries(self) -> list[dict[str, Any]]:
        """The lines of ``--log json``; each must be one object."""
        return [json.loads(line) for line in self.lines]
