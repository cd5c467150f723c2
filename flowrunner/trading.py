"""``flowrunner orders``: what was ordered and why, for a person at a terminal, and as a table for other programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_type_hints

import msgspec

from flowrunner import shown, views
from flowrunner.errors import UsageError, did_you_mean
from flowrunner.message import JSON, Instant
from flowrunner.orders import Journal, Order, State, Switch
from flowrunner.sheet import cell
from flowrunner.store import DATA_FOLDER, FILE_NAME, reading
from flowrunner.units import from_datetime

HEADER = ["decided", "order", "energy", "filled", "limit", "state"]
FILLED = HEADER.index("filled")
LIMIT = 20
"""Orders of a list, unless told."""
ALL_REFUSALS = 100_000
TABLE = [*get_type_hints(shown.OrderShown)]
"""The columns of the table: as the API names them; numbers have their unit in the name."""
Form = Literal["text", "json", "csv"]


class Wanted(NamedTuple):
    """Which orders. ``since`` and ``until`` (not included) are about when they were decided."""

    limit: int | None = None
    market: str | None = None
    state: str | None = None
    since: Instant | None = None
    until: Instant | None = None


def wanted(limit: int | None, market: str | None, state: str | None, first: date | None, last: date | None) -> Wanted:
    """As a person asks: by days in UTC, the last one included. UsageError for a state that there is not."""
    if state not in (None, *get_args(State)):
        known = ", ".join(get_args(State))
        raise UsageError(f"{state!r} is no state of an order; {did_you_mean(str(state), get_args(State)) or known}")
    since = None if first is None else _begin(first)
    return Wanted(limit, market, state, since, None if last is None else _begin(last + timedelta(1)))


def _begin(day: date) -> Instant:
    return from_datetime(datetime.combine(day, time(tzinfo=UTC)))


def data_folders(given: Path | None, here: Path = Path()) -> list[Path]:
    """The data folder: the given one, else those that ``run`` makes beside the flows of this folder."""
    if given is not None:
        return [given]
    try:
        found = [one for one in (here / "flows" / DATA_FOLDER, here / DATA_FOLDER) if (one / FILE_NAME).is_file()]
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be looked at: {error.strerror}; name the folder with --data DIR"
        ) from None
    if not found:
        raise UsageError(
            "no data folder is here or in flows/; name the one of the engine with --data DIR (its log says where it is)"
        )
    return found


def data_folder(given: Path | None, here: Path = Path()) -> Path:
    """The one to read: the first of those that there are."""
    return data_folders(given, here)[0]


def the_data_folder(given: Path | None, here: Path = Path()) -> Path:
    """The one to change. UsageError where there are two: which is meant is not for us to guess."""
    found = data_folders(given, here)
    if len(found) > 1:
        raise UsageError(f"there are {' and '.join(map(str, found))}; say with --data DIR which one is meant")
    return found[0]


def printable(text: str) -> str:
    """One line: what an exchange said may hold line ends, or what a terminal obeys."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def no_order(journal: Journal, name: str) -> UsageError:
    """For a name that no order has."""
    known = [one.id for one in journal.orders(limit=1000)]
    return UsageError(f"there is no order {name!r}; {did_you_mean(name, known) or '`flowrunner orders` lists them'}")


def print_orders(data: Path, wanted: Wanted, form: Form) -> None:
    """Orders, newest first, then what was refused; as csv all orders, oldest first."""
    with reading(data / FILE_NAME) as store:
        journal = Journal(store)
        if form == "csv":
            _print_table(journal.orders(**wanted._asdict()))
            return
        limit = wanted.limit or LIMIT
        orders = journal.orders(**wanted._replace(limit=limit)._asdict())
        refusals = journal.refusals(limit=ALL_REFUSALS if any(wanted[1:]) else limit) if wanted.state is None else []
    told = [views.refusal(one) for one in refusals if _is_wanted(one.market, one.updated_at, wanted)][:limit]
    stop = Switch(data).stopped
    if form == "json":
        _print_json({"trading": views.switch(stop), "orders": [views.order(one) for one in orders], "refusals": told})
        return
    if stop is not None:
        print(f"{printable(str(stop))}; `flowrunner resume-trading` lets it go on\n")
    if not orders:
        print("no orders" if any(wanted[1:]) else "no orders yet")
    for line in _columns([HEADER, *map(_row, orders)] if orders else []):
        print(printable(line))
    if told:
        print("\nrefused:")
    for one in told:
        times = f" ({one['count']} times)" if one["count"] > 1 else ""
        wish = f"{one['rule']} {one['side']} for {_minute(one['delivery_start'])}"
        print(printable(f"{_minute(one['updated_at'])}  {wish}: {one['text']}{times}"))


