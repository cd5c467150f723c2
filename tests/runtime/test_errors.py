"""The table of ARCHITECTURE §4: what a node raises, and what then happens to its message, its node and its flow."""

from __future__ import annotations

import itertools
import logging

import msgspec
import pytest

from flowrunner.runtime.letters import SHOWN_CAP
from flowrunner.testing import Rig
from flowrunner.units import SECOND
from tests.runtime.kit import node, numbers, play, refused

KINDS = pytest.mark.parametrize("kind", ["moody", "moody-async"])


def flow(kind: str, options: str, *, error: bool = True) -> str:
    text = f"""
  make: {{type: maker, count: 0}}
  work: {{type: {kind}, from: make, {options}}}
  end: {{type: sink, from: work}}
"""
    return text + "  bad: {type: sink, from: work.error}\n" if error else text


def did(rig: Rig) -> list[object]:
    """What ``process`` was called with, in order."""
    return [what for _, what, _ in node(rig, "work").did if what not in ("open", "close")]


async def three(rig: Rig) -> None:
    for number in (1, 2, 3):
        await rig.emit("make", number, key="north")


@KINDS
def test_not_connected_keeps_the_message_and_the_order(kind: str) -> None:
    async def story(rig: Rig) -> None:
        await three(rig)
        view = rig.engine.node("t", "work")
        assert (view["state"], view["connected"], view["inbox"]) == ("disconnected", False, 3)
        assert view["received"] == 0
        assert view["errors"] == {"not-connected": 1}
        assert view["last_error"] == "not-connected: the peer is away"
        assert rig.engine.not_ready() == {"t/work": "disconnected"}
        await rig.advance("10s")
        assert numbers(rig, "end") == [1, 2, 3]
        assert did(rig) == [1, 1, 1, 2, 3]
        view = rig.engine.node("t", "work")
        assert (view["state"], view["connected"], view["received"], view["restarts"]) == ("running", True, 3, 2)
        assert rig.engine.not_ready() == {}
        assert [one["code"] for one in numbers(rig, "bad")] == ["not-connected"], "the outage, once; no message"

    play(flow(kind, "moods: [away, away]"), story)


@KINDS
def test_back_off_doubles_with_jitter_up_to_its_limit_and_starts_anew_after_success(kind: str) -> None:
    async def story(rig: Rig) -> list[float]:
        await rig.emit("make", 1)
        await rig.advance("5min")
        await rig.emit("make", 2)
        await rig.advance("5min")
        calls = [at for _, what, at in node(rig, "work").did if what not in ("open", "close")]
        waits = [(after - before) / SECOND for before, after in itertools.pairwise(calls)]
        for wait, most in zip(waits[:6], (1, 2, 4, 8, 8, 8), strict=True):
            assert 0.8 * most <= wait <= most
        assert len({wait % 1 for wait in waits[:6]}) == 6  # jitter
        assert waits[7] <= 1  # the second outage begins with a short wait
        assert numbers(rig, "end") == [1, 2]
        return waits

    text = flow(kind, "moods: [away, away, away, away, away, away, ok, away], retry: {first: 1s, max: 8s}")
    assert play(text, story) == play(text, story)


@KINDS
def test_retry_offers_the_same_message_after_the_time_that_was_asked_for(kind: str) -> None:
    async def story(rig: Rig) -> None:
        began = rig.now
        await three(rig)
        await rig.advance("4s")
        assert did(rig) == [1]
        await rig.advance("10s")
        assert did(rig) == [1, 1, 1, 2, 3]
        assert [at - began for _, what, at in node(rig, "work").did if what == 1] == [0, 5 * SECOND, 10 * SECOND]
        view = rig.engine.node("t", "work")
        assert (view["state"], view["errors"], view["restarts"]) == ("running", {"retry": 2}, 0)

    play(flow(kind, "moods: [retry, retry]"), story)


@KINDS
def test_reject_leaves_by_the_error_port(kind: str) -> None:
    async def story(rig: Rig) -> None:
        await three(rig)
        assert numbers(rig, "end") == [1, 3]
        assert node(rig, "bad").seen == [
            ("work.error", {"node": "work", "code": "bad-value", "reason": "it is not believed", "message": 2}, "north")
        ]
        (message,) = node(rig, "bad").messages
        assert message.lineage() == "make@test:2 > work"
        assert message.source == "make"
        assert rig.errors("work") == {"bad-value": 1}
        assert refused(rig) == []

    play(flow(kind, "moods: [ok, reject]"), story)


