"""The client side of the first exchange's interface: orders and telemetry by HTTP, and what each answer means."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from urllib.parse import quote

import msgspec

from flowrunner.errors import NotConnected, Retry
from flowrunner.exchange.adapter import Found, Outcome, Ticket, Told
from flowrunner.exchange.calls import Calls, order_id, same, unsendable
from flowrunner.exchange.fills import traded
from flowrunner.exchange.likeness import ENDS, REJECTED, Unreadable, rows, search
from flowrunner.exchange.news import News
from flowrunner.exchange.taken import Taken
from flowrunner.fields import is_number
from flowrunner.httpclient import Answer, HttpClient, NoAnswer, pause_ns
from flowrunner.message import JSON, Instant
from flowrunner.units import SECOND, iso, parse_instant

TELEMETRY = ("soc_percent", "active_power_mw", "temperature_c")
"""What the exchange takes: all three together, in %, MW (positive: discharging) and °C."""


class Phoenyra:
    """An :class:`~flowrunner.exchange.adapter.Adapter`.

    ``timeout_s``: real seconds for an answer. ``now``: our clock, in flow time. ``client_order_ids``: the exchange is
    declared to keep them: it refuses one that it knows, and can be asked for the order of one. Without them an order
    is looked for by likeness in the list of all users' newest. ``api_key`` also signs the streams; without one
    nothing of them could be believed, and they are not opened.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        api_key: str,
        timeout_s: float,
        now: Callable[[], Instant],
        client_order_ids: bool = False,
    ) -> None:
        self.dedupes_client_order_id = self.can_query = self.can_cancel = client_order_ids
        self._calls = Calls(
            client,
            url,
            headers={"content-type": "application/json"} | ({"x-api-key": api_key} if api_key else {}),
            timeout_s=timeout_s,
            now=now,
            secrets=[api_key],
        )
        self._now = now
        self._timeout_ns = int(timeout_s * SECOND)
        self._echoed = False
        """Whether the exchange was seen to keep a client order id, as it is declared to."""
        self._taken = Taken()
        self._news = News(client, self._calls, api_key, now)

    @property
    def offset_ns(self) -> int | None:
        return self._calls.offset_ns

    @property
    def distrusted(self) -> str:
        return self._news.distrusted

    @distrusted.setter
    def distrusted(self, text: str) -> None:
        self._news.distrusted = text

    # ---- orders ---------------------------------------------------------------------------------------------

    async def place(self, ticket: Ticket, still: Callable[[], str]) -> Outcome:
        if wrong := unsendable(ticket):
            return Outcome(meaning="rejected", reason=wrong)
        body = {
            "client_order_id": ticket.client_order_id,
            "market": ticket.market,
            "delivery_start": iso(ticket.delivery_start),
            "delivery_end": iso(ticket.delivery_end),
            "side": ticket.side,
            "quantity_mwh": ticket.quantity_mwh,
            "order_type": ticket.order_type,
            "time_in_force": ticket.time_in_force,
        }
        if ticket.limit_price_eur_mwh is not None:
            body["limit_price_eur_mwh"] = ticket.limit_price_eur_mwh
        sent = self._now()
        content = msgspec.json.encode(body)
        answer = await self._calls.order("POST", "/orders", content, still, lambda status: status == 200)
        if isinstance(answer, Outcome):
            return answer
        outcome = self._outcome(answer, ticket)
        if outcome.meaning == "accepted":
            self._taken.note(outcome.exchange_id, sent)
        return outcome

    def _outcome(self, answer: Answer, ticket: Ticket) -> Outcome:
        """What an answer of success says."""
        words, said = self._calls.words(answer), self._calls.said(answer)
        named = self._calls.order_id(said.get("order_id")) if isinstance(said, dict) else ""
        if not isinstance(said, dict) or said.get("status") != "ACCEPTED" or not named:
            return Outcome(meaning="unknown", reason=f"the answer is not understood: {words}")
        echo = said.get("client_order_id")
        if self.can_query and echo is not None and echo != ticket.client_order_id:
            return Outcome(meaning="unknown", reason=f"the answer is about another order: {words}")
        self._echoed = self._echoed or echo == ticket.client_order_id
        known = {name: said[name] for name in ("status", "timestamp", "throttle_remaining") if name in said}
        return Outcome(meaning="accepted", exchange_id=named, answer=self._calls.mask(known))

    async def find(self, ticket: Ticket, sent_at: Instant, since: Instant, taken: Collection[str]) -> Found:
        try:
            found = await self._find_by_id(ticket) if self.can_query else None
            return found or await self._find_by_likeness(ticket, sent_at, since, taken)
        except (NotConnected, NoAnswer) as error:
            return Found(meaning="unclear", reason=str(error))

    async def _find_by_id(self, ticket: Ticket) -> Found | None:
        """None: the exchange says that it has no such order, and may mean that it has no such question."""
        answer = await self._calls.ask("GET", f"/orders/{quote(ticket.client_order_id, safe='')}")
        if answer.status == 404:
            if self._echoed:
                return Found(meaning="absent", reason=f"it has no order {ticket.client_order_id}")
            return None
        if answer.status != 200:
            return Found(meaning="unclear", reason=self._calls.words(answer))
        said = self._calls.said(answer)
        if other := _other_order(said, ticket):
            return Found(meaning="unclear", reason=f"the answer is about another order: {other} differs")
        self._echoed = True
        return self._kept(Found(meaning="there", reason="found by its client order id", told=_told(said)))

    async def _find_by_likeness(
        self, ticket: Ticket, sent_at: Instant, since: Instant, taken: Collection[str]
    ) -> Found:
        answer = await self._calls.ask("GET", "/orders")
        if answer.status != 200:
            return Found(meaning="unclear", reason=self._calls.words(answer))
        try:
            seen = rows(self._calls.said(answer))
        except Unreadable as error:
            return Found(meaning="unclear", reason=f"the list of orders says nothing certain: {error}")
        found = search(
            ticket, seen, sent_at=sent_at, since=since, timeout_ns=self._timeout_ns, offset_ns=self.offset_ns,
            taken=taken,
        )  # fmt: skip
        if found.meaning == "absent" and (lost := self._taken.lacking(seen, self.offset_ns)):
            return Found(meaning="unclear", reason=f"the list lacks {lost}, which it took: what else has it lost?")
        return self._kept(found)

    def _kept(self, found: Found) -> Found:
        """What may be kept of it: no key, whatever the exchange says."""
        told = self._calls.kept(found.told) if found.told is not None else None
        if found.meaning == "there" and told is None:
            return Found(meaning="unclear", reason="what was found quotes a key where its id should be")
        return Found(meaning=found.meaning, reason=self._calls.mask(found.reason), told=told)

    async def look(self, ticket: Ticket, exchange_id: str) -> Told | None:
        answer = await self._calls.question(f"/orders/{quote(exchange_id, safe='')}" if self.can_query else "/trades")
        said = self._calls.said(answer) if answer.status == 200 else None
        if self.can_query:
            told = self._calls.kept(_told(said)) if not _other_order(said, ticket) else None
            return told if told is not None and told.exchange_id == exchange_id else None
        try:
            return traded(exchange_id, rows(said))
        except Unreadable:  # then it does not tell
            return None

    async def greet(self) -> bool:
        await self._calls.question("/orders")
        return True

    def listen(self) -> AsyncGenerator[Told, None]:
        return self._news.listen()

    # ---- telemetry ------------------------------------------------------------------------------------------

    async def tell(self, values: Mapping[str, float]) -> str:
        """Send telemetry; "" when it was taken, else the exchange's words. NotConnected, or Retry where the exchange
        says how long to wait, when it may be sent again."""
        try:
            answer = await self._calls.ask("POST", "/telemetry/bess", msgspec.json.encode(values))
        except NoAnswer as error:
            if error.status == 200:
                return ""  # it was taken; what broke off is the rest of the answer
            raise NotConnected(str(error)) from error  # telemetry may arrive twice, orders may not
        if pause := pause_ns(answer):
            raise Retry(pause / SECOND, f"{self._calls.url}: {self._calls.words(answer)}")
        if answer.status >= 500 or answer.status in (408, 425, 429):
            raise NotConnected(f"{self._calls.url}: {self._calls.words(answer)}")
        return "" if answer.status == 200 else self._calls.words(answer)