def print_order(data: Path, name: str, form: Form) -> None:
    """One order with its whole story. UsageError when there is none of that name."""
    if form == "csv":
        raise UsageError("a story has no rows; --format csv is for the list of orders")
    with reading(data / FILE_NAME) as store:
        journal = Journal(store)
        found = journal.story(name)
        if found is None:
            raise no_order(journal, name)
    story = views.story(*found)
    if form == "json":
        _print_json(story)
        return
    for line in _story(story):
        print(printable(line))


# ---- as a table ---------------------------------------------------------------------------------------------


def _print_table(newest_first: Sequence[Order]) -> None:
    """RFC 4180, with a line of names."""
    table = csv.writer(sys.stdout)
    table.writerow(TABLE)
    for order in reversed(newest_first):
        one: dict[str, JSON] = {**views.order(order)}
        table.writerow([cell(one[name]) for name in TABLE])


# ---- as text ------------------------------------------------------------------------------------------------


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _is_wanted(market: str, at: Instant, wanted: Wanted) -> bool:
    if wanted.market not in (None, market):
        return False
    return (wanted.since is None or at >= wanted.since) and (wanted.until is None or at < wanted.until)


def _row(order: Order) -> list[str]:
    one = views.order(order)
    limited = f" of {order.requested_mwh:g} ({order.limited_by})" if order.limited_by else ""
    return [
        _minute(one["created_at"]),
        one["order"],
        f"{order.quantity_mwh:g} MWh{limited}",
        _filled(one) if order.filled_mwh else "",
        _price(order.limit_price_eur_mwh),
        f"{order.state}{': ' + order.reason if order.reason else ''}",
    ]


def _columns(rows: Iterable[list[str]]) -> Iterator[str]:
    """Rows with their columns below each other; without the one of what was filled where nothing was."""
    table = list(rows)
    if not any(row[FILLED] for row in table[1:]):
        table = [row[:FILLED] + row[FILLED + 1 :] for row in table]
    widths = [max(len(row[index]) for row in table) for index in range(len(table[0]))] if table else []
    for row in table:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _story(story: shown.StoryShown) -> Iterator[str]:
    order = story["order"]
    yield f"{order['order']}  {order['side']} {order['quantity_mwh']:g} MWh at {_price(order['limit_price_eur_mwh'])}"
    yield f"delivery {_minute(order['delivery_start'])} to {_minute(order['delivery_end'])}, {order['market']}"
    if order["limited_by"]:
        yield f"{order['requested_mwh']:g} MWh were wanted; {order['limited_by']} is not clear"
    if order["exchange_id"]:
        yield f"the exchange calls it {order['exchange_id']}"
    if order["filled_mwh"]:
        rest = f", {order['open_mwh']:g} MWh are open" if order["open_mwh"] else ""
        yield f"filled: {_filled(order)}{rest}"
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
    if order["state"] == "unknown":
        yield f"no further order goes to {order['market']} until it is known whether the exchange has it; then:"
        yield f"  flowrunner orders resolve {order['order']} --as accepted|rejected|filled|unfilled"


def _answer(detail: JSON) -> str:
    return "" if detail is None else msgspec.json.encode(detail).decode()


def _filled(order: shown.OrderShown) -> str:
    price = order["average_price_eur_mwh"]
    return f"{order['filled_mwh']:g} MWh{'' if price is None else f' at {_price(price)}'}"


def _price(value: float | None) -> str:
    return "any price" if value is None else f"{value:g} EUR/MWh"


def _minute(time: str) -> str:
    """``2025-01-25 01:15Z`` of an ISO time."""
    return f"{time[:10]} {time[11:16]}Z"
