"""Whatever fails around the program, and whoever kills it: what it took arrives, in order, and it is ready by itself.

One seed is one run: the same faults in the same order, at about the same places of the stream.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import FAULTS, OF_THE_PROCESS, Fault, killed, stopped
from tests.chaos.gauges import Holds, holds
from tests.chaos.place import ALL_S, Place, place
from tests.peers.until import until

pytestmark = pytest.mark.anyio

SETTLED_STATES = {"accepted", "filled", "partly-filled"}
MORE_FILES, MORE_SOCKETS, MORE_MB = 4, 3, 60
"""What a process may hold after the chaos more than before it: a request in the making, caches."""
MORE_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""Those of asyncio's pool, which has as many as there was ever to do at once (concurrent.futures says how many)."""


async def weather(place: Place, rounds: Sequence[Sequence[Fault]], dice: random.Random) -> None:
    """In each round some faults at once, one behind the other, for a while; then a breath."""
    for faults in rounds:
        async with AsyncExitStack() as stack:
            for fault in faults:
                await stack.enter_async_context(fault(place, dice))
                await place.published(dice.randrange(1, 40))
            await place.published(dice.choice([5, 40, 120]))
        await place.published(dice.randrange(1, 60))


def drawn(dice: random.Random, count: int, faults: Sequence[Fault]) -> list[list[Fault]]:
    """Each fault about as often as the others; one, two or three at a time."""
    rounds: list[list[Fault]] = []
    left: list[Fault] = []
    while len(rounds) < count:
        one: list[Fault] = []
        for _ in range(dice.choice([1, 1, 2, 3])):
            if not left:
                left = [*faults]
                dice.shuffle(left)
            fault = left.pop()
            if fault not in one and not (fault in OF_THE_PROCESS and any(other in OF_THE_PROCESS for other in one)):
                one.append(fault)
        rounds.append(one)
    return rounds


async def verdict(place: Place) -> None:
    """The faults are over."""
    await place.until_ready()
    place.device.set(0, [4711, 7])
    await place.published(20)
    await place.end_streams()

    async def device_is_read() -> bool:
        node: Any = await place.ask("/api/v1/flows/site/nodes/device")
        return bool(node) and node["last"]["out"]["payload"]["number"] == 4711

    await until(device_is_read, lambda: f"the device is read again; {place.said()}", every_s=0.1)
    await until(lambda: not lost(place), lambda: f"lost {lost(place)}; {place.said()}", ALL_S, every_s=0.1)
    for way, found in place.accounts().items():
        unknown = [one for one in found.unknown if one not in place.tried]
        assert not found.overtaken, f"{way}: {found}"
        assert not unknown, f"{way}: {found}"
    await judge_orders(place)
    letters = await place.ask("/api/v1/dead-letters")
    assert [one for one in letters if one["node"] != "exchange"] == []  # an order without an answer is `unknown`
    for life in place.lives:
        assert not any("Traceback" in line or "defect" in line for line in life.lines), "\n".join(life.lines)


def lost(place: Place) -> dict[str, str]:
    return {way: str(found) for way, found in place.accounts().items() if found.lost}


async def judge_orders(place: Place) -> None:
    """The exchange has no two of one identity, and none that the journal does not know."""
    identities = [(one.market, one.delivery_start, one.side) for one in place.accepted]
    assert len(set(identities)) == len(identities), identities
    assert identities, "nobody traded: nothing was shown"
    rows: list[Any] = []

    async def all_known() -> bool:
        rows[:] = await place.ask("/api/v1/orders?limit=1000") or []
        known = {row["exchange_id"] for row in rows if row["state"] in SETTLED_STATES}
        return {one.order_id for one in place.accepted} <= known and all(row["state"] != "sending" for row in rows)

    def missing() -> str:
        return f"the journal knows each: {[str(one) for one in place.accepted]}; it has {rows}; {place.said()}"

    await until(all_known, missing, ALL_S, every_s=0.2)
    accepted = {row["exchange_id"] for row in rows if row["state"] in SETTLED_STATES}
    assert accepted == {one.order_id for one in place.accepted}


async def no_leak(before: Holds, pid: int, clients: int) -> None:
    """``clients``: of exchanges; each may have one idle connection more than at the beginning, which it looks at when
    it asks again."""
    after = before

    def as_before() -> bool:
        nonlocal after
        after = holds(pid)
        return (
            after.files <= before.files + MORE_FILES + clients
            and after.sockets <= before.sockets + MORE_SOCKETS + clients
            and after.threads <= before.threads + MORE_THREADS
            and after.memory_mb <= before.memory_mb + MORE_MB
        )

    await until(as_before, lambda: f"it holds no more than before: {before}, {after}", ALL_S, every_s=0.2)


async def chaos(folder: Path, seed: int, rounds: int, faults: Sequence[Fault], markets: int) -> None:
    print(f"the seed of this chaos is {seed}")
    dice = random.Random(seed)  # noqa: S311  (told with each failure, so that the same can be had again)
    async with place(folder, markets) as here:
        await here.published(200)
        assert here.program is not None
        before = holds(here.program.pid)
        for number, one in enumerate(chosen := drawn(dice, rounds, faults)):
            print(number, [fault.__name__ for fault in one])
        await weather(here, chosen, dice)
        await verdict(here)
        assert here.program is not None
        await no_leak(before, here.program.pid, markets)
        print(f"{len(here.lives)} lives, {len(here.sink.heard)} deliveries, {len(here.accepted)} orders")


async def test_a_short_chaos(tmp_path: Path) -> None:
    await chaos(tmp_path, seed=6, rounds=6, faults=FAULTS, markets=6)


@pytest.mark.slow(reason="minutes by the wall clock: that is what it shows")
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_long_chaos(tmp_path: Path, seed: int) -> None:
    await chaos(tmp_path, seed, rounds=100, faults=FAULTS, markets=40)


@pytest.mark.slow(reason="minutes by the wall clock: one process lives through it all")
async def test_a_long_chaos_that_it_lives_through(tmp_path: Path) -> None:
    alive = [one for one in FAULTS if one not in (killed, stopped)]
    await chaos(tmp_path, 3, rounds=100, faults=alive, markets=40)
