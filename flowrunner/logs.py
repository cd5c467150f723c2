"""Lines of the log: text for people, JSON for containers, and no secret in either."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal

import msgspec

from flowrunner.units import iso

SHORTEST_SECRET = 4
"""Shorter values are not looked for in texts: they would mask ordinary words."""
MASK = "***"


class Secrets:
    """The values that must not be seen. They are looked for in whole texts."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: list[str] = []
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        known = {*self._values, *(value for value in values if len(value) >= SHORTEST_SECRET)}
        self._values = sorted(known, key=len, reverse=True)  # a secret that holds another goes as a whole

    def mask(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        return text


class Formatter(logging.Formatter):
    """One line per record: ``2025-01-25T20:30:00.000Z WARNING bess/mqtt: …`` or an object with the same parts."""

    def __init__(self, style: Literal["text", "json"], secrets: Secrets) -> None:
        super().__init__()
        self._form = style
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        at = iso(int(record.created * 1_000_000_000))
        if self._form == "json":
            entry = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": message}
            node = getattr(record, "node", None)
            entry |= {"node": node} if node else {}
            entry |= {"trace": trace} if trace else {}
            masked = {key: self._secrets.mask(value) for key, value in entry.items()}
            return msgspec.json.encode(masked).decode()
        line = f"{at} {record.levelname} {message}"
        return self._secrets.mask(f"{line}\n{trace}" if trace else line)


def set_up(style: Literal["text", "json"], secrets: Secrets, level: int = logging.INFO) -> None:
    """Log to standard error, for the whole program."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter(style, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("uvicorn", "pymodbus"):  # what matters of them is said by the nodes and the server's own lines
        logging.getLogger(chatty).setLevel(logging.WARNING)
