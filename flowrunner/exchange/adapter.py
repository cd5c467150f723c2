"""What an exchange must be able to do for us, and what its answers mean: the one seam between orders and exchanges."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from typing import Literal, Protocol

import msgspec

from flowrunner.message import JSON, Instant

Meaning = Literal["accepted", "rejected", "throttled", "not-sent", "unknown"]
Whereabouts = Literal["there", "absent", "unclear"]


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """An order as an exchange gets to see it. Instants in ns UTC, energy in MWh, price in EUR/MWh."""

    client_order_id: str
    market: str
    delivery_start: Instant
    delivery_end: Instant
    side: Literal["BUY", "SELL"]
    quantity_mwh: float
    limit_price_eur_mwh: float | None
    """None: an order without a limit."""
    order_type: str
    time_in_force: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order that was sent. ``unknown``: it may or may not be at the exchange. ``not-sent`` (not one
    byte left: nobody was reached, or ``still`` said why it must not be sent) and ``throttled``: it is not, and may be
    sent again."""

    meaning: Meaning
    reason: str = ""
    """The exchange's words, or what went wrong."""
    exchange_id: str = ""
    answer: JSON = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange says of one order, asked or by itself. It is cumulative: the newest word counts alone."""

    exchange_id: str
    client_order_id: str = ""
    status: str = ""
    """The exchange's own word."""
    filled_mwh: float | None = None
    """Traded in all, as far as this word says; None: it says nothing of that."""
    average_price_eur_mwh: float | None = None
    ended: bool = False
    """Whether nothing more of it can be traded (filled, cancelled, expired, refused). Of one that was refused
    ``filled_mwh`` is 0 where nothing else is said."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search for an order gave. ``absent``: the exchange does not have it *now*, and what was looked at
    reaches back as far as was asked. ``unclear``: nothing follows from it; ``reason`` says why."""

    meaning: Whereabouts
    reason: str
    told: Told | None = None
    """Of an order that is there."""


class Adapter(Protocol):
    """One exchange. No method raises for what the network or the peer does, but where it says so. Answers may be
    quoted: they hold no key."""

    dedupes_client_order_id: bool
    """Whether a second order with the same client order id is refused."""
    can_query: bool
    """Whether one order can be asked for by its client order id."""
    can_cancel: bool

    @property
    def offset_ns(self) -> int | None:
        """How far the exchange's clock is ahead of ours (negative: behind), by the Date header of its newest answer,
        as far as the header's whole seconds and the time on the way leave no other reading; None: it never said."""

    async def place(self, ticket: Ticket, still: Callable[[], str]) -> Outcome:
        """Send an order, once. ``still`` says why it must not be sent any more, or "". It is asked at the last moment,
        when the connection stands and before the first byte; after a text of it nothing is sent, and the outcome is
        ``not-sent`` with that text. It must be quick, and raise nothing."""

    async def find(self, ticket: Ticket, sent_at: Instant, since: Instant, taken: Collection[str]) -> Found:
        """Look for an order that was sent at ``sent_at`` and got no clear answer. ``since``: how far back a list must
        reach before ``absent`` may be said. ``taken``: exchange ids of other orders of ours; they are not this one."""

    async def look(self, ticket: Ticket, exchange_id: str) -> Told | None:
        """What has become of an accepted order; None where the exchange does not tell. NotConnected while it is
        away."""

    async def greet(self) -> bool:
        """Ask for something harmless, so that ``offset_ns`` is known; False where there is nothing to ask.
        NotConnected while it is away; where it answered all the same, ``offset_ns`` is known from that."""

    def listen(self) -> AsyncGenerator[Told, None]:
        """News of orders (of all users, maybe), verified, until the connection ends (NotConnected) or where there are
        none (it ends at once). What is not verified raises nothing: see ``distrusted``. Read it within ``aclosing``:
        who stops listening lets go of the connection."""

    distrusted: str
    """Why the newest word of the stream was not believed, or ""; the reader empties it."""
