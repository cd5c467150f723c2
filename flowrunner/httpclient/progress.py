"""How far a request came, and what its failure means: nothing was sent, or something may have arrived."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowrunner.errors import FlowrunnerError, NotConnected


class NoAnswer(FlowrunnerError):
    """The request may have arrived, and no clear answer came: whether it was carried out is not known.

    ``status``: what the answer began with, where at least that came.
    """

    status: int | None = None


class Progress:
    """How far a request came: told by the library's own trace of what it does on the wire. ``still``: as
    :meth:`HttpClient.request` has it."""

    def __init__(self, host: str, still: Callable[[], str] | None = None) -> None:
        self.sent = False
        self.answering = False
        self.status: int | None = None
        """Of the answer, as soon as its head is there."""
        self.via = ""
        self._reused = True
        self._host = host
        self._still = still
        self._stream: Any = None

    @property
    def met_a_dead_connection(self) -> bool:
        """It went out on a connection that had been idle, and nothing of an answer came back."""
        return self._reused and self.sent and not self.answering

    async def see(self, event: str, info: Mapping[str, Any]) -> None:
        """NotConnected, before the first byte, for a request that must not be sent any more."""
        _, _, step = event.partition(".")
        if step == "connect_tcp.started":
            self._reused = False
            if str(info.get("host")) != self._host:
                self.via = f"the proxy {info.get('host')}:{info.get('port')}: "
        elif step == "connect_tcp.complete":
            self._stream = info["return_value"]
        elif step == "send_request_headers.started" and info["request"].method != b"CONNECT":
            if self._still is not None and (why := self._still()):
                raise NotConnected(why)
            self.sent = True
        elif step == "receive_response_headers.complete" and self.sent:
            self.answering = True
            self.status = info["return_value"][1]

    async def let_go(self) -> None:
        """Close a connection on which the request never left: the library forgets one that is cut in its handshake."""
        if self._stream is not None and not self.sent:
            await self._stream.aclose()

    def failure(self, where: str, error: BaseException) -> FlowrunnerError:
        """The exception that a failed request means, in words."""
        if not self.sent:
            return NotConnected(f"{where}: {self.via}{why_no_connection(error)}")
        if self.answering:
            return NoAnswer(f"{where}: the connection broke in the middle of the answer")
        import httpx2

        if isinstance(error, httpx2.RemoteProtocolError) and "disconnected" not in str(error):
            return NoAnswer(f"{where}: what came back is no HTTP; check host and port")
        return NoAnswer(f"{where}: the server closed the connection without an answer")


def why_no_connection(error: BaseException) -> str:
    """What kept a connection from being made, and the next step, without anything secret."""
    import httpx2

    if isinstance(error, httpx2.ProxyError):
        return f"it refuses to connect ({error})"
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return (
                    f"the server's certificate is not trusted ({cause.verify_message}); give its authority by ca_file"
                )
            case ssl.SSLError():
                return f"no TLS connection ({cause.reason or 'it broke'}); does this port speak https?"
            case socket.gaierror():
                return "the host name is not known; check it"
            case ConnectionRefusedError():
                return "connection refused; is the server running, and are host and port right?"
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return f"no connection ({cause.strerror})"
    return "no connection; the server closed it before the request was sent"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it: the library's own say less than the system's below them."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [below for below in (one.__cause__, one.__context__) if below is not None]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
