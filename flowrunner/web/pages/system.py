"""``/system``: who may come in and when they last did, what runs here, and how the server fares."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from flowrunner import __version__
from flowrunner.message import Instant
from flowrunner.units import SECOND
from flowrunner.web.pages.face import Face, Page
from flowrunner.web.pages.formats import NOTHING, age, duration, moment, number
from flowrunner.web.pages.words import Translate
from flowrunner.web.people.register import OWNER
from flowrunner.web.pulse import Pulse

WORDS: dict[str, tuple[str, str]] = {
    "system.title": ("System", "System"),
    "system.as-of": ("as of {time}", "Stand {time}"),
    "system.server": ("This server", "Dieser Server"),
    "system.up": ("Running for", "Läuft seit"),
    "system.generation": ("Generation", "Generation"),
    "system.generation-since": ("since {time}", "seit {time}"),
    "system.lag": ("Loop lag, p99 of the last minute", "Verzug der Schleife, p99 der letzten Minute"),
    "system.lag-none": ("not measured yet", "noch nicht gemessen"),
    "system.readers": ("Connected browsers", "Verbundene Browser"),
    "system.data": ("Data folder", "Datenordner"),
    "system.memory": ("in memory only", "nur im Speicher"),
    "system.data-failed": ("The data folder cannot be written", "Der Datenordner ist nicht beschreibbar"),
    "system.users": ("Users", "Benutzer"),
    "system.keys": ("Keys of programs", "Schlüssel von Programmen"),
    "system.name": ("Name", "Name"),
    "system.role": ("Role", "Rolle"),
    "system.sessions": ("Sessions", "Sitzungen"),
    "system.last-log-in": ("Last log-in", "Letzte Anmeldung"),
    "system.last-used": ("Last used", "Zuletzt benutzt"),
    "system.never": ("never", "nie"),
    "system.you": ("you", "du"),
    "system.from-environment": ("from FLOWRUNNER_API_KEY", "aus FLOWRUNNER_API_KEY"),
    "system.no-users": (
        "No users. On the machine of this flowrunner, type:",
        "Keine Benutzer. Auf dem Rechner dieses flowrunner eingeben:",
    ),
    "system.no-keys": (
        "No keys. Programs that read or enter values by the API need one:",
        "Keine Schlüssel. Programme, die über die API lesen oder Werte eingeben, brauchen einen:",
    ),
    "system.change": ("Changed on the machine of this flowrunner:", "Ändern auf dem Rechner dieses flowrunner:"),
    "system.people-hidden": (
        "Users and keys, and when they were last here, are shown to operators and editors.",
        "Benutzer und Schlüssel und wann sie zuletzt da waren, sehen Bediener und Bearbeiter.",
    ),
    "system.open": ("Everybody on this machine may do everything.", "Jeder auf diesem Rechner darf alles."),
    "system.open-text": (
        "There is neither a user nor a key. The first one ends that within a second.",
        "Es gibt weder Benutzer noch Schlüssel. Der erste beendet das binnen einer Sekunde.",
    ),
    "system.libraries": ("Versions", "Versionen"),
}  # fmt: skip
LIBRARIES = ("starlette", "uvicorn", "uvloop", "msgspec", "pymodbus", "httpx2", "argon2-cffi", "Jinja2")
"""Whose versions a report of a defect should name."""
ADD = "flowrunner {} add NAME --role viewer|operator|editor"
CHANGE = {
    "users": f"{ADD.format('users')}\nflowrunner users role NAME viewer|operator|editor\n"
    "flowrunner users password NAME\nflowrunner users remove NAME",
    "keys": f"{ADD.format('keys')}\nflowrunner keys remove NAME",
}
"""What is typed to change who may come in."""


class Fact(NamedTuple):
    """One figure of the server. ``part``: by which the page's script finds it."""

    title: str
    value: str
    more: str = ""
    part: str = ""


class Row(NamedTuple):
    """A user or key."""

    name: str
    note: str
    role: str
    last: str
    sessions: str = ""


def pages(face: Face) -> list[Page]:
    """The page."""
    return [Page("/system", System(face).page)]


