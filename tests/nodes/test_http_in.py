"""http-in in virtual time: rates, ages and restarts; and what its options may not say."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.body import BodyField, example, faults
from flowrunner.graph import check_flows
from flowrunner.http import Response
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.testing.rig import Rig, run_flow

FLOW = """
flow: site
nodes:
  rest: {type: http-in, route: POST /values, rate_limit: 2/min, body: {soc: {min: 0, max: 100, unit: "%"}, power: {}}}
  record: {type: merge, from: rest, stale_after: 90s}
  status: {type: http-in, route: GET /status, reply_with: record, offline_after: 5min}
"""


def body(response: Response) -> Any:
    return msgspec.json.decode(msgspec.json.encode(response.body))


async def status(rig: Rig) -> Any:
    return body(await rig.request("GET", "/status"))


def test_online_stale_offline_and_back() -> None:
    async def story(rig: Rig) -> list[tuple[str, float, bool]]:
        found = []
        await rig.request("POST", "/values", b'{"soc": 50, "power": 1}')
        for wait in ("0s", "89s", "1s", "210s", "1ms"):
            await rig.advance(wait)
            now = await status(rig)
            found.append((now["status"], now["fields"]["soc"]["age_s"], now["fields"]["soc"]["stale"]))
            assert now["soc"] == 50, "the last value stays, with its age"
            assert now["timestamp"] == "2025-01-25T01:00:00.000Z"
        await rig.request("POST", "/values", b'{"soc": 51, "power": 1}')
        found.append(((await status(rig))["status"], 0, False))
        return found

    assert run_flow(FLOW, story) == [
        ("online", 0, False), ("online", 89, False), ("stale", 90, True), ("stale", 300, True),
        ("offline", 300.001, True), ("online", 0, False),
    ]  # fmt: skip


def test_one_fresh_field_of_two_is_stale_not_online() -> None:
    async def story(rig: Rig) -> Any:
        await rig.request("POST", "/values", b'{"soc": 50, "power": 1}')
        await rig.advance("100s")
        await rig.request("POST", "/values", b'{"power": 2}')
        return await status(rig)

    now = run_flow(FLOW, story)
    assert (now["status"], now["fields"]["soc"]["stale"], now["fields"]["power"]["stale"]) == ("stale", True, False)
    assert now["fields"]["soc"]["reason"] == "stale"
    assert now["timestamp"] == "2025-01-25T01:01:40.000Z"


def test_a_bad_value_is_null_with_its_reason_and_never_zero() -> None:
    text = """
flow: site
nodes:
  values: {type: inject, every: 1h, payload: {soc: 7000, power: 1}}
  units: {type: scale, from: values, fields: {soc: {factor: 0.1, max: 100}}}
  status: {type: http-in, route: GET /status, reply_with: units}
"""

    async def story(rig: Rig) -> Any:
        await rig.emit("values", {"soc": 7000, "power": 1})
        return await status(rig)

    now = run_flow(text, story, stubs=["values"])
    assert (now["status"], now["soc"], now["power"]) == ("stale", None, 1)
    assert (now["fields"]["soc"]["quality"], now["fields"]["soc"]["stale"]) == ("bad", True)


def test_a_payload_that_is_no_record() -> None:
    text = """
flow: site
nodes:
  values: {type: inject, once: true, payload: 1}
  status: {type: http-in, route: GET /status, reply_with: values}
