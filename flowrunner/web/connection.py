"""One connection to a client that may be slow, broken or hostile: bounds on how long and how large a request is.

Requests to the flows' routes are answered from here (`ingress`), without a task and without the application; all else
goes uvicorn's way.
"""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from functools import partial
from typing import Any, ClassVar

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from flowrunner.http import Response, refusal
from flowrunner.routes import Route
from flowrunner.web.guard import HEADERS
from flowrunner.web.ingress import Head, Ingress, Pair

if sys.platform != "win32":
    import fcntl
    import termios

MAX_HEAD = 65_536
"""Bytes of request line and headers beyond the first read of them; and of headers behind a body (trailers)."""
TRANSPORT = "flowrunner.transport"
"""Extension of the scope: the connection itself, for answers that have no end."""
MAX_AHEAD = 100
"""Requests that a client may send while the first of them has no answer yet."""
AT_ONCE = 16
"""Requests of one packet that are answered before others have their turn."""


class Limits(uvicorn.Config):
    """The server's configuration with two things more."""

    request_s: float = 30.0
    """Seconds from the first byte of a request (or from the connection, where none comes) to its last; and that a
    client may take nothing of an answer."""
    ingress: Ingress | None = None
    """The flows' routes."""


class Nobody:
    """Where uvicorn would wake who waits for the rest of a request."""

    def set(self) -> None:
        """There is nobody."""


class Exchange:
    """One request to a flow's route and its answer; stands where uvicorn has the cycle of an application."""

    __slots__ = ("body", "disconnected", "head", "keep_alive", "response_complete", "route")
    message_event: ClassVar = Nobody()

    def __init__(self, route: Route, head: Head, keep_alive: bool) -> None:
        self.route, self.head, self.keep_alive = route, head, keep_alive
        self.body = bytearray()
        self.response_complete = self.disconnected = False


NEVER = Exchange(Route("", "", "", 0), Head({}, 0), keep_alive=False)
"""What was sent behind a request whose answer ends the connection."""


