"""Lines to standard error, never waiting for whoever reads them: a flow must not stand still because a log does."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from collections import deque
from typing import TextIO

MOST_BYTES = 1 << 20
"""Of lines that wait for their reader; then the oldest go, and their number is told."""
AT_ONCE = 4096
"""Bytes that a pipe takes without waiting when it says that it takes any (PIPE_BUF of Linux)."""
PATIENCE_S = 1.0
"""For a reader that does not read, when the program ends."""


class Stderr(logging.StreamHandler[TextIO]):
    """Writes at once while the other end takes it: what was said before a crash is out. When it does not (a full pipe,
    a terminal that is held), lines wait in memory, and a thread writes them, in order.

    ``lost`` counts the lines that nobody will ever see.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.lost = 0
        self._untold = 0
        self._number = stream.fileno()
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._writing = False
        self._guard = threading.Condition()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        line = self._bytes(record)
        with self._guard:
            if not (self._waiting or self._writing or self._untold):
                line = self._at_once(line)
            if line:
                self._keep(line)

    def flush(self) -> None:
        """Wait until all is written, a second at most."""
        with self._guard:
            self._guard.wait_for(lambda: not (self._waiting or self._writing), PATIENCE_S)

    def _bytes(self, record: logging.LogRecord) -> bytes:
        try:
            text = self.format(record)
        except Exception as error:  # of a formatter or an argument: what the standard library does here may wait
            text = f"a line of {record.name} cannot be written: {type(error).__name__}"
        return (text + self.terminator).encode(self._encoding, "backslashreplace")

    def _at_once(self, line: bytes) -> bytes:
        """What is left of it."""
        if len(line) > AT_ONCE or not _takes(self._number, 0):
            return line
        try:
            return line[os.write(self._number, line) :]
        except BlockingIOError:
            return line
        except OSError:  # nobody is there any more
            self._lose()
            return b""

    def _keep(self, line: bytes) -> None:
        self._waiting.append(line)
        self._size += len(line)
        while self._size > MOST_BYTES and len(self._waiting) > 1:
            self._size -= len(self._waiting.popleft())
            self._lose()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="flowrunner-log", daemon=True)
            self._thread.start()
        self._guard.notify_all()

    def _lose(self) -> None:
        self.lost += 1
        self._untold += 1

    def _run(self) -> None:
        while True:
            with self._guard:
                self._guard.wait_for(lambda: self._waiting)
                line = self._waiting.popleft()
                self._size -= len(line)
                if self._untold:
                    line, self._untold = self._told(self._untold) + line, 0
                self._writing = True
            gone = not self._written(line)
            with self._guard:
                self._writing = False
                if gone:
                    self._lose()
                self._guard.notify_all()

    def _written(self, line: bytes) -> bool:
        while line:
            _takes(self._number, None)
            try:
                line = line[os.write(self._number, line[:AT_ONCE]) :]
            except BlockingIOError:  # another program at the same end was faster
                continue
            except OSError:  # nobody is there any more
                return False
        return True

    def _told(self, lost: int) -> bytes:
        text = "%d lines of the log are lost: nobody read them in time"
        return self._bytes(logging.LogRecord("flowrunner", logging.WARNING, __file__, 0, text, (lost,), None))


def _takes(number: int, wait_ms: int | None) -> bool:
    """Whether a write would not have to wait; also where it would fail at once."""
    waiting = select.poll()
    waiting.register(number, select.POLLOUT)
    return bool(waiting.poll(wait_ms))


def handler() -> logging.Handler:
    """For standard error as it is now."""
    stream: TextIO | None = sys.stderr
    if stream is None or not hasattr(select, "poll"):  # a service of Windows has none
        return logging.StreamHandler()
    try:
        return Stderr(stream)
    except (OSError, ValueError):  # somebody put something in its place that is no file
        return logging.StreamHandler()


def lost_lines() -> int:
    """Lines of the log that nobody will ever see, since the start."""
    return sum(one.lost for one in logging.getLogger().handlers if isinstance(one, Stderr))
