"""What nodes may ask of their context, in ordinary and in wrong ways."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.errors import Reject
from flowrunner.http import Response
from flowrunner.runtime.context import PAYLOAD_CAP
from flowrunner.runtime.letters import encoded, too_large
from flowrunner.runtime.lineage import BadOutput
from flowrunner.testing import Rig
from tests.runtime.kit import node, numbers, play

FLOW = """
  make: {type: maker, count: 0}
  work: {type: slow, time: 1s, from: make, queue: {size: 1}}
  wide: {type: sink, from: make}
  bad: {type: sink, from: make.error}
"""


def test_offer_is_taken_by_all_or_none() -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        taken = []
        for number in range(4):
            taken.append(ctx.offer(ctx.message(number, position=str(number))))
            await rig.settle()
        assert taken == [True, True, False, False]  # one in work, one in the inbox
        assert numbers(rig, "wide") == [0, 1]
        assert rig.worker("make").counters.sent == 2

    play(FLOW, story)


def test_an_error_beside_the_work_has_its_own_root() -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        ctx.error("no-value", "register 3: no answer")
        ctx.error("no-value", "register 3: no answer", await rig.emit("make", {"x": 1}, key="north"))
        first, second = node(rig, "bad").messages
        assert first.payload == {"node": "make", "code": "no-value", "reason": "register 3: no answer", "message": None}
        assert first.lineage() == f"make@error:{rig.now}:1"
        assert (second.payload["message"], second.key, second.root) == ({"x": 1}, "north", ("make", "test:1"))
        assert rig.errors("make") == {"no-value": 2}

    play(FLOW, story)


def test_a_port_that_the_type_does_not_have_is_refused_at_once() -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        message = ctx.message(1, position="1")
        with pytest.raises(
            BadOutput, match=r"by the port 'nowhere', which this type does not have \(ports: out, error\)"
        ):
            ctx.offer(message, "nowhere")
        with pytest.raises(BadOutput):
            await ctx.emit(message, "nowhere")
        assert rig.worker("make").counters.sent == 0

    play(FLOW, story)


def test_a_payload_has_a_largest_size() -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        ctx.message("x" * (PAYLOAD_CAP - 2), position="")
        with pytest.raises(Reject, match="the payload is larger than 1048576 characters of JSON"):
            ctx.message("x" * PAYLOAD_CAP, position="")
        with pytest.raises(Reject, match="too-large"):
            ctx.message({"a": [["x" * 1000]] * 1100}, position="")

    play(FLOW, story)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


@given(JSONS, st.integers(1, 300))
def test_what_fits_as_json_text_is_never_too_large(payload: object, cap: int) -> None:
    """The estimate is below the true size: a source that limits its texts never runs into it."""
    if len(encoded(payload).decode()) < cap:
        assert not too_large(payload, cap)


@settings(max_examples=20)
@given(st.integers(10_000, 20_000))
def test_what_is_far_too_large_is_found(cap: int) -> None:
    large: list[object] = ["x" * 2 * cap, ["x"] * 2 * cap, {str(one): 0 for one in range(2 * cap)}, [[[]] * cap] * 2]
    for payload in large:
        assert too_large(payload, cap)


def test_replies_reach_whoever_waits_and_nobody_else() -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        handle, answer = ctx.expect_reply()
        other, _ = ctx.expect_reply()
        assert handle != other
        assert ctx.reply(handle, Response(status=201))
        assert not ctx.reply(handle, Response(status=202))  # once
        assert (await answer).status == 201
        ctx.forget_reply(other)
        assert not ctx.reply(other, Response())
        assert not ctx.reply("t/make#99", Response())

    play(FLOW, story)


def test_connected_is_told_once_and_readiness_follows(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        for _ in range(3):
            ctx.connected(False, "refused")
        assert rig.engine.not_ready() == {"t/make": "disconnected"}
        assert rig.errors("make") == {"not-connected": 1}
        ctx.connected(False, "no route")  # another reason is news
        assert rig.errors("make") == {"not-connected": 2}
        ctx.connected(True)
        assert rig.engine.not_ready() == {}

    play(FLOW, story)


def test_a_request_whose_key_cannot_be_made_is_refused_and_not_a_crash() -> None:
    text = """
  rest: {type: http-in, route: POST /values, key: "{site}", body: {x: {}, site: {type: text}}}
  end: {type: sink, from: rest}
"""

    async def story(rig: Rig) -> None:
        answer = await rig.request("POST", "/values", b'{"x": 1}')
        assert (answer.status, answer.body) == (
            422,
            {"error": "missing-field", "detail": "the text needs 'site', which this message does not have"},
        )
        assert (await rig.request("POST", "/values", b'{"x": 1, "site": "n"}')).status == 200
        assert node(rig, "end").seen == [("rest.out", {"x": 1, "site": "n"}, "n")]
        assert rig.errors("rest") == {"missing-field": 1}

    play(text, story)
