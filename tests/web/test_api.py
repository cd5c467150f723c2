"""/api/v1: what runs, what it last saw, what is wrong with it, and manual entries."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from flowrunner.message import Message
from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio
VALUES = "/api/v1/flows/site/nodes/hand/values"


@pytest.fixture
async def fresh() -> AsyncIterator[Site]:
    async with site() as running:
        yield running


async def get(web: Site, path: str) -> Any:
    answer = await web.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return answer.json()


async def enter(web: Site, entry: Any, **headers: str) -> httpx2.Response:
    return await web.post(json.dumps(entry), VALUES, **headers)


# ---- questions ---------------------------------------------------------------------------------------------------


async def test_flows(web: Site) -> None:
    (flow,) = await get(web, "/api/v1/flows")
    assert len(flow.pop("digest")) == 16
    assert flow == {"flow": "site", "title": None, "file": "site.yaml", "nodes": 4, "ready": True}


async def test_one_flow_with_its_wires(web: Site) -> None:
    flow = await get(web, "/api/v1/flows/site")
    assert {node["id"]: node["type"] for node in flow["nodes"]} == {
        "rest": "http-in", "hand": "manual-in", "record": "merge", "status": "http-in",
    }  # fmt: skip
    assert {"from": "rest", "port": "out", "to": "record", "listens": False} in flow["wires"]
    assert flow["disabled"] == {}


async def test_one_node() -> None:
    async with site() as web:
        await web.post('{"soc_percent": 42, "count": 7}')
        await web.post('{"soc_percent": 101}')
        node = await get(web, "/api/v1/flows/site/nodes/rest")
    keys = ("type", "state", "connected", "received", "sent", "errors", "dropped", "inbox", "last_error", "last")
    assert {key: node[key] for key in keys if key != "last"} == {
        "type": "http-in", "state": "running", "connected": None, "received": 0, "sent": 1, "errors": {},
        "dropped": {"value": 1}, "inbox": 0, "last_error": None,
    }  # fmt: skip
    last = node["last"]["out"]
    assert (last["payload"], last["source"], last["origin"], last["quality"]) == (
        {"soc_percent": 42, "count": 7}, "rest", "automatic", "good",
    )  # fmt: skip
    assert 0 <= last["age_s"] < 10
    assert last["fields"]["soc_percent"]["unit"] == "%"
    assert set(last["fields"]) == {"soc_percent", "count"}


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("flows/sote", "there is no flow 'sote'"),
        ("flows/site/nodes/rost", "there is no node 'rost' in site"),
        ("flows/sote/nodes/rest", "there is no flow 'sote'"),
    ],
)
async def test_unknown_names(web: Site, path: str, detail: str) -> None:
    answer = await web.http.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()) == (404, {"error": "unknown", "detail": detail})


@pytest.mark.parametrize(
    "path", ["/api/v1", "/api/v1/", "/api/v2/flows", "/api/v1/flows/", "/nothing", "/favicon.ico", "/healthz"]
)
async def test_unknown_routes(web: Site, path: str) -> None:
    answer = await web.http.get(path)
    assert (answer.status_code, answer.json()) == (404, {"error": "no-route", "detail": f"there is nothing at {path}"})


async def test_a_disabled_node_says_why() -> None:
    async with site(FLOW.replace("  hand: {type: manual-in,", "  hand: {type: manual-in, enabled: false,")) as web:
        answer = await web.http.get("/api/v1/flows/site/nodes/hand")
        assert (answer.status_code, answer.json()["detail"]) == (404, "site/hand does not run: enabled: false")
        assert (await get(web, "/api/v1/flows/site"))["disabled"] == {"hand": "enabled: false"}


async def test_problems_and_config_without_secrets() -> None:
    text = """
flow: site
vars: {token: "${TOKEN}"}
nodes:
  away: {type: inject, once: true, payload: {}, enabled: false}
  off: {type: log, from: away}
  rest: {type: http-in, route: POST /values, api_key: "${SITE_KEY}"}
  mqtt: {type: mqtt-in, enabled: false, broker: "mqtt://localhost", username: anna, password: "pa ss/wörd", topic: x}
  out: {type: log, from: rest, text: "the key is sesame-key-of-rest"}
