"""The people of a running server: read from the store, looked at again when a command has changed them."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from flowrunner.clock import Clock, LiveClock
from flowrunner.http import same_key
from flowrunner.message import Instant
from flowrunner.store import Store, StoreFailed
from flowrunner.store.people import (
    Kept,
    Session,
    User,
    begin_session,
    end_session,
    note_seen,
    read_people,
    written_by_others,
)
from flowrunner.units import Duration
from flowrunner.web.people.person import Person, csrf_token, digest

IDLE, LONGEST = Duration.parse("12h"), Duration.parse("7d")
"""A session ends when nothing was asked in it for so long, and so long after it was begun."""
LOOK_S = 0.5
"""Seconds between two looks at what commands have changed."""
NOTE_EVERY = Duration.parse("1min")
"""Between two notes on the disk of when sessions and keys were last used."""
OWNER = "API key"
"""What who has FLOWRUNNER_API_KEY is called."""
ID_BYTES = 32
T = TypeVar("T")
log = logging.getLogger("flowrunner.web")


class People:
    """Who a session or key belongs to. All questions are answered from memory; a look twice a second keeps it true.

    ``may_be_open``: whether everybody may do everything while there are neither users nor keys (loopback only). Once
    somebody was there, it stays closed for this run: the last user's removal opens nothing.
    """

    def __init__(
        self,
        store: Store,
        *,
        api_key: str = "",
        may_be_open: bool = True,
        cookie: str = "flowrunner",
        secure: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """``secure``: people reach it by TLS only; ``clock``: what sessions last by, never a simulated time."""
        self.store, self.clock, self.secure = store, clock or LiveClock(), secure
        self.cookie = f"__Host-{cookie}" if secure else cookie
        """The session cookie's name; with the port in it, because cookies are not kept apart by ports. ``__Host-``: no
        other host of the domain can set it (RFC 6265bis, 4.1.3.2)."""
        self._api_key = api_key
        self.api_key_used_at: Instant | None = None
        """In this run; of the one key nothing is kept."""
        self._kept, self._version = store.read(lambda sql: (read_people(sql), written_by_others(sql)))
        self._closed = not may_be_open or self._anybody()
        self._changing = asyncio.Lock()
        self._noted_at = self.clock.now()

    # ---- questions -------------------------------------------------------------------------------------------------

    @property
    def kept(self) -> Kept:
        """Users, sessions and keys, for a page; hashes among them."""
        return self._kept

    @property
    def open(self) -> bool:
        """Whether nobody has to say who they are."""
        return not self._closed

    @property
    def has_api_key(self) -> bool:
        """Whether FLOWRUNNER_API_KEY is there."""
        return bool(self._api_key)

    @property
    def nobody_yet(self) -> bool:
        """Whether there is no user who could log in."""
        return not self._kept.users

    def user(self, name: str) -> User | None:
        return self._kept.users.get(name)

    def of_key(self, given: str) -> Person | None:
        """Whose key this is. Every key is compared, each in constant time."""
        if self._api_key and same_key(given, self._api_key):
            self.api_key_used_at = self.clock.now()
            return Person(OWNER, "editor", "key", mark=digest(self._api_key))
        mark, found = digest(given), None
        for key in self._kept.keys.values():
            if hmac.compare_digest(key.digest, mark):
                found = key
        if found is None:
            return None
        found.used_at = self.clock.now()
        return Person(found.name, found.role, "key", mark=mark)

    def of_session(self, given: str) -> Person | None:
        """Whose session this is, if it still goes on; it was used just now, then."""
        mark = digest(given)
        user = self._user_of(mark)
        if user is None:
            return None
        self._kept.sessions[mark].seen_at = self.clock.now()
        return Person(user.name, user.role, "session", csrf_token(given), mark)

    def knows(self, person: Person) -> bool:
        """Whether who began to ask may go on so: for answers that last, like a stream."""
        if person.by == "open":
            return self.open
        if person.by == "session":
            user = self._user_of(person.mark)
            return user is not None and user.role == person.role
        if self._api_key and hmac.compare_digest(person.mark, digest(self._api_key)):
            return True
        return any(hmac.compare_digest(key.digest, person.mark) for key in self._kept.keys.values())

    def _user_of(self, mark: bytes) -> User | None:
        session = self._kept.sessions.get(mark)
        if session is None:
            return None
        now = self.clock.now()
        if now - session.seen_at > IDLE or now - session.begun_at > LONGEST:
            return None
        return self._kept.users.get(session.user)

    # ---- changes ---------------------------------------------------------------------------------------------------

    async def begin(self, user: User, *, gone: str = "") -> str:
        """Log in: the id of a new session, on the disk; ``gone``: that of the browser's old one, which ends. "" where
        the user or the password is another by now. StoreFailed where it cannot be written."""
        given, now = secrets.token_urlsafe(ID_BYTES), self.clock.now()
        session = Session(digest(given), user.name, now, now)
        begun = await self._change(lambda sql: begin_session(sql, session, user.password, gone=digest(gone)))
        return given if begun else ""

    async def end(self, person: Person) -> None:
        """Log out. StoreFailed where it cannot be written; it is over for this run all the same."""
        self._kept.sessions.pop(person.mark, None)
        await self._change(lambda sql: end_session(sql, person.mark))

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._changing:
            done = await self.store.submit(work)
            await self._read()
        return done

    async def watch(self) -> None:
        """See what commands change, for as long as the server runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except (StoreFailed, sqlite3.Error) as error:  # the store says it loudly, and tries again by itself
                log.debug("people are looked at again later: %s", error)

    async def look(self) -> None:
        """Read again where others have written; note now and then what was used."""
        async with self._changing:
            if await asyncio.to_thread(self.store.read, written_by_others) != self._version:
                await self._read()
            if self.clock.now() - self._noted_at >= NOTE_EVERY:
                await self._note()

    async def _read(self) -> None:
        """What was used here and is not noted yet stays known."""

        def work(sql: sqlite3.Connection) -> tuple[Kept, int]:
            return read_people(sql), written_by_others(sql)

        kept, self._version = await asyncio.to_thread(self.store.read, work)
        for mark, session in kept.sessions.items():
            if mark in self._kept.sessions:
                session.seen_at = max(session.seen_at, self._kept.sessions[mark].seen_at)
        for name, key in kept.keys.items():
            known = self._kept.keys.get(name)
            if known is not None and known.digest == key.digest:
                key.used_at = max(filter(None, (key.used_at, known.used_at)), default=None)
        self._kept = kept
        self._closed = self._closed or self._anybody()

    def _anybody(self) -> bool:
        return bool(self._api_key or self._kept.users or self._kept.keys)

    async def _note(self) -> None:
        since, self._noted_at = self._noted_at, self.clock.now()
        sessions = {mark: one.seen_at for mark, one in self._kept.sessions.items() if one.seen_at >= since}
        keys = {name: at for name, one in self._kept.keys.items() if (at := one.used_at) is not None and at >= since}
        over = [mark for mark in self._kept.sessions if self._user_of(mark) is None]
        if not (sessions or keys or over):
            return

        def work(sql: sqlite3.Connection) -> None:
            note_seen(sql, sessions, keys)
            for mark in over:
                end_session(sql, mark)

        await self.store.submit(work)
        for mark in over:
            self._kept.sessions.pop(mark, None)
