"""The commands that work on a data folder, beside an engine or without one: orders, letters, the switch, people."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowrunner import people_arguments
from flowrunner.errors import UsageError

if TYPE_CHECKING:
    from flowrunner.store import Wanted

OK, FAILED = 0, 1


def _orders(options: argparse.Namespace) -> int:
    from flowrunner import trading

    data = trading.data_folder(options.data)
    if options.order:
        trading.print_order(data, options.order, options.format)
    else:
        wanted = trading.wanted(options.limit, options.market, options.state, options.since, options.until)
        trading.print_orders(data, wanted, options.format)
    return OK


def _resolve(options: argparse.Namespace) -> int:
    from flowrunner import deciding, trading

    order = deciding.resolve(
        trading.the_data_folder(options.data),
        options.order,
        options.state,
        by=options.by,
        reason=options.reason,
        exchange_id=options.exchange_id,
        filled_mwh=options.filled_mwh,
    )
    print(trading.printable(f"{order.id} is {order.state}: {order.reason}"))
    if order.state == "accepted" and not order.exchange_id:
        print("without its --exchange-id nobody can ask what becomes of it; say so later: --as filled or unfilled")
    return OK


def _letters(options: argparse.Namespace) -> int:
    from flowrunner import lettering, trading

    lettering.print_letters(trading.data_folder(options.data), _wanted_letters(options, options.limit), options.format)
    return OK


def _show_letter(options: argparse.Namespace) -> int:
    from flowrunner import lettering, trading

    lettering.print_letter(trading.data_folder(options.data), options.letter, options.format)
    return OK


def _replay_letters(options: argparse.Namespace) -> int:
    from flowrunner import lettering, trading

    wanted = _all_or_named(options)
    return OK if lettering.replay(trading.the_data_folder(options.data), options.letters, wanted) else FAILED


def _drop_letters(options: argparse.Namespace) -> int:
    from flowrunner import lettering, trading

    wanted = _all_or_named(options)
    lettering.drop(trading.the_data_folder(options.data), options.letters, wanted, sure=options.yes)
    return OK


def _all_or_named(options: argparse.Namespace) -> Wanted | None:
    """Which letters ``--all`` means; None where they are named. UsageError where it is neither, or both."""
    wanted = _wanted_letters(options, None)
    narrowed = any(one is not None for one in (options.flow, options.node, options.code, options.since))
    if options.all == bool(options.letters):
        raise UsageError("name dead letters by their numbers, or say --all")
    if narrowed and not options.all:
        raise UsageError("--flow, --node, --code and --since belong to --all")
    return wanted if options.all else None


def _wanted_letters(options: argparse.Namespace, limit: int | None) -> Wanted:
    from datetime import UTC, datetime, time

    from flowrunner.store import Wanted
    from flowrunner.units import from_datetime

    flow, node = options.flow, options.node
    if node is not None and "/" in node:
        of, _, node = node.rpartition("/")
        if flow not in (None, of):
            raise UsageError(f"--flow {flow} and --node {options.node} contradict each other")
        flow = of
    since = None if options.since is None else from_datetime(datetime.combine(options.since, time(tzinfo=UTC)))
    return Wanted(flow=flow, node=node, code=options.code, since=since, limit=limit)


def _stop_trading(options: argparse.Namespace) -> int:
    from flowrunner import deciding, trading

    deciding.stop_trading(trading.data_folders(options.data), by=options.by, reason=options.reason)
    return OK


def _resume_trading(options: argparse.Namespace) -> int:
    from flowrunner import deciding, trading

    deciding.resume_trading(trading.the_data_folder(options.data), by=options.by, reason=options.reason)
    return OK


def _people(options: argparse.Namespace) -> int:
    from flowrunner import people_commands

    people_commands.execute(options)
    return OK


OF_A_FOLDER: dict[str, Callable[[argparse.Namespace], int]] = {
    "orders": _orders,
    "orders resolve": _resolve,
    "dead-letters": _letters,
    "dead-letters show": _show_letter,
    "dead-letters replay": _replay_letters,
    "dead-letters drop": _drop_letters,
    "stop-trading": _stop_trading,
    "resume-trading": _resume_trading,
    **dict.fromkeys(("users", "keys", *people_arguments.COMMANDS), _people),
}