@KINDS
def test_with_nobody_at_the_error_port_it_is_a_dead_letter(kind: str) -> None:
    async def story(rig: Rig) -> None:
        await three(rig)
        (letter,) = rig.engine.store.dead_letters()
        assert (letter.flow, letter.node, letter.code, letter.reason) == (
            "t",
            "work",
            "bad-value",
            "it is not believed",
        )
        kept = msgspec.json.decode(letter.message)
        assert (kept["payload"], kept["key"], kept["root"]) == (2, "north", ["make", "test:2"])
        assert numbers(rig, "end") == [1, 3]
        assert rig.errors("work") == {"bad-value": 1}

    play(flow(kind, "moods: [ok, reject]", error=False), story)


@KINDS
@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("error", "ZeroDivisionError: division by zero"),
        ("exit", "SystemExit: 3"),
        ("cancelled", "CancelledError: "),
        ("number", "BadOutput: it returned a int; return None, a message, a list, or {port: message}"),
        ("text", "BadOutput: it returned a str; "),
        ("nothing-in-a-list", "BadOutput: it returned a NoneType; "),
        ("text-by-port", "BadOutput: it returned a str; "),
        ("half", "BadOutput: it returned a int; "),
        (
            "unknown-port",
            "a message left by the port 'nowhere', which this type does not have (ports: out, side, error)",
        ),
    ],
)
def test_anything_else_is_a_reject_with_a_traceback(
    kind: str, mood: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(rig: Rig) -> None:
        await three(rig)
        assert numbers(rig, "end") == [1, 3]  # the node lives on, and nothing of the failed message went on
        (record,) = numbers(rig, "bad")
        assert record["code"] == "exception"
        assert reason in record["reason"]
        assert record["message"] == 2
        assert rig.engine.node("t", "work")["state"] == "running"

    play(flow(kind, f"moods: [ok, {mood}]"), story)
    (line,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert line.getMessage().startswith("t/work: a message failed: ")
    assert line.exc_info
    assert line.exc_info[2] is not None


@KINDS
def test_fatal_stops_the_flow_and_keeps_the_message(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        await three(rig)
        assert rig.failed == "t/work: the world ends"
        await rig.advance("1h")
        assert numbers(rig, "end") == [1]  # nothing more is processed behind it
        assert rig.engine.node("t", "work")["inbox"] == 2
        assert rig.errors("work") == {"fatal": 1}
        began = rig.now
        assert await rig.engine.runtime.stop() == []
        assert len(rig.engine.store.waiting("t", "work")) == 2
        assert rig.now == began  # nobody waits for what cannot come

    play(flow(kind, "moods: [ok, fatal]"), story)
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.CRITICAL] == [
        "t/work: the world ends: the flow stops"
    ]


@KINDS
@pytest.mark.parametrize(("mood", "code"), [("away", "not-connected"), ("retry", "retry"), ("error", "exception")])
def test_at_most_once_is_never_offered_a_message_again(kind: str, mood: str, code: str) -> None:
    async def story(rig: Rig) -> None:
        type(node(rig, "work")).side_effect = "at_most_once"
        await three(rig)
        await rig.advance("1h")
        assert did(rig) == [1, 2, 3]
        assert numbers(rig, "end") == [1, 3]
        assert [record["code"] for record in numbers(rig, "bad")] == [code]

    play(flow(kind, f"moods: [ok, {mood}]"), story)


def test_at_most_once_that_is_stopped_in_the_middle_says_so() -> None:
    async def story(rig: Rig) -> None:
        type(node(rig, "work")).side_effect = "at_most_once"
        await three(rig)
        assert did(rig) == [1]
        late = await rig.engine.runtime.stop()
        assert late == ["t/work (2 messages left)"]
        (letter,) = rig.engine.store.dead_letters()
        assert (letter.code, msgspec.json.decode(letter.message)["payload"]) == ("interrupted", 1)
        assert "not known" in letter.reason

    play(flow("moody-async", "moods: [hang]", error=False), story)


def test_a_message_that_is_stopped_in_the_middle_is_kept() -> None:
    async def story(rig: Rig) -> None:
        await three(rig)
        assert len(rig.worker("work").inbox) == 2
        assert await rig.engine.runtime.stop() == ["t/work (3 messages left, kept for the next start)"]
        waiting = rig.engine.store.waiting("t", "work")
        assert [msgspec.json.decode(one.message)["payload"] for one in waiting] == [1, 2, 3]
        assert rig.worker("work").counters.received == 0

    play(flow("moody-async", "moods: [hang]"), story)


def test_a_full_error_port_is_counted_and_blocks_nobody() -> None:
    text = """
  make: {type: maker, count: 0}
  work: {type: moody, from: make, moods: [reject, reject, reject, reject]}
  tight: {type: slow, time: 1h, from: work.error, queue: {size: 1}}
  wide: {type: sink, from: work.error}
  end: {type: sink, from: work}
"""

    async def story(rig: Rig) -> None:
        for number in range(5):
            await rig.emit("make", number)
        assert numbers(rig, "end") == [4]
        assert len(numbers(rig, "wide")) == 4
        assert rig.dropped("work") == {"error-port-full": 2}
        assert rig.errors("work") == {"bad-value": 4}
        assert refused(rig) == []  # somebody has them

    play(text, story)


def test_what_finds_no_room_at_the_error_port_is_a_dead_letter() -> None:
    text = """
  make: {type: maker, count: 0}
  work: {type: moody, from: make, moods: [reject, reject, reject, reject]}
  tight: {type: slow, time: 1h, from: work.error, queue: {size: 1}}
"""

    async def story(rig: Rig) -> None:
        for number in range(4):
            await rig.emit("make", number)
        assert rig.dropped("work") == {"error-port-full": 2}
        assert refused(rig) == [("work", "bad-value"), ("work", "bad-value")]

    play(text, story)


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"x": float("nan")}, {"x": None}),
        ("x" * 10_000, '"' + "x" * (SHOWN_CAP - 1) + "…"),
        ({"deep": Unspeakable()}, "(dict that cannot be written: RuntimeError)"),
        ("\ud800", "(str that cannot be written: UnicodeEncodeError)"),
        (2**70, float(2**70)),
    ],
)
@pytest.mark.parametrize("wired", [True, False])
def test_whatever_a_rejected_message_holds_the_record_can_be_written(
    payload: object, shown: object, wired: bool
) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", payload)
        await rig.emit("make", 1)
        assert numbers(rig, "end") == [1]
        if wired:
            (record,) = numbers(rig, "bad")
            assert record["message"] == shown
            msgspec.json.encode(record)
        else:
            (letter,) = rig.engine.store.dead_letters()
            assert msgspec.json.decode(letter.message)["root"] == ["make", "test:1"]

    play(flow("moody", "moods: [reject]", error=wired), story)


