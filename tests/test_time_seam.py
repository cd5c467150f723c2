"""Time and chance come in by their doors only.

What happens in a flow depends on its messages and on flow time, so that a year runs in seconds and twice the same way:
nodes and the runtime ask ``ctx`` and the clock; they never look at a wall clock, wait, or throw dice by themselves.

A bound on the work of others (``asyncio.timeout``, ``wait_for``, ``wait``) is allowed there: it is I/O time by
contract, kept by the running loop and so virtual in the virtual one, and it ends a wait for something else instead of
being one. ``random.Random(seed)`` is allowed: it says the same in every run.

Tests wait for what they wait for, never for time to go by: no sleep but in virtual time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

NOW = "reads a clock by itself; use ctx.now() or the clock that the runtime was given"
WAITS = "waits by itself; use ctx.sleep_until or ctx.timer, in the runtime flowrunner/clock/io_time.py"
METER = "measures by itself; use stopwatch of flowrunner/clock/io_time.py"
CHANCE = "is chance that nobody can repeat; use random.Random(seed), with a seed that is the same in every run"

FORBIDDEN = {
    "time": NOW,
    "time.sleep": WAITS,
    **dict.fromkeys((f"time.{name}{ns}" for name in ("perf_counter", "process_time", "thread_time")
                     for ns in ("", "_ns")), METER),
    **dict.fromkeys((f"datetime.{name}" for name in ("datetime.now", "datetime.utcnow", "datetime.today",
                                                     "date.today")), NOW),
    **dict.fromkeys(("email.utils.localtime", "email.utils.formatdate", "loop.time", "anyio.current_time"), NOW),
    **dict.fromkeys(("asyncio.sleep", "asyncio.tasks.sleep", "anyio.sleep", "anyio.sleep_until", "trio", "sched",
                     "loop.call_later", "loop.call_at", "threading.Timer", "signal.alarm", "signal.setitimer"), WAITS),
    **dict.fromkeys(("random", "secrets", "uuid.uuid1", "uuid.uuid4", "os.urandom", "os.getrandom"), CHANCE),
}  # fmt: skip
"""What nodes and runtime do not use, and why; a module stands for all that is in it. ``loop`` is any event loop."""
HARMLESS = {"time.struct_time", "time.strptime", "secrets.compare_digest"}
SEEDED = "random.Random"

SLEEPS = {
    "time.sleep", "asyncio.sleep", "asyncio.tasks.sleep", "anyio.sleep", "anyio.sleep_until", "trio.sleep",
    "threading.Timer", "threading.Event().wait", "flowrunner.clock.io_time.pause",
}  # fmt: skip
SLEEP = "waits for time to go by; wait for what is to happen (tests/peers/until.py), or run in virtual time"
MAY_SLEEP = {
    "tests/peers/until.py": "the one place that looks again and again",
    "tests/peers/proxy.py": "it plays a slow network",
    "tests/test_clock.py": "what asyncio.sleep does in the virtual loop is what it tests",
}
WRONG_ON_PURPOSE = "/cases/"
"""Golden folders: node files there may be no Python at all."""
LOOPS = {"asyncio.get_running_loop", "asyncio.get_event_loop", "asyncio.new_event_loop"}


class Names:
    """What the names of one file stand for, wherever they were imported."""

    def __init__(self, nodes: list[ast.AST]) -> None:
        self._imported: dict[str, str] = {}
        self.imports: list[tuple[int, str]] = []
        """Everything that is imported from a module, by its full name."""
        self._loops = {"loop", "_loop"}
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self._imported[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                    self.imports.append((node.lineno, f"{node.module}.{alias.name}"))
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and self._makes_a_loop(node.value):
                self._loops |= {_last(one) for one in (node.targets if isinstance(node, ast.Assign) else [node.target])}

    def of(self, node: ast.AST) -> str:
        """``p`` after ``from time import perf_counter as p`` → ``time.perf_counter``; "" for what is of the file."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id, "")
        if not isinstance(node, ast.Attribute):
            return ""
        holder = node.value
        if self._makes_a_loop(holder) or _last(holder) in self._loops:
            return f"loop.{node.attr}"
        if isinstance(holder, ast.Call):
            made = self.of(holder.func)
            return f"{made}().{node.attr}" if made else ""
        base = self.of(holder)
        return f"{base}.{node.attr}" if base else ""

    def _makes_a_loop(self, node: ast.AST | None) -> bool:
        return isinstance(node, ast.Call) and self.of(node.func) in LOOPS


