"""Routes whose flow is full, slow, not open or fails; methods; and the record that a status route gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.site import FLOW, Site, site

pytestmark = pytest.mark.anyio


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
    assert field.pop("valid_until") > stamp  # ISO 8601 in UTC sorts as time does
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
