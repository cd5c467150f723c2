"""``/api/v1/history`` and ``/api/v1/alarms``: what flows keep for people, and who has seen an alarm."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, TypedDict

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner import shown
from flowrunner.engine import Engine, Unknown
from flowrunner.http import parse_json, refusal
from flowrunner.message import JSON, Instant, Origin, Quality
from flowrunner.store import Alarm, Alarms, Entry, History, Row
from flowrunner.store.alarms import Severity
from flowrunner.store.history import infos_of
from flowrunner.units import iso, parse_instant
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.endpoint import Endpoint, Query
from flowrunner.web.people.person import A_NAME, client, said_by

MAX_BODY = 4096
MOST = 1000
"""Rows of one answer."""
Limit = Annotated[int, Meta(ge=1, le=MOST)]
REFUSED = {422: {"value": "A parameter is wrong; the detail names it."}}


class FieldKept(TypedDict):
    """What was known of one field beside its value."""

    at: shown.Time
    source: str
    origin: Origin
    quality: Quality
    unit: str | None
    valid_from: shown.Time | None
    valid_until: shown.Time | None


class MessageKept(TypedDict):
    """One message of the history."""

    at: Annotated[shown.Time, Meta(description="When it was true.")]
    received_at: shown.Time
    stored_at: shown.Time
    flow: str
    node: Annotated[str, Meta(description="The store-out that keeps it.")]
    wire: Annotated[str, Meta(description="The node and port that it came by.")]
    source: str
    key: str
    origin: Origin
    quality: Quality
    payload: JSON
    fields: Annotated[dict[str, FieldKept], Meta(description="Fields of which something of their own was known.")]


class AlarmShown(TypedDict):
    """An alarm: how often it came, first and last when, and who has seen it."""

    id: Annotated[int, Meta(ge=1)]
    flow: str
    node: str
    wire: Annotated[str, Meta(description="The node and port that it came by.")]
    key: str
    severity: Severity
    text: str
    count: Annotated[int, Meta(ge=1)]
    first_at: shown.Time
    last_at: shown.Time
    acknowledged_at: shown.Time | None
    acknowledged_by: str


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    """Who has seen an alarm."""

    by: Annotated[str, Meta(max_length=100, description=A_NAME)] = ""


def endpoints(engine: Engine) -> list[Endpoint]:
    records = _Records(engine)
    return [
        Endpoint(
            "GET", "/api/v1/history", records.history, "Messages that were kept, newest first",
            gives=list[MessageKept],
            query=(
                Query("flow", "Only of this flow."),
                Query("node", "Only what this store-out keeps."),
                Query("from", "Event time of the oldest, included.", kind=shown.Time),
                Query("to", "Event time of the newest, not included.", kind=shown.Time),
                Query("limit", "At most so many; 100 unless told.", kind=Limit),
            ),
            refuses=REFUSED,
        ),
        Endpoint(
            "GET", "/api/v1/alarms", records.alarms, "Alarms, those that came last first",
            gives=list[AlarmShown],
            query=(
                Query("flow", "Only of this flow."),
                Query("acknowledged", "Only those that somebody has seen, or that nobody has.", kind=bool),
                Query("limit", "At most so many; 100 unless told.", kind=Limit),
            ),
            refuses=REFUSED,
        ),
        Endpoint(
            "POST", "/api/v1/alarms/{id}/acknowledge", records.acknowledge, "Say that you have seen an alarm",
            takes=Acknowledgement,
            max_body=MAX_BODY,
            gives=AlarmShown,
            refuses={422: {"value": "The body is wrong; the detail says how."}},
        ),
    ]  # fmt: skip


class Wrong(ValueError):
    """A parameter is wrong; the text names it."""


class _Records:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reading = engine.reading
        """A commit to a slow disk holds up a read: it waits in a thread, and not in the loop of the flows."""

    async def history(self, request: Request) -> Bytes:
        """What store-outs keep. The event time is the message's own; go on with `to` where an answer ends."""
        asked = request.query_params
        try:
            find = partial(
                History(self.engine.store).find,
                flow=asked.get("flow"), node=asked.get("node"), since=_instant(request, "from"),
                until=_instant(request, "to"), limit=_limit(request),
            )  # fmt: skip
        except Wrong as error:
            return answer(refusal(422, "value", str(error)))
        async with self.reading:
            rows = await asyncio.to_thread(find)
        return ok([_row(one) for one in rows])

    async def alarms(self, request: Request) -> Bytes:
        """What alarm-outs told. An alarm that comes again counts up; it stays acknowledged while it goes on."""
        try:
            find = partial(
                Alarms(self.engine.store).find,
                flow=request.query_params.get("flow"), acknowledged=_bool(request, "acknowledged"),
                limit=_limit(request),
            )  # fmt: skip
        except Wrong as error:
            return answer(refusal(422, "value", str(error)))
        async with self.reading:
            found = await asyncio.to_thread(find)
        return ok([_alarm(one) for one in found])

    async def acknowledge(self, request: Request) -> Bytes:
        """Who was first stays noted. It is on the disk when the answer comes."""
        raw = await body.json_text(request, MAX_BODY)
        if not isinstance(raw, bytes):
            return answer(raw)
        try:
            given = parse_json(raw)
        except ValueError as error:
            return answer(refusal(400, "not-json", str(error)))
        by = given.get("by", "") if isinstance(given, dict) and set(given) <= {"by"} else None
        if not isinstance(by, str) or len(by) > 100:
            detail = 'the body must be {"by": name}, of at most 100 characters; it may be left out'
            return answer(refusal(422, "value", detail))
        number = request.path_params["id"]
        known = None
        if number.isascii() and number.isdigit() and len(number) <= 18:
            who, now = said_by(request, by, most=200), self.engine.clock.now()
            known = await Alarms(self.engine.store).acknowledge(int(number), who, now)
        if known is None:
            raise Unknown(f"there is no alarm {number[:20]!r}")
        await self.engine.audit.add(
            Entry(at=now, kind="alarm", who=who, origin=client(request), flow=known.flow, node=known.node,
                  text=f"acknowledged: {known.text}", detail={"alarm": known.id})
        )  # fmt: skip
        return ok(_alarm(known))


