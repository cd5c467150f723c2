"""``flowrunner test``: the tests of flow files, found, run and told of."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowrunner.errors import Problem, UsageError
from flowrunner.files import flow_files, read_files
from flowrunner.flowfile import CASES_SUFFIX
from flowrunner.registry import Registry
from flowrunner.testing.coverage import coverage_of
from flowrunner.testing.playing import Outcome, play
from flowrunner.testing.suite import Suite, cases_file, is_cases_file, read_suite
from flowrunner.testing.telling import coverage_lines, failed, junit, junit_of_problems, lines, summary

OK, FAILED, USAGE, BAD_FLOW = 0, 1, 2, 78
DEFAULT = Path("flows")
"""Where flows are looked for when none is named; else here."""
FEW = 20
"""So many tests are seen at a glance."""
WATCH_FOR_MS = 200
"""Milliseconds in which changes count as one."""


def run_tests(
    paths: Sequence[Path],
    *,
    registry: Callable[[], Registry],
    name: str = "",
    junit_file: Path | None = None,
    coverage: bool = False,
    limit_s: float | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run the tests of flow files; the exit code. UsageError when there is nothing to run.

    ``name``: only tests whose name holds this text. ``limit_s``: seconds after which a test that hangs ends the
    process. ``registry`` is asked anew: files of node types may have changed.
    """
    types = registry()
    suites = read_suites(paths, types)
    problems = [problem for suite in suites for problem in suite.problems if problem.severity != "note"]
    for problem in problems:
        say(str(problem))
    if any(suite.is_bad for suite in suites):
        if junit_file is not None:  # an older one would say that all is well
            _write(junit_file, junit_of_problems([one for one in problems if one.severity == "error"]))
        say("flowrunner: nothing was tested")
        return BAD_FLOW
    by_file: dict[str, list[Outcome]] = {}
    seconds: dict[str, float] = {}
    begun = time.perf_counter()
    for suite in suites:
        wanted = [one for one in suite.trials if name.casefold() in one.case.name.casefold()]
        if not wanted:
            if not suite.trials and len(suites) > 1:
                say(f"{suite.file}: there are no tests")
            continue
        outcomes = by_file[suite.file] = []
        say(suite.file)
        for trial in wanted:
            before = time.perf_counter()
            with _watchdog(limit_s):
                outcomes.append(play(trial, types))
            seconds[trial.where("name")] = time.perf_counter() - before
            for line in lines(outcomes[-1]):
                say(line)
        if coverage:
            few = f"{len(wanted)} of {len(suite.trials)} tests" if len(wanted) < len(suite.trials) else ""
            for line in coverage_lines(suite.file, coverage_of(suite, outcomes), few):
                say(line)
    if not by_file:
        _nothing(suites, name)
    if junit_file is not None:
        _write(junit_file, junit(by_file, seconds))
    everything = [one for outcomes in by_file.values() for one in outcomes]
    if len(everything) > FEW:
        for line in failed(everything):
            say(line)
    say(summary(everything, time.perf_counter() - begun))
    return OK if all(one.ok for one in everything) else FAILED


@contextmanager
def _watchdog(limit_s: float | None) -> Iterator[None]:
    """A node that never lets go of the processor cannot be stopped from within: then the program says where it is, and
    ends with 1."""
    if limit_s is not None and sys.__stderr__ is not None:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        if limit_s is not None:
            faulthandler.cancel_dump_traceback_later()


