"""The command line: arguments in, exit codes out. What the commands do is in `commands`, imported when one runs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from flowrunner import __version__, argument, hangup, people_arguments
from flowrunner.remote import arguments as remote_arguments

EPILOG = """\
exit codes: 0 done, 1 failed, 2 wrong usage, 78 the flow file has problems

first steps:
  flowrunner validate flows/bess.yaml     every problem with file:line:column
  flowrunner run flows/bess.yaml          http://127.0.0.1:9000/api/bess/status
  flowrunner nodes threshold              what a node type does and takes

when something is wrong:
  flowrunner stop-trading                 from now on no order leaves, whatever restarts

environment:
  FLOWRUNNER_API_KEY     key of /api/v1 and /metrics, of an editor; beyond loopback that, or users
  FLOWRUNNER_HOSTS       further host names by which the server may be called, with commas between
  FLOWRUNNER_HTTPS       1: people reach it by TLS only, which ends at a proxy; cookies are Secure then
  FLOWRUNNER_NODES       further folders of node files, separated as in PATH
  FLOWRUNNER_SECRETS     folder of the files that ${secret:name} reads (default: /run/secrets)
  FLOWRUNNER_TRACEBACK   set: a defect of the program shows where it happened
"""

RESOLVE_EPILOG = """\
For an order of which the exchange could not be asked, or an accepted one whose end it did not tell. It works while an
engine runs, too. What an order cannot become any more is refused (exit code 1).
"""
STOP_EPILOG = """\
It makes the file STOP-TRADING in the data folder, with or without an engine that runs. While the file is there no order
is made and none is sent; what the exchange has already stays there. Only a person lets it go on: resume-trading.
"""
RESUME_EPILOG = """\
It removes the file STOP-TRADING from the data folder. It also settles a clock that was wrong before: what the journal
saw of a later time holds nothing back any more.
"""
LETTERS_EPILOG = """\
A dead letter is a message that a node rejected and nobody read from its error port. `dead-letters show ID` tells one
with its whole message, `dead-letters replay` puts letters back to the nodes that rejected them, `dead-letters drop`
forgets them. All works while an engine runs, too.
"""
REPLAY_LETTERS_EPILOG = """\
With its lineage, into the inbox of the node that rejected it; at once where an engine runs, else at its next start. The
letter goes when all that comes of its message is done with. Rejected again, it is a new letter with one more attempt.
Orders are never put back, nor a message that was too large to be kept whole.
"""
RESOLVE = "orders resolve"
SHOW_LETTER, REPLAY_LETTERS, DROP_LETTERS = (f"dead-letters {what}" for what in ("show", "replay", "drop"))
IN_ONE_WORD = {RESOLVE, SHOW_LETTER, REPLAY_LETTERS, DROP_LETTERS, *people_arguments.COMMANDS}
DECISIONS = ("accepted", "rejected", "filled", "unfilled")

TEST_EPILOG = """\
Tests stand under tests: in a flow file, or in a file of their own beside it: those of bess.yaml in bess.test.yaml.
Of the environment only what a test gives under env: counts. Exit codes: 0 all passed, 1 one has failed, 78 a file has
problems.
"""
REPLAY_EPILOG = """\
It is the same flow with the same nodes. The battery takes the place of what the node `telemetry` reads from, and
begins as empty as the risk-guard lets it be. No price is seen before it was published: those of a day at 12:45 of the
day before. An order is filled at the price of its slot where its limit allows, whatever `mode` says; nothing is sent.
"""

RUN_EPILOG = """\
All that it says goes to standard error: in a terminal a live table of the nodes with the lines of the log above it,
else plain lines (so too with --plain or --log json, with TERM=dumb, and where NO_COLOR or CI is set).

A flow with problems is not started: they are printed as `validate` prints them, and the exit code is 78.

A change of the flow files, of node files in --nodes or FLOWRUNNER_NODES, or of the --env-file is taken over while the
flow runs, and only what changed notices; so it is when asked, by SIGHUP or POST /api/v1/reload. A file with problems
changes nothing: they are said, and what ran runs on.

The first SIGINT or SIGTERM stops: sources first, then what was taken is finished, for as long as --grace allows. Exit
code 0: all was finished; 1: somebody was late (the log names who, and what was left), or a second signal came, which
stops at once. In a terminal SIGHUP stops, too.