"""

    async def story(rig: Rig) -> Any:
        await rig.emit("values", 42)
        return await status(rig)

    now = run_flow(text, story, stubs=["values"])
    assert (now["status"], now["value"], now["fields"]["value"]["source"]) == ("online", 42, "values")


def test_the_newest_record_survives_a_restart_with_its_age(tmp_path: Path) -> None:
    def run(story: Any, start: str) -> Any:
        return run_flow(FLOW, story, start=start, store=Store.open(tmp_path / start[-7:-6], inline=True))

    async def first(rig: Rig) -> None:
        await rig.request("POST", "/values", b'{"soc": 50, "power": 1}')

    store = Store.open(tmp_path, inline=True)
    run_flow(FLOW, first, start="2025-01-25T01:00:00Z", store=store)
    now = run_flow(FLOW, status, start="2025-01-25T01:01:00Z", store=store)
    assert (now["status"], now["soc"], now["fields"]["soc"]["age_s"]) == ("online", 50, 60)


def test_the_rate_is_per_client_and_fills_up_again() -> None:
    async def story(rig: Rig) -> list[tuple[int, str]]:
        found = []
        for wait in ("0s", "0s", "29s", "1s", "29.999s", "1ms", "10min", "0s"):
            await rig.advance(wait)
            answer = await rig.request("POST", "/values", b'{"soc": 1}')
            found.append((answer.status, answer.headers.get("retry-after", "")))
        return found

    assert run_flow(FLOW, story) == [
        (200, ""), (429, "30"), (429, "1"), (200, ""), (429, "1"), (200, ""), (200, ""), (429, "30"),
    ]  # fmt: skip


def test_refusals_are_counted_each_and_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    text = FLOW.replace("rate_limit: 2/min", "rate_limit: 1000/s")

    async def story(rig: Rig) -> dict[str, int]:
        for number in range(50):
            await rig.request("POST", "/values", b'{"soc": %d}' % (101 + number))
        await rig.request("POST", "/values", b"{")
        await rig.advance("61s")
        await rig.request("POST", "/values", b'{"soc": -1}')
        return rig.worker("rest").counters.dropped

    with caplog.at_level(logging.WARNING):
        assert run_flow(text, story) == {"value": 51, "not-json": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "site/rest: refused a request (value) of test: soc: 101 is above 100 %",
        "site/rest: refused a request (not-json) of test: the body is not JSON: Expecting property name enclosed in"
        " double quotes at line 1, column 2",
        "site/rest: refused a request (value) of test: soc: -1 is below 0 % (and 49 more like it)",
    ]


# ---- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("route: POST /x, body: {a: {min: 2, max: 1}}", "rest.body.a: min 2 is above max 1"),
        ("route: POST /x, body: {a: {type: text, min: 2}}", "rest.body.a: min and max belong to numbers"),
        ("route: GET /x, body: {a: {}}", "rest.body: a GET request has no body"),
        ("route: POST /x, reply_with: other", "rest.route: a route that only reads must be GET\n    GET /x"),
        (
            "route: GET /x, reply_with: other, reply: {}",
            "rest.reply_with: a route that answers with a record takes no body and no other reply",
        ),
        *(
            (f"route: POST {path}", f"rest.route: {path} belongs to the program itself\n    take another path")
            for path in ("/", "/api/v1", "/api/v1/x", "/health", "/health/live", "/metrics", "/flows/a", "/events")
        ),
        *(
            (f"route: POST {path}", f"rest.route: {path} belongs to the program itself\n    take another path")
            for path in ("/login", "/logout", "/system", "/static/a/b", "/dashboards/a", "/orders/a")
        ),
    ],
)
def test_contradictions(options: str, problem: str) -> None:
    text = f"flow: site\nnodes:\n  other: {{type: inject, once: true}}\n  rest: {{type: http-in, {options}}}\n"
    found = check_flows({"f.yaml": text}, {}, Registry()).problems
    assert [str(one).split(": ", 1)[1] for one in found] == [problem]


@pytest.mark.parametrize(
    "path", ["/healthy", "/api/v12", "/metrics.json", "/flow", "/api/v1.1/x", "/events-of-plant", "/orders"]
)
def test_paths_that_only_look_like_ours(path: str) -> None:
    text = f"flow: site\nnodes:\n  rest: {{type: http-in, route: POST {path}}}\n"
    assert check_flows({"f.yaml": text}, {}, Registry()).problems == []


numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats(-1e300, 1e300))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.one_of(
            st.builds(BodyField, type=st.sampled_from(["text", "boolean"]), required=st.booleans()),
            st.tuples(st.one_of(st.none(), numbers), st.one_of(st.none(), numbers))
            .map(lambda ends: ends if None in ends else tuple(sorted(ends, key=lambda end: float(end or 0))))
            .map(lambda ends: BodyField(min=ends[0], max=ends[1])),
            st.tuples(st.integers(-100, 100), st.integers(0, 100)).map(
                lambda pair: BodyField(type="integer", min=pair[0], max=pair[0] + pair[1])
            ),
        ),
        min_size=1,
    )
)
def test_the_example_of_a_route_is_one_that_it_takes(rules: dict[str, BodyField]) -> None:
    assert list(faults(example(rules), rules)) == []
