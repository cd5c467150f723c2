"""The words of ``flowrunner top`` and ``flowrunner tap``, and what they start."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from flowrunner import argument

COMMANDS = ("top", "tap")
DEFAULT = "http://127.0.0.1:9000"
SORTS = ("trouble", "file", "rate", "inbox", "errors", "node")
KEY = "FLOWRUNNER_API_KEY"
TOP_EPILOG = f"""\
In a terminal it is a live table until Ctrl-C; into a pipe, or with --json, one picture of the moment, with the rates of
the last second. A connection that breaks off is tried again.

A key is best given by the environment ({KEY}): a command line can be seen by others of the same machine.
"""
TAP_EPILOG = f"""\
Tapping changes nothing in the flow and goes on over reloads. Of a node by which nothing leaves (a sink) it is what
comes in. At most ten messages a second of each node are sent, `dropped` says how many were left out before one;
payloads are cut at 4 KB, and secrets of the flow are masked. Into a pipe they are lines of JSON.

A key is best given by the environment ({KEY}): a command line can be seen by others of the same machine.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The two commands."""
    text = argparse.RawDescriptionHelpFormatter
    top = commands.add_parser(
        "top", allow_abbrev=False, help="watch the nodes of a running engine, here or elsewhere",
        formatter_class=text, description="Show the nodes of a running engine as a live table.", epilog=TOP_EPILOG,
    )  # fmt: skip
    top.add_argument("--flow", metavar="NAME", help="only the nodes of this flow")
    says = "what comes first: nodes in trouble, as in the file, or the most (default: %(default)s)"
    top.add_argument("--sort", choices=SORTS, default="trouble", help=says)
    top.add_argument("--json", action="store_true", help="one picture of the moment, for tools")
    tap = commands.add_parser(
        "tap", allow_abbrev=False, help="print the messages of nodes as they pass",
        formatter_class=text, description="Print the messages of nodes of a running engine as they pass.",
        epilog=TAP_EPILOG,
    )  # fmt: skip
    tap.add_argument("node", nargs="+", metavar="NODE", help="flow/id, or the id alone where only one flow has it")
    form = tap.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="lines of JSON, also in a terminal")
    form.add_argument("--pretty", action="store_true", help="for people, also into a pipe")
    tap.add_argument("--count", type=argument.count, metavar="N", help="end after so many messages")
    says = "messages a second of each node, at most (default and most: 10)"
    tap.add_argument("--rate", type=argument.number, metavar="N", help=says)
    for parser in (top, tap):
        parser.add_argument("--url", default=DEFAULT, help="where the engine is (default: %(default)s)")
        parser.add_argument("--key", metavar="KEY", help=f"its key (default: {KEY})")


def _key(options: argparse.Namespace) -> str:
    return os.environ.get(KEY, "") if options.key is None else str(options.key)


def _top(options: argparse.Namespace) -> int:
    from flowrunner import terminal
    from flowrunner.remote import top
    from flowrunner.remote.asking import Remote, in_loop

    live = not options.json and terminal.wanted(sys.stdout, os.environ)
    form: top.Form = "json" if options.json else "live" if live else "text"
    return in_loop(lambda: top.top(Remote(options.url, _key(options)), flow=options.flow, sort=options.sort, form=form))


def _tap(options: argparse.Namespace) -> int:
    from flowrunner import terminal
    from flowrunner.errors import UsageError
    from flowrunner.remote import tap
    from flowrunner.remote.asking import Remote, in_loop

    if options.rate is not None and not 0 < options.rate <= 10:
        raise UsageError("--rate: at most 10 messages a second of each node are sent")
    pretty = options.pretty or (sys.stdout.isatty() and not options.json)
    colours = pretty and terminal.wanted(sys.stdout, os.environ)
    return in_loop(
        lambda: tap.tap(
            Remote(options.url, _key(options)), options.node, "pretty" if pretty else "json",
            count=options.count, rate=options.rate, colours=colours,
        )
    )  # fmt: skip


OF_AN_ENGINE: dict[str, Callable[[argparse.Namespace], int]] = {"top": _top, "tap": _tap}
