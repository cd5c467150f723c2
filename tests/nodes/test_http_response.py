"""http-response: what the one who asked gets, and what happens when there is nobody."""

from __future__ import annotations

from typing import Any

import pytest

from flowrunner.graph import check_flows
from flowrunner.http import Response
from flowrunner.registry import Registry
from flowrunner.testing.rig import Rig, run_flow


def flow(options: str = "") -> str:
    return f"""
flow: site
nodes:
  ask: {{type: http-in, route: POST /ask, timeout: 5s}}
  answer: {{type: http-response, from: ask{", " if options else ""}{options}}}
"""


def ask(options: str, body: bytes) -> tuple[Response, dict[str, int]]:
    async def story(rig: Rig) -> tuple[Response, dict[str, int]]:
        return await rig.request("POST", "/ask", body), rig.errors("answer")

    return run_flow(flow(options), story)


@pytest.mark.parametrize(
    ("options", "status", "headers", "body"),
    [
        ("", 200, {"content-type": "application/json"}, '{"name":"Süd","n":1}'),
        ("status: 202, body: {done: true}", 202, {"content-type": "application/json"}, '{"done":true}'),
        ('body: "{name} has {n}"', 200, {"content-type": "text/plain; charset=utf-8"}, "Süd has 1"),
        (
            'headers: {X-Name: "{name}", Content-Type: text/csv}, body: "{n};"', 200,
            {"x-name": "Süd", "content-type": "text/csv"}, "1;",
        ),
        ("status: 204", 204, {}, None),
    ],
)  # fmt: skip
def test_answers(options: str, status: int, headers: dict[str, str], body: str | None) -> None:
    answer, errors = ask(options, '{"name": "Süd", "n": 1}'.encode())
    assert (answer.status, dict(answer.headers), errors) == (status, headers, {})
    assert answer.body == (None if body is None else body.encode())


@pytest.mark.parametrize(
    ("options", "body", "code"),
    [
        ('headers: {X-Name: "{name}"}', b'{"name": "a\\r\\nSet-Cookie: b"}', "header"),
        ('headers: {X-Name: "{name}"}', b'{"name": "a\\u0000"}', "header"),
        ('headers: {X-Name: "{name}"}', '{"name": "5 €"}'.encode(), "header"),
        ('headers: {X-Name: "{name}"}', b"{}", "missing-field"),
        ('body: "{name}"', b"{}", "missing-field"),
    ],
)
def test_an_answer_that_cannot_be_made_is_a_500_at_once_without_internals(options: str, body: bytes, code: str) -> None:
    answer, errors = ask(options, body)
    assert (answer.status, errors) == (500, {code: 1})
    assert answer.body == {"error": "internal", "detail": "answer could not make the answer; its log says why"}


def test_a_payload_that_json_cannot_hold() -> None:
    text = flow().replace("from: ask", "from: [ask, other]") + "  other: {type: inject, once: true, payload: 1}\n"

    async def story(rig: Rig) -> tuple[Any, dict[str, int]]:
        request = rig.engine.runtime.replies.expect("test")
        await rig.emit("other", {"x": object()}, meta={"reply": request[0]})
        return await request[1], rig.errors("answer")

    answer, errors = run_flow(text, story, stubs=["other"])
    assert (answer.status, errors) == (500, {"body": 1})


def test_nobody_waits_any_more() -> None:
    two = flow() + "  again: {type: http-response, from: ask}\n"

    async def story(rig: Rig) -> tuple[int, dict[str, int], dict[str, int]]:
        answer = await rig.request("POST", "/ask", b"{}")
        return answer.status, rig.worker("answer").counters.dropped, rig.worker("again").counters.dropped

    status, first, second = run_flow(two, story)
    assert status == 200
    assert sorted([first, second], key=len) == [{}, {"nobody-waits": 1}]


def test_a_message_that_nobody_asked_for() -> None:
    text = flow().replace("ask: {type: http-in, route: POST /ask, timeout: 5s}", "ask: {type: inject, once: true}")

    async def story(rig: Rig) -> dict[str, int]:
        await rig.emit("ask", 1)
        return rig.errors("answer")

    assert run_flow(text, story, stubs=["ask"]) == {"no-request": 1}


def test_an_answer_that_comes_too_late() -> None:
    """504 for the one who asked; the answer that comes later is counted, not sent to somebody else."""
    text = """
flow: site
nodes:
  ask: {type: http-in, route: POST /ask, timeout: 5s}
  collect: {type: merge, from: ask, settle: 10s}
  answer: {type: http-response, from: collect}
"""

    async def story(rig: Rig) -> tuple[int, dict[str, int]]:
        answer = await rig.request("POST", "/ask", b'{"x": 1}')
        await rig.advance("10s")
        return answer.status, rig.errors("ask")

    assert run_flow(text, story) == (504, {"timeout": 1})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ('headers: {"X Name": a}', "answer.headers.X Name: 'X Name' cannot be the name of a header"),
        ('headers: {"X:": a}', "answer.headers.X:: 'X:' cannot be the name of a header"),
        ("headers: {Content-Length: '5'}", "answer.headers.Content-Length: the server itself writes the header"),
        ("status: 204, body: text", "answer.body: an answer with status 204 has no body"),
        ("status: 100", "answer.status: "),
        ("status: 600", "answer.status: "),
    ],
)
def test_contradictions(options: str, problem: str) -> None:
    (found,) = check_flows({"f.yaml": flow(options)}, {}, Registry()).problems
    assert problem in str(found)
