"""Lines of the log: text for people, JSON for containers, and no secret in either."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

import msgspec

from flowrunner import stderr
from flowrunner.units import iso

SHORTEST_SECRET = 4
"""Shorter values are not looked for in texts: they would mask ordinary words."""
MASK = "***"
Style = Literal["text", "json"]


class Secrets:
    """The values that must not be seen. They are looked for in whole texts, as they are and as they are quoted."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: list[str] = []
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        spelled = {way for value in values if len(value) >= SHORTEST_SECRET for way in _spellings(value)}
        # a secret that holds another goes as a whole
        self._values = sorted({*self._values, *spelled}, key=lambda value: (-len(value), value))

    def mask(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        return text


def _spellings(value: str) -> set[str]:
    """A value as reprs, JSON and URLs write it: that is how it gets into errors of libraries."""
    utf8 = value.encode("utf-8", "surrogateescape")
    return {
        value,
        repr(value)[1:-1],
        repr(utf8)[2:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(utf8, safe=""),
        quote(utf8),
    }


class Formatter(logging.Formatter):
    """One line per record: ``2025-01-25T20:30:00.000Z WARNING bess/mqtt: …`` or an object with the same parts.

    In text, what goes over several lines (a traceback) is indented, so that no value can pretend to be a line.
    """

    def __init__(self, style: Style, secrets: Secrets) -> None:
        super().__init__()
        self._form = style
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        at = iso(round(record.created * 1000) * 1_000_000)
        if self._form == "json":
            entry = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": _message(record)}
            node = getattr(record, "node", None)
            entry |= {"node": str(node)} if node else {}
            entry |= {"trace": trace} if trace else {}
            return msgspec.json.encode(
                {key: _sound(self._secrets.mask(value)) for key, value in entry.items()}
            ).decode()
        text = _message(record)
        text = _visible(self._secrets.mask(f"{text}\n{trace}" if trace else text))
        return f"{at} {record.levelname} {text}"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a library's line with the wrong number of arguments: better ugly than lost
        return f"{record.msg} {record.args!r}"


def _sound(text: str) -> str:
    """Texts of errors may quote anything; what is no Unicode is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _visible(text: str) -> str:
    """Control characters as escapes (they could move a terminal's cursor), further lines indented."""
    shown = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
    return _sound(shown).replace("\n", "\n    ")


def set_up(style: Style, secrets: Secrets, level: int = logging.INFO) -> None:
    """Log to standard error, for the whole program: also what Python itself would print there on its own."""
    handler = stderr.handler()
    handler.setFormatter(Formatter(style, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    log = logging.getLogger("flowrunner")
    threading.excepthook = lambda lost: log.critical(
        "a thread failed", exc_info=(lost.exc_type, lost.exc_value or lost.exc_type(), lost.exc_traceback)
    )
    sys.unraisablehook = lambda lost: log.error(
        "%s %r", lost.err_msg or "an error in", lost.object,
        exc_info=(lost.exc_type, lost.exc_value or lost.exc_type(), lost.exc_traceback),
    )  # fmt: skip
    logging.getLogger("flowrunner.log").setLevel(logging.DEBUG)  # the log node: its own option says what matters
    quiet = {"uvicorn": logging.ERROR, "pymodbus": logging.WARNING, "watchfiles": logging.WARNING}
    for chatty, loudness in quiet.items():
        logging.getLogger(chatty).setLevel(loudness)  # what matters of them is said by nodes and our own lines
