"""Orders that wait to be sent, and a journal that cannot be written: what may not be sent any more never is."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from flowrunner.orders import Journal
from flowrunner.store import Store, StoreFailed
from flowrunner.units import SECOND, parse_instant
from tests.exchange.simulated import Served, served
from tests.orders.venue import FLOW, Trading, an_order, trading, venue

pytestmark = pytest.mark.anyio
ID = "AT-20260302T1215Z-BUY"
WAYS = ("throttled", "refused")
HOT = FLOW.replace("    from: hand\n    when", "    from: hot\n    when").replace(
    "  buy:\n", "  hot: {type: threshold, from: hand, field: temperature_c, above: 40}\n  buy:\n"
).replace("manual: allow", "manual: allow\n    stop_while: [hot]")  # fmt: skip
BRIEF = FLOW.replace("max_age: {hand: 10min}", "max_age: {hand: 2min}")


async def waits(at: Served, flow: Trading, way: str) -> None:
    """One order that could not be sent yet: too much at once, or nobody listens."""
    if way == "throttled":
        at.exchange.faults.arm("throttled")
    else:
        await at.server.stop()
    await flow.battery(20)
    await flow.until(lambda: ("sending", "") in flow.story() and flow.order.state == "intent")


async def could_be_sent(at: Served, flow: Trading, way: str) -> None:
    """From now on it would be taken; until it would have been tried again."""
    if way == "throttled":
        at.exchange.faults.clear()
    else:
        await at.server.start()
    await flow.engine.clock.sleep_until(flow.engine.clock.now() + 65 * SECOND)


@pytest.mark.parametrize("way", WAYS)
async def test_the_kill_switch_in_between(way: str) -> None:
    async with venue(speed=120) as (at, flow):
        await waits(at, flow, way)
        flow.engine.trading.switch.stop(by="operator", reason="maintenance", now=flow.engine.clock.now())
        await could_be_sent(at, flow, way)
        order = await flow.until_order("expired")
        assert order.reason.startswith("trading is stopped since ")
        assert " by operator: maintenance; the last attempt: " in order.reason
        assert order.open_mwh == 0
        flow.engine.trading.switch.resume()
        await flow.battery(20)
        guard = flow.engine.runtime.workers["site/guard"]
        await flow.until(lambda: guard.counters.dropped.get("repeat"))
        assert at.accepted == []
        assert flow.story()[-1][0] == "expired"


@pytest.mark.parametrize("way", WAYS)
async def test_the_guard_withdraws_it_in_between(way: str) -> None:
    async with venue(text=HOT, speed=120) as (at, flow):
        await waits(at, flow, way)
        await flow.battery(20, temperature=40.1)
        order = await flow.until_order("expired")
        assert order.reason.startswith("withdrawn before it was sent: hot ")
        await could_be_sent(at, flow, way)
        await flow.battery(20)
        await flow.until_left("exchange.error")
        assert ("expired", f"{ID}: {order.reason}") in flow.errors()
        assert at.accepted == []


@pytest.mark.parametrize("way", WAYS)
async def test_its_rule_does_not_wish_it_any_more(way: str) -> None:
    """By the newest record, of which the guard hears nothing: also where that would be too hot."""
    async with venue(text=HOT, speed=120) as (at, flow):
        await waits(at, flow, way)
        await flow.battery(50, temperature=45)
        await could_be_sent(at, flow, way)
        order = await flow.until_order("expired")
        assert order.reason.startswith("its rule buy does not wish it any more; the last attempt: ")
        assert at.accepted == []


@pytest.mark.parametrize("way", WAYS)
async def test_only_a_smaller_one_would_be_allowed_in_between(way: str) -> None:
    smaller = HOT.replace("stop_while: [hot]", "limit_while: {hot: {max_quantity_mwh: 0.5}}")
    async with venue(text=smaller, speed=120) as (at, flow):
        await waits(at, flow, way)
        while flow.order.state != "expired":
            assert flow.order.state in ("intent", "sending")
            await flow.battery(20, temperature=40.1)
            await flow.engine.clock.sleep_until(flow.engine.clock.now() + 2 * SECOND)
        assert flow.order.reason.startswith("withdrawn before it was sent: ")
        assert "0.5" in flow.order.reason
        await could_be_sent(at, flow, way)
        assert at.accepted == []


@pytest.mark.parametrize("way", WAYS)
async def test_what_it_was_decided_on_grows_old_in_between(way: str) -> None:
    async with venue(text=BRIEF, speed=120) as (at, flow):
        await waits(at, flow, way)
        until = flow.order.good_until
        order = await flow.until_order("expired")
        assert order.reason.startswith("what it was decided on held until 2026-03-02T12:0")
        assert "; the last attempt: " in order.reason
        assert until == order.good_until < order.delivery_start - 300 * SECOND
        await could_be_sent(at, flow, way)
        assert at.accepted == []


@pytest.mark.parametrize("way", WAYS)
async def test_judged_again_it_may_wait_longer(way: str) -> None:
    async with venue(text=BRIEF, speed=120) as (at, flow):
        await waits(at, flow, way)
        first = flow.order.good_until
        await flow.until(lambda: flow.engine.clock.now() > first - 60 * SECOND)
        while flow.order.good_until == first:  # not while it is just being sent
            await flow.battery(20)
            await flow.engine.clock.sleep_until(flow.engine.clock.now() + 2 * SECOND)
        await flow.until(lambda: flow.engine.clock.now() > first)
        assert flow.order.state in ("intent", "sending")
        await could_be_sent(at, flow, way)
        await flow.until_order("accepted")
        assert len(at.accepted) == 1


# ---- the disk ---------------------------------------------------------------------------------------------


async def fill(store: Store) -> None:
    """From now on SQLite finds the disk full (SQLITE_FULL) for each further step of an order, until ``free``."""

    def limit(sql: sqlite3.Connection) -> None:
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
        sql.execute(f"PRAGMA max_page_count = {pages}")

    def add(sql: sqlite3.Connection, size: int) -> None:
        step = (
            "INSERT INTO order_steps (order_id, at, state, reason, detail) VALUES ('ballast', 0, '', '', zeroblob(?))"
        )
        sql.execute(step, (size,))

    ballast = an_order(id="ballast", market="none", mode="paper", state="paper", created_at=0)
    await Journal(store).decide(lambda book: book.add(ballast, {}))
    await store.submit(limit)
    for size in (400, 100, 20, 0):
        with suppress(StoreFailed):
            while True:
                await store.submit(partial(add, size=size))


async def free(store: Store) -> None:
    await store.submit(lambda sql: sql.execute("PRAGMA max_page_count = 1000000").fetchone())


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "data")


async def test_what_is_forbidden_while_the_disk_takes_its_time_is_not_sent(store: Store) -> None:
    """The switch is pulled in the middle of writing ``sending``: before the first byte it is looked at again."""
    try:
        async with served() as at, trading(at, store=store) as flow:
            switch = flow.engine.trading.switch

            def slow(sql: sqlite3.Connection) -> None:
                sql.create_function("pull", 0, lambda: str(switch.stop(by="operator", reason="now", now=0)))
                when = "AFTER UPDATE ON orders WHEN NEW.state = 'sending'"
                sql.execute(f"CREATE TEMP TRIGGER slow {when} BEGIN SELECT pull(); END")

            await store.submit(slow)
            await flow.wish()
            order = await flow.until_order("expired", "accepted")
            assert order.reason == "trading is stopped since 1970-01-01T00:00:00.000Z by operator: now"
            assert [state for state, _ in flow.story()] == ["intent", "sending", "intent", "expired"]
            assert at.accepted == []
    finally:
        await store.close()


async def test_what_cannot_be_written_down_is_not_sent(store: Store) -> None:
    try:
        async with served() as at, trading(at, store=store, speed=60) as flow:
            at.exchange.faults.arm("throttled")
            await flow.wish()
            await flow.until(lambda: ("sending", "") in flow.story() and flow.order.state == "intent")
            await fill(store)
            at.exchange.faults.clear()
            await flow.until(lambda: any(code == "journal" for code, _ in flow.errors()))
            told = [reason for code, reason in flow.errors() if code == "journal"]
            assert told[0].startswith(f"{ID}: not sent, because the journal cannot be written: ")
            assert flow.order.state == "intent"
            await free(store)
            order = await flow.until_order("expired")
            assert order.reason == "the journal could not be written before it was sent"
            assert at.accepted == []
    finally:
        await store.close()


async def test_an_answer_that_cannot_be_written_down_is_kept_until_it_can(store: Store) -> None:
    try:
        async with served() as at, trading(at, store=store) as flow:
            at.exchange.faults.arm("delay", times=1, seconds=0.3)
            await flow.wish()
            await flow.until(lambda: at.accepted)
            await fill(store)
            await flow.until(lambda: any(code == "journal" for code, _ in flow.errors()))
            assert dict(flow.errors())["journal"].startswith(f"{ID} is accepted, and that cannot be written: ")
            assert flow.order.state == "sending"
            await flow.wish(soc=80)
            guard = flow.engine.runtime.workers["site/guard"]
            await flow.until(lambda: flow.left.get("guard.blocked") or sum(guard.counters.errors.values()))
            assert flow.left.get("guard.out") is None or len(flow.left["guard.out"]) == 1
            await flow.engine.clock.sleep_until(flow.engine.clock.now() + int(1.2 * SECOND))  # a second attempt fails
            await free(store)
            order = await flow.until_order("accepted")
            assert order.exchange_id == at.accepted[0].order_id
            assert [state for state, _ in flow.story()] == ["intent", "sending", "accepted"]
            assert [code for code, _ in flow.errors()].count("journal") == 1
            await flow.until_left("exchange.out")
            assert len(at.accepted) == 1
    finally:
        await store.close()


async def test_ended_before_the_answer_could_be_written_it_is_found_again(store: Store, tmp_path: Path) -> None:
    async with served() as at:
        async with trading(at, store=store) as flow:
            at.exchange.faults.arm("delay", times=1, seconds=0.3)
            await flow.wish()
            await flow.until(lambda: at.accepted)
            await fill(store)
            await flow.until(lambda: any(code == "journal" for code, _ in flow.errors()))
        await free(store)
        await store.close()
        again = Store.open(tmp_path / "data")
        try:
            async with trading(at, store=again, start="2026-03-02T12:01:00Z") as flow:
                order = await flow.until_order("accepted")
                assert order.exchange_id == at.accepted[0].order_id
                assert [state for state, _ in flow.story()] == ["intent", "sending", "unknown", "accepted"]
        finally:
            await again.close()
        assert len(at.accepted) == 1
        assert parse_instant("2026-03-02T12:01:00Z") <= order.updated_at