def _last(node: ast.AST) -> str:
    """``a.b.c`` → ``c``."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def used(tree: ast.AST) -> Iterator[tuple[int, str, ast.Call | None]]:
    """Every use of an imported name as (line, full name, the call of it, if it is one), in the order of the file."""
    nodes = list(ast.walk(tree))
    names = Names(nodes)
    yield from ((line, name, None) for line, name in names.imports if name.endswith(".*"))
    calls = {node.func: node for node in nodes if isinstance(node, ast.Call)}
    within = {node.value for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute) and node not in within and (name := names.of(node)):
            call = calls.get(node)
            yield node.lineno, name, call
            if call is not None and name == "importlib.import_module":
                yield from ((node.lineno, f"{ast.literal_eval(one)}.*", None) for one in call.args[:1]
                            if isinstance(one, ast.Constant))  # fmt: skip


def why_not(name: str, call: ast.Call | None) -> str:
    """Why nodes and runtime do not use it so; "" when they may."""
    if name in HARMLESS or "()" in name:  # what an object does that was made in an allowed way
        return ""
    if name == SEEDED:  # named as a type it throws nothing
        first = [*call.args, *(one.value for one in call.keywords)][:1] if call else [None]
        unseeded = not first or (isinstance(first[0], ast.Constant) and first[0].value is None)
        return CHANCE if unseeded else ""
    name = name.removesuffix(".*")
    return FORBIDDEN.get(name) or FORBIDDEN.get(name.partition(".")[0], "")


def is_real_sleep(name: str, call: ast.Call | None) -> bool:
    """``sleep(0)`` waits for nothing: it lets the others have their turn."""
    turn = call is not None and [ast.unparse(one) for one in call.args] == ["0"] and name.startswith("asyncio.")
    return name in SLEEPS and not turn


def violations(file: str, source: str) -> list[str]:
    """What ``file`` (relative to the repository, with ``/``) does and must not, as sentences."""
    tree = ast.parse(source, file)
    if file.startswith("tests/"):
        found = [(line, name, SLEEP) for line, name, call in used(tree) if is_real_sleep(name, call)]
        return [] if file in MAY_SLEEP else [f"{file}:{line}: {name} {why}" for line, name, why in found]
    return [f"{file}:{line}: {name} {why}" for line, name, call in used(tree) if (why := why_not(name, call))]


def sources() -> dict[str, str]:
    paths = [path for folder in ("nodes", "flowrunner/runtime", "tests") for path in (ROOT / folder).rglob("*.py")]
    named = {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}
    return {name: path.read_text("utf-8") for name, path in named.items() if WRONG_ON_PURPOSE not in name}


def test_nothing_looks_at_the_time_by_itself() -> None:
    found = [complaint for file, source in sources().items() for complaint in violations(file, source)]
    assert not found, "\n".join(["", *found])


def test_the_walk_finds_the_code() -> None:
    found = sources()
    assert {"nodes/merge.py", "flowrunner/runtime/worker.py", "tests/runtime/test_worker.py"} <= found.keys()
    for file in MAY_SLEEP:
        assert any(is_real_sleep(name, call) for _, name, call in used(ast.parse(found[file]))), f"{file} does not"


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("nodes/log.py", "async def process(message, ctx):\n    await ctx.sleep_until(ctx.now() + 1)"),
        ("nodes/log.py", "import asyncio\nasync with asyncio.timeout(5):\n    await asyncio.wait([task], timeout=5)"),
        ("nodes/log.py", "def f(message, time):\n    return time(message.time, sleep, random())"),
        ("nodes/log.py", "import random\nrandom.Random(ctx.node).random()\ndice: random.Random = self.dice"),
        ("nodes/log.py", "from random import Random as Dice\ndice = Dice(x=7)\ndice.choice([1, 2])"),
        ("nodes/log.py", "from datetime import datetime, timedelta\ndatetime.fromtimestamp(0).time()"),
        ("nodes/log.py", "import secrets, uuid, os\nsecrets.compare_digest(a, b)\nuuid.uuid5(a, b)\nos.fspath(a)"),
        ("nodes/log.py", "import time\ndef f(at: time.struct_time) -> None: ..."),
        (
            "flowrunner/runtime/worker.py",
            "from flowrunner.clock.io_time import pause, stopwatch\nawait pause(stopwatch())",
        ),
        ("flowrunner/runtime/context.py", "self.clock.call_at(at, fire)\nself.times.time()\nasyncio.current_task()"),
        ("tests/test_x.py", "import asyncio, time\nawait asyncio.sleep(0)\ntime.monotonic()\ndone.wait(5)"),
        ("tests/peers/until.py", "import time\ntime.sleep(1)"),
    ],
)
def test_allowed(file: str, source: str) -> None:
    assert violations(file, source) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import time\n\nnow = time.time()", "nodes/log.py:3: time.time reads a clock by itself; use ctx.now()"),
        ("import time as t\nnow = t.time_ns", "log.py:2: time.time_ns reads a clock by itself"),
        (
            "def f(now):\n    from time import monotonic_ns as now\n    now()",
            "log.py:3: time.monotonic_ns reads a clock",
        ),
        ("import time\ndef f(now=time.localtime): ...", "time.localtime reads a clock"),
        ("import time\ntime.sleep(1)", "time.sleep waits by itself; use ctx.sleep_until or ctx.timer"),
        ("from time import perf_counter as p\np()", "time.perf_counter measures by itself; use stopwatch of"),
        ("from time import *", "log.py:1: time.* reads a clock by itself"),
        ("import importlib\nimportlib.import_module('time').time()", "log.py:2: time.* reads a clock by itself"),
        ("import datetime\ndatetime.datetime.now(zone).hour", "datetime.datetime.now reads a clock by itself"),
        ("import datetime as dt\ndt.date.today()", "datetime.date.today reads a clock by itself"),
        ("from datetime import datetime as D\nx = D.utcnow()", "datetime.datetime.utcnow reads a clock by itself"),
        ("from email.utils import formatdate\nformatdate()", "email.utils.formatdate reads a clock"),
        ("import asyncio\nawait asyncio.sleep(0)", "log.py:2: asyncio.sleep waits by itself"),
        ("import asyncio as a\nnap = a.sleep", "log.py:2: asyncio.sleep waits by itself"),
        ("from asyncio import sleep\nawait sleep(1)", "log.py:2: asyncio.sleep waits by itself"),
        ("import asyncio.tasks\nasyncio.tasks.sleep(1)", "asyncio.tasks.sleep waits by itself"),
        ("import asyncio\nasyncio.get_running_loop().call_later(1, f)", "log.py:2: loop.call_later waits by itself"),
        ("import asyncio\nmine = asyncio.get_event_loop()\nmine.time()", "log.py:3: loop.time reads a clock"),
        ("import asyncio\n(l := asyncio.get_running_loop()).call_soon(f)\nl.call_at(1, f)", "loop.call_at waits"),
        ("def f(self):\n    self._loop.time()", "log.py:2: loop.time reads a clock"),
        ("from threading import Timer\nTimer(1, f).start()", "threading.Timer waits by itself"),
        ("import random\nrandom.random()", "random.random is chance that nobody can repeat; use random.Random(seed)"),
        ("from random import choice\nsorted(a, key=choice)", "random.choice is chance"),
        ("import random\nrandom.Random()", "random.Random is chance"),
        ("from random import Random\nRandom(None)", "random.Random is chance"),
        ("from random import SystemRandom\nSystemRandom(7)", "random.SystemRandom is chance"),
        ("import secrets\nsecrets.token_hex()", "secrets.token_hex is chance"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4 is chance"),
        ("from os import urandom\nurandom(4)", "os.urandom is chance"),
    ],
)
def test_refused_in_nodes_and_runtime(source: str, complaint: str) -> None:
    (found,) = violations("nodes/log.py", source)
    assert complaint in found
    (found,) = violations("flowrunner/runtime/deep/room.py", source)
    assert complaint.replace("nodes/log.py", "flowrunner/runtime/deep/room.py").replace("log.py", "room.py") in found


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\ntime.sleep(0)", "time.sleep"),
        ("from time import sleep as nap\nnap(0.1)", "time.sleep"),
        ("import asyncio\nawait asyncio.sleep(0.01)", "asyncio.sleep"),
        ("import asyncio\nawait asyncio.sleep(WAIT)", "asyncio.sleep"),
        ("from asyncio import sleep\nwait = sleep", "asyncio.sleep"),
        ("import anyio\nawait anyio.sleep(1)", "anyio.sleep"),
        ("import threading\nthreading.Event().wait(0.1)", "threading.Event().wait"),
        ("from threading import Timer\nTimer(0.1, f)", "threading.Timer"),
        ("from flowrunner.clock.io_time import pause\nawait pause(1)", "flowrunner.clock.io_time.pause"),
    ],
)
def test_refused_in_tests(source: str, name: str) -> None:
    (found,) = violations("tests/web/test_x.py", source)
    assert found.startswith(
        f"tests/web/test_x.py:2: {name} waits for time to go by; wait for what is to happen (tests/"
    )
