"""Who did what: each thing that a person or a key does over the API stands in the audit, under its own name."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowrunner.store import Audit, DeadLetter, Entry, Raised, Store
from flowrunner.store import audit as rules
from flowrunner.store.alarms import Alarms
from flowrunner.store.audit import Kind, write_entry
from flowrunner.units import SECOND, parse_instant
from tests.web.site import FLOW, Site, key_of, site

pytestmark = pytest.mark.anyio
ENTER = "/api/v1/flows/site/nodes/hand/values"


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Site]:
    """anna, an editor, is logged in."""
    async with site(FLOW, users={"anna": "editor"}, keys={"plc": "operator"}, folder=tmp_path, speed=100.0) as running:
        await running.log_in("anna")
        yield running


def told(web: Site, *kinds: Kind) -> list[Entry]:
    return Audit(web.engine.store).find(kinds)


async def test_an_entry_tells_old_and_new_reason_and_expiry(web: Site) -> None:
    for value in (50, 60):
        body = f'{{"values": {{"soc_percent": {value}}}, "reason": "meter read"}}'
        assert (await web.post(body, ENTER, **web.csrf)).status_code == 200
    newest, first = told(web, "entry")
    assert (newest.who, newest.origin, newest.flow, newest.node) == ("anna", "127.0.0.1", "site", "hand")
    assert newest.text == 'entered {"soc_percent":60}'
    until = newest.detail.pop("until")
    assert isinstance(until, str)
    assert abs(parse_instant(until) - newest.at - 3600 * SECOND) < SECOND
    assert newest.detail == {"values": {"soc_percent": 60}, "before": {"soc_percent": 50}, "reason": "meter read"}
    assert first.detail["before"] == {"soc_percent": None}


async def test_a_name_that_is_given_stands_behind_one_s_own(web: Site) -> None:
    body = '{"values": {"soc_percent": 1}, "by": "%s"}'
    await web.post(body % "the shift", ENTER, **web.csrf)
    await web.post(body % "anna", ENTER, **web.csrf)
    web.http.cookies.clear()
    await web.post(body % "anna", ENTER, x_api_key=key_of("plc"))
    assert [one.who for one in told(web, "entry")] == ["plc (for anna)", "anna", "anna (for the shift)"]


async def test_what_is_refused_is_not_done_and_not_told(web: Site) -> None:
    assert (await web.post('{"values": {"soc_percent": 101}}', ENTER, **web.csrf)).status_code == 422
    assert told(web, "entry") == []


async def test_the_switch(web: Site) -> None:
    await web.post('{"reason": "storm"}', "/api/v1/trading/stop", **web.csrf)
    stop = (await web.http.get("/api/v1/trading")).json()
    assert (stop["by"], stop["reason"]) == ("anna", "storm")
    await web.post('{"reason": "over", "by": "desk"}', "/api/v1/trading/resume", **web.csrf)
    assert [(one.text, one.who, one.detail) for one in told(web, "trading")] == [
        ("let trading go on", "anna (for desk)", {"reason": "over"}),
        ("stopped trading", "anna", {"reason": "storm"}),
    ]


async def test_an_alarm_that_was_seen(web: Site) -> None:
    raised = Raised(flow="site", node="bell", wire="hot.above", key="", identity="x", severity="info", text="hot", at=5)
    await Alarms(web.engine.store).add([raised])
    answer = await web.post("{}", "/api/v1/alarms/1/acknowledge", **web.csrf)
    assert answer.json()["acknowledged_by"] == "anna"
    (seen,) = told(web, "alarm")
    assert (seen.who, seen.flow, seen.node, seen.text) == ("anna", "site", "bell", "acknowledged: hot")
    assert seen.detail == {"alarm": 1}


async def test_a_reload_tells_who_asked_and_what_came_of_it(web: Site, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    for text in (FLOW, FLOW.replace("90s", "91s"), FLOW.replace("90s", "long")):
        file.write_text(text)
        await web.http.post("/api/v1/reload", headers=web.csrf)
    refused, applied, unchanged = told(web, "reload")
    assert {one.who for one in (refused, applied, unchanged)} == {"anna"}
    assert unchanged.text == "unchanged"
    assert applied.text == "applied: changed site/record"
    assert applied.detail["changed"] == ["site/record"]
    assert refused.text.startswith("refused: ")
    assert "site.yaml:" in refused.text


async def test_a_reload_by_a_file_is_nobody_s_and_told_only_if_something_came_of_it(web: Site, tmp_path: Path) -> None:
    await web.reloader.reload()
    assert told(web, "reload") == []
    (tmp_path / "site.yaml").write_text(FLOW.replace("90s", "91s"))
    await web.reloader.reload()
    (one,) = told(web, "reload")
    assert (one.who, one.origin) == ("", "")


async def test_letters_that_were_dropped(web: Site) -> None:
    letter = DeadLetter(at=1, flow="site", node="rest", code="type", reason="x", message=b"{}")
    web.engine.store.add_dead_letter(letter)
    await web.engine.store.flush()
    assert (await web.http.delete("/api/v1/dead-letters/1", headers=web.csrf)).status_code == 200
    (one,) = told(web, "letters")
    assert (one.who, one.text, one.detail) == ("anna", "dropped: 1", {"ids": [1]})


# ---- the audit itself ----------------------------------------------------------------------------------------------


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = Store.open(None)
    yield opened
    await opened.close()


async def test_it_is_found_by_kind_time_and_page(store: Store) -> None:
    audit = Audit(store)
    for at, kind in enumerate(("entry", "login", "entry", "reload")):
        await audit.add(Entry(at=at, kind=kind, text=str(at)))  # type: ignore[arg-type]  # kinds all

    def texts(**wanted: object) -> list[str]:
        return [one.text for one in audit.find(**wanted)]  # type: ignore[arg-type]  # as find takes them

    assert texts() == ["3", "2", "1", "0"]
    assert texts(kinds=["entry"]) == ["2", "0"]
    assert texts(kinds=[]) == []
    assert texts(since=1, until=3) == ["2", "1"]
    newest, second = audit.find(limit=2)
    assert texts(before=second.id) == ["1", "0"]
    assert newest.id > second.id


async def test_it_has_a_bound_and_who_guesses_passwords_pushes_nothing_out(store: Store) -> None:
    def many(sql: sqlite3.Connection) -> None:
        write_entry(sql, Entry(at=0, kind="entry", text="the first"))
        failed = Entry(at=1, kind="login-failed")
        for _ in range(rules.FAILURES_KEPT + 5 * rules.CUT_EVERY):
            write_entry(sql, failed)

    await store.submit(many)
    (count,) = store.read(lambda sql: sql.execute("SELECT count(*) FROM audit").fetchone())
    assert rules.FAILURES_KEPT <= count <= rules.FAILURES_KEPT + rules.CUT_EVERY + 1
    assert [one.text for one in Audit(store).find(["entry"])] == ["the first"]
    assert rules.KEPT + rules.FAILURES_KEPT == 100_000


async def test_texts_that_are_none_or_have_no_end(store: Store) -> None:
    audit = Audit(store)
    await audit.add(Entry(at=1, kind="entry", who="\ud800", text="x" * 9999, detail={"a": [1, None, "ü"]}))
    (one,) = audit.find()
    assert (one.who, len(one.text), one.detail) == ("?", rules.LONGEST, {"a": [1, None, "ü"]})


async def test_a_store_that_cannot_be_written_stops_nobody_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(None)
    await store.submit(lambda sql: sql.execute("DROP TABLE audit"))
    await Audit(store).add(Entry(at=1, kind="entry", who="anna", text="entered 5"))
    assert "this is not in the audit, because no such table: audit: anna entry: entered 5" in caplog.text
    await store.close()
