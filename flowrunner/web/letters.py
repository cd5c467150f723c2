"""``/api/v1/dead-letters``: messages that nodes rejected and nobody took: to read, to put back, to drop."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner import shown, views
from flowrunner.engine import Engine, Unknown
from flowrunner.http import parse_json, refusal, retry_after
from flowrunner.message import JSON
from flowrunner.store import DeadLetter, Entry, StoreFailed, Wanted
from flowrunner.store.letters import read_letters
from flowrunner.units import parse_instant
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.endpoint import Endpoint, Query
from flowrunner.web.people.person import client, said_by

MOST = 1000
"""Letters of one answer, and of one request."""
MAX_BODY = 65_536
PATH = "/api/v1/dead-letters"
Id = Annotated[int, Meta(ge=1, le=2**53)]
WRONG = {422: {"value": "A parameter is wrong; the detail names it."}}
NOT_WRITTEN = {503: {"not-written": "The store cannot be written; nothing was done."}}


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """What to do with some letters."""

    action: Annotated[Literal["replay", "drop"], Meta(description="Put them back to their nodes, or forget them.")]
    ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST)]


class NotDone(TypedDict):
    """A letter that stays as it was."""

    id: int
    reason: str


class Done(TypedDict):
    """What became of a wish."""

    done: Annotated[list[int], Meta(description="Letters that were put back or dropped.")]
    refused: Annotated[list[NotDone], Meta(description="Letters that were not, and why.")]


def endpoints(engine: Engine) -> list[Endpoint]:
    """The routes of dead letters."""
    api = _Letters(engine)
    return [
        Endpoint(
            "GET", PATH, api.dead_letters, "Messages that no node could take, newest first",
            gives=list[shown.DeadLetterShown],
            query=(
                Query("flow", "Only those of this flow."),
                Query("node", "Only those that this node rejected."),
                Query("code", "Only those with this code."),
                Query("since", "Only those rejected then or later.", kind=shown.Time),
                Query("before", "Only those with a smaller id: the next page.", kind=Id),
                Query("limit", "How many at most; 100 unless told.", kind=Annotated[int, Meta(ge=1, le=MOST)]),
            ),
            refuses=WRONG,
        ),
        Endpoint(
            "POST", PATH, api.change_dead_letters, "Put several back, or drop them", role="editor",
            takes=Wish, max_body=MAX_BODY, gives=Done,
            refuses={422: {"value": "The body is wrong; the detail says how."}} | NOT_WRITTEN,
        ),
        Endpoint("GET", f"{PATH}/{{letter}}", api.dead_letter, "One of them", gives=shown.DeadLetterShown),
        Endpoint(
            "DELETE", f"{PATH}/{{letter}}", api.drop_dead_letter, "Forget one", gives=Done, role="editor",
            refuses=NOT_WRITTEN,
        ),
        Endpoint(
            "POST", f"{PATH}/{{letter}}/replay", api.replay_dead_letter, "Put one back", gives=Done, role="editor",
            refuses={409: {"not-put-back": "It cannot be put back; the detail says why."}} | NOT_WRITTEN,
        ),
    ]  # fmt: skip


class _Letters:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reading = engine.reading
        """A commit to a slow disk holds up a read: it waits in a thread, and not in the loop of the flows."""

    async def dead_letters(self, request: Request) -> Bytes:
        """What a node rejected and nobody read from its error port. The next page begins `before` the last id."""
        try:
            wanted = _wanted(request)
        except ValueError as error:
            return answer(refusal(422, "value", str(error)))
        async with self.reading:
            found = await asyncio.to_thread(self.engine.store.dead_letters, wanted)
        return ok([views.dead_letter(one) for one in found])

    async def dead_letter(self, request: Request) -> Bytes:
        """The message with its lineage, who rejected it and why."""
        return ok(views.dead_letter(await self._one(request)))

    async def replay_dead_letter(self, request: Request) -> Bytes:
        """It goes into the inbox of the node that rejected it, with its lineage. The letter is there until all that
        comes of the message is done with; rejected again, it is a new letter with one more attempt."""
        letter = await self._one(request)
        try:
            why = (await self.engine.replay_letters([letter.id]))[letter.id]
        except StoreFailed as error:
            return _not_written(error)
        if why:
            return answer(refusal(409, "not-put-back", why))
        await self._note(request, "put back", [letter.id])
        return ok(_done([letter.id], {}))

    async def drop_dead_letter(self, request: Request) -> Bytes:
        """For good. One that was put back just now still reaches its node."""
        letter = await self._one(request)
        try:
            await self.engine.drop_letters([letter.id])
        except StoreFailed as error:
            return _not_written(error)
        await self._note(request, "dropped", [letter.id])
        return ok(_done([letter.id], {}))

    async def change_dead_letters(self, request: Request) -> Bytes:
        """Each by itself: what cannot be put back is named in the answer, and the others are."""
        raw = await body.json_text(request, MAX_BODY)
        if not isinstance(raw, bytes):
            return answer(raw)
        try:
            wish = msgspec.convert(_whole(parse_json(raw)), Wish)
        except msgspec.ValidationError:
            detail = f'the body must be {{"action": "replay" or "drop", "ids": [1 to {MOST} numbers]}}'
            return answer(refusal(422, "value", detail))
        except ValueError as error:
            return answer(refusal(400, "not-json", str(error)))
        ids = sorted(set(wish.ids))
        try:
            if wish.action == "replay":
                answers = await self.engine.replay_letters(ids)
            else:
                known = await self.engine.store.submit(lambda sql: [*read_letters(sql, ids)])
                await self.engine.drop_letters(known)
                answers = {one: f"there is no dead letter {one}" for one in ids if one not in known}
        except StoreFailed as error:
            return _not_written(error)
        done = _done(ids, answers)
        if done["done"]:
            await self._note(request, "put back" if wish.action == "replay" else "dropped", done["done"])
        return ok(done)

    async def _note(self, request: Request, what: str, ids: list[int]) -> None:
        numbers = ", ".join(map(str, ids[:20])) + (f" and {len(ids) - 20} more" if len(ids) > 20 else "")
        entry = Entry(
            at=self.engine.clock.now(), kind="letters", who=said_by(request, "", most=200), origin=client(request),
            text=f"{what}: {numbers}", detail={"ids": [*ids]},
        )  # fmt: skip
        await self.engine.audit.add(entry)

    async def _one(self, request: Request) -> DeadLetter:
        given = request.path_params["letter"]
        number = int(given) if given.isascii() and given.isdigit() and len(given) <= 16 else 0
        wanted = Wanted(after=number - 1, before=number + 1, limit=1)
        async with self.reading:
            found = await asyncio.to_thread(self.engine.store.dead_letters, wanted)
        if not number or not found:
            raise Unknown(f"there is no dead letter {given[:20]!r}")
        return found[0]


def _whole(given: JSON) -> JSON:
    """For JSON Schema 1.0 is a whole number."""
    if not isinstance(given, dict) or not isinstance(given.get("ids"), list):
        return given
    ids = [int(one) if isinstance(one, float) and one.is_integer() else one for one in given["ids"]]
    return {**given, "ids": ids}


def _done(ids: list[int], answers: dict[int, str]) -> Done:
    refused: list[NotDone] = [{"id": one, "reason": why} for one, why in answers.items() if why]
    return {"done": [one for one in ids if not answers.get(one)], "refused": refused}


def _not_written(error: StoreFailed) -> Bytes:
    return answer(refusal(503, "not-written", str(error), headers=retry_after(1)))


def _wanted(request: Request) -> Wanted:
    """ValueError names the parameter that is wrong."""
    given = request.query_params
    since = given.get("since")
    try:
        begin = None if since is None else parse_instant(since)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"since: {error}") from None
    before = _number(given.get("before"), "before", 2**53)
    limit = _number(given.get("limit"), "limit", MOST)
    return Wanted(
        flow=given.get("flow"), node=given.get("node"), code=given.get("code"), since=begin, before=before,
        limit=100 if limit is None else limit,
    )  # fmt: skip


def _number(given: str | None, name: str, most: int) -> int | None:
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 16 and 1 <= int(given) <= most):
        raise ValueError(f"{name}: {given[:20]!r} is not a whole number from 1 to {most}")
    return int(given)
