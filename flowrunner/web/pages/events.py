"""``/events``: what happened, newest first, with its filters in the address; it works without JavaScript."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from flowrunner.engine import Engine
from flowrunner.message import Instant
from flowrunner.units import iso
from flowrunner.web.events.api import FOR_OPERATORS, MOST_IN_SHEET, role_of, visible
from flowrunner.web.events.asked import KINDS, Asked, Wrong, asked
from flowrunner.web.events.event import Kind
from flowrunner.web.events.list import EventList, Stretch
from flowrunner.web.events.steps import steps_of
from flowrunner.web.pages.event_rows import days
from flowrunner.web.pages.event_times import Translate, Zone, zone_of
from flowrunner.web.pages.events_words import WORDS
from flowrunner.web.pages.face import Face, Page

__all__ = ["WORDS", "pages"]

PAGE = 100
"""Events of one page."""
TABS: Mapping[str, tuple[Kind, ...]] = {
    "all": (),
    "alarms": ("alarm", "acknowledgement"),
    "orders": ("order", "refusal", "trading"),
    "entries": ("entry",),
    "reloads": ("reload",),
    "letters": ("letter",),
    "logins": ("login", "account"),
}
STATES: Mapping[str, tuple[str, ...]] = {
    "alarms": ("open", "acknowledged", "going-on", "over", "quiet"),
    "orders": ("intent", "paper", "sending", "accepted", "rejected", "unknown", "partly-filled", "filled", "unfilled",
               "expired"),
    "reloads": ("applied", "refused", "failed"),
    "letters": ("kept", "asked", "back"),
}  # fmt: skip
"""Tab → what one may ask for."""
FILTERS = ("kind", "flow", "node", "severity", "state", "text", "from", "to")
SNIPPET = """nodes:
  overheated: {type: threshold, from: telemetry, field: temperature_c, above: 40}
  alarms:
    type: alarm-out
    from: [overheated.above, telemetry.error]
    severity: critical
