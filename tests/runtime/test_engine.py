"""The engine's answers: one node as JSON, requests and entries in unlucky moments, and a stop on a broken disk."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.engine import Engine, Unknown
from flowrunner.errors import BadFlow, Reject, UsageError
from flowrunner.files import check_files, flow_files
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import Store, StoreFailed
from flowrunner.store.writer import UNSAVED_LIMIT
from flowrunner.testing import Rig
from tests.runtime.kit import play, types

FLOW = """
  make: {type: maker, count: 0}
  work: {type: relay, from: make}
  form: {type: manual-in, fields: {x: {max: 9}}}
"""


def test_one_node_as_the_interface_says() -> None:
    async def story(rig: Rig) -> None:
        await rig.emit("make", {"x": 1.5}, key="north", quality="uncertain", at=rig.now - 3_000_000_000)
        await rig.advance("2s")
        view = rig.engine.node("t", "work")
        wanted: dict[str, Any] = {
            "type": "relay", "state": "running", "connected": None, "received": 1, "sent": 1, "errors": {},
            "dropped": {}, "inbox": 0, "last_error": None,
        }  # fmt: skip
        assert {key: view[key] for key in wanted} == wanted
        last = view["last"]["out"]
        assert last == {
            "payload": {"x": 1.5},
            "at": "2025-01-25T00:59:57.000Z",
            "source": "make",
            "origin": "automatic",
            "quality": "uncertain",
            "key": "north",
            "age_s": 5.0,
            "lineage": "make@test:1 > work",
            "fields": {
                "x": {
                    "at": "2025-01-25T00:59:57.000Z", "age_s": 5.0, "source": "make", "origin": "automatic",
                    "quality": "uncertain", "stale": True, "reason": "uncertain",
                }
            },
        }  # fmt: skip
        msgspec.json.encode(view)

    play(FLOW, story)


@pytest.mark.parametrize(
    ("flow", "name", "said"),
    [
        ("u", "work", "there is no flow 'u'"),
        ("t", "wrok", "there is no node 'wrok' in t"),
        ("t", "off", "t/off does not run"),
    ],
)
def test_unknown_names(flow: str, name: str, said: str) -> None:
    async def story(rig: Rig) -> None:
        with pytest.raises(Unknown, match=said):
            rig.engine.node(flow, name)

    play(FLOW + "  off: {type: relay, from: make, enabled: false}\n", story)


def test_a_request_before_its_node_is_open_and_one_that_its_node_cannot_handle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "door.py").write_text(
        '''
from flowrunner.errors import NotConnected
from flowrunner.node import Node

class Door(Node):
    """Answers, after a while."""
    inputs = "none"
    shut = True

    def claims(self):
        return ["route:GET /door"]

    async def open(self, ctx):
        if self.shut:
            self.shut = False
            raise NotConnected("no bell")

    async def handle(self, request, ctx):
        raise SystemExit("the bell broke")
'''
    )

    async def story(rig: Rig) -> None:
        answer = await rig.request("GET", "/door")
        assert (answer.status, answer.headers) == (503, {"retry-after": "1"})
        await rig.advance("2s")
        answer = await rig.request("GET", "/door")
        assert answer.status == 500
        assert "the bell broke" not in str(answer.body)
        assert rig.errors("door") == {"not-connected": 1, "exception": 1}
        await rig.engine.runtime.stop()

    play("  door: {type: door}", story, registry=types(tmp_path))
    assert "t/door: a request failed: SystemExit('the bell broke')" in caplog.text


def test_entries(caplog: pytest.LogCaptureFixture) -> None:
    async def story(rig: Rig) -> None:
        await rig.engine.enter("t", "form", {"x": 5}, by="anna", reason="meter is being repaired")
        with pytest.raises(Reject, match="above 9"):
            await rig.engine.enter("t", "form", {"x": 10}, by="anna")
        with pytest.raises(Unknown, match="t/make takes no manual values; it is a maker"):
            await rig.engine.enter("t", "make", {"x": 5}, by="anna")
        for number in range(2):
            await rig.emit("form", {"x": number})
        with pytest.raises(Reject, match="the flow cannot take more now"):
            await rig.engine.enter("t", "form", {"x": 5}, by="anna")
        assert rig.errors("form") == {"value": 1, "full": 1}

    with caplog.at_level(logging.INFO, "flowrunner.audit"):
        play(FLOW + "  slow: {type: slow, time: 1h, from: form, queue: {size: 1}}\n", story)
    assert [one.getMessage() for one in caplog.records if one.name == "flowrunner.audit"] == [
        't/form: anna entered {"x":5} (meter is being repaired)'
    ]


def full(connection: sqlite3.Connection) -> None:
    """From here on the file cannot grow, as on a full disk."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.anyio
