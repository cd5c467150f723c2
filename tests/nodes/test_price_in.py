"""price-in in virtual time, from a file: which slot, what is kept, and what is said when a price is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowrunner.graph import check_flows
from flowrunner.message import Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import DURATION_UNITS, Duration, iso, parse_instant

REGISTRY = Registry()
QUARTER = int(Duration.parse("15min"))


def flow(options: str, market: str = "{name: epex_at, slot: 15min, gate_closure: 5min}") -> str:
    return (
        f"flow: t\ntimezone: Europe/Vienna\nmarket: {market}\nnodes:\n"
        f"  price:\n    {{type: price-in, {options}}}\n  errors: {{type: merge, from: price.error}}\n"
        "  state: {type: merge, from: price}\n"
    )


def write(path: Path, start: str, prices: list[float], minutes: int = 15) -> str:
    """A file of prices from ``start`` on; returns the options that read it."""
    at = parse_instant(start)
    rows = [f"{iso(at + place * minutes * DURATION_UNITS['min'])},{price}\n" for place, price in enumerate(prices)]
    path.write_text("timestamp,price_eur_mwh\n" + "".join(rows), encoding="utf-8")
    return f"source: csv, file: '{path}', every: 1h"


def seen(message: Message, name: str = "price_eur_mwh") -> tuple[str, float | None, str, str]:
    """Minute, value, first minute of its interval, quality."""
    assert message.fields is not None
    info = message.fields[name]
    assert info.valid_from is not None
    assert info.valid_until is not None
    assert (info.unit, info.source, info.origin) == ("EUR/MWh", "price", "automatic")
    assert info.at == info.received_at
    return iso(message.at)[11:16], message.payload.get(name), iso(info.valid_from)[11:16], info.quality


def codes(rig: Rig) -> list[str]:
    return [one["code"] for one in rig.payloads("price", "error")]


def test_the_price_is_that_of_the_slot_an_order_made_now_gets(tmp_path: Path) -> None:
    """A record at the fetch, at each closing of a gate, and at each begin of a delivery; never an old price."""

    async def story(rig: Rig) -> None:
        await rig.advance("31min")
        records = [one for one in rig.out("price") if one.root is not None and one.root[1].startswith(("slot", "f"))]
        assert [seen(one) for one in records] == [
            ("10:02", 1.0, "10:15", "good"),
            ("10:10", -2.0, "10:30", "good"),
            ("10:15", -2.0, "10:30", "good"),
            ("10:25", 0.0, "10:45", "good"),
            ("10:30", 0.0, "10:45", "good"),
        ]
        assert [seen(one, "price_now_eur_mwh")[1:3] for one in records] == [
            (50.0, "10:00"), (50.0, "10:00"), (1.0, "10:15"), (1.0, "10:15"), (-2.0, "10:30"),
        ]  # fmt: skip
        for one in records:
            assert one.fields is not None
            assert {iso(info.at)[11:16] for info in one.fields.values()} == {"10:02"}, "the age is that of the fetch"
        assert len({one.root for one in rig.out("price")}) == len(rig.out("price")), "each has its own root"
        assert rig.worker("price").counters.connected is True
        assert rig.errors("price") == {}

    run_flow(flow(write(tmp_path / "p.csv", "2026-03-02T10:00:00Z", [50, 1, -2, 0, 9])), story,
             start="2026-03-02T10:02:00Z")  # fmt: skip


def test_for_now_is_the_slot_being_delivered(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.advance("14min")
        assert [seen(one) for one in rig.out("price")] == [
            ("10:02", 50.0, "10:00", "good"),
            ("10:15", 1.0, "10:15", "good"),
        ]

    options = write(tmp_path / "p.csv", "2026-03-02T10:00:00Z", [50, 1])
    run_flow(flow(f"{options}, for: now"), story, start="2026-03-02T10:02:00Z")


def test_hours_serve_quarter_hours_and_quarter_hours_do_not_serve_hours(tmp_path: Path) -> None:
    async def hours(rig: Rig) -> None:
        assert seen(rig.out("price")[0]) == ("10:50", 7.0, "11:00", "good")
        await rig.advance("61min")
        assert {seen(one)[1:3] for one in rig.out("price")} == {
            (7.0, "11:00"), (7.0, "11:15"), (7.0, "11:30"), (7.0, "11:45"), (8.0, "12:00"),
        }  # fmt: skip

    options = write(tmp_path / "p.csv", "2026-03-02T10:00:00Z", [6, 7, 8], minutes=60)
    run_flow(flow(options), hours, start="2026-03-02T10:50:00Z")

    async def quarters(rig: Rig) -> None:
        assert seen(rig.out("price")[0]) == ("10:50", None, "11:00", "bad")
        assert codes(rig) == ["no-price"]

    options = write(tmp_path / "q.csv", "2026-03-02T10:00:00Z", [1] * 12)
    run_flow(flow(options, "{name: m, slot: 1h}"), quarters, start="2026-03-02T10:50:00Z")


def test_a_slot_without_a_price_has_none_and_it_is_said_once(tmp_path: Path) -> None:
    """Until a price is there again; then the next gap is news."""
    path = tmp_path / "p.csv"
    write(path, "2026-03-02T10:00:00Z", [1, 2, 3, 4, 5, 6])
    rows = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(rows[:3] + rows[5:]), encoding="utf-8")  # without 10:30 and 10:45

    async def story(rig: Rig) -> None:
        await rig.advance("9min")
        assert seen(rig.out("price")[-1]) == ("10:10", None, "10:30", "bad")
        assert rig.out("state")[-1].payload == {"price_now_eur_mwh": 1.0}, "no old price is left"
        assert rig.payloads("price", "error")[-1]["reason"] == (
            "no price is known for the slot 2026-03-02T10:30:00.000Z/2026-03-02T10:45:00.000Z"
        )
        await rig.advance("20min")
        assert codes(rig) == ["no-price"]
        await rig.advance("15min")
        assert seen(rig.out("price")[-1]) == ("10:45", 5.0, "11:00", "good")
        assert rig.out("state")[-1].payload == {"price_eur_mwh": 5.0}
        await rig.advance("30min")
        assert seen(rig.out("price")[-1]) == ("11:15", None, "11:30", "bad")
        assert codes(rig) == ["no-price", "no-price"]

    run_flow(flow(f"source: csv, file: '{path}', every: 1d"), story, start="2026-03-02T10:01:00Z")


def test_while_the_file_is_away_the_kept_prices_count_and_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    options = write(path, "2026-03-02T10:00:00Z", [1, 2, 3, 4, 5, 6, 7, 8]).replace("1h", "5min")

    async def story(rig: Rig) -> None:
        path.unlink()
        await rig.advance("30min")
        assert seen(rig.out("price")[-1]) == ("10:30", 4.0, "10:45", "good")
        kept = rig.out("price")[-1].fields
        assert kept is not None
        assert iso(kept["price_eur_mwh"].at)[11:16] == "10:01", "the age is that of the last good fetch"
        counters = rig.worker("price").counters
        assert counters.connected is False
        assert counters.last_error == (
            f"source-away: csv: {path} cannot be read: No such file or directory; "
            "goes on with the prices that are kept, until 2026-03-02T12:00:00.000Z"
        )
        assert codes(rig) == ["source-away"], "once for the whole outage"
        await rig.restart()
        assert seen(rig.out("price")[-1])[1:] == (4.0, "10:45", "good"), "it starts with what it kept"
        await rig.advance("95min")
        assert seen(rig.out("price")[-1])[1:] == (None, "12:15", "bad")
        assert rig.payloads("price", "error")[-1]["code"] == "no-price"
        write(path, "2026-03-02T12:00:00Z", [-9, -8, -7])
        await rig.advance("5min")
        assert seen(rig.out("price")[-1])[1] in (-8.0, -7.0)
        assert rig.worker("price").counters.connected is True
        path.unlink()
        await rig.advance("5min")
        assert codes(rig)[-1] == "source-away", "the next outage is news"

    run_flow(flow(options), story, start="2026-03-02T10:01:00Z")


def test_a_price_that_is_taken_out_of_the_file_counts_no_longer(tmp_path: Path) -> None:
    options = write(tmp_path / "p.csv", "2026-03-02T10:00:00Z", [1, 2, 3, 4, 5, 6, 7, 8]).replace("1h", "5min")

    async def story(rig: Rig) -> None:
        write(tmp_path / "p.csv", "2026-03-02T10:00:00Z", [1, 2])
        await rig.advance("20min")
        assert seen(rig.out("price")[-1]) == ("10:20", None, "10:30", "bad")

    run_flow(flow(options), story, start="2026-03-02T10:01:00Z")


def test_prices_that_are_kept_are_those_of_the_same_source(tmp_path: Path) -> None:
    """Another file is another source: its predecessor's prices are not its own."""
    store = Store.open(None, inline=True)
    options = write(tmp_path / "p.csv", "2026-03-02T10:00:00Z", [1, 2, 3])

    async def first(rig: Rig) -> None:
        assert seen(rig.out("price")[-1])[1] == 2.0

    run_flow(flow(options), first, start="2026-03-02T10:01:00Z", store=store)

    async def second(rig: Rig) -> None:
        assert seen(rig.out("price")[-1])[1] is None
        assert codes(rig) == ["source-away", "no-price"]

    run_flow(flow(options.replace("p.csv", "q.csv")), second, start="2026-03-02T10:02:00Z", store=store)


