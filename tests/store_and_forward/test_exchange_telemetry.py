"""exchange-out ``send: telemetry`` while the exchange is away: the newest alone, or all of them, as the queue says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flowrunner.clock.io_time import loop_seconds
from flowrunner.connections import Connections
from flowrunner.exchange.simulator import Exchange
from flowrunner.exchange.simulator.direct import DirectClient
from flowrunner.exchange.simulator.model import Answer
from flowrunner.httpclient import HttpClient
from flowrunner.message import JSON
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow

KEY = "key-of-the-exchange"
URL = "http://127.0.0.1:9100"
FLOW = """
flow: site
nodes:
  rest: {{type: http-in, route: POST /t}}
  telemetry: {{type: merge, from: rest, stale_after: 90s}}
  mirror:
    {{type: exchange-out, from: telemetry, send: telemetry, url: "{url}", api_key: {key},
     retry: {{first: 1s, max: 1s}}{queue}}}
"""
DURABLE = ", queue: {{durable: true, size: {size}, when_full: {policy}, max_age: {age}}}"


class Noted(Exchange):
    """An exchange that notes what it was told."""

    def __init__(self) -> None:
        seconds = loop_seconds()
        super().__init__(lambda: int(seconds() * 1e9) + 2**60, lambda market, at: 50.0, markets=["AT"])
        self.told: list[Any] = []

    def telemetry(self, body: JSON) -> Answer:
        self.told.append(body["soc_percent"])
        return super().telemetry(body)


class Kept(Connections):
    """Every start of the flow meets the same exchange."""

    def __init__(self, client: HttpClient) -> None:
        super().__init__()
        self.get("test", ("http", URL, ""), lambda: client)


class World:
    def __init__(self, rig: Rig, exchange: Noted, client: DirectClient) -> None:
        self.rig, self.exchange, self.client = rig, exchange, client

    async def measure(self, *socs: float, every: str = "30s", **more: Any) -> None:
        """One record each, with so much time behind it."""
        for soc in socs:
            await self.rig.emit("rest", {"soc_percent": soc, "active_power_mw": 1.0, "temperature_c": 20.0} | more)
            await self.rig.advance(every)


Story = Callable[[World], Awaitable[None]]


def play(story: Story, queue: str = "") -> list[Any]:
    """What the exchange was told, in order."""
    store = Store.open(None, inline=True)
    found: list[World] = []

    def world(rig: Rig) -> World:
        return World(rig, found[0].exchange, found[0].client)

    def connections() -> Connections:
        if not found:
            exchange = Noted()
            found.append(World(None, exchange, DirectClient(exchange, KEY, URL)))  # type: ignore[arg-type]  # comes with the story
        return Kept(found[0].client)

    async def told(rig: Rig) -> list[Any]:
        await story(world(rig))
        return found[0].exchange.told

    text = FLOW.format(url=URL, key=KEY, queue=queue)
    return run_flow(text, told, store=store, connections=connections)


def durable(size: int = 1000, policy: str = "drop_oldest", age: str = "1d") -> str:
    return DURABLE.format(size=size, policy=policy, age=age)


async def away_for_ten_minutes(world: World) -> None:
    await world.measure(1, 2)
    world.client.away = True
    await world.measure(*range(3, 23))
    world.client.away = False
    await world.rig.advance("2s")
    await world.measure(23, 24)


def test_all_in_order_from_a_durable_queue() -> None:
    """They were fresh when they came in: how long they had to wait says nothing against them."""
    assert play(away_for_ten_minutes, durable()) == list(range(1, 25))


def test_only_the_newest_without_one() -> None:
    """What waited while it grew old would look current at the exchange, which is told no time."""
    assert play(away_for_ten_minutes) == [1, 2, 22, 23, 24]


def test_only_the_newest_from_a_durable_queue_that_keeps_the_newest() -> None:
    assert play(away_for_ten_minutes, durable(policy="latest")) == [1, 2, 22, 23, 24]


def test_nothing_old_without_a_durable_queue() -> None:
    async def story(world: World) -> None:
        world.client.away = True
        await world.measure(1)
        await world.rig.advance("10min")
        world.client.away = False
        await world.rig.advance("10min")
        assert world.rig.dropped("mirror")["incomplete"] == 1
        await world.measure(2)

    assert play(story) == [2]


def test_a_durable_queue_that_keeps_the_newest_sends_nothing_old() -> None:
    async def story(world: World) -> None:
        world.client.away = True
        await world.measure(1)
        await world.rig.advance("10min")
        world.client.away = False
        await world.rig.advance("10min")
        assert world.rig.dropped("mirror")["incomplete"] == 1

    assert play(story, durable(policy="latest")) == []


def test_what_was_not_fresh_when_it_came_in_is_not_sent_later_either() -> None:
    async def story(world: World) -> None:
        world.client.away = True
        await world.measure(1)
        await world.rig.advance("2min")  # power and temperature are stale from now on
        await world.rig.emit("rest", {"soc_percent": 2.0})
        await world.rig.emit("rest", {"soc_percent": 3.0, "active_power_mw": 1.0})
        await world.measure(4)
        world.client.away = False
        await world.rig.advance("1min")
        assert world.rig.dropped("mirror")["incomplete"] == 2

    assert play(story, durable()) == [1, 4]


def test_no_value_twice() -> None:
    async def story(world: World) -> None:
        world.client.away = True
        await world.measure(1, 2)
        await world.rig.emit("rest", {"soc_percent": 3.0})  # the other two were sent with the record before
        world.client.away = False
        await world.rig.advance("30s")
        assert world.rig.dropped("mirror") == {"sent-before": 1}
        await world.measure(4, 4)  # the same, measured anew, is news

    assert play(story, durable()) == [1, 2, 4, 4]


def test_what_waited_survives_a_restart_and_comes_first() -> None:
    async def story(world: World) -> None:
        world.client.away = True
        await world.measure(*range(1, 6))
        await world.rig.restart()
        await world.measure(*range(6, 11))
        await world.rig.restart()
        world.client.away = False
        await world.measure(11)

    assert play(story, durable()) == list(range(1, 12))


def test_an_exchange_that_does_it_and_says_that_it_failed_gets_it_again() -> None:
    async def story(world: World) -> None:
        world.exchange.faults.arm("error-after", on="telemetry", times=1)
        await world.measure(1, 2)

    assert play(story, durable()) == [1, 1, 2]


def test_drops_are_counted_with_their_reason() -> None:
    async def full(world: World) -> None:
        world.client.away = True
        await world.measure(*range(1, 11))
        world.client.away = False
        await world.rig.advance("30s")
        assert world.rig.dropped("mirror") == {"drop_oldest": 6}

    assert play(full, durable(size=4)) == [7, 8, 9, 10]

    async def old(world: World) -> None:
        world.client.away = True
        await world.measure(*range(1, 11))
        world.client.away = False
        await world.rig.advance("5s")
        dropped = world.rig.dropped("mirror")
        assert set(dropped) == {"max_age"}
        assert dropped["max_age"] + len(world.exchange.told) == 10

    told = play(old, durable(age="2min"))
    assert told == list(range(11 - len(told), 11))
    assert 3 <= len(told) <= 6  # the one in front was being tried
