"""What stands before each route: who asks, and whether their role is enough."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response as Bytes
from starlette.types import ASGIApp

from flowrunner.clock import Clock
from flowrunner.http import Response, missing_key, refusal
from flowrunner.store.people import Role
from flowrunner.web.answer import answer
from flowrunner.web.guard import SAFE, Handler, WrongKeys, given_key
from flowrunner.web.people.log_in import own_path
from flowrunner.web.people.person import Person, may
from flowrunner.web.people.register import People

CSRF_HEADER = "x-csrf-token"
ANYBODY = Person("", "editor", "open")
ENDED = "the session has ended; log in again at /login"


class Gate:
    """Asks the people who somebody is: by a key (``X-API-KEY``, or as a bearer token for scrapers), else by the cookie
    of a session. The answer is ``request.state.person``."""

    def __init__(self, people: People, clock: Clock) -> None:
        """``clock``: what wrong keys are counted by."""
        self.people = people
        self._wrong = WrongKeys(clock)

    def person(self, request: Request) -> Person | Response:
        """Who asks; 401 where that is not known, 429 for who guesses keys."""
        people = self.people
        if people.open:
            return ANYBODY
        given = given_key(request)
        if given:
            return people.of_key(given) or self._wrong.refusal(request)
        session = request.cookies.get(people.cookie, "")
        if not session:
            return missing_key("")
        found = people.of_session(session)
        if found is not None:
            return found
        return refusal(401, "unauthorized", ENDED, headers={"www-authenticate": "X-API-KEY"})

    def admits(self, request: Request, role: Role) -> Response | None:
        """Note who asks; a refusal where that is not known, is not enough, or another site's page may have asked."""
        person = self.person(request)
        if isinstance(person, Response):
            return person
        request.state.person = person
        if not may(person, role):
            who = f"{person.name} is {'an' if person.role[0] in 'eo' else 'a'} {person.role}"
            return refusal(403, "role", f"this needs the role {role}, and {who}")
        if person.by == "session" and request.method not in SAFE:
            given = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode("latin-1", "replace"), person.csrf.encode()):
                detail = "the header X-CSRF-Token is missing or not this session's; load the page again"
                return refusal(403, "csrf", detail)
        return None

    def guarded(self, handle: Handler, role: Role) -> Handler:
        """The same handler for who may."""

        async def checked(request: Request) -> ASGIApp:
            refused = self.admits(request, role)
            return answer(refused) if refused is not None else await handle(request)

        return checked

    def page(self, handle: Handler, role: Role, denied: Callable[[Request, Role], Awaitable[Bytes]]) -> Handler:
        """A page for who may; others are asked to log in, or told by ``denied`` what it needs."""

        async def shown(request: Request) -> ASGIApp:
            refused = self.admits(request, role)
            if refused is None:
                return await handle(request)
            if refused.status == 401:
                return to_log_in(request)
            if refused.status == 403 and request.method in SAFE:
                return await denied(request, role)
            return answer(refused)

        return shown


def to_log_in(request: Request) -> Bytes:
    """To the log-in, and from there back."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = own_path(asked) if request.method in SAFE else "/"
    headers = {"location": f"/login?next={quote(target, safe='')}" if target != "/" else "/login"}
    return Bytes(status_code=303, headers=headers)
