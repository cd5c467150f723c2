"""An exchange that stands in for a real one in a test or a replay: it answers as it was told, and keeps what it took.

It is no simulator: nothing is matched, nothing arrives by a network. What each answer means for an order is for the
same code to find out as with a real exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Literal

import msgspec

from flowrunner.errors import NotConnected
from flowrunner.exchange.adapter import Found, Outcome, Ticket, Told
from flowrunner.message import Instant

AWAY = "the exchange is disconnected"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How the exchange answers to an order."""

    meaning: Literal["accepts", "rejects", "throttles", "fails", "is-silent"] = "accepts"
    reason: str = ""
    """Its words, where it has any."""
    delay_s: float = 0.0
    """It answers this much later."""
    stored: bool = False
    """Whether it has the order all the same, where it fails or is silent."""


class StandIn:
    """An `Adapter`. ``timeout_s``: how long an answer is waited for. Orders that it took are in ``taken``, by client
    order id, and can be asked for."""

    dedupes_client_order_id = True
    can_query = True
    can_cancel = False
    offset_ns: int | None = None
    distrusted = ""

    def __init__(self, answer: Answer | None = None, *, timeout_s: float = 10.0) -> None:
        self.answer = answer or Answer()
        self.away = False
        """Whether nobody listens there."""
        self.taken: dict[str, Ticket] = {}
        self._timeout_s = timeout_s

    async def place(self, ticket: Ticket, still: Callable[[], str]) -> Outcome:
        answer = self.answer
        if why := AWAY if self.away else still():
            return Outcome(meaning="not-sent", reason=why)
        if answer.meaning == "accepts" or answer.stored:
            self.taken[ticket.client_order_id] = ticket
        wait = self._timeout_s if answer.meaning == "is-silent" else answer.delay_s
        if min(wait, self._timeout_s) > 0:
            await asyncio.sleep(min(wait, self._timeout_s))
        if wait >= self._timeout_s:
            return Outcome(meaning="unknown", reason=f"no answer within {self._timeout_s:g} s")
        if answer.meaning == "accepts":
            return Outcome(meaning="accepted", exchange_id=_its_id(ticket), answer={"status": "ACCEPTED"})
        if answer.meaning == "rejects":
            return Outcome(meaning="rejected", reason=answer.reason)
        if answer.meaning == "throttles":
            return Outcome(meaning="throttled", reason=answer.reason)
        return Outcome(meaning="unknown", reason=answer.reason)

    async def find(self, ticket: Ticket, sent_at: Instant, since: Instant, taken: Collection[str]) -> Found:
        if self.away:
            return Found(meaning="unclear", reason=AWAY)
        if ticket.client_order_id in self.taken:
            told = Told(exchange_id=_its_id(ticket), client_order_id=ticket.client_order_id, status="ACCEPTED")
            return Found(meaning="there", reason="the exchange has it", told=told)
        return Found(meaning="absent", reason="the exchange does not have it")

    async def look(self, ticket: Ticket, exchange_id: str) -> Told | None:
        if self.away:
            raise NotConnected(AWAY)
        return None

    async def greet(self) -> bool:
        if self.away:
            raise NotConnected(AWAY)
        return True

    async def listen(self) -> AsyncGenerator[Told, None]:
        """It tells nothing by itself."""
        nothing: tuple[Told, ...] = ()
        for told in nothing:
            yield told


def _its_id(ticket: Ticket) -> str:
    return f"stand-in-{ticket.client_order_id}"
