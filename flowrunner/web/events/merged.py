"""The newest events that are asked for, as far as somebody reads and no further."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from flowrunner.message import Instant
from flowrunner.store import Reader, Store
from flowrunner.web.events.asked import Asked
from flowrunner.web.events.event import FIRST, Course, Event, Position
from flowrunner.web.events.sources import Source, walk

MOST_LOOKED = 10_000
"""Events that one answer looks at, whatever its filters let through: they lie there by time alone."""


class Found(NamedTuple):
    """A stretch of the list."""

    events: list[Event]
    before: Position | None
    """Where it goes on; None: there is no more."""
    looked_back_to: Instant | None
    """Where the search was ended before the limit was full: everything newer was looked at. It goes on with
    ``before``."""


def find(store: Store | Reader, sources: Sequence[Source], asked: Asked, course: Callable[[Event], Course]) -> Found:
    """The newest events that are asked for. However much is kept: each source is read by its index, a few rows at
    once, and no more than ``MOST_LOOKED`` events are looked at. It reads a disk: call it in a thread."""
    begin = asked.before
    if asked.until is not None:
        end = Position(asked.until, FIRST, FIRST)  # all of this very time are behind it
        begin = end if begin is None else min(begin, end)
    wanted = [one for one in sources if one.kinds & asked.kinds]
    return taken((_going(one, course) for one in walk(store, wanted, begin, asked.since, asked.limit)), asked)


def taken(events: Iterable[Event], asked: Asked, most: int = MOST_LOOKED) -> Found:
    """The first that the filters let through, and where the rest begins."""
    found: list[Event] = []
    last: Event | None = None
    for looked, event in enumerate(events):
        if last is not None and len(found) == asked.limit:
            return Found(found, last.position, None)  # there is at least one more to look at
        if last is not None and looked == most:
            return Found(found, last.position, last.at)
        if asked.takes(event):
            found.append(event)
        last = event
    return Found(found, None, None)


def _going(event: Event, course: Callable[[Event], Course]) -> Event:
    return msgspec.structs.replace(event, course=course(event)) if event.kind == "alarm" else event
