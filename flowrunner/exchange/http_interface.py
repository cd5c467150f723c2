"""An exchange's HTTP interface described in a flow file: how an order is written, and where its answer says what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Meta

from flowrunner.errors import did_you_mean
from flowrunner.exchange.adapter import Ticket
from flowrunner.http import not_finite
from flowrunner.httpclient import header_fault
from flowrunner.message import JSON
from flowrunner.schema import Secret
from flowrunner.template import TemplateError, Text, as_text
from flowrunner.units import SECOND, iso

PLACES = (
    "client_order_id", "market", "delivery_start", "delivery_end", "side", "quantity_mwh", "quantity_mw",
    "limit_price_eur_mwh", "order_type", "time_in_force",
)  # fmt: skip
"""What may stand in braces: times as ISO 8601 in UTC, energy in MWh, the power that makes it over the delivery in MW,
price in EUR/MWh, the rest as text."""
QUANTITIES = ("quantity_mwh", "quantity_mw")
HOUR = 3600 * SECOND
NO_WORD_OF_ORDERS = (401, 403, 405, 408, 425, 429)
"""Statuses that speak of keys, methods and haste."""
OPTIONAL = "limit_price_eur_mwh"
"""The one that an order may be without."""


FILLED = "Where the traded energy is in the answer: in MWh, also where orders are written with {quantity_mw}."
FILLED_MW = (
    "In place of filled, where the answer tells what was traded in MW: the power that makes it over the delivery."
)


class FindOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one order is asked for by its client order id, with a GET."""

    path: Annotated[str, Meta(description="What is asked for, like /orders?client={client_order_id}")]
    id: Annotated[str, Meta(description="Where the exchange's id is in the answer, like data.0.orderId")]
    client_order_id: Annotated[
        str,
        Meta(
            description="Where the answer repeats the client order id, like data.0.clientId. It must be the same: an "
            "exchange that does not heed the question lists other orders."
        ),
    ]
    status: Annotated[str | None, Meta(description="Where the order's status is in the answer.")] = None
    filled: Annotated[str | None, Meta(description=FILLED)] = None
    filled_mw: Annotated[str | None, Meta(description=FILLED_MW)] = None
    average_price: Annotated[
        str | None, Meta(description="Where the average price of that is in the answer, in EUR/MWh.")
    ] = None
    ended: Annotated[
        list[str],
        Meta(
            description="Words of the status after which nothing is traded any more. They need filled or filled_mw: an "
            "end counts only with what was traded until then."
        ),
    ] = msgspec.field(default_factory=list)
    missing: Annotated[int, Meta(ge=400, le=499, description="HTTP status that says: there is no such order.")] = 404


