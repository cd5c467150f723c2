"""What the live stream has told so far: a snapshot, and the deltas since. Pure."""

from __future__ import annotations

from typing import Any

from flowrunner.message import JSON
from flowrunner.remote.asking import Event

COLUMNS = (
    "received", "sent", "inbox", "state", "connected", "errors", "dropped", "last_at", "last", "last_error",
)  # fmt: skip


class Mirror:
    """The nodes of an engine as of the newest frame; empty before the first snapshot."""

    def __init__(self) -> None:
        self.at = 0
        """Milliseconds: flow time of the newest frame."""
        self.generation = 0
        self.speed = 1.0
        self.names: list[str] = []
        self.status: dict[str, JSON] = {}
        self.nodes: list[dict[str, Any]] = []
        """In the order of ``names``."""

    def take(self, event: Event) -> bool:
        """Take an event in; whether it was one of the nodes."""
        data = event.data
        if event.name == "snapshot":
            self.generation, self.names, self.speed = data["generation"], data["names"], data.get("speed", 1.0)
            rows = zip(*(data["nodes"][name] for name in COLUMNS), strict=True)
            self.nodes = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        elif event.name == "delta":
            self._change(data.get("nodes", {}), data["at"])
        else:
            return False
        self.at = data["at"]
        self.status |= data.get("status", {})
        return True

    def _change(self, columns: dict[str, Any], at: int) -> None:
        told = [name for name in COLUMNS if name in columns]
        passed = "received" in columns or "sent" in columns
        for row, place in enumerate(columns.get("i", ())):
            node = self.nodes[place]
            if passed and "last_at" not in columns and _passed(node) != _passed(_row(columns, row)):
                node["last_at"] = at  # among many that is told later; it was just now
            for name in told:
                node[name] = columns[name][row]


def _row(columns: dict[str, Any], row: int) -> dict[str, Any]:
    return {name: columns[name][row] for name in ("received", "sent") if name in columns}


def _passed(node: dict[str, Any]) -> tuple[Any, ...]:
    return node.get("received"), node.get("sent")
