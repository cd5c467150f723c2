"""A source hears once, when everything that came of its message is done with, and what was kept is on the disk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.testing import Rig
from tests.runtime.kit import node, numbers, play, refused, types

REGISTRY = types()


async def tell(rig: Rig, *payloads: object, source: str = "src") -> None:
    for payload in payloads:
        node(rig, source).told.put_nowait(payload)
    await rig.settle()


def acked(rig: Rig) -> list[object]:
    return list(node(rig, "src").acked)


def test_it_hears_when_the_last_of_all_branches_is_done() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        assert numbers(rig, "end", "quick.out") == [1, 1]
        assert acked(rig) == []  # the slow branch has it still
        await rig.advance("1s")
        assert acked(rig) == []  # its second copy
        await rig.advance("1s")
        assert numbers(rig, "end", "long.out") == [1, 1]
        assert acked(rig) == [1]

    text = """
  src: {type: tracked}
  quick: {type: relay, how: twice, from: src}
  long: {type: slow, time: 1s, from: quick}
  end: {type: sink, from: [quick, long]}
"""
    play(text, story)


@pytest.mark.parametrize(
    ("payload", "node_text", "late"),
    [
        ("nothing", "{type: relay, from: src}", False),  # the source itself had nothing to send
        (1, "{type: relay, how: none, from: src}", False),  # filtered
        (1, "{type: relay, how: offer, from: src}", False),  # sent while it was processed
        (1, "{type: slow, emit: true, turns: 3, from: src}", False),
        (1, "{type: moody, moods: [reject], from: src}", True),  # rejected: when the dead letter is on the disk
        (1, "{type: moody-async, moods: [reject], from: src}", True),
        (1, "{type: moody, moods: [error], from: src}", True),
        (1, "{type: keeper, from: src}", True),  # kept in state: when that is on the disk
    ],
)
def test_every_end_of_a_message_counts(payload: object, node_text: str, late: bool) -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, payload)
        assert acked(rig) == ([] if late else [payload])
        await rig.advance("10ms")
        assert acked(rig) == [payload]
        assert rig.engine.store.failed is None

    play(f"  src: {{type: tracked}}\n  work: {node_text}\n  end: {{type: sink, from: work}}\n", story)


def test_what_nobody_reads_is_done_at_once() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        assert acked(rig) == [1, 2]

    play("  src: {type: tracked}\n", story)


def test_a_message_that_is_tried_again_is_not_done() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        assert acked(rig) == []
        await rig.advance("1min")
        assert sorted(acked(rig), key=str) == [1, 2]

    play("  src: {type: tracked}\n  work: {type: moody, moods: [away, retry, ok], from: src}\n", story)


def test_a_drop_by_policy_is_an_end() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        await tell(rig, 2, 3, 4)
        assert rig.dropped("work") == {"drop_oldest": 1}
        assert acked(rig) == [2]  # 1 is in work, 3 and 4 wait
        await rig.advance("1h")
        assert sorted(acked(rig), key=str) == [1, 2, 3, 4]

    text = (
        "  src: {type: tracked}\n  work: {type: slow, time: 1s, from: src, queue: {size: 2, when_full: drop_oldest}}\n"
    )
    play(text, story)


def test_an_error_port_that_somebody_reads_holds_it() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, 1)
        assert acked(rig) == []
        await rig.advance("2s")
        assert acked(rig) == [1]
        assert refused(rig) == []

    text = """
  src: {type: tracked}
  work: {type: moody, moods: [reject], from: src}
  care: {type: slow, time: 1s, from: work.error}
"""
    play(text, story)


def test_what_a_stop_leaves_and_keeps_is_acknowledged() -> None:
    """It waits on the disk for the next start: the peer need not bring it again."""

    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2, 3)
        source = node(rig, "src")
        assert await rig.engine.runtime.stop() == []
        assert source.left
        assert source.acked == [1, 2, 3]
        assert [one.seq for one in rig.engine.store.waiting("t", "work")] == [1, 2, 3]

    play("  src: {type: tracked}\n  work: {type: moody, moods: [away], opens: [ok, away, away], from: src}\n", story)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flow_acknowledges_everything_once_and_nothing_early(data: st.DataObject) -> None:
    """A random graph of nodes that take time, multiply, filter, reject and fail."""
    kinds = ["relay, how: new", "relay, how: twice", "relay, how: none", "slow, time: 100ms", "slow, turns: 2",
             "moody, moods: [reject, ok, error, retry, away]", "moody-async, moods: [ok, reject, away]",
             "keeper"]  # fmt: skip
    lines = ["  src: {type: tracked}"]
    names = ["src"]
    for number in range(data.draw(st.integers(1, 6))):
        reads = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        size = data.draw(st.integers(1, 4))
        kind = data.draw(st.sampled_from(kinds))
        durable = data.draw(st.booleans())
        queue = f"{{size: {size}, durable: {str(durable).lower()}}}"
        lines.append(f"  n{number}: {{type: {kind}, from: [{', '.join(reads)}], queue: {queue}}}")
        names.append(f"n{number}")

    async def story(rig: Rig) -> None:
        count = data.draw(st.integers(1, 8))
        sent: list[object] = []
        source = node(rig, "src")
        for number in range(count):
            await tell(rig, number)
            sent.append(number)
            at_work = any(not one.at_rest for one in rig.engine.runtime.workers.values())
            if not at_work:
                await rig.advance("10ms")
            assert len(source.acked) <= len(sent)
            assert len(set(source.acked)) == len(source.acked)
            if data.draw(st.booleans()):
                await rig.advance("50ms")
        await rig.advance("1h")
        assert sorted(source.acked) == sent

    play("\n".join(lines) + "\n", story, registry=REGISTRY)


def test_nobody_waits_for_what_acts_at_most_once() -> None:
    """An order that takes its time must not hold up the telemetry; and it would never be offered the message again."""

    async def story(rig: Rig) -> None:
        await tell(rig, 1, 2)
        assert acked(rig) == [1, 2]
        await rig.advance("1h")
        assert numbers(rig, "end") == [1, 2]

    text = "  src: {type: tracked}\n  work: {type: order, from: src}\n  end: {type: sink, from: work}\n"
    play(text, story)


def test_history_is_acknowledged_when_it_is_on_the_disk() -> None:
    async def story(rig: Rig) -> None:
        await tell(rig, {"soc": 1})
        assert acked(rig) == [{"soc": 1}]
        (row,) = rig.engine.store.read(lambda sql: sql.execute("SELECT payload FROM history").fetchall())
        assert row == (b'{"soc":1}',)

    play("  src: {type: tracked}\n  work: {type: store-out, from: src, keep: 1d}\n", story)
