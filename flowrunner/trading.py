"""``flowrunner orders``: what was ordered and why, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from flowrunner import shown, views
from flowrunner.errors import UsageError, did_you_mean
from flowrunner.message import JSON
from flowrunner.orders import Journal, Order
from flowrunner.store import DATA_FOLDER, FILE_NAME, reading

HEADER = ["decided", "order", "energy", "limit", "state"]


def data_folder(given: Path | None, here: Path = Path()) -> Path:
    """The data folder: the given one, else the one that ``run`` makes beside the flows of this folder."""
    if given is not None:
        return given
    found = [one for one in (here / "flows" / DATA_FOLDER, here / DATA_FOLDER) if (one / FILE_NAME).is_file()]
    if not found:
        raise UsageError(
            "no data folder is here or in flows/; name the one of the engine with --data DIR (its log says where it is)"
        )
    return found[0]


def print_orders(data: Path, *, limit: int, as_json: bool) -> None:
    """Orders, newest first, then what was refused."""
    with reading(data / FILE_NAME) as store:
        journal = Journal(store)
        orders, refusals = journal.orders(limit=limit), journal.refusals(limit=limit)
    told = [views.refusal(one) for one in refusals]
    if as_json:
        _print_json({"orders": [views.order(one) for one in orders], "refusals": told})
        return
    if not orders:
        print("no orders yet")
    for line in _columns([HEADER, *map(_row, orders)] if orders else []):
        print(line)
    if told:
        print("\nrefused:")
    for one in told:
        times = f" ({one['count']} times)" if one["count"] > 1 else ""
        wish = f"{one['rule']} {one['side']} for {_minute(one['delivery_start'])}"
        print(f"{_minute(one['updated_at'])}  {wish}: {one['text']}{times}")


def print_order(data: Path, name: str, *, as_json: bool) -> None:
    """One order with its whole story. UsageError when there is none of that name."""
    with reading(data / FILE_NAME) as store:
        journal = Journal(store)
        found = journal.story(name)
        known = [] if found else [one.id for one in journal.orders(limit=1000)]
    if found is None:
        raise UsageError(f"there is no order {name!r}; {did_you_mean(name, known) or '`flowrunner orders` lists them'}")
    story = views.story(*found)
    if as_json:
        _print_json(story)
        return
    for line in _story(story):
        print(line)


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _row(order: Order) -> list[str]:
    one = views.order(order)
    limited = f" of {order.requested_mwh:g} ({order.limited_by})" if order.limited_by else ""
    return [
        _minute(one["created_at"]),
        one["order"],
        f"{order.quantity_mwh:g} MWh{limited}",
        _price(order.limit_price_eur_mwh),
        f"{order.state}{': ' + order.reason if order.reason else ''}",
    ]


def _columns(rows: Iterable[list[str]]) -> Iterator[str]:
    """Rows with their columns below each other."""
    table = list(rows)
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))] if table else []
    for row in table:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _story(story: shown.StoryShown) -> Iterator[str]:
    order = story["order"]
    yield f"{order['order']}  {order['side']} {order['quantity_mwh']:g} MWh at {_price(order['limit_price_eur_mwh'])}"
    yield f"delivery {_minute(order['delivery_start'])} to {_minute(order['delivery_end'])}, {order['market']}"
    if order["limited_by"]:
        yield f"{order['requested_mwh']:g} MWh were wanted; {order['limited_by']} is not clear"
    decision = story["steps"][0]["detail"] or {}
    yield f"decided by {order['flow']}/{order['guard']}, rule {order['rule']} (file {decision.get('flow_digest', '?')})"
    for one in decision.get("clauses", []):
        judged = f"{one['value']} {one['op']} {one['limit']}"
        yield f"  {'yes' if one['outcome'] else 'no'}  {one['text']}: {judged}"
    for name, verdict in decision.get("verdicts", {}).items():
        yield f"  {name} is {verdict}"
    for name, one in decision.get("inputs", {}).items():
        unit = f" {one['unit']}" if one.get("unit") else ""
        yield f"  {name} = {one['value']}{unit}, {one['age_s']:g} s old, from {one['source']} ({one['origin']})"
    for step in story["steps"]:
        answer = _answer(step["detail"]) if step is not story["steps"][0] else ""
        yield "  ".join(part for part in (step["at"], step["state"], step["reason"], answer) if part)


def _answer(detail: JSON) -> str:
    return "" if detail is None else msgspec.json.encode(detail).decode()


def _price(value: float | None) -> str:
    return "any price" if value is None else f"{value:g} EUR/MWh"


def _minute(time: str) -> str:
    """``2025-01-25 01:15Z`` of an ISO time."""
    return f"{time[:10]} {time[11:16]}Z"
