"""Logging in and out: what is right, what has to wait, and what a browser is told to keep."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from typing import Literal, NamedTuple

from starlette.requests import Request
from starlette.responses import Response as Bytes

from flowrunner.clock import Clock
from flowrunner.store import Audit, Entry, StoreFailed
from flowrunner.store.people import LONGEST_NAME, User, spelled
from flowrunner.web.people import passwords
from flowrunner.web.people.person import Person, client
from flowrunner.web.people.register import People
from flowrunner.web.people.waits import Waits, neighbourhood

FREE_OF_A_NAME, FREE_OF_AN_ADDRESS = 3, 10
"""Wrong tries that cost no wait; behind one address there may be several people."""
LINE = 20
"""Log-ins that may wait for their turn; hashes are computed one at a time, beside the flows."""
DEVICE_DAYS = 90
LONGEST_NEXT = 500
_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
_DOORS = ("/login", "/logout")
log = logging.getLogger("flowrunner.web")

Why = Literal["wrong", "wait", "busy", "store"]


class Refused(NamedTuple):
    """Not logged in. ``seconds``: until another try is looked at."""

    why: Why
    seconds: float = 0.0


class LoggedIn(NamedTuple):
    """The new session's id, and what tells this browser again as one that has known the password."""

    session: str
    device: str
    user: User


class LogIn:
    """The door.

    A wrong name costs the time of a wrong password. Tries are counted by name and by address. A browser in which a user
    has logged in before is counted by itself: whoever tries a name out cannot keep its owner out (OWASP, "Slow Down
    Online Guessing Attacks with Device Cookies").
    """

    def __init__(self, people: People, audit: Audit, clock: Clock) -> None:
        """``clock``: what entries of the audit are dated by."""
        self._people, self._audit, self._clock = people, audit, clock
        self._names, self._addresses = Waits(FREE_OF_A_NAME), Waits(FREE_OF_AN_ADDRESS)
        self._devices = Waits(FREE_OF_A_NAME)
        self._turn, self._waiting = asyncio.Semaphore(1), 0

    async def log_in(self, request: Request, name: str, password: str) -> LoggedIn | Refused:
        """Try a name and a password."""
        people, now = self._people, self._people.clock.now()
        name, origin = spelled(name[: LONGEST_NAME + 1]), client(request)
        user = people.user(name)
        device = request.cookies.get(self._device_cookie, "")
        if user is not None and _is_device(device, user):
            counted = [(self._devices, device)]
        else:
            counted = [(self._names, name), (self._addresses, neighbourhood(origin))]
        wait = max(waits.left(who, now) for waits, who in counted)
        if wait > 0:
            return Refused("wait", wait)
        if self._waiting >= LINE:
            return Refused("busy", 2.0)
        for waits, who in counted:
            waits.count(who, now)
        if not await self._fits(password, passwords.DECOY if user is None else user.password) or user is None:
            await self._failed(user, origin)
            return Refused("wrong", max(waits.left(who, people.clock.now()) for waits, who in counted))
        try:
            session = await people.begin(user, gone=request.cookies.get(people.cookie, ""))
        except StoreFailed as error:
            log.error("nobody can log in: %s", error)
            return Refused("store", 1.0)
        if not session:  # a command was faster
            await self._failed(user, origin)
            return Refused("wrong")
        for waits, who in counted:
            waits.forgive(who)
        await self._audit.add(Entry(at=self._clock.now(), kind="login", who=user.name, origin=origin, text="logged in"))
        return LoggedIn(session, device if counted[0][0] is self._devices else _device(user), user)

    async def log_out(self, person: Person, origin: str) -> None:
        """End a session."""
        try:
            await self._people.end(person)
        except StoreFailed as error:
            log.error("the end of a session of %s is not kept: %s", person.name, error)
        await self._audit.add(
            Entry(at=self._clock.now(), kind="logout", who=person.name, origin=origin, text="logged out")
        )

    def admit(self, response: Bytes, admitted: LoggedIn) -> None:
        """Give the browser its session, until it is closed, and what tells it again."""
        people = self._people
        response.set_cookie(
            people.cookie, admitted.session, path="/", httponly=True, samesite="strict", secure=people.secure
        )
        response.set_cookie(
            self._device_cookie, admitted.device, max_age=DEVICE_DAYS * 86_400, path="/login", httponly=True,
            samesite="strict", secure=people.secure,
        )  # fmt: skip

    def dismiss(self, response: Bytes) -> None:
        """Take the browser's session back."""
        people = self._people
        response.delete_cookie(people.cookie, path="/", httponly=True, samesite="strict", secure=people.secure)

    @property
    def _device_cookie(self) -> str:
        return f"{self._people.cookie.removeprefix('__Host-')}-device"

    async def _fits(self, password: str, kept: str) -> bool:
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(passwords.fits, password[: passwords.LONGEST + 1], kept)
        finally:
            self._waiting -= 1

    async def _failed(self, user: User | None, origin: str) -> None:
        """Of a name that there is not only that: people type their password there, too."""
        who = "" if user is None else user.name
        text = "gave a wrong password" if who else "a name that there is not was tried"
        log.warning("log-in failed from %s: %s %s", origin, who, text)
        entry = Entry(at=self._clock.now(), kind="login-failed", who=who, origin=origin, text=text)
        await self._audit.add(entry)


def own_path(given: str) -> str:
    """Where to go after the log-in: a path of this server, "/" for everything else (other hosts, what browsers take
    for one, line ends, the door itself)."""
    if len(given) > LONGEST_NEXT or not _OWN_PATH.fullmatch(given) or given.partition("?")[0] in _DOORS:
        return "/"
    return given


def _device(user: User) -> str:
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_signed(nonce, user)}"


def _is_device(given: str, user: User) -> bool:
    nonce, _, signature = given.partition(".")
    return len(given) < 200 and hmac.compare_digest(signature.encode(), _signed(nonce, user).encode())


def _signed(nonce: str, user: User) -> str:
    """By the kept hash, which nobody outside knows: with another password it is another."""
    secret = f"{user.name} {user.password}".encode()
    return hmac.new(secret, nonce.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
