"""Orders on their way to an exchange: each sent at most once, and followed until its fate is known."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta

from flowrunner.errors import NotConnected
from flowrunner.exchange import Adapter, Outcome, Told
from flowrunner.market import Market
from flowrunner.message import Instant
from flowrunner.orders import limits
from flowrunner.orders.book import Book, WrongStep
from flowrunner.orders.journal import Journal
from flowrunner.orders.limits import TINY
from flowrunner.orders.order import Order, Refusal, State
from flowrunner.orders.trading import Trading
from flowrunner.orders.words import contradicts, heard, ticket, together
from flowrunner.store import StoreFailed
from flowrunner.units import Duration, iso, seconds_text

MINUTE = Duration.parse("1min")
AGAIN = Duration.parse("5s")
"""Wait between two attempts while nobody listens at the exchange's address."""
LOOK_EVERY = Duration.parse("30s")
"""Between two looks at what is unknown, open, or wrong with a clock."""
LOOK_LONGER = Duration.parse("15min")
"""How long after the beginning of its delivery an order is still asked for: by then an exchange has settled it."""
LATE = Duration.parse("5s")
"""An order that is not at the exchange this long after its delivery has begun cannot come any more."""
JOURNAL_AGAIN_S = 1.0
"""Real seconds between two tries to write down what an exchange has said."""
STREAM_AGAIN_S = 1.0, 60.0
"""Real seconds before a stream is opened again; doubled from the first to the last."""
EARLY = 1000
"""What a stream said of orders that are not known yet: it may be faster than the answer."""
_NUMBERED = re.compile(r"\S*\d\S*")
"""Numbers, times, ids: what differs in a sentence that says the same again."""
T = TypeVar("T")


class ClockDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the exchange's clock may be from ours."""

    alarm: Annotated[Duration, Meta(description="More than this is told by the error port.")] = Duration.parse("2s")
    block: Annotated[Duration, Meta(description="Above this no order is made.")] = Duration.parse("5s")


class Surroundings(Protocol):
    """What a sender needs of the node that it works for: `node.Context` has it all."""

    address: str

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]: ...

    def now(self) -> Instant: ...

    async def sleep_until(self, at: Instant) -> None: ...

    def error(self, code: str, reason: str) -> None: ...

    def connected(self, state: bool, reason: str = "") -> None: ...


