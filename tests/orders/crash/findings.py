"""What a journal and an exchange must agree on, whatever happened in between; each disagreement as a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from flowrunner.exchange.simulator import AcceptedOrder
from flowrunner.orders import STEPS, Journal, Order
from flowrunner.store import FILE_NAME, reading
from flowrunner.units import iso

AT_EXCHANGE = ("accepted", "partly-filled", "filled", "unfilled")
"""What the journal says of an order that the exchange has."""
MAYBE = (*AT_EXCHANGE, "unknown")
UNDER_WAY = ("intent", "sending")


def findings(folder: Path, accepted: Sequence[AcceptedOrder], *, settled: bool = False) -> list[str]:
    """Of the data folder of an engine that has stopped, and of what the exchange took. ``settled``: long enough ago
    that nothing may be unknown any more."""
    with reading(folder / FILE_NAME) as reader:
        journal = Journal(reader)
        orders = journal.orders()
        walks = [(one, [str(step["state"]) for step in (journal.story(one.id) or (one, []))[1]]) for one in orders]
        (sound,) = reader.read(lambda sql: sql.execute("PRAGMA integrity_check").fetchone())
    return [*_of_the_file(sound), *_of_walks(walks), *_of_both(orders, accepted), *_of_the_end(orders, settled)]


def unknown(folder: Path) -> bool:
    """Whether the journal does not know of some order whether the exchange has it."""
    with reading(folder / FILE_NAME) as reader:
        return bool(Journal(reader).orders(state="unknown"))


def _of_the_file(sound: str) -> Iterator[str]:
    if sound != "ok":
        yield f"the journal's file is damaged: {sound}"


def _of_walks(walks: list[tuple[Order, list[str]]]) -> Iterator[str]:
    for order, walk in walks:
        if walk[0] != "intent" or walk[-1] != order.state:
            yield f"{order.id} is {order.state} and its story is {walk}"
        for before, after in pairwise(walk):
            if after not in STEPS[before]:  # type: ignore[index]  # a state
                yield f"{order.id} went from {before} to {after}"


def _of_both(orders: list[Order], accepted: Sequence[AcceptedOrder]) -> Iterator[str]:
    """Identities: market, beginning of delivery, side."""
    journal = {(one.market, one.delivery_start, one.side): one for one in orders}
    exchange = Counter((one.market, one.delivery_start, one.side) for one in accepted)
    for (market, start, side), count in exchange.items():
        if count > 1:
            yield f"the exchange has {count} orders {market} {iso(start)} {side}"
    for taken in accepted:
        known = journal.get((taken.market, taken.delivery_start, taken.side))
        if known is None:
            yield f"the exchange has {taken.client_order_id}, of which the journal does not know"
        elif known.state not in MAYBE:
            yield f"the exchange has {known.id}, which the journal calls {known.state} ({known.reason})"
        elif known.state != "unknown" and known.exchange_id != taken.order_id:
            yield f"{known.id} is {taken.order_id} at the exchange and {known.exchange_id!r} in the journal"
    for identity, order in journal.items():
        if identity not in exchange and order.state in AT_EXCHANGE:
            yield f"the journal calls {order.id} {order.state}, and the exchange does not have it"


def _of_the_end(orders: list[Order], settled: bool) -> Iterator[str]:
    for order in orders:
        if order.state in UNDER_WAY or (settled and order.state == "unknown"):
            yield f"{order.id} is still {order.state} ({order.reason})"
