"""The golden texts: what each case of ``tests/cases`` says, and what ``flowrunner nodes`` prints.

After a change that is meant, write them anew and look at the difference::

    python -m tests.bless
    git diff tests
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from flowrunner import reference
from flowrunner.envfile import read_env_file
from flowrunner.files import check_files
from flowrunner.graph import Checked
from flowrunner.registry import Registry, shipped

CASES = Path(__file__).resolve().parent / "cases"
REFERENCE = Path(__file__).resolve().parent / "reference"
PACKAGE = str(shipped("nodes").parent)
HOW = "if it is meant, run: python -m tests.bless"


def cases() -> list[Path]:
    """Every folder with a flow file."""
    return sorted(folder for folder in CASES.iterdir() if (folder / "flow.yaml").is_file())


def check(folder: Path) -> Checked:
    """Check the flow files of a case in its folder, so that they have the same names on every machine.

    ``env`` holds the environment, ``nodes/`` further types.
    """
    with contextlib.chdir(folder):
        env = Path("env")
        nodes = Path("nodes")
        registry = Registry([nodes] if nodes.is_dir() else [])
        return check_files([Path()], read_env_file(env) if env.is_file() else {}, registry)


def problems(checked: Checked) -> str:
    """The text form of every problem, a line (and a line for its hint) each; files relative to the case."""
    return "".join(f"{one}\n" for one in checked.problems).replace(PACKAGE, "FLOWRUNNER")


def told() -> dict[Path, str]:
    """What ``flowrunner nodes`` and ``flowrunner nodes TYPE`` print."""
    registry = Registry()
    texts = {"nodes": reference.listing(registry)}
    texts |= {f"nodes-{name}": reference.describe(registry, name) for name in registry.names}
    return {REFERENCE / f"{name}.txt": f"{text}\n" for name, text in texts.items()}


def main() -> None:
    golden = {folder / "problems.txt": problems(check(folder)) for folder in cases()}
    for file, text in {**golden, **told()}.items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")


if __name__ == "__main__":
    main()
