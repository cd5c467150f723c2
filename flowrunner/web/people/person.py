"""One who asks, and what a role allows."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from flowrunner.store.people import ROLES, Role

A_NAME = "A name: kept behind the one of the session or key; without these it is the name, or else the address."
"""What the API says of a `by`."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, as ``request.state.person``. ``by``: how that is known; "open": nobody has to say who they are, and
    the name is ""."""

    name: str
    role: Role
    by: Literal["session", "key", "open"]
    csrf: str = ""
    """What a page of this session must send with each POST, as ``X-CSRF-Token``."""
    mark: bytes = b""
    """What tells its session or key; for ``People.knows``."""


def may(person: Person, needed: Role) -> bool:
    """Whether the person's role is the needed one or a higher one."""
    return ROLES.index(person.role) >= ROLES.index(needed)


def digest(secret: str) -> bytes:
    """What is kept of a session's id or a machine's key. Both are 256 random bits: nobody tries these out, so that a
    fast hash is enough, unlike for a password."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def csrf_token(session: str) -> str:
    """The token of a session: whoever cannot read the cookie cannot make it, and it tells nothing of the cookie."""
    return hmac.new(session.encode("utf-8", "surrogateescape"), b"flowrunner csrf", hashlib.sha256).hexdigest()


def client(request: Request) -> str:
    """The address that a request came from."""
    return request.client.host if request.client else ""


def said_by(request: Request, given: str, *, most: int) -> str:
    """Who does it, for a journal: the person or key, with the name that the request gives where it is another one; in
    a server that is open, that name or the address. At most ``most`` characters."""
    person: Person = request.state.person
    if person.by == "open":
        return given[:most] or client(request)
    named = f"{person.name} (for {given})" if given and given != person.name else person.name
    return named if len(named) <= most else f"{named[: most - 1]}…"
