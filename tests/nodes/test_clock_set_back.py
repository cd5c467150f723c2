"""A clock that is set: what was kept from the wrong time must not hold back the right one, nor pass for new in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from flowrunner.clock import LiveClock, VirtualClock, VirtualLoop, run_virtual
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.message import FieldInfo, Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from flowrunner.units import DURATION_UNITS, SECOND, Duration, parse_instant
from tests.end_to_end.living import living
from tests.peers.modbus_server import ModbusServer
from tests.peers.raw_http import always, serve, text

FLOW = """
flow: site
nodes:
  rest: {type: http-in, route: POST /v, body: {t: {}}}
  best: {type: merge, from: rest, stale_after: 90s}
  hot: {type: threshold, from: best, field: t, above: 40, for: 10s}
"""
AHEAD, RIGHT = "2025-01-25T12:00:00Z", "2025-01-25T11:00:00Z"
T = TypeVar("T")


class Wall:
    """A wall clock that a story sets, over time that runs evenly."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.stepped = 0
        self._loop = loop

    def __call__(self) -> int:
        return self._loop.now + self.stepped

    def step(self, by: str) -> None:
        self.stepped += -Duration.parse(by[1:]) if by.startswith("-") else Duration.parse(by)


def by_the_wall(text: str, story: Callable[[Rig, Wall], Awaitable[T]], *, start: str = AHEAD) -> T:
    """Run a flow by a live clock that ``story`` can set. ``rig.now`` runs evenly; a rig's time is that."""

    async def play() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        wall = Wall(loop)
        store = Store.open(None, inline=True)
        checked = check_flows({"flow.yaml": text}, {}, Registry())
        assert checked.graph is not None, checked.problems
        engine = Engine(checked, store=store, clock=LiveClock(wall, lambda: loop.now), sliced=False)
        rig = Rig(lambda: engine, VirtualClock(loop), loop)
        try:
            await rig.start()
            return await story(rig, wall)
        finally:
            await engine.runtime.stop()
            await store.close()

    return run_virtual(play(), start=parse_instant(start))


def all_different(messages: list[Message]) -> bool:
    return len({one.root for one in messages}) == len(messages)


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


# ---- sources ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["-2d", "-47h", "-37.3s", "-20s", "-700ms", "-50ms", "300ms", "3s", "2d"])
@pytest.mark.parametrize(("options", "period"), [("every: 10s", 10), ('at: "* * * * *"', 60)])
def test_inject_goes_on_within_its_period(options: str, period: int, step: str) -> None:
    async def story(rig: Rig, wall: Wall) -> list[float]:
        came = [rig.now]
        tap, begun = rig.worker("tick").tap, rig.now

        def note(port: str, message: Message) -> None:
            came.append(rig.now)
            assert tap is not None
            tap(port, message)

        rig.worker("tick").tap = note
        await rig.advance(f"{2 * period}s")
        await rig.advance("200ms")  # it has just struck: by a clock set back a little it is not that time again
        wall.step(step)
        await rig.advance(f"{6 * period}s")
        assert all_different(rig.out("tick"))
        return [(instant - begun) / SECOND for instant in came]

    came = by_the_wall(f"flow: t\nnodes:\n  tick: {{type: inject, {options}}}\n", story)
    gaps = [later - earlier for earlier, later in pairwise(came)]
    by = Duration.parse(step.lstrip("-")).seconds
    little = by < period  # then the time that has just been is not struck twice
    assert max(gaps) <= period + (by if little else 1) + 0.01, "a step is noticed within a second"
    if little:
        assert min(gaps) >= period - 3.01
    assert len(gaps) <= 9, "what was missed is not made up for"


def test_a_daily_time_comes_by_the_new_clock() -> None:
    async def story(rig: Rig, wall: Wall) -> None:
        await rig.advance("10min")  # 11:40
        wall.step("-1h")  # 10:40
        await rig.advance("64min")
        assert rig.out("gate") == []
        await rig.advance("2min")
        assert len(rig.out("gate")) == 1
        wall.step("-2min")  # 11:44, which has been
        await rig.advance("10min")
        assert len(rig.out("gate")) == 1
        wall.step("-2d")
        wall.step("-20min")
        await rig.advance("20min")
        assert len(rig.out("gate")) == 2
        assert all_different(rig.out("gate"))

    by_the_wall("flow: t\nnodes:\n  gate: {type: inject, at: 45 11 * * *}\n", story, start="2025-01-25T11:30:00Z")