Beyond loopback (--host 0.0.0.0) it starts only with FLOWRUNNER_API_KEY or a user (flowrunner users add), and with a key
for each route of the flow, each key of at least 16 characters. FLOWRUNNER_HTTPS=1 says that people reach it by TLS
only, which ends at a proxy before it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without ° is no reason to fail
    parser = _parser()
    options = parser.parse_args(_in_one_word(sys.argv[1:] if arguments is None else arguments))
    if options.command is None:
        parser.print_help()
        return 2
    try:
        if options.command == "run":
            hangup.note()
        from flowrunner import commands  # late: --help needs nothing of it

        return commands.execute(options)
    except KeyboardInterrupt:
        return 130  # what shells give for Ctrl-C


def _in_one_word(arguments: Sequence[str]) -> Sequence[str]:
    """``orders resolve`` and ``dead-letters show`` are commands of their own."""
    two = " ".join(arguments[:2])
    return [two, *arguments[2:]] if two in IN_ONE_WORD else arguments


def _parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="flowrunner", description="Run flows: automation as text, checked before it runs.",
        epilog=EPILOG, formatter_class=text, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"flowrunner {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND [ARGUMENTS]", title="commands")

    run = commands.add_parser(
        "run", allow_abbrev=False, help="check flow files and run them", formatter_class=text,
        description="Check flow files and run them in one engine until SIGINT or SIGTERM.",
        epilog=RUN_EPILOG,
    )  # fmt: skip
    run.add_argument("flow", nargs="+", type=Path, metavar="FLOW", help="a flow file, or a folder of them")
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    run.add_argument("--port", type=argument.port, default=9000, help="port to listen on (default: %(default)s)")
    run.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: .flowrunner beside the flow)")
    run.add_argument("--log", choices=("text", "json"), default="text", help="form of the log (default: %(default)s)")
    run.add_argument("--no-watch", action="store_true", help="take over what changes in the files only when asked")
    says = "at a stop, time to finish what was taken (default: %(default)s)"
    run.add_argument("--grace", type=argument.grace, default="5s", metavar="TIME", help=says)
    run.add_argument("--plain", action="store_true", help="lines only, also in a terminal: no live table of the nodes")
    run.add_argument(
        "--simulate", action="store_true",
        help="in a simulated world: battery, broker and exchange on this machine, nothing leaves it",
    )  # fmt: skip
    run.add_argument(
        "--speed", type=argument.speed, metavar="N", help="of --simulate: flow time runs N times as fast (default: 60)"
    )
    _common(run)

    validate = commands.add_parser(
        "validate", allow_abbrev=False, help="check flow files and print every problem",
        description="Check flow files and print every problem as file:line:column: path: what is wrong.",
    )  # fmt: skip
    validate.add_argument("flow", nargs="+", type=Path, metavar="FLOW", help="a flow file, or a folder of them")
    validate.add_argument("--format", choices=("text", "json"), default="text", help="text for people, json for tools")
    _common(validate)

    nodes = commands.add_parser(
        "nodes", allow_abbrev=False, help="list node types, or describe one", description="List node types."
    )
    nodes.add_argument("type", nargs="?", metavar="TYPE", help="describe this type: options, ports, defaults")
    nodes.add_argument("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")

    _test_parser(commands)
    _orders_parser(commands)
    _person_parsers(commands)
    _letters_parsers(commands)
    people_arguments.add(commands, _data)
    remote_arguments.add(commands)
    _simulate_parser(commands)
    _replay_parser(commands)

    schema = commands.add_parser(
        "schema", allow_abbrev=False, help="print the JSON Schema of flow files",
        description="Print the JSON Schema of flow files for editors, or write it with one file per node type.",
    )  # fmt: skip
    schema.add_argument("--write", type=Path, metavar="DIR", help="write flow.schema.json and nodes/*.json there")
    schema.add_argument("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")
    return parser


def _test_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    test = commands.add_parser(
        "test", allow_abbrev=False, help="run the tests of flow files",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run the tests of flow files in virtual time, without a network.", epilog=TEST_EPILOG,
    )  # fmt: skip
    add = test.add_argument
    add("flow", nargs="*", type=Path, metavar="FLOW", help="a flow file, or a folder of them (default: flows, or here)")
    add("-k", dest="name", default="", metavar="NAME", help="only tests whose name holds this text")
    add("--junit", type=Path, metavar="FILE", help="write the outcome as JUnit XML")
    add("--coverage", action="store_true", help="say which nodes, ports and clauses no test has reached")
    add("--watch", action="store_true", help="run again when a file changes, until Ctrl-C")
    add("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")


