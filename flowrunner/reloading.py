"""A reload, from outside the engine: files read again, checked beside the running flows, handed over, and told.

Whatever is wrong, what ran before runs on: a file that is no flow, one that is away, a variable that is missing, a
route that would be open to other machines. One at a time; who asks during one is served by the next.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flowrunner.beside import beside_others, in_a_thread, whereabouts
from flowrunner.changeover import Reloaded
from flowrunner.engine import Engine
from flowrunner.errors import Problem, UsageError
from flowrunner.files import flow_files, read_files
from flowrunner.graph import Checked, Graph, check_flows
from flowrunner.logs import Secrets
from flowrunner.registry import Registry

AGAIN_S, LONGEST_AGAIN_S = 5.0, 60.0
"""Seconds after which a reload that failed is tried again by itself; doubled each time, up to the latter."""
MOST_NAMES = 20
"""Nodes that a line of the log names; of the others it tells the number."""
SLOW_S = 30.0
"""A check that takes longer is warned of, and does not hold up the next reload."""
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "note": logging.INFO}
log = logging.getLogger("flowrunner.reload")


class Sources(NamedTuple):
    """What is read again with each reload, and how it is bound to the world that the flows run in."""

    paths: Sequence[Path]
    environment: Callable[[], Mapping[str, str]]
    """Reads it again. UsageError where ``env_file`` is not as it must be."""
    env_file: Path | None
    registry: Registry
    simulated: bool = False
    bind: Callable[[Mapping[str, str]], Mapping[str, str]] = dict
    """The environment as the flows find it in their world."""
    turn: Callable[[Graph], object] = lambda _: None
    """Changes a checked graph before anything of it runs."""
    exposed: Callable[[Graph], Iterable[Problem]] = lambda _: ()
    """What other machines could reach without a good key."""

    def read(self, running: Graph | None = None) -> tuple[Checked, Registry]:
        """The flows as they are in the files now, and the node types that they were checked with. ``running``: the
        graph that runs, of which what has not changed is taken over."""
        registry = self.registry.refreshed()
        texts, problems, away = _texts(self.paths)
        environment: Mapping[str, str] = {}
        try:
            environment = self.bind(self.environment())
        except UsageError as error:
            away.append(_of_env_file(self.env_file, str(error)))
        if away:  # what the others say of it would only repeat that
            return Checked(None, [*away, *problems]), registry
        checked = check_flows(texts, environment, registry, simulated=self.simulated, before=running)
        if checked.graph is not None:
            self.turn(checked.graph)
            problems += self.exposed(checked.graph)
        if problems:
            return Checked(None, sorted([*problems, *checked.problems], key=lambda one: one.order)), registry
        return checked, registry


class Reloader:
    """Reloads one engine. ``secrets`` of new files are masked in the log before anything is said of them."""

    def __init__(
        self, engine: Engine, sources: Sources, secrets: Secrets, *, slow_s: float = SLOW_S, again_s: float = AGAIN_S
    ) -> None:
        """``slow_s``: seconds after which a check holds up nobody any more; ``again_s``: after which a reload that
        failed is tried again."""
        self._engine, self._sources, self._secrets = engine, sources, secrets
        self._slow_s, self._again_s = slow_s, again_s
        self._now: asyncio.Task[Reloaded] | None = None
        self._next: asyncio.Task[Reloaded] | None = None
        self._by: tuple[str, str] = ("", "")
        """Who asked last for what is read next, and from where."""
        self._check: asyncio.Future[tuple[Checked, Registry]] | None = None
        """Of the files, as long as it runs; cancelled, nobody waits for it any more."""
        self._slow = False
        self._refused = False
        self._closed = False
        self._failures = 0
        self._again: asyncio.TimerHandle | None = None

    async def reload(self, by: str = "", origin: str = "") -> Reloaded:
        """What became of the files as they were when this was called, or later. ``by`` and ``origin``: for the audit,
        who asks and from where."""
        asked = self._ask()
        self._by = (by, origin)
        return await asyncio.shield(asked)

    def ask(self) -> None:
        """The same for who does not wait."""
        if not self._closed:
            self._ask().add_done_callback(_said)

    async def on(self, signal: asyncio.Event) -> None:
        """A reload whenever ``signal`` is set; who sends one is told also that nothing is new."""
        while True:
            await signal.wait()
            signal.clear()
            task = self._ask()
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is None and task.result().result == "unchanged":
                generation = task.result().generation
                log.info("asked to reload: the files are as what runs (generation %d)", generation)

    def refuse(self) -> None:
        """No reload begins any more, and no check of files goes on. Safe to repeat."""
        self._closed = True
        self._settle()
        if self._check is not None:
            self._check.cancel()

    async def close(self, patience_s: float) -> None:
        """The same; what is being changed already may end by itself, then it is broken off. Safe to repeat."""
        self.refuse()
        tasks = {task for task in (self._now, self._next) if task is not None and not task.done()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience_s)
            for task in late:
                task.cancel()
            if late:  # the engine puts back what it has begun
                await asyncio.wait(late, timeout=patience_s)

    def _ask(self) -> asyncio.Task[Reloaded]:
        if self._next is None:
            before = self._now if self._now is not None and not self._now.done() else None
            self._next = asyncio.get_running_loop().create_task(self._after(before), name="reload")
            if self._slow and self._check is not None:
                self._check.cancel()  # it may never end, and these files are newer
        return self._next

    async def _after(self, before: asyncio.Task[Reloaded] | None) -> Reloaded:
        if before is not None:
            await asyncio.wait({before})
        self._now, self._next = self._next, None
        try:
            return await self._reload()
        except Exception:
            log.exception("not reloaded: failed inside; this is a defect of flowrunner")
            raise

    async def _reload(self) -> Reloaded:
        began = time.perf_counter()
        if self._closed:
            raise asyncio.CancelledError
        (by, origin), self._by = self._by, ("", "")
        self._check = in_a_thread(functools.partial(self._sources.read, self._engine.graph))
        try:
            await self._until(self._check)
            checked, registry = self._check.result()
        except asyncio.CancelledError:
            if self._check.cancel() or self._closed:
                raise  # it is the reload that is broken off; nobody waits for the check any more
            return self._given_up()
        finally:
            self._check, self._slow = None, False
        if checked.graph is not None:
            self._secrets.add(checked.graph.secrets)
        done = await self._engine.reload(checked, by=by, origin=origin)
        if done.result in ("applied", "unchanged"):
            self._sources = self._sources._replace(registry=registry)
        self._tell(done, checked, time.perf_counter() - began)
        return done

    async def _until(self, check: asyncio.Future[tuple[Checked, Registry]]) -> None:
        """It is done, or given up. One that does not end must not keep for ever what is changed for a quick one."""
        with beside_others():
            await asyncio.wait({check}, timeout=self._slow_s)
        if not check.done():
            self._slow = True
            log.warning(
                "checking the files takes longer than %g s%s; what ran runs on, and the next reload does not wait for"
                " it: mend the file, or look after its drive", self._slow_s, whereabouts(),
            )  # fmt: skip
            await asyncio.wait({check})

    def _settle(self) -> None:
        """Another attempt by itself is not wanted any more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if not self._refused:
            self._failures = 0

    def _given_up(self) -> Reloaded:
        self._refused, why = True, "the check of the files did not end, and was asked for again"
        log.error("not reloaded: %s; what ran runs on (generation %d)", why, self._engine.generation)
        return Reloaded("failed", self._engine.generation, why)

    def _tell(self, done: Reloaded, checked: Checked, seconds: float) -> None:
        """One line of what came of it, behind the problems; nothing where nothing is new."""
        was_refused, self._refused = self._refused, done.result in ("refused", "failed")
        self._settle()
        if done.result == "unchanged":
            if was_refused:
                log.info("the files are again as what runs (generation %d)", done.generation)
            return
        problems = done.problems if self._refused else checked.problems
        say_problems([problem for problem in problems if problem.severity != "note"])
        if done.result == "failed" and not self._closed:  # what a node lacked may be there in a moment
            wait = min(self._again_s * 2**self._failures, LONGEST_AGAIN_S)
            self._failures = min(self._failures + 1, 10)
            self._again = asyncio.get_running_loop().call_later(wait, self.ask)
            log.error(
                "not reloaded: %s; what ran runs on (generation %d), and it is tried again in %g s",
                done.reason, done.generation, wait,
            )  # fmt: skip
        elif self._refused:
            log.error("not reloaded: %s; what ran runs on (generation %d)", _why(done), done.generation)
        else:
            log.info("reloaded in %.3g s: %s (generation %d)", seconds, changes(done), done.generation)


