"""A node's log: every line names the node, and a line that repeats is said once a minute with its count."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from flowrunner.clock import Clock
from flowrunner.units import SECOND

QUIET_NS = 60 * SECOND


class NodeLog(logging.LoggerAdapter[logging.Logger]):
    """Limits by the text of the format string: arguments that differ do not make a line new."""

    def __init__(self, address: str, clock: Clock) -> None:
        super().__init__(logging.getLogger("flowrunner.node"), {"node": address})
        self._clock = clock
        self._said: dict[tuple[int, str], tuple[int, int]] = {}  # (level, format) → (until, held back)

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        slot, now = (level, str(msg)), self._clock.now()
        until, held = self._said.get(slot, (0, 0))
        if now < until:
            self._said[slot] = (until, held + 1)
            return
        if len(self._said) > 200:  # formats are few; a node that makes them up must not fill the memory
            self._said.clear()
        self._said[slot] = (now + QUIET_NS, 0)
        if held:
            msg = f"{msg} (and {held} more like it)"
        super().log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return f"{(self.extra or {})['node']}: {msg}", {**kwargs, "extra": self.extra}