"""
JS_WORDS = (
    "events.acknowledged-by", "events.acknowledging", "events.not-acknowledged", "events.new-1", "events.new-n",
    "events.new-many", "events.open-count",
)  # fmt: skip


class Tab(NamedTuple):
    title: str
    href: str
    current: bool
    open_alarms: int
    """Alarms that nobody has acknowledged."""


class Option(NamedTuple):
    value: str
    title: str
    chosen: bool


class Filters(NamedTuple):
    """The form, filled with what is asked for. ``kind`` travels along; ``used`` are (title, address without it)."""

    kind: str
    values: Mapping[str, str]
    flows: list[Option]
    severities: list[Option]
    states: list[Option]
    used: list[tuple[str, str]]


def pages(face: Face) -> list[Page]:
    """The page of this module."""
    return [Page("/events", _Events(face).page)]


class _Events:
    def __init__(self, face: Face) -> None:
        self.face = face
        self.engine: Engine = face.engine
        self.list = EventList(face.engine)

    async def page(self, request: Request) -> Response:
        """The list that the address asks for."""
        t, role = self.face.t(request), role_of(request)
        query = {name: request.query_params[name] for name in (*FILTERS, "before") if request.query_params.get(name)}
        flows = [query["flow"]] if query.get("flow") in self.engine.graph.flows else [*self.engine.graph.flows]
        zone, now = zone_of(self.engine, flows), self.engine.clock.now()
        wrong, wanted = "", Asked(limit=PAGE)
        try:
            wanted = msgspec.structs.replace(asked(_with_zone(query, zone)), limit=PAGE)
        except (Wrong, ValueError) as error:
            wrong = str(error)
        seen = visible(role, wanted)
        found = Stretch([], None, None) if wrong or not seen.kinds else await self.list.find(seen)
        orders = {one["order"] for one in found.events if one["kind"] == "order" and one["order"]}
        steps = await asyncio.to_thread(steps_of, self.engine.store, orders) if orders else {}
        open_alarms = await self.list.open_alarms()
        lang = self.face.lang(request)
        sheet = _api_query(wanted)
        context = {
            "tabs": self._tabs(query, role, open_alarms, t),
            "filters": self._filters(query, zone, wanted, t),
            "days": days(found.events, steps, now=now, zone=zone, lang=lang, t=t),
            "zone": zone.name,
            "wrong": wrong,
            "denied": not wrong and not seen.kinds,
            "nothing": "" if found.events or wrong or not seen.kinds else _nothing(query, found),
            "snippet": SNIPPET,
            "older": "" if found.before is None else _href({**query, "before": str(found.before)}),
            "newest": _href({**query, "before": ""}) if "before" in query else "",
            "looked": self._looked(found, zone, now),
            "sheet": f"/api/v1/events.csv{'?' if sheet else ''}{sheet}",
            "most_in_sheet": MOST_IN_SHEET,
            "role": role,
            "may_acknowledge": role != "viewer",
        }
        data = {
            "api": f"/api/v1/events?{sheet}",
            "newest": max((one["id"] for one in found.events), key=_place, default=""),
            "live": "before" not in query and "to" not in query and not wrong,
            "open": open_alarms,
            "zone": zone.name,
        }
        return self.face.html(
            request, "events.html", title=t("events.title"), words=JS_WORDS, data=data, **context,
            status=422 if wrong else 403 if context["denied"] else 200,
        )  # fmt: skip

    def _tabs(self, query: Mapping[str, str], role: str, open_alarms: int, t: Translate) -> list[Tab]:
        now = _tab_of(query)
        found = []
        for name, kinds in TABS.items():
            if role == "viewer" and kinds and FOR_OPERATORS.issuperset(kinds) and name != now:
                continue
            kept = {one: value for one, value in query.items() if one not in ("kind", "state", "before")}
            href = _href({"kind": ",".join(kinds), **kept})
            count = open_alarms if name == "alarms" else 0
            found.append(Tab(t(f"events.tab-{name}"), href, name == now, count))
        return found

    def _filters(self, query: Mapping[str, str], zone: Zone, wanted: Asked, t: Translate) -> Filters:
        values = {name: query.get(name, "") for name in FILTERS}
        values |= {"from": zone.field(wanted.since), "to": zone.field(wanted.until)}
        states = STATES.get(_tab_of(query) or "", ())
        if values["state"] and values["state"] not in states:
            states = (*states, values["state"])  # from a link
        titles = {name: t(f"events.{name}") for name in FILTERS if name != "kind"}
        used = [
            (f"{titles[name]}: {query[name]}", _href({**query, name: "", "before": ""}))
            for name in titles
            if query.get(name)
        ]
        return Filters(
            values["kind"], values,
            [Option(name, name, name == values["flow"]) for name in sorted({*self.engine.graph.flows, values["flow"]})
             if name],
            [Option(one, t(f"events.severity-{one}"), one == values["severity"]) for one in ("warning", "critical")],
            [Option(one, _state_word(one, t), one == values["state"]) for one in states],
            used,
        )  # fmt: skip

    def _looked(self, found: Stretch, zone: Zone, now: Instant) -> str:
        if found.looked_back_to is None:
            return ""
        return zone.minutes(found.looked_back_to, zone.day(now))


def _tab_of(query: Mapping[str, str]) -> str | None:
    """The tab whose kinds are asked for."""
    kinds = {one for one in query.get("kind", "").split(",") if one}
    return next((name for name, of in TABS.items() if kinds == set(of)), None)


def _with_zone(query: Mapping[str, str], zone: Zone) -> dict[str, str]:
    """A form's times have no zone: they are the page's."""
    found = dict(query)
    for name in ("from", "to"):
        if found.get(name):
            try:
                found[name] = iso(zone.instant(found[name]))
            except ValueError as error:
                raise Wrong(f"{name}: {error}") from None
    return found


def _api_query(wanted: Asked) -> str:
    """The same filters for the API, which knows UTC only."""
    given = {
        "kind": "" if wanted.kinds == frozenset(KINDS) else ",".join(one for one in KINDS if one in wanted.kinds),
        "flow": wanted.flow, "node": wanted.node, "severity": "" if wanted.severity == "info" else wanted.severity,
        "state": wanted.state, "text": wanted.text,
        "from": "" if wanted.since is None else iso(wanted.since),
        "to": "" if wanted.until is None else iso(wanted.until),
    }  # fmt: skip
    return _encoded(given)


def _encoded(query: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in query.items() if value}, safe=",:", quote_via=quote)


def _href(query: Mapping[str, str]) -> str:
    encoded = _encoded(query)
    return f"/events?{encoded}" if encoded else "/events"


def _place(id: str) -> tuple[int, ...]:  # noqa: A002  (the event's own word)
    return tuple(map(int, id.split(".")))


def _nothing(query: Mapping[str, str], found: Stretch) -> str:
    """Which words say that there is nothing: nothing at all, no alarm ever, or nothing that passes the filters."""
    if found.before is not None:
        return ""
    given = [name for name in query if name != "kind"]
    if not given and not query.get("kind"):
        return "none"
    return "no-alarms" if not given and _tab_of(query) == "alarms" else "none-found"


def _state_word(state: str, t: Translate) -> str:
    named = f"events.state-{state}" if f"events.state-{state}" in WORDS else f"events.{state}"
    return t(named) if named in WORDS else state
