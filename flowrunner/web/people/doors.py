"""``POST /login`` and ``POST /logout``: what the pages' forms send."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.http import Response, refusal, retry_after
from flowrunner.web import body
from flowrunner.web.answer import answer, ok
from flowrunner.web.guard import Handler
from flowrunner.web.people.gate import CSRF_HEADER, Gate
from flowrunner.web.people.log_in import LoggedIn, LogIn, Refused, own_path
from flowrunner.web.people.person import client

MAX_BODY = 8192
FORM = "application/x-www-form-urlencoded"
STATUS = {"wrong": 401, "wait": 429, "busy": 429, "store": 503}
Again = Callable[[Request, Refused, str, str], Awaitable[Bytes]]
"""The log-in page once more: why, the name that was given, and where to go after it."""


def doors(gate: Gate, log_in: LogIn, again: Again) -> dict[str, Handler]:
    """Path → what takes the POST. They are no part of the API."""
    door = _Doors(gate, log_in, again)
    return {"/login": door.log_in, "/logout": door.log_out}


class _Doors:
    def __init__(self, gate: Gate, log_in: LogIn, again: Again) -> None:
        self._gate, self._door, self._again = gate, log_in, again

    async def log_in(self, request: Request) -> Bytes:
        """A form with name, password and next. On success to ``next``, else the page again, which says why."""
        form = await _form(request)
        if isinstance(form, Response):
            return answer(form)
        name, target = form.get("name", ""), own_path(form.get("next", "/"))
        if self._gate.people.open:
            return _to(target)
        done = await self._door.log_in(request, name, form.get("password", ""))
        if isinstance(done, LoggedIn):
            response = _to(target)
            self._door.admit(response, done)
            return response
        page = await self._again(request, done, name, target)
        page.status_code = STATUS[done.why]
        if done.why != "wrong":
            page.headers.update(retry_after(max(1.0, done.seconds)))
        return page

    async def log_out(self, request: Request) -> Bytes:
        """End the session that asks; a form is led to the log-in, a script is told."""
        by_form = request.headers.get("content-type", "").startswith(FORM)
        form = await _form(request) if by_form else {}
        if isinstance(form, Response):
            return answer(form)
        person = self._gate.person(request)
        if isinstance(person, Response):
            response = _to("/login") if by_form else answer(person)
        elif person.by != "session":
            return answer(refusal(400, "no-session", "there is no session to end: this request has none"))
        else:
            given = request.headers.get(CSRF_HEADER) or form.get("csrf", "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), person.csrf.encode()):
                return answer(refusal(403, "csrf", "the token is missing or not this session's; load the page again"))
            await self._door.log_out(person, client(request))
            response = _to("/login") if by_form else ok({"status": "OK"})
        self._door.dismiss(response)
        return response


async def _form(request: Request) -> dict[str, str] | Response:
    """The fields of a form; the last of those that come twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return refusal(415, "media-type", f"send the form as {FORM}")
    raw = await body.read(request, MAX_BODY)
    if raw is None:
        return refusal(413, "too-large", f"the form is larger than {MAX_BODY} bytes")
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=10, errors="strict"))
    except ValueError:
        return refusal(400, "not-a-form", "this is no form in UTF-8, or it has too many fields")


def _to(path: str) -> Bytes:
    return Bytes(status_code=303, headers={"location": path})
