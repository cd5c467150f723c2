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
from flowrunner.exchange.adapter import Found, Meaning, Outcome, Ticket, Told
from flowrunner.exchange.calls import meaning_of
from flowrunner.message import Instant

AWAY = "the exchange is disconnected"


Search = Literal["by-id", "by-likeness", "not"]
"""How an order can be looked for: by its client order id; on a list; not at all."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How the exchange answers to an order."""

    kind: Literal["accepts", "rejects", "fails", "is-silent"] = "accepts"
    status: int = 0
    """Of ``rejects``: what it means for an order is as for a real exchange."""
    reason: str = ""
    """Its words, where it has any."""
    delay_s: float = 0.0
    """It answers this much later."""
    stored: bool = False
    """Whether it has the order all the same, where it refuses, fails or is silent."""

    @property
    def meaning(self) -> Meaning:
        if self.kind == "accepts":
            return "accepted"
        return meaning_of(self.status) if self.kind == "rejects" else "unknown"


class StandIn:
    """An `Adapter`. ``timeout_s``: how long an answer is waited for. Orders that it took are in ``taken``, by client
    order id, and can be asked for."""

    can_cancel = False
    offset_ns: int | None = 0
    """Its clock is right."""
    distrusted = ""

    def __init__(self, answer: Answer | None = None, *, search: Search = "by-id", timeout_s: float = 10.0) -> None:
        self.dedupes_client_order_id = self.can_query = search == "by-id"
        self._search = search
        self.answer = answer or Answer()
        self.away = False
        """Whether nobody listens there."""
        self.taken: dict[str, Ticket] = {}
        self._timeout_s = timeout_s

    async def place(self, ticket: Ticket, still: Callable[[], str]) -> Outcome:
        answer = self.answer
        if why := AWAY if self.away else still():
            return Outcome(meaning="not-sent", reason=why)
        if answer.meaning == "accepted" or answer.stored:
            self.taken[ticket.client_order_id] = ticket
        wait = self._timeout_s if answer.kind == "is-silent" else answer.delay_s
        if min(wait, self._timeout_s) > 0:
            await asyncio.sleep(min(wait, self._timeout_s))
        if wait >= self._timeout_s:
            return Outcome(meaning="unknown", reason=f"no answer within {self._timeout_s:g} s")
        if answer.meaning == "accepted":
            return Outcome(meaning="accepted", exchange_id=_its_id(ticket), answer={"status": "ACCEPTED"})
        return Outcome(meaning=answer.meaning, reason=answer.reason)

    async def find(self, ticket: Ticket, sent_at: Instant, since: Instant, taken: Collection[str]) -> Found:
        if self.away:
            return Found(meaning="unclear", reason=AWAY)
        if self._search == "not":
            return Found(meaning="unclear", reason="this exchange cannot be asked for an order")
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
