"""SIGHUP away from a terminal: a request to read the files again, from the first moment of a run."""

from __future__ import annotations

import signal
import sys

_came: list[bool] = []
"""Those that came before there was anybody to do what they ask for."""


def at_a_terminal() -> bool:
    """Whether SIGHUP would mean that the terminal is gone; else it is a request."""
    return any(one is not None and not one.closed and one.isatty() for one in (sys.stdin, sys.stderr))


def note() -> None:
    """From now on one that comes is noted and does not end the process, which it does by itself."""
    if sys.platform != "win32" and not at_a_terminal():
        signal.signal(signal.SIGHUP, lambda *_: _came.append(True))


def noted() -> bool:
    """Whether one has come since; asked once, when whoever takes the next ones is there."""
    came = bool(_came)
    _came.clear()
    return came
