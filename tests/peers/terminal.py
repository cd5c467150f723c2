"""A pseudo terminal with the real program on it, and a small reader of what a person would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.peers.program import PATIENCE_S, ROOT, environment

CONTROL = re.compile(r"\x1b\[(\?25[hl]|[0-9;]*[AJKm])")
"""The only escape sequences that the program may write."""
BEGUN = re.compile(r"\x1b(\[[?0-9;]*)?")


class Screen:
    """Lines of text as a terminal shows them; long ones are broken, and joined again when it becomes wider."""

    def __init__(self, columns: int, height: int) -> None:
        self.columns, self.height = columns, height
        self.rows: list[str] = [""]
        """All of them, those that scrolled away first."""
        self.goes_on: list[bool] = [False]
        """Whether the terminal broke the line at the end of this row."""
        self.row = self.column = 0
        self.cursor = True
        self._begun = ""

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    def feed(self, text: str) -> None:
        text, self._begun = self._begun + text, ""
        while text:
            found = CONTROL.match(text)
            if found:
                self._control(found[1])
                text = text[found.end() :]
                continue
            if BEGUN.fullmatch(text):
                self._begun = text
                return
            assert text[0] != "\x1b", f"what is {text[:20]!r}?"
            self._put(text[0])
            text = text[1:]

    def _put(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self._down()
        else:
            assert char.isprintable(), repr(char)
            if self.column >= self.columns:
                self.goes_on[self.row] = True
                self._down()
                self.column = 0
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")
            self.goes_on.append(False)

    def _control(self, what: str) -> None:
        if what in ("?25h", "?25l"):
            self.cursor = what == "?25h"
        elif what.endswith("A"):
            self.row = max(self.row - int(what[:-1] or 1), len(self.rows) - self.height, 0)
        elif what.endswith("K"):
            self.rows[self.row] = self.rows[self.row][: self.column]
        elif what.endswith("J"):
            self.rows[self.row] = self.rows[self.row][: self.column]
            self.goes_on[self.row] = False
            del self.rows[self.row + 1 :], self.goes_on[self.row + 1 :]

    def resize(self, columns: int, height: int) -> None:
        place, lines = 0, [""]
        for number, (row, goes_on) in enumerate(zip(self.rows, self.goes_on, strict=True)):
            if number == self.row:
                place, column = len(lines) - 1, len(lines[-1]) + self.column
            lines[-1] += row
            if not goes_on:
                lines.append("")
        lines.pop()
        self.columns, self.height, self.rows, self.goes_on = columns, height, [], []
        for number, line in enumerate(lines):
            parts = [line[at : at + columns] for at in range(0, len(line), columns)] or [""]
            if number == place:
                self.row, self.column = len(self.rows) + min(column // columns, len(parts) - 1), column % columns
            self.rows += parts
            self.goes_on += [True] * (len(parts) - 1) + [False]


class OnTerminal:
    """``with OnTerminal("run", …) as program:`` – ``program.screen`` is what is seen, ``program.raw`` all that came.

    The command is `flowrunner`, unless told. ``owned``: the terminal is its controlling terminal, as in a shell.
    """

    def __init__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        columns: int = 100,
        height: int = 30,
        command: Sequence[str] = (sys.executable, "-m", "flowrunner"),
        owned: bool = True,
    ) -> None:
        self._command = [*command, *map(str, arguments)]
        kept = {name: value for name, value in environment(env).items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
        self._env = {**kept, "TERM": "xterm-256color", **(env or {})}
        self.screen = Screen(columns, height)
        self.raw = ""
        self._owned = owned

    def __enter__(self) -> OnTerminal:
        self.master, terminal = pty.openpty()
        self._size(self.screen.columns, self.screen.height)
        self.process = subprocess.Popen(
            self._command, env=self._env, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal,
            start_new_session=True, preexec_fn=_own if self._owned else None,
        )  # fmt: skip
        os.close(terminal)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.close()

    def close(self) -> None:
        """The terminal goes away."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def _size(self, columns: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, columns, 0, 0))

    def resize(self, columns: int, height: int) -> None:
        """What was written before is read before."""
        while self._read(0):
            pass
        self.screen.resize(columns, height)
        self._size(columns, height)

    def _read(self, patience: float) -> bool:
        if not select.select([self.master], [], [], patience)[0]:
            return False
        try:
            data = os.read(self.master, 1 << 16)
            while True:  # a character of several bytes that was cut
                try:
                    text = data.decode()
                    break
                except UnicodeDecodeError:
                    data += os.read(self.master, 1)
        except OSError:  # nobody has it open any more
            return False
        self.raw += text
        self.screen.feed(text)
        return bool(text)

    def until(self, *words: str) -> str:
        """Everything that is to be seen, scrolled away or not, as soon as it holds all ``words``."""
        return self.see(lambda text: all(one in text for one in words), f"{words}")

    def see(self, condition: Callable[[str], object], what: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while self._read(0.02) or not condition(self.screen.text):  # not in the middle of something
            assert time.monotonic() < deadline, f"never seen: {what}\n{self.screen.text}"
            if not self._read(0.2) and self.process.poll() is not None and not self._read(0):
                assert condition(self.screen.text), f"it ended, never seen: {what}\n{self.screen.text}"
        return self.screen.text

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def echoes(self) -> bool:
        """Whether keys that are hit are written to the screen."""
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def end(self, one: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal (None: it ends by itself), read to the end, and give the exit code."""
        if one is not None:
            self.process.send_signal(one)
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.wait(1)


def _own() -> None:
    """In the child: the terminal of standard input is ours, and so are its signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
