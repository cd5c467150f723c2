"""The files of flows: which ones a path means, what they say, and the one check of them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from flowrunner.errors import Problem, UsageError
from flowrunner.flowfile import CASES_SUFFIX
from flowrunner.graph import Checked, check_flows
from flowrunner.reading import read_regular
from flowrunner.registry import Registry


def flow_files(paths: Iterable[Path]) -> list[Path]:
    """Files as given, folders by their ``*.yaml`` and ``*.yml``. UsageError where there is nothing, and for a file of
    tests: it is no flow."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(one for one in path.iterdir() if _is_flow(one))
            if not found:
                raise UsageError(f"{path} has no *.yaml file; name a flow file")
            files += found
        elif path.name.endswith(CASES_SUFFIX):
            raise UsageError(f"{path} has tests and no flow; `flowrunner test {path}` runs them")
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"there is no file {path}")
    return list(dict.fromkeys(files))


def _is_flow(file: Path) -> bool:
    """Of what is in a folder. Editors and systems keep their own beside it, as ``.#site.yaml`` and ``._site.yaml``. A
    link that leads nowhere counts: that a flow is away must be said."""
    name = file.name
    if name.startswith(".") or name.endswith(CASES_SUFFIX) or file.suffix not in (".yaml", ".yml"):
        return False
    return not file.is_dir()


def check_files(
    paths: Iterable[Path], environment: Mapping[str, str], registry: Registry, *, simulated: bool = False
) -> Checked:
    """Validate files: the same check for ``validate``, ``run``, reload, the API and editors."""
    texts, problems = read_files(flow_files(paths))
    checked = check_flows(texts, environment, registry, simulated=simulated)
    if not problems:
        return checked
    return Checked(None, sorted([*problems, *checked.problems], key=lambda one: one.order))


def read_files(files: Iterable[Path]) -> tuple[dict[str, str], list[Problem]]:
    """Name (as shown) → text, and those that are no text. UsageError for one that cannot be read."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            texts[str(file)] = read_regular(file).decode("utf-8")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            problems.append(
                Problem(
                    file=str(file), line=line, column=column, path="", code="encoding",
                    message="this is not UTF-8 text", hint="save the file as UTF-8",
                )
            )  # fmt: skip
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    return texts, problems
