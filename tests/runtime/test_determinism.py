"""Twice the same input gives byte for byte the same output: messages, times, roots, counters, log, kept state."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.store import Store
from flowrunner.testing import Rig
from tests.runtime.kit import play, types

REGISTRY = types()
FLOW = """
  a: {type: maker, count: 5, pause: 7ms, keys: 2}
  b: {type: inject, every: 10ms, payload: 3}
  slow: {type: slow, time: 3ms, turns: 2, from: [a, b], queue: {size: 2}}
  moody: {type: moody, from: [a, slow], moods: [ok, away, retry, reject, ok, error]}
  twice: {type: relay, how: twice, from: [moody, b], key: "{value}-{source}"}
  keep: {type: keeper, from: [twice, moody.error], queue: {size: 3, when_full: drop_oldest}}
  end: {type: sink, from: [keep, twice, slow], queue: {when_full: latest, size: 4}}
"""


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def trace(steps: list[Any]) -> bytes:
    """Everything that a run leaves behind, as bytes."""
    store = Store.open(None, inline=True)
    seen: list[Any] = []

    async def story(rig: Rig) -> None:
        for worker in rig.engine.runtime.workers.values():
            address = worker.spec.address
            worker.tap = lambda port, message, address=address: seen.append((rig.now, address, port, message))
        for step in steps:
            if isinstance(step, int):
                await rig.advance(f"{step}ms")
            else:
                await rig.emit(*step)
        for address, worker in rig.engine.runtime.workers.items():
            counted = msgspec.to_builtins(worker.counters)
            del counted["process_seconds"]  # real time: the one thing that differs
            seen.append((address, counted, dict(worker.inbox.dropped)))

    log, lines = logging.getLogger("flowrunner"), Lines()
    log.addHandler(lines)
    try:
        play(FLOW, story, registry=REGISTRY, store=store)
    finally:
        log.removeHandler(lines)
    entries = [store.load_state("t", name).entries for name in ("keep", "moody")]
    return msgspec.json.encode([seen, lines.lines, entries, store.dead_letters()])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 3000), st.tuples(st.sampled_from("ab"), st.integers(0, 5))), max_size=12))
def test_two_runs_are_the_same_byte_for_byte(steps: list[Any]) -> None:
    first = trace(steps)
    assert trace(steps) == first
