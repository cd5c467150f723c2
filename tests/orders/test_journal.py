"""The journal on its store: identities, the steps of an order's life, what counts, and what is kept of refusals."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from flowrunner.errors import UsageError
from flowrunner.market import Slot
from flowrunner.orders import Book, Intent, Journal, Order, Refusal, State, WrongStep
from flowrunner.orders.book import REFUSALS_KEPT
from flowrunner.store import FILE_NAME, Store, StoreFailed, reading

pytestmark = pytest.mark.anyio
QUARTER = 900 * 10**9
NOW = 1_737_766_800 * 10**9
"""2025-01-25T01:00:00Z"""
DAY = Slot(NOW - 2 * 4 * QUARTER, NOW + 22 * 4 * QUARTER)
NEXT: dict[State, set[State]] = {
    "intent": {"sending", "paper", "expired"},
    "sending": {"accepted", "rejected", "unknown", "intent"},
    "unknown": {"accepted", "rejected", "partly-filled", "filled", "unfilled"},
    "accepted": {"partly-filled", "filled", "unfilled"},
    "partly-filled": {"partly-filled", "filled"},
    "rejected": {"accepted"},
    "unfilled": {"partly-filled", "filled"},
}
"""All that may follow; nothing else may."""
WAYS: dict[State, list[State]] = {
    "intent": [], "sending": ["sending"], "paper": ["paper"], "expired": ["expired"],
    "accepted": ["sending", "accepted"], "rejected": ["sending", "rejected"], "unknown": ["sending", "unknown"],
    "partly-filled": ["sending", "accepted", "partly-filled"], "filled": ["sending", "accepted", "filled"],
    "unfilled": ["sending", "accepted", "unfilled"],
}  # fmt: skip


def order(number: int = 0, **changes: Any) -> Order:
    """For the quarter-hour ``number`` after 01:15Z."""
    start = NOW + (number + 1) * QUARTER
    given: dict[str, Any] = {
        "market": "epex_at", "delivery_start": start, "delivery_end": start + QUARTER, "side": "BUY",
        "quantity_mwh": 1.0, "requested_mwh": 1.0, "limited_by": "", "limit_price_eur_mwh": 50.0,
        "order_type": "LIMIT", "time_in_force": "GFD", "flow": "bess", "guard": "guard", "rule": "buy",
        "state": "intent", "mode": "live", "created_at": NOW, "updated_at": NOW, "good_until": start,
        "open_mwh": changes.get("quantity_mwh", 1.0),
    } | changes  # fmt: skip
    return Order(id=changes.get("id") or wish(**{key: given[key] for key in ("market", "side")}, number=number).id,
                 **{key: value for key, value in given.items() if key != "id"})  # fmt: skip


def wish(market: str = "epex_at", side: Any = "BUY", number: int = 0) -> Intent:
    start = NOW + (number + 1) * QUARTER
    return Intent(market=market, slot=Slot(start, start + QUARTER), side=side, quantity_mwh=1.0,
                  limit_price_eur_mwh=50.0, rule="buy")  # fmt: skip


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path)
    yield opened
    await opened.close()


async def added(kept: Journal, one: Order, *states: State) -> Order:
    await kept.decide(lambda book: book.add(one, {}))
    for state in states:
        one = await kept.advance(one.id, state, NOW)
    return one


def test_the_identity_is_market_slot_and_side() -> None:
    assert wish().id == "epex_at-20250125T0115Z-BUY"
    ids = [wish(*one).id for one in itertools.product(("epex_at", "epex_de"), ("BUY", "SELL"), range(96))]
    assert len(set(ids)) == len(ids)


# ---- steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "then"), [*itertools.product(get_args(State), get_args(State))])
async def test_every_step(store: Store, now: State, then: State) -> None:
    kept = Journal(store)
    one = await added(kept, order(), *WAYS[now])
    if then in NEXT.get(now, set()):
        after = await kept.advance(
            one.id, then, NOW + 1, reason="so", exchange_id="7", filled_mwh=0.25, detail={"a": 1}
        )
        over = then in ("rejected", "expired", "unfilled") or now == "unfilled"
        assert kept.find(one.id) == after == msgspec.structs.replace(
            one, state=then, updated_at=NOW + 1, reason="so", exchange_id="7", filled_mwh=0.25,
            open_mwh=0.0 if over else 1.0,
        )  # fmt: skip
        found = kept.story(one.id)
        assert found is not None
        assert found[1][-1] == {"at": NOW + 1, "state": then, "reason": "so", "detail": {"a": 1}}
    else:
        with pytest.raises(WrongStep, match=f"the order {one.id} is {now} and cannot become {then}"):
            await kept.advance(one.id, then, NOW + 1)
        assert kept.find(one.id) == one
        found = kept.story(one.id)
        assert found is not None
        assert len(found[1]) == 1 + len(WAYS[now])


async def test_no_step_of_an_order_that_is_not_there(store: Store) -> None:
    with pytest.raises(WrongStep, match="the journal has no order 'x'"):
        await Journal(store).advance("x", "sending", NOW)
    assert Journal(store).find("x") is None
    assert Journal(store).story("x") is None


# ---- identities -----------------------------------------------------------------------------------------------------


async def test_an_identity_is_there_once_however_many_decide_at_the_same_time(store: Store, tmp_path: Path) -> None:
    def decide(guard: str) -> Any:
        def work(book: Book) -> Order | None:
            one = order(guard=guard)
            return None if book.find(one.id) is not None else book.add(one, {"guard": guard})

        return work

    found = await asyncio.gather(*(Journal(store).decide(decide(f"guard-{number}")) for number in range(20)))
    assert [one is not None for one in found].count(True) == 1
    assert len(Journal(store).orders()) == 1
    by_hand = sqlite3.connect(tmp_path / FILE_NAME)
    assert by_hand.execute("SELECT COUNT(*) FROM orders").fetchone() == (1,), "on the disk when it returns"
    by_hand.close()


async def test_the_file_itself_refuses_a_second_one(store: Store) -> None:
    kept = Journal(store)
    await added(kept, order())
    for again in (order(), order(id="by another name")):
        with pytest.raises(sqlite3.IntegrityError):
            await added(kept, again)
    assert len(kept.orders()) == 1
    found = kept.story(order().id)
    assert found is not None
    assert len(found[1]) == 1


async def test_what_fails_in_the_middle_leaves_nothing(store: Store) -> None:
    def work(book: Book) -> None:
        book.add(order(), {})
        book.advance(order().id, "sending", NOW)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await Journal(store).decide(work)
    assert Journal(store).orders() == []


async def test_a_file_that_cannot_be_written(store: Store, tmp_path: Path) -> None:
    await store.submit(lambda sql: sql.execute("PRAGMA busy_timeout = 10") and None)
    by_hand = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    by_hand.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match="database is locked"):
        await added(Journal(store), order())
    by_hand.close()
    assert Journal(store).orders() == []


# ---- what counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", get_args(State))
async def test_what_counts_in_each_state(store: Store, state: State) -> None:
    kept = Journal(store)
    await added(kept, order(quantity_mwh=2.0), *WAYS[state])
    held = await kept.decide(lambda book: book.held(wish(side="SELL"), "live", NOW, DAY, DAY, NOW))
    may_be_delivered = state not in ("rejected", "expired", "unfilled")
    assert (held.slot, held.minute, held.day) == (1, 1, 1), "counts hold whatever became of it"
    assert sum(one.committed_mwh for one in held.delivery_day) == (2.0 if may_be_delivered else 0)
    assert bool(held.opposite) == bool(held.pending) == may_be_delivered
    assert bool(held.unknown) == (state in ("unknown", "sending"))
    other = await kept.decide(lambda book: book.held(wish("epex_de"), "live", NOW, DAY, DAY, NOW))
    assert other == msgspec.structs.replace(other, slot=0, minute=0, day=0, unknown="", opposite="",
                                            delivery_day=[], pending=[])  # fmt: skip


async def test_the_edges_of_minute_day_slot_and_delivery(store: Store) -> None:
    kept = Journal(store)
    await added(kept, order(side="SELL"))
    start, end = order().delivery_start, order().delivery_end

    async def held(now: int, number: int = 0, measured_at: int | None = None) -> tuple[int, int, int, int]:
        day = Slot(now // (96 * QUARTER) * 96 * QUARTER, (now // (96 * QUARTER) + 1) * 96 * QUARTER)
        at = now if measured_at is None else measured_at
        found = await kept.decide(lambda book: book.held(wish(number=number), "live", now, day, DAY, at))
        return found.slot, found.minute, found.day, len(found.pending)

    minute = 60 * 10**9
    assert await held(NOW) == (1, 1, 1, 1)
    assert await held(NOW + minute - 1) == (1, 1, 1, 1)
    assert await held(NOW + minute) == (1, 0, 1, 1)
    assert await held(NOW, number=1) == (0, 1, 1, 1)
    assert await held(NOW, number=-1) == (0, 1, 1, 1)
    assert await held(end - 1) == (1, 0, 1, 1)
    assert await held(end) == (1, 0, 1, 0)
    assert await held(end, measured_at=start) == (1, 0, 1, 1), "the measurement does not know of the delivery yet"
    midnight = NOW // (96 * QUARTER) * 96 * QUARTER
    assert await held(midnight) == (1, 0, 1, 1)
    assert await held(midnight - 1) == (1, 0, 0, 1)


async def test_paper_does_not_count_for_live(store: Store) -> None:
    kept = Journal(store)
    await added(kept, order(mode="paper"), "paper")
    await added(kept, order(1, mode="live"), "sending", "accepted")
    for mode, counted in (("live", 1), ("paper", 2)):
        held = await kept.decide(lambda book, mode=mode: book.held(wish(number=2), mode, NOW, DAY, DAY, NOW))  # type: ignore[misc]
        assert (held.minute, held.day, len(held.delivery_day), len(held.pending)) == (counted,) * 4
    held = await kept.decide(lambda book: book.held(wish(side="SELL"), "live", NOW, DAY, DAY, NOW))
    assert held.opposite == order().id, "but never two sides of one slot"


async def test_an_order_does_not_count_for_itself(store: Store) -> None:
    kept = Journal(store)
    await added(kept, order())
    held = await kept.decide(lambda book: book.held(wish(), "live", NOW, DAY, DAY, NOW))
    assert (held.slot, held.minute, held.day, held.delivery_day, held.pending) == (0, 0, 0, [], [])


# ---- the end of a run ------------------------------------------------------------------------------------------------


async def test_what_a_run_left_over_is_ended_whatever_flow_it_was_of(store: Store) -> None:
    kept = Journal(store)
    for number, (flow, state) in enumerate(itertools.product(("bess", "other"), get_args(State))):
        await added(kept, order(number, flow=flow), *WAYS[state])
    before = {one.id: one for one in kept.orders()}
    ended = await kept.decide(lambda book: book.end_left_over(NOW + 5))
    assert sorted((one.flow, one.state) for one in ended) == [
        ("bess", "expired"), ("bess", "unknown"), ("other", "expired"), ("other", "unknown"),
    ]  # fmt: skip
    for one in kept.orders():
        if one in ended:
            assert before[one.id].state == {"expired": "intent", "unknown": "sending"}[one.state]
            assert one.updated_at == NOW + 5
        else:
            assert one == before[one.id]
    assert await kept.decide(lambda book: book.end_left_over(NOW + 6)) == []


async def test_the_latest_time_is_kept_and_a_person_may_settle_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    kept = Journal(store)
    assert await kept.decide(lambda book: book.latest()) == 0
    await added(kept, order(created_at=NOW + 7))
    await kept.decide(lambda book: book.see(NOW))
    await store.close()
    store = Store.open(tmp_path)
    kept = Journal(store)
    assert await kept.decide(lambda book: book.latest()) == NOW + 7
    await kept.decide(lambda book: book.resumed(NOW, "me", "the clock was wrong"))
    assert await kept.decide(lambda book: book.latest()) == 0
    assert [(one.at, one.stopped, one.by, one.reason) for one in kept.switch_steps()] == [
        (NOW, False, "me", "the clock was wrong")
    ]
    await store.close()


async def test_what_the_exchange_calls_our_orders(store: Store) -> None:
    kept = Journal(store)
    for number, name in enumerate(("a", "b")):
        await added(kept, order(number))
        await kept.advance(order(number).id, "sending", NOW, venue="https://x")
        await kept.advance(order(number).id, "accepted", NOW + number, exchange_id=name)
    await added(kept, order(2), "sending", "unknown")
    assert [one.id for one in kept.unknown("epex_at")] == [order(2).id]
    assert kept.exchange_ids(order(2, venue="https://x")) == {"a", "b"}
    assert kept.exchange_ids(order(2, venue="https://y")) == set()
    assert kept.exchange_ids(order(0, venue="https://x")) == {"b"}
    found = kept.by_exchange_id("epex_at", "https://x", "b")
    assert found is not None
    assert found.id == order(1).id
    for wrong in (("epex_de", "https://x", "b"), ("epex_at", "https://y", "b"), ("epex_at", "https://x", "")):
        assert kept.by_exchange_id(*wrong) is None
    assert {one.id for one in kept.open_orders("epex_at", "https://x", NOW)} == {order(1).id, order(0).id}
    assert kept.open_orders("epex_at", "https://y", NOW) == []
    assert [one.id for one in kept.open_orders("epex_at", "https://x", order(0).delivery_start)] == [order(1).id]
    assert kept.sent(order(0).id) == (NOW, None)
    assert kept.sent("nothing") == (0, None)


async def test_what_lies_in_markets_that_nobody_names(store: Store) -> None:
    kept = Journal(store)
    for number, state in enumerate(get_args(State)):
        await added(kept, order(number, market="old"), *WAYS[state])
    await added(kept, order(99, market="old", mode="paper"), "paper")
    late = order(98).delivery_end

    def states(now: int, *markets: str) -> set[str]:
        found = [kept.find(one) for one in kept.elsewhere(markets, now)]
        return {one.state for one in found if one is not None}

    assert states(NOW, "new") == {"sending", "unknown", "accepted", "partly-filled", "filled"}
    assert states(late, "new") == {"sending", "unknown"}, "of those nobody knows; the others were delivered"
    assert states(NOW, "new", "old") == set()


async def test_what_is_left_lying(store: Store) -> None:
    kept = Journal(store)
    for number, state in enumerate(get_args(State)):
        await added(kept, order(number, good_until=NOW + number), *WAYS[state])
    await added(kept, order(99, mode="paper", good_until=NOW))
    assert {one.state for one in kept.left_lying("epex_at", NOW - 1)} == {"sending"}
    assert {one.state for one in kept.left_lying("epex_at", NOW)} == {"sending", "intent"}
    assert kept.left_lying("epex_de", NOW) == []


async def test_nothing_is_sent_into_a_market_with_an_order_of_which_nobody_knows(store: Store) -> None:
    kept = Journal(store)
    for number in range(3):
        await added(kept, order(number))
    begun = await kept.decide(lambda book: book.begin_sending(order(0).id, NOW, "https://x", 7))
    assert isinstance(begun, Order)
    assert (begun.state, begun.venue) == ("sending", "https://x")
    assert kept.sent(begun.id) == (NOW, 7)
    for state in ("sending", "unknown"):
        why = await kept.decide(lambda book: book.begin_sending(order(1).id, NOW, "https://x", 7))
        assert why == f"whether the exchange has {order(0).id} is not known"
        if state == "sending":
            await kept.advance(order(0).id, "unknown", NOW)
    await kept.advance(order(0).id, "accepted", NOW)
    assert isinstance(await kept.decide(lambda book: book.begin_sending(order(1).id, NOW, "https://x", 7)), Order)
    with pytest.raises(WrongStep):
        await kept.decide(lambda book: book.begin_sending(order(1).id, NOW, "https://x", 7))


# ---- what is kept ----------------------------------------------------------------------------------------------------


async def test_refusals_are_counted(store: Store) -> None:
    kept = Journal(store)

    def work(book: Book) -> list[bool]:
        def refuse(number: int, reason: str = "price") -> bool:
            return book.refuse(wish(number=number), Refusal(reason, f"{number}"), NOW + number, "f", "g", {"n": 1})

        return [refuse(0), refuse(0), refuse(1), refuse(0, "value"), refuse(0)]

    assert await kept.decide(work) == [True, False, True, True, False]
    assert {(one.text, one.reason, one.count) for one in kept.refusals()} == {
        ("0", "price", 3), ("1", "price", 1), ("0", "value", 1),
    }  # fmt: skip


async def test_only_the_newest_refusals_are_kept(store: Store) -> None:
    kept = Journal(store)
    most = REFUSALS_KEPT

    def fill(book: Book) -> None:
        """What years leave behind, written by hand."""
        connection = book._sql  # a hundred thousand refusals one by one take too long
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO refusals"
            " SELECT 'epex_at', i, 'BUY', 'f', 'g', 'r', 'price', 't', 1, i, i, x'6e756c6c' FROM n",
            (most - 1,),
        )

    await kept.decide(fill)
    await kept.decide(lambda book: book.refuse(wish(), Refusal("price", "new"), NOW, "f", "g", {}))
    (count,) = store.read(lambda sql: sql.execute("SELECT COUNT(*) FROM refusals").fetchone())
    assert count == most
    assert kept.refusals(limit=1)[0].text == "new"


async def test_lists(store: Store) -> None:
    kept = Journal(store)
    for number in range(5):
        ways: list[State] = ["paper"] if number % 2 else []
        await added(kept, order(number, created_at=NOW + number), *ways)
    await added(kept, order(9, market="epex_de", created_at=NOW + 9))
    assert [one.created_at - NOW for one in kept.orders()] == [9, 4, 3, 2, 1, 0]
    assert [one.created_at - NOW for one in kept.orders(limit=2)] == [9, 4]
    assert [one.created_at - NOW for one in kept.orders(market="epex_at", state="paper")] == [3, 1]
    assert kept.orders(market="other") == []


async def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    one = await added(Journal(store), order(), "sending", "unknown")
    await store.close()
    store = Store.open(tmp_path)
    assert Journal(store).orders() == [one]
    await store.close()


async def test_who_reads_from_outside_decides_nothing(store: Store, tmp_path: Path) -> None:
    await added(Journal(store), order())
    with reading(tmp_path / FILE_NAME) as outside:
        assert Journal(outside).orders() == [order()]
        with pytest.raises(WrongStep, match="open for reading only"):
            await added(Journal(outside), order(1))
        with pytest.raises(UsageError, match="readonly"):
            outside.read(lambda sql: sql.execute("DELETE FROM orders"))
    assert len(Journal(store).orders()) == 1


async def test_a_file_of_another_version_is_not_read(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    await store.close()
    for version, said in (
        (999, "a newer flowrunner; update flowrunner"),
        (1, "an older flowrunner; run its flows once"),
    ):
        by_hand = sqlite3.connect(tmp_path / FILE_NAME)
        by_hand.execute(f"PRAGMA user_version = {version}")
        by_hand.close()
        with pytest.raises(UsageError, match=said), reading(tmp_path / FILE_NAME):
            pass
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 20)
    with pytest.raises(UsageError, match="cannot read"), reading(tmp_path / "text.db"):
        pass
    with pytest.raises(UsageError, match="name the data folder"), reading(tmp_path / "none.db"):
        pass
