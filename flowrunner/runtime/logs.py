"""A node's log: every line names the node, and what repeats is said ever more rarely, with its count."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import Any

QUIET_S = 60.0
"""A kind of line is said again after this time; one that goes on and on after twice the last time, up to an hour."""
QUIETEST_S = 3600.0
MOST_KINDS = 200
"""Kinds are few; a node that makes them up must not fill the memory."""


class _Kind:
    """One kind of line: silent until an instant, and how many were held back meanwhile."""

    __slots__ = ("held", "quiet", "until")

    def __init__(self) -> None:
        self.until, self.quiet, self.held = 0.0, QUIET_S, 0


class NodeLog(logging.LoggerAdapter[logging.Logger]):
    """Limits by the text of the format string: arguments that differ do not make a line new."""

    def __init__(self, address: str, seconds: Callable[[], float]) -> None:
        """``seconds``: a time that never steps back, like the event loop's."""
        super().__init__(logging.getLogger("flowrunner.node"), {"node": address})
        self._seconds = seconds
        self._kinds: dict[tuple[int, str], _Kind] = {}

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        slot, now = (level, str(msg)), self._seconds()
        kind = self._kinds.get(slot)
        if kind is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            kind = self._kinds[slot] = _Kind()
        elif now < kind.until:
            kind.held += 1
            return
        elif now < kind.until + kind.quiet:
            kind.quiet = min(2 * kind.quiet, QUIETEST_S)  # it goes on
        else:
            kind.quiet = QUIET_S
        if kind.held:
            msg = f"{msg} (and {kind.held} more like it)"
        kind.until, kind.held = now + kind.quiet, 0
        super().log(level, msg, *args, **kwargs)

    def change(self, level: int, msg: str, *args: Any) -> None:
        """A change of state: never held back, or the last word in the log would be a wrong one."""
        super().log(level, msg, *args)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{(self.extra or {})['node']}: {msg}", {**kwargs, "extra": self.extra}
