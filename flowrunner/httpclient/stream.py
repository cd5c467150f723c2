"""A WebSocket of one server, read: text frames until it ends, bounded in size and number."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from flowrunner import __version__
from flowrunner.errors import NotConnected
from flowrunner.httpclient.address import is_loopback
from flowrunner.httpclient.progress import why_no_connection

if TYPE_CHECKING:
    import httpx2
    from websockets.asyncio.client import ClientConnection

MAX_FRAME = 65_536
"""Bytes of a message; one that is longer ends the stream."""
WAITING = 16
"""Messages that wait for the reader before the server has to."""
PING_S = 20.0
"""Between two pings, and how long an answer to one may take: so a line that is dead is known to be."""
FAREWELL_S = 1.0
"""How long a server may take to answer our goodbye."""
_SCHEMES = {"http": "ws", "https": "wss"}


async def frames(
    url: httpx2.URL,
    where: str,
    tls: ssl.SSLContext,
    timeout_s: float,
    held: set[ClientConnection],
    ping_s: float = PING_S,
) -> AsyncGenerator[str, None]:
    """Connect to an http or https address as ws or wss, and give what comes. ``held`` holds the connection meanwhile.

    NotConnected when there is no connection within ``timeout_s`` and when it ends. Its text names ``where`` and
    never the query: there are keys in it. What the library says of an error quotes addresses, so it is not passed on.
    """
    connection = await _connected(url, where, tls, timeout_s, ping_s)
    held.add(connection)
    try:
        while True:
            yield await _next(connection, where)
    finally:
        held.discard(connection)
        await connection.close()


async def _connected(
    url: httpx2.URL, where: str, tls: ssl.SSLContext, timeout_s: float, ping_s: float
) -> ClientConnection:
    from websockets.asyncio.client import connect  # late: most flows hear nobody
    from websockets.exceptions import InvalidProxy, InvalidStatus, ProxyError, WebSocketException

    class Direct(connect):
        """It follows no redirect: keys are for one server only."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    logging.getLogger("websockets.client").setLevel(logging.WARNING)  # its lines hold whole addresses, keys included
    options: dict[str, Any] = {"ssl": tls} if url.scheme == "https" else {}
    if is_loopback(url.host):
        options["proxy"] = None
    try:
        return await Direct(
            str(url.copy_with(scheme=_SCHEMES[url.scheme])),
            compression=None,
            user_agent_header=f"flowrunner/{__version__}",
            open_timeout=timeout_s,
            ping_interval=ping_s,
            ping_timeout=ping_s,
            close_timeout=FAREWELL_S,
            max_size=MAX_FRAME,
            max_queue=WAITING,
            **options,
        )
    except TimeoutError:
        why = f"no connection within {timeout_s:g} s"
    except OSError as error:
        why = why_no_connection(error)
    except InvalidStatus as error:
        why = f"the server answers {error.response.status_code} and opens no stream"
    except ProxyError:
        why = "the proxy that the environment names does not connect"
    except (InvalidProxy, ImportError):
        why = "the proxy that the environment names cannot be used; it takes an http:// or https:// address"
    except (WebSocketException, ValueError, EOFError):
        why = "what came back is no WebSocket; check host, port and path"
    raise NotConnected(f"{where}: {why}")


async def _next(connection: ClientConnection, where: str) -> str:
    from websockets.exceptions import ConnectionClosed

    try:
        message = await connection.recv()
        return message if isinstance(message, str) else message.decode("utf-8", "replace")
    except ConnectionClosed as error:
        ours, code = error.sent, error.rcvd.code if error.rcvd else None
    if ours is not None and ours.code == 1009:
        raise NotConnected(f"{where}: a message was longer than {MAX_FRAME} bytes; the stream was ended")
    raise NotConnected(f"{where}: the stream ended" + ("" if code is None else f" (code {code})"))
