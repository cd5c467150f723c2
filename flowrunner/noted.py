"""What the audit says of what was done to an engine: entries by hand, reloads."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowrunner.changeover import Reloaded
from flowrunner.message import JSON, Instant, Message
from flowrunner.store import Entry
from flowrunner.units import iso


def reloaded(outcome: Reloaded, at: Instant, by: str, origin: str) -> Entry:
    """A reload, and what it changed."""
    nodes = {"added": outcome.added, "removed": outcome.removed, "changed": outcome.changed}
    named = "; ".join(f"{kind} {', '.join(names)}" for kind, names in nodes.items() if names)
    said = outcome.reason or named or ("no node has changed" if outcome.result == "applied" else "")
    return Entry(
        at=at,
        kind="reload",
        who=by,
        origin=origin,
        text=f"{outcome.result}: {said}" if said else outcome.result,
        detail={
            "result": outcome.result, "generation": outcome.generation, **nodes, "rewired": outcome.rewired,
            "reason": outcome.reason,
        },
    )  # fmt: skip


def entered(
    flow: str, node: str, values: Mapping[str, JSON], message: Message, before: Message | None, *, by: str,
    origin: str, reason: str,
) -> Entry:  # fmt: skip
    """An entry by hand, that became ``message``; ``before``: the one before it, where there was any."""
    known = before.payload if before is not None and isinstance(before.payload, dict) else {}
    return Entry(
        at=message.received_at,
        kind="entry",
        who=by,
        origin=origin,
        flow=flow,
        node=node,
        text=f"entered {msgspec.json.encode(dict(values)).decode()}",
        detail={
            "values": dict(values), "before": {name: known.get(name) for name in values}, "reason": reason,
            "until": _until(message),
        },
    )  # fmt: skip


def _until(message: Message) -> str | None:
    """When the entry expires, as ISO time."""
    ends = [one.valid_until for one in (message.fields or {}).values() if one and one.valid_until is not None]
    return iso(min(ends)) if ends else None
