"""Series: what store-outs keep, thinned at a cost that has a bound; prices ahead only as far as they are published."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.message import FieldInfo, Message
from flowrunner.store.history import COLUMNS, NAMES, History, row_of
from flowrunner.store.tables import connect
from flowrunner.store.thinned import MOST_ROWS, PROBES, Kept, thinned
from flowrunner.units import iso
from tests.web.site import Site, site

S = 1_000_000_000
MINUTE = 60 * S
FLOW = """flow: site
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  hand: {type: manual-in, fields: {x: {unit: MW}, y: {}}}
  auto: {type: http-in, route: POST /values, body: {x: {unit: MW}, y: {}}}
  record: {type: merge, from: [hand, auto]}
  judged: {type: threshold, from: record, field: x, above: 5}
  history: {type: store-out, from: judged, keep: 30d}
  twice: {type: compute, from: record, fields: {double: x * 2}}
  seen: {type: log, from: twice}
"""


# ---- rows ---------------------------------------------------------------------------------------------------------


def filled(rows: Iterable[tuple[int, str, float]]) -> sqlite3.Connection:
    """A store with messages of (seconds, wire, value), kept by f/history."""
    sql = connect(None)
    message = Message(payload={"x": 1.0}, at=0, received_at=0, source="a")
    like = msgspec.structs.asdict(row_of(message, flow="f", node="history", wire="", now=0))
    own = (like | {"at": at * S, "wire": wire, "payload": b'{"x":%f}' % value} for at, wire, value in rows)
    marks = ", ".join(f":{name}" for name in COLUMNS)
    sql.executemany(f"INSERT INTO history ({NAMES}) VALUES ({marks})", own)  # noqa: S608  (own names)
    return sql


def read(sql: sqlite3.Connection, since: int, until: int, buckets: int = 300) -> tuple[list[Kept], bool]:
    rows: list[Kept] = []
    sampled = thinned(
        sql, rows.append, flow="f", node="history", wires={"a.out"}, since=since * S, until=until * S, buckets=buckets
    )
    return rows, sampled


ROWS = st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["a.out", "b.out"]), st.floats(-9, 9)), max_size=40)


@settings(deadline=None)
@given(ROWS, st.integers(0, 100), st.integers(1, 100))
def test_where_there_are_few_rows_all_are_read(rows: list[tuple[int, str, float]], since: int, length: int) -> None:
    with closing(filled(rows)) as sql:
        found, sampled = read(sql, since, since + length)
    assert not sampled
    wanted = sorted(at for at, wire, _ in rows if wire == "a.out" and since <= at < since + length)
    assert [one.at // S for one in found] == wanted


def test_where_there_are_many_some_of_each_bucket_are_read_the_last_too() -> None:
    count, buckets = MOST_ROWS + 5000, 50
    with closing(filled([(at, "a.out", float(at)) for at in range(count)])) as sql:
        found, sampled = read(sql, 0, count, buckets)
        assert sampled
        assert len(found) <= buckets * PROBES
        of: dict[int, list[int]] = {}
        for one in found:
            of.setdefault(one.at // S * buckets // count, []).append(one.at // S)
        assert sorted(of) == list(range(buckets))
        for place, times in of.items():
            assert max(times) == -(-(place + 1) * count // buckets) - 1
        found, sampled = read(sql, 0, MOST_ROWS)  # where few of the many are asked for, all are read
        assert (len(found), sampled) == (MOST_ROWS, False)


def test_the_cost_has_a_bound_however_much_is_kept() -> None:
    """Counted in steps of SQLite's machine."""

    def cost(count: int) -> int:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        with closing(filled([(at, "a.out", 1.0) for at in range(count)])) as sql:
            sql.set_progress_handler(step, 100)
            assert read(sql, 0, count)[1]
        return steps

    some = cost(MOST_ROWS + 1)
    assert cost(3 * MOST_ROWS) < 1.1 * some


# ---- the route ----------------------------------------------------------------------------------------------------


