"""The simulated exchange over HTTP: every row of the interface, with the oddities of the real one."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from flowrunner.errors import UsageError
from flowrunner.exchange.simulator import AcceptedOrder, Exchange
from flowrunner.exchange.simulator.server import ExchangeServer
from flowrunner.units import SECOND
from tests.exchange.simulated import KEY, MINUTE, NOON, order, served

pytestmark = pytest.mark.anyio


async def test_telemetry_is_all_three_fields_or_422() -> None:
    async with served() as venue:
        body: dict[str, Any] = {"soc_percent": 75.5, "active_power_mw": -2.5, "temperature_c": 28.3}
        answer = await venue.http.post("/telemetry/bess", json=body | {"unknown": 1})
        assert (answer.status_code, answer.json()) == (200, {"status": "OK"})
        for left_out in body:
            part = {name: value for name, value in body.items() if name != left_out}
            answer = await venue.http.post("/telemetry/bess", json=part)
            assert answer.status_code == 422
            assert answer.json() == {
                "detail": [{"loc": ["body", left_out], "msg": "Field required", "type": "missing"}]
            }
        answer = await venue.http.post("/telemetry/bess", json=body | {"soc_percent": 101, "temperature_c": None})
        assert [one["loc"][1] for one in answer.json()["detail"]] == ["soc_percent", "temperature_c"]
        assert venue.exchange.reported is not None
        assert venue.exchange.reported.soc_percent == 75.5  # what was refused changed nothing


async def test_an_order_is_accepted_and_its_owner_told() -> None:
    async with served() as venue:
        answer = await venue.post(client_order_id="mine", other={"a": [1]})
        assert answer.status_code == 200
        body = answer.json()
        assert body == {
            "order_id": body["order_id"],
            "status": "ACCEPTED",
            "timestamp": "2026-03-02T12:00:00.000Z",
            "throttle_remaining": 119,
        }
        assert venue.accepted == [
            AcceptedOrder(
                market="AT",
                delivery_start=NOON + 15 * MINUTE,
                delivery_end=NOON + 30 * MINUTE,
                side="BUY",
                quantity_mwh=1.0,
                limit_price_eur_mwh=60.0,
                client_order_id="mine",
                order_id=body["order_id"],
                accepted_at=NOON,
            )
        ]


async def test_defaults_of_an_order() -> None:
    async with served() as venue:
        assert (await venue.post(limit_price_eur_mwh=None)).status_code == 200
        (taken,) = venue.accepted
        assert (taken.limit_price_eur_mwh, taken.order_type, taken.time_in_force) == (0.0, "LIMIT", "GFD")


async def test_the_same_client_id_twice_is_two_orders() -> None:
    async with served() as venue:
        assert (await venue.post(client_order_id="mine")).status_code == 200
        assert (await venue.post(client_order_id="mine")).status_code == 200
        assert len({one.order_id for one in venue.accepted}) == 2


@pytest.mark.parametrize(
    ("changes", "where", "kind"),
    [
        ({"market": None}, "market", "missing"),
        ({"market": "FR"}, "market", "value_error"),
        ({"market": 5}, "market", "string_type"),
        ({"side": "buy"}, "side", "literal_error"),
        ({"side": None}, "side", "missing"),
        ({"quantity_mwh": 0}, "quantity_mwh", "greater_than"),
        ({"quantity_mwh": -1.0}, "quantity_mwh", "greater_than"),
        ({"quantity_mwh": True}, "quantity_mwh", "float_type"),
        ({"quantity_mwh": "1.0"}, "quantity_mwh", "float_type"),
        ({"quantity_mwh": 10**400}, "quantity_mwh", "finite_number"),
        ({"limit_price_eur_mwh": "60"}, "limit_price_eur_mwh", "float_type"),
        ({"delivery_start": "2026-03-02T12:15:00"}, "delivery_start", "timezone_aware"),
        ({"delivery_start": "tomorrow"}, "delivery_start", "datetime_parsing"),
        ({"delivery_end": "2026-03-02T12:15:00Z"}, "delivery_end", "value_error"),
        ({"delivery_end": "2026-03-02T13:15:00+02:00"}, "delivery_end", "value_error"),
        ({"order_type": "STOP"}, "order_type", "literal_error"),
        ({"time_in_force": "GTC"}, "time_in_force", "literal_error"),
    ],
)
async def test_a_wrong_order_is_a_422_that_names_the_field(changes: dict[str, Any], where: str, kind: str) -> None:
    async with served() as venue:
        answer = await venue.post(**changes)
        assert answer.status_code == 422
        (found,) = answer.json()["detail"]
        assert (found["loc"], found["type"]) == (["body", where], kind)
        assert found["msg"]
        assert venue.accepted == []


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b'{"market": NaN}', b"[" * 60_000, b'{"side": "\\ud800"}']
)
async def test_what_is_no_order_at_all_is_a_422(raw: bytes) -> None:
    async with served() as venue:
        answer = await venue.http.post("/orders", content=raw)
        assert answer.status_code == 422
        assert answer.json()["detail"]
        assert venue.accepted == []


async def test_a_body_without_end_is_refused() -> None:
    async with served() as venue:
        answer = await venue.http.post("/orders", content=b" " * 70_000)
        assert answer.status_code == 413


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", "ä"])
async def test_a_wrong_key_is_a_401(key: str | None) -> None:
    async with served() as venue:
        headers = {} if key is None else {b"x-api-key": key.encode()}
        async with httpx2.AsyncClient(base_url=venue.server.url, trust_env=False) as stranger:
            answer = await stranger.post("/orders", json=order(), headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid API key"})
            assert (await stranger.get("/orders")).status_code == 200  # who reads needs none
        assert venue.accepted == []


@pytest.mark.parametrize(
    ("soc", "side", "refusal"),
    [
        (10.0, "BUY", "BUY disabled at SoC 10.0% (<15%)"),
        (14.9, "BUY", "BUY disabled at SoC 14.9% (<15%)"),
        (15.0, "BUY", ""),
        (10.0, "SELL", ""),
        (90.0, "SELL", ""),
        (90.1, "SELL", "SELL disabled at SoC 90.1% (>90%)"),
        (95.0, "BUY", ""),
    ],
)
async def test_gates(soc: float, side: str, refusal: str) -> None:
    async with served() as venue:
        await venue.report(soc=soc)
        answer = await venue.post(side=side)
        if refusal:
            assert (answer.status_code, answer.json()) == (400, {"detail": refusal})
        assert len(venue.accepted) == (answer.status_code == 200) == (not refusal)


@pytest.mark.parametrize(("temperature", "limit"), [(40.0, 120), (40.1, 60)])
async def test_throttle_per_market_and_utc_minute(temperature: float, limit: int) -> None:
    async with served() as venue:
        await venue.report(temperature=temperature)
        venue.now += 59 * SECOND
        left = [(await venue.post()).json()["throttle_remaining"] for _ in range(limit)]
        assert left == [*range(limit - 1, -1, -1)]
        answer = await venue.post()
        assert answer.status_code == 429
        assert "detail" in answer.json()
        assert "retry-after" not in answer.headers
        assert (await venue.post(market="DE")).status_code == 200
        venue.now += SECOND  # the next minute
        assert (await venue.post()).json()["throttle_remaining"] == limit - 1
        assert len(venue.accepted) == limit + 2


async def test_refused_orders_do_not_count_for_the_throttle() -> None:
    async with served() as venue:
        await venue.report(soc=10)
        assert (await venue.post()).status_code == 400
        assert (await venue.post(side="x")).status_code == 422
        assert (await venue.post(side="SELL")).json()["throttle_remaining"] == 119


async def test_orders_are_the_last_100_of_all_without_ids_and_times() -> None:
    async with served() as venue:
        for number in range(103):
            await venue.post(limit_price_eur_mwh=float(number), client_order_id=str(number))
        rows = (await venue.http.get("/orders")).json()
        assert [row["price"] for row in rows] == [float(number) for number in range(102, 2, -1)]
        assert rows[0] == {
            "order_id": venue.accepted[-1].order_id,
            "side": "BUY",
            "quantity_mwh": 1.0,
            "price": 102.0,
            "market": "AT",
            "status": "ACCEPTED",
            "timestamp": "2026-03-02T12:00:00.000Z",
        }
        assert (await venue.http.get("/trades")).json() == []


async def test_prices() -> None:
    async with served() as venue:
        venue.price = -45.5
        assert (await venue.http.get("/market/prices", params={"market": "AT"})).json() == {
            "mark": -45.5,
            "ema": -45.5,
            "vwap": -45.5,
            "timestamp": "2026-03-02T12:00:00.000Z",
            "market": "AT",
        }
        assert (await venue.http.get("/market/prices")).json()["detail"][0]["loc"] == ["query", "market"]


async def test_averages_look_back_over_quarter_hours_and_leave_out_what_is_missing() -> None:
    """A step from 0 to 100 at 11:30: vwap is the mean of four quarter-hours, ema weighs 2/17 each."""
    step = NOON - 30 * MINUTE

    def price(market: str, at: int) -> float | None:
        return None if at < NOON - 60 * MINUTE else 0.0 if at < step else 100.0

    exchange = Exchange(lambda: NOON, price, markets=["AT"])
    answer: Any = exchange.prices("AT").body
    assert (answer["mark"], answer["vwap"]) == (100.0, 75.0)
    assert answer["ema"] == pytest.approx(100 * (1 - (15 / 17) ** 3), abs=1e-4)


@pytest.mark.parametrize(("market", "price"), [("Atlantis", 50.0), ("AT", None), ("AT", float("nan"))])
async def test_without_a_price_the_answer_is_made_up(market: str, price: float | None) -> None:
    async with served() as venue:
        venue.price = price
        answer = await venue.http.get("/market/prices", params={"market": market})
        assert answer.status_code == 200
        assert answer.json() == {
            "mark": 85.5,
            "ema": 84.2,
            "vwap": 85.1,
            "timestamp": "2026-03-02T12:00:00.000Z",
            "market": market,
        }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/orders/x", 404), ("DELETE", "/orders/x", 404), ("DELETE", "/orders", 405), ("GET", "/", 404)],
)
async def test_there_is_nothing_else(method: str, path: str, status: int) -> None:
    async with served() as venue:
        answer = await venue.http.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()) == {"detail"}


async def test_a_taken_port_is_said_so_and_a_stopped_server_gives_it_back() -> None:
    async with served() as venue:
        second = ExchangeServer(venue.exchange, KEY, port=venue.server.port)
        with pytest.raises(UsageError, match=f"127.0.0.1:{venue.server.port}: Address already in use"):
            await second.start()
        await second.stop()
        await venue.server.stop()
        await second.start()
        assert second.port == venue.server.port
        assert (await venue.http.get("/orders")).status_code == 200
        await second.stop()


async def test_an_exchange_that_was_away_is_at_the_same_place_with_the_same_orders() -> None:
    async with served() as venue:
        url = venue.server.url
        await venue.post()
        await venue.server.stop()
        with pytest.raises(httpx2.ConnectError):
            await venue.post()
        await venue.server.start()
        assert venue.server.url == url
        assert len((await venue.http.get("/orders")).json()) == 1


async def test_stopping_ends_an_answer_that_is_late() -> None:
    async with served() as venue:
        venue.exchange.faults.arm("delay", seconds=3600)
        stored = asyncio.Event()
        venue.exchange.listen("orders", lambda data: stored.set())
        late = asyncio.ensure_future(venue.post())
        async with asyncio.timeout(5):
            await stored.wait()
            await venue.server.stop()
            with pytest.raises(httpx2.RemoteProtocolError):
                await late
