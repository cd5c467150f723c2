"""What the commands do, and what a person reads when one cannot."""

from __future__ import annotations

import argparse
import functools
import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowrunner.envfile import read_env_file
from flowrunner.errors import FlowrunnerError, Problem, UsageError
from flowrunner.folder_commands import OF_A_FOLDER
from flowrunner.reading import is_regular
from flowrunner.registry import ENVIRONMENT, Registry, shipped
from flowrunner.remote.arguments import OF_AN_ENGINE

if TYPE_CHECKING:
    from flowrunner.graph import Graph
    from flowrunner.mqtt.settings import Settings as MqttSettings

OK, FAILED, USAGE, BAD_FLOW = 0, 1, 2, 78
"""Exit codes; 78 is EX_CONFIG of sysexits.h."""
DEFAULT_SPEED = 60.0
"""Of a simulated run: an hour is a minute."""
HANGS_S = 120.0
"""Real seconds that one test of a flow may hold the processor."""
TRACEBACK = "FLOWRUNNER_TRACEBACK"
"""Environment variable: set, a defect of the program shows where it happened."""


def execute(options: argparse.Namespace) -> int:
    """Run the command that ``options`` name; its exit code."""
    try:
        code = COMMANDS[options.command](options)
        sys.stdout.flush()
    except FlowrunnerError as error:
        _complain(options, str(error))
        return USAGE if isinstance(error, UsageError) else FAILED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        _admit(options, error)
        return FAILED
    return code


def _complain(options: argparse.Namespace, text: str) -> None:
    """Why it does not go on: a line of the log where a machine reads it, else a sentence."""
    if getattr(options, "log", "text") == "json":
        logging.getLogger("flowrunner").critical("%s", text)
    else:
        print(f"flowrunner: {text}", file=sys.stderr)


def _admit(options: argparse.Namespace, error: Exception) -> None:
    """A defect of the program itself. A run says all in its log, other commands when they are asked again: the
    text of the error may hold anything, and outside the log nothing masks it."""
    if options.command == "run":
        logging.getLogger("flowrunner").critical("failed inside; this is a defect of flowrunner", exc_info=error)
        return
    at = traceback.extract_tb(error.__traceback__)[-1]
    print(
        f"flowrunner: failed inside ({type(error).__name__} at {Path(at.filename).name}:{at.lineno}); this is a defect"
        f" of flowrunner, not of your file\n    the same command with {TRACEBACK}=1 shows all of it, for a report",
        file=sys.stderr,
    )
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)


def _registry(folders: Sequence[Path]) -> Registry:
    return Registry(_node_folders(folders))


def _node_folders(folders: Sequence[Path]) -> list[Path]:
    """Those and the ones that the environment names. UsageError for one that is not there."""
    named = [Path(one) for one in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if one]
    for folder in [*folders, *named]:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder} for node files")
    return [*folders, *named]


def _environment(options: argparse.Namespace, *, wait: bool = True) -> dict[str, str]:
    own = read_env_file(options.env_file, wait=wait) if options.env_file else {}
    return {**own, **os.environ}


def _environments(options: argparse.Namespace) -> tuple[Callable[[], dict[str, str]], Path | None]:
    """What reads the environment, again and again, and the file to watch for it. A pipe, as of ``--env-file <(…)``,
    tells what it has once; that is kept."""
    if options.env_file is None or is_regular(options.env_file) or not options.env_file.exists():
        return functools.partial(_environment, options, wait=False), options.env_file
    kept = _environment(options)
    return lambda: kept, None


