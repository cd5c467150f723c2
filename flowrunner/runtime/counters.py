"""What is counted of every node, the same for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flowrunner.message import Instant, Message
from flowrunner.node import NodeState

MOST_KEYS = 64
"""Sites or devices of one port whose newest message is kept for who looks on."""


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
    keyed: dict[str, dict[str, Message]] = field(default_factory=dict)
    """The newest message of each port and key, of those that have a key; the `MOST_KEYS` that came last."""
    last_at: Instant | None = None
    """Flow time of the last message that came in or went out."""

    def note(self, port: str, messages: Iterable[Message]) -> None:
        """These have left by a port; those with a key are kept by it."""
        kept: dict[str, Message] | None = None
        for message in messages:
            if message.key:
                if kept is None:
                    kept = self.keyed.setdefault(port, {})
                kept.pop(message.key, None)  # the newest is the last one
                kept[message.key] = message
        while kept is not None and len(kept) > MOST_KEYS:
            del kept[next(iter(kept))]

    def error(self, code: str, reason: str, now: Instant) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1
        self.last_error = f"{code}: {reason}" if reason else code
        self.last_error_at = now

    def carry(self, before: Counters) -> None:
        """Go on with the numbers of the node whose place this one takes."""
        self.received += before.received
        self.sent += before.sent
        self.process_seconds += before.process_seconds
        self.restarts += before.restarts
        for own, theirs in ((self.errors, before.errors), (self.dropped, before.dropped)):
            for name, count in theirs.items():
                own[name] = own.get(name, 0) + count
        self.last = before.last | self.last
        self.keyed = before.keyed | self.keyed
        self.last_at = before.last_at if self.last_at is None else self.last_at
        if self.last_error_at is None:
            self.last_error, self.last_error_at = before.last_error, before.last_error_at

    def drop(self, reasons: Mapping[str, int]) -> dict[str, int]:
        """All drops: the node's own and those of its inbox."""
        total = dict(self.dropped)
        for reason, count in reasons.items():
            total[reason] = total.get(reason, 0) + count
        return total

    @property
    def ready(self) -> bool:
        return self.state in ("running", "finished") and self.connected is not False