def test_a_failure_is_tried_again_sooner_and_then_ever_more_seldom(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.advance("10min")
        tries = [iso(one.at)[14:19] for one in rig.out("price") if (one.root or ("", ""))[1].startswith("fetched")]
        assert tries == ["01:00", "01:15", "01:45", "02:45", "04:45", "05:00", "10:00"]

    options = f"source: csv, file: '{tmp_path}/none.csv', every: 5min"
    run_flow(flow(options), story, start="2026-03-02T10:01:00Z")


def test_a_file_that_is_not_understood_gives_no_price(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    options = write(path, "2026-03-02T10:00:00Z", [1, 2, 3])
    path.write_text(path.read_text("utf-8").replace("10:15:00.000Z", "10:15:00"), encoding="utf-8")

    async def story(rig: Rig) -> None:
        assert seen(rig.out("price")[-1])[1] is None
        assert codes(rig) == ["bad-prices", "no-price"]
        reason = rig.payloads("price", "error")[0]["reason"]
        assert f"csv: {path}: line 3: '2026-03-02T10:15:00' has no time zone" in reason
        assert reason.endswith("; there are no kept prices")

    run_flow(flow(options), story, start="2026-03-02T10:01:00Z")


@pytest.mark.parametrize(
    ("day", "count"), [("2026-03-28T23:00:00Z", 92), ("2026-10-24T22:00:00Z", 100), ("2026-06-01T22:00:00Z", 96)]
)
def test_a_day_on_which_the_clocks_change_has_a_price_for_every_slot(tmp_path: Path, day: str, count: int) -> None:
    async def story(rig: Rig) -> None:
        await rig.advance(f"{15 * count - 1}min")
        found = dict.fromkeys(seen(one)[1] for one in rig.out("price"))
        assert list(found) == [float(position) for position in range(1, count + 1)]
        assert rig.errors("price") == {}

    options = write(tmp_path / "p.csv", day, [float(position) for position in range(1, count + 2)])
    start = iso(parse_instant(day) - QUARTER + 1)
    market = "{name: m, slot: 15min}"
    run_flow(flow(options, market), story, start=start)


def test_shipped_prices_have_a_name() -> None:
    async def story(rig: Rig) -> None:
        await rig.advance("40min")
        assert {seen(one)[1] for one in rig.out("price")} == {48.4, 30.17}

    run_flow(flow("source: csv, file: 'shipped:DE-LU-2024.csv'"), story, start="2024-06-05T10:02:00Z")


# ---- options ----------------------------------------------------------------------------------------------------


def problems(options: str, environment: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    checked = check_flows({"flow.yaml": flow(options)}, environment or {}, REGISTRY)
    return [(one.path, one.message, one.hint) for one in checked.problems if one.severity == "error"]


@pytest.mark.parametrize(
    "options",
    [
        "source: exchange, url: http://localhost:9100",
        "source: exchange, url: https://exchange.test/v2, every: 10s, oldest: 1min, for: now",
        "source: entsoe, zone: AT, token: abc",
        "source: entsoe, zone: 10Y1001A1001A82H, token: abc, auction: 2, url: http://127.0.0.1:1/api",
        "source: awattar, zone: DE-LU",
        "source: awattar, url: http://127.0.0.1:1",
        "source: energy-charts, zone: IT-North",
        "source: csv, file: prices.csv",
    ],
)
def test_good_options(options: str) -> None:
    assert problems(options) == []


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ("source: exchange", "price.url", "the source exchange needs it"),
        ("source: csv", "price.file", "the source csv needs it"),
        ("source: entsoe, token: x", "price.zone", "the source entsoe needs it"),
        ("source: entsoe, zone: AT", "price.token", "the source entsoe needs it"),
        ("source: energy-charts", "price.zone", "the source energy-charts needs it"),
        ("source: csv, file: a.csv, zone: AT", "price.zone", "it does not belong to the source csv"),
        ("source: exchange, url: http://a.b, token: x", "price.token", "it does not belong to the source exchange"),
        ("source: awattar, zone: FR", "price.zone", "aWATTar has AT and DE-LU"),
        ("source: awattar", "price.zone", "aWATTar has AT and DE-LU"),
        ("source: entsoe, zone: DE, token: x", "price.zone", "'DE' is no bidding zone that is known here"),
        ("source: exchange, url: localhost", "price.url", "an address begins with http:// or https://"),
        ("source: csv, file: 'shipped:x.csv'", "price.file", "'x.csv' does not come with the program"),
        ("source: awattar, zone: AT, every: 10s", "price.every", "10s is too short"),
        ("source: csv, file: a.csv, every: 10ms", "price.every", "10ms is too short"),
        ("source: csv, file: a.csv, timeout: 1ms", "price.timeout", "1ms is too short"),
        ("source: epex", "price.source", ""),
    ],
)
def test_contradictions(options: str, path: str, words: str) -> None:
    (found,) = problems(options)
    assert found[0] == path
    assert words in found[1]


def test_it_needs_a_market() -> None:
    text = flow("source: csv, file: a.csv").replace("market: {name: epex_at, slot: 15min, gate_closure: 5min}\n", "")
    found: list[Any] = [str(one) for one in check_flows({"flow.yaml": text}, {}, REGISTRY).problems]
    assert len(found) == 1
    assert "price-in needs to know the market of this flow" in found[0]


def test_what_comes_out_is_known_before_a_run() -> None:
    checked = check_flows({"flow.yaml": flow("source: csv, file: a.csv")}, {}, REGISTRY)
    assert checked.graph is not None
    shape = checked.graph.nodes["t/price"].shapes["out"]
    assert shape.fields == {"price_eur_mwh": "number", "price_now_eur_mwh": "number"}
    assert set(shape.units.values()) == {"EUR/MWh"}
