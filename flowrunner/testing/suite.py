"""The tests of flow files: found in them and beside them, read, and held against the flow before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowrunner.errors import Mark, Problem, did_you_mean
from flowrunner.flowfile import (
    CASES_SUFFIX,
    Branch,
    Case,
    CasesFile,
    CaseStep,
    Document,
    Environment,
    Step,
    find,
    load,
    mark_of,
    spell,
    substitute,
)
from flowrunner.flowfile.substitute import MADE_UP, SECRETS_FOLDER
from flowrunner.graph import Checked, Graph, check_flows
from flowrunner.registry import Registry
from flowrunner.schema import Form, bind, decode, schema_of
from flowrunner.testing.checking import check_case

CASES = Form(schema_of(CasesFile))
VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)")
"""One of the environment that a flow asks for, also within a default."""


BARE = {SECRETS_FOLDER: MADE_UP}
"""The environment of a test that says nothing of it: that of the machine does not count, and no secret is read."""


@dataclass(slots=True)
class Trial:
    """One test with its place, and the flow that it is of."""

    case: Case
    document: Document
    path: list[Step]
    texts: Mapping[str, str]
    """The flow files that run: name (as shown) → text."""
    flow: str
    environment: dict[str, str]
    graph: Graph | None = None
    """As checked in that environment; nothing of it has run."""

    @property
    def mark(self) -> Mark:
        return self.place("name")

    def place(self, *below: Step) -> Mark:
        """Where a part of it stands in its file."""
        return mark_of(self.document.root, [*self.path, *below])

    def name_at(self, *below: Step) -> Mark:
        """Where the last name of the way to a part stands."""
        return key_mark(self.document.root, [*self.path, *below])

    def where(self, *below: Step) -> str:
        """``flows/bess.yaml:190:9``."""
        mark = self.place(*below)
        return f"{self.document.file}:{mark.line}:{mark.column}"

    def report(self, code: str, message: str, *below: Step, hint: str = "") -> None:
        self.report_at(self.place(*below), code, message, *below, hint=hint)

    def report_at(self, mark: Mark, code: str, message: str, *below: Step, hint: str = "") -> None:
        self.document.report(mark, code, message, path=spell([*self.path, *below]), hint=hint)


@dataclass(slots=True)
class Suite:
    """All tests of one flow file."""

    file: str
    flow: str = ""
    trials: list[Trial] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Of the flow itself and of its tests, by place."""
    of_tests: list[Problem] = field(default_factory=list)
    """Those of its tests."""
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_bad(self) -> bool:
        return any(one.severity == "error" for one in self.problems)


def cases_file(flow: Path) -> Path:
    """Where the tests of a flow may stand beside it: ``bess.yaml`` → ``bess.test.yaml``."""
    return flow.with_name(f"{flow.stem}{CASES_SUFFIX}")


def is_cases_file(file: Path) -> bool:
    return file.name.endswith(CASES_SUFFIX)


def as_texts(environment: Environment) -> dict[str, str]:
    """Values as an environment has them."""
    return {name: _as_text(value) for name, value in environment.items()}


def _as_text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def read_suite(
    file: str, text: str, beside: tuple[str, str] | None, others: Mapping[str, str], registry: Registry
) -> Suite:
    """The tests of one flow file. ``beside``: name and text of its file of tests; ``others``: flow files that it may
    read from. Pure."""
    alone = {file: text}
    checked = check_flows(alone, BARE, registry)
    texts: Mapping[str, str] = alone
    if any(one.code == "unknown-flow" for one in checked.problems) and others:
        texts = {**alone, **others}
        checked = check_flows(texts, BARE, registry)
    suite = Suite(file, texts=texts)
    documents = [_part(text, file, ["flow", "vars", "tests"])]
    suite.flow = _flow_name(documents[0])
    trials = _inline(documents[0], texts, suite.flow)
    if beside is not None:
        documents.append(_part(beside[1], beside[0], None))
        trials += _beside(documents[1], texts, suite.flow)
    needs_env = checked.graph is None and trials
    suite.problems = [] if needs_env else list(checked.problems)
    _check_names(trials)
    _check_variables(trials, documents[1:], texts.values())
    if not any(one.severity == "error" for document in documents for one in document.problems):
        known: dict[tuple[tuple[str, str], ...], Checked] = {}
        for trial in trials:
            _check_flow(trial, known, registry)
        always = _of_the_flow_itself(checked, known.values())
        suite.problems = suite.problems or always
        for trial in trials if not always else ():
            _check(trial, known[_key(trial)])
    own = [one for document in documents[1:] for one in document.problems]
    own += [one for one in documents[0].problems if one.path.startswith("tests")]
    suite.of_tests = own
    suite.problems = sorted(dict.fromkeys([*suite.problems, *own]), key=lambda one: one.order)
    suite.trials = trials
    return suite


