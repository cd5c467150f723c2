"""What an expectation is held against, and how values and times of it are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.graph import GraphNode
from flowrunner.message import JSON, Instant
from flowrunner.testing.checking import address_of
from flowrunner.testing.watching import Watching
from flowrunner.units import Duration, to_datetime

LONGEST = 160
"""Characters that are shown of a message."""


@dataclass(frozen=True, slots=True)
class View:
    """What an expectation is held against. ``since``: when the last thing was done; ``before``: how many messages had
    been sent by then; ``done``: what that was."""

    nodes: Mapping[str, GraphNode]
    """By address; also those that ran only before the file was read again."""
    flow: str
    watching: Watching
    since: Instant
    before: int
    done: str
    now: Instant

    @property
    def zone(self) -> ZoneInfo:
        return next(one.zone for one in self.nodes.values() if one.flow == self.flow)

    def node(self, name: str) -> GraphNode:
        return self.nodes[address_of(name, self.flow)]

    def clock(self, at: Instant) -> str:
        """The flow's local time; with the day where it is another one than now."""
        moment, today = to_datetime(at, self.zone), to_datetime(self.now, self.zone)
        text = f"{moment:%H:%M:%S}" if at % 10**9 == 0 else f"{moment:%H:%M:%S}.{at % 10**9 // 10**6:03d}"
        return text if moment.date() == today.date() else f"{moment:%Y-%m-%d} {text}"


def as_json(value: JSON) -> str:
    text = msgspec.json.encode(value).decode().replace('":', '": ').replace(',"', ', "')
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def duration_text(ns: int) -> str:
    """Flow time that has passed, as people say it: ``2 h 30 min``."""
    seconds = ns // 10**9
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    words = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(words[:2]) or str(Duration(ns))
