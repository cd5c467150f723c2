"""A node at a glance: what the table needs to know of it, copied so that another thread may read it."""

from __future__ import annotations

import msgspec

from flowrunner.graph import ERROR_PORT, GraphNode
from flowrunner.message import Instant, Message
from flowrunner.runtime.counters import Counters
from flowrunner.runtime.inbox import Inbox
from flowrunner.shape import ANYTHING


class Glance(msgspec.Struct, frozen=True):
    """One node at one instant."""

    flow: str
    id: str
    type: str
    state: str
    """A counters' state; ``disconnected`` whenever the peer is away."""
    passed: int
    """Messages that came in or went out, whichever are more."""
    errors: int
    dropped: int
    last: Message | None
    """The newest message of its port ``out``, else of another port that is not for errors."""
    last_at: Instant | None
    last_error: str
    adds: tuple[str, ...]
    """The fields that it adds to what comes in."""

    @property
    def ready(self) -> bool:
        return self.state in ("running", "finished")


def glance(spec: GraphNode, counters: Counters, inbox: Inbox) -> Glance:
    """One node as it is now; costs a few dictionary look-ups."""
    last = counters.last.get("out")
    if last is None:
        others = (one for port, one in counters.last.items() if port != ERROR_PORT)
        last = max(others, key=lambda one: one.received_at, default=None)
    made = spec.shapes.get("out", ANYTHING).fields
    return Glance(
        flow=spec.flow,
        id=spec.id,
        type=spec.kind.name,
        state="disconnected" if counters.connected is False else counters.state,
        passed=max(counters.received, counters.sent),
        errors=sum(counters.errors.values()),
        dropped=sum(counters.dropped.values()) + sum(inbox.dropped.values()),
        last=last,
        last_at=counters.last_at,
        last_error=counters.last_error,
        adds=tuple(name for name in made if name not in spec.incoming.fields) if spec.wires else (),
    )
