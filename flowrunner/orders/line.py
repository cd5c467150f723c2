"""The line to one exchange: what sending orders and following them share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta

from flowrunner.errors import NotConnected
from flowrunner.exchange import Adapter
from flowrunner.market import Market
from flowrunner.message import Instant
from flowrunner.orders.book import Book, WrongStep
from flowrunner.orders.journal import Journal
from flowrunner.orders.order import Order, Refusal, State
from flowrunner.orders.trading import Trading
from flowrunner.store import StoreFailed
from flowrunner.units import Duration, seconds_text

JOURNAL_AGAIN_S = 1.0
"""Real seconds between two tries to write down what an exchange has said."""
T = TypeVar("T")


class ClockDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the exchange's clock may be from ours."""

    alarm: Annotated[Duration, Meta(description="More than this is told by the error port.")] = Duration.parse("2s")
    block: Annotated[Duration, Meta(description="Above this no order is made.")] = Duration.parse("5s")


class Waits(Protocol):
    """The node's ``retry``."""

    def wait_ns(self, failures: int, chance: float) -> int: ...


class Surroundings(Protocol):
    """What a line needs of the node that it is of: `node.Context` has it all."""

    address: str

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]: ...

    @property
    def retry(self) -> Waits: ...

    def now(self) -> Instant: ...

    async def sleep_until(self, at: Instant) -> None: ...

    def error(self, code: str, reason: str) -> None: ...

    def connected(self, state: bool, reason: str = "") -> None: ...


class Line:
    """One market's orders to and from one exchange: what is written down, whose clock is right, what was said once."""

    def __init__(
        self,
        adapter: Adapter | None,
        venue: str,
        trading: Trading,
        market: Market,
        drift: ClockDrift,
        around: Surroundings,
    ) -> None:
        """``adapter``: None where all orders are of paper. ``venue``: the exchange's address, kept with each order."""
        self._exchange = adapter
        self.venue = venue
        self.trading = trading
        self.journal: Journal = trading.journal
        self.market = market
        self.around = around
        self.wake = asyncio.Event()
        """Set when there is something to look after at once."""
        self.there = True
        """Whether it answered when it was asked last."""
        self.met = False
        """Whether the exchange has answered, so that its clock is known."""
        self._drift = drift
        self._said: dict[str, str] = {}

    @property
    def exchange(self) -> Adapter:
        """WrongStep where there is none."""
        if self._exchange is None:
            raise WrongStep("there is no exchange that this order could be sent to")
        return self._exchange

    @property
    def ahead(self) -> int | None:
        """How far the exchange's clock is ahead of ours in ns, where it is known."""
        return None if self._exchange is None else self._exchange.offset_ns

    def close(self) -> None:
        """Nothing is sent any more: what was held against its market is let go."""
        self.trading.release(self.around.address)

    # ---- the journal ----------------------------------------------------------------------------------------

    async def keep(self, id: str, state: State, **changes: Any) -> Order:  # noqa: A002
        return await self.write(f"{id} is {state}", lambda book: book.advance(id, state, self.around.now(), **changes))

    async def write(self, what: str, work: Callable[[Book], T]) -> T:
        """Write down what is so, however long the disk cannot take it: it is only known here."""
        told = False
        while True:
            try:
                return await self.journal.decide(work)
            except StoreFailed as error:
                if not told:
                    self.around.error("journal", f"{what}, and that cannot be written: {error}")
                told = True
                await asyncio.sleep(JOURNAL_AGAIN_S)

    # ---- clocks, the switch ---------------------------------------------------------------------------------

    async def greet(self) -> None:
        """Ask for what its clock shows, and tell whether it is there."""
        try:
            answered = await self.exchange.greet()
        except NotConnected as error:
            self.tell(there=False, reason=str(error))
            self.met = self.met or self.exchange.offset_ns is not None  # it answered, if only with an error
            self.compare_clocks()
        else:
            self.met = True
            if answered:
                self.tell(there=True)
            self.compare_clocks()

    def tell(self, *, there: bool, reason: str = "") -> None:
        """Whether the exchange has answered. While it does not it is asked again soon."""
        self.around.connected(there, reason)
        if self.there and not there:
            self.wake.set()
        self.there = there

    def compare_clocks(self) -> None:
        """After each answer: orders are held while the clocks are too far apart."""
        offset = self.exchange.offset_ns
        if self.exchange.distrusted:
            self.around.error("distrusted", self.exchange.distrusted)
            self.exchange.distrusted = ""
        if offset is None:
            return
        apart = f"the exchange's clock is {seconds_text(abs(offset))} s {'ahead of' if offset > 0 else 'behind'} ours"
        if abs(offset) > self._drift.block:
            text = f"{apart}; no orders above {self._drift.block}. Set the clock of this machine right"
            self.trading.hold(self.around.address, self.market.name, Refusal("clock-drift", text))
        else:
            self.trading.release(self.around.address)
        if abs(offset) <= self._drift.alarm:
            self._said.pop("clocks", None)
        elif self.is_news("clocks", "blocked" if abs(offset) > self._drift.block else "apart"):
            self.around.error("clock-drift", apart)

    def tell_of_the_switch(self) -> None:
        stop = self.trading.switch.stopped
        if stop is None:
            self._said.pop("switch", None)
        elif self.is_news("switch", str(stop)):
            self.around.error("trading-stopped", str(stop))

    def is_news(self, what: str, text: str) -> bool:
        """Whether this was not said yet; from now on it was."""
        news = self._said.get(what) != text
        self._said[what] = text
        return news

    def settled(self, order: Order) -> None:
        """Nothing more is to be said of how it is looked for."""
        for name in (order.id, f"search {order.id}"):
            self._said.pop(name, None)