async def asked(web: Site, field: str = "x", node: str = "record", **more: str) -> Any:
    answer = await web.http.get("/api/v1/series", params={"flow": "site", "node": node, "field": field, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def entered(web: Site, x: float, by_hand: bool = False) -> None:
    if by_hand:
        answer = await web.http.post("/api/v1/flows/site/nodes/hand/values", json={"values": {"x": x}})
    else:
        answer = await web.http.post("/values", json={"x": x})
    assert answer.status_code == 200, answer.text


def columns(series: Any) -> set[int]:
    return {len(series[name]) for name in ("t", "min", "max", "last", "manual")}


@pytest.mark.anyio
async def test_a_field_is_read_from_the_store_out_behind_it(tmp_path: Path) -> None:
    async with site(FLOW, data=tmp_path / "data") as web:
        for x in (1.0, 2.5, 2.0):
            await entered(web, x)
        await entered(web, 4.0, by_hand=True)  # an automatic one is fresh: it counts, and the record repeats it
        await web.until(lambda: web.last("judged") is not None, "the record is judged")
        await web.engine.store.flush()
        series = await asked(web)
        assert series["keeper"] == {"node": "site/history", "wire": "judged.out", "field": "x"}
        assert series["unit"] == "MW"
        assert columns(series) == {len(series["t"])}
        assert [one for one in series["last"] if one is not None][-1] == 2.0
        assert min(one for one in series["min"] if one is not None) == 1.0
        assert max(one for one in series["max"] if one is not None) == 2.5
        assert not any(series["manual"])
        assert series["ahead"] is None
        assert (series["sampled"], series["detail"], series["snippet"]) == (False, "", "")
        assert abs(series["t"][0] - datetime.now(UTC).timestamp()) < 30


@pytest.mark.anyio
async def test_what_a_person_entered_is_marked() -> None:
    async with site(FLOW) as web:
        await entered(web, 4.0, by_hand=True)
        await web.until(lambda: web.last("judged") is not None, "the record is judged")
        await web.engine.store.flush()
        series = await asked(web)
        assert (series["last"][0], series["manual"][0]) == (4.0, True)


@pytest.mark.anyio
async def test_gaps_are_told() -> None:
    """Two times of values with an hour between them, put into the history as a store-out does it."""
    async with site(FLOW) as web:
        now = web.engine.clock.now()
        times = [now - 3 * 60 * MINUTE + one * MINUTE for one in (*range(10), *range(70, 80))]
        for at in times:
            message = Message(payload={"x": 1.5}, at=at, received_at=at, source="auto")
            row = row_of(message, flow="site", node="history", wire="judged.out", now=at)
            await History(web.engine.store).add([row])
        series = await asked(web, points="1000")
        assert [one for one, value in zip(series["t"], series["last"], strict=True) if value is None] == [
            times[9] // 1_000_000 / 1000 + 60, times[19] // 1_000_000 / 1000 + 60,
        ]  # fmt: skip
        assert series["every_s"] == 60
        short = await asked(web, points="3")  # a gap that is shorter than a part of the time is not told
        assert short["last"].count(None) <= 1


@pytest.mark.anyio
async def test_what_was_told_before_it_counts_is_found() -> None:
    """The price of a slot comes with the slot before."""
    async with site(FLOW) as web:
        slot = web.engine.clock.now() // (15 * MINUTE) * 15 * MINUTE - 60 * MINUTE
        told = slot - 10 * MINUTE
        info = FieldInfo(at=told, received_at=told, source="auto", valid_from=slot, valid_until=slot + 15 * MINUTE)
        message = Message(payload={"x": 7.0}, at=told, received_at=told, source="auto", fields={"x": info})
        row = row_of(message, flow="site", node="history", wire="judged.out", now=told)
        await History(web.engine.store).add([row])
        series = await asked(web, **{"from": iso(slot)})
        assert (series["t"][0], series["last"]) == (slot / S, [7.0, None])
        assert series["t"][1] == slot / S + 900


@pytest.mark.anyio
async def test_what_nobody_keeps_says_what_to_write(web: Site) -> None:
    series = await asked(web, "soc_percent", "record")
    assert series["keeper"] is None
    assert columns(series) == {0}
    assert series["detail"] == "no store-out keeps 'soc_percent' of site/record; add one under nodes:"
    assert series["snippet"] == "history: {type: store-out, from: record, keep: 90d}"


@pytest.mark.anyio
async def test_the_snippet_makes_it_kept() -> None:
    async with site(FLOW) as web:
        first = await asked(web, "double", "twice")
        assert first["snippet"] == "twice-history: {type: store-out, from: twice, keep: 90d}"
    async with site(f"{FLOW}  {first['snippet']}\n") as web:
        assert (await asked(web, "double", "twice"))["keeper"]["node"] == "site/twice-history"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"span": "12h"}, "span: '12h' is none of 24h, 7d, 30d"),
        ({"from": "yesterday"}, "from:"),
        ({"points": "0"}, "points: '0' is not a whole number from 1 to 1000"),
        ({"points": "1001"}, "points:"),
        ({"points": "-1"}, "points:"),
        ({"field": ""}, "field: it is missing"),
    ],
)
async def test_what_is_wrong_is_named(web: Site, wrong: dict[str, str], detail: str) -> None:
    params = {"flow": "site", "node": "record", "field": "soc_percent", **wrong}
    answer = await web.http.get("/api/v1/series", params=params)
    assert (answer.status_code, answer.json()["error"]) == (422, "value")
    assert answer.json()["detail"].startswith(detail)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("place", "detail"),
    [
        ({"flow": "other"}, "'other/record' does not run"),
        ({"node": "nobody"}, "'site/nobody' does not run"),
        ({"node": "../record"}, "'site/../record' does not run"),
        ({"field": "z"}, "site/record gives no 'z'; it gives soc_percent, power_mw, count, name, on"),
        ({"port": "above"}, "site/record has no port 'above'; it has out, stale, error, status"),
    ],
)
async def test_what_is_not_there_is_named(web: Site, place: dict[str, str], detail: str) -> None:
    params = {"flow": "site", "node": "record", "field": "soc_percent", **place}
    answer = await web.http.get("/api/v1/series", params=params)
    assert (answer.status_code, answer.json()["detail"]) == (404, detail)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "period",
    [
        {"from": "2025-01-02T00:00:00Z", "to": "2025-01-01T00:00:00Z"},
        {"from": "1970-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z", "span": "7d"},
        {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"},
    ],
)
async def test_any_period_may_be_asked_for(period: dict[str, str]) -> None:
    async with site(FLOW) as web:
        series = await asked(web, **period)
        assert (series["t"], series["keeper"]["node"]) == ([], "site/history")


