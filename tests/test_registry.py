"""Node types by file, folder and entry point; a broken one is a sentence, never a crash."""

from __future__ import annotations

import os
import py_compile
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowrunner.errors import UsageError
from flowrunner.graph import check_flows
from flowrunner.reference import describe, listing
from flowrunner.registry import BrokenType, Registry, shipped

TICKER = '''"""ticker: a number now and then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from flowrunner.node import Context, Node, NodeOptions


@dataclass
class Beat:
    number: int


class Place(msgspec.Struct):
    x: int = 0


class Ticker(Node):
    """Tick with a ``speed``."""

    class Options(NodeOptions):
        speed: Annotated[int, Meta(ge=1, description="Ticks.")] = 1
        place: Place = msgspec.field(default_factory=Place)

    inputs = "none"

    async def produce(self, ctx: Context):
        yield ctx.message(Beat(self.options.speed).number, position="0")
'''
FLOW = "flow: f\nnodes:\n  tick: {type: ticker, speed: 3, place: {x: 4}}\n  out: {type: log, from: tick}\n"


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """What a test loads is gone afterwards, and what was there is back."""
    before, path = dict(sys.modules), list(sys.path)
    sys.modules.pop("flowrunner.nodes.ticker", None)  # other tests have tickers too
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def write(folder: Path, text: str, name: str = "ticker.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def broken(folder: Path, name: str = "ticker") -> str:
    with pytest.raises(BrokenType) as caught:
        Registry([folder]).get(name)
    return str(caught.value)


def test_the_shipped_types_load() -> None:
    registry = Registry()
    assert {"modbus-in", "mqtt-in", "http-in", "merge", "threshold"} <= set(registry.names)
    for name in registry.names:
        kind = registry.get(name)
        assert kind.file == shipped("nodes") / f"{name.replace('-', '_')}.py"
        assert kind.cls.type == kind.name == name
        assert kind.summary.endswith(".")


def test_a_file_in_a_folder_is_a_type(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    write(tmp_path, "import nothing_of_that_name", "_not_a_type.py")
    registry = Registry([tmp_path])
    assert "ticker" in registry.names
    assert "flowrunner.nodes.ticker" not in sys.modules  # loaded when it is first asked for
    kind = registry.get("ticker")
    assert registry.get("ticker") is kind
    assert sys.modules["flowrunner.nodes.ticker"].Ticker is kind.cls
    assert kind.doc == "Tick with a `speed`."
    checked = check_flows({"f.yaml": FLOW}, {}, registry)
    assert checked.problems == []
    assert checked.graph is not None
    assert checked.graph.nodes["f/tick"].node.options.place.x == 4


def test_names_are_those_of_the_files(tmp_path: Path) -> None:
    write(tmp_path, TICKER, "very_fast_ticker.py")
    assert Registry([tmp_path]).get("very-fast-ticker").name == "very-fast-ticker"


def test_the_content_is_the_identity(tmp_path: Path) -> None:
    write(tmp_path / "a", TICKER)
    write(tmp_path / "b", TICKER)
    write(tmp_path / "c", TICKER + "\n# changed\n")
    one, same, other = (Registry([tmp_path / name]).get("ticker").code_hash for name in "abc")
    assert one == same != other
    assert len(one) == 16


def test_an_unknown_type_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Registry().get("ticker")


# ---- broken files ----------------------------------------------------------------------------------------------

HEAD = "from flowrunner.node import Node, NodeOptions\n"


def with_option(option: str) -> str:
    body = f"    class Options(NodeOptions):\n        {option}\n    def process(self, message, ctx): ...\n"
    return f"{HEAD}class A(Node):\n{body}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class Ticker(Node)\n", "ticker.py:1: expected ':'"),
        ("\n\nimport gone\n", "ticker.py:3: ModuleNotFoundError: No module named 'gone'"),
        ("def f():\n    return 1 / 0\n\nf()\n", "ticker.py:2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "ticker.py:2: SystemExit: 3"),
        ("import json\njson.loads('')\n", "ticker.py:2: JSONDecodeError: Expecting value"),
        ("x = '\\0'\0\n", "ticker.py:1: source code string cannot contain null bytes"),
        ("", "must define exactly one class of Node, it has none"),
        (f"{HEAD}", "must define exactly one class of Node, it has none"),
        (f"{HEAD}class A(Node): ...\nclass B(Node): ...\n", "exactly one class of Node, it has 2: A, B"),
        (f"{HEAD}class A(Node): ...\n", "A has neither process nor produce"),
        (
            f"{HEAD}class A(Node):\n    ports = ('out', 'status')\n\n    def process(self, message, ctx): ...\n",
            "every node has a port 'status' already; give this one another name",
        ),
        (
            with_option("queue: int = 1"),
            "the option 'queue' belongs to every node; give it another name",
        ),
        (
            with_option("x: set[int]"),
            "A.Options: options cannot have the type",
        ),
        (
            with_option("x: 'Nowhere'"),
            "A.Options: name 'Nowhere' is not defined",
        ),
        (f"{HEAD}class A(Node):\n    Options = dict\n    def process(self, m, c): ...\n", "A.Options: "),
    ],
)  # fmt: skip
def test_a_broken_file_says_where_and_why(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path, text)
    registry = Registry([tmp_path])
    assert says in broken(tmp_path)
    assert str(file) in broken(tmp_path)
    assert f"ticker         BROKEN: {file}" in listing(registry)
    problems = check_flows({"f.yaml": FLOW}, {}, registry).problems
    assert [(one.code, one.line, one.column) for one in problems] == [("broken-type", 3, 16)]


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "ticker.py").write_bytes(b"x = '\xff'\n")
    assert "ticker.py:1: " in broken(tmp_path)


