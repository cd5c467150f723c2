"""``flowrunner replay``: read what it needs, show how far it is, print and write what came out."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from flowrunner.engine import check_files
from flowrunner.errors import Problem, UsageError
from flowrunner.registry import Registry
from flowrunner.replay import Result, Setup, report
from flowrunner.replay import replay as run
from flowrunner.terminal import wanted

OK, BAD_FLOW = 0, 78
STANDARD_OUTPUT = Path("-")


def replay(
    flow: Path,
    setup: Setup,
    *,
    environment: Mapping[str, str],
    registry: Registry,
    json: Path | None,
    html: Path | None,
    on_problems: Callable[[Sequence[Problem]], None],
) -> int:
    """Run the command; its exit code. UsageError and FlowrunnerError say why there are no figures."""
    for target in (json, html):
        if target is not None and target != STANDARD_OUTPUT and not target.resolve().parent.is_dir():
            raise UsageError(f"{target} cannot be written: there is no folder {target.parent}")
    gc.disable()  # for good: the program ends with this, and a search through a year's figures would find nothing
    checked = check_files([flow], environment, registry)
    if checked.graph is None:
        on_problems(checked.problems)
        return BAD_FLOW
    with _bar() as progress:
        result = run(checked, setup, progress)
    if json != STANDARD_OUTPUT:
        print(report(result), end="")
    if json is not None:
        _write_json(json, result)
    if html is not None:
        _write_page(html, result)
    return OK


def _write_json(target: Path, result: Result) -> None:
    text = msgspec.json.encode(result) + b"\n"
    if target == STANDARD_OUTPUT:
        print(text.decode(), end="")
        return
    _write(target, text)


def _write(target: Path, content: bytes) -> None:
    try:
        target.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None


def _write_page(target: Path, result: Result) -> None:
    from flowrunner.replay.page import write_page  # late: only --html needs it

    try:
        write_page(target, result)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from None


@contextmanager
def _bar() -> Iterator[Callable[[float], None]]:
    """How far it is, on standard error where a person looks at it; gone when it is done."""
    if not wanted(sys.stderr, os.environ):
        yield lambda share: None
        return
    from rich.console import Console  # late: a tenth of a second
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replay"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replay", total=1.0)
        yield lambda share: progress.update(task, completed=share)
