"""Orders on their way to an exchange: each sent at most once."""

from __future__ import annotations

from flowrunner.exchange import Outcome
from flowrunner.orders import limits
from flowrunner.orders.book import WrongStep
from flowrunner.orders.line import Line
from flowrunner.orders.order import Order, State
from flowrunner.orders.words import ticket
from flowrunner.store import StoreFailed
from flowrunner.units import Duration, iso

MINUTE = Duration.parse("1min")
AGAIN = Duration.parse("5s")
"""Wait between two attempts while nobody listens at the exchange's address."""


class Sender:
    """``send`` brings one order to an end, or to ``unknown``."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, id: str) -> Order:  # noqa: A002  (the field's own word)
        """Until there is an answer, or it may not be sent any more. Before each attempt the journal says ``sending``,
        and all that may have changed since the guard decided is looked at again."""
        self._line.trading.in_hand.add(id)
        try:
            while True:
                order = await self._attempt(id)
                if order is not None:
                    return order
        finally:
            self._line.trading.in_hand.discard(id)

    async def _attempt(self, id: str) -> Order | None:  # noqa: A002
        """What has become of it; None where it is to be tried again."""
        order = self._known(id)
        if order.state != "intent":  # the guard has withdrawn it, or somebody else has taken it
            return order
        if order.mode == "live" and not self._line.met:
            await self._line.greet()  # with a clock that is wrong the very first order is wrong, too
        try:
            if why := self._obstacle(order):
                return await self._line.keep(id, "expired", reason=why)
            if order.mode == "paper":
                return await self._line.keep(id, "paper")
            now, ahead = self._line.around.now(), self._line.ahead
            try:
                begun = await self._line.journal.decide(
                    lambda book: book.begin_sending(id, now, self._line.venue, ahead)
                )
            except StoreFailed as error:
                self._line.around.error("journal", f"{id}: not sent, because the journal cannot be written: {error}")
                return await self._line.keep(
                    id, "expired", reason="the journal could not be written before it was sent"
                )
            if isinstance(begun, str):
                return await self._line.keep(id, "expired", reason=begun)
        except WrongStep:  # somebody was faster
            return None
        outcome, held = await self._place(begun)
        meaning = outcome.meaning
        if meaning == "accepted" or meaning == "rejected" or meaning == "unknown":
            return await self._settle(begun, meaning, outcome)
        reason = order.reason if held else outcome.reason  # what is in the way is said when it ends
        await self._line.keep(id, "intent", reason=reason, detail={"meaning": outcome.meaning})
        if not held:
            now = self._line.around.now()
            await self._pause(self._known(id), MINUTE - now % MINUTE if meaning == "throttled" else AGAIN)
        return None

    async def _pause(self, order: Order, wait: int) -> None:
        """Until the time is over, or the order must not be sent any more; it may be renewed meanwhile."""
        until = self._line.around.now() + wait
        while self._line.around.now() < min(until, order.good_until) and order.state == "intent":
            await self._line.around.sleep_until(min(until, order.good_until))
            order = self._known(order.id)

    def _known(self, id: str) -> Order:  # noqa: A002
        order = self._line.journal.find(id)
        if order is None:
            raise WrongStep(f"the journal has no order {id!r}")
        return order

    def _obstacle(self, order: Order) -> str:
        """Why it may not be sent now, or ""."""
        now = self._line.around.now()
        refusal = self._line.trading.refusal(order.market) or limits.clock(self._line.journal.latest(), now)
        why = ""
        if refusal is not None:
            why = refusal.text
        elif now >= order.delivery_start - self._line.market.gate_closure_ns:
            why = "its gate has closed"
        elif now >= order.good_until:
            why = f"what it was decided on held until {iso(order.good_until)}"
        elif not self._line.trading.wished(order):
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
            outcome = await self._line.exchange.place(ticket(order), still)
        except Exception as error:  # a defect must not leave an order of which nobody knows that nobody knows
            self._line.around.log.error("%s: sending failed inside: %r", order.id, error, exc_info=error)
            outcome = Outcome(meaning="unknown", reason=f"failed inside ({type(error).__name__}) while it was sent")
        if not held:
            self._line.tell(there=outcome.meaning != "not-sent", reason=outcome.reason)
        self._line.compare_clocks()
        return outcome, held

    async def _settle(self, order: Order, state: State, outcome: Outcome) -> Order:
        order = await self._line.keep(
            order.id, state, exchange_id=outcome.exchange_id, reason=outcome.reason, detail=outcome.answer
        )
        if order.state == "unknown":
            self._line.is_news(order.id, order.reason)  # who sent it says so
        self._line.wake.set()  # it is looked for, or was heard of before its answer came
        return order
