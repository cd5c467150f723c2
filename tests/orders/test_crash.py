"""Engines killed between a rule and the exchange's answer: never two orders with one identity at the exchange, and
never one there that the journal does not know afterwards.

Each round is played by processes of their own on a real data folder and real sockets (tests/orders/crash). The
exchange lives in the test and survives them all. What else can go wrong on the way: tests/orders/test_crash_faults.py.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator

import msgspec
import pytest

from flowrunner.exchange.simulator import Character
from tests.orders.crash.findings import AT_EXCHANGE, findings
from tests.orders.crash.nursery import Victim
from tests.orders.crash.points import AGAIN, POINTS
from tests.orders.crash.rounds import Round, Rounds, rounds_in
from tests.orders.crash.stage import Stage
from tests.orders.crash.wire import PLACES, Place, after_the_body_and_it_arrives
from tests.peers.program import ROOT

pytestmark = pytest.mark.anyio
LINES = 16
"""Rounds that end in a line of code, for each character, in the normal run."""
ROUNDS = 200
"""Rounds in which two engines die, for each character, with ``--all``."""
both = pytest.mark.parametrize("character", ["plain", "good"])


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    with rounds_in(tmp_path_factory.mktemp("crash")) as made:
        yield made


def killed(victim: Victim, at: str) -> None:
    assert (victim.died_at, victim.killed_by) == (at, signal.SIGKILL), victim.said[-1]


def test_there_are_many_points_and_no_two_are_the_same() -> None:
    assert len(POINTS) >= 24
    assert len(set((POINTS | AGAIN).values())) == len(POINTS) + len(AGAIN)


@both
async def test_killed_at_each_point(rounds: Rounds, character: Character) -> None:
    def round_of(point: str) -> Round:
        async def play(at: Stage) -> None:
            killed(await at.doomed(at=point), point)  # a point that is never reached would show nothing
            assert await at.recovered() == []

        return play

    await rounds.play(character, {point: round_of(point) for point in POINTS})


@both
async def test_killed_when_an_order_is_sent_again(rounds: Rounds, character: Character) -> None:
    """The exchange said at first that it was too much in this minute."""

    def round_of(point: str) -> Round:
        async def play(at: Stage) -> None:
            at.at.exchange.faults.arm("throttled", times=1)
            at.speed, at.patience = 30, "60s"  # the next minute is never far
            killed(await at.doomed(at=point), point)
            assert await at.recovered() == []

        return play

    await rounds.play(character, {point: round_of(point) for point in AGAIN})


@both
async def test_killed_by_the_peer(rounds: Rounds, character: Character) -> None:
    """At each place of the request's way, and of the answer's: before and after the exchange has stored it."""

    def round_of(place: Place) -> Round:
        async def play(at: Stage) -> None:
            await at.dies_by_the_wire(await at.engine(), place)
            await at.wire.until_struck()
            assert await at.recovered() == []

        return play

    await rounds.play(character, {place.__name__: round_of(place) for place in PLACES})


@both
async def test_an_order_that_arrives_when_its_engine_is_long_dead(rounds: Rounds, character: Character) -> None:
    """It was on its way. The next engine has looked for it, and not found it yet."""
    async with rounds.stage(character) as at:
        arrives = asyncio.Event()
        await at.dies_by_the_wire(await at.engine(), after_the_body_and_it_arrives, arrives.wait)
        at.later(5)
        engine = await at.engine()
        await engine.ask("searched")
        await engine.ask("wish", times=3)
        assert await at.stopped(engine) == []
        arrives.set()
        await at.wire.until_struck()
        assert len(at.at.accepted) == 1
        assert await at.recovered() == []


# ---- anywhere -----------------------------------------------------------------------------------------------------


async def lines(rounds: Rounds, character: Character) -> int:
    """How many lines of the product's code run from a wish to the end of its order."""
    async with rounds.stage(character) as at:
        engine = await at.engine(line=10**9)
        await engine.ask("wish", times=3)
        await engine.ask("until", states=AT_EXCHANGE)
        return (await engine.ask("rest")).lines