def _instant(request: Request, name: str) -> Instant | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        return parse_instant(given)
    except (ValueError, OverflowError) as error:
        raise Wrong(f"{name}: {error}") from None


def _limit(request: Request) -> int:
    given = request.query_params.get("limit")
    if given is None:
        return 100
    if not (given.isascii() and given.isdigit() and len(given) <= 4 and 1 <= int(given) <= MOST):
        raise Wrong(f"limit: {given[:20]!r} is not a whole number from 1 to {MOST}")
    return int(given)


def _bool(request: Request, name: str) -> bool | None:
    given = request.query_params.get(name)
    if given not in (None, "true", "false"):
        raise Wrong(f"{name}: {given[:20]!r} is neither true nor false")
    return None if given is None else given == "true"


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else iso(instant)


def _row(one: Row) -> dict[str, JSON]:
    kept = {"at": iso(one.at), "received_at": iso(one.received_at), "stored_at": iso(one.stored_at)}
    plain = {name: getattr(one, name) for name in ("flow", "node", "wire", "source", "key", "origin", "quality")}
    fields = {
        name: {
            "at": iso(info.at), "source": info.source, "origin": info.origin, "quality": info.quality,
            "unit": info.unit, "valid_from": _time(info.valid_from), "valid_until": _time(info.valid_until),
        }
        for name, info in infos_of(one).items()
    }  # fmt: skip
    return {**kept, **plain, "payload": msgspec.Raw(one.payload), "fields": fields}


def _alarm(one: Alarm) -> dict[str, JSON]:
    times = {name: _time(getattr(one, name)) for name in ("first_at", "last_at", "acknowledged_at")}
    return msgspec.structs.asdict(one) | times