class HttpInterface(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an order is sent, and what the answer means."""

    path: Annotated[str, Meta(description="Where orders go, below the exchange's url, like /v2/orders")]
    body: Annotated[
        JSON,
        Meta(
            description="The JSON that is sent. A text that is only a place, like '{quantity_mwh}', becomes its value; "
            "in other texts places are filled in; {{ and }} are braces. Places: " + ", ".join(PLACES)
        ),
    ]
    id: Annotated[str, Meta(description="Where the exchange's id of the order is in the answer, like data.orderId")]
    method: Annotated[Literal["POST", "PUT"], Meta(description="Of the request.")] = "POST"
    headers: Annotated[
        dict[str, Secret],
        Meta(description="Sent with every request; keys belong here. One without a value is left out."),
    ] = msgspec.field(default_factory=dict)
    status: Annotated[str | None, Meta(description="Where the order's status is in the answer.")] = None
    accepted: Annotated[list[str], Meta(description="Words of the status that say: the order was taken.")] = (
        msgspec.field(default_factory=list)
    )
    rejected: Annotated[
        list[str],
        Meta(description="Words of the status that say: it was not taken, also of an order that was asked for."),
    ] = msgspec.field(default_factory=list)
    find: Annotated[
        FindOrder | None, Meta(description="How one order is asked for; without it, no order can be looked for.")
    ] = None
    words: Annotated[
        dict[Literal["BUY", "SELL", "LIMIT", "MARKET", "GFD", "IOC", "FOK"], str | int],
        Meta(description="What the exchange says in place of these words, like {BUY: buy, SELL: sell}."),
    ] = msgspec.field(default_factory=dict)
    dedupes_client_order_id: Annotated[
        bool, Meta(description="Whether the exchange promises to refuse a second order with the same client order id.")
    ] = False


class Wrong(NamedTuple):
    """A contradiction in the settings: the option's path within them, a sentence, a next step."""

    option: str
    message: str
    hint: str = ""


class Unfillable(ValueError):
    """The order lacks what a place needs, and it cannot be left out there."""


# ---- before a run ---------------------------------------------------------------------------------------------------


def check(settings: HttpInterface) -> Iterator[Wrong]:
    """What cannot work, whatever the order."""
    yield from _path_faults("path", settings.path)
    yield from _body_faults(settings.body)
    used = set(_used(settings.path)) | {name for text in _texts(settings.body) for name in _used(text)}
    by_id = settings.find is not None or settings.dedupes_client_order_id
    said = ("side", "delivery_start", OPTIONAL, *(["client_order_id"] if by_id else []))
    needed = [name for name in said if name not in used]
    if not used.intersection(QUANTITIES):
        needed.append("quantity_mwh")
    for name in needed:
        yield Wrong("body", f"the order would not say its {name}", f"write '{{{name}}}' where it belongs")
    if settings.words.get("BUY", "BUY") == settings.words.get("SELL", "SELL"):
        yield Wrong("words.SELL", "buying and selling would be said by the same word")
    for name, value in settings.headers.items():
        if wrong := header_fault(name, value):
            yield Wrong(f"headers.{name}", wrong)
    yield from _status_faults(settings)
    find = settings.find
    if find is not None:
        yield from _path_faults("find.path", find.path)
        if "client_order_id" not in _used(find.path):
            hint = "write {client_order_id} where it belongs"
            yield Wrong("find.path", "it asks for no order in particular", hint)
        if find.missing in NO_WORD_OF_ORDERS:
            yield Wrong("find.missing", f"{find.missing} says nothing about an order", "write 404, or leave it out")
        if find.ended and find.status is None:
            yield Wrong("find.ended", "these are words of a status, and no status is read", "say where 'status' is")
        if find.ended and find.filled is None and find.filled_mw is None:
            text = "an end counts only with what was traded until then, and that is not read"
            yield Wrong("find.ended", text, "say where 'filled' is (MWh), or 'filled_mw'")
        if find.filled is not None and find.filled_mw is not None:
            yield Wrong("find.filled_mw", "what was traded is read twice", "leave out filled (MWh) or filled_mw (MW)")


def _status_faults(settings: HttpInterface) -> Iterator[Wrong]:
    for name, words in (("accepted", settings.accepted), ("rejected", settings.rejected)):
        asked = settings.find is not None and settings.find.status is not None and name == "rejected"
        if words and settings.status is None and not asked:
            yield Wrong(name, "these are words of a status, and no status is read", "say where 'status' is")
    if settings.status is not None and not settings.accepted:
        yield Wrong("status", "no word of it says that an order was taken", "name the words in 'accepted'")
    if both := sorted(set(settings.accepted) & set(settings.rejected)):
        yield Wrong("rejected", f"{both[0]!r} cannot say both that an order was taken and that it was not")


def _path_faults(option: str, path: str) -> Iterator[Wrong]:
    if not path.startswith("/"):
        yield Wrong(option, "a path begins with /", "write it like /orders; the host stands in 'url'")
    if "#" in path:
        yield Wrong(option, "a path to ask for has no #fragment", "leave it out, or write %23")
    yield from _text_faults(option, path)


def _body_faults(body: JSON) -> Iterator[Wrong]:
    if not isinstance(body, dict | list):
        yield Wrong("body", "an order is an object or a list", "write it like {side: '{side}', …}")
    if where := not_finite(body):
        yield Wrong("body", f"{where} is no finite number, which JSON cannot hold")
    for text in _texts(body):
        yield from _text_faults("body", text)
    for items in _lists(body):
        if any(isinstance(one, str) and OPTIONAL in _used(one) for one in items):
            yield Wrong("body", f"{OPTIONAL} cannot be left out of a list where an order has none", "use an object")


def _text_faults(option: str, text: str) -> Iterator[Wrong]:
    try:
        places = Text(text).places
    except TemplateError as error:
        yield Wrong(option, f"{text[:60]!r}: {error}", "write {{ and }} for braces themselves")
        return
    for name in places:
        if name not in PLACES:
            hint = did_you_mean(name, PLACES) or f"there are {', '.join(PLACES)}"
            yield Wrong(option, f"{{{name}}} is nothing that an order has", hint)


def _used(text: str) -> list[str]:
    try:
        return list(Text(text).places)
    except TemplateError:  # told by its own fault
        return []


def _texts(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _lists(value: JSON) -> Iterator[list[JSON]]:
    if isinstance(value, list):
        yield value
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _lists(one)


# ---- for one order --------------------------------------------------------------------------------------------------


def values(ticket: Ticket, words: Mapping[Any, str | int]) -> dict[str, JSON]:
    """What the places stand for, in the exchange's words; an order without a limit has none."""
    known: dict[str, JSON] = {name: getattr(ticket, name) for name in PLACES if name != "quantity_mw"}
    known |= {name: iso(known[name]) for name in ("delivery_start", "delivery_end")}
    known |= {name: words.get(known[name], known[name]) for name in ("side", "order_type", "time_in_force")}
    return known | {"quantity_mw": ticket.quantity_mwh / hours(ticket)}


def hours(ticket: Ticket) -> float:
    """How long its delivery is: MWh per MW."""
    return (ticket.delivery_end - ticket.delivery_start) / HOUR


def filled_path(path: str, known: Mapping[str, JSON]) -> str:
    """The path with each value quoted, so that none can become more than one step of it. Unfillable without a limit."""

    def quoted(name: str) -> str:
        if known[name] is None:
            raise Unfillable(f"the path needs {name}, which this order does not have; nothing was sent")
        return quote(as_text(known[name]), safe="")

    return Text(path).put_in(quoted)


def filled_body(body: JSON, known: Mapping[str, JSON]) -> JSON:
    """The body with its places filled; the key of a text that needs what the order does not have is left out."""
    if isinstance(body, dict):
        return {key: filled_body(value, known) for key, value in body.items() if not _lacks(value, known)}
    if isinstance(body, list):
        return [filled_body(value, known) for value in body if not _lacks(value, known)]
    if not isinstance(body, str):
        return body
    text = Text(body)
    return known[text.only] if text.only else text.put_in(lambda name: as_text(known[name]))


def _lacks(value: JSON, known: Mapping[str, JSON]) -> bool:
    return isinstance(value, str) and any(known[name] is None for name in Text(value).places)
