"""Which server is meant and which page asks: Host and Origin. Loopback is not trust: a page in a browser reaches it
too. Who asks is `people`'s affair."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowrunner.clock import Clock
from flowrunner.http import WRONG_KEYS_PER_SECOND, Response, TokenBuckets, missing_key, refusal, retry_after, same_key
from flowrunner.web.answer import answer

API_KEY = "FLOWRUNNER_API_KEY"
HOSTS = "FLOWRUNNER_HOSTS"
"""Environment variable with further names by which this server may be called, separated by commas."""
HTTPS = "FLOWRUNNER_HTTPS"
"""Environment variable: 1 where people reach this server by TLS only, which ends at a proxy before it."""

SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]+)?", re.ASCII)

Handler = Callable[[Request], Awaitable[ASGIApp]]


def host_name(header: str) -> str:
    """The name or address in a Host header, in small letters and without its port; "" when it is not one."""
    match = _HOST.fullmatch(header.strip())
    return (match[1] or match[2]).lower().removesuffix(".") if match else ""


class Guard:
    """ASGI middleware: refuses foreign Host and Origin headers (DNS rebinding, forms and scripts of other sites)."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = {"localhost", *filter(None, map(host_name, hosts))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = self._refuse(Request(scope))
            app = self.app if refused is None else answer(refused)
            await app(scope, receive, _with_headers(send))

    def _refuse(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self.knows(host_name(host)):
            return refusal(403, "host", f"this server is not called {host[:100]!r}; {HOSTS} can name it")
        origin = request.headers.get("origin")
        if origin is not None and request.method not in SAFE and not _same_origin(origin, host):
            return refusal(403, "origin", "requests from pages of other sites are refused")
        followed = request.method in SAFE and request.headers.get("sec-fetch-mode") == "navigate"  # a link, no form
        if is_foreign(request.headers) and not followed:
            return refusal(403, "origin", "requests from pages of other sites are refused")
        return None

    def knows(self, name: str) -> bool:
        """A literal address cannot be rebound by DNS; any other name must be one of ours."""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.hosts
        return True


def _same_origin(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site's page made this request; it cannot be made to lie."""
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def given_key(request: Request) -> str:
    """The key that a request carries: in ``X-API-KEY``, or as a bearer token for scrapers; "" where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return request.headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")


class WrongKeys:
    """Answers who has no key, and lets nobody guess."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets = TokenBuckets(WRONG_KEYS_PER_SECOND)

    def refusal(self, request: Request) -> Response:
        """401; 429 for who guesses."""
        wait = self._buckets.take(request.client.host if request.client else "", self._clock.now())
        if wait > 0:
            return refusal(429, "too-fast", "too many wrong keys; try again in a second", headers=retry_after(wait))
        return missing_key(given_key(request))


class KeyCheck:
    """One key for all (the simulated world's). "" (loopback only) lets all in."""

    def __init__(self, key: str, clock: Clock) -> None:
        self._key = key
        self._wrong = WrongKeys(clock)

    def guarded(self, handle: Handler) -> Handler:
        """The same handler for who has the key."""

        async def checked(request: Request) -> ASGIApp:
            if self._key and not same_key(given_key(request), self._key):
                return answer(self._wrong.refusal(request))
            return await handle(request)

        return checked


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(one for one in HEADERS if one[0] not in present)]
        await send(message)

    return send_with_headers


def extra_hosts(environment: Mapping[str, str], host: str) -> list[str]:
    """The names that this server answers to, beside addresses and localhost."""
    return [host, *environment.get(HOSTS, "").split(",")]
