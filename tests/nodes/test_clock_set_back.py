"""A clock that was ahead and is set back: what was kept from the wrong time must not hold back the right one."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from flowrunner.clock import LiveClock
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import DURATION_UNITS
from tests.end_to_end.living import living
from tests.peers.raw_http import always, serve, text

FLOW = """
flow: site
nodes:
  rest: {type: http-in, route: POST /v, body: {t: {}}}
  best: {type: merge, from: rest, stale_after: 90s}
  hot: {type: threshold, from: best, field: t, above: 40, for: 10s}
"""
AHEAD, RIGHT = "2025-01-25T12:00:00Z", "2025-01-25T11:00:00Z"


def test_new_values_count_and_hold_times_run_again() -> None:
    store = Store.open(None, inline=True)

    async def while_ahead(rig: Rig) -> None:
        await rig.emit("rest", {"t": 20})

    async def set_back(rig: Rig) -> list[str]:
        for _ in range(15):
            await rig.emit("rest", {"t": 90})
            await rig.advance("1s")
        assert rig.payloads("best")[0]["t"] == 90
        return [payload["hot"] for payload in rig.payloads("hot")]

    run_flow(FLOW, while_ahead, start=AHEAD, store=store)
    verdicts = run_flow(FLOW, set_back, start=RIGHT, store=store)
    assert verdicts[0] == "clear"  # `for` begins anew
    assert verdicts[-1] == "above"


def test_a_bad_value_replaces_a_good_one_whose_time_is_a_little_ahead() -> None:
    async def story(rig: Rig) -> list[object]:
        await rig.emit("rest", {"t": 1}, at=rig.now + 4_000_000_000)
        await rig.emit("rest", {"t": None})
        return rig.payloads("best")

    assert run_flow(FLOW, story) == [{"t": 1}, {}]


def test_one_unreadable_value_does_not_shut_out_a_device_whose_clock_is_behind() -> None:
    async def story(rig: Rig) -> object:
        behind = 60_000_000_000
        await rig.emit("rest", {"t": 1}, at=rig.now - behind)
        await rig.advance("5s")
        await rig.emit("rest", {"t": None})
        await rig.advance("5s")
        await rig.emit("rest", {"t": 2}, at=rig.now - behind)
        return rig.payloads("best")[-1]

    assert run_flow(FLOW, story) == {"t": 2}


@pytest.mark.anyio
async def test_sources_are_asked_on_and_not_only_when_it_is_so_late_again(tmp_path: Path) -> None:
    back = 0
    prices = tmp_path / "p.csv"
    prices.write_text("timestamp,price_eur_mwh\n2025-01-01T00:00:00Z,1\n2025-01-01T00:15:00Z,2\n", encoding="utf-8")
    async with serve(always(text("1"))) as server:
        flow = f"""
flow: site
market: {{name: m, slot: 15min, gate_closure: 5min}}
nodes:
  poll: {{type: http-poll, url: "{server.url}/", every: 1s}}
  price: {{type: price-in, source: csv, file: '{prices}', every: 1s}}
"""
        clock = LiveClock(lambda: time.time_ns() - back)
        async with living(tmp_path / "data", text=flow, clock=clock) as running:

            def fetched(name: str) -> int:
                return sum(one.root is not None and one.root[1][:5] != "slot:" for one in running.seen.get(name, ()))

            def has(name: str, count: int) -> bool:
                return fetched(name) >= count

            for name in ("poll", "price"):
                await running.until(partial(has, name, 1), "an answer")
            for name in ("price", "poll"):  # set back when the other one has just spoken: this one sleeps
                back += 2 * DURATION_UNITS["d"]
                await running.until(partial(has, name, fetched(name) + 3), f"answers to {name}")