def _flows(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths, when they are there. UsageError tells where a flow is that ships with the program."""
    for path in paths:
        if not path.exists():
            ours = shipped("flows") if path.name == "flows" else shipped("flows") / path.name
            hint = f"; the one that ships with flowrunner is {ours}" if ours.exists() else ""
            raise UsageError(f"there is no file {path}{hint}")
    return paths


def _validate(options: argparse.Namespace) -> int:
    from flowrunner.files import check_files
    from flowrunner.trying import problems_of_tests, without_cases

    registry = _registry(options.nodes)
    checked = check_files(without_cases(_flows(options.flow)), _environment(options), registry)
    known = set(checked.problems)
    checked.problems += [one for one in problems_of_tests(options.flow, registry) if one not in known]
    sound = not any(one.severity == "error" for one in checked.problems)
    if options.format == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(checked.problems)).decode())
    else:
        for problem in sorted(checked.problems, key=lambda one: one.severity != "error"):
            print(problem)
        if checked.graph is not None and sound:
            print(_summary(checked.graph))
    return OK if sound else BAD_FLOW


def _summary(graph: Graph) -> str:
    flows, nodes, off = len(graph.flows), len(graph.nodes), list(graph.disabled)
    text = "flow is" if flows == 1 else f"{flows} flows are"
    text += f" good: {nodes} node{' runs' if nodes == 1 else 's run'}"
    if off:
        names = [one.partition("/")[2] if flows == 1 else one for one in off]
        text += f", {len(off)} {'is' if len(off) == 1 else 'are'} off ({', '.join(names)})"
    return text


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
    try:
        for name, text in reference.schema_files(registry).items():
            file = options.write / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{options.write} cannot be written: {error.strerror}") from None
    return OK


def _run(options: argparse.Namespace) -> int:
    from flowrunner import logs

    secrets = logs.Secrets()
    logs.set_up(options.log, secrets)  # first of all: what goes wrong from here on is said in this form
    from flowrunner import reloading, running, terminal

    folders = _node_folders(options.nodes)
    environment, env_file = _environments(options)
    sources = reloading.Sources(
        _flows(options.flow),
        environment=environment,
        env_file=env_file,
        registry=Registry(folders),
    )
    return running.run(
        sources=sources,
        host=options.host,
        port=options.port,
        data=options.data,
        secrets=secrets,
        on_problems=reloading.say_problems if options.log == "json" else _say_problems,
        speed=_speed(options),
        watched=None if options.no_watch else folders,
        grace_s=options.grace,
        table=options.log == "text" and not options.plain and terminal.wanted(sys.stderr, os.environ),
    )


def _speed(options: argparse.Namespace) -> float | None:
    """Of the simulated world's time, or None for the real one."""
    if not options.simulate:
        if options.speed is not None:
            raise UsageError("--speed belongs to --simulate: real time cannot be hurried")
        return None
    if options.data is not None:
        raise UsageError("--simulate keeps its data in a temporary folder; leave --data out")
    return DEFAULT_SPEED if options.speed is None else float(options.speed)


def _simulate(options: argparse.Namespace) -> int:
    from flowrunner import logs

    logs.set_up(options.log, logs.Secrets())
    from flowrunner import simulating
    from flowrunner.simulate import Places

    places = Places(
        host=options.host,
        modbus_port=options.modbus_port,
        exchange_port=options.exchange_port,
        mqtt_port=options.mqtt_port,
        api_key=os.environ.get("EXCHANGE_API_KEY", ""),
    )
    return simulating.simulate(
        places=places,
        speed=options.speed,
        character=options.character,
        market=options.market,
        broker=_broker(options.mqtt_broker),
        hosts=os.environ.get("FLOWRUNNER_HOSTS", "").split(","),
    )


def _broker(url: str | None) -> MqttSettings | None:
    """A broker that is there already, with its login from the environment. UsageError when it is no address."""
    if url is None:
        return None
    from flowrunner.mqtt.address import parse_address
    from flowrunner.mqtt.settings import Settings

    user, password = (os.environ.get(f"BESS_MQTT_{name}") or None for name in ("USERNAME", "PASSWORD"))
    try:
        return Settings(address=parse_address(url), username=user, password=password)
    except ValueError as error:
        raise UsageError(f"--mqtt-broker: {error}") from None


def _say_problems(problems: Sequence[Problem]) -> None:
    """On standard error, as all that a run says; ``validate`` prints the same lines as its result."""
    for problem in problems:
        print(problem, file=sys.stderr)
    print("flowrunner: nothing was started", file=sys.stderr)


def _test(options: argparse.Namespace) -> int:
    gc.freeze()
    gc.set_threshold(50_000)  # many small worlds, each soon forgotten: with the usual 700 it searches all the time
    import logging as quiet

    from flowrunner import trying

    quiet.getLogger("flowrunner").setLevel(quiet.CRITICAL + 1)  # what nodes log is in the trace where it matters

    say = functools.partial(print, flush=True)  # who watches through a pipe sees each run when it ends

    def run() -> int:
        return trying.run_tests(
            _flows(options.flow),
            registry=lambda: _registry(options.nodes),
            name=options.name,
            junit_file=options.junit,
            coverage=options.coverage,
            limit_s=HANGS_S,
            say=say,
        )

    return trying.watch(options.flow, run, say, options.nodes) if options.watch else run()


def _replay(options: argparse.Namespace) -> int:
    gc.disable()  # for good: the program ends with this, and a search through a year's figures would find nothing
    from flowrunner import replaying
    from flowrunner.replay import Setup

    given = {} if options.prices is None else {"prices": options.prices}
    setup = Setup(
        data=options.data, first=options.first, last=options.last, step=options.step, soc_percent=options.soc,
        capacity_mwh=options.capacity, power_mw=options.power, efficiency=options.efficiency, site=options.site,
        **given,
    )  # fmt: skip
    return replaying.replay(
        _flows([options.flow])[0],
        setup,
        environment=_environment(options),
        registry=_registry(options.nodes),
        json=options.json,
        html=options.html,
        on_problems=_say_problems,
    )


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "test": _test,
    "validate": _validate,
    "nodes": _nodes,
    "schema": _schema,
    "simulate": _simulate,
    "replay": _replay,
    **OF_A_FOLDER,
    **OF_AN_ENGINE,
}
