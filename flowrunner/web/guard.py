"""Who may ask: Host, Origin and key. Loopback is not trust: a page in a browser reaches it too."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowrunner.http import Response, refusal
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
)


def is_loopback(host: str) -> bool:
    """Whether a server bound to ``host`` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without its port; "" when it is not one."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """ASGI middleware: refuses foreign Host and Origin headers (DNS rebinding, forms on other sites)."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = {"localhost", *(host.strip().lower() for host in hosts if host.strip())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._refuse(request)
        if refused is not None:
            await answer(refused)(scope, receive, _with_headers(send))
            return
        await self.app(scope, receive, _with_headers(send))

    def _refuse(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self.knows(host_name(host)):
            return refusal(403, "host", f"this server is not called {host[:100]!r}; {HOSTS} can name it")
        origin = request.headers.get("origin")
        if origin is not None and request.method not in SAFE and urlsplit(origin).netloc != host:
            return refusal(403, "origin", "requests from pages of other sites are refused")
        return None

    def knows(self, name: str) -> bool:
        """A literal address cannot be rebound by DNS; any other name must be one of ours."""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.lower() in self.hosts
        return True


def key_refusal(request: Request, key: str) -> Response | None:
    """401 unless the request carries the API's key (``X-API-KEY``, or as a bearer token for scrapers)."""
    if not key:
        return None
    given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), key.encode()):
        return None
    return refusal(401, "unauthorized", f"the header X-API-KEY {'is wrong' if given else 'is missing'}")


def keyed(key: str, handle: Callable[[Request], Awaitable[ASGIApp]]) -> Callable[[Request], Awaitable[ASGIApp]]:
    """The same handler for who has the key."""

    async def checked(request: Request) -> ASGIApp:
        refused = key_refusal(request, key)
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
