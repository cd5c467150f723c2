"""``flowrunner orders``: what a person at a terminal reads, while an engine runs and while none does.

The texts are in ``tests/orders/told``; after a change that is meant, ``python -m tests.test_orders_command`` writes
them.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowrunner import shown
from flowrunner.cli import main
from flowrunner.orders import Book, Journal, Order, Switch
from flowrunner.sheet import FORMULA, guarded
from flowrunner.store import FILE_NAME, Store, writing
from flowrunner.units import parse_instant
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
REDUCED, UNKNOWN = "epex_at-20250125T0130Z-BUY", "epex_at-20250125T0200Z-SELL"
LATER = {
    "filled-and-stopped": ["orders"],
    "story-of-one-filled-in-part": ["orders", REDUCED],
    "story-of-one-filled": ["orders", UNKNOWN],
    "of-a-market": ["orders", "--market", "epex_at", "--limit", "1"],
    "of-another-market": ["orders", "--market", "AT"],
    "of-a-state": ["orders", "--state", "partly-filled"],
    "of-a-day": ["orders", "--since", "2025-01-26", "--until", "2025-01-26"],
    "since-a-day": ["orders", "--since", "2025-01-27"],
    "table": ["orders", "--format", "csv"],
    "table-of-the-latest": ["orders", "--format", "csv", "--limit", "2"],
    "table-of-nothing": ["orders", "--format", "csv", "--market", "AT"],
}
"""Of the same journal later: something is filled, an order of the next day has a strange reason, trading is stopped."""
HOW = "if it is meant, run: python -m tests.test_orders_command"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def later(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_later(data, tmp_path_factory.mktemp("later"))


def made_later(data: Path, folder: Path) -> Path:
    (folder / FILE_NAME).write_bytes((data / FILE_NAME).read_bytes())
    at, day = parse_instant("2025-01-25T02:00:00Z"), parse_instant("2025-01-26T00:00:00Z")
    with writing(folder / FILE_NAME) as sql:
        book = Book(sql)
        price = -45.75
        book.advance(
            REDUCED, "partly-filled", at, exchange_id="+4711", filled_mwh=0.2, open_mwh=0.3,
            average_price_eur_mwh=price, detail={"status": "PARTIAL"},
        )  # fmt: skip
        book.advance(UNKNOWN, "filled", at, reason="me decided", filled_mwh=1.0, open_mwh=0.0, detail={"by": "me"})
        bought = book.find(BUY)
        assert bought is not None
        start = day + 900 * 10**9
        strange = msgspec.structs.replace(
            bought, id="epex_at-20250126T0015Z-BUY", delivery_start=start, delivery_end=start + 900 * 10**9,
            created_at=day, updated_at=day, good_until=start, state="rejected", rule="=1+1",
            reason='422: ["side", "what \u2013 now?"]\n\x1b[2J', limit_price_eur_mwh=None, order_type="MARKET",
            mode="live",
        )  # fmt: skip
        book.add(strange, {})
    Switch(folder).stop(by="risk desk", reason="storm", now=day)
    return folder


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
    assert ask(data, *ASKED[name]) == told(name), HOW


@pytest.mark.parametrize("name", LATER)
def test_what_it_prints_later(later: Path, name: str) -> None:
    assert ask(later, *LATER[name]) == told(name), HOW


def told(name: str) -> str:
    """As it stands there: the lines of a table end as RFC 4180 has them."""
    return (TOLD / f"{name}.txt").read_bytes().decode()


def test_json_holds_the_same(data: Path) -> None:
    told = json.loads(ask(data, "orders", "--format", "json"))
    assert told["trading"] == {"stopped": False, "since": None, "by": "", "reason": ""}
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
        (["orders", "--since", "25.1.2025"], "'25.1.2025' is not a day, like 2025-01-25"),
        (["orders", "--until", "9999-12-31"], "'9999-12-31' is not a day"),
        (["orders", "--state", "done"], "'done' is no state of an order; intent, sending, paper"),
        (["orders", "--state", "accept"], "'accept' is no state of an order; did you mean 'accepted'?"),
        (["orders", BUY, "--format", "csv"], "a story has no rows; --format csv is for the list of orders"),
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
    assert ask(tmp_path, "orders") == told("all")
    assert working.failed is None


# ---- the table -----------------------------------------------------------------------------------------------------


def test_a_table_is_what_the_api_shows(later: Path) -> None:
    """Each number a number, each text the text, and nothing that a spreadsheet would compute."""
    rows = [*csv.DictReader(io.StringIO(ask(later, "orders", "--format", "csv"), newline=""))]
    orders = json.loads(ask(later, "orders", "--format", "json", "--limit", "1000"))["orders"]
    assert json.loads(ask(later, "orders", "--format", "json"))["trading"]["by"] == "risk desk"
    assert len(rows) == len(orders) == 5
    assert [*rows[0]] == [*shown.OrderShown.__annotations__]
    for row, order in zip(rows, orders[::-1], strict=True):
        for name, value in order.items():
            text = row[name]
            if value is None:
                assert text == ""
            elif isinstance(value, str):
                assert text.removeprefix("'") == value
                assert not text.startswith(FORMULA)
            else:
                assert float(text) == value


@given(st.sampled_from(["", *FORMULA, "'", '"', ",", "a"]), st.text(max_size=30))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_reason_comes_through_a_table(later: Path, tmp_path: Path, begin: str, rest: str) -> None:
    reason = begin + rest
    (tmp_path / FILE_NAME).write_bytes((later / FILE_NAME).read_bytes())
    with writing(tmp_path / FILE_NAME) as sql:
        sql.execute("UPDATE orders SET reason = ? WHERE id = ?", (reason, BUY))
    rows = [*csv.DictReader(io.StringIO(ask(tmp_path, "orders", "--format", "csv"), newline=""))]
    (text,) = [row["reason"] for row in rows if row["order"] == BUY]
    assert text == guarded(reason)


def test_a_table_of_many_holds_all_of_them(later: Path, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes((later / FILE_NAME).read_bytes())
    with writing(tmp_path / FILE_NAME) as sql:
        one = Book(sql).find(BUY)
        assert one is not None
        for number in range(1500):
            begin = one.delivery_start + (number + 100) * 900 * 10**9
            Book(sql).add(copied(one, f"{BUY}-{number}", begin), {})
    table = ask(tmp_path, "orders", "--format", "csv")
    assert table.count("\r\n") == 1 + 5 + 1500
    listed = json.loads(ask(tmp_path, "orders", "--format", "json"))
    assert len(listed["orders"]) == 20


def copied(order: Order, name: str, begin: int) -> Order:
    end = begin + order.delivery_end - order.delivery_start
    return msgspec.structs.replace(order, id=name, delivery_start=begin, delivery_end=end)


if __name__ == "__main__":
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        TOLD.mkdir(exist_ok=True)
        begin = filled(Path(first))
        for folder, asked in ((begin, ASKED), (made_later(begin, Path(second)), LATER)):
            for name, arguments in asked.items():
                (TOLD / f"{name}.txt").write_bytes(ask(folder, *arguments).encode())
