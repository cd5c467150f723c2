"""What servers ask of whoever asks them: to wait, to come with a key, to go elsewhere. In words, and as a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import unquote, unquote_plus

from flowrunner.httpclient.address import is_loopback, parsed
from flowrunner.httpclient.client import Answer
from flowrunner.units import SECOND, Duration

LONGEST_PAUSE = Duration.parse("1h")
"""The longest that a server is left alone, whatever it asks for: a slip of it must not stop a flow for days."""
_SECRET = re.compile(r"auth|key|token|secret|passw|cookie|session|signature", re.IGNORECASE)
"""What is in the names of headers, and of parts of a query, that hold secrets."""


def status_in_words(status: int) -> str:
    """``404 Not Found``, with the next step where there is one."""
    phrase = f" {HTTPStatus(status).phrase}" if status in HTTPStatus.__members__.values() else ""
    if 300 <= status < 400:
        return f"{status}{phrase}; redirects are not followed, write the address it has moved to"
    return f"{status}{phrase}" + ("; check the key" if status in (401, 403) else "")


def pause_ns(answer: Answer) -> int:
    """How long the server wants to be left alone: Retry-After in seconds, or as a date beside its own Date."""
    asked = answer.headers.get("retry-after", "").strip()
    if answer.status not in (429, 503) or not asked:
        return 0
    if asked.isascii() and asked.isdigit():
        return min(int(asked[:9]) * SECOND, LONGEST_PAUSE)
    try:
        until, since = parsedate_to_datetime(asked), parsedate_to_datetime(answer.headers["date"])
        return min(max(int((until - since).total_seconds()), 0) * SECOND, LONGEST_PAUSE)
    except (KeyError, OverflowError, TypeError, ValueError):  # neither: it says nothing about the time
        return 0


def secrets_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that hold secrets, as far as their names say so."""
    return {name: value for name, value in headers.items() if value and _SECRET.search(name)}


def secrets_in(url: str) -> set[str]:
    """What an address holds of secrets, as far as the names in its query say so, and its password: as they are written
    and as they are read. ``url`` may have places; what is put in there is none."""
    address = parsed(url)
    pairs = [pair.partition("=")[::2] for pair in address.query.decode("ascii", "replace").split("&")]
    written = {value for name, value in pairs if _SECRET.search(name)}
    login = address.userinfo.decode("ascii", "replace").partition(":")[2]
    return {form for value in (*written, login) for form in (value, unquote(value), unquote_plus(value)) if form}


def in_the_open(url: str, headers: Mapping[str, str]) -> str:
    """The secret header that everybody on the way to ``url`` could read; "" where there is none."""
    address = parsed(url)
    if address.scheme == "https" or is_loopback(address.host):
        return ""
    return next(iter(secrets_of(headers)), "the password in the address" if address.password else "")
