"""The list of events as such: many tables are one list, by their indexes, page by page, however much is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.store import Reader
from flowrunner.store.tables import connect
from flowrunner.web.events.asked import KINDS, Asked, Wrong, asked
from flowrunner.web.events.deeds import DEEDS, SOURCES
from flowrunner.web.events.event import FIRST, LAST, Course, Event, Position
from flowrunner.web.events.merged import MOST_LOOKED, find, taken

Insert = Callable[[sqlite3.Connection, int, int], None]
"""Put so many rows of one time into a table."""


def alarms(sql: sqlite3.Connection, at: int, count: int) -> None:
    rows = [("f", "out", "t.above", f"{at} {one}", at, at) for one in range(count)]
    sql.executemany(
        "INSERT INTO alarms (flow, node, wire, key, identity, severity, text, count, first_at, last_at,"
        " acknowledged_by) VALUES (?, ?, ?, ?, '', 'warning', 'hot', 1, ?, ?, '')",
        rows,
    )


def steps(sql: sqlite3.Connection, at: int, count: int) -> None:
    sql.execute(
        "INSERT OR IGNORE INTO orders VALUES ('o', 'm', 0, 1, 'BUY', 1, 1, '', 50, 'LIMIT', 'GFD', 'f', 'guard',"
        " 'buy', 'intent', 'paper', 0, 0, '', '', 0, 0, 0, NULL, '')"
    )
    rows = [(at,)] * count
    sql.executemany("INSERT INTO order_steps VALUES ('o', ?, 'intent', '', 'null')", rows)


def refusals(sql: sqlite3.Connection, at: int, count: int) -> None:
    rows = [(f"{at} {one}", at, at) for one in range(count)]
    sql.executemany("INSERT INTO refusals VALUES ('m', 0, 'SELL', 'f', 'guard', ?, 'hot', 'why', 1, ?, ?, '')", rows)


def switch(sql: sqlite3.Connection, at: int, count: int) -> None:
    rows = [(at,)] * count
    sql.executemany("INSERT INTO switch_steps (at, stopped, by, reason) VALUES (?, 1, 'hs', '')", rows)


def letters(sql: sqlite3.Connection, at: int, count: int) -> None:
    rows = [(at,)] * count
    sql.executemany(
        "INSERT INTO dead_letters (at, flow, node, code, reason, message) VALUES (?, 'f', 'n', 'bad', 'why', '')", rows
    )


def deeds(kind: str) -> Insert:
    def insert(sql: sqlite3.Connection, at: int, count: int) -> None:
        rows = [(at, kind)] * count
        sql.executemany(
            "INSERT INTO audit (at, kind, who, origin, flow, node, text, detail)"
            " VALUES (?, ?, 'hs', '', 'f', 'n', 'why', '{}')",
            rows,
        )

    return insert


TABLES: Sequence[tuple[int, Insert, str]] = (
    (1, alarms, "SELECT last_at, id FROM alarms"),
    (2, steps, "SELECT at, rowid FROM order_steps"),
    (3, refusals, "SELECT updated_at, rowid FROM refusals"),
    (4, switch, "SELECT at, id FROM switch_steps"),
    (5, letters, "SELECT at, id FROM dead_letters"),
    (6, deeds("entry"), "SELECT at, id FROM audit"),
    (6, deeds("login-failed"), "SELECT 0, 0 FROM audit WHERE FALSE"),  # the line before counts all of the audit
)
"""Rank, how rows get in, and when they are from."""
INSTANTS = (-7, 0, 1, 1_737_837_000_000_000_000)


@contextmanager
def store() -> Iterator[tuple[Reader, sqlite3.Connection]]:
    with closing(connect(None)) as sql:
        yield Reader(sql, Path("store")), sql


def going(_: Event) -> Course:
    return "quiet"


def everything(reader: Reader, wanted: Asked) -> list[Position]:
    """Page by page."""
    found: list[Position] = []
    while True:
        page = find(reader, SOURCES, wanted, going)
        assert len(page.events) <= wanted.limit
        found += [one.position for one in page.events]
        if page.before is None:
            return found
        assert page.events or page.looked_back_to is not None
        again = Position.parse(str(page.before))  # as it goes over the wire
        assert wanted.before is None or again < wanted.before, "it goes round in a circle"
        wanted = msgspec.structs.replace(wanted, before=again)


counts = st.tuples(*(st.tuples(*(st.integers(0, 70) for _ in INSTANTS)) for _ in TABLES))


@given(counts, st.integers(1, 500), st.sampled_from([None, *INSTANTS]), st.sampled_from([None, *INSTANTS]))
@settings(max_examples=60, deadline=None)
def test_many_tables_are_one_list(
    counts: tuple[tuple[int, ...], ...], limit: int, since: int | None, until: int | None
) -> None:
    """Merged it is the sorted list of everything, and pages of any size give each event exactly once."""
    with store() as (reader, sql):
        for (_, insert, _), times in zip(TABLES, counts, strict=True):
            for at, count in zip(INSTANTS, times, strict=True):
                insert(sql, at, count)
        there = [Position(at, rank, number) for rank, _, query in TABLES for at, number in sql.execute(query)]
        expected = sorted(
            (one for one in there if (since is None or one.at >= since) and (until is None or one.at < until)),
            reverse=True,
        )
        limit = max(limit, len(expected) // 20)  # pages of one event are tested where there are few
        before = Position(LAST, 9, LAST) if limit % 2 else None  # newer than ``until``: the earlier of both counts
        assert everything(reader, Asked(limit=limit, since=since, until=until, before=before)) == expected


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 10), st.integers(1, 20))
def test_a_search_that_ends_early_says_where_it_goes_on(hits: list[bool], limit: int, most: int) -> None:
    """Whatever the filters let through, going on with ``before`` finds each hit once, and no search looks at more."""
    events = [
        Event(kind="entry", position=Position(-n, 1, 1), title="entry", flow="f" if hit else "g")
        for n, hit in enumerate(hits)
    ]
    found: list[Event] = []
    left, pages = events, 0
    while True:
        page = taken(iter(left), Asked(flow="f", limit=limit), most)
        found += page.events
        if page.before is None:
            break
        looked = [one for one in left if one.position >= page.before]
        assert len(looked) <= most
        assert (page.looked_back_to is None) == (len(page.events) == limit)
        assert all(one.position >= page.before for one in page.events)
        left, pages = left[len(looked) :], pages + 1
        assert pages <= len(hits)
    assert found == [one for one in events if one.flow == "f"]


@given(st.integers(FIRST, LAST), st.integers(0, 99), st.integers(FIRST, LAST))
def test_a_position_as_text(at: int, rank: int, number: int) -> None:
    one = Position(at, rank, number)
    assert Position.parse(str(one)) == one


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "1.2.3.4", "a.1.1", "1..1", "1.1.1 ", "+1.1.1", "1.1.٣", "1_0.1.1", f"{2**63}.1.1", "--1.1.1"],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no place in the list"):
        Position.parse(text)


@pytest.mark.parametrize("query", [{}, {"kind": "login"}, {"flow": "f"}, {"text": "nowhere"}, {"severity": "critical"}])
def test_only_indexes_are_read(query: dict[str, str]) -> None:
    """No table is read from end to end, and nothing is sorted: each statement goes down an index by time."""
    said: list[str] = []
    with store() as (reader, sql):
        for _, insert, _ in TABLES:
            insert(sql, 5, 120)
            insert(sql, 6, 3)
        sql.set_trace_callback(said.append)
        find(reader, SOURCES, msgspec.structs.replace(asked(query), before=Position(6, 3, 2)), going)
        sql.set_trace_callback(None)
        plans = [[str(row[3]) for row in sql.execute(f"EXPLAIN QUERY PLAN {one}")] for one in said]
    assert len(said) == 1 or {"text", "severity"} & query.keys(), "a page is one statement"
    for plan in plans:
        steps = [step for step in plan if step.startswith(("SEARCH", "SCAN", "USE"))]
        read = [step for step in steps if not step.startswith("SCAN (subquery")]
        assert read
        assert all(step.startswith("SEARCH") and "INDEX" in step for step in read), plan


def test_a_search_for_nothing_is_bounded() -> None:
    """A hundred thousand entries that no filter lets through: ten thousand are looked at, and it is said."""
    with store() as (reader, sql):
        for hundred in range(1000):
            deeds("login")(sql, hundred, 100)
        read = 0

        def row_read(statement: str) -> None:
            nonlocal read
            read += int(statement.rpartition("LIMIT ")[2])

        sql.set_trace_callback(row_read)
        page = find(reader, SOURCES, Asked(text="not there"), going)
        assert page.events == []
        assert page.looked_back_to == 1000 - MOST_LOOKED // 100
        assert page.before == Position(900, 6, 90_001)
        assert read < 2 * MOST_LOOKED + 5000
        read = 0
        assert len(find(reader, SOURCES, Asked(limit=50), going).events) == 50
        assert read < 2000


def test_each_kind_comes_from_somewhere() -> None:
    assert {kind for source in SOURCES for kind in source.kinds} == set(KINDS)
    assert len({(source.rank, *sorted(source.kinds)) for source in SOURCES}) > len(DEEDS) - 3


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"kind": "alarm,nothing"}, "kind: 'nothing' is none; known: alarm, "),
        ({"kind": ","}, "kind: '' is none"),
        ({"severity": "high"}, "severity: 'high' is none of info, warning, critical"),
        ({"from": "2025-01-25T20:30:00"}, "from: '2025-01-25T20:30:00' has no time zone"),
        ({"to": "soon"}, "to: 'soon' is not a time"),
        ({"limit": "501"}, "limit: '501' is not a whole number from 1 to 500"),
        ({"limit": "٣"}, "limit: '٣' is not"),
        ({"before": "1.2"}, "before: '1.2' is no place in the list"),
        ({"before": f"{10**19}.1.1"}, "is no place in the list"),
        ({"text": "x" * 201}, "text: there are more than 200 characters"),
    ],
)
def test_what_cannot_be_asked(query: dict[str, str], text: str) -> None:
    with pytest.raises(Wrong) as caught:
        asked(query)
    assert text in str(caught.value)


def test_an_empty_form_asks_for_all() -> None:
    assert asked(dict.fromkeys(("kind", "flow", "node", "severity", "state", "text", "from", "to"), "")) == Asked()


def event(**changes: Any) -> Event:
    plain = Event(kind="alarm", position=Position(1, 1, 1), title="alarm.warning", severity="warning", state="open")
    return msgspec.structs.replace(plain, **changes)


@pytest.mark.parametrize(
    ("query", "takes", "leaves"),
    [
        ({"flow": "f"}, event(flow="f"), event(flow="F")),
        ({"node": "n"}, event(node="n"), event(node="nn")),
        ({"severity": "warning"}, event(severity="critical"), event(severity="info")),
        ({"state": "open"}, event(state="open", course="over"), event(state="acknowledged")),
        ({"state": "over"}, event(state="acknowledged", course="over"), event(course="quiet")),
        ({"text": "SPEICHER"}, event(text="Der Speicher ist voll"), event(text="Speiche")),
        ({"text": "hs"}, event(who="hs"), event(who="sh")),
        ({"text": "epex_at"}, event(values={"market": "epex_at", "quantity_mwh": 1.0}), event(values={"x": 1})),
        ({"text": "swapped"}, event(detail={"reason": "Sensor swapped"}), event(detail={"reason": ["swap", 1]})),
        ({"text": "site/hot"}, event(detail={"changed": ["site/hot"]}), event(detail={"changed": []})),
        ({"text": "STRASSE"}, event(text="straße"), event(text="strase")),
    ],
)
def test_filters(query: dict[str, str], takes: Event, leaves: Event) -> None:
    wanted = asked(query)
    assert wanted.takes(takes)
    assert not wanted.takes(leaves)
