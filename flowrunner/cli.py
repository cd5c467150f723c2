"""The command line: arguments in, exit codes out. Imports late, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowrunner import __version__
from flowrunner.errors import FlowrunnerError, Problem, UsageError

if TYPE_CHECKING:
    from flowrunner.registry import Registry

OK, FAILED, USAGE, BAD_FLOW = 0, 1, 2, 78
"""Exit codes; 78 is EX_CONFIG of sysexits.h."""

EPILOG = """\
exit codes: 0 done, 1 failed, 2 wrong usage, 78 the flow file has problems

first steps:
  flowrunner validate flows/bess.yaml     every problem with file:line:column
  flowrunner run flows/bess.yaml          http://127.0.0.1:9000/api/bess/status
  flowrunner nodes threshold              what a node type does and takes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE
    try:
        code: int = options.run(options)
    except FlowrunnerError as error:
        print(f"flowrunner: {error}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else FAILED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def _parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="flowrunner", description="Run flows: automation as text, checked before it runs.",
        epilog=EPILOG, formatter_class=text,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"flowrunner {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    run = commands.add_parser(
        "run", help="check flow files and run them", formatter_class=text,
        description="Check flow files and run them in one engine until SIGINT or SIGTERM.",
        epilog=(
            "keys: beyond loopback FLOWRUNNER_API_KEY (for the API) and a key for each route are needed.\n"
            "FLOWRUNNER_HOSTS names further host names by which the server may be called."
        ),
    )  # fmt: skip
    run.add_argument("flow", nargs="+", type=Path, metavar="FLOW", help="a flow file, or a folder of them")
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    run.add_argument("--port", type=_port, default=9000, help="port to listen on (default: %(default)s)")
    run.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: .flowrunner beside the flow)")
    run.add_argument("--log", choices=("text", "json"), default="text", help="form of the log (default: %(default)s)")
    _common(run)
    run.set_defaults(run=_run)

    validate = commands.add_parser(
        "validate", help="check flow files and print every problem",
        description="Check flow files and print every problem as file:line:column: path: what is wrong.",
    )  # fmt: skip
    validate.add_argument("flow", nargs="+", type=Path, metavar="FLOW", help="a flow file, or a folder of them")
    validate.add_argument("--format", choices=("text", "json"), default="text", help="text for people, json for tools")
    _common(validate)
    validate.set_defaults(run=_validate)

    nodes = commands.add_parser("nodes", help="list node types, or describe one", description="List node types.")
    nodes.add_argument("type", nargs="?", metavar="TYPE", help="describe this type: options, ports, defaults")
    nodes.add_argument("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")
    nodes.set_defaults(run=_nodes)

    schema = commands.add_parser(
        "schema", help="print the JSON Schema of flow files",
        description="Print the JSON Schema of flow files for editors, or write it with one file per node type.",
    )  # fmt: skip
    schema.add_argument("--write", type=Path, metavar="DIR", help="write flow.schema.json and nodes/*.json there")
    schema.add_argument("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")
    schema.set_defaults(run=_schema)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=Path, action="append", default=[], metavar="DIR", help="further node files")
    parser.add_argument("--env-file", type=Path, metavar="FILE", help="NAME=value lines; the environment wins")


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


# ---- commands ------------------------------------------------------------------------------------------------


def _registry(folders: Sequence[Path]) -> Registry:
    from flowrunner import registry

    named = [Path(one) for one in os.environ.get(registry.ENVIRONMENT, "").split(os.pathsep) if one]
    for folder in [*folders, *named]:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder} for node files")
    return registry.Registry([*folders, *named])


def read_env_file(file: Path) -> dict[str, str]:
    """``NAME=value`` lines; ``#`` begins a comment line, quotes around a value go. UsageError names a bad line."""
    values: dict[str, str] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"{file}:{number}: write NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        values[name.strip()] = value
    return values


def _environment(options: argparse.Namespace) -> dict[str, str]:
    own = read_env_file(options.env_file) if options.env_file else {}
    return {**own, **os.environ}


def _validate(options: argparse.Namespace) -> int:
    from flowrunner.engine import check_files

    checked = check_files(options.flow, _environment(options), _registry(options.nodes))
    if options.format == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(checked.problems)).decode())
    else:
        _print_problems(checked.problems)
        if checked.graph is not None:
            flows, nodes = len(checked.graph.flows), len(checked.graph.nodes)
            print(f"{'flow is' if flows == 1 else f'{flows} flows are'} good: {nodes} nodes")
    return OK if checked.graph is not None else BAD_FLOW


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(problem)


def _nodes(options: argparse.Namespace) -> int:
    from flowrunner import reference

    registry = _registry(options.nodes)
    print(reference.describe(registry, options.type) if options.type else reference.listing(registry))
    return OK


def _schema(options: argparse.Namespace) -> int:
    from flowrunner import reference

    registry = _registry(options.nodes)
    if options.write is None:
        print(reference.flow_schema_text(registry), end="")
        return OK
    for name, text in reference.schema_files(registry).items():
        file = options.write / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return OK


def _run(options: argparse.Namespace) -> int:
    from flowrunner import running

    return running.run(
        options.flow,
        environment=_environment(options),
        registry=_registry(options.nodes),
        host=options.host,
        port=options.port,
        data=options.data,
        style=options.log,
        on_problems=_print_problems,
    )


if __name__ == "__main__":
    sys.exit(main())
