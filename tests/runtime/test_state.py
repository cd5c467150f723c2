"""Durable state of nodes: committed within a second, there after a restart, never in the way of a start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.testing import Rig
from tests.runtime.kit import node, play, types

FLOW = """
  make: {type: maker, count: 0}
  work: {type: keeper, from: make}
"""
THRESHOLD = """
  make: {type: inject, once: true, payload: {x: 0}}
  hot: {type: threshold, from: make, field: x, above: 1}
"""
REGISTRY = types()


def kept(store: Store, node: str = "work") -> dict[str, Any]:
    """What the store holds of a node, decoded."""
    return {key: msgspec.json.decode(raw) for key, raw in store.load_state("t", node).entries.items()}


def test_state_is_committed_within_a_second_and_not_with_every_message() -> None:
    async def story(rig: Rig) -> None:
        store = rig.engine.store
        for number in range(10):
            await rig.emit("make", number, key="a")
        assert kept(store) == {}
        await rig.advance("1s")
        assert kept(store) == {"a": 9}
        await rig.emit("make", 10, key="b")
        await rig.emit("make", None, key="a")
        await rig.advance("1s")
        assert kept(store) == {"b": 10}

    play(FLOW, story)


def test_a_clean_stop_commits_and_a_restart_finds_it() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", {"x": 1.5}, key="a")
        await rig.restart()
        assert node(rig, "work").found == {"a": {"x": 1.5}}
        await rig.emit("make", 2, key="a")
        assert rig.payloads("work") == [{"before": None}, {"before": {"x": 1.5}}]

    play(FLOW, story)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 9), st.text(max_size=3))),
            st.sampled_from(["restart", "wait"]),
        ),
        max_size=25,
    )
)
def test_state_is_a_dict_whatever_happens_between(steps: list[tuple[str, Any] | str]) -> None:
    async def story(rig: Rig) -> None:
        model: dict[str, Any] = {}
        for step in steps:
            if step == "restart":
                await rig.restart()
                assert node(rig, "work").found == model
            elif isinstance(step, str):
                await rig.advance("1s")
                assert kept(rig.engine.store) == model
            else:
                key, value = step
                await rig.emit("make", value, key=key)
                assert rig.payloads("work")[-1] == {"before": model.get(key)}
                model.pop(key, None)
                if value is not None:
                    model[key] = value
            assert sorted(rig.worker("work").ctx.state) == sorted(model)

    play(FLOW, story, registry=REGISTRY)


TYPE = '''
from flowrunner.node import Node

class Versioned(Node):
    """Keeps."""
    state_version = {version}
    {migrate}
    async def open(self, ctx):
        self.found = {{key: ctx.state.get(key, dict) for key in sorted(ctx.state)}}
    def process(self, message, ctx):
        ctx.state.set(message.key, message.payload)
'''
VERSIONED = """
  make: {type: maker, count: 0}
  work: {type: versioned, from: make}
"""


def versioned(folder: Path, version: int, migrate: str = "") -> Registry:
    (folder / "versioned.py").write_text(TYPE.format(version=version, migrate=migrate))
    return types(folder)


@pytest.mark.parametrize(
    ("migrate", "found", "said"),
    [
        ("", {}, "it is of version 1, this type knows 2: dropped"),
        ("def migrate(self, old, version): return {'new': old['x'], 'was': version}",
         {"a": {"new": 1, "was": 1}, "b": {"new": 2, "was": 1}}, ""),
        ("def migrate(self, old, version): return old if old['x'] == 2 else None", {"b": {"x": 2}}, ""),
        ("def migrate(self, old, version): return old['y']", {}, "its migrate failed (KeyError: 'y'): dropped"),
        ("def migrate(self, old, version): return object()", {}, "its migrate failed (TypeError: "),
    ],
)  # fmt: skip
def test_state_of_another_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, migrate: str, found: dict[str, Any], said: str
) -> None:
    store = Store.open(None, inline=True)

    async def first(rig: Rig) -> None:
        await rig.emit("make", {"x": 1}, key="a")
        await rig.emit("make", {"x": 2}, key="b")

    async def second(rig: Rig) -> None:
        assert node(rig, "work").found == found
        await rig.advance("1s")
        assert (store.load_state("t", "work").version, kept(store)) == (2 if found else 0, found)
        assert rig.errors("work") == ({"state": 1} if said else {})
        await rig.restart()
        assert node(rig, "work").found == found

    play(VERSIONED, first, registry=versioned(tmp_path, 1), store=store)
    play(VERSIONED, second, registry=versioned(tmp_path, 2, migrate), store=store)
    lines = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(lines) == (1 if said else 0)
    assert not said or said in lines[0]


def test_state_that_cannot_be_read_does_not_keep_the_node_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    store = Store.open(None, inline=True)
    store.save_state("t", "hot", 1, {"": b'{"verdict": 5}', "north": b"{broken"})

    async def story(rig: Rig) -> None:
        await rig.emit("make", {"x": 5})
        await rig.emit("make", {"x": 5}, key="north")
        assert [one["hot"] for one in rig.payloads("hot")] == ["above", "above"]
        assert rig.errors("hot") == {"state": 2}

    play(THRESHOLD, story, store=store, stubs=["make"])
    assert "t/hot: its kept state: '' cannot be read" in caplog.text


def test_a_value_that_cannot_be_kept_does_not_take_the_others_with_it(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", 1, key="a")
        await rig.emit("make", object(), key="bad")
        await rig.emit("make", 2, key="\ud800")
        await rig.emit("make", 3, key="c")
        await rig.advance("1s")
        assert kept(rig.engine.store) == {"a": 1, "c": 3}
        assert rig.errors("work") == {"state": 2}
        await rig.emit("make", 4, key="bad")  # what is set later is kept again
        await rig.advance("1s")
        assert kept(rig.engine.store) == {"a": 1, "c": 3, "bad": 4}

    play(FLOW, story)
    assert "t/work: its kept state: 'bad' cannot be kept (TypeError: " in caplog.text


def test_values_come_back_as_the_type_that_is_asked_for() -> None:
    async def story(rig: Rig) -> None:
        state = rig.worker("work").ctx.state
        state.set("numbers", {"a": 1})
        state.set("list", [1, 2])
        state.set("five", 5)
        assert state.get("numbers", dict[str, int]) == {"a": 1}
        assert state.get("list", list[int]) == [1, 2]
        assert state.get("five", float) == 5.0
        assert state.get("none", int) is None
        await rig.restart()
        state = rig.worker("work").ctx.state
        assert state.get("numbers", dict[str, int]) == {"a": 1}
        assert state.get("numbers", dict[str, int]) == {"a": 1}

    play(FLOW, story)
