"""A request whose message is rejected on the way: who waits for the answer hears of it at once."""

from __future__ import annotations

import asyncio

from flowrunner.http import Response
from flowrunner.runtime.letters import LETTER_CAP
from flowrunner.testing import Rig, run_flow

FLOW = """
flow: asked
nodes:
  ask: {type: http-in, route: POST /ask}
  check: {type: filter, from: ask, when: t > 3}
  answer: {type: http-response, from: check}
"""
HANDLED = (
    FLOW
    + """
  sorry: {type: http-response, from: check.error, status: 409, body: {wrong: true}}
"""
)


async def ask(rig: Rig) -> Response:
    async with asyncio.timeout(1):  # virtual: the answer comes at once, not after the route's ten seconds
        return await rig.request("POST", "/ask", b'{"other": 1}')


def test_the_client_hears_why() -> None:
    response = run_flow(FLOW, ask)
    assert response.status == 422
    assert response.body["error"] == "expression"  # type: ignore[index]
    assert "'t'" in response.body["detail"] or "t " in response.body["detail"]  # type: ignore[index]


def test_a_flow_may_answer_for_its_errors() -> None:
    response = run_flow(HANDLED, ask)
    assert (response.status, response.body) == (409, b'{"wrong":true}')


def test_a_dead_letter_keeps_the_beginning_of_a_large_message() -> None:
    async def story(rig: Rig) -> int:
        await rig.emit("ask", {"other": "x" * 10 * LETTER_CAP})
        letters = rig.engine.store.dead_letters()
        assert len(letters) == 1
        return len(letters[0].message)

    assert 1000 < run_flow(FLOW, story) < 2 * LETTER_CAP
