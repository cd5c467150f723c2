"""Asks the API of a running engine and reads its live stream; says in a sentence why it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2

from flowrunner import __version__
from flowrunner.clock.io_time import pause
from flowrunner.errors import FlowrunnerError, UsageError
from flowrunner.httpclient.address import header_fault, is_loopback, parsed, shown
from flowrunner.message import JSON

API_KEY = "FLOWRUNNER_API_KEY"
SILENT_S = 3.0
"""The engine says something every second: after so long it is gone, or the network is."""
ANSWER_S = 10.0
AGAIN_S = (1.0, 10.0)
"""Before the connection is tried again: at first, and at most."""
Say = Callable[[str], object]


class Away(FlowrunnerError):
    """No engine answers there, or not any more; it may again."""


class Refused(FlowrunnerError):
    """The engine answers, and says no."""


class Event(NamedTuple):
    """One event of the live stream."""

    name: str
    data: Any


class Remote:
    """An engine at ``url``. UsageError where that is no address, or the key cannot be a header. The key is sent to no
    other place, and is in no text."""

    def __init__(self, url: str, key: str) -> None:
        try:
            base = parsed(url if "://" in url else f"http://{url}")
        except ValueError as error:
            raise UsageError(f"--url: {error}") from None
        if base.userinfo:
            raise UsageError(f"--url: leave the login out; the key of the engine goes into --key or {API_KEY}")
        if header_fault("x-api-key", key):
            raise UsageError("the key holds a character that no key can hold, or a space at an end")
        self.shown = shown(base).rstrip("/")
        self._key = key
        self._client = httpx2.AsyncClient(
            base_url=base,
            headers={"user-agent": f"flowrunner/{__version__}"} | ({"x-api-key": key} if key else {}),
            verify=httpx2.create_ssl_context() if base.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=not is_loopback(base.host),
            follow_redirects=False,
            timeout=httpx2.Timeout(ANSWER_S),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """A JSON answer of the API. Away, Refused."""
        with self._said():
            answer = await self._client.get(path)
            self._check(answer.status_code, answer.headers.get("content-type", ""), answer.content)
            return json.loads(answer.content)

    async def events(self, path: str) -> AsyncGenerator[Event, None]:
        """The live stream, from its beginning to where it breaks off: it ends by raising Away, or at ``frames``."""
        with self._said():
            timeout = httpx2.Timeout(ANSWER_S, read=SILENT_S)
            async with self._client.stream("GET", path, timeout=timeout) as answer:
                media = answer.headers.get("content-type", "")
                if answer.status_code != 200 or not media.startswith("text/event-stream"):
                    self._check(answer.status_code, "", await answer.aread())
                name = ""
                async for line in answer.aiter_lines():
                    if line.startswith("event: "):
                        name = line[7:]
                    elif line.startswith("data: "):
                        yield Event(name, json.loads(line[6:]))

    async def watch(self, path: str, say: Say) -> AsyncGenerator[Event, None]:
        """The same again and again: what breaks off is said, and tried anew until it goes on. Away only where nobody
        answers the very first time; Refused whenever the engine says no."""
        wait, lost, begun = AGAIN_S[0], False, False
        while True:
            try:
                async for event in self.events(path):
                    if lost:
                        say(f"connected again to {self.shown}")
                    wait, lost, begun = AGAIN_S[0], False, True
                    yield event
                why = f"{self.shown} has ended the stream"
            except Away as error:
                if not begun:
                    raise
                why = str(error)
            if not lost:
                say(f"{why}; trying again")
            lost = True
            await pause(wait)
            wait = min(wait * 2, AGAIN_S[1])

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Errors of the network as sentences."""
        try:
            yield
        except httpx2.ConnectError as error:
            why = _reason(error)
            raise Away(
                f"no engine answers at {self.shown} ({why}); `flowrunner run` starts one and says where it is,"
                " --url says where to look"
            ) from None
        except (httpx2.ReadTimeout, httpx2.ConnectTimeout) as error:
            waited = SILENT_S if isinstance(error, httpx2.ReadTimeout) else ANSWER_S
            raise Away(f"{self.shown} said nothing for {waited:g} s") from None
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise Away(f"the connection to {self.shown} broke off ({_reason(error)})") from None
        except json.JSONDecodeError:
            raise Refused(self._no_engine) from None

    def _check(self, status: int, media: str, body: bytes) -> None:
        if status == 200 and media.startswith("application/json"):
            return
        refused: JSON = None
        with contextlib.suppress(ValueError):
            refused = json.loads(body)
        if not isinstance(refused, dict) or not isinstance(refused.get("detail"), str):
            raise Refused(self._no_engine)
        if status == 401:
            what = "the key is wrong" if self._key else "a key is needed"
            raise Refused(f"{self.shown}: {what}; it is read from {API_KEY}, or given with --key")
        if status == 503:
            raise Away(f"{self.shown}: {_plain(refused['detail'])}")
        raise Refused(f"{self.shown}: {_plain(refused['detail'])}")

    @property
    def _no_engine(self) -> str:
        return f"what answers at {self.shown} is no flowrunner, or one without this command; look at --url"


def live(*, tap: list[str] | None = None, rate: float | None = None) -> str:
    """The path of the live stream."""
    query = [f"tap={','.join(quote(one, safe='/') for one in tap)}"] if tap else []
    query += [f"tap_rate={rate:g}"] if rate is not None else []
    return "/api/v1/live" + (f"?{'&'.join(query)}" if query else "")


async def nodes_of(remote: Remote) -> dict[str, JSON]:
    """Address → what the engine says of the node in its flow."""
    found: dict[str, JSON] = {}
    for head in await remote.get("/api/v1/flows"):
        flow = await remote.get(f"/api/v1/flows/{quote(head['flow'])}")
        found |= {f"{head['flow']}/{one['id']}": one | {"title": flow["title"]} for one in flow["nodes"]}
    return found


def in_loop(work: Callable[[], Awaitable[int]]) -> int:
    """Run a command that goes on until Ctrl-C: that is how it is ended, and no failure."""

    async def run() -> int:
        return await work()

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        return 0


def _reason(error: BaseException) -> str:
    """What the system said, without the address that libraries put around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:500])