@both
async def test_killed_in_the_middle_of_anything(rounds: Rounds, character: Character) -> None:
    most, died = await lines(rounds, character), list[str]()
    chance = random.Random(f"{character} 1")  # noqa: S311  (which lines; the same in each run)

    def round_of(line: int) -> Round:
        async def play(at: Stage) -> None:
            died.append((await at.doomed(line=line, uvloop=line % 2 == 1)).died_at)
            assert await at.recovered() == [], died[-1]

        return play

    await rounds.play(character, {f"line {one}": round_of(one) for one in chance.sample(range(1, most), LINES)})
    assert len({one for one in died if one}) > LINES / 2, (most, died)


@pytest.mark.slow  # minutes: hundreds of rounds with three engines and more
@both
async def test_killed_twice_anywhere(rounds: Rounds, character: Character) -> None:
    """The second time while the first end is being cleared up."""
    most, died = await lines(rounds, character), list[str]()
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311  (told with each failure, so that the same can be had again)

    def fate() -> dict[str, object]:
        if chance.random() < 0.4:
            return {"at": chance.choice(list(POINTS)), "uvloop": False}
        return {"line": chance.randrange(1, most), "uvloop": chance.random() < 0.5}

    def round_of(first: dict[str, object], second: dict[str, object]) -> Round:
        async def play(at: Stage) -> None:
            died.append((await at.doomed(**first)).died_at)
            at.later(2)
            died.append((await at.doomed(**second)).died_at)
            assert await at.recovered() == [], died[-2:]

        return play

    drawn = [(fate(), fate()) for _ in range(ROUNDS)]
    await rounds.play(
        character, {f"{number} of seed {seed}: {one}": round_of(*one) for number, one in enumerate(drawn)}
    )
    assert len([one for one in died if one]) > ROUNDS, died


# ---- the checks can fail ------------------------------------------------------------------------------------------

SENDS = "order = await self.sender.send(order.id)"
NAME = "AT-20260302T1215Z-BUY"


async def test_a_node_that_sends_before_the_journal_says_so_is_found_out(rounds: Rounds) -> None:
    nodes = rounds.new_folder()
    nodes.mkdir()
    sound = (ROOT / "nodes" / "exchange_out.py").read_text(encoding="utf-8")
    assert SENDS in sound
    hasty = sound.replace(SENDS, f"await self.line.exchange.place(ticket(order), str)\n        {SENDS}").replace(
        "\nLIVE_NEEDS", "\nfrom flowrunner.orders.sender import ticket\n\nLIVE_NEEDS"
    )
    (nodes / "hasty_out.py").write_text(hasty, encoding="utf-8")
    async with rounds.stage("plain") as at:
        at.kind, at.nodes = "hasty-out", str(nodes)
        engine = await at.engine()
        await engine.ask("wish")
        await engine.ask("until", states=AT_EXCHANGE)
        assert "the exchange has 2 orders AT 2026-03-02T12:15:00.000Z BUY" in await at.stopped(engine)
    async with rounds.stage("good") as at:
        at.kind, at.nodes = "hasty-out", str(nodes)
        await at.doomed(at="the answer is understood")
        at.kind, at.nodes = "exchange-out", ""
        engine = await at.engine()
        await engine.ask("until", states=("expired",))
        (told,) = await at.stopped(engine)
        assert told.startswith(f"the exchange has {NAME}, which the journal calls expired")


async def test_each_disagreement_is_told(rounds: Rounds) -> None:
    async with rounds.stage("plain") as at:
        engine = await at.engine()
        await engine.ask("wish")
        assert await at.closed(engine) == []
        (taken,) = at.at.accepted
        assert findings(at.folder, []) == [f"the journal calls {NAME} accepted, and the exchange does not have it"]
        assert findings(at.folder, [taken, taken]) == ["the exchange has 2 orders AT 2026-03-02T12:15:00.000Z BUY"]
        other = msgspec.structs.replace(taken, side="SELL")
        assert findings(at.folder, [taken, other]) == [f"the exchange has {NAME}, of which the journal does not know"]
        renamed = msgspec.structs.replace(taken, order_id="7")
        assert findings(at.folder, [renamed]) == [f"{NAME} is 7 at the exchange and {taken.order_id!r} in the journal"]
