"""The scenarios that must hold, end to end: from registers and messages to what the exchange has in its book."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import pytest

from flowrunner.units import iso, parse_instant
from tests.end_to_end.trading import MINUTE, plant

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("at", "soc", "price", "side", "delivery"),
    [
        pytest.param("2026-01-25T01:00:00Z", 20, 50.0, "BUY", "2026-01-25T01:15:00.000Z", id="at two, empty and cheap"),
        pytest.param("2026-07-25T16:00:00Z", 80, 150.0, "SELL", "2026-07-25T16:15:00.000Z", id="at six, full and dear"),
        pytest.param("2026-01-25T11:00:00Z", 90, 200.0, "SELL", "2026-01-25T11:15:00.000Z", id="at noon, very full"),
        pytest.param("2026-01-25T11:00:00Z", 29.9, 0.0, "BUY", "2026-01-25T11:15:00.000Z", id="for nothing"),
        pytest.param("2026-01-25T11:00:00Z", 20, -45.5, "BUY", "2026-01-25T11:15:00.000Z", id="for less than nothing"),
    ],
)
async def test_one_order_however_often_the_input_repeats(
    tmp_path: Path, at: str, soc: float, price: float, side: str, delivery: str
) -> None:
    async with plant(tmp_path, at, soc=soc, price=price) as place, place.running():
        await place.until(lambda: place.repeats() >= 3, "the same wish three times more")
        (order,) = place.orders
        assert await place.at_the_exchange() == [(side, 1.0, price, "epex_at")]
        (delivered,) = place.world.schedule.deliveries
    assert (order.state, order.mode, order.side) == ("accepted", "live", side)
    assert delivered.order_id == order.exchange_id
    assert (iso(delivered.start), iso(delivered.end)) == (delivery, iso(parse_instant(delivery) + 15 * MINUTE))
    assert (delivered.side, delivered.quantity_mwh) == (side, 1.0)


@pytest.mark.parametrize(
    ("soc", "price"), [(30.0, 50.0), (70.0, 150.0), (20, 60.01), (80, 119.99), (50, 50.0)], ids=str
)
async def test_no_order_at_the_edges(tmp_path: Path, soc: float, price: float) -> None:
    async with plant(tmp_path, "2026-01-25T01:00:00Z", soc=soc, price=price) as place, place.running():
        counters = place.engine.counters
        await place.until(
            lambda: min(counters()[f"bess/{name}"].received for name in ("buy", "sell")) > 3, "the rules judged"
        )
        assert (place.orders, place.journal.refusals()) == ([], [])
        assert await place.at_the_exchange() == []


async def test_what_the_exchange_refuses_is_not_repeated_and_rings(tmp_path: Path) -> None:
    async with plant(tmp_path, "2026-01-25T22:00:00Z", soc=10, price=30.0) as place:
        await place.tell(soc=10)
        async with place.running():
            await place.until(lambda: place.repeats() >= 3, "the same wish three times more")
            await place.until(lambda: bool(place.alarms()), "an alarm")
            (order,) = place.orders
            assert (order.state, order.reason) == ("rejected", "400: BUY disabled at SoC 10.0% (<15%)")
            (alarm,) = place.alarms()
            assert "BUY disabled at SoC 10.0% (<15%)" in alarm
            assert await place.at_the_exchange() == []
            assert place.world.schedule.deliveries == []


async def test_too_hot_for_any_order(tmp_path: Path) -> None:
    """Also while prices are away, and whatever a person types; until it was cool for five minutes."""
    at = "2026-01-25T01:00:00Z"
    async with plant(tmp_path, at, soc=20, price=50.0, temperature=45.0, speed=150) as place, place.running():
        await place.until(lambda: sum(place.refused().values()) >= 3, "three refusals")
        await place.engine.enter("bess", "manual", {"temperature_c": 25}, by="test")
        before = sum(place.refused().values())
        await place.until(lambda: sum(place.refused().values()) >= before + 3, "three more with a typed temperature")
        place.world.exchange.faults.arm("error-before", on="prices")
        await place.until(lambda: bool(place.engine.counters()["bess/price"].errors), "the prices are away")
        assert place.orders == []
        assert any("overheated" in one for one in place.alarms())
        place.world.exchange.faults.clear()
        place.world.place_battery(soc_percent=20, temperature_c=37)
        cool = place.world.clock.now()
        await place.until(lambda: bool(place.orders) and place.orders[-1].state == "accepted", "it trades again")
        assert place.orders[-1].created_at >= cool + 5 * MINUTE
        assert len(await place.at_the_exchange()) == 1


@pytest.mark.parametrize(("soc", "price", "side", "flow"), [(80, 150.0, "SELL", "SELL"), (20, 50.0, "BUY", "BUY")])
async def test_at_its_power_limit_it_trades_half(
    tmp_path: Path, soc: float, price: float, side: str, flow: str
) -> None:
    async with plant(tmp_path, "2026-01-25T01:00:00Z", soc=soc, price=price) as place:
        now = place.world.clock.now()
        place.world.schedule.add("site", now, now + 60 * MINUTE, "SELL" if flow == "SELL" else "BUY", 5.2)
        async with place.running():
            await place.until(lambda: place.repeats() >= 1, "an order and a repeat")
            (order,) = place.orders
            assert (order.quantity_mwh, order.requested_mwh, order.limited_by) == (0.5, 1.0, "power-limit")
            assert await place.at_the_exchange() == [(side, 0.5, price, "epex_at")]
            await place.until(lambda: any("power-limit" in one for one in place.alarms()), "an alarm says so")


async def test_a_restart_in_the_same_slot_orders_nothing_more(tmp_path: Path) -> None:
    async with plant(tmp_path, "2026-01-25T01:00:00Z", soc=20, price=50.0) as place:
        async with place.running():
            await place.until(lambda: bool(place.orders) and place.orders[0].state == "accepted", "an order")
            (first,) = place.orders
        async with place.running():
            await place.until(lambda: place.repeats() >= 2, "the same wish again")
            assert place.orders == [first]
        assert len(await place.at_the_exchange()) == 1


async def test_an_answer_that_is_lost_is_found_again_and_not_repeated(tmp_path: Path) -> None:
    async with plant(tmp_path, "2026-01-25T01:00:00Z", soc=20, price=50.0) as place:
        place.world.exchange.faults.arm("answer-lost", times=1)
        async with place.running():
            await place.until(lambda: place.repeats() >= 2, "an order and repeats")
            await place.until(lambda: place.orders[0].state == "accepted", "it is found")
            (order,) = place.orders
            found = place.journal.story(order.id)
            assert found is not None
            assert [one["state"] for one in found[1]] == ["intent", "sending", "unknown", "accepted"]
            assert order.reason.startswith("found by likeness")
            assert len(await place.at_the_exchange()) == 1


async def test_an_hour_makes_no_tasks(tmp_path: Path) -> None:
    """Tasks and timers of flow and world: as many after an hour as after the first minutes."""
    async with plant(tmp_path, "2026-01-25T01:00:00Z", soc=20, price=50.0, speed=1200) as place, place.running():
        clock = place.world.clock
        start = clock.now()
        counts: dict[int, list[int]] = {5: [], 45: []}
        for begin, found in counts.items():
            await place.until(lambda begin=begin: clock.now() > start + begin * MINUTE, f"{begin} minutes")  # type: ignore[misc]
            while clock.now() < start + (begin + 12) * MINUTE:
                found.append(len(asyncio.all_tasks()))
                await clock.sleep_until(clock.now() + MINUTE // 5)
        assert len(place.orders) >= 2
    assert statistics.median(counts[45]) <= statistics.median(counts[5]) + 1
    assert max(counts[45]) <= max(counts[5]) + 3
