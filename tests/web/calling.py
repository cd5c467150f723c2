"""Calling a running API as its description says: schemathesis, as a program of its own, over a real socket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowrunner.engine import Engine

CONFIG = """
# What an orchestrator asks for: with a peer away, "not ready" has to be 503, which elsewhere would be a failure.
[[operations]]
include-path = "/health/ready"
checks.not_a_server_error.expected-statuses = ["200", "4xx", "503"]
"""
STREAM = "/api/v1/live"
"""It has no end, and nobody here could wait for it; test_live.py reads it."""
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def strict(document: Any, engine: Engine) -> Any:
    """The document for a test: no member beyond those described, and places in paths are those that exist.

    Else an undescribed member would pass, and every name that is made up would only find 404.
    """
    document = _closed(document)
    document["paths"].pop(STREAM, None)
    for path, operations in document["paths"].items():
        nodes = [
            one
            for one in engine.graph.nodes.values()
            if path.replace("{flow}", one.flow).replace("{node}", one.id) not in document["paths"]
        ]
        names = {"flow": list(engine.graph.flows), "node": [one.id for one in nodes]}
        for operation in operations.values():
            for one in operation["parameters"]:
                if one["in"] == "path" and one["name"] in names:
                    one["schema"] = {"enum": [*names[one["name"]], "nobody"]}
    return document


def _closed(one: Any) -> Any:
    if isinstance(one, list):
        return [_closed(below) for below in one]
    if not isinstance(one, dict):
        return one
    if one.get("title") == "Refusal":  # a part of each refusal, which is closed as a whole
        return one
    made = {name: below if name in ("example", "const", "enum") else _closed(below) for name, below in one.items()}
    if "allOf" in made or (made.get("type") == "object" and "properties" in made):
        made.setdefault("unevaluatedProperties", False)
    return made


async def call(url: str, document: Any, folder: Path, *options: str, headers: Mapping[str, str] | None = None) -> str:
    """Run every check; AssertionError with the program's report when one finds something. The report else."""
    file = folder / "openapi.json"
    file.write_text(json.dumps(document), "utf-8")
    (folder / "schemathesis.toml").write_text(CONFIG, "utf-8")
    given = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS, "run", str(file), "--url", url, "--checks", "all", "--no-color", "--request-timeout", "10",
        *given, *options,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    report = out.decode()
    assert process.returncode == 0, report
    return report
