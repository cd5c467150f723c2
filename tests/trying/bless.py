"""The golden texts of ``flowrunner test``: what each case of ``tests/trying/cases`` says, and its exit code.

After a change that is meant, write them anew and look at the difference::

    python -m tests.trying.bless
    git diff tests
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
from pathlib import Path

from flowrunner import cli

CASES = Path(__file__).resolve().parent / "cases"
HOW = "if it is meant, run: python -m tests.trying.bless"
JUNIT = "JUNIT"
"""In ``arguments``: a file somewhere else; what is written there is told behind the output."""
SECONDS = [(re.compile(r" in \d+\.\d\d s \("), " in # s ("), (re.compile(r'time="\d+\.\d{3}"'), 'time="#"')]


def cases() -> list[Path]:
    return sorted(one for one in CASES.iterdir() if one.is_dir())


def told(folder: Path) -> str:
    """All that is printed, with the real seconds as ``#``, and the exit code.

    It runs in the folder of the case, so that its files have the same names on every machine. ``arguments`` holds what
    stands behind ``flowrunner test``, a line each (else: ``flow.yaml``); ``nodes/`` further types.
    """
    file = folder / "arguments"
    arguments = file.read_text(encoding="utf-8").splitlines() if file.is_file() else ["flow.yaml"]
    if (folder / "nodes").is_dir():
        arguments += ["--nodes", "nodes"]
    out, wrong = io.StringIO(), io.StringIO()
    log = logging.getLogger("flowrunner")
    level = log.level
    with tempfile.TemporaryDirectory() as elsewhere:
        junit = Path(elsewhere) / "junit.xml"
        given = [str(junit) if one == JUNIT else one for one in arguments]
        try:
            with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(wrong):
                code = cli.main(["test", *given])
        finally:
            log.setLevel(level)  # the command silences it for the whole of its process
        written = junit.read_text(encoding="utf-8") if junit.is_file() else ""
    parts = [out.getvalue()]
    parts += [f"---- standard error\n{wrong.getvalue()}"] if wrong.getvalue() else []
    parts += [f"---- JUnit\n{written}"] if written else []
    text = "".join([*parts, f"---- exit code {code}\n"])
    for pattern, instead in SECONDS:
        text = pattern.sub(instead, text)
    return text


def main() -> None:
    for folder in cases():
        file, text = folder / "expected.txt", told(folder)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")


if __name__ == "__main__":
    main()
