"""What is counted of every node, the same for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flowrunner.message import Instant, Message

NodeState = Literal["starting", "running", "disconnected", "restarting", "finished", "stopped"]


@dataclass(slots=True)
class Counters:
    """Bumped per batch; read by the API, the metrics and the page."""

    received: int = 0
    sent: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    process_seconds: float = 0.0
    state: NodeState = "starting"
    connected: bool | None = None
    """None: the node has no peer."""
    last_error: str = ""
    last_error_at: Instant | None = None
    restarts: int = 0
    last: dict[str, Message] = field(default_factory=dict)
    """The newest message of each port."""
    last_at: Instant | None = None
    """Flow time of the last message that came in or went out."""

    def error(self, code: str, reason: str, now: Instant) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1
        self.last_error = f"{code}: {reason}" if reason else code
        self.last_error_at = now

    def drop(self, reasons: Mapping[str, int]) -> dict[str, int]:
        """All drops: the node's own and those of its inbox."""
        total = dict(self.dropped)
        for reason, count in reasons.items():
            total[reason] = total.get(reason, 0) + count
        return total

    @property
    def ready(self) -> bool:
        return self.state in ("running", "finished") and self.connected is not False
