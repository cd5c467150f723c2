"""Order and completeness: whatever the graph, the queues and the load, nothing is lost, doubled or overtaken."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.testing import Rig
from tests.runtime.grown import Grown, graphs
from tests.runtime.kit import node, numbers, play, refused, types

REGISTRY = types()


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_nothing_is_lost_doubled_or_overtaken(graph: Grown) -> None:
    text, sent = graph

    async def story(rig: Rig) -> None:
        await rig.advance("1h")
        for name, expected in sent.items():
            assert Counter(numbers(rig, "end", f"{name}.out")) == expected
            assert numbers(rig, "end", f"{name}.out") == rig.payloads(name)  # the order of each wire is kept
            assert rig.worker(name).counters.sent == sum(expected.values())
        assert all(worker.at_rest for worker in rig.engine.runtime.workers.values())
        assert not any(rig.dropped(name) or rig.errors(name) for name in sent)

    play(text, story, registry=REGISTRY)


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from(["drop_oldest", "drop_newest", "latest"]),
    size=st.integers(1, 5),
    count=st.integers(1, 80),
    how=st.sampled_from(["slow, time: 2ms", "slow, turns: 2", "relay"]),
)
def test_inboxes_that_drop_keep_the_order_and_count_every_loss(policy: str, size: int, count: int, how: str) -> None:
    text = f"""
  make: {{type: maker, count: {count}, pause: 1ms, keys: 3}}
  work: {{type: {how}, from: make, queue: {{size: {size}, when_full: {policy}}}}}
  end: {{type: sink, from: work}}
"""

    async def story(rig: Rig) -> None:
        await rig.advance("10s")
        by_key: dict[str, list[int]] = {}
        for _, payload, key in node(rig, "end").seen:
            by_key.setdefault(key, []).append(payload)
        assert all(one == sorted(set(one)) for one in by_key.values())  # per wire and key, nothing twice
        came = rig.worker("work").counters.received
        assert came + sum(rig.dropped("work").values()) == count
        assert set(rig.dropped("work")) <= {policy}
        assert count - 1 in numbers(rig, "end") or policy == "drop_newest"  # what is newest always gets through

    play(text, story, registry=REGISTRY)


def test_a_sibling_with_room_is_served_while_another_is_full() -> None:
    text = """
  make: {type: maker, count: 0}
  double: {type: relay, how: twice, from: make}
  tight: {type: slow, time: 1s, from: double, queue: {size: 1}}
  wide: {type: sink, from: double}
"""

    async def story(rig: Rig) -> None:
        for number in range(3):
            await rig.emit("make", number)
        # one in work, one in the inbox of `tight`; the second message's twins wait at its door, but not at `wide`'s
        assert numbers(rig, "wide") == [0, 0, 1, 1]
        assert rig.worker("tight").inbox.in_line == 2
        assert len(rig.worker("double").inbox) == 1  # back-pressure: nothing more is processed meanwhile
        await rig.advance("10s")
        assert numbers(rig, "wide") == [0, 0, 1, 1, 2, 2]
        assert rig.payloads("tight") == [0, 0, 1, 1, 2, 2]

    play(text, story)


def test_one_full_reader_does_not_hold_back_what_another_full_one_waits_for() -> None:
    text = """
  make: {type: maker, count: 0}
  double: {type: relay, how: twice, from: make}
  never: {type: slow, time: 1h, from: double, queue: {size: 1}}
  later: {type: slow, time: 1s, from: double, queue: {size: 1}}
"""

    async def story(rig: Rig) -> None:
        await rig.emit("make", 1)
        await rig.emit("make", 2)
        await rig.advance("10s")
        assert rig.payloads("later") == [1, 1, 2, 2]
        assert rig.payloads("never") == []

    play(text, story)


def test_a_source_waits_until_every_reader_took_its_message() -> None:
    text = """
  make: {type: maker, count: 1000}
  work: {type: slow, time: 1s, from: make, queue: {size: 3}}
"""

    async def story(rig: Rig) -> None:
        assert rig.worker("make").counters.sent == 5  # one in work, three in the inbox, one at the door
        await rig.advance("10s")
        assert rig.worker("make").counters.sent == 15

    play(text, story)


def test_emit_returns_when_every_reader_has_the_message() -> None:
    """An acknowledgement may follow then, and not before."""
    text = """
  make: {type: maker, count: 0}
  wide: {type: sink, from: make}
  work: {type: slow, time: 1s, from: make, queue: {size: 1}}
