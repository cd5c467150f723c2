"""The terminal itself: its size, whether we are in its foreground, echo of keys, and writing to it."""

from __future__ import annotations

import os
import sys
from typing import Any

if sys.platform != "win32":
    import termios


class Device:
    """A terminal by its file descriptor. OSError when it is no more."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._before: list[Any] | None = None

    def size(self) -> tuple[int, int]:
        """Columns and lines; 80 by 24 where it does not say."""
        size = os.get_terminal_size(self._number)
        return size.columns or 80, size.lines or 24

    def in_foreground(self) -> bool:
        """Whether a shell has put us into the background. Without a shell we are in front."""
        if sys.platform == "win32":
            return True
        try:
            return os.tcgetpgrp(self._number) == os.getpgrp()
        except OSError:  # not our controlling terminal: nobody could put us anywhere
            return True

    def quiet_keys(self) -> None:
        """Keys that are hit by chance must not write into the table."""
        if sys.platform == "win32" or not self._ours():
            return
        now = termios.tcgetattr(self._number)
        if now[3] & termios.ECHO:
            self._before = termios.tcgetattr(self._number)
            now[3] &= ~termios.ECHO
            termios.tcsetattr(self._number, termios.TCSANOW, now)

    def usual_keys(self) -> None:
        """As it was before."""
        before, self._before = self._before, None
        if sys.platform != "win32" and before is not None and self._ours():
            termios.tcsetattr(self._number, termios.TCSANOW, before)

    def _ours(self) -> bool:
        """In the background the system would stop us for changing the terminal."""
        return self.in_foreground()

    def write(self, text: str) -> None:
        """All of it; waits as long as the terminal is held (Ctrl-S). What it has no characters for is escaped."""
        data = text.encode(getattr(sys.__stderr__, "encoding", None) or "utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._number, data) :]
