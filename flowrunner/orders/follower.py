"""What becomes of orders after they were sent: looked for where nobody knows, and followed until they end."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from flowrunner.errors import NotConnected
from flowrunner.exchange import Told
from flowrunner.message import Instant
from flowrunner.orders.book import Book, WrongStep
from flowrunner.orders.limits import TINY
from flowrunner.orders.line import Line
from flowrunner.orders.order import Order, State
from flowrunner.orders.words import contradicts, heard, ticket, together
from flowrunner.units import Duration

LOOK_EVERY = Duration.parse("30s")
"""Between two looks at what is unknown, open, or wrong with a clock; sooner while the exchange does not answer."""
LOOK_LONGER = Duration.parse("15min")
"""How long after the beginning of its delivery an order is still asked for: by then an exchange has settled it."""
LATE = Duration.parse("5s")
"""An order that is not at the exchange this long after its delivery has begun cannot come any more."""
STREAM_AGAIN_S = 1.0, 60.0
"""Real seconds before a stream is opened again; doubled from the first to the last."""
EARLY = 1000
"""What a stream said of orders that are not known yet: it may be faster than the answer."""
_NUMBERED = re.compile(r"\S*\d\S*")
"""Numbers, times, ids: what differs in a sentence that says the same again."""


class Follower:
    """``news`` runs beside the sending for as long as orders may be sent: it looks for what is unknown, follows what
    was accepted, compares the clocks, and gives every order that changed."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._changed: asyncio.Queue[Order] = asyncio.Queue()
        self._seen_until: dict[str, Instant] = {}
        """Order → until when it is known that the exchange had not got it."""
        self._early: dict[str, Told] = {}
        self._failures = 0
        """Looks since the exchange answered last."""
        self._random = random.Random(line.around.address)  # noqa: S311  (jitter, the same in every virtual run)

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

    async def _watch(self) -> None:
        while True:
            self._line.wake.clear()
            try:
                await self._look()
            except Exception as error:  # a file that cannot be read now: the next look is another try
                self._line.around.log.error("looking after orders failed: %r", error, exc_info=error)
            waiting = asyncio.ensure_future(self._line.around.sleep_until(self._line.around.now() + self._wait_ns()))
            woken = asyncio.ensure_future(self._line.wake.wait())
            try:
                await asyncio.wait([waiting, woken], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                woken.cancel()
                await asyncio.wait([waiting, woken])

    def _wait_ns(self) -> int:
        """Until the next look: soon, and then less and less often, while nobody answers."""
        if self._line.there:
            self._failures = 0
            return LOOK_EVERY
        wait = self._line.around.retry.wait_ns(self._failures, self._random.random())
        self._failures += 1
        return min(wait, LOOK_EVERY)

    async def _look(self) -> None:
        await self._line.greet()
        self._line.tell_of_the_switch()
        await self._tidy()
        for order in self._line.journal.unknown(self._line.market.name):
            if self._line.is_news(order.id, order.reason):
                self._line.around.error("unknown", f"{order.id}: {order.reason}")
            await self._search(order)
        await self._follow()

    async def _tidy(self) -> None:
        """End what nobody has in hand: its sending failed inside, or nobody took it."""
        for order in self._line.journal.left_lying(self._line.market.name, self._line.around.now()):
            if order.id in self._line.trading.in_hand:
                continue
            if order.state == "sending" and order.venue in ("", self._line.venue):
                reason = "its sending failed inside; whether the exchange has it is not known"
                await self._later(order, "unknown", reason=reason)
            elif order.state == "intent":
                await self._later(order, "expired", reason="nobody sent it while what it was decided on held")

    async def _search(self, order: Order) -> None:
        """Look for an order of which nobody knows whether the exchange has it."""
        if order.venue not in ("", self._line.venue):
            if self._line.is_news(f"search {order.id}", order.venue):
                text = f"{order.id} was sent to {order.venue}, and orders go to {self._line.venue} now"
                self._line.around.error("unclear", f"{text}: only a person can tell")
            return
        now = self._line.around.now()
        sent_at, ahead = self._line.journal.sent(order.id)
        found = await self._line.exchange.find(
            ticket(order), sent_at, self._seen_until.get(order.id, sent_at), self._line.journal.exchange_ids(order)
        )
        if found.meaning == "there" and found.told is not None:
            changes = {"exchange_id": found.told.exchange_id, "reason": found.reason}
            await self._later(order, "accepted", **changes, detail={"status": found.told.status})
            await self._hear(found.told)
        elif found.meaning == "absent" and not self._line.exchange.can_query and self._clocks_moved(ahead):
            if self._line.is_news(f"search {order.id}", "clocks"):
                text = f"{order.id} is not on the exchange's list, but a clock may have been set since it was sent"
                self._line.around.error("unclear", f"{text}: only a person can tell")
        elif found.meaning == "absent":
            self._seen_until[order.id] = now
            if now >= order.delivery_start + LATE:
                reason = "the exchange does not have it, and its delivery has begun: it cannot come any more"
                await self._later(order, "rejected", reason=reason)
        elif self._line.is_news(f"search {order.id}", " ".join(_NUMBERED.sub("", found.reason).split())):
            self._line.around.error("unclear", f"{order.id}: {found.reason}")

    def _clocks_moved(self, ahead: int | None) -> bool:
        """Whether the time at which an order was sent may be by another clock than that of now."""
        now = self._line.ahead
        return ahead is None or now is None or abs(now - ahead) > LATE

    async def _follow(self) -> None:
        """Ask for what is open: a stream may have been away."""
        for order in self._line.journal.open_orders(
            self._line.market.name, self._line.venue, self._line.around.now() - LOOK_LONGER
        ):
            early = self._early.pop(order.exchange_id, None)
            if early is not None:
                await self._hear(early)
            try:
                told = await self._line.exchange.look(ticket(order), order.exchange_id)
            except NotConnected:
                return
            if told is not None:
                await self._hear(told)

    async def _listen(self) -> None:
        wait, longest = STREAM_AGAIN_S
        while True:
            try:
                async with aclosing(self._line.exchange.listen()) as words:
                    async for told in words:
                        wait = STREAM_AGAIN_S[0]
                        await self._hear(told)
                return
            except NotConnected as error:
                self._line.around.log.info("no stream of orders: %s", error)
            except Exception as error:  # it is opened again, and what was missed is asked for
                self._line.around.log.error("the stream of orders failed: %r", error, exc_info=error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, longest)

    async def _hear(self, told: Told) -> None:
        """Write down what the exchange says of an order of ours; of others it says things, too."""
        known = self._line.journal.by_exchange_id(self._line.market.name, self._line.venue, told.exchange_id)
        if known is None:
            self._tell_of_a_contradiction(told)
            before = self._early.pop(told.exchange_id, None)
            self._early[told.exchange_id] = told if before is None else together(before, told)
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
            return
        filled = told.filled_mwh or 0.0
        if filled > known.quantity_mwh + TINY and self._line.is_news(f"filled {known.id}", str(filled)):
            text = f"{known.id}: the exchange says {filled:g} MWh were traded, ordered were {known.quantity_mwh:g}"
            self._line.around.error("overfilled", text)
        id = known.id  # noqa: A001  (the field's own word)

        def decide(book: Book) -> Order | None:
            """All of it in one transaction: two words may come at once."""
            order = book.find(id)
            follows = None if order is None else heard(order, told)
            if order is None or follows is None:
                return None
            state, filled, left = follows
            return book.advance(
                id, state, self._line.around.now(), filled_mwh=filled, open_mwh=left,
                reason=told.status if told.ended else "", detail={"status": told.status},
                average_price_eur_mwh=(
                    order.average_price_eur_mwh if told.average_price_eur_mwh is None else told.average_price_eur_mwh
                ),
            )  # fmt: skip

        changed = await self._line.write(f"{id}: the exchange tells of a trade or an end", decide)
        if changed is not None:
            self._changed.put_nowait(changed)

    def _tell_of_a_contradiction(self, told: Told) -> None:
        """Of an order that has ended here by our own conclusion, or a person's, or by the exchange's former word."""
        order = self._line.journal.find(told.client_order_id) if told.client_order_id else None
        if order is None or order.market != self._line.market.name or not contradicts(order, told):
            return
        if self._line.is_news(f"contradiction {order.id}", str(told.filled_mwh)):
            text = f"{order.id} is {order.state} here, and the exchange tells of it: {told.exchange_id} {told.status}"
            self._line.around.error("contradiction", f"{text}, {told.filled_mwh or 0:g} MWh traded; look there")

    async def _later(self, order: Order, state: State, **changes: Any) -> None:
        """A step that the exchange told after its first answer; nothing where a person was faster."""
        try:
            self._changed.put_nowait(await self._line.keep(order.id, state, **changes))
        except WrongStep as error:
            self._line.around.log.info("%s", error)
        self._seen_until.pop(order.id, None)
        self._line.settled(order)
