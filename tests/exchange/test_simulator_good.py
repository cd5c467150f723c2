"""The good character: client ids, single orders, cancelling, matching, expiry; and that memory is bounded."""

from __future__ import annotations

import pytest

from flowrunner.exchange.simulator.core import KEPT
from tests.exchange.simulated import MINUTE, NOON, Venue, order, served

pytestmark = pytest.mark.anyio


async def test_a_client_id_is_echoed_and_taken_once() -> None:
    async with served("good") as venue:
        first = await venue.post(client_order_id="mine/1")
        assert (first.status_code, first.json()["client_order_id"]) == (200, "mine/1")
        second = await venue.post(client_order_id="mine/1", side="SELL")
        assert second.status_code == 409
        order_id = first.json()["order_id"]
        assert second.json() == {"detail": f"client_order_id 'mine/1' exists already: order {order_id}"}
        assert len(venue.accepted) == 1
        assert (await venue.post()).json()["client_order_id"] is None
        assert (await venue.post()).status_code == 200  # none is not the same as another none


async def test_a_second_try_is_known_also_when_the_gate_has_closed() -> None:
    async with served("good") as venue:
        venue.exchange.faults.arm("error-after", times=1)
        assert (await venue.post(client_order_id="mine")).status_code == 500
        await venue.report(soc=10)
        assert (await venue.post(client_order_id="mine")).status_code == 409


@pytest.mark.parametrize("client_id", ["", " ", "ä", "a" * 129, 5, ["a"]])
async def test_a_client_id_must_be_one(client_id: object) -> None:
    async with served("good") as venue:
        answer = await venue.post(client_order_id=client_id)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "client_order_id"]


async def test_an_order_is_found_by_either_id() -> None:
    async with served("good") as venue:
        order_id = (await venue.post(client_order_id="mine/1")).json()["order_id"]
        views = [(await venue.http.get(f"/orders/{name}")).json() for name in (order_id, "mine/1")]
        assert views[0] == views[1]
        assert views[0] == {
            "order_id": order_id,
            "client_order_id": "mine/1",
            "side": "BUY",
            "quantity_mwh": 1.0,
            "price": 60.0,
            "market": "AT",
            "status": "FILLED",
            "timestamp": "2026-03-02T12:00:00.000Z",
            "delivery_start": "2026-03-02T12:15:00.000Z",
            "delivery_end": "2026-03-02T12:30:00.000Z",
            "order_type": "LIMIT",
            "time_in_force": "GFD",
            "filled_mwh": 1.0,
            "average_price": 50.0,
        }
        missing = await venue.http.get("/orders/other")
        assert (missing.status_code, missing.json()) == (404, {"detail": "Order not found"})


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_single_orders_need_the_key(method: str) -> None:
    async with served("good") as venue:
        await venue.post(client_order_id="mine", limit_price_eur_mwh=1.0)
        answer = await venue.http.request(method, "/orders/mine", headers={"x-api-key": "wrong"})
        assert answer.status_code == 401
        assert (await venue.http.get("/orders/mine")).json()["status"] == "ACCEPTED"


async def test_cancelling_takes_back_what_is_not_filled() -> None:
    async with served("good") as venue:
        await venue.post(client_order_id="mine", limit_price_eur_mwh=50.0, quantity_mwh=3.0)
        answer = await venue.http.delete("/orders/mine")
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["filled_mwh"]) == ("CANCELLED", 2.0)
        again = await venue.http.delete("/orders/mine")
        assert again.status_code == 409
        assert "is CANCELLED" in again.json()["detail"]
        assert (await venue.http.delete("/orders/other")).status_code == 404
        venue.now += MINUTE
        venue.exchange.advance()
        assert sum(trade.quantity_mwh for trade in venue.traded) == 2.0  # nothing more after it


async def test_a_large_order_is_filled_in_part_and_the_rest_as_the_book_fills_again() -> None:
    async with served("good") as venue:
        await venue.post(client_order_id="mine", limit_price_eur_mwh=50.5, quantity_mwh=5.0)
        view = (await venue.http.get("/orders/mine")).json()
        assert (view["status"], view["filled_mwh"], view["average_price"]) == ("PARTIALLY_FILLED", 4.0, 50.25)
        venue.now += MINUTE
        rows = (await venue.http.get("/trades")).json()
        assert [(row["quantity_mwh"], row["price"], row["status"]) for row in rows] == [
            (1.0, 50.0, "FILLED"),
            (2.0, 50.5, "PARTIALLY_FILLED"),
            (2.0, 50.0, "PARTIALLY_FILLED"),
        ]
        assert set(rows[0]) == {"order_id", "side", "quantity_mwh", "price", "market", "status", "timestamp"}
        assert [trade.quantity_mwh for trade in venue.traded] == [2.0, 2.0, 1.0]


