"""Every answer of a flow's routes, over a real socket: its status, its exact body, and what the flow took."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio
STAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def problem(*fields: tuple[str, str]) -> dict[str, Any]:
    """The body of a 422."""
    details = [{"field": field, "message": message} for field, message in fields]
    return {"error": "value", "detail": "; ".join(message for _, message in fields), "fields": details}


# ---- taken -----------------------------------------------------------------------------------------------------


async def test_a_part_of_the_fields_is_enough(web: Site) -> None:
    answer = await web.post('{"soc_percent": 75.5}')
    assert answer.status_code == 200
    body = answer.json()
    assert STAMP.fullmatch(body["data"].pop("timestamp"))
    assert body == {"status": "OK", "message": "taken", "data": {"soc_percent": 75.5}}
    assert answer.headers["content-type"] == "application/json"
    assert web.record["soc_percent"] == 75.5


async def test_every_type(web: Site) -> None:
    sent = {"soc_percent": 0, "power_mw": -20, "count": 2**64 - 1, "name": "Süd\u0000\U0001f50b", "on": False}
    answer = await web.http.post("/values", json=sent)
    assert answer.status_code == 200
    assert web.record == sent
    assert {name: type(value) for name, value in web.record.items()} == {
        name: type(value) for name, value in sent.items()
    }


@pytest.mark.parametrize(
    "media",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
async def test_ways_to_say_json(web: Site, media: str) -> None:
    assert (await web.post('{"soc_percent": 1}', content_type=media)).status_code == 200


async def test_the_units_of_the_file_travel_with_the_values(web: Site) -> None:
    await web.post('{"soc_percent": 50, "count": 3}')
    fields = (await web.http.get("/status")).json()["fields"]
    assert (fields["soc_percent"]["unit"], fields["count"].get("unit")) == ("%", None)


# ---- refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"soc_percent": "75"}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": true}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": null}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": [1]}', [("soc_percent", "soc_percent must be a number")]),
        ('{"soc_percent": 100.1}', [("soc_percent", "soc_percent: 100.1 is above 100 %")]),
        ('{"soc_percent": -1e-9}', [("soc_percent", "soc_percent: -1e-09 is below 0 %")]),
        ('{"power_mw": 63.036}', [("power_mw", "power_mw: 63.036 is above 20 MW")]),
        ('{"soc_percent": NaN}', [("soc_percent", "soc_percent must be a finite number")]),
        ('{"soc_percent": -Infinity}', [("soc_percent", "soc_percent must be a finite number")]),
        ('{"soc_percent": 1e999}', [("soc_percent", "soc_percent must be a finite number")]),
        ('{"count": 1.5}', [("count", "count must be an integer")]),
        ('{"count": true}', [("count", "count must be an integer")]),
        ('{"count": 18446744073709551616}', [("count", "count must be an integer")]),
        ('{"name": 7}', [("name", "name must be a text")]),
        ('{"on": 1}', [("on", "on must be a boolean")]),
        ('{"on": "true"}', [("on", "on must be a boolean")]),
        ('{"voltage": 1}', [("voltage", "voltage is not a field here")]),
        ('{"soc-percent": 1}', [("soc-percent", "soc-percent is not a field here, did you mean 'soc_percent'?")]),
        ('{"": 1}', [("", " is not a field here")]),
        (
            '{"soc_percent": "x", "power_mw": 21, "count": 1}',
            [("soc_percent", "soc_percent must be a number"), ("power_mw", "power_mw: 21 is above 20 MW")],
        ),
        ("{}", [("", "the body has no field; known: soc_percent, power_mw, count, name, on")]),
        ("[]", [("", "the body must be an object with fields; known: soc_percent, power_mw, count, name, on")]),
        ("75.5", [("", "the body must be an object with fields; known: soc_percent, power_mw, count, name, on")]),
        ("null", [("", "the body must be an object with fields; known: soc_percent, power_mw, count, name, on")]),
    ],
)  # fmt: skip
async def test_wrong_values_are_named_and_nothing_is_taken(web: Site, body: str, fields: list[tuple[str, str]]) -> None:
    before, refused = web.record, web.dropped("rest").get("value", 0)
    answer = await web.post(body)
    assert (answer.status_code, answer.json()) == (422, problem(*fields))
    assert web.record is before
    assert web.dropped("rest")["value"] == refused + 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON: Expecting value at line 1, column 1"),
        (b'{"soc_percent": 75.5', "the body is not JSON: Expecting ',' delimiter at line 1, column 21"),
        (b"soc_percent=75.5", "the body is not JSON: Expecting value at line 1, column 1"),
        (b'{"soc_percent": 1} {}', "the body is not JSON: Extra data at line 1, column 20"),
        (b'{"name": "\xe4"}', "the body is not UTF-8 text"),
        (b'{"name": "\\ud800"}', "the body has a text that is no Unicode: one half of a surrogate pair"),
        (b'{"\\udfff": 1}', "the body has a text that is no Unicode: one half of a surrogate pair"),
        (b'{"soc_percent": 1, "soc_percent": 2}', "the body has the key 'soc_percent' twice"),
        (b'{"x": ' + b"[" * 65 + b"]" * 65 + b"}", "the body is nested too deep: more than 64 levels"),
        (b"[" * 60_000, "the body is nested too deep"),
    ],
)
async def test_not_json(web: Site, body: bytes, detail: str) -> None:
    before = web.record
    answer = await web.post(body)
    assert (answer.status_code, answer.json()) == (400, {"error": "not-json", "detail": detail})
    assert web.record is before


async def test_thousands_of_wrong_fields_are_a_short_answer(web: Site) -> None:
    body = "{" + ",".join(f'"soc_percen{number}": 1' for number in range(3000)) + "}"
    answer = await web.post(body)
    assert answer.status_code == 422
    assert len(answer.json()["fields"]) == 20


async def test_a_huge_integer_is_a_number_out_of_range(web: Site) -> None:
    answer = await web.post('{"soc_percent": ' + "9" * 5000 + "}")
    assert (answer.status_code, answer.json()) == (422, problem(("soc_percent", "soc_percent must be a finite number")))
    answer = await web.post('{"soc_percent": ' + "9" * 30 + "}")
    assert answer.json() == problem(("soc_percent", "soc_percent: 1e+30 is above 100 %"))


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({"content_type": "text/plain"}, "send the body as application/json"),
        ({"content_type": ""}, "send the body as application/json"),
        ({"content_type": "application/x-www-form-urlencoded"}, "send the body as application/json"),
        ({"content_type": "text/plain; application/json"}, "send the body as application/json"),
        ({"content_type": "application/json; charset=iso-8859-1"}, "send the body in UTF-8"),
        ({"content_encoding": "gzip"}, "send the body without content-encoding"),
    ],
)
async def test_wrong_media(web: Site, headers: dict[str, str], detail: str) -> None:
    before = web.record
    answer = await web.post('{"soc_percent": 1}', **headers)
    assert (answer.status_code, answer.json()) == (415, {"error": "media-type", "detail": detail})
    assert web.record is before


async def test_too_large_by_its_declared_length_and_by_what_comes(web: Site) -> None:
    before = web.record
    body = b'{"name": "' + b"x" * 65_536 + b'"}'
    expected = {"error": "too-large", "detail": "the body is larger than 64KiB"}
    declared = await web.post(body)
    assert (declared.status_code, declared.json()) == (413, expected)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    chunked = await web.http.post("/values", content=pieces(), headers={"content-type": "application/json"})
    assert (chunked.status_code, chunked.json()) == (413, expected)
    assert web.record is before
    assert (await web.post(b'{"name": "' + b"x" * (65_536 - 12) + b'"}')).status_code == 200  # exactly 64 KiB


async def test_the_key() -> None:
    async with site(environment={"SITE_KEY": "correct horse ä"}) as web:
        missing = await web.post('{"soc_percent": 1}')
        assert (missing.status_code, missing.json()) == (
            401,
            {"error": "unauthorized", "detail": "the header X-API-KEY is missing"},
        )
        assert missing.headers["www-authenticate"] == "X-API-KEY"
        for wrong in (
            b"correct horse",
            b"correct horse \xc3\xa4\xc3\xa4",
            b"\xff\xfe",
            b"Correct horse \xc3\xa4",
            b"",
        ):
            named = [(b"content-type", b"application/json"), (b"x-api-key", wrong)]
            answer = await web.http.post("/values", content=b'{"soc_percent": 1}', headers=named)
            assert answer.status_code == 401, wrong
            assert "horse" not in answer.text
        assert (await web.http.get("/status")).status_code == 401
        assert web.record is None
        right = [(b"content-type", b"application/json"), (b"x-api-key", "correct horse ä".encode())]
        assert (await web.http.post("/values", content=b'{"soc_percent": 1}', headers=right)).status_code == 200
        assert (await web.http.get("/status", headers=right[1:])).status_code == 200


async def test_a_key_that_nobody_asks_for_does_no_harm(web: Site) -> None:
    assert (await web.post('{"soc_percent": 1}', x_api_key="whatever")).status_code == 200


async def test_too_fast() -> None:
    async with site(FLOW.replace("100000/s", "2/min")) as web:
        first = await web.post('{"soc_percent": 1}')
        second = await web.post('{"soc_percent": 2}')
        assert (first.status_code, second.status_code) == (200, 429)
        assert second.json() == {"error": "too-fast", "detail": "at most 2/min; try again in 30 s"}
        assert second.headers["retry-after"] == "30"
        assert web.record == {"soc_percent": 1}


SLOW_READER = '''
import asyncio
from flowrunner.node import Node

class Slow(Node):
    """Takes one message and keeps it until it is told to go on."""

    async def open(self, ctx):
        self.go_on = asyncio.Event()

    async def process(self, message, ctx):
        await self.go_on.wait()
'''


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(SLOW_READER)
    return tmp_path


async def test_full(slow: Path) -> None:
    text = """
