"""A desk with the real editor's server on it: the schemas of this code, and flow files that find them by their own
first line.

The broken files of ``cases`` come with exactly what the server says of them. After a change that is meant::

    python -m tests.editors.desk
    git diff tests/editors
"""

from __future__ import annotations

import contextlib
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

from flowrunner.reference import example
from flowrunner.registry import Registry
from tests.editors.installed import language_server
from tests.editors.language_server import Finding, LanguageServer
from tests.peers.program import ROOT, run

CASES = Path(__file__).resolve().parent / "cases"
HEAD = "# yaml-language-server: $schema=../schemas/flow.schema.json\n"
HEAD_OF_TESTS = "# yaml-language-server: $schema=../schemas/tests.schema.json\n"
EVERY_TYPE = "(every node type)"
HOW = "if it is meant, run: python -m tests.editors.desk"


class Desk:
    """``open`` flow files, then ask what the editor shows."""

    def __init__(self, folder: Path, server: LanguageServer) -> None:
        self.folder = folder
        self.server = server
        self.registry = Registry()
        self._new = 0

    def file(self, name: str) -> Path:
        return self.folder / "flows" / name

    def untitled(self) -> Path:
        """A file that is nowhere yet."""
        self._new += 1
        return self.file(f"untitled-{self._new}.yaml")

    def open_all(self, texts: dict[str, str]) -> None:
        """All at once: the server waits a moment before it judges, and does so for all of them together."""
        for name, text in texts.items():
            self.server.open(self.file(name), text)

    def findings(self, name: str) -> list[Finding]:
        return self.server.findings(self.file(name))

    def said(self, name: str) -> str:
        """The findings as a golden text: the same whatever node types there are."""
        types = ", ".join(f'"{one}"' for one in self.registry.names)
        return "".join(f"{finding}\n" for finding in self.findings(name)).replace(types, EVERY_TYPE)

    def offered(self, text: str) -> dict[str, str]:
        """What can be written at the ▮ of a flow, and what is said about each. Without the skeletons of all that is
        required: the server makes them up, and instead of words it shows their text."""
        items = self.server.complete(self.untitled(), HEAD + text)
        said = {label: item.get("documentation", "") for label, item in items.items()}
        return {label: about for label, about in said.items() if isinstance(about, str)}

    def shown(self, text: str) -> str:
        """What is shown at the ▮ of a flow, without the marks that make it Markdown."""
        return self.server.hover(self.untitled(), HEAD + text).replace("\\", "")


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """In a folder of its own, where ``flowrunner schema --write`` put the schemas."""
    command = language_server()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        written = run("schema", "--write", folder / "schemas")
        assert written.returncode == 0, written.stderr
        with LanguageServer(command, folder) as server:
            yield Desk(folder, server)


def cases() -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in sorted(CASES.glob("*.yaml"))}


def shipped_flows() -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in sorted((ROOT / "flows").glob("*.yaml"))}


def examples() -> dict[str, str]:
    """The example of each node type, as a flow."""
    registry = Registry()
    shown = {name: textwrap.indent(example(registry.get(name)), "  ") for name in registry.names}
    return {f"example-{name}.yaml": f"{HEAD}flow: example\nnodes:\n{text}\n" for name, text in shown.items()}


def main() -> None:
    with desk() as one:
        one.open_all(cases())
        for name in cases():
            (CASES / name).with_suffix(".txt").write_text(one.said(name), encoding="utf-8")


if __name__ == "__main__":
    main()