async def test_an_order_rests_until_the_mark_comes_to_it() -> None:
    async with served("good") as venue:
        await venue.post(client_order_id="sell", side="SELL", limit_price_eur_mwh=120.0)
        assert venue.traded == []
        venue.price = 150.0
        venue.exchange.advance()
        (trade,) = venue.traded
        assert (trade.order.client_order_id, trade.price_eur_mwh, trade.status) == ("sell", 150.0, "FILLED")


@pytest.mark.parametrize(
    ("terms", "filled", "status"),
    [
        ({"time_in_force": "IOC", "limit_price_eur_mwh": 50.0}, 2.0, "CANCELLED"),
        ({"time_in_force": "FOK", "limit_price_eur_mwh": 50.0}, 0.0, "CANCELLED"),
        ({"time_in_force": "FOK", "limit_price_eur_mwh": 50.5}, 3.0, "FILLED"),
        ({"order_type": "MARKET", "limit_price_eur_mwh": None}, 3.0, "FILLED"),
        ({"order_type": "MARKET", "quantity_mwh": 11.0}, 10.0, "CANCELLED"),
        ({"side": "SELL", "limit_price_eur_mwh": 50.0}, 2.0, "PARTIALLY_FILLED"),
        ({"side": "SELL", "limit_price_eur_mwh": None}, 3.0, "FILLED"),
    ],
)
async def test_order_types(terms: dict[str, object], filled: float, status: str) -> None:
    async with served("good") as venue:
        await venue.post(**{"client_order_id": "mine", "quantity_mwh": 3.0} | terms)
        view = (await venue.http.get("/orders/mine")).json()
        assert (view["filled_mwh"], view["status"]) == (filled, status)
        assert sum(trade.quantity_mwh for trade in venue.traded) == filled


async def test_without_a_price_nothing_is_traded() -> None:
    async with served("good") as venue:
        venue.price = None
        await venue.post(client_order_id="mine", order_type="MARKET")
        assert (await venue.http.get("/orders/mine")).json()["status"] == "CANCELLED"
        assert venue.traded == []


@pytest.mark.parametrize(
    ("delivery_start", "delivery_end", "last_ns"),
    [
        ("2026-03-02T12:15:00Z", "2026-03-02T12:30:00Z", 15 * MINUTE),
        ("2026-03-03T12:15:00Z", "2026-03-03T12:30:00Z", 12 * 60 * MINUTE),
    ],
)
def test_what_rests_expires_with_its_delivery_or_its_utc_day(
    delivery_start: str, delivery_end: str, last_ns: int
) -> None:
    venue = Venue("good")
    body = order(
        client_order_id="mine", limit_price_eur_mwh=1.0, delivery_start=delivery_start, delivery_end=delivery_end
    )
    assert venue.exchange.place(body).status == 200
    seen = []
    for venue.now in (NOON + last_ns - 1, NOON + last_ns):
        found = venue.exchange.find("mine").body
        assert isinstance(found, dict)
        seen.append(found["status"])
    assert seen == ["ACCEPTED", "EXPIRED"]
    venue.price = 1.0
    venue.exchange.advance()
    assert venue.traded == []


def test_the_oldest_orders_are_forgotten() -> None:
    venue = Venue("good")
    told: list[object] = []
    venue.exchange.listen("orders", told.append)
    for number in range(KEPT + 1):
        venue.now += MINUTE // 60
        body = order(client_order_id=str(number), limit_price_eur_mwh=1.0, delivery_start="2026-03-02T23:00:00Z")
        body["delivery_end"] = "2026-03-02T23:15:00Z"
        assert venue.exchange.place(body).status == 200
    assert venue.exchange.find("0").status == 404
    assert venue.exchange.find("1").status == 200
    last = [one for one in told if isinstance(one, dict) and one["client_order_id"] == "0"][-1]
    assert last["status"] == "EXPIRED"  # and who holds it hears of it


@pytest.mark.parametrize(
    ("side", "limits", "mark"), [("BUY", [39.0, 39.5, 39.5], 38.5), ("SELL", [61.0, 60.5, 60.5], 61.5)]
)
def test_what_rests_is_served_the_best_price_first_and_then_the_oldest(
    side: str, limits: list[float], mark: float
) -> None:
    venue = Venue("good")
    for number, limit in enumerate(limits):
        body = order(side=side, limit_price_eur_mwh=limit, client_order_id=str(number))
        assert venue.exchange.place(body).status == 200
    assert venue.traded == []
    venue.price = mark
    venue.exchange.advance()
    assert [trade.order.client_order_id for trade in venue.traded] == ["1", "2", "0"]
