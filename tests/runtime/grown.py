"""Random flows of nodes that lose nothing, and what each of their nodes must send."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st

KINDS = {
    "relay": "type: relay",
    "relay same": "type: relay, how: same",
    "relay twice": "type: relay, how: twice",
    "slow": "type: slow",
    "slow turns": "type: slow, turns: 3",
    "slow time": "type: slow, time: 3ms",
    "slow emit": "type: slow, emit: true, turns: 1",
}
ENOUGH = 2000
"""Messages that may come to one node: a flow that twice and twice again makes more of them grows no further."""
Grown = tuple[str, dict[str, Counter[int]]]
"""Lines of a flow's ``nodes``, and the payloads that each node must send."""


@st.composite
def graphs(draw: st.DrawFn) -> Grown:
    """Any graph; all of it is heard by one ``end``."""
    lines, sent = _source(draw, 60)
    for number in range(1, draw(st.integers(1, 7)) + 1):
        sources = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=3, unique=True))
        came = sum((sent[f"n{one}"] for one in sources), Counter[int]())
        if came.total() > ENOUGH:
            break
        lines.append(_grow(draw, sent, number, came, sources, draw(st.integers(1, 6))))
    size = draw(st.integers(1, 6))
    lines.append(f"  end: {{type: sink, from: [{', '.join(sent)}], queue: {{size: {size}}}}}")
    return "\n".join(lines), sent


@st.composite
def trees(draw: st.DrawFn) -> Grown:
    """A tree, where no two ways meet again: there a source's messages go together. Each node but the source, ``n0``,
    has an ``end`` of its own, with its number."""
    lines, sent = _source(draw, 600)
    for number in range(1, draw(st.integers(1, 6)) + 1):
        source = draw(st.integers(0, number - 1))
        came = sent[f"n{source}"]
        if came.total() > ENOUGH:
            break
        lines.append(_grow(draw, sent, number, came, [source], draw(st.sampled_from([1, 3, 100, 1000]))))
        size = draw(st.sampled_from([1, 100]))
        lines.append(f"  end{number}: {{type: sink, from: n{number}, queue: {{size: {size}}}}}")
    return "\n".join(lines), sent


def _source(draw: st.DrawFn, most: int) -> tuple[list[str], dict[str, Counter[int]]]:
    count = draw(st.integers(1, most))
    pause = draw(st.sampled_from(["0s", "0s", "1ms"]))
    emit = draw(st.sampled_from(["false", "true"]))
    return [f"  n0: {{type: maker, count: {count}, pause: {pause}, emit: {emit}, keys: 3}}"], {
        "n0": Counter(range(count))
    }


def _grow(
    draw: st.DrawFn, sent: dict[str, Counter[int]], number: int, came: Counter[int], sources: list[int], size: int
) -> str:
    """One more node, which sends what ``came`` to it, or all of it twice."""
    kind = draw(st.sampled_from([*KINDS]))
    sent[f"n{number}"] = came + came if kind == "relay twice" else came
    wires = ", ".join(f"n{one}" for one in sources)
    return f"  n{number}: {{{KINDS[kind]}, from: [{wires}], queue: {{size: {size}}}}}"
