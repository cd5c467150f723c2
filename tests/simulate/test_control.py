"""The simulated world's own API: how it is, faults by name, and who may ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flowrunner.battery.server import FAULTS as LINE_FAULTS
from flowrunner.errors import NotConnected
from flowrunner.exchange.simulator.faults import FAULTS as EXCHANGE_FAULTS
from flowrunner.simulate import Places, World
from flowrunner.simulate.control import PLANT_FAULTS
from tests.simulate.living_world import http, living_world, registers

pytestmark = pytest.mark.anyio

KEY = "0123456789abcdef"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with living_world(tmp_path, soc_percent=60) as world:
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(world) as client:
        yield client


async def fault(client: httpx2.AsyncClient, **wanted: Any) -> Any:
    answer = await client.post("/world/faults", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()["faults"]


async def test_each_fault_is_explained_set_and_cleared(client: httpx2.AsyncClient) -> None:
    state = (await client.get("/world")).json()
    assert list(state["known_faults"]) == [*PLANT_FAULTS, *LINE_FAULTS, *EXCHANGE_FAULTS]
    assert all(state["known_faults"].values())
    assert state["faults"] == []
    for name in state["known_faults"]:
        (armed,) = await fault(client, fault=name)
        assert name in (armed, armed.get("name") if isinstance(armed, dict) else None)
        assert await fault(client, fault=name, on=False) == []


async def test_delete_ends_them_all(client: httpx2.AsyncClient) -> None:
    for name in ("hvac", "hot-day", "busy", "sentinel", "throttled", "prices-dead"):
        await fault(client, fault=name)
    assert len((await client.get("/world")).json()["faults"]) == 6
    assert (await client.delete("/world/faults")).json() == {"faults": []}
    assert (await client.get("/world")).json()["faults"] == []


async def test_the_cooling_stops_and_it_gets_hot(world: World, client: httpx2.AsyncClient) -> None:
    await fault(client, fault="hvac")
    await fault(client, fault="hot-day")
    battery = (await client.get("/world")).json()["battery"]
    assert (battery["hvac"], battery["ambient_c"]) == ("failed", 42.0)


async def test_faults_of_the_line(world: World, client: httpx2.AsyncClient) -> None:
    assert (await registers(world))["soc_percent"] == 60.0
    await fault(client, fault="sentinel")
    assert (await registers(world))["soc_percent"] != 60.0
    await fault(client, fault="sentinel", on=False)
    await fault(client, fault="drop")
    with pytest.raises(NotConnected):
        await registers(world)
    await client.delete("/world/faults")
    assert (await registers(world))["soc_percent"] == 60.0


async def test_faults_of_the_exchange_strike_as_often_as_told(client: httpx2.AsyncClient) -> None:
    (armed,) = await fault(client, fault="refused", times=2, call="order-list", text="not today")
    assert (armed["times"], armed["on"], armed["text"]) == (2, "order-list", "not today")
    answers = [await client.get("/orders") for _ in range(3)]
    assert [one.status_code for one in answers] == [400, 400, 200]
    assert answers[0].json() == {"detail": "not today"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"fault": "hvca"}', "there is no fault 'hvca'; did you mean 'hvac'?; there are: hvac, hot-day, stuck"),
        ('{"fault": "earthquake"}', "there is no fault 'earthquake'; there are: hvac"),
        ('{"fault": "drop", "times": 3}', "drop concerns the battery and stays until it is cleared: without times"),
        ('{"fault": "throttled", "on": false, "call": "any"}', "throttled is cleared without call"),
        ('{"fault": "throttled", "call": "order"s}', "malformed"),
        ('{"fault": "throttled", "call": "ordres"}', "unknown call 'ordres', did you mean 'orders'?"),
        ('{"fault": "throttled", "times": 0}', "times must be a whole number from 1"),
        ('{"fault": "delay", "seconds": -1}', "seconds must be a number from 0 to 3600"),
        ('{"fault": "delay", "second": 1}', "unknown field `second`"),
        ('{"on": true}', "missing required field `fault`"),
        ("[]", "Expected `object`"),
        ("", "truncated"),
        ('{"fault": "\xff"}', "the body is no JSON in UTF-8"),
    ],
)
async def test_a_wrong_wish_is_refused_and_changes_nothing(client: httpx2.AsyncClient, body: str, said: str) -> None:
    headers = {"content-type": "application/json"}
    answer = await client.post("/world/faults", content=body.encode("latin-1"), headers=headers)
    assert answer.status_code == 422
    assert said in answer.text.replace('\\"', '"'), answer.text
    assert (await client.get("/world")).json()["faults"] == []


async def test_other_bodies(client: httpx2.AsyncClient) -> None:
    body = b'{"fault": "hvac"}'
    assert (await client.post("/world/faults", content=body)).status_code == 415
    assert (await client.post("/world/faults", content=body, headers={"content-type": "text/plain"})).status_code == 415
    large = {"fault": "x" * 5000}
    assert (await client.post("/world/faults", json=large)).status_code == 413
    assert (await client.put("/world/faults", json={"fault": "hvac"})).status_code == 405
    assert (await client.get("/world")).json()["faults"] == []


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}],
)
async def test_pages_of_other_sites_break_nothing(client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.post("/world/faults", json={"fault": "hvac"}, headers=headers)).status_code == 403
    assert (await client.delete("/world/faults", headers=headers)).status_code == 403
    assert (await client.get("/world")).json()["faults"] == []


async def test_the_names_that_were_given(tmp_path: Path) -> None:
    async with living_world(tmp_path, hosts=["plant"]) as world, http(world, headers={"host": "plant:9100"}) as client:
        assert (await client.get("/world")).status_code == 200


async def test_beyond_loopback_it_wants_the_key(tmp_path: Path) -> None:
    async with living_world(tmp_path, places=Places(host="0.0.0.0", api_key=KEY)) as world, http(world) as client:
        calls: tuple[Callable[..., Awaitable[httpx2.Response]], ...] = (
            lambda **more: client.get("/world", **more),
            lambda **more: client.post("/world/faults", json={"fault": "hvac"}, **more),
            lambda **more: client.delete("/world/faults", **more),
        )
        for call in calls:
            assert (await call()).status_code == 401
            assert (await call(headers={"x-api-key": KEY})).status_code == 200
        assert (await client.get("/world", headers={"x-api-key": "wrong"})).status_code == 401


async def test_the_battery_is_as_somebody_wants_it(world: World, client: httpx2.AsyncClient) -> None:
    battery = (await client.post("/world/battery", json={"temperature_c": 45})).json()["battery"]
    assert battery["temperature_c"] == pytest.approx(45, abs=0.1)
    assert battery["soc_percent"] == pytest.approx(60, abs=0.1)
    assert (await registers(world))["temperature_c"] == pytest.approx(45, abs=0.2)
    wrongs: list[Any] = [{"soc_percent": 101}, {"temperature_c": "hot"}, {"power": 1}, []]
    for wrong in wrongs:
        answer = await client.post("/world/battery", json=wrong)
        assert answer.status_code == 422, wrong
    assert (await client.post("/world/battery", content=b"{}")).status_code == 415
