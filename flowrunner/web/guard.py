"""Who may ask: Host, Origin and key. Loopback is not trust: a page in a browser reaches it too."""

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
        if is_foreign(request.headers) and request.headers.get("sec-fetch-mode") != "navigate":
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


class KeyCheck:
    """The key of the API (``X-API-KEY``, or as a bearer token for scrapers). "" (loopback only) lets all in."""

    def __init__(self, key: str, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._wrong = TokenBuckets(WRONG_KEYS_PER_SECOND)

    def refusal(self, request: Request) -> Response | None:
        """401 unless the request carries the key; 429 for who guesses."""
        if not self._key:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        if same_key(given, self._key):
            return None
        wait = self._wrong.take(request.client.host if request.client else "", self._clock.now())
        if wait > 0:
            return refusal(429, "too-fast", "too many wrong keys; try again in a second", headers=retry_after(wait))
        return missing_key(given)

    def guarded(self, handle: Handler) -> Handler:
        """The same handler for who has the key."""

        async def checked(request: Request) -> ASGIApp:
            refused = self.refusal(request)
            return answer(refused) if refused is not None else await handle(request)

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