class System:
    """The page; it only reads."""

    def __init__(self, face: Face) -> None:
        self._face = face

    async def page(self, request: Request) -> Response:
        """Figures as of now; hashes of passwords and keys never leave the store."""
        face, t = self._face, self._face.t(request)
        people = face.people
        store = face.engine.store
        users, keys = [*self._users(request, t)], [*self._keys(request, t)]
        there = {"users": bool(users), "keys": bool(keys)}
        commands = {what: CHANGE[what] if known else ADD.format(what) for what, known in there.items()}
        return face.html(
            request, "system.html", title=t("system.title"),
            as_of=t("system.as-of", time=self._when(face.engine.clock.now(), request)),
            facts=await self._facts(request, t), users=users, keys=keys,
            open=people is not None and people.open, failed=store.failed, commands=commands, libraries=_versions(),
        )  # fmt: skip

    async def _facts(self, request: Request, t: Translate) -> list[Fact]:
        face, lang = self._face, self._face.lang(request)
        engine, pulse = face.engine, _pulse(request)
        late = None if pulse is None else pulse.late_s()
        folder = engine.store.folder
        size = None if folder is None else await asyncio.to_thread(_size, folder)
        since = t("system.generation-since", time=self._when(engine.loaded_at, request))
        return [
            Fact(t("system.up"), NOTHING if pulse is None else duration(pulse.up_s, lang)),
            Fact(t("system.generation"), number(engine.generation, lang), since),
            Fact(t("system.lag"), t("system.lag-none") if late is None else f"{number(late * 1000, lang, 1)} ms"),
            Fact(t("system.readers"), NOTHING if face.hub is None else number(face.hub.readers, lang), "", "readers"),
            Fact(t("system.data"), t("system.memory") if size is None else _bytes(size, lang), str(folder or "")),
        ]

    def _users(self, request: Request, t: Translate) -> Iterator[Row]:
        people, me = self._face.people, self._face.person(request)
        if people is None:
            return
        kept = people.kept
        for user in kept.users.values():
            count = number(sum(one.user == user.name for one in kept.sessions.values()), self._lang(request))
            note = t("system.you") if me.by == "session" and me.name == user.name else ""
            yield Row(user.name, note, user.role, self._ago(user.last_at, request, t), count)

    def _keys(self, request: Request, t: Translate) -> Iterator[Row]:
        people = self._face.people
        if people is None:
            return
        if people.has_api_key:
            yield Row(OWNER, t("system.from-environment"), "editor", self._ago(people.api_key_used_at, request, t))
        for key in people.kept.keys.values():
            yield Row(key.name, "", key.role, self._ago(key.used_at, request, t))

    def _lang(self, request: Request) -> str:
        return self._face.lang(request)

    def _ago(self, at: Instant | None, request: Request, t: Translate) -> str:
        people = self._face.people
        if at is None or people is None:
            return t("system.never")
        return age((people.clock.now() - at) / SECOND, self._lang(request))

    def _when(self, at: Instant, request: Request) -> str:
        head = next(iter(self._face.engine.graph.flows.values()), None)
        return moment(at, head.timezone if head is not None else "UTC", self._lang(request))


def _pulse(request: Request) -> Pulse | None:
    return getattr(request.app.state, "pulse", None)


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    libraries = ((name, metadata.version(name)) for name in LIBRARIES if _is_here(name))
    own = ("flowrunner", __version__), ("Python", platform.python_version()), ("SQLite", sqlite3.sqlite_version)
    return (*own, *libraries)


def _is_here(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:  # uvloop is not everywhere
        return False
    return True


def _size(folder: Path) -> int:
    """Bytes of what is in the folder itself."""
    total = 0
    for one in folder.iterdir():
        try:
            total += one.stat().st_size if one.is_file() else 0
        except FileNotFoundError:  # a log that SQLite has just put away
            continue
    return total


def _bytes(size: int, lang: str) -> str:
    for unit, many in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= many:
            return f"{number(size / many, lang, 1)} {unit}"
    return f"{number(size, lang)} B"