def _orders_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    orders = commands.add_parser(
        "orders", allow_abbrev=False, help="list orders, or tell the story of one",
        description="List the orders of an engine with what was refused, or tell one's whole story. Only reads.",
    )  # fmt: skip
    add = orders.add_argument
    add("order", nargs="?", metavar="ORDER", help="tell the whole story of this order")
    _data(orders)
    add("--limit", type=argument.count, metavar="N", help="how many at most (default: 20, as csv all)")
    add("--market", metavar="NAME", help="only those of this market")
    add("--state", metavar="STATE", help="only orders in this state")
    add("--since", type=argument.day, metavar="DATE", help="only what was decided on this day (UTC) or later")
    add("--until", type=argument.day, metavar="DATE", help="only what was decided on this day (UTC) or before")
    says = "text for people, json for tools, csv for spreadsheets (orders only, oldest first)"
    add("--format", choices=("text", "json", "csv"), default="text", help=says)


def _person_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What a person decides."""
    text = argparse.RawDescriptionHelpFormatter
    resolve = commands.add_parser(
        RESOLVE, prog=f"flowrunner {RESOLVE}", allow_abbrev=False, help="say what became of an order",
        formatter_class=text, description="Say what became of an order: a person's word, kept in its story.",
        epilog=RESOLVE_EPILOG,
    )  # fmt: skip
    add = resolve.add_argument
    add("order", metavar="ORDER", help="the order's id, as `flowrunner orders` lists it")
    add("--as", dest="state", choices=DECISIONS, required=True, help="what the exchange did with it")
    add("--exchange-id", default="", metavar="ID", help="the exchange's own id of it; with it, fills are followed")
    says = "of --as filled: how much was traded, in MWh (default: all of it)"
    add("--filled-mwh", type=float, metavar="MWH", help=says)
    stop = commands.add_parser(
        "stop-trading", allow_abbrev=False, help="stop all orders, until a person lets them go on",
        formatter_class=text, description="Stop trading: no order is made and none is sent.", epilog=STOP_EPILOG,
    )  # fmt: skip
    resume = commands.add_parser(
        "resume-trading", allow_abbrev=False, help="let trading go on",
        formatter_class=text, description="Let trading go on after a stop.", epilog=RESUME_EPILOG,
    )  # fmt: skip
    for parser in (resolve, stop, resume):
        parser.add_argument("--reason", default="", metavar="TEXT", help="for the journal")
        parser.add_argument("--by", metavar="NAME", help="who decides (default: the login name)")
        _data(parser)


def _letters_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = argparse.RawDescriptionHelpFormatter
    listing = commands.add_parser(
        "dead-letters", allow_abbrev=False, help="messages that nodes rejected and nobody took",
        formatter_class=text, description="List messages that nodes rejected and nobody took, newest first.",
        epilog=LETTERS_EPILOG,
    )  # fmt: skip
    listing.add_argument("--limit", type=argument.count, metavar="N", help="how many at most (default: 20, as csv all)")
    show = commands.add_parser(
        SHOW_LETTER, prog=f"flowrunner {SHOW_LETTER}", allow_abbrev=False, help="tell one with its whole message",
        description="Tell one dead letter with its whole message, its lineage, and why it was rejected.",
    )  # fmt: skip
    show.add_argument(
        "letter", type=argument.letter, metavar="ID", help="its number, as `flowrunner dead-letters` lists it"
    )
    replay = commands.add_parser(
        REPLAY_LETTERS, prog=f"flowrunner {REPLAY_LETTERS}", allow_abbrev=False, help="put them back to their nodes",
        formatter_class=text, description="Put dead letters back to the nodes that rejected them.",
        epilog=REPLAY_LETTERS_EPILOG,
    )  # fmt: skip
    drop = commands.add_parser(
        DROP_LETTERS, prog=f"flowrunner {DROP_LETTERS}", allow_abbrev=False, help="forget them",
        description="Forget dead letters for good.",
    )  # fmt: skip
    for parser in (replay, drop):
        which = "the numbers, as `flowrunner dead-letters` lists them"
        parser.add_argument("letters", nargs="*", type=argument.letter, metavar="ID", help=which)
        parser.add_argument("--all", action="store_true", help="all, or all that the following options let through")
    for parser in (listing, replay, drop):
        add = parser.add_argument
        add("--flow", metavar="NAME", help="only those of this flow")
        add("--node", metavar="ID", help="only those that this node rejected; also as flow/id")
        add("--code", metavar="CODE", help="only those with this code")
        add("--since", type=argument.day, metavar="DATE", help="only what was rejected on this day (UTC) or later")
    drop.add_argument("--yes", action="store_true", help="it is meant")
    for parser in (listing, show):
        says = "text for people, json for tools" + (
            ", csv for spreadsheets (oldest first)" if parser is listing else ""
        )
        parser.add_argument("--format", choices=("text", "json", "csv")[: 3 if parser is listing else 2],
                            default="text", help=says)  # fmt: skip
    for parser in (listing, show, replay, drop):
        _data(parser)


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: .flowrunner here or in flows)")


def _replay_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    replay = commands.add_parser(
        "replay", allow_abbrev=False, help="run a flow over recorded prices: what it would have earned",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a flow over recorded prices in virtual time, with a simulated battery in the loop.",
        epilog=REPLAY_EPILOG,
    )  # fmt: skip
    add = replay.add_argument
    add("flow", type=Path, metavar="FLOW", help="a flow file")
    says = "CSV with timestamp,price_eur_mwh, or shipped:NAME (default: the shipped year 2024 of DE-LU)"
    add("--prices", metavar="CSV", help=says)
    says = "CSV or JSON lines of what a node once sent, with a column timestamp; may be given again for another node"
    add("--data", type=argument.node_file, action="append", default=[], metavar="NODE=FILE", help=says)
    add("--from", dest="first", type=argument.day, metavar="DATE", help="first day (default: the first of the prices)")
    add(
        "--to",
        dest="last",
        type=argument.day,
        metavar="DATE",
        help="last day, included (default: the last of the prices)",
    )
    add(
        "--step",
        type=argument.step,
        default="1min",
        metavar="TIME",
        help="time between two telemetry records (default: 1min)",
    )
    add(
        "--soc",
        type=argument.number,
        metavar="PERCENT",
        help="state of charge at the begin (default: the guard's min_soc)",
    )
    add(
        "--capacity",
        type=argument.number,
        metavar="MWH",
        help="of the battery (default: the guard's capacity_mwh, else 10)",
    )
    add("--power", type=argument.number, default=5.0, metavar="MW", help="the most that it gives or takes (default: 5)")
    add("--efficiency", type=argument.number, default=0.95, metavar="SHARE", help="of one way (default: 0.95)")
    add("--site", action="store_true", help="the battery also feeds its own site over the day, as in run --simulate")
    add("--json", type=Path, metavar="FILE", help="write all figures there; - : to standard output, without the report")
    add("--html", type=Path, metavar="FILE", help="write a page with charts there, which needs no network")
    _common(replay)


def _simulate_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = commands.add_parser(
        "simulate", allow_abbrev=False, help="run the simulated world alone",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run the simulated world alone: a battery (Modbus TCP), a sensor (MQTT) and an exchange (HTTP).\n"
        "Where they are goes to standard output, as lines for --env-file.",
    )  # fmt: skip
    add = simulate.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    for name, port, what in (("modbus", 5020, "battery"), ("mqtt", 1883, "broker"), ("exchange", 9100, "exchange")):
        says = f"of the {what}; 0: any (default: %(default)s)"
        add(f"--{name}-port", type=argument.port, default=port, metavar="PORT", help=says)
    add("--mqtt-broker", metavar="URL", help="let the sensor publish at this broker (mqtt://…) and start none")
    add("--speed", type=argument.speed, default=1.0, metavar="N", help="time runs N times as fast (default: 1)")
    says = "the exchange: as the first user's, or with client order ids, queries, matching (default: %(default)s)"
    add("--character", choices=("plain", "good"), default="plain", help=says)
    add("--market", default="epex_at", metavar="NAME", help="name of its market (default: %(default)s)")
    add("--log", choices=("text", "json"), default="text", help="form of the log (default: %(default)s)")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")
    parser.add_argument(
        "--env-file", type=Path, metavar="FILE", help="NAME=value lines, as for Compose; the environment wins"
    )


if __name__ == "__main__":
    sys.exit(main())
