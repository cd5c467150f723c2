"""Orders to an exchange whose HTTP interface is described in the flow file: another exchange without code."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection

import msgspec

from flowrunner.errors import NotConnected
from flowrunner.exchange.adapter import Found, Outcome, Ticket, Told
from flowrunner.exchange.calls import Calls, unsendable
from flowrunner.exchange.http_interface import (
    FindOrder,
    HttpInterface,
    Unfillable,
    filled_body,
    filled_path,
    hours,
    values,
)
from flowrunner.fields import is_number
from flowrunner.httpclient import Answer, HttpClient, NoAnswer
from flowrunner.message import JSON, Instant
from flowrunner.pick import MISSING, pick
from flowrunner.template import as_text

PUBLIC = ("accept", "content-type", "user-agent")
"""Headers whose values are no secrets."""


class HttpOrders:
    """An :class:`~flowrunner.exchange.adapter.Adapter` for settings that ``http_interface.check`` has no fault with.

    ``timeout_s``: real seconds for an answer. ``now``: our clock, in flow time. It hears no streams. It is greeted at
    its ``url`` itself: whatever that answers shows its clock.
    """

    can_cancel = False

    def __init__(
        self, client: HttpClient, url: str, settings: HttpInterface, timeout_s: float, now: Callable[[], Instant]
    ) -> None:
        self.dedupes_client_order_id = settings.dedupes_client_order_id
        self.can_query = settings.find is not None
        self.distrusted = ""
        self._settings = settings
        headers = {name: value for name, value in settings.headers.items() if value}
        if not any(name.lower() == "content-type" for name in headers):
            headers["content-type"] = "application/json"
        spoken = [value for name, value in headers.items() if name.lower() not in PUBLIC]
        secrets = [*spoken, *(word for value in spoken for word in value.split()[1:])]  # Bearer abc: abc alone, too
        self._calls = Calls(client, url, headers=headers, timeout_s=timeout_s, now=now, secrets=secrets)
        self._found_any = False
        """Whether ``find`` has found an order: before that, "there is none" may be said of a wrong path, whatever the
        exchange promises of client order ids."""

    @property
    def offset_ns(self) -> int | None:
        return self._calls.offset_ns

    async def place(self, ticket: Ticket, still: Callable[[], str]) -> Outcome:
        try:
            path, content = self._written(ticket)
        except (Unfillable, ValueError) as error:
            return Outcome(meaning="rejected", reason=str(error))
        answer = await self._calls.order(
            self._settings.method, path, content, still, lambda status: 200 <= status < 300
        )
        return answer if isinstance(answer, Outcome) else self._outcome(answer)

    def _written(self, ticket: Ticket) -> tuple[str, bytes]:
        """ValueError with a sentence for what no request can carry."""
        if wrong := unsendable(ticket):
            raise ValueError(wrong)
        known = values(ticket, self._settings.words)
        return filled_path(self._settings.path, known), msgspec.json.encode(filled_body(self._settings.body, known))

    def _outcome(self, answer: Answer) -> Outcome:
        """What an answer of success says."""
        words, said, settings = self._calls.words(answer), self._calls.said(answer), self._settings
        status = _word(said, settings.status)
        if status is not None and status in settings.rejected:
            return Outcome(meaning="rejected", reason=words, answer={"status": self._calls.mask(status)})
        named = self._calls.order_id(pick(said, settings.id))
        if not named:
            return Outcome(meaning="unknown", reason=f"there is no {settings.id!r} in the answer: {words}")
        if settings.status is not None and status not in settings.accepted:
            missing = f"there is no {settings.status!r} in the answer"
            why = missing if status is None else "its status is not a known word"
            return Outcome(meaning="unknown", reason=f"{why}: {words}", answer={"order_id": named})
        known = {} if status is None else {"status": self._calls.mask(status)}
        return Outcome(meaning="accepted", exchange_id=named, answer=known)

    async def find(self, ticket: Ticket, sent_at: Instant, since: Instant, taken: Collection[str]) -> Found:
        find = self._settings.find
        if find is None:
            return _unclear("no way to ask this exchange for an order is written in the flow ('find')")
        try:
            answer = await self._calls.ask("GET", self._question(ticket, find))
        except (NotConnected, NoAnswer, Unfillable) as error:
            return _unclear(str(error))
        if answer.status == find.missing:
            if self._found_any:
                return Found(meaning="absent", reason=f"it has no order {ticket.client_order_id}")
            words = self._calls.words(answer)
            return _unclear(f"it knows no such order, and was never seen to know one: is find.path right? {words}")
        told = self._told(answer, ticket, find)
        if isinstance(told, str):
            return _unclear(told)
        self._found_any = True
        return Found(meaning="there", reason="found by its client order id", told=told)

    async def look(self, ticket: Ticket, exchange_id: str) -> Told | None:
        find = self._settings.find
        if find is None:
            return None
        try:
            path = self._question(ticket, find)
        except Unfillable:  # never of an order that was placed: it needs no more than that did
            return None
        told = self._told(await self._calls.question(path), ticket, find)
        if isinstance(told, str) or told.exchange_id != exchange_id:
            return None
        self._found_any = True
        return told

    def _question(self, ticket: Ticket, find: FindOrder) -> str:
        return filled_path(find.path, values(ticket, self._settings.words))

    def _told(self, answer: Answer, ticket: Ticket, find: FindOrder) -> Told | str:
        """What the answer says of the order, or why nothing follows from it."""
        words = self._calls.words(answer)
        if not 200 <= answer.status < 300:
            return words
        said = self._calls.said(answer)
        named = self._calls.order_id(pick(said, find.id))
        if not named:
            return f"there is no {find.id!r} in the answer: {words}"
        if pick(said, find.client_order_id) != ticket.client_order_id:
            return f"the answer is about another order: {words}"
        status, average = _word(said, find.status), _number(said, find.average_price)
        filled = traded_mwh(ticket, find, said)
        refused = status is not None and status in self._settings.rejected
        if filled is None and refused:
            filled = 0.0
        told = Told(
            exchange_id=named,
            client_order_id=ticket.client_order_id,
            status=status or "",
            filled_mwh=filled,
            average_price_eur_mwh=average if filled else None,
            ended=refused or status in find.ended,
        )
        return self._calls.kept(told) or "the answer quotes a key"

    async def greet(self) -> bool:
        try:
            await self._calls.ask("GET", "")
        except NoAnswer as error:
            raise NotConnected(str(error)) from error
        return True

    async def listen(self) -> AsyncGenerator[Told, None]:
        nothing: tuple[Told, ...] = ()
        for told in nothing:
            yield told


def _word(said: JSON, path: str | None) -> str | None:
    """A status as text, whatever JSON it is; None where none is read or none is there."""
    value = MISSING if path is None else pick(said, path)
    return as_text(value) if isinstance(value, str | int | float) else None


def traded_mwh(ticket: Ticket, find: FindOrder, said: JSON) -> float | None:
    """What was traded of it in all, in MWh, however the answer tells; None where it does not."""
    if find.filled_mw is None:
        filled = _number(said, find.filled)
    else:
        power = _number(said, find.filled_mw)
        filled = None if power is None else power * hours(ticket)
    return filled if filled is not None and filled >= 0 else None


def _number(said: JSON, path: str | None) -> float | None:
    value = None if path is None else pick(said, path)
    return value if is_number(value) else None


def _unclear(reason: str) -> Found:
    return Found(meaning="unclear", reason=reason)