def test_a_file_that_went_away(tmp_path: Path) -> None:
    file = write(tmp_path, TICKER)
    registry = Registry([tmp_path])
    file.unlink()
    with pytest.raises(BrokenType, match="cannot be read: No such file"):
        registry.get("ticker")


@pytest.mark.parametrize("what", ["KeyboardInterrupt", "__import__('asyncio').CancelledError", "SystemExit"])
def test_whatever_a_file_raises_away_from_the_main_thread_breaks_its_type_only(tmp_path: Path, what: str) -> None:
    (tmp_path / "odd.py").write_text(f"raise {what}\n")
    with ThreadPoolExecutor(1) as pool, pytest.raises(BrokenType, match=r"odd\.py:1: "):
        pool.submit(Registry([tmp_path]).get, "odd").result()


def test_an_interrupt_while_a_file_is_loaded_at_the_start_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    with pytest.raises(KeyboardInterrupt):
        Registry([tmp_path]).get("interrupted")
    assert "flowrunner.nodes.interrupted" not in sys.modules


def test_a_module_that_does_not_run_is_not_left_behind(tmp_path: Path) -> None:
    write(tmp_path, "raise ValueError\n")
    broken(tmp_path)
    assert "flowrunner.nodes.ticker" not in sys.modules
    write(tmp_path, TICKER)
    kind = Registry([tmp_path]).get("ticker")
    write(tmp_path, "raise ValueError\n")
    broken(tmp_path)
    assert sys.modules["flowrunner.nodes.ticker"].Ticker is kind.cls