def watch(
    paths: Sequence[Path], run: Callable[[], int], say: Callable[[str], None] = print, more: Sequence[Path] = ()
) -> int:
    """Run once, and again with every change of a file beside the flows or in one of the folders ``more``, until
    Ctrl-C."""
    import watchfiles

    folders = sorted({(path if path.is_dir() else path.parent) for path in [*_given(paths), *more]})
    if not all(folder.is_dir() for folder in folders):
        return run()  # which says so
    changes = watchfiles.watch(
        *folders, watch_filter=_counts, debounce=WATCH_FOR_MS, rust_timeout=WATCH_FOR_MS, yield_on_timeout=True,
    )  # fmt: skip
    next(changes)  # it looks from here on: nothing that changes during the first run is missed
    code = run()
    waits = f"watching {', '.join(map(str, folders))}; Ctrl-C ends"
    try:
        say(waits)
        for changed in changes:
            if not changed:
                continue  # nothing for a while
            say(f"\nchanged: {', '.join(sorted(Path(name).name for _, name in changed))}")
            try:
                code = run()
            except UsageError as error:  # a file that is away while it is being saved
                code = USAGE
                say(f"flowrunner: {error}")
            say(waits)
    except KeyboardInterrupt:
        return code  # of the last run: that is how one ends it
    return code


def _counts(change: object, path: str) -> bool:
    return path.endswith((".yaml", ".yml", ".py"))


def _given(paths: Sequence[Path]) -> Sequence[Path]:
    return paths or [DEFAULT if DEFAULT.is_dir() else Path()]


def without_cases(paths: Sequence[Path]) -> list[Path]:
    """The paths, with the flow in place of its file of tests."""
    return [_flow_of(path) if is_cases_file(path) else path for path in paths]


def problems_of_tests(paths: Sequence[Path], registry: Registry) -> list[Problem]:
    """What is wrong with the tests of these flows."""
    return [problem for suite in read_suites(paths, registry, tested_only=True) for problem in suite.of_tests]


def _flow_of(cases: Path) -> Path:
    if not cases.is_file():
        raise UsageError(f"there is no file {cases}")
    found = _flows_of(cases)
    if not found:
        raise UsageError(str(_without_flow(cases)))
    return found[0]


def _flows_of(cases: Path) -> list[Path]:
    name = cases.name.removesuffix(CASES_SUFFIX)
    return [one for end in (".yaml", ".yml") if (one := cases.with_name(f"{name}{end}")).is_file()]


def _without_flow(cases: Path) -> Problem:
    """When a flow is renamed, its tests must not go silently."""
    flow = f"{cases.name.removesuffix(CASES_SUFFIX)}.yaml"
    return Problem(
        file=str(cases), line=1, column=1, path="", code="no-flow",
        message=f"these are tests of {flow}, and there is none",
        hint="the two have the same name and stand in the same folder",
    )  # fmt: skip


def read_suites(paths: Sequence[Path], registry: Registry, *, tested_only: bool = False) -> list[Suite]:
    """The suites of flow files and of folders of them; a file of tests stands for its flow. ``tested_only``: a flow
    that has no tests is not checked for their sake."""
    given = _given(paths)
    inside = sorted(one for path in given if path.is_dir() for one in path.iterdir() if is_cases_file(one))
    alone = [one for one in [*given, *inside] if is_cases_file(one) and one.is_file() and not _flows_of(one)]
    texts, problems = read_files(flow_files(without_cases([one for one in given if one not in alone])))
    problems += map(_without_flow, dict.fromkeys(alone))
    beside, wrong = read_files(cases_file(Path(name)) for name in texts if cases_file(Path(name)).is_file())
    suites = [Suite(one.file, problems=[one]) for one in [*problems, *wrong]]
    for name, text in texts.items():
        own = str(cases_file(Path(name)))
        if tested_only and own not in beside and "tests" not in text:
            continue
        others = {other: one for other, one in texts.items() if other != name}
        suites.append(read_suite(name, text, (own, beside[own]) if own in beside else None, others, registry))
    return suites


def _nothing(suites: Iterable[Suite], name: str) -> None:
    known = [one.case.name for suite in suites for one in suite.trials]
    if known:
        count = f"there are {len(known)}, like" if len(known) > 1 else "the only one is"
        raise UsageError(f"no test has {name!r} in its name; {count} {known[0]!r}")
    files = ", ".join(suite.file for suite in suites)
    raise UsageError(f"there are no tests in {files}; write tests: in the flow file, or NAME{CASES_SUFFIX} beside it")


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
