"""``flowrunner orders``: what a person at a terminal reads, while an engine runs and while none does.

The texts are in ``tests/orders/told``; after a change that is meant, ``python -m tests.test_orders_command`` writes
them.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flowrunner.cli import main
from flowrunner.orders import Journal
from flowrunner.store import FILE_NAME, Store
from tests.orders.example import BUY, filled

TOLD = Path(__file__).with_name("orders") / "told"
ASKED = {
    "all": ["orders"],
    "two": ["orders", "--limit", "2"],
    "story-of-one-in-paper": ["orders", BUY],
    "story-of-a-smaller-one": ["orders", "epex_at-20250125T0130Z-BUY"],
    "story-of-a-rejected-one": ["orders", "epex_at-20250125T0145Z-SELL"],
    "story-of-one-that-nobody-knows": ["orders", "epex_at-20250125T0200Z-SELL"],
}
HOW = "if it is meant, run: python -m tests.test_orders_command"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("data"))


def ask(data: Path, *arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*arguments, "--data", str(data)]) == 0
    return masked(out.getvalue())


def ended(*arguments: str) -> object:
    """The exit code; argparse ends the program itself."""
    try:
        return main([*arguments])
    except SystemExit as end:
        return end.code


def masked(text: str) -> str:
    """The hash of the flow's text changes with the test's flow; it is not what these tests are about."""
    head, found, rest = text.partition("(file ")
    return f"{head}{found}…{rest[rest.index(')') :]}" if found else text


@pytest.mark.parametrize("name", ASKED)
def test_what_it_prints(data: Path, name: str) -> None:
    assert ask(data, *ASKED[name]) == (TOLD / f"{name}.txt").read_text("utf-8"), HOW


def test_json_holds_the_same(data: Path) -> None:
    told = json.loads(ask(data, "orders", "--format", "json"))
    assert [one["state"] for one in told["orders"]] == ["unknown", "rejected", "accepted", "paper"]
    assert [(one["reason"], one["count"]) for one in told["refusals"]] == [
        ("market-blocked", 1), ("price", 1), ("stopped", 3),
    ]  # fmt: skip
    story = json.loads(ask(data, "orders", BUY, "--format", "json"))
    assert story["order"] == told["orders"][-1]
    assert [one["state"] for one in story["steps"]] == ["intent", "paper"]
    assert [one["text"] for one in story["steps"][0]["detail"]["clauses"]] == ["soc_percent < 50"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["orders", BUY.replace("0115", "0116")], f"there is no order '{BUY.replace('0115', '0116')}'; did you mean"),
        (["orders", "x"], "there is no order 'x'; `flowrunner orders` lists them"),
        (["orders", "--limit", "0"], "'0'"),
        (["orders", "--limit", "many"], "'many'"),
    ],
)
def test_what_it_does_not_know(data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert ended(*arguments, "--data", str(data)) == 2
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told.err


def test_no_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["orders", "--data", str(tmp_path / "none")]) == 2
    assert "name the data folder of the engine with --data DIR" in capsys.readouterr().err
    with contextlib.chdir(tmp_path):
        assert main(["orders"]) == 2
    assert "no data folder is here or in flows/" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [], "asking makes nothing"


@pytest.mark.parametrize("place", [".flowrunner", "flows/.flowrunner"])
def test_it_finds_the_folder_that_run_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    store = Store.open(tmp_path / place, inline=True)
    with contextlib.chdir(tmp_path):
        assert main(["orders"]) == 0
    assert capsys.readouterr().out == "no orders yet\n"
    assert Journal(store).orders() == []


def test_while_an_engine_works_on_it(data: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes((data / FILE_NAME).read_bytes())
    working = Store.open(tmp_path)  # this process holds the folder
    assert ask(tmp_path, "orders") == (TOLD / "all.txt").read_text("utf-8")
    assert working.failed is None


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        filled(Path(folder))
        TOLD.mkdir(exist_ok=True)
        for name, arguments in ASKED.items():
            (TOLD / f"{name}.txt").write_text(ask(Path(folder), *arguments), encoding="utf-8")