def _part(text: str, file: str, keys: Sequence[str] | None) -> Document:
    """A document of which only some keys at the top count; with its variables put in from nowhere."""
    document = load(text, file) if keys is not None else load(text, file, kind="a file of tests", begin="'tests:'")
    root = document.root
    if keys is not None:
        kept = {name: tree for name, tree in root.items.items() if name in keys}
        document.root = Branch(root.mark, kept, {name: root.keys[name] for name in kept}, root.broken)
        document.problems = []
    substitute(document, BARE)
    return document


def _flow_name(document: Document) -> str:
    return str(getattr(document.root.items.get("flow"), "text", ""))


def _inline(document: Document, texts: Mapping[str, str], flow: str) -> list[Trial]:
    tests = document.root.items.get("tests")
    if tests is None:
        return []
    bound = bind(document, ["tests"], Form(schema_of(list[Case])), "a test")
    if bound.data is None:
        return []
    return _made(decode(bound.data, list[Case]), {}, document, texts, flow)


def _beside(document: Document, texts: Mapping[str, str], flow: str) -> list[Trial]:
    if any(one.code == "syntax" for one in document.problems):
        return []  # what is missing then is not missing
    bound = bind(document, [], CASES, "a file of tests")
    if bound.data is None:
        return []
    file = decode(bound.data, CasesFile)
    return _made(file.tests, file.env, document, texts, flow)


def _made(
    cases: Iterable[Case], env: Environment, document: Document, texts: Mapping[str, str], flow: str
) -> list[Trial]:
    """``env``: of all of them; that of a case comes before it."""
    return [
        Trial(case, document, ["tests", index], texts, flow, BARE | as_texts({**env, **case.env}))
        for index, case in enumerate(cases)
    ]


def _check_names(trials: Iterable[Trial]) -> None:
    first: dict[str, Trial] = {}
    for trial in trials:
        known = first.setdefault(trial.case.name, trial)
        if known is not trial:
            hint = f"the first is at {known.where('name')}"
            trial.report("duplicate-test", "two tests have this name", "name", hint=hint)


def _check_variables(trials: Iterable[Trial], files: Iterable[Document], texts: Iterable[str]) -> None:
    """A variable that nothing asks for is a slip of the pen: the test would run without it."""
    known = sorted({name for text in texts for name in VARIABLE.findall(text)})

    def check(document: Document, environment: Iterable[str], *place: Step) -> None:
        for name in environment:
            if name not in known and name != SECRETS_FOLDER:
                hint = did_you_mean(name, known) or f"it has {', '.join(known) or 'none'}"
                mark = key_mark(document.root, [*place, name])
                path = spell([*place, name])
                document.report(mark, "unknown-variable", f"the flow asks for no {name}", path=path, hint=hint)

    for document in files:
        own = document.root.items.get("env")
        check(document, own.items if isinstance(own, Branch) else (), "env")
    for trial in trials:
        check(trial.document, trial.case.env, *trial.path, "env")
        for index, step in enumerate(trial.case.steps):
            if isinstance(step, CaseStep) and isinstance(step.reload, dict):
                check(trial.document, step.reload, *trial.path, "steps", index, "reload")


def key_mark(root: Branch, path: Sequence[Step]) -> Mark:
    """Where the last name of a path stands itself, in its map."""
    branch = find(root, [*path[:-1]])
    return branch.keys.get(str(path[-1]), branch.mark) if isinstance(branch, Branch) else mark_of(root, [*path])


def _key(trial: Trial) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(trial.environment.items()))


def _check_flow(trial: Trial, known: dict[tuple[tuple[str, str], ...], Checked], registry: Registry) -> None:
    """``known``: the flow as checked before, by environment."""
    if _key(trial) not in known:
        known[_key(trial)] = check_flows(trial.texts, trial.environment, registry)


def _of_the_flow_itself(plain: Checked, others: Iterable[Checked]) -> list[Problem]:
    """Errors that are there in no environment and in that of each test: no test can do anything about them."""
    errors = [one for one in plain.problems if one.severity == "error" and one.code != "missing-variable"]
    return [one for one in errors if all(one in other.problems for other in others)]


def _check(trial: Trial, checked: Checked) -> None:
    if checked.graph is None:
        first = next(one for one in checked.problems if one.severity == "error")
        hint = "write what it needs under env:, or run `flowrunner validate`"
        trial.report("flow", f"in this environment the flow has problems, the first: {first}", hint=hint)
        return
    trial.graph = checked.graph
    check_case(trial, checked.graph)