def test_a_key_that_cannot_be_made_rejects_the_message_and_not_the_node() -> None:
    text = """
  make: {type: maker, count: 0, key: "{site}"}
  work: {type: relay, from: make, key: "{unit}"}
  end: {type: sink, from: work}
  bad: {type: sink, from: [make.error, work.error]}
"""

    async def story(rig: Rig) -> None:
        make = rig.worker("make").ctx
        for record in ({"site": "n", "unit": "u1"}, {"unit": "u2"}, {"site": "s"}, {"site": "s", "unit": "u3"}):
            await make.emit(make.message(record, position="p"))
        await rig.settle()
        assert [(payload["unit"], key) for _, payload, key in node(rig, "end").seen] == [("u1", "u1"), ("u3", "u3")]
        assert [(one["node"], one["code"]) for one in numbers(rig, "bad")] == [
            ("make", "missing-field"),
            ("work", "missing-field"),
        ]
        assert [key for _, _, key in node(rig, "bad").seen] == ["", "s"]  # the key of what the error is about

    play(text, story)


def test_a_source_with_a_key_that_cannot_be_made_goes_on() -> None:
    text = """
  make: {type: maker, count: 3, pause: 1s, key: "{site}"}
  bad: {type: sink, from: make.error}
"""

    async def story(rig: Rig) -> None:
        await rig.advance("10s")
        assert [one["message"] for one in numbers(rig, "bad")] == [0, 1, 2]
        assert rig.engine.node("t", "make")["state"] == "finished"
        assert rig.worker("make").counters.restarts == 0

    play(text, story)


@pytest.mark.parametrize("kind", ["moody", "moody-async"])
def test_repeated_log_lines_are_limited(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        for number in range(50):
            await rig.emit("make", number)
        await rig.advance("61s")
        await rig.emit("make", 50)

    play(flow(kind, f"moods: [{', '.join(['error'] * 51)}]"), story)
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(lines) == 2
    assert "(and 49 more like it)" in lines[1]
