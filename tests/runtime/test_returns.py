"""Dead letters that are put back: to whom, in which order, and when the letter goes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.graph import GraphNode, check_flows
from flowrunner.message import Message
from flowrunner.runtime.letters import LETTER_CAP, dead_letter
from flowrunner.store import DeadLetter, Store, Wanted
from flowrunner.store.letters import OBSTACLES, mark_letters
from flowrunner.testing import Rig
from tests.runtime.kit import node, numbers, play, types

KINDS = pytest.mark.parametrize("kind", ["moody", "moody-async"])


def flow(options: str, kind: str = "moody", more: str = "") -> str:
    return f"""
  make: {{type: maker, count: 0}}
  work: {{type: {kind}, from: make, {options}}}
  end: {{type: sink, from: work}}
{more}"""


def letters(rig: Rig) -> list[DeadLetter]:
    """Oldest first."""
    return rig.engine.store.dead_letters(Wanted())[::-1]


async def put_back(rig: Rig, *ids: int) -> dict[int, str]:
    answers = await rig.engine.replay_letters(ids or [one.id for one in letters(rig)])
    await rig.advance("1s")
    return answers


# ---- a message that is put back ---------------------------------------------------------------------------------


@KINDS
def test_it_goes_on_with_its_lineage_and_the_letter_goes(kind: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", {"x": 1}, key="north", position="7", at=5)
        (letter,) = letters(rig)
        assert (letter.id, letter.wire, letter.attempts, letter.standing, letter.hindrance) == (
            1, "make.out", 1, "kept", "",
        )  # fmt: skip
        await rig.advance("1h")
        assert await put_back(rig) == {1: ""}
        (message,) = rig.out("work")
        assert (message.payload, message.key, message.at) == ({"x": 1}, "north", 5)
        assert message.lineage() == "make@7 > work"
        assert numbers(rig, "end", "work.out") == [{"x": 1}]
        assert letters(rig) == []

    play(flow("moods: [reject]", kind), story)


@KINDS
def test_rejected_again_it_is_a_new_letter_that_counts(kind: str) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        for attempt in (2, 3):
            (old,) = letters(rig)
            await put_back(rig)
            (new,) = letters(rig)
            assert (new.attempts, new.message, new.wire, new.standing) == (attempt, old.message, old.wire, "kept")
            assert new.id > old.id
        assert rig.errors("work") == {"bad-value": 3}

    play(flow("moods: [reject, reject, reject]", kind), story)


def test_rejected_further_on_it_is_a_first_letter_of_that_node() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await put_back(rig)
        (letter,) = letters(rig)
        assert (letter.node, letter.wire, letter.attempts) == ("next", "work.out", 1)
        await put_back(rig)
        assert letters(rig) == []
        assert numbers(rig, "last") == [1]

    more = "  next: {type: moody, from: work, moods: [reject]}\n  last: {type: sink, from: next}\n"
    play(flow("moods: [reject]", more=more), story)


def test_the_letter_stays_until_all_that_comes_of_it_is_done_with() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await put_back(rig)
        assert numbers(rig, "end") == [1]
        (letter,) = letters(rig)
        assert letter.standing == "back", "the other branch has not done with it"
        await rig.advance("1min")
        assert numbers(rig, "last") == [1]
        assert letters(rig) == []

    more = "  far: {type: moody, from: work, opens: [away, away, away, away]}\n  last: {type: sink, from: far}\n"
    play(flow("moods: [reject]", more=more), story)


def test_many_come_in_order_through_a_small_inbox_that_blocks() -> None:
    count = 250

    async def story(rig: Rig) -> None:
        for number in range(count):
            await rig.emit("make", number)
        assert len(letters(rig)) == count
        assert set((await put_back(rig)).values()) == {""}
        await rig.advance("1h")
        assert numbers(rig, "end") == list(range(count))
        assert letters(rig) == []
        assert rig.dropped("work") == {}

    rejects = ", ".join(["reject"] * count)
    play(flow(f"moods: [{rejects}, away, away], queue: {{size: 3}}"), story)


def test_asked_for_twice_it_comes_once() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.emit("make", 2)
        assert await put_back(rig, 1) == {1: ""}
        assert await put_back(rig, 1) == {1: ""}
        assert rig.worker("work").stuck
        await rig.advance("1min")
        assert numbers(rig, "end") == [1]

    play(flow("moods: [reject, reject, away, away, away]"), story)


def test_a_durable_queue_need_not_keep_it_once_more() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await put_back(rig)
        assert rig.engine.store.inboxes() == {}
        (letter,) = letters(rig)
        assert letter.standing == "back"
        await rig.advance("1min")
        (letter,) = letters(rig)
        assert letter.attempts == 2

    play(flow("moods: [reject, away, away, away, reject], queue: {durable: true}"), story)


def test_nobody_is_answered_who_asked_then() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1, meta={"reply": "t/rest#1", "topic": "a"})
        await put_back(rig)
        (message,) = rig.out("work")
        assert message.meta == {"topic": "a"}

    play(flow("moods: [reject]"), story)


# ---- over an end of the program ---------------------------------------------------------------------------------


def test_a_stop_in_between_loses_nothing_and_doubles_nothing() -> None:
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.emit("make", 2)
        await put_back(rig)
        assert [one.standing for one in letters(rig)] == ["back", "back"]
        assert numbers(rig, "end") == []

    async def second(rig: Rig) -> None:
        await rig.advance("1s")
        assert numbers(rig, "end") == [1, 2]
        assert letters(rig) == []

    async def third(rig: Rig) -> None:
        await rig.advance("1s")
        assert numbers(rig, "end") == []

    play(flow(f"moods: [reject, reject, {', '.join(['away'] * 9)}]"), first, store=store)
    assert store.inboxes() == {}
    play(flow(""), second, store=store)
    play(flow(""), third, store=store)


@pytest.mark.parametrize("standing", ["asked", "back"])
def test_what_was_asked_for_before_a_start_is_put_back_then(standing: Any) -> None:
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        for number in (1, 2, 3):
            await rig.emit("make", number)
        await store.submit(lambda sql: mark_letters(sql, {1: "", 3: ""}, standing))

    async def second(rig: Rig) -> None:
        await rig.advance("1s")
        assert numbers(rig, "end") == [1, 3]
        assert [one.id for one in letters(rig)] == [2]

    play(flow("moods: [reject, reject, reject]"), first, store=store)
    play(flow(""), second, store=store)


def test_an_engine_that_runs_takes_in_what_was_asked_for_outside() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.engine.store.submit(lambda sql: mark_letters(sql, {1: ""}, "asked"))
        await rig.engine.runtime.returns.look()
        await rig.advance("1s")
        assert numbers(rig, "end") == [1]
        assert letters(rig) == []

    play(flow("moods: [reject]"), story)


# ---- what cannot be put back ------------------------------------------------------------------------------------


def refused(first: str, second: str, why: str, *, wish: Any = 1, **more: Any) -> None:
    """Rejected in the first flow, it is not put back in the second, and that is kept with the letter."""
    store = Store.open(None, inline=True)

    async def reject(rig: Rig) -> None:
        await rig.emit("make", wish, **more)
        assert len(letters(rig)) == 1

    async def ask(rig: Rig) -> None:
        assert await put_back(rig) == {1: why}
        (letter,) = letters(rig)
        assert (letter.standing, letter.answer) == ("kept", why)
        assert rig.worker("make").counters.received == 0

    play(first, reject, store=store)
    play(second, ask, store=store)


BAD = flow("moods: [reject]")


def test_of_a_node_that_is_gone() -> None:
    why = "there is no node 'work' in t any more; did you mean 'word'?"
    refused(BAD, flow("").replace("work", "word"), why)
    refused(BAD, "  make: {type: maker, count: 0}\n", "there is no node 'work' in t any more; nodes there: make")


def test_of_a_node_that_is_disabled() -> None:
    refused(BAD, flow("enabled: false"), "t/work does not run: enabled: false")


def test_of_a_wire_that_is_gone() -> None:
    second = flow("").replace("from: make", "from: made") + "  made: {type: maker, count: 0}\n"
    refused(BAD, second, "t/work does not read from 'make.out' any more; did you mean 'made.out'?")


@pytest.mark.parametrize(
    ("payload", "obstacle"),
    [("x" * (LETTER_CAP + 1), "cut"), ({"x": float("nan")}, "cut"), ({1: 2}, "cut")],
)
def test_of_a_message_that_is_not_whole(payload: Any, obstacle: str) -> None:
    refused(BAD, flow(""), OBSTACLES[obstacle], wish=payload)  # type: ignore[index]  # one of them


def test_of_a_message_that_its_node_made_itself() -> None:
    async def story(rig: Rig) -> None:
        await rig.worker("make").ctx.emit(Message(payload={}, at=0, received_at=0, source="make", root=("make", "1")))
        (letter,) = letters(rig)
        assert (letter.node, letter.code, letter.wire) == ("make", "missing-field", "")
        assert await put_back(rig) == {1: OBSTACLES["no-wire"]}

    play(flow("").replace("count: 0", 'count: 0, key: "{site}"'), story)


@pytest.mark.parametrize("then", ["moody", "sink"])
def test_of_a_node_that_acts_at_most_once(then: str) -> None:
    """What answers a request; an exchange-out that sends orders is of the same kind."""
    first = "  make: {type: maker, count: 0}\n  work: {type: http-response, from: make}\n"
    second = first if then == "moody" else first.replace("http-response", "sink")
    refused(first, second, OBSTACLES["at-most-once"])


def test_a_secret_does_not_come_to_the_disk() -> None:
    environment = {"TOKEN": "open-sesame"}

    async def story(rig: Rig) -> None:
        rig.engine.runtime.mask = lambda text: text.replace("open-sesame", "***")
        await rig.emit("make", {"said": "open-sesame!", "open-sesame": 1, "list": ["open-sesame"]})
        (letter,) = letters(rig)
        assert msgspec.json.decode(letter.message)["payload"] == {"said": "***!", "***": 1, "list": ["***"]}
        assert await put_back(rig) == {1: OBSTACLES["secret"]}

    play(BAD, story, environment=environment)


def test_of_a_number_that_there_is_not() -> None:
    async def story(rig: Rig) -> None:
        assert await put_back(rig, 7, 8) == {7: "there is no dead letter 7", 8: "there is no dead letter 8"}

    play(BAD, story)


# ---- the letter itself ------------------------------------------------------------------------------------------

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 3), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=8,
)


def work() -> GraphNode:
    checked = check_flows({"flow.yaml": f"flow: t\nnodes:\n{BAD}"}, {}, types())
    assert checked.graph is not None
    return checked.graph.nodes["t/work"]


WORK = work()


@given(payload=JSONS, meta=st.none() | st.dictionaries(st.text(max_size=4), JSONS, max_size=2), key=st.text(max_size=4))
def test_a_letter_that_can_be_put_back_is_the_very_message(payload: Any, meta: Any, key: str) -> None:
    message = Message(payload=payload, at=1, received_at=2, source="make", key=key, meta=meta, root=("make", "1"))
    letter = dead_letter(WORK, 3, "code", "reason", message, wire="make.out")
    kept = msgspec.json.decode(letter.message)
    assert kept is not None
    if not letter.hindrance:
        assert msgspec.json.decode(letter.message, type=Message) == message
    else:
        assert letter.obstacle == "cut"
        assert repr(payload) + repr(meta) != repr(plain(payload)) + repr(plain(meta))


def plain(value: Any) -> Any:
    """As JSON brings it back."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (ValueError, OverflowError):
        return "no JSON"


@pytest.mark.parametrize("number", [4711, "4711"])
def test_a_number_that_looks_like_a_secret_is_none(number: Any) -> None:
    message = Message(payload={"x": number}, at=1, received_at=2, source="make")
    letter = dead_letter(WORK, 3, "c", "r", message, wire="make.out", mask=lambda text: text.replace("4711", "***"))
    assert letter.obstacle == ("secret" if isinstance(number, str) else "")
    assert msgspec.json.decode(letter.message)["payload"] == {"x": "***" if isinstance(number, str) else number}


def test_whose_hands_it_went_through() -> None:
    """Letters of nodes in one flow are told apart by their nodes."""

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        assert [(one.node, one.wire) for one in letters(rig)] == [("work", "make.out"), ("other", "make.out")]
        await put_back(rig)
        assert letters(rig) == []
        assert node(rig, "work").did[-1][:2] == node(rig, "other").did[-1][:2] == ("ok", 1)

    play(flow("moods: [reject]", more="  other: {type: moody, from: make, moods: [reject]}\n"), story)
