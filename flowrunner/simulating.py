"""``flowrunner run --simulate`` and ``flowrunner simulate``: flows in a simulated world, and the world alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from flowrunner.battery import Settings, Site
from flowrunner.clock import LiveClock, ScaledClock
from flowrunner.engine import Engine
from flowrunner.errors import BadFlow, UsageError
from flowrunner.exchange.simulator import Character
from flowrunner.files import check_files
from flowrunner.graph import Graph
from flowrunner.market import Market
from flowrunner.mqtt.settings import Settings as MqttSettings
from flowrunner.orders import Journal
from flowrunner.registry import Registry
from flowrunner.running import OK, Stage, until_signal
from flowrunner.simulate import Elsewhere, Opening, Places, World, in_url, opening, turn_inward, wall_in
from flowrunner.units import SECOND, Duration, iso, to_datetime
from flowrunner.web.exposure import SHORTEST_KEY

MARKET = Market(name="epex_at", slot_ns=Duration.parse("15min"), gate_closure_ns=Duration.parse("5min"))
"""Where no flow names one."""
ZONE = ZoneInfo("Europe/Vienna")
CREDIT = "the prices are real ones of 2024, shifted by whole weeks (Bundesnetzagentur | SMARD.de, CC BY 4.0)"
RUN_UP_S = 2.0
"""Real seconds before the first price that trades."""
SHORTEST_RUN_UP = Duration.parse("10s")
FOLLOW_S, FOLLOW_NS = 0.25, Duration.parse("1min")
"""Between two looks for paper orders: real seconds, and flow time where that is sooner."""
FOLLOWED = 50
"""Orders that are looked at: no flow makes more of them in that time."""
log = logging.getLogger("flowrunner.simulate")


def provisional(environment: Mapping[str, str]) -> dict[str, str]:
    """What a flow will find in a simulated world, for a first check before there is one."""
    return {**environment, **Places(modbus_port=1, exchange_port=1, mqtt_port=1, api_key="provisional").environment()}


@contextlib.asynccontextmanager
async def stage(
    paths: Sequence[Path], graph: Graph, environment: Mapping[str, str], registry: Registry, speed: float
) -> AsyncIterator[Stage]:
    """A world for these flows on loopback and free ports, and the flows as they are bound to it. ``graph``: theirs as
    the first check found it. The data folder is a temporary one. UsageError where a part of it cannot start.

    From here on this process reaches no other machine.
    """
    wall_in()
    trading = [one for one in graph.nodes.values() if one.market is not None]
    markets = [one.market for one in trading if one.market is not None] or [MARKET]
    zone = trading[0].zone if trading else ZONE
    start = _opening(graph, markets[0], speed)
    with tempfile.TemporaryDirectory(prefix="flowrunner-") as folder:
        clock = ScaledClock(start.start, speed)
        world = World(clock, Path(folder), markets=markets, zone=zone, soc_percent=start.soc_percent)
        await world.start()
        try:

            def bind(given: Mapping[str, str]) -> dict[str, str]:
                return {**given, **world.places.environment()}

            def turn(graph: Graph) -> list[str]:
                graph.secrets.add(world.places.api_key)
                return turn_inward(graph, world.places)

            found = bind(environment)
            checked = check_files(paths, found, registry, simulated=True)
            if checked.graph is None:
                raise BadFlow(checked.problems)
            turned = turn(checked.graph)
            data = Path(folder) / "data"

            async def attend(engine: Engine) -> None:
                await _follow(world, Journal(engine.store), speed)

            lines = [*_described(world, start, zone, speed), *turned]
            yield Stage(checked, checked.graph, found, data, clock, lines, _tips(world, data), attend, bind, turn)
        finally:
            await world.stop()


def _opening(graph: Graph, market: Market, speed: float) -> Opening:
    """By the limits that the flows' own vars give, as ``flows/bess.yaml`` calls them."""
    named = [head.vars for head in graph.flows.values()]
    limits = {
        name: float(value)
        for name in ("cheap", "dear")
        for value in [next((one[name] for one in named if name in one), None)]
        if isinstance(value, int | float)
    }
    run_up = max(int(RUN_UP_S * speed * SECOND), SHORTEST_RUN_UP)
    return opening(LiveClock().now(), market, run_up=run_up, **limits)


async def _follow(world: World, journal: Journal, speed: float) -> None:
    """Paper orders move the simulated battery, too: nothing was sent, but one sees what would have become of it."""
    while True:
        for order in journal.orders(limit=FOLLOWED, state="paper"):
            world.follow(order)
        await asyncio.sleep(min(FOLLOW_S, FOLLOW_NS / SECOND / speed))