class Connection(HttpToolsProtocol):
    """Closes clients that hold a request open, and refuses heads without end; uvicorn has no bound for either."""

    config: Limits
    cycle: Any  # an Exchange too
    _request_until = _idle_until = math.inf
    """When it is closed: in the middle of a request, and without one; the loop's own time."""
    _watch: asyncio.TimerHandle | None = None
    """Looks whether that has come, and comes back by itself: cheaper than a timer for each request."""
    _waiting = 0
    """Bytes that the client had not taken at the last look."""
    _taken_at = 0.0
    """When it was seen last that it takes what is there, or that nothing is."""
    _in_head = False
    _head = 0
    _asked: Exchange | None = None
    """What is being read, where it is for a flow's route."""
    _at_once = 0
    _pairs: list[Pair] | None = None
    """The headers that were judged last: those of the next request are mostly the same."""
    _said: Head | None = None
    """What they say."""

    # ---- how long ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._arm()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._idle_until = math.inf
        if self._request_until == math.inf:
            self._request_until = self.loop.time() + self.config.request_s

    def _rest(self) -> None:
        self._idle_until = self.loop.time() + self.timeout_keep_alive

    def _look(self) -> None:
        """Until the connection is lost, also while it closes: what was written goes out before, if it is taken."""
        now, waiting = self.loop.time(), not_taken(self.transport) if self.transport.get_write_buffer_size() else 0
        if not 0 < self._waiting <= waiting:
            self._taken_at = now
        self._waiting = waiting
        if now - self._taken_at >= self.config.request_s:
            self.transport.abort()
            return
        # Nothing that is begun from now on ends sooner than this.
        wait, until = min(self.config.request_s, self.timeout_keep_alive), min(self._request_until, self._idle_until)
        if now >= until:
            self.transport.close()
        else:
            wait = min(wait, until - now)
        self._watch = self.loop.call_later(wait, self._look)

    # ---- what comes -------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:  # else who waits for his answer may send an empty line
            self._arm()  # also for what begins no request: empty lines, one by one
        self._at_once = 0
        if self._in_head:  # what came with the line that began it is not counted: one read is bounded anyway
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431, "too-large", f"the request line and headers are larger than {MAX_HEAD} bytes")

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False  # the scope: only where it is asked for
        self._in_head, self._head = True, 0
        self._arm()  # the one before, of the same packet, may be answered already

    def on_headers_complete(self) -> None:
        self._in_head = False
        asked = NEVER if self.transport.is_closing() else self._plain()
        if asked is not None:
            self.cycle = self._asked = asked
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}
        super().on_headers_complete()
        self.headers = []  # for those behind the body, which are none of the request (RFC 9110, 6.5.1)
        if len(self.pipeline) > MAX_AHEAD and not self.transport.is_closing():
            self.transport.abort()  # uvicorn would keep them all, for somebody who reads no answer

    def on_chunk_header(self) -> None:
        """What comes now is a part of the body, or behind the last one more headers."""
        self._in_head, self._head = True, 0

    def on_body(self, body: bytes) -> None:
        self._in_head = False
        if self._asked is None:
            super().on_body(body)
        else:
            if self._asked is not NEVER:
                self._asked.body += body

    def on_message_complete(self) -> None:
        self._request_until, self._in_head = math.inf, False
        asked, self._asked = self._asked, None
        if asked is None:
            super().on_message_complete()
            if self.cycle.response_complete:  # before the body was here: nothing else is to come of this one
                self._rest()
        else:
            self._ask(asked)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "not-http", "this is not an HTTP request")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer without the application, and close. Not in the middle of another answer."""
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(refusal(status, code, detail).body)
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            safe = b"".join(b"%b: %b\r\n" % pair for pair in HEADERS)
            self.transport.write(STATUS_LINE[status] + safe + head.encode() + body)
        self.transport.close()

    # ---- the flows' routes -----------------------------------------------------------------------------------------

    def _plain(self) -> Exchange | None:
        """The request whose head has come, where the flow may have it as it is: its route is there, its head says
        nothing that must be judged, nothing is in its way, and nobody waits for his turn because of it."""
        ingress, parser = self.config.ingress, self.parser
        if ingress is None or self._at_once >= AT_ONCE or not (self.cycle is None or self.cycle.response_complete):
            return None
        route = ingress.route(parser.get_method(), self.url)
        if route is None or parser.get_http_version() != "1.1" or self.flow.write_paused:
            return None
        most = self.limit_concurrency
        if most is not None and (len(self.connections) >= most or len(self.tasks) >= most):
            return None
        if self._pairs != self.headers:
            self._pairs, self._said = self.headers, ingress.head(self.headers)
        head = self._said
        if head is None or head.length > (0 if route.method == "GET" else route.max_body):
            return None
        return Exchange(route, head, parser.should_keep_alive())

    def _ask(self, asked: Exchange) -> None:
        """The whole request is here."""
        if self.transport.is_closing():
            return  # nobody would hear that it was done, and who sends it again would have it done twice
        self._at_once += 1
        ingress, client = self.config.ingress, self.client[0] if self.client else ""
        assert ingress is not None  # noqa: S101  (it said that the route is there)
        answer = ingress.ask(asked.route, asked.head, bytes(asked.body), client)
        if isinstance(answer, Response):
            self._answer(asked, answer)
            return
        asked.body.clear()
        self.tasks.add(answer)  # type: ignore[arg-type]  # the server waits for it when it stops, and then cancels it
        answer.add_done_callback(partial(self._answer_later, asked))

    def _answer_later(self, asked: Exchange, waited: asyncio.Future[Response]) -> None:
        self.tasks.discard(waited)
        assert self.config.ingress is not None  # noqa: S101  (it was asked)
        self._answer(asked, self.config.ingress.outcome(waited))

    def _answer(self, asked: Exchange, answer: Response) -> None:
        asked.response_complete = True
        if asked.disconnected or self.transport.is_closing():
            return
        assert self.config.ingress is not None  # noqa: S101  (it was asked)
        date = self.server_state.default_headers
        packet, close = self.config.ingress.packet(answer, date, close=not asked.keep_alive)
        self.transport.write(packet)
        if close:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """As uvicorn has it, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if self._request_until == math.inf:  # else the next one has begun
            self._rest()


def not_taken(transport: asyncio.Transport) -> int:
    """Bytes that the client has not taken: ours, and those that the system has of us."""
    waiting = transport.get_write_buffer_size()
    sock: Any = transport.get_extra_info("socket")
    if sys.platform != "win32" and sock is not None and sock.fileno() >= 0:
        size = array("i", [0])
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, size)
        waiting += size[0]
    return waiting
