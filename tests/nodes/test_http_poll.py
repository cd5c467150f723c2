"""http-poll: a real engine that asks a real server, which answers byte by byte what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flowrunner.units import SECOND, parse_instant
from tests.end_to_end.living import Living, living
from tests.peers.raw_http import Asked, RawServer, Reply, always, serve, text

pytestmark = pytest.mark.anyio
FIELDS = "fields: {power_mw: {path: data.power, unit: MW, min: -20, max: 20}, soc: {path: soc}}"


@asynccontextmanager
async def polling(
    folder: Path, reply: Reply, *options: str, path: str = "/now?token=t0ken", speed: float = 50, fields: str = FIELDS
) -> AsyncIterator[tuple[Living, RawServer]]:
    async with serve(reply) as server:
        lines = "\n".join(f"    {one}" for one in (fields, *options) if one)
        flow = f"flow: bess\nnodes:\n  p:\n    type: http-poll\n    url: {server.url}{path}\n    every: 1s\n{lines}\n"
        flow += "  e: {type: merge, from: p.error, stale_after: 1h}\n"
        async with living(folder, text=flow, speed=speed) as running:
            yield running, server


async def records(flow: Living, count: int) -> list[Any]:
    await flow.until(lambda: len(flow.seen.get("p", ())) >= count, f"{count} records")
    return flow.seen["p"][:count]


async def test_a_record_with_times_and_units(tmp_path: Path) -> None:
    answer = '{"data": {"power": 2500, "unit": "kW", "timestamp": "2025-01-25T20:30:00Z"}, "soc": 75.5, "unit": "%"}'
    async with polling(tmp_path, always(text(answer)), 'headers: {X-API-KEY: s3cret, X-None: ""}') as (flow, server):
        first, second = await records(flow, 2)
        assert first.payload == {"power_mw": 2.5, "soc": 75.5}
        assert first.info("power_mw").at == parse_instant("2025-01-25T20:30:00Z")
        assert (first.info("power_mw").unit, first.info("soc").quality) == ("MW", "good")
        assert first.at == first.info("soc").at
        assert first.root != second.root
        assert server.asked[0].line == "GET /now?token=t0ken HTTP/1.1"
        assert (server.asked[0].header("x-api-key"), server.asked[0].header("x-none")) == ("s3cret", None)
        node = flow.node("p")
        assert (node["connected"], node["errors"]) == (True, {})
        assert "s3cret" not in str(await flow.get("/api/v1/config"))


async def test_a_post_and_json_as_it_is(tmp_path: Path) -> None:
    async with polling(
        tmp_path, always(text('[1, {"a": null}]')), "method: POST", "body: {zone: AT}", fields=""
    ) as (flow, server):  # fmt: skip
        (first,) = await records(flow, 1)
        assert (first.payload, first.fields) == ([1, {"a": None}], None)
        assert (server.asked[0].line[:4], server.asked[0].body) == ("POST", b'{"zone":"AT"}')
        assert server.asked[0].header("content-type") == "application/json"


BAD: dict[str, tuple[bytes, dict[str, str]]] = {
    "missing": (text('{"soc": 5}'), {"missing-value": "power_mw: there is no 'data.power'"}),
    "null": (text('{"soc": 5, "data": {"power": null}}'), {"null-value": "power_mw: data.power is null"}),
    "text": (text('{"soc": 5, "data": {"power": "2"}}'), {"not-a-number": "power_mw: data.power is"}),
    "NaN": (text('{"soc": 5, "data": {"power": NaN}}'), {"out-of-range": "power_mw: data.power is no finite"}),
    "unit": (text('{"soc": 5, "data": {"power": 2, "unit": "bar"}}'), {"unknown-unit": "power_mw: data.unit: cannot"}),
    "beyond": (text('{"soc": 5, "data": {"power": 21}}'), {"not-believed": "power_mw: 21 is above 20 MW"}),
}
WHOLE: dict[str, tuple[bytes, str, str]] = {
    "404": (text("no", "404 Not Found"), "http-status", "the server answers 404 Not Found"),
    "302": (text("", "302 Found", more="location: http://x/\r\n"), "http-status", "redirects are not followed"),
    "401": (text("", "401 No"), "http-status", "check the key"),
    "no JSON": (text("<html>"), "not-json", "the answer cannot be read: the body is not JSON"),
    "empty": (text(b"", "204 No Content"), "not-json", "cannot be read"),
    "no HTTP": (b"220 hello\r\n\r\n", "no-answer", "what came back is no HTTP"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_field_that_has_no_value(tmp_path: Path, what: str) -> None:
    answer, errors = BAD[what]
    async with polling(tmp_path, always(answer)) as (flow, _):
        (first,) = await records(flow, 1)
        assert first.payload == {"soc": 5}
        assert (first.info("power_mw").quality, first.info("power_mw").unit) == ("bad", "MW")
        ((code, reason),) = errors.items()
        error = flow.engine.runtime.workers["bess/p"].counters.last["error"].payload
        assert error["code"] == code
        assert reason in error["reason"]


@pytest.mark.parametrize("what", WHOLE)
@pytest.mark.parametrize("fields", [FIELDS, ""], ids=["fields", "whole"])
async def test_a_poll_that_fails(tmp_path: Path, what: str, fields: str) -> None:
    answer, code, reason = WHOLE[what]
    async with polling(tmp_path, always(answer), fields=fields) as (flow, _):
        counters = flow.engine.runtime.workers["bess/p"].counters
        await flow.until(lambda: counters.errors.get(code, 0) >= 2, "two errors")
        assert reason in counters.last["error"].payload["reason"]
        assert "t0ken" not in str(counters.last["error"].payload)
        if fields:
            (first,) = await records(flow, 1)
            assert (first.payload, first.info("soc").quality) == ({}, "bad")
        else:
            assert "p" not in flow.seen


async def test_a_server_that_is_away_and_comes(tmp_path: Path) -> None:
    async with polling(tmp_path, always(text('{"data": {"power": 1}, "soc": 5}'))) as (_, server):
        port = server.port
    flow_text = f"flow: bess\nnodes:\n  p: {{type: http-poll, url: 'http://127.0.0.1:{port}/', every: 1s, {FIELDS}}}\n"
    async with living(tmp_path / "other", text=flow_text, speed=50) as flow:
        (first,) = await records(flow, 1)
        assert first.payload == {}
        assert flow.node("p")["connected"] is False
        assert "connection refused" in flow.node("p")["last_error"]
        async with serve(always(text('{"data": {"power": 1}, "soc": 5}')), port=port):
            await flow.until(lambda: flow.seen["p"][-1].payload == {"power_mw": 1, "soc": 5}, "a record")
            assert flow.node("p")["connected"] is True


async def test_a_silent_server_piles_up_nothing(tmp_path: Path) -> None:
    open_now = most = 0

    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            await asyncio.Event().wait()
        finally:
            open_now -= 1

    async with polling(tmp_path, silent, "timeout: 100ms") as (flow, _):
        counters = flow.engine.runtime.workers["bess/p"].counters
        await flow.until(lambda: counters.errors.get("no-answer", 0) >= 3, "three errors")
        assert most <= 3  # the server may see the end of one after the beginning of the next
        assert flow.node("p")["connected"] is False


async def test_polls_are_aligned_and_retry_after_is_kept(tmp_path: Path) -> None:
    day = "Sat, 25 Jan 2025"
    answers = always(
        text("", "429 Slow", more="retry-after: 30\r\n"),
        text("", "503 Later", more=f"date: {day} 10:00:00 GMT\r\nretry-after: {day} 10:01:00 GMT\r\n"),
        text('{"soc": 1}'),
        text("", "429 Slow", more=f"date: {day} 10:00:00 GMT\r\nretry-after: {day} 10:01:00 +9999999999999\r\n"),
        text('{"soc": 2}'),
    )  # fmt: skip
    async with polling(tmp_path, answers, speed=100) as (flow, _):
        found = await records(flow, 6)
        assert flow.node("p")["errors"].get("internal") is None
        due = [parse_instant(one.root[1]) for one in found]
        gaps = [(later - before) / SECOND for before, later in pairwise(due)]
        assert 30 <= gaps[0] < 40
        assert 60 <= gaps[1] < 70
        assert {one % SECOND for one in due[1:]} == {due[1] % SECOND}  # the node's own place in the second


async def test_two_nodes_that_ask_one_server_share_its_connections(tmp_path: Path) -> None:
    async with serve(always(text('{"soc": 1}'))) as server:
        one = f"{{type: http-poll, url: '{server.url}/%s', every: 1h, fields: {{soc: {{}}}}}}"
        async with living(tmp_path, text=f"flow: bess\nnodes:\n  p: {one % 'a'}\n  q: {one % 'b'}\n") as flow:
            await flow.until(lambda: len(flow.seen) == 2, "both")
            nodes = [flow.engine.runtime.workers[f"bess/{name}"].node for name in "pq"]
            assert nodes[0].client is nodes[1].client  # type: ignore[attr-defined]  # of this type of node
