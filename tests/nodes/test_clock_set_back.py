"""A clock that was ahead and is set back: what was kept from the wrong time must not hold back the right one."""

from __future__ import annotations

from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow

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