def _described(world: World, start: Opening, zone: ZoneInfo, speed: float) -> Iterator[str]:
    settings = world.battery.settings
    yield (
        f"a simulated world: a battery ({settings.capacity_mwh:g} MWh, {settings.power_mw:g} MW, "
        f"{start.soc_percent:g} % full), a sensor and an exchange; nothing leaves this machine"
    )
    yield _where(world)
    yield CREDIT
    now = to_datetime(start.start, zone)
    yield f"flow time begins on {now:%A, %Y-%m-%d at %H:%M} ({zone.key}) and runs {_times(speed)}"
    if start.slot is not None:
        begin = to_datetime(start.slot.start, zone)
        why = "cheap, and the battery nearly empty: expect the flow to buy" if start.side == "BUY" else (
            "dear, and the battery nearly full: expect the flow to sell"
        )  # fmt: skip
        yield f"from {begin:%H:%M} a MWh costs {start.eur_mwh:g} EUR, that is {why} soon"


def _where(world: World) -> str:
    places = world.places
    return (
        f"battery at {in_url(places.modbus_host)}:{places.modbus_port} (Modbus TCP), sensor at {places.broker} "
        f"({world.broker.name}), exchange at {places.exchange}"
    )


def _times(speed: float) -> str:
    if speed == 1:
        return "as fast as real time"
    return f"{speed:g} times as fast as real time" + (": an hour takes a minute" if speed == 60 else "")


def _tips(world: World, data: Path) -> Callable[[str], Iterator[str]]:
    """What to look at and to try; telemetry that somebody posts would only count where the battery's own is away."""

    def tips(base: str) -> Iterator[str]:
        yield f"orders, and why each was made: {base}/api/v1/orders or `flowrunner orders --data {data}`"
        yield from _faults(world)

    return tips


def _faults(world: World) -> Iterator[str]:
    control, key = f"{world.places.exchange}/world", "" if world.places.is_loopback else "-H 'X-API-KEY: …' "
    body = """-H 'Content-Type: application/json' -d '{"fault": "drop"}'"""
    yield f"try: curl {key}{body} {control}/faults  (the line to the battery breaks, and the sensor's values count)"
    hot = """-H 'Content-Type: application/json' -d '{"temperature_c": 45}'"""
    yield f"then: curl {key}{hot} {control}/battery  (it is too hot: an alarm, and no order until it has cooled down)"
    yield f"then: curl {key}-X DELETE {control}/faults  (all is well again); other faults: curl {key}{control}"


# ---- the world alone ----------------------------------------------------------------------------------------


def simulate(
    *,
    places: Places,
    speed: float,
    character: Character,
    market: str,
    broker: MqttSettings | None = None,
    hosts: Sequence[str] = (),
) -> int:
    """Run the world alone until a signal; the exit code. Prints where its parts are, as lines for ``--env-file``.

    ``broker``: let the sensor publish at this one, and start none. ``hosts``: further names by which its control may
    be called. What was given and is secret is not printed. UsageError where a part cannot start.
    """
    if not places.is_loopback and len(places.api_key) < SHORTEST_KEY:
        raise UsageError(
            f"beyond loopback the simulated exchange needs EXCHANGE_API_KEY with at least {SHORTEST_KEY} characters"
        )
    given = None if broker is None else Elsewhere(broker)
    return asyncio.run(_simulate(places, speed, character, market, given, hosts))


async def _simulate(
    places: Places, speed: float, character: Character, name: str, broker: Elsewhere | None, hosts: Sequence[str]
) -> int:
    signal = asyncio.ensure_future(until_signal())
    await asyncio.sleep(0)  # it listens from here on: a signal while the world starts stops it cleanly too
    market = msgspec.structs.replace(MARKET, name=name)
    start = LiveClock().now()
    clock = LiveClock() if speed == 1 else ScaledClock(start, speed)
    usual = Site(zone=ZONE).usual_soc_percent(start, Settings())
    with tempfile.TemporaryDirectory(prefix="flowrunner-") as folder:
        world = World(
            clock, Path(folder), places=places, markets=[market], zone=ZONE, soc_percent=usual, character=character,
            broker=broker, hosts=hosts,
        )  # fmt: skip
        await world.start()
        try:
            for one in _to_print(world, given_key=places.api_key, given_broker=broker is not None):
                print(one, flush=True)
            log.info("%s", _where(world))
            log.info("%s", CREDIT)
            if world.places.mqtt_protocol == "3.1.1":
                log.warning(
                    "the embedded broker speaks MQTT 3.1.1 only: nodes need protocol: 3.1.1, or install mosquitto"
                )
            log.info("time begins at %s and runs %s", iso(start), _times(speed))
            for line in _faults(world):
                log.info("%s", line)
            log.info("ready; Ctrl-C stops")
            log.info("stopping because of %s", await signal)
        finally:
            await world.stop()
    return OK


def _to_print(world: World, *, given_key: str, given_broker: bool) -> Iterator[str]:
    found = world.places.environment()
    if given_key:
        del found["EXCHANGE_API_KEY"]
    if given_broker:
        del found["BESS_MQTT_USERNAME"], found["BESS_MQTT_PASSWORD"]
    yield from (f"{name}={value}" for name, value in found.items())