# ---- merge --------------------------------------------------------------------------------------------------

BEST = """
flow: t
nodes:
  device: {type: http-in, route: POST /v, body: {t: {}}}
  other: {type: http-in, route: POST /w, body: {u: {}}}
  person: {type: manual-in, fields: {t: {}}, expires_after: 2h}
  best: {type: merge, from: [device, other, person], stale_after: 90s}
"""


def test_a_merge_that_collects_passes_on_what_it_has() -> None:
    async def story(rig: Rig, wall: Wall) -> None:
        for step in ("-2d", "-10min", "2d"):
            await rig.emit("device", {"t": 1})
            before = len(rig.out("best"))
            await rig.advance("1s")
            wall.step(step)
            await rig.advance("5s")
            assert len(rig.out("best")) == before + 1
        assert all_different(rig.out("best"))

    by_the_wall(BEST.replace("stale_after: 90s", "settle: 5s"), story)


async def how_it_stands(rig: Rig, wall: Wall) -> str:
    """Why the newest record's ``t`` must not be used now, after a message about something else."""
    await rig.emit("other", {"u": 1})
    return rig.out("best")[-1].info("t").trouble(wall())


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("step", ["-3s", "-20s", "-50s", "-70s", "-10min", "-2d"])
def test_a_value_is_never_fresh_for_longer_than_its_limit_in_real_time(step: str, looked: bool) -> None:
    async def story(rig: Rig, wall: Wall) -> None:
        await rig.emit("device", {"t": 1})
        await rig.advance("60s")
        wall.step(step)
        if looked:  # by a message, before the clock does
            assert await how_it_stands(rig, wall) == ""
        await rig.advance("29s")
        assert await how_it_stands(rig, wall) == "", "it is as old as it was"
        assert rig.out("best", "stale") == []
        await rig.advance("2s")
        told = rig.out("best", "stale")
        assert [one.payload["field"] for one in told] == ["t"]
        assert told[0].payload["age_s"] == 90
        for _ in range(40):  # also when it is that time again
            assert await how_it_stands(rig, wall) == "stale"
            await rig.advance("20s")
        await rig.emit("device", {"t": 2})
        assert await how_it_stands(rig, wall) == ""

    by_the_wall(BEST, story)


def test_steps_add_up() -> None:
    async def story(rig: Rig, wall: Wall) -> None:
        await rig.emit("device", {"t": 1})
        for step in ("-5s", "-2d", "-60ms", "-30s", "-1h"):
            await rig.advance("17s")
            wall.step(step)
        await rig.advance("4s")
        assert await how_it_stands(rig, wall) == ""
        await rig.advance("2s")
        assert await how_it_stands(rig, wall) == "stale"

    by_the_wall(BEST, story)


def test_what_a_person_typed_counts_on_and_for_no_longer() -> None:
    async def story(rig: Rig, wall: Wall) -> None:
        await rig.enter("person", {"t": 1})
        await rig.advance("1h")
        wall.step("-2d")
        await rig.advance("59min")
        assert await how_it_stands(rig, wall) == ""
        await rig.advance("2min")
        assert await how_it_stands(rig, wall) == "stale"
        for _ in range(52):
            await rig.advance("1h")
            assert await how_it_stands(rig, wall) == "stale"

    by_the_wall(BEST, story)


def test_an_interval_of_the_world_does_not_move_with_the_clock() -> None:
    async def story(rig: Rig, wall: Wall) -> None:
        begin, end = wall(), wall() + Duration.parse("15min")
        info = FieldInfo(at=begin, received_at=begin, source="device", valid_from=begin, valid_until=end)
        await rig.emit("device", {"t": 1}, fields={"t": info})
        await rig.advance("10min")
        wall.step("-5min")
        await rig.advance("9min")
        assert await how_it_stands(rig, wall) == ""
        await rig.advance("2min")
        assert await how_it_stands(rig, wall) == "stale"

    by_the_wall(BEST, story)


