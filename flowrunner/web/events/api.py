"""``/api/v1/events``: all that happened as one list, and the same as CSV."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.engine import Engine
from flowrunner.http import Response, refusal
from flowrunner.store.people import Role
from flowrunner.units import iso
from flowrunner.web.answer import answer, ok
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.events.asked import MOST, PAGES, QUERIES, Asked, Wrong, asked
from flowrunner.web.events.event import Kind
from flowrunner.web.events.list import EventList
from flowrunner.web.events.sheet import sheet
from flowrunner.web.events.shown import EventShown, EventsShown
from flowrunner.web.people.person import Person

MOST_IN_SHEET = 5_000
"""Events of one CSV file."""
STRETCHES = 20
"""So often the list is searched for one CSV file, where filters let through little."""
FILLED = ("from", "to", "kind", "severity", "limit", "before")
"""Parameters whose empty text is no value of theirs."""
FOR_OPERATORS: frozenset[Kind] = frozenset({"login", "account"})
"""Kinds that viewers do not see: who logs in, from where, and what somebody typed as a name."""
REFUSED = {
    403: {"role": "All kinds that are asked for are for operators only."},
    422: {"value": "A parameter is wrong; the detail names it."},
}


def endpoints(engine: Engine) -> list[Endpoint]:
    """The routes of the list."""
    api = _Events(EventList(engine))
    return [
        Endpoint(
            "GET", "/api/v1/events", api.events, "What happened, newest first",
            gives=EventsShown, query=(*QUERIES, *PAGES), refuses=REFUSED,
        ),
        Endpoint(
            "GET", "/api/v1/events.csv", api.events_sheet, "What happened, as CSV",
            gives=str, media="text/csv", query=(*QUERIES, PAGES[1]), refuses=REFUSED,
        ),
    ]  # fmt: skip


def visible(role: Role, wanted: Asked) -> Asked:
    """What of it somebody of this role may see; of no kind where that is nothing."""
    return wanted if role != "viewer" else msgspec.structs.replace(wanted, kinds=wanted.kinds - FOR_OPERATORS)


def role_of(request: Request) -> Role:
    """Of the one who asks."""
    person: Person = request.state.person
    return person.role


class _Events:
    def __init__(self, events: EventList) -> None:
        self._events = events

    async def events(self, request: Request) -> Bytes:
        """Alarms, steps of orders, refusals, manual entries, reloads, the kill switch, dead letters, log-ins: by time,
        those of one time in an order that stays. An alarm and a refusal stand once, where they came last. Log-ins and
        accounts are for operators and editors."""
        wanted = _asked(request)
        if isinstance(wanted, Response):
            return answer(wanted)
        found = await self._events.find(wanted)
        told: EventsShown = {
            "events": found.events,
            "before": None if found.before is None else str(found.before),
            "looked_back_to": None if found.looked_back_to is None else iso(found.looked_back_to),
            "open_alarms": await self._events.open_alarms(),
        }
        return ok(told)

    async def events_sheet(self, request: Request) -> Bytes:
        """At most 5,000 events, newest first, as RFC 4180 with a first line of names; times are UTC. What a spreadsheet
        would take for a formula has an apostrophe before it. Where there is more, the header `X-Before` says what
        to go on with as `before`."""
        wanted = _asked(request)
        if isinstance(wanted, Response):
            return answer(wanted)
        events: list[EventShown] = []
        before = wanted.before
        for _ in range(STRETCHES):
            room = min(MOST, MOST_IN_SHEET - len(events))
            found = await self._events.find(msgspec.structs.replace(wanted, limit=room, before=before))
            events += found.events
            before = found.before
            if before is None or len(events) == MOST_IN_SHEET:
                break
        headers = {
            "content-type": "text/csv; charset=utf-8; header=present",
            "content-disposition": 'attachment; filename="events.csv"',
            **({} if before is None else {"x-before": str(before)}),
        }
        return answer(Response(body=await asyncio.to_thread(sheet, events), headers=headers))


def _asked(request: Request) -> Asked | Response:
    try:
        if empty := [name for name in FILLED if request.query_params.get(name) == ""]:  # in a form it means: any
            raise Wrong(f"{empty[0]}: it is empty")
        wanted = asked(request.query_params)
    except Wrong as error:
        return refusal(422, "value", str(error))
    seen = visible(role_of(request), wanted)
    if not seen.kinds:
        return refusal(403, "role", f"{', '.join(sorted(wanted.kinds))}: only operators and editors see these")
    return seen
