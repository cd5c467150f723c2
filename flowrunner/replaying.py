"""``flowrunner replay``: read what it needs, show how far it is, print and write what came out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from flowrunner.errors import Problem, UsageError
from flowrunner.files import check_files
from flowrunner.registry import Registry
from flowrunner.replay import Setup, report
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
    _check(json, html)
    checked = check_files([flow], environment, registry)
    if checked.graph is None:
        on_problems(checked.problems)
        return BAD_FLOW
    with _bar() as progress:
        result = run(checked, setup, progress)
    if json != STANDARD_OUTPUT:
        print(report(result), end="")
    text = msgspec.json.encode(result).decode() + "\n" if json is not None else ""
    if json == STANDARD_OUTPUT:
        print(text, end="")
    elif json is not None:
        _write(json, text)
    if html is not None:
        from flowrunner.replay.page import page  # late: only --html needs it

        _write(html, page(result))
    return OK


def _check(json: Path | None, html: Path | None) -> None:
    """Before anything runs: a year of trading is not to be lost at the end. UsageError."""
    if html == STANDARD_OUTPUT:
        raise UsageError("--html - would write a page to the terminal; name a file")
    if json is not None and html is not None and json.resolve() == html.resolve():
        raise UsageError(f"--json and --html both name {json}")
    for target in (json, html):
        if target is None or target == STANDARD_OUTPUT:
            continue
        folder = target.resolve().parent
        if not folder.is_dir():
            raise UsageError(f"{target} cannot be written: there is no folder {target.parent}")
        if target.is_dir() or not os.access(folder, os.W_OK):
            what = "it is a folder" if target.is_dir() else f"the folder {target.parent} cannot be written"
            raise UsageError(f"{target} cannot be written: {what}")


def _write(target: Path, text: str) -> None:
    """Whole or not at all: what was there before stays until then."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists() and not target.is_file():  # a pipe or a device stays what it is
            target.write_text(text, encoding="utf-8")
            return
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
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