flow: site
nodes:
  rest: {type: http-in, route: POST /values, body: {x: {}}}
  reader: {type: slow, from: rest, queue: {size: 2}}
"""
    async with site(text, nodes=[slow]) as web:
        inbox = web.engine.runtime.inboxes["site/reader"]
        assert (await web.post('{"x": 0}')).status_code == 200
        await web.until(lambda: len(inbox) == 0, "the reader took the first")
        assert [(await web.post('{"x": 1}')).status_code for _ in range(2)] == [200, 200]
        answer = await web.post('{"x": 9}')
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {"error": "full", "detail": "the flow cannot take more now; try again in a second"}
        assert web.dropped("rest") == {"full": 1}
        web.node("reader").go_on.set()
        await web.engine.runtime.drained()
        assert (await web.post('{"x": 9}')).status_code == 200, "there is room again"


async def test_nobody_answers_in_time(slow: Path) -> None:
    text = """
flow: site
nodes:
  ask: {type: http-in, route: POST /ask, timeout: 50ms}
  reader: {type: slow, from: ask}
  answer: {type: http-response, from: reader}
"""
    async with site(text, nodes=[slow]) as web:
        answer = await web.post("{}", "/ask")
        assert (answer.status_code, answer.json()) == (
            504,
            {"error": "timeout", "detail": "the flow gave no answer within 50ms"},
        )
        assert web.engine.runtime.workers["site/ask"].counters.errors == {"timeout": 1}
        assert web.engine.runtime.replies._open == {}, "nobody is waited for any more"
        web.node("reader").go_on.set()


async def test_not_found_and_wrong_method(web: Site) -> None:
    answer = await web.http.get("/nothing/here%20at%2Fall?x=1")
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "no-route", "detail": "there is nothing at /nothing/here at/all"},
    )
    for method, path, allow in (
        ("GET", "/values", "POST"),
        ("HEAD", "/values", "POST"),
        ("DELETE", "/status", "GET, HEAD"),
        ("OPTIONS", "/status", "GET, HEAD"),
        ("PROPFIND", "/status", "GET, HEAD"),
        ("POST", "/health/live", "GET, HEAD"),
        ("POST", "/api/v1/flows", "GET, HEAD"),
        ("GET", "/api/v1/flows/site/nodes/hand/values", "POST"),
    ):
        answer = await web.http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow), (method, path)
        if method != "HEAD":
            assert answer.json() == {"error": "method", "detail": f"{path} takes {allow}"}
    assert (await web.http.get("/status/")).status_code == 404, "a path is what the file says"
    assert (await web.http.get("/%73tatus")).status_code == 200
    assert (await web.http.get("/%2573tatus")).status_code == 404, "decoded once"


async def test_head(web: Site) -> None:
    for path in ("/status", "/health/live", "/health/ready", "/metrics", "/api/v1/flows", "/api/v1/config"):
        got, head = await web.http.get(path), await web.http.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_get_that_gives_the_flow_something_is_not_done_by_other_sites_or_by_head() -> None:
    text = "flow: site\nnodes:\n  hook: {type: http-in, route: GET /hook}\n  out: {type: log, from: hook}\n"
    async with site(text) as web:
        foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert (await web.http.get("/hook?x=1", headers=foreign)).status_code == 403
        head = await web.http.head("/hook?x=1")
        assert (head.status_code, head.headers["allow"]) == (405, "GET")
        assert web.last("hook") is None
        assert (await web.http.get("/hook?x=1&y=%C3%A4")).json() == {"status": "OK"}
        taken = web.last("hook")
        assert taken is not None
        assert taken.payload == {"x": "1", "y": "ä"}


@pytest.mark.parametrize(
    ("body", "field"), [('[1, {"a": NaN}]', "[1].a"), ("1e400", ""), ('{"a": [[-Infinity]]}', "a[0][0]")]
)
async def test_a_route_for_any_json_takes_no_number_that_is_none(body: str, field: str) -> None:
    text = "flow: site\nnodes:\n  any: {type: http-in, route: POST /any}\n  out: {type: log, from: any}\n"
    async with site(text) as web:
        answer = await web.post(body, "/any")
        assert (answer.status_code, answer.json()) == (
            422, problem((field, f"{field or 'the body'} must be a finite number")),
        )  # fmt: skip
        assert web.last("any") is None
        assert (await web.post('[1, "x", null, {"a": true}]', "/any")).status_code == 200


NOT_OPEN = '''
from flowrunner.errors import NotConnected
from flowrunner.http import Response
from flowrunner.node import Node

class Door(Node):
    """A route whose node never opens, or fails."""

    inputs = "none"

    class Options(Node.Options):
        opens: bool = False

    def claims(self):
        return ["route:GET /door"]

    async def open(self, ctx):
        if not self.options.opens:
            raise NotConnected("the peer is away")

    async def handle(self, request, ctx):
        raise RuntimeError("the combination is 4711")
'''


async def test_a_node_that_is_not_open_and_one_that_fails(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(NOT_OPEN)
    async with site("flow: site\nnodes:\n  door: {type: door}\n", nodes=[tmp_path]) as web:
        answer = await web.http.get("/door")
        assert (answer.status_code, answer.json()) == (503, {"error": "starting", "detail": "door is not ready yet"})
        assert answer.headers["retry-after"] == "1"
        ready = await web.http.get("/health/ready")
        assert (ready.status_code, ready.json()) == (
            503, {"status": "not ready", "nodes": [{"node": "site/door", "state": "disconnected"}]},
        )  # fmt: skip
    async with site("flow: site\nnodes:\n  door: {type: door, opens: true}\n", nodes=[tmp_path]) as web:
        await web.until(lambda: not web.engine.not_ready(), "open")
        answer = await web.http.get("/door")
        assert (answer.status_code, answer.json()) == (
            500, {"error": "internal", "detail": "door could not handle this request; its log says why"},
        )  # fmt: skip
        assert web.engine.runtime.workers["site/door"].counters.errors == {"exception": 1}
        assert (await web.http.get("/health/ready")).json() == {"status": "ready"}


# ---- the newest record -----------------------------------------------------------------------------------------------


async def test_status_before_any_value_and_after() -> None:
    async with site() as web:
        await status_before_any_value_and_after(web)


async def status_before_any_value_and_after(web: Site) -> None:
    nothing = (await web.http.get("/status")).json()
    assert (nothing["status"], nothing["timestamp"], nothing["soc_percent"]) == ("offline", None, None)
    assert nothing["fields"]["soc_percent"] == {
        "value": None,
        "stale": True,
        "quality": "bad",
        "reason": "no value yet",
    }
    stamp = (await web.post('{"soc_percent": 50}')).json()["data"]["timestamp"]
    one = (await web.http.get("/status")).json()
    assert (one["status"], one["timestamp"], one["soc_percent"], one["power_mw"]) == ("stale", stamp, 50, None)
    field = one["fields"]["soc_percent"]
    assert 0 <= field.pop("age_s") < 10
    assert field == {
        "value": 50, "at": stamp, "source": "rest", "origin": "automatic", "quality": "good", "stale": False,
        "unit": "%",
    }  # fmt: skip
    await web.post('{"power_mw": 1, "count": 1, "name": "", "on": true}')
    assert (await web.http.get("/status")).json()["status"] == "online"


async def test_several_keys() -> None:
    text = """
flow: site
nodes:
  rest: {type: http-in, route: POST /values, key: "{site}", body: {site: {type: text}, soc_percent: {}}}
  status: {type: http-in, route: GET /status, reply_with: rest}
"""
    async with site(text) as web:
        await web.post('{"site": "north", "soc_percent": 1}')
        assert (await web.http.get("/status")).json()["key"] == "north", "one key needs no question"
        await web.post('{"site": "süd/ä b", "soc_percent": 2}')
        both = await web.http.get("/status")
        assert (both.status_code, both.json()) == (
            404,
            {
                "error": "unknown-key",
                "detail": "there are several records; ask with ?key=…",
                "keys": ["north", "süd/ä b"],
            },
        )
        south = (await web.http.get("/status", params={"key": "süd/ä b"})).json()
        assert (south["key"], south["soc_percent"]) == ("süd/ä b", 2)
        none = await web.http.get("/status", params={"key": "west"})
        assert (none.status_code, none.json()["detail"]) == (404, "there is no record of 'west'")