async def test_a_stop_on_a_full_disk_says_what_is_lost_and_closes_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checked = check_flows(
        {"flow.yaml": "flow: t\nnodes:\n  make: {type: maker, count: 0}\n  work: {type: keeper, from: make}\n"},
        {},
        types(),
    )
    store = Store.open(tmp_path)
    engine = Engine(checked, store=store)
    await engine.start()
    worker = engine.runtime.workers["t/make"]

    await store.submit(full)
    await worker.ctx.emit(worker.ctx.message("x" * 100_000, position="1", key="k"))
    with pytest.raises(StoreFailed, match="changes since the last commit are lost"):
        await engine.stop()
    assert {one.counters.state for one in engine.runtime.workers.values()} == {"stopped"}
    assert "state is lost: cannot write" in caplog.text
    await Store.open(tmp_path).close()  # the folder is free again


def test_state_that_the_store_refuses_is_offered_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk, and so much waiting in memory already that the store takes no more."""
    store = Store.open(tmp_path, inline=True)

    async def story(rig: Rig) -> None:
        await store.submit(full)
        store.save_state("t", "other", 1, {str(number): b"[]" for number in range(UNSAVED_LIMIT)})
        await rig.emit("make", 1, key="a")
        await rig.advance("5s")
        await rig.emit("make", 2, key="b")
        assert store.load_state("t", "work").entries == {}
        await store.submit(lambda connection: connection.execute("PRAGMA max_page_count = 1000000") and None)
        await store.flush()
        await rig.advance("1s")
        assert store.load_state("t", "work").entries == {"a": b"1", "b": b"2"}
        assert rig.errors("work") == {}

    play("  make: {type: maker, count: 0}\n  work: {type: keeper, from: make}", story, store=store)
    lines = [one.getMessage() for one in caplog.records if "state is not kept at present: cannot write" in one.message]
    assert len(lines) == 1  # not with every attempt


def test_files(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("flow: b\nnodes:\n  x: {type: inject, every: 1s}\n")
    (tmp_path / "a.yml").write_bytes(b"flow: a\nnodes:\n  x: {type: inject, every: 1s, payload: \xff}\n")
    (tmp_path / "notes.txt").write_text("none")
    files = flow_files([tmp_path, tmp_path / "b.yaml"])
    assert [one.name for one in files] == ["a.yml", "b.yaml"]
    checked = check_files(files, {}, Registry())
    assert checked.graph is None
    (problem,) = checked.problems
    assert (problem.line, problem.code, problem.message) == (3, "encoding", "this is not UTF-8 text")
    with pytest.raises(BadFlow, match="this is not UTF-8 text"):
        Engine(checked, store=Store.open(None, inline=True))
    (tmp_path / "empty").mkdir()
    for wrong, said in (("empty", r"has no \*.yaml file"), ("gone.yaml", "there is no file")):
        with pytest.raises(UsageError, match=said):
            flow_files([tmp_path / wrong])


@pytest.mark.anyio
async def test_flows_that_change_places_are_known_in_their_new_files(tmp_path: Path) -> None:
    texts = {name: f"flow: {name}\nnodes:\n  {name}: {{type: manual-in, fields: {{x: {{}}}}}}\n" for name in "ab"}
    (one, other), registry = (str(tmp_path / name) for name in ("one.yaml", "other.yaml")), Registry()
    store = Store.open(tmp_path)
    engine = Engine(check_flows({one: texts["a"], other: texts["b"]}, {}, registry), store=store)
    await engine.start()
    try:
        outcome = await engine.reload(check_flows({one: texts["b"], other: texts["a"]}, {}, registry))
        assert (outcome.result, outcome.changed, outcome.added) == ("applied", [], [])
        files = await store.submit(lambda sql: dict(sql.execute("SELECT flow, file FROM known_nodes").fetchall()))
        assert files == {"a": other, "b": one}
    finally:
        await engine.stop()
