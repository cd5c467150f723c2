"""The editor's side of the Language Server Protocol, over stdin and stdout of the real server."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

PATIENCE_S = 30.0
CURSOR = "▮"
"""Where the cursor stands in a text that a test types."""
SETTINGS = {"yaml": {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}}
"""An editor's defaults, but for the catalogue of schemas in the internet."""


class Finding(NamedTuple):
    """One squiggle in the editor; lines and columns count from 1."""

    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column} {self.text}"


class LanguageServer:
    """``with LanguageServer(command, folder) as server:`` – a session of an editor that has ``folder`` open."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._command = command
        self._folder = folder
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()  # the reader answers the server's own requests
        self._news = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._findings: dict[str, list[Finding]] = {}
        self._ended = ""
        """Why nothing more comes; empty while it runs."""

    def __enter__(self) -> LanguageServer:
        self._process = subprocess.Popen(
            [*self._command, "--stdio"], cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _begin(self) -> None:
        folder = self._folder.as_uri()
        markdown = {"contentFormat": ["markdown"]}
        item = {"documentationFormat": ["markdown"], "snippetSupport": True}
        self.ask(
            "initialize",
            processId=None,
            rootUri=folder,
            workspaceFolders=[{"uri": folder, "name": "flows"}],
            capabilities={
                "workspace": {"configuration": True, "workspaceFolders": True},
                "textDocument": {"hover": markdown, "completion": {"completionItem": item}, "publishDiagnostics": {}},
            },
        )
        self._send({"method": "initialized", "params": {}})

    # ---- what a person does ------------------------------------------------------------------------------------

    def open(self, file: Path, text: str) -> None:
        """Open ``text`` as the content of ``file``, which need not be on disk."""
        document = {"uri": file.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})

    def findings(self, file: Path) -> list[Finding]:
        """What it says about an open file, waited for."""
        self._wait(lambda: file.as_uri() in self._findings, f"findings for {file.name}")
        return sorted(self._findings[file.as_uri()])

    def complete(self, file: Path, text: str) -> dict[str, dict[str, Any]]:
        """What is offered at the ▮ of ``text``, by its label."""
        answer = self._at("textDocument/completion", file, text)
        return {item["label"]: item for item in answer["items"]}

    def hover(self, file: Path, text: str) -> str:
        """What is shown where the mouse rests on the ▮ of ``text``."""
        answer = self._at("textDocument/hover", file, text)
        return str(answer["contents"]["value"]) if answer else ""

    def _at(self, method: str, file: Path, text: str) -> Any:
        before, _, after = text.partition(CURSOR)
        self.open(file, before + after)
        line, column = before.count("\n"), len(before.rpartition("\n")[2])
        return self.ask(method, textDocument={"uri": file.as_uri()}, position={"line": line, "character": column})

    # ---- messages ----------------------------------------------------------------------------------------------

    def ask(self, method: str, **params: Any) -> Any:
        """A request and its result. AssertionError when it is refused, or does not come."""
        number = next(self._numbers)
        self._send({"id": number, "method": method, "params": params})
        self._wait(lambda: number in self._answers, f"an answer to {method}")
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        with self._news:
            self._news.wait_for(lambda: self._ended or done(), PATIENCE_S)
            assert done(), f"the language server gave no {what} {self._ended or f'within {PATIENCE_S} s'}"

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0"} | message).encode()
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        ended = "before it ended"
        try:
            while (message := _message(self._process.stdout)) is not None:
                self._take(message)
        except Exception as error:
            ended = f"before {error!r}"
            raise
        finally:
            with self._news:
                self._ended = ended
                self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            with self._news:
                self._answers[message["id"]] = message
                self._news.notify_all()
        elif message["method"] == "textDocument/publishDiagnostics":
            with self._news:
                self._findings[message["params"]["uri"]] = [_finding(one) for one in message["params"]["diagnostics"]]
                self._news.notify_all()
        elif "id" in message:
            self._send({"id": message["id"], "result": _answer(message)})


def _answer(message: dict[str, Any]) -> Any:
    """The server asks for settings; everything else that it asks for needs no more than a yes."""
    if message["method"] != "workspace/configuration":
        return None
    return [SETTINGS.get(item.get("section", "")) for item in message["params"]["items"]]


def _finding(diagnostic: dict[str, Any]) -> Finding:
    start = diagnostic["range"]["start"]
    return Finding(start["line"] + 1, start["character"] + 1, diagnostic["message"])


def _message(pipe: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None at the end."""
    length = 0
    while (line := pipe.readline().strip()) or not length:
        if not line:
            return None
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    found: dict[str, Any] = json.loads(pipe.read(length))
    return found
