"""``/api/v1/events`` over a real server: what happens in a flow stands in the list, typed, with its place and link."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from flowrunner.store import Alarms, DeadLetter, Raised
from flowrunner.store.alarms import SAME_OCCURRENCE
from flowrunner.store.people import Role
from tests.orders.example import BUY
from tests.web.eventful import ALARM_LINE, FLOW, enter, journal, until_alarm, until_clear
from tests.web.site import Site, key_of, site

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(FLOW, folder=tmp_path) as running:
        yield running


async def events(web: Site, query: str = "") -> list[dict[str, Any]]:
    answer = await web.http.get(f"/api/v1/events{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


async def test_an_alarm_of_a_threshold_is_over_when_the_threshold_is_clear(web: Site) -> None:
    await enter(web, 45)
    await until_alarm(web)
    (alarm,) = await events(web, "?kind=alarm")
    assert alarm | {"id": "", "at": "", "alarm": 0} == {
        "id": "", "kind": "alarm", "at": "", "since": None, "until": None, "flow": "site", "node": "alarms",
        "line": ALARM_LINE, "file": web.engine.graph.flows["site"].file,
        "title": {"key": "alarm.critical", "values": {}},
        "text": "temperature_c 45 °C, hot above", "who": "", "origin": "", "severity": "critical", "state": "open",
        "course": "going-on", "count": 1, "detail": {}, "order": None, "alarm": 0,
        "link": "/flows/site#node=alarms",
    }  # fmt: skip
    await enter(web, 20)
    await until_clear(web)
    (over,) = await events(web, "?state=over")
    assert (over["course"], over["state"], over["alarm"]) == ("over", "open", alarm["alarm"])
    assert (await web.http.get("/api/v1/events")).json()["open_alarms"] == 1

    done = await web.http.post(f"/api/v1/alarms/{alarm['alarm']}/acknowledge", json={"by": "hs"})
    assert done.status_code == 200
    newest, *_ = await events(web)
    assert (newest["kind"], newest["who"], newest["node"]) == ("acknowledgement", "hs", "alarms")
    assert newest["detail"] == {"alarm": alarm["alarm"]}
    (seen,) = await events(web, "?kind=alarm")
    assert (seen["state"], seen["course"], seen["who"]) == ("acknowledged", "over", "hs")
    assert (await web.http.get("/api/v1/events")).json()["open_alarms"] == 0


async def test_any_other_alarm_is_never_said_to_be_over(web: Site) -> None:
    """What comes by another wire goes on for ten minutes after its last time; then it was not repeated, no more."""
    now = web.engine.clock.now()
    plain = Raised(flow="site", node="alarms", wire="hand.error", key="", identity="", severity="info", text="", at=now)
    for identity, wire, at in (
        ("recent", "hand.error", now - SAME_OCCURRENCE + 5_000_000_000),
        ("old", "hand.error", now - SAME_OCCURRENCE - 1),
        ("not judged", "hot.above", now),
        ("gone", "cold.below", now),
    ):
        await Alarms(web.engine.store).add(
            [Raised(**{name: getattr(plain, name) for name in ("flow", "node", "key", "severity", "at")}
                    | {"wire": wire, "identity": identity, "text": identity, "at": at})]
        )  # fmt: skip
    courses = {one["text"]: one["course"] for one in await events(web, "?kind=alarm")}
    assert courses == {"recent": "going-on", "old": "quiet", "not judged": "unknown", "gone": "unknown"}
    assert [one["text"] for one in await events(web, "?state=quiet")] == ["old"]


async def test_entries_reloads_the_switch_and_letters_stand_in_the_list(web: Site, tmp_path: Path) -> None:
    await enter(web, 20, reason="sensor changed", by="hs")
    file = tmp_path / "site.yaml"
    file.write_text(FLOW.replace("above: 40", "above: 42"), "utf-8")
    assert (await web.http.post("/api/v1/reload")).json()["result"] == "applied"
    file.write_text(FLOW.replace("above: 40", "above: forty"), "utf-8")
    assert (await web.http.post("/api/v1/reload")).json()["result"] == "refused"
    await web.http.post("/api/v1/trading/stop", json={"by": "hs", "reason": "maintenance"})
    await web.http.post("/api/v1/trading/resume", json={"by": "hs", "reason": "done"})
    letter = DeadLetter(at=web.engine.clock.now(), flow="site", node="hot", code="bad", reason="=no", message=b"{}")
    web.engine.store.add_dead_letter(letter)
    await web.engine.store.flush()

    found = await events(web)
    assert [(one["kind"], one["state"], one["severity"]) for one in found] == [
        ("letter", "kept", "warning"), ("trading", "resumed", "info"), ("trading", "stopped", "warning"),
        ("reload", "refused", "warning"), ("reload", "applied", "info"), ("entry", "", "info"),
    ]  # fmt: skip
    rejected, resumed, stopped, refused, applied, entry = found
    assert (rejected["text"], rejected["title"]["values"]["code"]) == ("=no", "bad")
    assert (resumed["who"], resumed["text"], stopped["text"]) == ("hs", "done", "maintenance")
    assert "site.yaml:6:" in refused["text"]
    assert (refused["title"]["key"], applied["title"]["key"]) == ("reload.refused", "reload.applied")
    assert applied["detail"]["changed"] == ["site/hot"]
    assert entry["detail"]["values"] == {"temperature_c": 20}
    assert entry["detail"]["reason"] == "sensor changed"
    assert (entry["who"], entry["origin"], entry["flow"], entry["node"]) == ("hs", "127.0.0.1", "site", "hand")
    assert entry["until"] > entry["at"]

    assert await events(web, "?kind=reload,trading") == [resumed, stopped, refused, applied]
    assert await events(web, "?severity=warning") == [rejected, stopped, refused]
    assert await events(web, "?node=hand") == [entry]
    assert await events(web, "?text=MAINTENANCE") == [stopped]
    assert await events(web, f"?from={entry['at']}&to={applied['at']}") == [entry]
    assert await events(web, "?flow=nobody") == []
    assert await events(web, "?from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z") == found
    assert await events(web, "?from=9999-01-01T00:00:00Z") == await events(web, "?to=0001-01-02T00:00:00Z") == []
    sheet = (await web.http.get("/api/v1/events.csv?kind=letter")).text
    assert "'=no" in sheet


async def test_pages_of_one_are_the_list() -> None:
    async with site(FLOW) as web:
        for value in range(5):
            await enter(web, value)
        whole, found, query = await events(web), list[dict[str, Any]](), "?limit=1"
        while True:
            answer = (await web.http.get(f"/api/v1/events{query}")).json()
            found += answer["events"]
            if answer["before"] is None:
                break
            query = f"?limit=1&before={answer['before']}"
        assert len(found) == 5
        assert found == whole


async def test_orders_and_refusals(tmp_path: Path) -> None:
    async with journal(tmp_path) as http:
        found = (await http.get("/api/v1/events")).json()["events"]
        steps = [one for one in found if one["kind"] == "order"]
        assert [one["state"] for one in steps if one["order"] == BUY] == ["paper", "intent"]
        assert {one["severity"] for one in steps if one["state"] == "unknown"} == {"critical"}
        assert {one["severity"] for one in steps if one["state"] == "rejected"} == {"warning"}
        assert steps[0]["link"] == f"/orders/{steps[0]['order']}"
        thrice = [one for one in found if one["count"] == 3]
        assert [(one["kind"], one["state"], one["text"]) for one in thrice] == [("refusal", "stopped", "hot is above")]
        assert (thrice[0]["line"], thrice[0]["link"]) == (None, None)  # that flow does not run here
        assert [one["at"] for one in found] == sorted((one["at"] for one in found), reverse=True)
        rows = list(csv.DictReader(io.StringIO((await http.get("/api/v1/events.csv")).text, newline="")))
        assert [row["id"] for row in rows] == [one["id"] for one in found]
        assert {row["order"] for row in rows} >= {BUY}


async def test_a_sheet_goes_on_where_it_ended(web: Site) -> None:
    now = web.engine.clock.now()
    row = ("entry", "hs", "", "site", "hand", "entered", "{}")
    await web.engine.store.submit(
        lambda sql: sql.executemany(
            "INSERT INTO audit (at, kind, who, origin, flow, node, text, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(now + number, *row) for number in range(5200)],
        )
    )
    first = await web.http.get("/api/v1/events.csv")
    assert first.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert first.headers["content-disposition"] == 'attachment; filename="events.csv"'
    rest = await web.http.get(f"/api/v1/events.csv?before={first.headers['x-before']}")
    assert "x-before" not in rest.headers
    ids = [line.rpartition(",")[2] for text in (first.text, rest.text) for line in text.split("\r\n")[1:-1]]
    assert len(first.text.split("\r\n")) == 5002
    assert len(ids) == len(set(ids)) == 5200


@pytest.mark.parametrize("route", ["/api/v1/events", "/api/v1/events.csv"])
async def test_what_cannot_be_asked_is_refused(web: Site, route: str) -> None:
    for query, said in (
        ("kind=x", "kind: 'x' is none"), ("from=yesterday", "from: 'yesterday' is not a time"),
        ("before=0", "before: '0' is no place"), ("severity=", "severity: it is empty"), ("from=", "from: it is empty"),
        ("flow=&text=", ""), (f"text={quote('ä' * 201)}", "text: "),
    ):  # fmt: skip
        answer = await web.http.get(f"{route}?{query}")
        assert answer.status_code == (422 if said else 200)
        if said:
            assert said in answer.json()["detail"]
    assert (await web.http.get(f"{route}?kind=alarm&kind=order")).status_code == 400


async def test_texts_from_outside_stay_texts(web: Site) -> None:
    """As JSON, whatever it is: nothing of it is markup, a formula or another cell."""
    evil = "</script><img src=x onerror=alert(1)>\r\n=1+1"
    await enter(web, 20, by=evil, reason=evil)
    (entry,) = await events(web)
    assert entry["who"] == evil
    answer = await web.http.get("/api/v1/events")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["events"] == [entry]


async def test_log_ins_are_for_operators() -> None:
    """A viewer sees who entered what, and not who logs in from where; as JSON, as CSV and on the page."""
    keys: dict[str, Role] = {"vera": "viewer", "otto": "operator"}
    async with site(FLOW, keys=keys, users={"hs": "operator"}) as web:
        assert (await web.log_in("hs")).status_code == 303
        web.http.cookies.clear()
        viewer, operator = ({"x-api-key": key_of(name)} for name in keys)
        for route in ("/api/v1/events", "/api/v1/events.csv", "/events"):
            said = (await web.http.get(route, headers=operator)).text
            assert "127.0.0.1" in said
            said = (await web.http.get(route, headers=viewer)).text
            assert "127.0.0.1" not in said
            assert (await web.http.get(f"{route}?kind=login,alarm", headers=viewer)).status_code == 200
            refused = await web.http.get(f"{route}?kind=login,account", headers=viewer)
            assert refused.status_code == 403
            assert "127.0.0.1" not in refused.text
