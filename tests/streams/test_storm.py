"""Nothing that a broker took from a publisher is lost, and nothing overtakes, whatever happens in between.

The program is killed (SIGKILL), its broker is restarted, and the cable between them is pulled out, one after another
and at once, in the middle of a stream of MQTT messages of QoS 1.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests.peers.namespace import allowed
from tests.streams.storm import Line, Storm, storm

pytestmark = pytest.mark.anyio

Fault = Callable[[Storm], Awaitable[None]]


async def killed(storm: Storm) -> None:
    await storm.kill()
    await storm.start()


async def stopped(storm: Storm) -> None:
    await storm.stop()
    await storm.published(20)  # the broker keeps them for who comes back
    await storm.start()


async def broker_restarted(storm: Storm) -> None:
    await storm.stop_broker()
    await storm.start_broker()


async def cut(storm: Storm) -> None:
    storm.pull()
    await storm.published()
    storm.put_in()


async def cut_while_the_broker_restarts(storm: Storm) -> None:
    storm.pull()
    await broker_restarted(storm)
    await storm.published()
    storm.put_in()


async def killed_while_cut(storm: Storm) -> None:
    storm.pull()
    await storm.published()
    await killed(storm)  # it begins with a broker that does not answer
    storm.put_in()


async def killed_while_the_broker_is_away(storm: Storm) -> None:
    await storm.stop_broker()
    await killed(storm)
    await storm.start_broker()


async def killed_twice(storm: Storm) -> None:
    await killed(storm)
    await storm.published(5)
    await killed(storm)


FAULTS: tuple[Fault, ...] = (
    killed,
    stopped,
    broker_restarted,
    cut,
    killed_while_cut,
    cut_while_the_broker_restarts,
    killed_while_the_broker_is_away,
    killed_twice,
)
SHORT = FAULTS[:6]
ROUNDS = 2
cables = pytest.mark.skipif(not allowed(), reason="this machine makes no network namespaces for us")
LINES = [pytest.param("cable", marks=cables), "proxy"]


async def weather(storm: Storm, faults: Sequence[Fault], dice: random.Random) -> None:
    """One fault after another, each somewhere in the stream; after each it flows again."""
    for fault in faults:
        await storm.published(dice.randrange(1, 100))
        await fault(storm)
        await storm.delivered(1)
    found = await storm.verdict()
    assert not found.broken, f"{found}\n{storm.said()}"


@pytest.mark.parametrize(("line", "durable"), [pytest.param("cable", False, marks=cables), ("proxy", True)])
async def test_nothing_is_lost_in_a_storm(tmp_path: Path, line: Line, durable: bool) -> None:
    async with storm(tmp_path, line, durable=durable) as one:
        await weather(one, SHORT, random.Random(1))  # noqa: S311  (where in the stream a fault comes)


@pytest.mark.slow  # half a minute each: all faults, several times, in any order
@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_in_a_long_storm(tmp_path: Path, seed: int, line: Line, durable: bool) -> None:
    dice = random.Random(seed)  # noqa: S311  (told with each failure, so that the same can be had again)
    faults = [*FAULTS * ROUNDS]
    dice.shuffle(faults)
    async with storm(tmp_path, line, durable=durable) as one:
        await weather(one, faults, dice)
