"""What a node kept goes with it when it, or its flow, gets another name; and with nobody else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flowrunner.store import Known, Store, take_over, write_state
from flowrunner.store.tables import connect
from flowrunner.testing import Rig, run_flow

FLOW = """
flow: site
nodes:
  rest: {type: http-in, route: POST /v, body: {t: {}}}
  hot: {type: threshold, from: rest, field: t, above: 40, clear_below: 38, clear_after: 5min}
"""


def verdict(store: Store, text: str, value: float, node: str = "hot", start: str = "2025-01-25T02:00:00Z") -> str:
    async def story(rig: Rig) -> str:
        await rig.emit("rest", {"t": value})
        return str(rig.payloads(node)[-1][node])

    return run_flow(text, story, store=store, start=start)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        (FLOW, "hot"),
        (FLOW.replace("flow: site", "flow: north"), "hot"),
        (FLOW.replace("  hot:", "  overheated:"), "overheated"),
        (FLOW.replace("flow: site", "flow: north").replace("  hot:", "  overheated:"), "overheated"),
        (FLOW.replace("flow: site", "flow: north").replace("above: 40", "above: 41"), "hot"),
    ],
)
def test_a_latch_holds_over_a_new_name(text: str, node: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flowrunner.engine")
    store = Store.open(None, inline=True)
    assert verdict(store, FLOW, 45) == "above"
    assert verdict(store, text, 39, node, "2025-01-25T02:01:00Z") == "above", "neither below 38 nor for five minutes"
    told = [one.getMessage() for one in caplog.records if one.name == "flowrunner.engine"]
    assert [line for line in told if node in line] == (
        [] if text == FLOW else [line for line in told if line.endswith("goes on with what site/hot kept")]
    )


A = Known("site", "hot", "site.yaml", "threshold", "1")


def taken(before: list[Known], now: Known, *there: str) -> list[str]:
    """Whose state ``now`` goes on with; ``there`` are the files that are still there."""
    sql = connect(None)
    take_over(sql, before)
    for one in before:
        write_state(sql, one.flow, one.node, 1, {"k": b"1"})
    pairs = take_over(sql, [now], lambda file: file in there)
    sql.close()
    return [old.address for old, _ in pairs]


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (replace(A, flow="north", file="north.yaml"), True),
        (replace(A, flow="north", file="north.yaml", digest="2"), True),
        (replace(A, node="warm", file="north.yaml"), True),
        (replace(A, flow="north", node="warm", file="north.yaml"), True),
        (replace(A, flow="north", node="warm", file="north.yaml", digest="2"), False),
        (replace(A, flow="north", file="north.yaml", type="merge"), False),
    ],
)
def test_a_flow_that_is_saved_under_a_new_file_name(now: Known, found: bool) -> None:
    assert taken([A], now, "north.yaml") == (["site/hot"] if found else [])
    assert taken([A], now, "north.yaml", "site.yaml") == [], "that flow may go on by itself"


def test_who_is_in_the_same_file_comes_first() -> None:
    now = replace(A, flow="north", file="north.yaml")
    other = replace(now, flow="south")
    assert taken([A, other], now) == ["south/hot"]
    assert taken([A, replace(A, flow="south", file="south.yaml")], now) == [], "two that fit"


@pytest.mark.parametrize("still_there", [True, False])
def test_whether_a_file_is_there_is_seen_on_the_disk(tmp_path: Path, still_there: bool) -> None:
    old = replace(A, file=str(tmp_path / "site.yaml"))
    if still_there:
        (tmp_path / "site.yaml").touch()
    sql = connect(None)
    take_over(sql, [old])
    write_state(sql, old.flow, old.node, 1, {"k": b"1"})
    assert len(take_over(sql, [replace(A, flow="north", file=str(tmp_path / "north.yaml"))])) == (not still_there)
    sql.close()


@pytest.mark.parametrize(
    "text",
    [
        FLOW.replace("  hot:", "  overheated:").replace("above: 40", "above: 41"),
        FLOW.replace("  hot:", "  warm:") + FLOW.rpartition("\n  ")[2].replace("hot:", "  cold:"),
    ],
    ids=["other-options-too", "two-that-fit"],
)
def test_where_it_is_not_certain_a_node_starts_anew(text: str) -> None:
    store = Store.open(None, inline=True)
    assert verdict(store, FLOW, 45) == "above"
    name = "overheated" if "overheated" in text else "warm"
    assert verdict(store, text, 39, name, "2025-01-25T02:01:00Z") == "clear"


NAMES = st.sampled_from(["a", "b", "c"])
KNOWN = st.builds(Known, NAMES, NAMES, NAMES, st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]))
RUNS = st.lists(st.lists(KNOWN, max_size=6, unique_by=lambda one: one.address), max_size=4)
FILES = st.sets(NAMES)


@settings(max_examples=200)
@given(RUNS, FILES)
def test_nothing_is_doubled_or_lost_and_nobody_who_runs_is_robbed(runs: list[list[Known]], there: set[str]) -> None:
    sql = connect(None)
    owner: dict[str, str] = {}
    """Address → the mark in its state."""

    def rows() -> dict[str, str]:
        found = sql.execute("SELECT flow, node, value FROM node_state").fetchall()
        return {f"{flow}/{node}": value.decode() for flow, node, value in found}

    for number, run in enumerate(runs):
        for old, new in take_over(sql, run, there.__contains__):
            assert old.type == new.type
            assert old.file == new.file or old.file not in there
            assert old.address not in {one.address for one in run}
            owner[new.address] = owner.pop(old.address)
        assert rows() == owner
        for one in run:
            if one.address not in owner:
                owner[one.address] = f'"{number}{one.address}"'
                write_state(sql, one.flow, one.node, 1, {"k": owner[one.address].encode()})
    sql.close()
    assert len(set(owner.values())) == len(owner)