def test_a_file_mended_is_loaded_anew(tmp_path: Path) -> None:
    """Also within the second that a compiled file's time stamp counts in."""
    write(tmp_path, TICKER)
    py_compile.compile(str(tmp_path / "ticker.py"))
    assert "speed" in Registry([tmp_path]).get("ticker").form.schema["properties"]
    stat = (tmp_path / "ticker.py").stat()
    write(tmp_path, TICKER.replace("speed", "tempo"))
    os.utime(tmp_path / "ticker.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "tempo" in Registry([tmp_path]).get("ticker").form.schema["properties"]


# ---- twice -------------------------------------------------------------------------------------------------------


def test_a_type_that_two_folders_define_is_broken(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", TICKER), write(tmp_path / "b", TICKER)
    registry = Registry([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(BrokenType) as caught:
        registry.get("ticker")
    assert str(caught.value) == f"the type 'ticker' is defined twice: {first} and {second}"


def test_a_shipped_type_cannot_be_replaced(tmp_path: Path) -> None:
    write(tmp_path, TICKER, "scale.py")
    assert "defined twice" in broken(tmp_path, "scale")


def test_the_same_folder_named_twice_is_one(tmp_path: Path) -> None:
    write(tmp_path / "nodes", TICKER)
    registry = Registry([tmp_path / "nodes", tmp_path / "nodes" / ".." / "nodes"])
    assert registry.get("ticker").name == "ticker"


# ---- entry points ----------------------------------------------------------------------------------------------------


def install(folder: Path, points: str, **files: str) -> None:
    """A distribution as an installer leaves it, with entry points."""
    for name, text in files.items():
        write(folder / "acme", text, f"{name}.py")
    write(folder / "acme-1.0.dist-info", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n", "METADATA")
    write(folder / "acme-1.0.dist-info", f"[flowrunner.nodes]\n{points}", "entry_points.txt")
    sys.path.insert(0, str(folder))


def test_entry_points_are_types(tmp_path: Path) -> None:
    install(tmp_path, "acme-tick = acme.node:Ticker\n", __init__="", node=TICKER)
    kind = Registry().get("acme-tick")
    assert kind.file == tmp_path / "acme" / "node.py"
    assert kind.cls.type == "acme-tick"


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """``Options`` finds its types in its own module, also where both files are called ``node.py``."""
    install(
        tmp_path,
        "acme-tick = acme.node\nother-tick = acme.other.node\n",
        __init__="",
        node=TICKER.replace("Place", "Spot"),
    )
    write(tmp_path / "acme" / "other", "", "__init__.py")
    write(tmp_path / "acme" / "other", TICKER, "node.py")
    registry = Registry()
    first, second = registry.get("acme-tick"), registry.get("other-tick")
    assert sys.modules[first.cls.__module__].Spot
    assert sys.modules[second.cls.__module__].Place
    flow = "flow: f\nnodes:\n  a: {type: acme-tick, place: {x: 1}}\n  b: {type: other-tick, place: {x: 2}}\n"
    assert check_flows({"f.yaml": flow}, {}, registry).problems == []


@pytest.mark.parametrize("module", ["acme.gone", "nothing_of_that_name.node", "acme.broken.node"])
def test_an_entry_point_that_leads_nowhere_breaks_its_type_only(tmp_path: Path, module: str) -> None:
    install(tmp_path, f"acme-tick = {module}:Ticker\n", __init__="")
    write(tmp_path / "acme" / "broken", "raise ValueError('not today')\n", "__init__.py")
    registry = Registry()
    with pytest.raises(BrokenType, match=f"{module}:Ticker \\(entry point\\) cannot be read: "):
        registry.get("acme-tick")
    assert registry.get("log").name == "log"


# ---- what is told of a type --------------------------------------------------------------------------------------


def test_what_is_told_of_a_type_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, TICKER)
    text = describe(Registry([tmp_path]), "ticker")
    assert text.startswith("ticker: Tick with a `speed`.\n\ninput: none, it is a source\nports: out, error, status\n")
    assert "speed (a whole number of at least 1, default 1): Ticks." in text
    assert 'place (a map, default {"x": 0})\n      x (a whole number, default 0)\n' in text


def test_an_unknown_type_is_a_usage_error_with_the_right_name() -> None:
    with pytest.raises(UsageError, match=r"there is no node type 'treshold'; did you mean 'threshold'\?"):
        describe(Registry(), "treshold")
    with pytest.raises(UsageError, match="`flowrunner nodes` lists the types"):
        describe(Registry(), "quantum-flux")
