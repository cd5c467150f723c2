"""``/api/v1/trading``: the kill switch, for who has the key."""

from __future__ import annotations

import asyncio
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner import http, shown, views
from flowrunner.engine import Engine
from flowrunner.http import TokenBuckets, parse_json, refusal, retry_after
from flowrunner.orders import SwitchStuck
from flowrunner.store import Entry, StoreFailed
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.endpoint import Endpoint
from flowrunner.web.people.person import A_NAME, client, said_by

MAX_BODY = 65_536
STEPS = 20
"""Steps of an answer."""
RESUMES_PER_SECOND = 10.0
"""Of one client: each is a row of the journal. A stop is never too fast."""
BY, REASON = 100, 500
"""Characters; the file of the switch must stay small."""
BODY_S = 2.0
"""Seconds that a stop waits for its reason."""
UNREADABLE = "(unreadable reason)"
WRONG = "The body is wrong; the detail says how."


class Word(msgspec.Struct, forbid_unknown_fields=True):
    """Who says so, and why."""

    reason: Annotated[str, Meta(max_length=REASON, description="For the journal.")] = ""
    by: Annotated[str, Meta(max_length=BY, description=A_NAME)] = ""


class StopWord(msgspec.Struct):
    """Who says so, and why. What is longer is cut, and what cannot be read is left out: it stops all the same."""

    reason: Annotated[str, Meta(description=f"For the journal; {REASON} characters are kept.")] = ""
    by: Annotated[str, Meta(description=f"{A_NAME} {BY} characters are kept.")] = ""


def endpoints(engine: Engine) -> list[Endpoint]:
    """The routes of the switch."""
    api = _Trading(engine)
    return [
        Endpoint(
            "GET", "/api/v1/trading", api.trading, "Is trading stopped?", gives=shown.TradingShown, tag="orders"
        ),
        Endpoint(
            "POST", "/api/v1/trading/stop", api.stop_trading, "Stop trading",
            takes=StopWord, any_body=True, max_body=MAX_BODY, gives=shown.TradingShown, tag="orders",
            refuses={
                503: {"stop-not-kept": "It is stopped, but only until this program ends; the detail says why."},
            },
        ),
        Endpoint(
            "POST", "/api/v1/trading/resume", api.resume_trading, "Let trading go on",
            takes=Word, max_body=MAX_BODY, gives=shown.TradingShown, tag="orders",
            refuses={
                422: {"value": WRONG},
                429: {"too-fast": f"One client asks more than {RESUMES_PER_SECOND:g} times a second."},
                503: {"still-stopped": "It cannot be written down or done: what was stopped stays so."},
            },
        ),
    ]  # fmt: skip


class _Said(NamedTuple):
    by: str
    reason: str


class _Trading:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.buckets = TokenBuckets(RESUMES_PER_SECOND)

    async def trading(self, request: Request) -> Bytes:
        """The switch as it is now, and the latest 20 steps of the journal."""
        return await self._now()

    async def stop_trading(self, request: Request) -> Bytes:
        """From now on no order is made and none is sent, whatever restarts, until a person lets it go on. What the
        exchange has already stays there. A second stop leaves what the first one said. It needs no body, and none is
        too wrong: what cannot be read of it is only left out."""
        said = await _said_at_all(request)
        now = self.engine.clock.now()
        stuck = ""
        try:
            self.engine.trading.switch.stop(by=said.by, reason=said.reason, now=now)
        except SwitchStuck as error:
            stuck = str(error)
        await self.engine.trading.look(now)
        await self._note(request, "stopped trading", said)
        if stuck:
            return answer(refusal(503, "stop-not-kept", stuck, headers=retry_after(1)))
        return await self._now()

    async def resume_trading(self, request: Request) -> Bytes:
        """A person's word, kept in the journal also where nothing was stopped: it settles a clock that was wrong
        before, too. What somebody stops meanwhile stays stopped."""
        said = await _said(request)
        if isinstance(said, http.Response):
            return answer(said)
        wait = self.buckets.take(client(request), self.engine.clock.now())
        if wait > 0:
            return answer(refusal(429, "too-fast", "too fast; try again in a second", headers=retry_after(wait)))
        try:
            await self.engine.trading.resume(by=said.by, reason=said.reason, now=self.engine.clock.now())
        except (StoreFailed, SwitchStuck) as error:
            return answer(refusal(503, "still-stopped", str(error), headers=retry_after(1)))
        await self._note(request, "let trading go on", said)
        return await self._now()

    async def _note(self, request: Request, text: str, said: _Said) -> None:
        entry = Entry(
            at=self.engine.clock.now(), kind="trading", who=said.by, origin=client(request), text=text,
            detail={"reason": said.reason},
        )  # fmt: skip
        await self.engine.audit.add(entry)

    async def _now(self) -> Bytes:
        trading = self.engine.trading
        steps = await asyncio.to_thread(trading.journal.switch_steps, STEPS)  # a commit to a slow disk holds up a read
        return ok(views.trading(trading.switch.stopped, trading.held, steps))


async def _said(request: Request) -> _Said | http.Response:
    """What the body says, or its refusal."""
    raw = await body.json_text(request, MAX_BODY)
    if not isinstance(raw, bytes):
        return raw
    try:
        given = parse_json(raw)
    except ValueError as error:
        return refusal(400, "not-json", str(error))
    try:
        word = msgspec.convert(given, Word)
    except msgspec.ValidationError:
        detail = f'the body must be {{"reason": text of at most {REASON} characters, "by": name of at most {BY}}}'
        return refusal(422, "value", f"{detail}; both may be left out")
    return _Said(said_by(request, word.by, most=BY), word.reason)


async def _said_at_all(request: Request) -> _Said:
    """What can be understood of the body: a stop must not fail because of its form, nor wait for it."""
    nameless = said_by(request, "", most=BY)
    try:
        async with asyncio.timeout(BODY_S):
            raw = await body.read(request, MAX_BODY)
        given = {} if raw == b"" else parse_json(raw or b"")
    except (TimeoutError, ValueError):
        return _Said(nameless, UNREADABLE)
    if not isinstance(given, dict):
        return _Said(nameless, UNREADABLE)
    by, reason = given.get("by"), given.get("reason", UNREADABLE if given.keys() - {"by"} else "")
    named = said_by(request, by if isinstance(by, str) else "", most=BY)
    return _Said(named, (reason if isinstance(reason, str) else UNREADABLE)[:REASON])