def say_problems(problems: Iterable[Problem]) -> None:
    """Problems as lines of the log."""
    for problem in problems:
        log.log(LEVELS[problem.severity], "%s", problem)


def changes(done: Reloaded) -> str:
    """What another graph has changed, by addresses: ``changed bess/scale, added bess/audit``."""
    kinds = {"added": done.added, "removed": done.removed, "changed": done.changed, "rewired": done.rewired}
    return "; ".join(f"{kind} {_names(names)}" for kind, names in kinds.items() if names) or "no node has changed"


def _why(done: Reloaded) -> str:
    """Of a refusal; what is wrong is said already, as problems."""
    errors = sum(one.severity == "error" for one in done.problems)
    return f"the files have {'a problem' if errors == 1 else f'{errors} problems'}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _texts(paths: Iterable[Path]) -> tuple[dict[str, str], list[Problem], list[Problem]]:
    """Name (as shown) → text, what is no text, and what cannot be read at all."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    away: list[Problem] = []
    for path in paths:
        try:
            files = flow_files([path])
        except UsageError:
            text = "there is no *.yaml file in this folder any more" if path.is_dir() else "it is not there any more"
            away.append(_unreadable(path, text))
            continue
        for file in files:
            try:
                found, wrong = read_files([file])
            except UsageError as error:
                away.append(_unreadable(file, str(error).removeprefix(f"{file} ")))
                continue
            texts |= found
            problems += wrong
    return texts, problems, away


def _of_env_file(file: Path | None, text: str) -> Problem:
    """What is wrong with it as a problem; its text begins with the place."""
    line, colon, rest = text.removeprefix(f"{file}:").partition(": ")
    if colon and line.isdecimal():
        return _unreadable(file or Path(), rest, int(line))
    return _unreadable(file or Path(), text.removeprefix(f"{file} "))


def _unreadable(file: Path, text: str, line: int = 1) -> Problem:
    return Problem(file=str(file), line=line, column=1, path="", code="unreadable", message=text)


def _said(task: asyncio.Task[Reloaded]) -> None:
    """What went wrong is in the log already."""
    if not task.cancelled():
        task.exception()