def test_the_end_of_an_interval_that_comes_twice_has_two_positions(tmp_path: Path) -> None:
    prices = tmp_path / "p.csv"
    slots = (
        f"2025-01-25T{hour}:{minute}:00Z,{hour}{minute}" for hour in (11, 12, 13, 14) for minute in range(15, 60, 15)
    )
    prices.write_text("\n".join(["timestamp,price_eur_mwh", *slots]), encoding="utf-8")
    text = f"""
flow: t
market: {{name: m, slot: 15min, gate_closure: 5min}}
nodes:
  price: {{type: price-in, source: csv, file: '{prices}'}}
  best: {{type: merge, from: price, emit: change}}
"""

    async def story(rig: Rig, wall: Wall) -> None:
        for _ in range(8):
            await rig.advance("11min")
            wall.step("-9min")
        await rig.advance("1h")
        for node in ("price", "best"):
            assert len(rig.out(node)) >= 10
            assert all_different(rig.out(node))

    by_the_wall(text, story)


def test_what_was_kept_over_a_restart_and_a_set_back_is_not_fresh_when_it_is_that_time_again() -> None:
    store = Store.open(None, inline=True)

    async def while_ahead(rig: Rig) -> None:
        await rig.emit("device", {"t": 20})

    async def set_back(rig: Rig) -> None:
        for _ in range(220):
            await rig.advance("20s")
            await rig.emit("other", {"u": 1})
            assert rig.out("best")[-1].info("t").trouble(rig.now)

    run_flow(BEST, while_ahead, start=AHEAD, store=store)
    run_flow(BEST, set_back, start=RIGHT, store=store)


# ---- with real peers ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_sources_are_asked_on_and_not_only_when_it_is_so_late_again(tmp_path: Path) -> None:
    stepped = 0
    prices = tmp_path / "p.csv"
    prices.write_text("timestamp,price_eur_mwh\n2025-01-01T00:00:00Z,1\n2025-01-01T00:15:00Z,2\n", encoding="utf-8")
    async with serve(always(text("1"))) as server, ModbusServer() as device:
        device.set(0, 7)
        flow = f"""
flow: site
market: {{name: m, slot: 15min, gate_closure: 5min}}
nodes:
  poll: {{type: http-poll, url: "{server.url}/", every: 500ms}}
  price: {{type: price-in, source: csv, file: '{prices}', every: 1s}}
  device: {{type: modbus-in, host: 127.0.0.1, port: {device.port}, every: 500ms, registers: {{t: {{address: 0}}}}}}
"""
        names = ("poll", "price", "device")
        clock = LiveClock(lambda: time.time_ns() + stepped)
        async with living(tmp_path / "data", text=flow, clock=clock) as running:

            def fetched(name: str) -> int:
                return sum(one.root is not None and one.root[1][:5] != "slot:" for one in running.seen.get(name, ()))

            def has(counts: dict[str, int]) -> bool:
                return all(fetched(name) >= count for name, count in counts.items())

            await running.until(partial(has, {"poll": 4, "price": 1, "device": 4}), "some answers each")
            for step in (-3 * SECOND // 2, -2 * DURATION_UNITS["d"], 2 * DURATION_UNITS["d"]):
                stepped += step
                before, began = {name: fetched(name) for name in names}, time.monotonic()
                await running.until(partial(has, {name: count + 2 for name, count in before.items()}), "two more each")
                most = 3 + 2 * (time.monotonic() - began)  # one is under way, one is asked at once
                assert all(fetched(name) - before[name] <= most for name in names), "no flood"
            for name in names:
                assert all_different(running.seen[name])


@pytest.mark.anyio
async def test_a_server_that_wants_to_be_left_alone_is_left_alone_as_long(tmp_path: Path) -> None:
    stepped = 0
    busy = text("{}", "503 Service Unavailable", more="retry-after: 2\r\n")
    async with serve(always(busy, text("1"))) as server:
        flow = f"flow: t\nnodes:\n  poll: {{type: http-poll, url: '{server.url}/', every: 100ms}}\n"
        clock = LiveClock(lambda: time.time_ns() + stepped)
        async with living(tmp_path / "data", text=flow, clock=clock) as running:
            began = time.monotonic()
            await server.until(1)
            await running.until(lambda: running.node("poll", "t")["errors"] != {}, "the answer is read")
            stepped -= 2 * DURATION_UNITS["d"]
            await server.until(3)
            assert 2 <= time.monotonic() - began < 4