"""
    async with site(text, environment={"SITE_KEY": "sesame-key-of-rest", "TOKEN": "plain"}) as web:
        answer = await web.http.get("/api/v1/config")
        assert "sesame" not in answer.text
        running = answer.json()
        assert (running["generation"], running["last_reload"]) == (1, None)
        config = running["flows"]["site"]
        assert config["digest"] == (await get(web, "/api/v1/flows/site"))["digest"]
        assert config["nodes"]["rest"] == {"type": "http-in", "route": "POST /values", "api_key": "***"}
        assert config["nodes"]["out"]["text"] == "the key is ***"
        assert "pa ss" not in answer.text
        (note,) = await get(web, "/api/v1/problems")
        assert note == {
            "file": "site.yaml", "line": 6, "column": 26, "path": "off.from", "code": "disabled-input",
            "message": "'off' does not run: its only input 'away' is disabled", "severity": "note", "hint": "",
            "of": "running",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"x": math.nan, "y": [math.inf]}, {"x": None, "y": [None]}),
        ({"x": 2**200}, {"x": 2**200}),
        ({"x": 2**200, "y": "\ud800"}, {"x": float(2**200), "y": "?"}),
        ({"x": 10**400, "y": "\ud800"}, {"x": None, "y": "?"}),
        ({"x": "\ud800"}, {"x": "?"}),
        (
            {"\udfff": [2**64, "\ud800", math.nan, True, None, b"\x00".hex()]},
            {"?": [2.0**64, "?", None, True, None, "00"]},
        ),
        ({"x": object}, {"x": "<class 'object'>"}),
    ],
)
async def test_a_payload_that_json_cannot_hold_does_not_break_the_answer(web: Site, payload: Any, shown: Any) -> None:
    worker = web.engine.runtime.workers["site/rest"]
    worker.counters.last["out"] = Message(payload=payload, at=0, received_at=0, source="rest")
    assert (await get(web, "/api/v1/flows/site/nodes/rest"))["last"]["out"]["payload"] == shown


async def test_a_payload_without_end(web: Site) -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    worker = web.engine.runtime.workers["site/rest"]
    worker.counters.last["out"] = Message(payload=deep, at=0, received_at=0, source="rest")
    assert "…" in json.dumps(await get(web, "/api/v1/flows/site/nodes/rest"), ensure_ascii=False)


# ---- manual entries -----------------------------------------------------------------------------------------------


async def test_an_entry_counts_is_marked_and_is_audited(fresh: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flowrunner.audit")
    answer = await enter(fresh, {"values": {"soc_percent": 55.5}, "reason": "meter", "by": "anna"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["accepted"]["payload"], body["accepted"]["origin"]) == (
        "OK",
        {"soc_percent": 55.5},
        "manual",
    )
    assert "valid_until" in body["accepted"]["fields"]["soc_percent"]
    assert fresh.record == {"soc_percent": 55.5}
    assert [record.getMessage() for record in caplog.records if record.name == "flowrunner.audit"] == [
        'site/hand: anna entered {"soc_percent":55.5} (meter)'
    ]
    assert (await fresh.http.get("/status")).json()["fields"]["soc_percent"]["origin"] == "manual"
    await enter(fresh, {"values": {"soc_percent": None}})
    assert fresh.record == {}, "null takes a value back"


@pytest.mark.parametrize(
    ("entry", "detail"),
    [
        ({"values": {"soc_percent": 101}}, "soc_percent: 101 is above 100"),
        ({"values": {"soc_percent": "1"}}, "soc_percent: it must be a finite number"),
        ({"values": {"soc_percent": True}}, "soc_percent: it must be a finite number"),
        ({"values": {"soc_percent": math.nan}}, "soc_percent: it must be a finite number"),
        ({"values": {"soc_percent": 10**400}}, "soc_percent: it must be a finite number"),
        ({"values": {"voltage": 1, "soc_percent": 1}}, "voltage: there is no such field"),
        ({"values": {}}, "there is no value"),
        ({"values": [1]}, 'the body must be {"values": {field: number}}'),
        ({"soc_percent": 1}, 'the body must be {"values": {field: number}}'),
        ([], 'the body must be {"values": {field: number}}'),
        ({"values": {"soc_percent": 1}, "why": "x"}, "why is not known here; known: values, reason, by"),
        ({"values": {"soc_percent": 1}, "by": 1}, "by must be a text of at most 500 characters"),
        ({"values": {"soc_percent": 1}, "reason": "x" * 501}, "reason must be a text of at most 500 characters"),
        (
            {"values": {f"soc_{number}": 1 for number in range(101)}},
            "there are more than 100 values, or a name is longer than 64 characters",
        ),
    ],
)  # fmt: skip
async def test_entries_that_are_refused(fresh: Site, entry: Any, detail: str) -> None:
    answer = await enter(fresh, entry)
    assert answer.status_code == 422
    assert answer.json() == {"error": "value", "detail": detail}
    assert fresh.record is None


async def test_other_refusals_of_entries(fresh: Site) -> None:
    good = {"values": {"soc_percent": 1}}
    assert (await enter(fresh, good, content_type="text/plain")).status_code == 415
    assert (await fresh.post("{", VALUES)).json()["error"] == "not-json"
    assert (await fresh.post(" " * 65_537, VALUES)).status_code == 413
    wrong_node = await fresh.post(json.dumps(good), VALUES.replace("hand", "rest"))
    assert (wrong_node.status_code, wrong_node.json()["detail"]) == (
        404, "site/rest takes no manual values; it is a http-in",
    )  # fmt: skip
    assert (await fresh.post(json.dumps(good), VALUES.replace("hand", "hund"))).status_code == 404
    assert fresh.record is None


async def test_entries_are_typed_by_persons_not_streamed(fresh: Site) -> None:
    answers = [await enter(fresh, {"values": {"soc_percent": 1}}) for _ in range(30)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused
    assert {one.headers["retry-after"] for one in refused} == {"1"}


# ---- the key -----------------------------------------------------------------------------------------------------


async def test_everything_but_health_needs_the_key() -> None:
    key = "Schlüssel-0123456789"
    async with site(environment={"FLOWRUNNER_API_KEY": key}) as web:
        paths = ["flows", "flows/site", "flows/site/nodes/rest", "problems", "config", "flows/none"]
        for path in [*(f"/api/v1/{path}" for path in paths), "/metrics"]:
            for header, value in ((b"x-api-key", key), (b"authorization", f"bearer  {key}")):
                assert (await web.http.get(path, headers={header: value.encode()})).status_code in (200, 404), path
        assert (await web.http.get("/health/live")).json() == {"status": "live"}
        assert (await web.http.get("/health/ready")).json() == {"status": "ready"}
        assert (await web.http.get("/status")).status_code == 200, "a route of the flow has its own key"


async def test_without_the_key_nothing_is_said() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": "0123456789abcdef"}) as web:
        empty: dict[str, bytes] = {}
        for headers in (empty, {"x-api-key": b"wrong"}, {"x-api-key": b"\xff\x80"}, {"authorization": b"Bearer"}):
            answer = await web.http.get(
                "/api/v1/flows/none", headers={name.encode(): value for name, value in headers.items()}
            )
            assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized"), headers
    async with site(environment={"FLOWRUNNER_API_KEY": "0123456789abcdef"}) as web:
        for given in ("0123456789abcdef", "Basic 0123456789abcdef", "Bearer 0123456789abcde"):
            answer = await web.http.get("/metrics", headers={"authorization": given})
            assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized"), given
        assert (await enter(web, {"values": {"soc_percent": 1}})).status_code == 401
        assert web.record is None


async def test_who_guesses_keys_is_slowed_down_and_the_owner_is_not() -> None:
    async with site(environment={"FLOWRUNNER_API_KEY": "0123456789abcdef"}) as web:
        answers = [(await web.http.get("/metrics", headers={"x-api-key": f"{guess}"})) for guess in range(20)]
        assert {one.status_code for one in answers} == {401, 429}
        assert (await web.http.get("/metrics", headers={"x-api-key": "0123456789abcdef"})).status_code == 200
