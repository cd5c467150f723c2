"""Who shares a client: nodes that ask the same server in the same way."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from flowrunner.httpclient.address import origin_of
from flowrunner.httpclient.client import HttpClient

Shared = Callable[[Hashable, Callable[[], Any]], Any]
"""The connection at a key, made by the first who asks: ``Context.shared``."""
TIMEOUT_S = 10.0
"""Of a request that does not say its own."""


def shared_client(shared: Shared, url: str, ca_file: str = "") -> HttpClient:
    """The client of the server that ``url`` lies on; ask it with whole URLs. ValueError as `check_url`."""
    base = origin_of(url)
    client: HttpClient = shared(("http", base, ca_file), lambda: HttpClient(base, timeout_s=TIMEOUT_S, ca_file=ca_file))
    return client
