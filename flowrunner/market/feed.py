"""Fetching prices: one source asked at a time, its failures told apart, its secret kept out of every text."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, Protocol, TypeVar
from urllib.parse import quote, quote_plus

from flowrunner.errors import FlowrunnerError, NotConnected
from flowrunner.httpclient import HttpClient, NoAnswer
from flowrunner.market.price_file import PriceFile
from flowrunner.market.prices import BadPrices, Price
from flowrunner.market.sources import Question, WebSource
from flowrunner.message import Instant
from flowrunner.units import Duration

P = ParamSpec("P")
T = TypeVar("T")


class SourceAway(FlowrunnerError):
    """The source cannot be asked, or does not answer. The text says why."""


class Feed(Protocol):
    """``fetch``: BadPrices when what came is not understood or not believed, SourceAway when nothing came. ``now``
    gives flow time: an answer is judged by when it came, which is much later where flow time runs fast.

    ``notice``: what the source last said beside the prices, or "".
    """

    notice: str

    async def fetch(self, asked: Question, now: Callable[[], Instant]) -> list[Price]: ...
    async def close(self) -> None: ...


class WebFeed:
    """A source on the web. ``timeout``: for a whole fetch, in real time. ``secret`` is masked in what it answers."""

    def __init__(self, source: WebSource, timeout: Duration, secret: str = "") -> None:
        """ValueError when the source's url is no address."""
        self.notice = ""
        self._source = source
        self._client = HttpClient(source.url, timeout_s=timeout.seconds)
        self._secrets = {secret, quote(secret, safe=""), quote_plus(secret)} - {""}

    async def fetch(self, asked: Question, now: Callable[[], Instant]) -> list[Price]:
        try:
            answer = await self._client.request("GET", self._source.path, params=self._source.query(asked))
        except (NotConnected, NoAnswer) as error:
            raise SourceAway(str(error)) from error
        try:
            prices = understood(self._source, answer.status, answer.body, asked, now())
            self.notice = self._source.notice(answer.body)
        except BadPrices as error:
            raise BadPrices(self._masked(str(error))) from None  # the cause would show the secret in a traceback
        return prices

    async def close(self) -> None:
        await self._client.close()

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class FileFeed:
    """A CSV file, which may lie on a disk that hangs. ``timeout``: for reading it.

    It is read in a thread of its own: one that hangs takes none from others who need threads (names of hosts are
    looked up in them) and does not keep the program from ending. One at a time; its late result is not used.
    """

    notice = ""

    def __init__(self, name: str, timeout: Duration) -> None:
        self._file = PriceFile(name)
        self._timeout = timeout
        self._thread = _OwnThread()

    async def fetch(self, asked: Question, now: Callable[[], Instant]) -> list[Price]:
        try:
            async with asyncio.timeout(self._timeout.seconds):
                if (last := self._thread.last) is not None and not last.done():
                    await asyncio.wait([asyncio.wrap_future(last)])
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._file.read)
        except TimeoutError:
            raise SourceAway(f"{self._file.name} was not read within {self._timeout}") from None
        except OSError as error:
            raise SourceAway(f"{self._file.name} cannot be read: {error.strerror or type(error).__name__}") from None
        except BadPrices as error:
            raise BadPrices(f"{self._file.name}: {error}") from None

    async def close(self) -> None:
        """Nothing is kept open."""


class _OwnThread(Executor):
    """Each work in a thread of its own, which nobody waits for when the program ends."""

    last: Future[Any] | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = self.last = Future[T]()
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # raised again where it is awaited
                future.set_exception(error)

        threading.Thread(target=run, name="price-file", daemon=True).start()
        return future


def understood(source: WebSource, status: int, body: bytes, asked: Question, arrived: Instant) -> list[Price]:
    """The prices of an answer. BadPrices, with the status and the source's own reason, when it is none."""
    if status == 200:
        return source.parse(body, asked, arrived)
    why = source.reason(body)
    if not why:
        why = {401: "check the token", 403: "check the token", 429: "it is asked too often"}.get(status, "")
    raise BadPrices(f"it answers with status {status}{f': {why}' if why else ''}")