def _other_order(said: JSON, ticket: Ticket) -> str:
    """By what a single order differs from ours, or ""."""
    if not isinstance(said, dict):
        return "its form"
    for name in ("client_order_id", "market", "side"):
        if said.get(name) != getattr(ticket, name):
            return name
    quantity = said.get("quantity_mwh")
    if not is_number(quantity) or not same(quantity, ticket.quantity_mwh):
        return "quantity_mwh"
    if not order_id(said.get("order_id")):
        return "order_id"
    start = said.get("delivery_start")
    try:
        if start is not None and parse_instant(start) != ticket.delivery_start // 1_000_000 * 1_000_000:
            return "delivery_start"
    except (AttributeError, ValueError):  # no text, or no time
        return "delivery_start"
    return ""


def _told(said: JSON) -> Told:
    """What a single order's answer says of it."""
    filled, average, status = said.get("filled_mwh"), said.get("average_price"), said.get("status")
    filled = filled if is_number(filled) and filled >= 0 else None
    if filled is None and status == REJECTED:
        filled = 0.0
    return Told(
        exchange_id=order_id(said.get("order_id")),
        client_order_id=said["client_order_id"],
        status=status if isinstance(status, str) else "",
        filled_mwh=filled,
        average_price_eur_mwh=average if filled and is_number(average) else None,
        ended=status in ENDS,
    )
