"""One server: its connections kept open, each request bounded in time and size."""

from __future__ import annotations

import asyncio
import logging
import ssl
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import msgspec

from flowrunner import __version__
from flowrunner.clock import VirtualLoop
from flowrunner.errors import FlowrunnerError, NotConnected
from flowrunner.http import parse_json
from flowrunner.httpclient.address import HEADER_NAME, header_fault, is_loopback, origin, parsed, place, quoted, shown
from flowrunner.httpclient.progress import NoAnswer, Progress
from flowrunner.httpclient.stream import PING_S, frames

if TYPE_CHECKING:
    import httpx2
    from websockets.asyncio.client import ClientConnection

MAX_BODY = 4 << 20
"""Bytes of an answer, unless told."""
KEPT_OPEN_S = 4.0
"""How long an idle connection is used again; many servers close theirs after five seconds."""
REPEATABLE = ("GET", "HEAD")
"""Methods of requests that are made again where the kept connection turns out to be dead."""


class Answer(msgspec.Struct, frozen=True):
    """What the server said, whatever its status. Header names are lower case; the body is not compressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """As `flowrunner.http.parse_json` reads it: ValueError with a sentence, numbers may be not finite."""
        return parse_json(self.body)


class HttpClient:
    """A client of one server (scheme, host and port of ``base``); what is asked for lies below ``base``.

    ``timeout_s``: real seconds for a request from beginning to end, however slowly an answer drips. ``max_body``:
    bytes of an answer, after decompression. ``ca_file``: PEM file of the only authority that is trusted, in place of
    the system's. ``ping_s``: between two pings of a stream. Redirects are answers and not followed, cookies are not
    kept. The environment's proxies are used, never for loopback. Texts of errors name host and path only: queries,
    headers and passwords stay out of them.
    """

    def __init__(
        self, base: str, *, timeout_s: float, max_body: int = MAX_BODY, ca_file: str = "", ping_s: float = PING_S
    ) -> None:
        """ValueError with a sentence when ``base`` is no address of a web server."""
        self._base = parsed(base)
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._ca_file = ca_file
        self._ping_s = ping_s
        self._client: httpx2.AsyncClient | None = None
        self._tls: ssl.SSLContext | None = None
        self._streams: set[ClientConnection] = set()
        self._closed = False

    async def close(self) -> None:
        """Let go of all connections; requests on their way get NoAnswer or NotConnected, streams NotConnected. Safe to
        repeat."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
        await asyncio.gather(*(one.close() for one in self._streams))

    async def request(
        self,
        method: str,
        path_or_url: str = "",
        *,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout_s: float | None = None,
        fresh: bool = False,
        still: Callable[[], str] | None = None,
    ) -> Answer:
        """Ask once and give the answer, whatever its status.

        ``path_or_url``: a path below the base, or a whole URL of the same server. ``fresh``: on a connection of its
        own, so that an order never meets one that the server has just given up. A GET or HEAD that did meet one is
        asked again on a new connection; nothing else ever is. ``still``: asked when the connection stands and before
        the first byte of the request: why it must not be sent any more, or "". Making a connection takes its time.

        NotConnected: not one byte of the request was sent; its text is that of ``still``, if that said one. NoAnswer:
        it may have arrived; its ``status`` tells how the answer began, if it did. ValueError: this cannot be asked for
        (another server, a header that HTTP cannot carry).
        """
        import httpx2  # late: it is dear, and most flows ask nobody

        url = self._url(path_or_url, params or {})
        where = shown(url)
        if isinstance(asyncio.get_running_loop(), VirtualLoop):
            raise NotConnected(f"{where}: there are no sockets in virtual time; stub the node, or use a live clock")
        request = httpx2.Request(method, url, headers=checked(method, headers or {}), content=content)
        limit = self._timeout_s if timeout_s is None else timeout_s
        progress = Progress(url.host, still)
        try:
            return await self._in_time(request, where, progress, fresh, limit)
        except NoAnswer as error:
            error.status = progress.status
            raise
        finally:
            await progress.let_go()

    async def _in_time(
        self, request: httpx2.Request, where: str, progress: Progress, fresh: bool, limit: float
    ) -> Answer:
        import httpx2

        try:
            async with asyncio.timeout(limit):
                return await self._ask(request, where, progress, fresh)
        except TimeoutError as error:
            if progress.answering:
                raise NoAnswer(f"{where}: the answer was not complete within {limit:g} s") from error
            if progress.sent:
                raise NoAnswer(f"{where}: no answer within {limit:g} s") from error
            raise NotConnected(f"{where}: {progress.via}no connection within {limit:g} s") from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise progress.failure(where, error) from error
        except FlowrunnerError:
            raise
        except Exception as error:
            if progress.sent:  # whatever it was, the request may have arrived
                raise NoAnswer(f"{where}: {type(error).__name__} while waiting for the answer") from error
            raise

    async def listen(
        self,
        path_or_url: str = "",
        *,
        params: Mapping[str, str | int | float] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[str, None]:
        """What a WebSocket of the server says: each message as text, until the stream ends.

        ``path_or_url``: as `request` has it, with http or https. ``timeout_s``: for the connecting. A message may have
        `stream.MAX_FRAME` bytes. Close the iterator (``aclosing``) to hang up.

        NotConnected: there is no stream, or it has ended; its text names host and path only. ValueError: as `request`.
        """
        url = self._url(path_or_url, params or {})
        where = shown(url)
        if isinstance(asyncio.get_running_loop(), VirtualLoop):
            raise NotConnected(f"{where}: there are no sockets in virtual time; stub the node, or use a live clock")
        if self._closed:
            raise NotConnected(f"{where}: this client is closed")
        limit = self._timeout_s if timeout_s is None else timeout_s
        opened = frames(url, where, self._context(where), limit, self._streams, self._ping_s)
        async with aclosing(opened) as messages:
            async for message in messages:
                yield message

    async def _ask(self, request: httpx2.Request, where: str, progress: Progress, fresh: bool) -> Answer:
        import httpx2

        if not fresh:
            try:
                return await self._send(self._kept(where), request, where, progress)
            except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
                if not progress.met_a_dead_connection or request.method not in REPEATABLE:
                    raise
        async with self._make(where, keep=False) as client:
            return await self._send(client, request, where, progress)

    async def _send(
        self, client: httpx2.AsyncClient, request: httpx2.Request, where: str, progress: Progress
    ) -> Answer:
        request.extensions = {"trace": progress.see, "timeout": _NO_OTHER_LIMITS}
        response = await client.send(_with_defaults(client, request), stream=True)
        try:
            return await self._read(response, where)
        finally:
            await response.aclose()

    async def _read(self, response: httpx2.Response, where: str) -> Answer:
        headers = dict(response.headers.items())
        declared = headers.get("content-length", "")
        if response.request.method != "HEAD" and declared.isdecimal() and int(declared[:20]) > self._max_body:
            raise NoAnswer(f"{where}: the answer has {declared[:20]} bytes; {self._max_body} are read at most")
        unpack = _unpacking(headers.get("content-encoding", ""), where)
        body = bytearray()
        async for chunk in response.aiter_raw():
            if unpack is not None and unpack.eof:  # zlib would keep what follows, however much it is
                raise NoAnswer(f"{where}: there is more behind the end of the compressed answer")
            room = self._max_body + 1 - len(body)
            try:
                body += chunk[:room] if unpack is None else unpack.decompress(chunk, room)
            except zlib.error:
                raise NoAnswer(f"{where}: the answer cannot be decompressed") from None
            if len(body) > self._max_body:
                raise NoAnswer(f"{where}: the answer is larger than {self._max_body} bytes; no more are read")
        if unpack is not None and body and not unpack.eof:
            raise NoAnswer(f"{where}: the compressed answer ends too early")
        return Answer(response.status_code, headers, bytes(body))

    # ---- connections -----------------------------------------------------------------------------------------

    def _kept(self, where: str) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = self._make(where, keep=True)
        return self._client

    def _make(self, where: str, *, keep: bool) -> httpx2.AsyncClient:
        import httpx2

        if self._closed:
            raise NotConnected(f"{where}: this client is closed")
        for name in ("httpx2", "httpcore2"):  # their lines hold whole URLs, with tokens and passwords
            logging.getLogger(name).setLevel(logging.WARNING)
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=None if keep else 0, keepalive_expiry=KEPT_OPEN_S
        )
        headers = {"user-agent": f"flowrunner/{__version__}", "accept-encoding": "identity"}
        try:
            return httpx2.AsyncClient(
                verify=self._context(where),
                trust_env=not is_loopback(self._base.host),
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers=headers if keep else headers | {"connection": "close"},
                limits=limits,
                follow_redirects=False,
            )
        except (ImportError, ValueError, httpx2.InvalidURL):  # whose text may hold the proxy's password
            raise NotConnected(
                f"{where}: the proxy that the environment names cannot be used; "
                "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY take http:// and https:// addresses"
            ) from None

    def _context(self, where: str) -> ssl.SSLContext:
        if self._tls is None:
            import httpx2

            if self._base.scheme == "http":  # certificates are not looked at: their list need not be read
                self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            elif self._ca_file:
                try:
                    self._tls = ssl.create_default_context(cafile=self._ca_file)
                except OSError as error:
                    why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
                    raise NotConnected(f"{where}: the ca_file {self._ca_file} cannot be used: {why}") from error
            else:
                self._tls = httpx2.create_ssl_context()
        return self._tls

    def _url(self, path_or_url: str, params: Mapping[str, str | int | float]) -> httpx2.URL:
        if "://" in path_or_url.partition("?")[0]:
            url = parsed(path_or_url)
            if place(url) != place(self._base):  # keys are for one server only
                raise ValueError(f"{shown(url)} is not on {origin(self._base)}")
        elif path_or_url:
            path, mark, query = path_or_url.partition("?")
            below = self._base.path.rstrip("/") + "/" + path.lstrip("/")
            url = self._base.copy_with(raw_path=(quoted(below) + mark + quoted(query)).encode("ascii"))
        else:
            url = self._base
        return url.copy_merge_params(dict(params)) if params else url


def checked(method: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers as they are; ValueError when a request cannot be made with them, or by that method."""
    if not HEADER_NAME.fullmatch(method):
        raise ValueError("this is no method of HTTP")
    for name, value in headers.items():
        if wrong := header_fault(name, value):
            raise ValueError(wrong)
    return headers


def _with_defaults(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Request:
    for name, value in client.headers.items():
        request.headers.setdefault(name, value)
    return request


def _unpacking(encoding: str, where: str) -> Any:  # zlib has no public name for the type
    """None for a body that is as it is. Some servers compress although they were asked not to."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        case "deflate":
            return zlib.decompressobj()
    raise NoAnswer(f"{where}: the answer is compressed in a way that was not asked for ({encoding[:40]})")


_NO_OTHER_LIMITS = {"connect": None, "read": None, "write": None, "pool": None}
"""The limit of the whole request is the one that counts."""
