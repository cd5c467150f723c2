"""Values of several sites: the stream tells each key's newest value, and never takes one for the other."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowrunner.message import FieldInfo, Message
from flowrunner.runtime import Counters
from flowrunner.runtime.counters import MOST_KEYS
from flowrunner.web.answer import encode
from flowrunner.web.live import Watch
from flowrunner.web.live.frame import VALUES, Board
from tests.web.site import site

SECOND = 1_000_000_000
WATCHES = [Watch("f/one", "out", "x"), Watch("f/other", "out", "x")]


class Worker:
    """As much of one as a board looks at."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.inbox = Inbox()


class Inbox(list[Any]):
    dropped: ClassVar[dict[str, int]] = {}


def send(worker: Worker, key: str, value: float, at: int) -> None:
    info = FieldInfo(at=at, received_at=at, source="a", valid_until=at + 5 * SECOND)
    message = Message(payload={"x": value}, at=at, received_at=at, source="a", key=key, fields={"x": info})
    worker.counters.last["out"] = message
    if key:
        worker.counters.note("out", [message])


def take(rows: dict[int, dict[str, Any]], columns: Any) -> None:
    """As live.js does: the last row of a value is the newest, and each key has its own."""
    if columns is None:
        return
    told = json.loads(encode(columns))
    order = told.get("i") or range(len(WATCHES))
    for n, place in enumerate(order):
        row = {name: told[name][n] for name in VALUES}
        of = rows.setdefault(place, {})
        if row["key"]:
            of.pop("", None)
        of.pop(row["key"], None)
        of[row["key"]] = row


STEP = st.tuples(st.sampled_from(["north", "south", "west"]), st.integers(0, 9), st.sampled_from([0, 1, 3]))


@settings(deadline=None, max_examples=60)
@example([([("north", 1, 0), ("south", 2, 3)], 0), ([], 3)])  # one becomes stale, and the newest has not changed
@example([([("south", 0, 0), ("north", 0, 0)], 0), ([("south", 0, 0)], 0)])  # another is newest, nothing new
@given(st.lists(st.tuples(st.lists(STEP, max_size=6), st.sampled_from([0, 3])), max_size=8))
def test_each_site_has_its_own_newest_value_whatever_comes_between_two_looks(frames: list[Any]) -> None:
    """Two sites may speak within one tenth of a second; neither is lost, and one that falls silent becomes stale."""
    workers: Any = {"f/one": Worker(), "f/other": Worker()}
    board = Board(workers, WATCHES, str)
    rows: dict[int, dict[str, Any]] = {}
    newest: dict[str, tuple[float, int]] = {}
    take(rows, board.values())
    now = SECOND
    for steps, pause in frames:
        now += pause * SECOND
        for key, value, wait in steps:
            now += wait * SECOND
            send(workers["f/one"], key, value, now)
            newest.pop(key, None)
            newest[key] = (value, now)
        board.look(now, judge=pause > 0)
        take(rows, board.values_changed())
        assert {key: row["value"] for key, row in rows[0].items() if key} == {
            key: value for key, (value, _) in newest.items()
        }
        if newest:
            assert list(rows[0])[-1] == list(newest)[-1], "the newest is the last one"
        if pause:
            assert all(rows[0][key]["stale"] == (now >= at + 5 * SECOND) for key, (_, at) in newest.items())
    late: dict[int, dict[str, Any]] = {}
    take(late, board.values())
    assert late == rows  # who comes later gets the same
    assert list(late[1]) == [""]


def test_of_very_many_sites_those_that_came_last_are_kept() -> None:
    worker = Worker()
    for number in range(MOST_KEYS + 10):
        send(worker, f"site {number}", 1.0, number * SECOND)
    send(worker, "site 20", 2.0, 1000 * SECOND)
    kept = worker.counters.keyed["out"]
    assert len(kept) == MOST_KEYS
    assert next(iter(kept)) == "site 10"
    assert next(reversed(kept)) == "site 20"


FLOW = """flow: site
nodes:
  rest: {type: http-in, key: "{name}", route: POST /values, body: {name: {type: text}, x: {unit: MW}}}
  record: {type: merge, from: rest}
  history: {type: store-out, from: record, keep: 30d}
dashboard:
  tiles: [{tile: value, from: record, field: x}]
"""


@pytest.mark.anyio
async def test_a_series_is_of_one_site_and_names_the_others() -> None:
    async with site(FLOW) as web:
        for name, x in (("north", 1.0), ("south", 20.0), ("north", 2.0)):
            assert (await web.post(json.dumps({"name": name, "x": x}))).status_code == 200
        counters = web.engine.runtime.workers["site/history"].counters
        await web.until(lambda: counters.received == 3, "all are kept")
        await web.engine.store.flush()

        async def asked(**more: str) -> Any:
            given = {"flow": "site", "node": "record", "field": "x", **more}
            return (await web.http.get("/api/v1/series", params=given)).json()

        newest = await asked()
        assert (newest["key"], newest["keys"]) == ("north", ["north", "south"])
        assert (min(newest["min"]), max(newest["max"])) == (1.0, 2.0)
        assert (await asked(key="south"))["last"] == [20.0]
        nobody = await asked(key="west")
        assert (nobody["key"], nobody["t"]) == ("west", [])
        values = [one.counters.keyed for one in (web.engine.runtime.workers["site/record"],)]
        assert {key: one.payload["x"] for key, one in values[0]["out"].items()} == {"north": 2.0, "south": 20.0}
