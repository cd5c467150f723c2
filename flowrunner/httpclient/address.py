"""Addresses of web servers and the headers of requests: what can be asked for, and what may be shown of it."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import httpx2

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
OF_THE_CLIENT = ("connection", "content-length", "host", "proxy-authorization", "te", "transfer-encoding", "upgrade")
"""Headers that say how a request is sent, not what it asks."""
PORTS = {"http": 80, "https": 443}
_HOST = re.compile(rb"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?")
_LONGEST_PATH = 200


def check_url(text: str) -> None:
    """ValueError with a sentence when ``text`` is no http or https address. The sentence holds nothing secret."""
    parsed(text)


def origin_of(url: str) -> str:
    """``https://host:port``: what connections are shared by. ValueError as `check_url`."""
    return origin(parsed(url))


def place_of(url: str) -> str:
    """Origin and path, without a query or a login: what may be kept and shown. ValueError as `check_url`."""
    return shown(parsed(url)).rstrip("/")


def header_fault(name: str, value: str) -> str:
    """Why a request cannot carry this header, or "". The value is not repeated: it may be a key."""
    if not HEADER_NAME.fullmatch(name):
        return f"{name[:60]!r} cannot be the name of a header"
    if name.lower() in OF_THE_CLIENT:
        return f"the client itself writes the header {name}"
    if any((ord(char) < 32 and char != "\t") or ord(char) > 126 for char in value) or value != value.strip():
        return f"the value of {name} holds a character that a header cannot carry, or a space at an end"
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host as a URL names it is this machine's own address: no proxy can reach that."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1, as the system reads it
        except (OSError, UnicodeEncodeError):
            return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or address.is_unspecified


def parsed(text: str) -> httpx2.URL:
    import httpx2

    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        raise ValueError("this is not an address; write it like https://host:port/path") from None
    if url.scheme not in ("http", "https"):
        raise ValueError("an address begins with http:// or https://")
    if not url.host:
        raise ValueError("the address names no host")
    if not _HOST.fullmatch(url.raw_host):
        raise ValueError("the host holds a character that no host has")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"the port {url.port} is no port of a server; there are 1 to 65535")
    if url.fragment:
        raise ValueError("an address to ask has no #fragment")
    return url


def place(url: httpx2.URL) -> tuple[str, str, int]:
    return (url.scheme, url.host, url.port or PORTS[url.scheme])


def origin(url: httpx2.URL) -> str:
    port = "" if url.port in (None, PORTS[url.scheme]) else f":{url.port}"
    host = url.raw_host.decode("ascii")
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def shown(url: httpx2.URL) -> str:
    path = url.raw_path.decode("ascii").partition("?")[0]
    return origin(url) + (path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…")


def quoted(text: str) -> str:
    """What a URL cannot hold as %XX; what is quoted already stays."""
    return quote(text, safe="%/:=&?~+!$,;'@()*[]-._|")
