"""What a node kept goes with it when it, or its flow, gets another name; and with nobody else."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=200)
@given(RUNS)
def test_nothing_is_doubled_or_lost_and_nobody_who_runs_is_robbed(runs: list[list[Known]]) -> None:
    sql = connect(None)
    owner: dict[str, str] = {}
    """Address → the mark in its state."""

    def rows() -> dict[str, str]:
        found = sql.execute("SELECT flow, node, value FROM node_state").fetchall()
        return {f"{flow}/{node}": value.decode() for flow, node, value in found}

    for number, run in enumerate(runs):
        for old, new in take_over(sql, run):
            assert (old.file, old.type) == (new.file, new.type)
            assert old.address not in {one.address for one in run}
            owner[new.address] = owner.pop(old.address)
        assert rows() == owner
        for one in run:
            if one.address not in owner:
                owner[one.address] = f'"{number}{one.address}"'
                write_state(sql, one.flow, one.node, 1, {"k": owner[one.address].encode()})
    sql.close()
    assert len(set(owner.values())) == len(owner)