class Sender:
    """The orders of one market on their way to one exchange.

    ``send`` brings one order to an end or to ``unknown``. ``news`` runs beside it for as long as orders may be sent:
    it looks for what is unknown, follows what was accepted, compares the clocks, and gives every order that changed.
    """

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
        self._venue = venue
        self._trading = trading
        self._journal: Journal = trading.journal
        self._market = market
        self._drift = drift
        self._around = around
        self._changed: asyncio.Queue[Order] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._seen_until: dict[str, Instant] = {}
        """Order → until when it is known that the exchange had not got it."""
        self._early: dict[str, Told] = {}
        self._met = False
        """Whether the exchange has answered, so that its clock is known."""
        self._said: dict[str, str] = {}
        """What was said of an order, a clock or the switch: each thing once."""

    @property
    def _adapter(self) -> Adapter:
        if self._exchange is None:
            raise WrongStep("there is no exchange that this order could be sent to")
        return self._exchange

    # ---- sending --------------------------------------------------------------------------------------------

    async def send(self, id: str) -> Order:  # noqa: A002  (the field's own word)
        """Until there is an answer, or it may not be sent any more. Before each attempt the journal says ``sending``,
        and all that may have changed since the guard decided is looked at again."""
        self._trading.in_hand.add(id)
        try:
            while True:
                order = await self._attempt(id)
                if order is not None:
                    return order
        finally:
            self._trading.in_hand.discard(id)

    async def _attempt(self, id: str) -> Order | None:  # noqa: A002
        """What has become of it; None where it is to be tried again."""
        order = self._known(id)
        if order.state != "intent":  # the guard has withdrawn it, or somebody else has taken it
            return order
        if order.mode == "live" and not self._met:
            await self._greet()  # with a clock that is wrong the very first order is wrong, too
        try:
            if why := self._obstacle(order):
                return await self._keep(id, "expired", reason=why)
            if order.mode == "paper":
                return await self._keep(id, "paper")
            now, ahead = self._around.now(), self._exchange_ahead()
            try:
                begun = await self._journal.decide(lambda book: book.begin_sending(id, now, self._venue, ahead))
            except StoreFailed as error:
                self._around.error("journal", f"{id}: not sent, because the journal cannot be written: {error}")
                return await self._keep(id, "expired", reason="the journal could not be written before it was sent")
            if isinstance(begun, str):
                return await self._keep(id, "expired", reason=begun)
        except WrongStep:  # somebody was faster
            return None
        outcome, held = await self._place(begun)
        if outcome.meaning in ("accepted", "rejected", "unknown"):
            return await self._settle(begun, outcome)
        reason = order.reason if held else outcome.reason  # what is in the way is said when it ends
        await self._keep(id, "intent", reason=reason, detail={"meaning": outcome.meaning})
        if not held:
            now = self._around.now()
            await self._pause(order, MINUTE - now % MINUTE if outcome.meaning == "throttled" else AGAIN)
        return None

    async def _pause(self, order: Order, wait: int) -> None:
        await self._around.sleep_until(min(self._around.now() + wait, order.good_until))

    def _known(self, id: str) -> Order:  # noqa: A002
        order = self._journal.find(id)
        if order is None:
            raise WrongStep(f"the journal has no order {id!r}")
        return order

    def _obstacle(self, order: Order) -> str:
        """Why it may not be sent now, or ""."""
        now = self._around.now()
        refusal = self._trading.refusal(order.market) or limits.clock(self._journal.latest(), now)
        why = ""
        if refusal is not None:
            why = refusal.text
        elif now >= order.delivery_start - self._market.gate_closure_ns:
            why = "its gate has closed"
        elif now >= order.good_until:
            why = f"what it was decided on held until {iso(order.good_until)}"
        elif not self._trading.wished(order):
            why = f"its rule {order.rule} does not wish it any more"
        return f"{why}; the last attempt: {order.reason}" if why and order.reason else why

    async def _place(self, order: Order) -> tuple[Outcome, str]:
        """What came of it, and what was in its way at the last moment, or ""."""
        held = ""

        def still() -> str:
            nonlocal held
            held = self._obstacle(order)
            return held

        try:
            outcome = await self._adapter.place(ticket(order), still)
        except Exception as error:  # a defect must not leave an order of which nobody knows that nobody knows
            self._around.log.error("%s: sending failed inside: %r", order.id, error, exc_info=error)
            outcome = Outcome(meaning="unknown", reason=f"failed inside ({type(error).__name__}) while it was sent")
        if not held:
            self._around.connected(outcome.meaning != "not-sent", outcome.reason)
        self._compare_clocks()
        return outcome, held

    async def _settle(self, order: Order, outcome: Outcome) -> Order:
        state: State = "accepted" if outcome.meaning == "accepted" else "unknown"
        if outcome.meaning == "rejected":
            state = "rejected"
        order = await self._keep(
            order.id, state, exchange_id=outcome.exchange_id, reason=outcome.reason, detail=outcome.answer
        )
        if order.state == "unknown":
            self._said[order.id] = order.reason  # who sent it says so
            self._wake.set()
        early = self._early.pop(outcome.exchange_id, None)
        if early is not None and order.state == "accepted":
            await self._hear(early)
        return order

    async def _keep(self, id: str, state: State, **changes: Any) -> Order:  # noqa: A002
        return await self._write(
            f"{id} is {state}", lambda book: book.advance(id, state, self._around.now(), **changes)
        )

    async def _write(self, what: str, work: Callable[[Book], T]) -> T:
        """Write down what is so, however long the disk cannot take it: it is only known here."""
        told = False
        while True:
            try:
                return await self._journal.decide(work)
            except StoreFailed as error:
                if not told:
                    self._around.error("journal", f"{what}, and that cannot be written: {error}")
                told = True
                await asyncio.sleep(JOURNAL_AGAIN_S)

    # ---- what becomes of orders -----------------------------------------------------------------------------

    async def news(self) -> AsyncGenerator[Order, None]:
        """Every order whose state has changed by what the exchange said later. Runs until it is closed."""
        tasks = [asyncio.ensure_future(one) for one in (self._watch(), self._listen())]
        try:
            while True:
                got = asyncio.ensure_future(self._changed.get())
                try:
                    await asyncio.wait([got, *tasks], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not got.done():
                        got.cancel()  # it would take the next change from who comes after us
                if not got.done():
                    for task in [task for task in tasks if task.done()]:
                        task.result()  # raises what ended it
                        tasks.remove(task)  # there is no stream: nothing ends but that
                    continue
                yield got.result()
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def close(self) -> None:
        """Nothing is sent any more: what was held against its market is let go."""
        self._trading.release(self._around.address)

    async def _watch(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._look()
            except Exception as error:  # a file that cannot be read now: the next look is another try
                self._around.log.error("looking after orders failed: %r", error, exc_info=error)
            waiting = asyncio.ensure_future(self._around.sleep_until(self._around.now() + LOOK_EVERY))
            woken = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait([waiting, woken], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                woken.cancel()
                await asyncio.wait([waiting, woken])

    async def _look(self) -> None:
        await self._greet()
        self._tell_of_the_switch()
        await self._tidy()
        for order in self._journal.unknown(self._market.name):
            if self._news_of(order.id, order.reason):
                self._around.error("unknown", f"{order.id}: {order.reason}")
            await self._search(order)
        await self._follow()

    async def _tidy(self) -> None:
        """End what nobody has in hand: its sending failed inside, or nobody took it."""
        for order in self._journal.left_lying(self._market.name, self._around.now()):
            if order.id in self._trading.in_hand:
                continue
            if order.state == "sending" and order.venue in ("", self._venue):
                reason = "its sending failed inside; whether the exchange has it is not known"
                await self._later(order, "unknown", reason=reason)
            elif order.state == "intent":
                await self._later(order, "expired", reason="nobody sent it while what it was decided on held")

    async def _greet(self) -> None:
        try:
            answered = await self._adapter.greet()
        except NotConnected as error:
            self._around.connected(False, str(error))
            self._met = self._met or self._adapter.offset_ns is not None  # it answered, if only with an error
            self._compare_clocks()
        else:
            self._met = True
            if answered:
                self._around.connected(True)
            self._compare_clocks()

    async def _search(self, order: Order) -> None:
        """Look for an order of which nobody knows whether the exchange has it."""
        if order.venue not in ("", self._venue):
            if self._news_of(f"search {order.id}", order.venue):
                text = (
                    f"{order.id} was sent to {order.venue}, and orders go to {self._venue} now: only a person can tell"
                )
                self._around.error("unclear", text)
            return
        now = self._around.now()
        sent_at, ahead = self._journal.sent(order.id)
        found = await self._adapter.find(
            ticket(order), sent_at, self._seen_until.get(order.id, sent_at), self._journal.exchange_ids(order)
        )
        if found.meaning == "there" and found.told is not None:
            changes = {"exchange_id": found.told.exchange_id, "reason": found.reason}
            await self._later(order, "accepted", **changes, detail={"status": found.told.status})
            await self._hear(found.told)
        elif found.meaning == "absent" and not self._adapter.can_query and self._clocks_moved(ahead):
            if self._news_of(f"search {order.id}", "clocks"):
                text = f"{order.id} is not on the exchange's list, but a clock may have been set since it was sent"
                self._around.error("unclear", f"{text}: only a person can tell")
        elif found.meaning == "absent":
            self._seen_until[order.id] = now
            if now >= order.delivery_start + LATE:
                reason = "the exchange does not have it, and its delivery has begun: it cannot come any more"
                await self._later(order, "rejected", reason=reason)
        elif self._news_of(f"search {order.id}", " ".join(_NUMBERED.sub("", found.reason).split())):
            self._around.error("unclear", f"{order.id}: {found.reason}")

    def _exchange_ahead(self) -> int | None:
        return None if self._exchange is None else self._exchange.offset_ns

    def _clocks_moved(self, ahead: int | None) -> bool:
        """Whether the time at which an order was sent may be by another clock than that of now."""
        now = self._exchange_ahead()
        return ahead is None or now is None or abs(now - ahead) > LATE

    async def _follow(self) -> None:
        """Ask for what is open: a stream may have been away."""
        for order in self._journal.open_orders(self._market.name, self._venue, self._around.now() - LOOK_LONGER):
            early = self._early.pop(order.exchange_id, None)
            if early is not None:
                await self._hear(early)
            try:
                told = await self._adapter.look(ticket(order), order.exchange_id)
            except NotConnected:
                return
            if told is not None:
                await self._hear(told)

    async def _listen(self) -> None:
        wait, longest = STREAM_AGAIN_S
        while True:
            try:
                async with aclosing(self._adapter.listen()) as words:
                    async for told in words:
                        wait = STREAM_AGAIN_S[0]
                        await self._hear(told)
                return
            except NotConnected as error:
                self._around.log.info("no stream of orders: %s", error)
            except Exception as error:  # it is opened again, and what was missed is asked for
                self._around.log.error("the stream of orders failed: %r", error, exc_info=error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, longest)

    async def _hear(self, told: Told) -> None:
        """Write down what the exchange says of an order of ours; of others it says things, too."""
        known = self._journal.by_exchange_id(self._market.name, self._venue, told.exchange_id)
        if known is None:
            self._tell_of_a_contradiction(told)
            before = self._early.pop(told.exchange_id, None)
            self._early[told.exchange_id] = told if before is None else together(before, told)
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
            return
        filled = told.filled_mwh or 0.0
        if filled > known.quantity_mwh + TINY and self._news_of(f"filled {known.id}", str(filled)):
            text = f"{known.id}: the exchange says {filled:g} MWh were traded, ordered were {known.quantity_mwh:g}"
            self._around.error("overfilled", text)
        id = known.id  # noqa: A001  (the field's own word)

        def decide(book: Book) -> Order | None:
            """All of it in one transaction: two words may come at once."""
            order = book.find(id)
            follows = None if order is None else heard(order, told)
            if order is None or follows is None:
                return None
            state, filled, left = follows
            return book.advance(
                id, state, self._around.now(), filled_mwh=filled, open_mwh=left,
                reason=told.status if told.ended else "", detail={"status": told.status},
                average_price_eur_mwh=(
                    order.average_price_eur_mwh if told.average_price_eur_mwh is None else told.average_price_eur_mwh
                ),
            )  # fmt: skip

        changed = await self._write(f"{id}: the exchange tells of a trade or an end", decide)
        if changed is not None:
            self._changed.put_nowait(changed)

    def _tell_of_a_contradiction(self, told: Told) -> None:
        """Of an order that has ended here by our own conclusion, or a person's, or by the exchange's former word."""
        order = self._journal.find(told.client_order_id) if told.client_order_id else None
        if order is None or order.market != self._market.name or not contradicts(order, told):
            return
        if self._news_of(f"contradiction {order.id}", str(told.filled_mwh)):
            text = f"{order.id} is {order.state} here, and the exchange tells of it: {told.exchange_id} {told.status}"
            self._around.error("contradiction", f"{text}, {told.filled_mwh or 0:g} MWh traded; look there")

    async def _later(self, order: Order, state: State, **changes: Any) -> None:
        """A step that the exchange told after its first answer; nothing where a person was faster."""
        try:
            self._changed.put_nowait(await self._keep(order.id, state, **changes))
        except WrongStep as error:
            self._around.log.info("%s", error)
        self._seen_until.pop(order.id, None)
        for name in (order.id, f"search {order.id}"):
            self._said.pop(name, None)

    # ---- clocks, the switch ---------------------------------------------------------------------------------

    def _compare_clocks(self) -> None:
        offset = self._adapter.offset_ns
        if self._adapter.distrusted:
            self._around.error("distrusted", self._adapter.distrusted)
            self._adapter.distrusted = ""
        if offset is None:
            return
        apart = f"the exchange's clock is {seconds_text(abs(offset))} s {'ahead of' if offset > 0 else 'behind'} ours"
        if abs(offset) > self._drift.block:
            text = f"{apart}; no orders above {self._drift.block}. Set the clock of this machine right"
            self._trading.hold(self._around.address, self._market.name, Refusal("clock-drift", text))
        else:
            self._trading.release(self._around.address)
        if abs(offset) <= self._drift.alarm:
            self._said.pop("clocks", None)
        elif self._news_of("clocks", "blocked" if abs(offset) > self._drift.block else "apart"):
            self._around.error("clock-drift", apart)

    def _tell_of_the_switch(self) -> None:
        stop = self._trading.switch.stopped
        if stop is None:
            self._said.pop("switch", None)
        elif self._news_of("switch", str(stop)):
            self._around.error("trading-stopped", str(stop))

    def _news_of(self, what: str, text: str) -> bool:
        """Whether this was not said yet; from now on it was."""
        news = self._said.get(what) != text
        self._said[what] = text
        return news