# ---- prices -------------------------------------------------------------------------------------------------------


PRICES = """flow: site
timezone: UTC
market: {{name: epex_at, slot: 15min, gate_closure: 5min}}
nodes:
  price: {{type: price-in, source: csv, file: "{file}"}}
  hand: {{type: manual-in, fields: {{x: {{}}}}}}
  state: {{type: merge, from: [price, hand]}}
  history: {{type: store-out, from: state}}
"""


def hours(begin: datetime, count: int) -> str:
    lines = [f"{begin + timedelta(hours=one):%Y-%m-%dT%H:%M:%SZ},{40 + one}" for one in range(count)]
    return "timestamp,price_eur_mwh\n" + "\n".join(lines) + "\n"


@pytest.mark.anyio
@pytest.mark.parametrize("node", ["price", "state"])
async def test_prices_ahead_end_where_the_published_ones_do(node: str, tmp_path: Path) -> None:
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    file = tmp_path / "prices.csv"
    file.write_text(hours(begin - timedelta(hours=2), 6), "utf-8")
    async with site(PRICES.format(file=file)) as web:
        await web.until(lambda: web.last("state") is not None, "there is a price")
        ahead = (await asked(web, "price_eur_mwh", node))["ahead"]
        assert ahead["source"] == "site/price"
        now = web.engine.clock.now() / S
        assert ahead["t"][0] <= now + 3600
        assert ahead["until"][-1] == (begin + timedelta(hours=4)).timestamp()
        assert ahead["value"][-1] == 45
        assert all(after == before for before, after in zip(ahead["until"], ahead["t"][1:], strict=False))
        assert (await asked(web, "x", "state"))["ahead"] is None
        later = web.engine.clock.now() + 100 * MINUTE
        left = web.node("price").ahead("price_eur_mwh", later)
        assert left[0][0] <= later < left[0][1]  # what is over is not ahead
        assert web.node("price").ahead("other", later) == []


@pytest.mark.anyio
async def test_a_price_stands_where_its_slot_does(tmp_path: Path) -> None:
    """A price is told before its delivery; it is shown for the time that it is for, and nothing of the future as if it
    had been."""
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    file = tmp_path / "prices.csv"
    file.write_text(hours(begin - timedelta(hours=2), 6), "utf-8")
    async with site(PRICES.format(file=file)) as web:
        await web.until(lambda: web.last("state") is not None, "there is a price")
        await web.engine.store.flush()
        now = web.engine.clock.now()
        series = await asked(web, "price_now_eur_mwh", "price", to=iso(now))
        slot = now - now % (15 * MINUTE)
        assert [one for one in series["t"] if one >= slot / S] == [slot / S]
        assert series["last"][-1] == 42
        assert series["unit"] == "EUR/MWh"
