"""The adapter with the simulated exchange in both of its characters: over real sockets and without any, the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flowrunner.clock import run_virtual
from flowrunner.errors import NotConnected
from flowrunner.exchange import Found, Outcome, Phoenyra, Told
from flowrunner.exchange.simulator import Character
from flowrunner.exchange.simulator.direct import DirectClient
from tests.exchange.desk import Desk, Way, desk, made, still, ticket
from tests.exchange.simulated import KEY, MINUTE, NOON, Venue

pytestmark = pytest.mark.anyio

Scenario = Callable[[Desk], Awaitable[list[Any]]]
WAYS: tuple[Way, ...] = ("socket", "direct")
CHARACTERS: tuple[Character, ...] = ("plain", "good")


async def run(scenario: Scenario, way: Way, character: Character, **options: Any) -> list[str]:
    """What a scenario tells, without what must differ: addresses, ids, times."""
    async with desk(way, character, **options) as at:
        told = await scenario(at)
        text = "\n".join(map(repr, told)).replace(at.url, "URL")
        ids = {taken.order_id: f"id-{number}" for number, taken in enumerate(at.venue.accepted, 1)}
        for one, name in ids.items():
            text = text.replace(one, name)
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text).splitlines()


async def both(scenario: Scenario, character: Character, **options: Any) -> list[str]:
    over_socket, direct = [await run(scenario, way, character, **options) for way in WAYS]
    assert direct == over_socket
    return direct


# ---- one table for both ways ----------------------------------------------------------------------------------------

STRUCK: dict[str, tuple[str, str, str, int]] = {
    # fault → what placing means, its words, what looking for it gives then, how many orders the exchange has
    "answer-lost": ("unknown", "URL/orders: the server closed the connection without an answer", "there", 1),
    "reset": ("unknown", "URL/orders: the server closed the connection without an answer", "absent", 0),
    "error-before": ("unknown", "500: Internal Server Error", "absent", 0),
    "error-after": ("unknown", "500: Internal Server Error", "there", 1),
    "throttled": ("throttled", "429: Throttle: on demand", "absent", 0),
    "refused": ("rejected", "400: refused on demand", "absent", 0),
}


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("fault", STRUCK)
async def test_each_fault_and_the_search_behind_it(fault: str, character: Character) -> None:
    meaning, words, whereabouts, stored = STRUCK[fault]

    async def scenario(at: Desk) -> list[Any]:
        at.venue.exchange.faults.arm(fault, times=1)
        outcome = await at.adapter.place(at.ticket(), still)
        assert (outcome.meaning, outcome.reason.replace(at.url, "URL")) == (meaning, words)
        assert outcome.exchange_id == ""
        found = await at.find(at.ticket())
        assert found.meaning == whereabouts
        assert len(at.venue.accepted) == stored
        if found.told is not None:
            assert found.told.exchange_id == at.venue.accepted[0].order_id
        return [outcome, found]

    await both(scenario, character)


@pytest.mark.parametrize("character", CHARACTERS)
async def test_an_answer_that_comes_late_and_one_that_comes_too_late(character: Character) -> None:
    async def scenario(at: Desk) -> list[Any]:
        at.venue.exchange.faults.arm("delay", times=1, seconds=0.05)
        in_time = await at.adapter.place(at.ticket(), still)
        assert in_time.meaning == "accepted"
        at.venue.exchange.faults.arm("delay", times=1, seconds=60)
        other = at.ticket(client_order_id="other", side="SELL", limit_price_eur_mwh=50.0)
        late = await at.adapter.place(other, still)
        assert (late.meaning, late.reason) == ("unknown", f"{at.url}/orders: no answer within 0.3 s")
        found = await at.find(other)
        assert found.told is not None
        assert found.told.exchange_id == at.venue.accepted[1].order_id
        return [late, found]

    await both(scenario, character, timeout_s=0.3)


@pytest.mark.parametrize("character", CHARACTERS)
async def test_an_order_that_was_accepted_is_there(character: Character) -> None:
    async def scenario(at: Desk) -> list[Any]:
        order = at.ticket()
        before = await at.find(order)
        assert before.meaning == "absent"
        placed = await at.adapter.place(order, still)
        assert placed.meaning == "accepted"
        assert placed.exchange_id == at.venue.accepted[0].order_id
        assert placed.answer["throttle_remaining"] == 119
        (taken,) = at.venue.accepted
        assert (taken.market, taken.side, taken.quantity_mwh) == (order.market, order.side, order.quantity_mwh)
        assert (taken.delivery_start, taken.delivery_end) == (order.delivery_start, order.delivery_end)
        assert (taken.limit_price_eur_mwh, taken.client_order_id) == (60.0, "mine")
        found, other = await at.find(order), await at.find(order, [placed.exchange_id])
        assert found.meaning == "there"
        how = "by its client order id" if character == "good" else "by likeness, not by its own id"
        assert found.reason.startswith(f"found {how}")
        assert other.meaning == ("there" if character == "good" else "absent")
        return [before, placed.meaning, found, other]

    await both(scenario, character)


async def test_two_that_are_alike_are_one_too_many_for_the_plain_exchange() -> None:
    async def scenario(at: Desk) -> list[Any]:
        first = await at.adapter.place(at.ticket(), still)
        at.venue.exchange.faults.arm("answer-lost", times=1)
        second = await at.adapter.place(at.ticket(client_order_id="second"), still)
        assert (first.meaning, second.meaning) == ("accepted", "unknown")
        unclear = await at.find(at.ticket(client_order_id="second"))
        assert unclear.meaning == "unclear"
        assert unclear.reason.startswith("2 orders are like it: ")
        found = await at.find(at.ticket(client_order_id="second"), [first.exchange_id])
        assert found.told is not None
        assert found.told.exchange_id == at.venue.accepted[1].order_id
        return [second, found]

    await both(scenario, "plain")


async def test_the_good_exchange_refuses_a_client_order_id_twice_and_knows_whose_it_is() -> None:
    async def scenario(at: Desk) -> list[Any]:
        assert (await at.adapter.place(at.ticket(), still)).meaning == "accepted"
        again = await at.adapter.place(at.ticket(), still)
        assert (again.meaning, again.reason[:4]) == ("unknown", "409:")
        found = await at.find(at.ticket())
        changed = await at.find(at.ticket(quantity_mwh=2.0))
        assert (found.meaning, changed.meaning) == ("there", "unclear")
        assert changed.reason == "the answer is about another order: quantity_mwh differs"
        later = await at.find(at.ticket(delivery_start=at.ticket().delivery_end))
        assert later.reason == "the answer is about another order: delivery_start differs"
        absent = await at.find(at.ticket(client_order_id="ours/ü"))
        assert (absent.meaning, absent.reason) == ("absent", "it has no order ours/ü")
        return [again, found, changed, later, absent]

    await both(scenario, "good")


async def test_a_404_is_believed_only_of_an_exchange_that_was_seen_to_keep_client_order_ids() -> None:
    """Declared wrongly: this one ignores them, and has no question for one order."""
    async with desk("direct", "plain") as at:
        exchange = Phoenyra(at.client, at.url, KEY, 5, lambda: at.venue.now, client_order_ids=True)
        assert (await exchange.place(at.ticket(), still)).meaning == "accepted"
        found = await exchange.find(at.ticket(), at.venue.now, at.venue.now, [])
        assert (found.meaning, found.reason[:18]) == ("there", "found by likeness,")


@pytest.mark.parametrize("character", CHARACTERS)
async def test_what_the_exchange_refuses_it_refuses_in_its_own_words(character: Character) -> None:
    async def scenario(at: Desk) -> list[Any]:
        told: list[Any] = [
            await at.adapter.place(at.ticket(market="Atlantis"), still),
            await at.adapter.place(at.ticket(quantity_mwh=-1.0, side="BY"), still),
            await at.adapter.tell({"soc_percent": 5.0, "active_power_mw": 0.0}),
            await at.adapter.tell({"soc_percent": 5.0, "active_power_mw": 0.0, "temperature_c": 25.0}),
            await at.adapter.place(at.ticket(), still),
            await at.adapter.place(at.ticket(side="SELL", limit_price_eur_mwh=None), still),
        ]
        assert told[0].reason == "422: body.market: Value error, unknown market; known: AT, DE"
        assert told[1].reason.startswith("422: body.side: Input should be 'BUY' or 'SELL'; body.quantity_mwh: Input")
        assert told[2:4] == ["422: body.temperature_c: Field required", ""]
        assert (told[4].meaning, told[4].reason) == ("rejected", "400: BUY disabled at SoC 5.0% (<15%)")
        assert told[5].meaning == "accepted"
        return told

    await both(scenario, character)


@pytest.mark.parametrize("character", CHARACTERS)
async def test_a_wrong_key(character: Character) -> None:
    async def scenario(at: Desk) -> list[Any]:
        outcome = await at.adapter.place(at.ticket(), still)
        assert (outcome.meaning, outcome.reason) == ("rejected", "401: Invalid API key")
        found = await at.find(at.ticket())
        assert found.meaning == ("unclear" if character == "good" else "absent")
        return [outcome, found]

    await both(scenario, character, key="another")


@pytest.mark.parametrize("character", CHARACTERS)
async def test_an_exchange_that_is_away_and_back(character: Character) -> None:
    async def scenario(at: Desk) -> list[Any]:
        await at.adapter.greet()
        await at.close()
        told: list[Any] = [await at.adapter.place(at.ticket(), still), await at.find(at.ticket())]
        assert (told[0].meaning, told[1].meaning) == ("not-sent", "unclear")
        for call in (
            at.adapter.greet(),
            at.adapter.look(at.ticket(), "1"),
            at.adapter.tell({}),
            anext(at.adapter.listen()),
        ):
            with pytest.raises(NotConnected, match="connection refused; is the server running") as caught:
                await call
            told.append(str(caught.value))
        await at.open()
        await at.adapter.greet()
        assert (await at.adapter.place(at.ticket(), still)).meaning == "accepted"
        return told

    await both(scenario, character)


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("fault", ["error-before", "throttled", "refused", "reset", "answer-lost", "error-after"])
async def test_questions_that_meet_a_fault(fault: str, character: Character) -> None:
    """A reset of a question is asked again where it met a connection that had been idle."""

    async def scenario(at: Desk) -> list[Any]:
        told: list[Any] = []
        placed = await at.adapter.place(at.ticket(), still)
        for greeted in (False, True):
            if greeted:
                await at.adapter.greet()
            for ask in (at.find(at.ticket()), at.adapter.look(at.ticket(), placed.exchange_id), at.adapter.greet()):
                at.venue.exchange.faults.arm(fault, times=1, on="any")
                try:
                    told.append(await ask)
                except NotConnected as error:
                    told.append(f"not connected: {error}")
                at.venue.exchange.faults.clear()
        assert isinstance(told[0], Found)
        assert told[0].meaning in ("there", "unclear")
        return told

    await both(scenario, character)


async def test_telemetry_that_met_a_dead_connection_is_told_and_not_repeated() -> None:
    async def scenario(at: Desk) -> list[Any]:
        values = {"soc_percent": 50.0, "active_power_mw": 0.0, "temperature_c": 25.0}
        await at.adapter.greet()
        at.venue.exchange.faults.arm("reset", times=1, on="telemetry")
        with pytest.raises(NotConnected, match="closed the connection without an answer"):
            await at.adapter.tell(values)
        assert at.venue.exchange.reported is None
        return [await at.adapter.tell(values)]

    assert await both(scenario, "plain") == ["''"]


async def test_fills_of_the_good_exchange_are_told() -> None:
    async def scenario(at: Desk) -> list[Any]:
        order = at.ticket(quantity_mwh=3.0, limit_price_eur_mwh=50.0)
        placed = await at.adapter.place(order, still)
        part = await at.adapter.look(order, placed.exchange_id)
        at.venue.now += MINUTE
        whole = await at.adapter.look(order, placed.exchange_id)
        assert part == Told(
            exchange_id=placed.exchange_id, client_order_id="mine", status="PARTIALLY_FILLED", filled_mwh=2.0,
            average_price_eur_mwh=50.0,
        )  # fmt: skip
        assert whole is not None
        assert (whole.status, whole.filled_mwh, whole.ended) == ("FILLED", 3.0, True)
        assert await at.adapter.look(at.ticket(client_order_id="other"), placed.exchange_id) is None
        assert await at.adapter.look(order, "no-such-order") is None
        return [part, whole]

    await both(scenario, "good")


async def test_an_exchange_that_shows_trades_only_tells_what_it_filled_at_least() -> None:
    async def scenario(at: Desk) -> list[Any]:
        plainly = Phoenyra(at.client, at.url, KEY, 5, lambda: at.venue.now)
        order = at.ticket(quantity_mwh=3.0, limit_price_eur_mwh=51.0)
        placed = await plainly.place(order, still)
        await plainly.place(at.ticket(client_order_id="not this one", market="DE"), still)
        told = await plainly.look(order, placed.exchange_id)
        assert told is not None
        assert (told.filled_mwh, told.ended) == (3.0, False)
        assert told.average_price_eur_mwh == pytest.approx((2 * 50.0 + 1 * 50.5) / 3)
        return [told]

    await both(scenario, "good")


async def test_the_plain_exchange_tells_nothing_of_an_order_that_it_took() -> None:
    async def scenario(at: Desk) -> list[Any]:
        placed = await at.adapter.place(at.ticket(), still)
        return [await at.adapter.look(at.ticket(), placed.exchange_id)]

    assert await both(scenario, "plain") == ["None"]


# ---- in virtual time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", CHARACTERS)
def test_in_virtual_time_a_late_answer_takes_flow_time_and_no_other(character: Character) -> None:
    async def main() -> list[Outcome | Found]:
        loop = asyncio.get_running_loop()
        venue = Venue(character)
        at = made(venue, DirectClient(venue.exchange, KEY), "http://127.0.0.1:9100", KEY, 10.0)
        venue.now = NOON
        venue.exchange.faults.arm("delay", times=2, seconds=9)
        told: list[Outcome | Found] = [await at.adapter.place(ticket(), still)]
        assert loop.time() == 9
        venue.exchange.faults.clear()
        venue.exchange.faults.arm("delay", times=1, seconds=3600)
        told.append(await at.adapter.place(ticket(client_order_id="second", market="DE"), still))
        assert loop.time() == 19
        told.append(await at.find(ticket(client_order_id="second", market="DE")))
        await at.client.close()
        return told

    accepted, late, found = run_virtual(main(), start=NOON)
    assert isinstance(found, Found)
    assert (accepted.meaning, late.meaning, found.meaning) == ("accepted", "unknown", "there")
    assert late.reason == "http://127.0.0.1:9100/orders: no answer within 10 s"


@pytest.mark.parametrize(
    "bad", [{"quantity_mwh": float("nan")}, {"limit_price_eur_mwh": float("inf")}, {"market": "\ud800"}]
)
async def test_what_json_cannot_carry_is_never_sent(bad: dict[str, Any]) -> None:
    async with desk("direct", "plain") as at:
        outcome = await at.adapter.place(at.ticket(**bad), still)
        assert outcome.meaning == "rejected"
        assert outcome.reason.endswith("which no request can carry; nothing was sent")
        assert next(iter(bad)) in outcome.reason
        assert at.venue.accepted == []


@pytest.mark.parametrize("character", CHARACTERS)
async def test_what_must_not_be_sent_any_more_is_not(character: Character) -> None:
    async def scenario(at: Desk) -> list[Any]:
        outcome = await at.adapter.place(at.ticket(), lambda: "trading was stopped")
        assert outcome == Outcome(meaning="not-sent", reason="trading was stopped")
        assert at.venue.accepted == []
        assert (await at.adapter.place(at.ticket(), still)).meaning == "accepted"
        return [outcome]

    await both(scenario, character)


async def test_a_request_that_was_given_up_arrives_all_the_same() -> None:
    """As with a socket: what is on its way is done."""
    async with desk("direct", "plain") as at:
        placing = asyncio.ensure_future(at.adapter.place(at.ticket(), still))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        placing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await placing
        await at.client.close()
        assert len(at.venue.accepted) == 1


async def test_who_goes_away_hangs_up_on_late_answers() -> None:
    async def scenario(at: Desk) -> list[Any]:
        stored = asyncio.Event()
        at.venue.exchange.listen("orders", lambda data: stored.set())
        at.venue.exchange.faults.arm("delay", times=1, seconds=60)
        placing = asyncio.ensure_future(at.adapter.place(at.ticket(), still))
        async with asyncio.timeout(5):
            await stored.wait()
            await at.close()
            return [await placing]

    (told,) = await both(scenario, "plain")
    assert "meaning='unknown'" in told