"""

    async def story(rig: Rig) -> None:
        ctx = rig.worker("make").ctx
        tasks = [asyncio.create_task(ctx.emit(ctx.message(one, position=str(one)))) for one in range(4)]
        await rig.settle()
        assert [task.done() for task in tasks] == [True, True, False, False]
        assert numbers(rig, "wide") == [0, 1, 2]  # the fourth waits its turn behind the third
        tasks[2].cancel()
        await rig.advance("1s")
        assert [task.done() for task in tasks] == [True, True, True, False]
        tasks[3].cancel()
        await rig.advance("1min")
        assert rig.payloads("work") == [0, 1, 2, 3]  # what was handed over stays in line, whoever gave up waiting

    play(text, story)


def test_several_readers_of_one_node_and_one_reader_of_several_ports() -> None:
    text = """
  make: {type: maker, count: 6}
  split: {type: relay, how: odd-even, from: make}
  end: {type: sink, from: [split, split.side]}
  other: {type: sink, from: split.side}
"""

    async def story(rig: Rig) -> None:
        assert numbers(rig, "end", "split.out") == [0, 2, 4]
        assert numbers(rig, "end", "split.side") == numbers(rig, "other") == [1, 3, 5]

    play(text, story)


def test_what_a_node_emits_by_itself_does_not_overtake_what_it_returned(tmp_path: Path) -> None:
    """The batch goes out before a message that leaves by ``emit`` or ``offer``."""
    (tmp_path / "mixed.py").write_text(
        """
from flowrunner.node import Node

class Mixed(Node):
    "Return the even, offer the odd."
    def process(self, message, ctx):
        if message.payload % 2:
            self.taken = ctx.offer(message.derive(message.payload))
            return None
        return message.derive(message.payload)
"""
    )
    text = """
  make: {type: maker, count: 0}
  hold: {type: slow, time: 1s, from: make, queue: {size: 100}}
  mixed: {type: mixed, from: hold}
  end: {type: sink, from: mixed}
"""

    async def story(rig: Rig) -> None:
        for number in range(8):
            rig.worker("mixed").inbox.offer(("hold.out", await rig.emit("make", number), None))
        rig.worker("mixed").nudge(0)
        assert numbers(rig, "end")[:8] == list(range(8))

    play(text, story, registry=types(tmp_path))

    async def full(rig: Rig) -> None:
        for number in range(2):
            rig.worker("mixed").inbox.offer(("make.out", await rig.emit("make", number), None))
        rig.worker("mixed").nudge(0)
        assert node(rig, "mixed").taken is False  # what it returned before has taken the last place

    text = text.replace("sink, from: mixed", "slow, time: 1h, from: mixed, queue: {size: 1}")
    play(text, full, registry=types(tmp_path))


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        ("relay", 60),
        ("relay", 1200),  # deeper than Python's own limit of nested calls
        ("slow", 60),
        pytest.param("relay", 5000, marks=pytest.mark.slow),  # the check of so large a file takes seconds
    ],
)
def test_long_chains(kind: str, length: int) -> None:
    lines = ["  n0: {type: maker, count: 0}"]
    lines += [f"  n{one}: {{type: {kind}, from: n{one - 1}, queue: {{size: 2}}}}" for one in range(1, length)]
    lines.append(f"  end: {{type: sink, from: n{length - 1}}}")

    async def story(rig: Rig) -> None:
        for number in range(5):
            await rig.emit("n0", number)
        assert numbers(rig, "end") == [0, 1, 2, 3, 4]

    play("\n".join(lines), story, patience_s=120)


def test_a_chain_of_error_ports_does_not_nest_without_end() -> None:
    """Rejected at every step: the error of one node is the input of the next."""
    length = 400
    lines = ["  n0: {type: maker, count: 0}", "  n1: {type: moody, from: n0, moods: [reject]}"]
    lines += [f"  n{one}: {{type: moody, from: n{one - 1}.error, moods: [reject]}}" for one in range(2, length)]
    lines.append(f"  end: {{type: sink, from: n{length - 1}.error}}")

    async def story(rig: Rig) -> None:
        await rig.emit("n0", 1)
        (record,) = numbers(rig, "end")
        assert record["node"] == f"n{length - 1}"
        assert refused(rig) == []

    play("\n".join(lines), story)


def test_messages_are_shared_and_never_changed() -> None:
    """A fan-out hands on one object; who passes it on again gets a copy of his own."""
    text = """
  make: {type: maker, count: 0}
  left: {type: relay, how: same, from: make}
  right: {type: relay, how: both, from: make}
  end: {type: sink, from: [make, left, right, right.side]}
"""

    async def story(rig: Rig) -> None:
        sent = await rig.emit("make", {"x": 1})
        by_wire = {
            wire: message
            for (wire, _, _), message in zip(node(rig, "end").seen, node(rig, "end").messages, strict=True)
        }
        assert by_wire["make.out"] is sent
        assert by_wire["left.out"] is not sent
        assert by_wire["left.out"].payload is sent.payload
        assert sent.lineage() == "make@test:1"
        assert by_wire["left.out"].lineage() == "make@test:1 > left"
        assert by_wire["right.out"].lineage() == by_wire["right.side"].lineage() == "make@test:1 > right"

    play(text, story)
