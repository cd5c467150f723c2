"""The list of a running engine, read beside its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from flowrunner.engine import Engine
from flowrunner.message import Instant
from flowrunner.store import Alarms
from flowrunner.web.events import course
from flowrunner.web.events.asked import Asked
from flowrunner.web.events.deeds import SOURCES
from flowrunner.web.events.event import Position
from flowrunner.web.events.merged import Found, find
from flowrunner.web.events.shown import EventShown, event
from flowrunner.web.events.sources import Source


class Stretch(NamedTuple):
    """What was found, ready to be shown."""

    events: list[EventShown]
    before: Position | None
    looked_back_to: Instant | None


class EventList:
    """What happened on one engine. One read at a time: each is in a thread, because a commit to a slow disk holds up
    a read, and the flows must not wait for it."""

    def __init__(self, engine: Engine, tables: Sequence[Source] = SOURCES) -> None:
        self.engine = engine
        self._tables = tables
        self._reading = engine.reading

    async def find(self, asked: Asked) -> Stretch:
        """A stretch, newest first."""
        engine = self.engine
        graph, workers, now = engine.graph, engine.runtime.workers, engine.clock.now()
        going = partial(course.course, graph=graph, workers=workers, now=now)
        async with self._reading:
            found: Found = await asyncio.to_thread(find, engine.store, self._tables, asked, going)
        return Stretch([event(one, graph) for one in found.events], found.before, found.looked_back_to)

    async def open_alarms(self) -> int:
        """Alarms that nobody has acknowledged."""
        async with self._reading:
            count, _ = await asyncio.to_thread(Alarms(self.engine.store).open)
        return count
