"""Requests to the flows' routes between the connection and the engine, without the application in the middle.

Only what is plain and may come in takes this way. All else takes the application's (`app`), what is to be refused by
its head above all, so that there is one place that says why. What nodes refuse is said here in the same words.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from starlette.responses import Response as Bytes
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE

from flowrunner.engine import Engine
from flowrunner.http import Request, Response, refusal, retry_after
from flowrunner.routes import Route
from flowrunner.web.answer import answer, encode
from flowrunner.web.guard import HEADERS, host_name

Pair = tuple[bytes, bytes]
"""A header as it came, its name in small letters."""
PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+/?", re.ASCII)
"""What stands in a request line as it is, and means one path only."""
APART = frozenset(("expect", "transfer-encoding", "upgrade", "origin", "sec-fetch-site", "sec-fetch-mode"))
"""Headers with which a request takes the application's way: browsers, and bodies of unknown length."""
MOST_OF_HEAD = 4096
"""Characters of headers; a connection remembers them."""
MOST_HEADS = 256
"""Beginnings of answers that are kept until the Date changes."""
WITHOUT_LENGTH = (204, 304)
OF_THE_BODY = (b"content-length", b"transfer-encoding")
"""Headers that nobody sets by himself."""
STOPPING = refusal(503, "stopping", "this server stops; the flow gave no answer before", headers=retry_after(5))
DEFECT = refusal(500, "internal", "this request failed inside; the log says why")

log = logging.getLogger("flowrunner.web")


class Head(NamedTuple):
    """The headers of a request that may come in."""

    headers: Mapping[str, str]
    length: int
    """Bytes of the body."""


class Ingress:
    """The flows' routes as they stand in request lines. ``knows``: whether this server has that name (`Guard`);
    ``ours``: whether a path is the program's own, which comes first."""

    def __init__(self, engine: Engine, knows: Callable[[str], bool], ours: Callable[[str], bool]) -> None:
        self.engine = engine
        self._knows, self._ours = knows, ours
        self._seen: Mapping[tuple[str, str], Route] = {}
        self._routes: dict[tuple[bytes, bytes], Route] = {}
        self._date: Iterable[Pair] = ()
        self._heads: dict[tuple[object, ...], tuple[bytes, bool]] = {}

    def route(self, method: bytes, target: bytes) -> Route | None:
        """The route that is meant, if it is one that this way is for."""
        routes = self.engine.routes
        if routes is not self._seen:  # another graph runs, or none any more
            self._seen = routes
            self._routes = {
                (name.encode(), path.encode()): route
                for (name, path), route in routes.items()
                if PLAIN_PATH.fullmatch(path) and not self._ours(path)
            }
        return self._routes.get((method, target))

    def head(self, pairs: list[Pair]) -> Head | None:
        """What the headers say, or None where they are for the application to judge."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        length = headers.get("content-length", "0")
        if (
            len(headers) != len(pairs)
            or sum(map(len, chain.from_iterable(pairs))) > MOST_OF_HEAD
            or not APART.isdisjoint(headers)
            or not (length.isdecimal() and length.isascii() and len(length) < 10)
            or not self._knows(host_name(headers.get("host", "")))
        ):
            return None
        return Head(MappingProxyType(headers), int(length))

    def ask(self, route: Route, head: Head, body: bytes, client: str) -> Response | asyncio.Future[Response]:
        """The engine's answer, now or later."""
        try:
            return self.engine.ask(
                route,
                Request(method=route.method, path=route.path, headers=head.headers, query={}, body=body, client=client),
            )
        except Exception as error:
            return _defect(error)

    def outcome(self, waited: asyncio.Future[Response]) -> Response:
        """What came of an answer that was waited for."""
        if waited.cancelled():  # by the server's stop, when its patience is over
            return STOPPING
        error = waited.exception()
        return waited.result() if error is None else _defect(error)

    def packet(self, response: Response, date: Iterable[Pair], *, close: bool) -> tuple[bytes, bool]:
        """An answer as it goes out, and whether the connection ends with it. ``date``: the server's own headers."""
        try:
            return self._packet(response, date, close)
        except Exception as error:
            return self._packet(_defect(error), date, close)

    def _packet(self, response: Response, date: Iterable[Pair], close: bool) -> tuple[bytes, bool]:
        if date is not self._date:
            self._date = date
            self._heads.clear()
        said = response.body
        is_bytes = isinstance(said, bytes)
        body: bytes = said if isinstance(said, bytes) else b"" if said is None else encode(said)
        key = (response.status, is_bytes, said is None, close, *response.headers.items())
        begun = self._heads.get(key)
        if begun is None:
            if len(self._heads) >= MOST_HEADS:
                self._heads.clear()
            begun = self._heads[key] = _begun(response, date, close)
        head, close = begun
        if response.status in WITHOUT_LENGTH:
            if body:
                raise ValueError(f"an answer with status {response.status} has no body")
            return head + b"\r\n", close
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body), close


def _begun(response: Response, date: Iterable[Pair], close: bool) -> tuple[bytes, bool]:
    """The head of such answers, all but the length. ValueError for what no head can hold."""
    said: Bytes = answer(response)
    if not 200 <= said.status_code < 600:
        raise ValueError(f"{said.status_code} is no status of an answer")
    pairs = [(name, value) for name, value in said.raw_headers if name != b"content-length"]
    names = {name for name, _ in pairs}
    pairs = [*date, *pairs, *(one for one in HEADERS if one[0] not in names)]
    for name, value in pairs:
        if name in OF_THE_BODY or not name or HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            raise ValueError(f"the header {name!r} cannot be sent so")
    asked = [value for name, value in pairs if name == b"connection"]
    if any(b"close" in value.lower().replace(b" ", b"").split(b",") for value in asked):
        close = True
    elif close:
        pairs.append((b"connection", b"close"))
    lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
    return STATUS_LINE[said.status_code] + lines, close


def _defect(error: BaseException) -> Response:
    log.error("a request failed inside: %r", error, exc_info=error)
    return DEFECT
