"""The floors of the house: a file imports only from the floors below its own, wherever the import stands."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS: dict[int, set[str]] = {
    0: {
        "__init__",
        "errors",
        "message",
        "clock",
        "units",
        "http",
        "logs",
        "pick",
        "shape",
        "sheet",
        "sockets",
        "stderr",
        "reading",
        "hangup",
    },
    1: {
        "flowfile",
        "schema",
        "expression",
        "template",
        "fields",
        "standing",
        "body",
        "embedded",
        "envfile",
        "httpclient",
    },
    2: {"node", "registry", "graph", "store", "modbus", "mqtt", "market", "exchange", "battery", "orders"},
    3: {"runtime", "connections", "files"},
    4: {"engine", "routes", "changeover", "identities", "noted", "views", "shown", "reference"},
    5: {"testing", "replay", "simulate", "web"},
    6: {
        "admitting",
        "argument",
        "beside",
        "cli",
        "commands",
        "folder_commands",
        "deciding",
        "lettering",
        "people_arguments",
        "people_commands",
        "reloading",
        "remote",
        "replaying",
        "running",
        "simulating",
        "terminal",
        "trading",
        "trying",
        "watching",
        "welcome",
        "__main__",
    },
}
"""Floor → rooms: the modules and packages directly under ``flowrunner/``."""

DOMAINS = {"modbus", "mqtt", "market", "exchange", "battery"}
"""Plain Python about one field each: they know nothing of nodes, of flows, or of each other."""

NOT_FOR_DOMAINS = {"flowfile"} | FLOORS[2]
NODE_FLOOR = 4
"""Node files stand on everything below the engine."""
NODE_LIBRARIES = sys.stdlib_module_names | {"msgspec", "cronsim"}
OUTSIDE = {"nodes", "tests", "bench"}
"""Beside the package, not in the wheel under these names: importing them works in a checkout only."""

FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def imported(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Every import as (line, dotted path), in functions and under TYPE_CHECKING too; relative ones resolved.

    ``from flowrunner import x`` counts as ``flowrunner.x``: that is how a room is spelled there.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            if base == ["flowrunner"]:
                yield from ((node.lineno, [*base, alias.name]) for alias in node.names)
            else:
                yield node.lineno, base


def room_of(path: list[str]) -> str:
    """``flowrunner.schema.walk`` → ``schema``; the package itself and its ``__version__`` → ``__init__``."""
    return path[1] if len(path) > 1 and path[1] != "__version__" else "__init__"


def violations(file: str, source: str) -> list[str]:
    """What ``file`` (relative to the repository, with ``/``) imports and must not, as sentences."""
    *folders, name = file.removesuffix(".py").split("/")
    is_node = folders == ["nodes"]
    room = name if is_node else room_of([*folders, name])
    if not is_node and room not in FLOOR_OF:
        return [f"{file}: the room {room!r} has no floor yet; add it to FLOORS at the top of tests/test_floors.py"]

    found = []
    for line, path in imported(ast.parse(source, file), ["flowrunner", "nodes"] if is_node else folders):
        complaint = ""
        if path[0] == "flowrunner":
            target = room_of(path)
            if target not in FLOOR_OF:
                complaint = f"{target!r} is no room in FLOORS of tests/test_floors.py"
            elif is_node:
                if FLOOR_OF[target] >= NODE_FLOOR:
                    complaint = f"nodes stand on floors below {NODE_FLOOR}; {target!r} is on {FLOOR_OF[target]}"
            elif FLOOR_OF[target] > FLOOR_OF[room]:
                complaint = f"{target!r} is on floor {FLOOR_OF[target]}, above {room!r} on {FLOOR_OF[room]}"
            elif room in DOMAINS and target != room and target in NOT_FOR_DOMAINS:
                complaint = f"the domain library {room!r} knows nothing of {target!r}"
        elif path[0] in OUTSIDE:
            complaint = f"{path[0]!r} is not a package of the installed program"
        elif is_node and path[0] not in NODE_LIBRARIES:
            complaint = f"a node file uses flowrunner, the standard library and msgspec; {path[0]!r} belongs in a room"
        if complaint:
            found.append(f"{file}:{line}: imports {'.'.join(path)}: {complaint}")
    return found


def sources() -> list[Path]:
    return sorted([*(ROOT / "flowrunner").rglob("*.py"), *(ROOT / "nodes").glob("*.py")])


def test_every_file_stands_on_the_floors_below_it() -> None:
    found = [
        complaint
        for path in sources()
        for complaint in violations(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(["", *found])


def test_the_walk_finds_the_code() -> None:
    assert {"flowrunner/errors.py", "flowrunner/flowfile/loader.py"} <= {
        path.relative_to(ROOT).as_posix() for path in sources()
    }


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("flowrunner/schema/walk.py", "from flowrunner.flowfile.document import Leaf\nimport msgspec"),
        ("flowrunner/node.py", "from flowrunner import __version__\nfrom flowrunner.schema import Ref"),
        (
            "flowrunner/modbus/codec.py",
            "from flowrunner.modbus.types import Kind\nfrom . import orders\nfrom ..units import iso",
        ),
        ("flowrunner/runtime/worker.py", "from .inbox import Inbox\nfrom flowrunner import connections"),
        ("flowrunner/cli.py", "def run():\n    from flowrunner.engine import Engine"),
        ("nodes/modbus_in.py", "import math\nimport msgspec\nfrom flowrunner.modbus import Client"),
        ("nodes/mqtt_in.py", "from flowrunner.connections import shared"),
    ],
)
def test_allowed(file: str, source: str) -> None:
    assert violations(file, source) == []


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("flowrunner/errors.py", "from flowrunner.schema import Ref", "'schema' is on floor 1"),
        ("flowrunner/errors.py", "def f():\n    import flowrunner.engine", "errors.py:2: imports flowrunner.engine"),
        ("flowrunner/units.py", "if TYPE_CHECKING:\n    from flowrunner.node import Node", "'node' is on floor 2"),
        ("flowrunner/__init__.py", "from .node import Node", "'node' is on floor 2"),
        ("flowrunner/__init__.py", "from . import engine", "'engine' is on floor 4"),
        ("flowrunner/runtime/worker.py", "from ..engine import Engine", "'engine' is on floor 4"),
        ("flowrunner/modbus/client.py", "from flowrunner.node import Node", "'modbus' knows nothing of 'node'"),
        ("flowrunner/modbus/client.py", "from flowrunner import mqtt", "'modbus' knows nothing of 'mqtt'"),
        ("flowrunner/market/slots.py", "from flowrunner.flowfile import load", "'market' knows nothing of 'flowfile'"),
        ("flowrunner/battery/model.py", "from ..runtime import Worker", "'runtime' is on floor 3"),
        ("flowrunner/shed.py", "", "'shed' has no floor yet; add it to FLOORS"),
        ("flowrunner/shed/spade.py", "", "'shed' has no floor yet; add it to FLOORS"),
        ("flowrunner/engine.py", "from flowrunner.shed import spade", "'shed' is no room in FLOORS"),
        ("flowrunner/engine.py", "import nodes.log", "'nodes' is not a package of the installed program"),
        ("nodes/log.py", "from flowrunner.engine import Engine", "'engine' is on 4"),
        ("nodes/log.py", "import pymodbus.client", "'pymodbus' belongs in a room"),
        ("nodes/log.py", "from flowrunner.nodes.scale import Scale", "'nodes' is no room"),
        ("nodes/log.py", "from .scale import Scale", "'nodes' is no room"),
    ],
)
def test_refused(file: str, source: str, complaint: str) -> None:
    (found,) = violations(file, source)
    assert complaint in found
