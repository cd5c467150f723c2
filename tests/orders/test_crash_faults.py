"""Orders whose answer does not come, whose journal cannot be written, that a second engine or another flow meets:
never two with one identity at the exchange, and never one there that the journal does not know afterwards.

Played as in tests/orders/test_crash.py, by engines in processes of their own.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from flowrunner.exchange.simulator import Character
from flowrunner.exchange.simulator.server import ExchangeServer
from flowrunner.orders import STOP_FILE
from tests.exchange.simulated import KEY
from tests.orders.crash.points import POINTS
from tests.orders.crash.rounds import Round, Rounds, rounds_in
from tests.orders.crash.stage import ENDED, Stage
from tests.orders.crash.wire import PLACES, Passing, Place, after_the_answer, after_the_body_and_it_is_lost
from tests.peers.program import run

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("character", ["plain", "good"])


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    with rounds_in(tmp_path_factory.mktemp("crash")) as made:
        yield made


# ---- no clear answer ----------------------------------------------------------------------------------------------


async def _reset(order: Passing) -> None:
    order.reset()


@both
async def test_the_connection_is_reset(rounds: Rounds, character: Character) -> None:
    """Before and after the body, before and after it is stored, in the answer."""

    def round_of(place: Place) -> Round:
        async def play(at: Stage) -> None:
            engine = await at.engine()
            at.wire.strike_at(place, _reset)
            await engine.ask("wish", times=3)
            await at.wire.until_struck()
            await engine.ask("until", states=ENDED)
            await engine.ask("wish", times=3)
            assert await at.closed(engine) == []
            assert at.posted == 1

        return play

    await rounds.play(character, {one.__name__: round_of(one) for one in PLACES if one is not after_the_answer})


@both
async def test_the_exchange_does_not_answer_or_not_in_time(rounds: Rounds, character: Character) -> None:
    stored = {"answer-lost": 1, "delay": 1, "error-after": 1, "error-before": 0, "reset": 0}

    def round_of(fault: str) -> Round:
        async def play(at: Stage) -> None:
            at.at.exchange.faults.arm(fault, times=1, seconds=0.5)
            at.patience = "200ms"
            engine = await at.engine()
            await engine.ask("wish", times=3)
            await engine.ask("until", states=ENDED)
            await engine.ask("wish", times=3)
            assert len(at.at.accepted) == stored[fault]
            assert await at.closed(engine) == []
            assert at.posted == 1

        return play

    await rounds.play(character, {fault: round_of(fault) for fault in stored})


@both
async def test_the_exchange_is_restarted_while_an_order_is_on_its_way(rounds: Rounds, character: Character) -> None:
    async with rounds.stage(character) as at:
        exchange, stored = at.at.exchange, asyncio.Event()
        exchange.listen("orders", lambda _: stored.set())
        exchange.faults.arm("delay", times=1, seconds=3600)
        engine = await at.engine()
        await engine.ask("wish", times=3)
        await stored.wait()
        await at.at.server.stop()
        await engine.ask("until", states=("unknown",))
        again = ExchangeServer(exchange, KEY, port=at.at.server.port)
        await again.start()
        try:
            await engine.ask("wish", times=3)
            assert await at.stopped(engine) == []
            assert await at.recovered() == []
        finally:
            await again.stop()
        assert at.posted == 1


# ---- the disk is full ---------------------------------------------------------------------------------------------

FULL_AT = {
    "the guard is asked": ("guard.error", 0, 7),
    "after the intent's commit": ("exchange.error", 0, 3),
    "the sender takes it": ("exchange.error", 0, 3),
    "after the commit of sending": ("exchange.error", 1, 3),
    "the body is sent": ("exchange.error", 1, 3),
    "the answer is understood": ("exchange.error", 1, 3),
}
"""Point from which on no file can be written → where it is told, how many orders are sent, and how many wishes cannot
be decided because of it."""


@both
@pytest.mark.parametrize("then", ["room", "death"])
async def test_the_disk_is_full(rounds: Rounds, character: Character, then: str) -> None:
    """What cannot be journalled is not sent; what was sent and cannot be journalled is known once there is room."""

    def round_of(point: str, port: str, sent: int, refused: int) -> Round:
        async def play(at: Stage) -> None:
            engine = await at.engine(at=point, then="full")
            await engine.ask("wish")
            await engine.ask("left", port=port)
            assert engine.full_at == point
            await engine.ask("wish", times=3)
            await engine.ask("wish", times=3, soc=80.0)  # a new order, which cannot be written down either
            await engine.ask("left", port="guard.error", times=refused)
            assert at.posted == len(at.at.accepted) == sent
            if then == "room":
                await engine.ask("room")
                await engine.ask("wish", times=3)
                assert await at.closed(engine) == []
            else:
                engine.kill()
                await engine.end()
                assert await at.recovered() == []

        return play

    await rounds.play(character, {point: round_of(point, *told) for point, told in FULL_AT.items()})


async def test_the_disk_is_full_when_the_program_starts_again(rounds: Rounds) -> None:
    """What was being sent cannot be noted down as unknown: then nothing starts."""
    async with rounds.stage("plain") as at:
        await at.doomed(at="the body is sent")
        victim = await at.bring_up(then="full")
        with pytest.raises(AssertionError, match="StoreFailed"):
            await victim.hear("started")
        await victim.end()
        assert at.posted == 1
        assert await at.recovered() == []


# ---- a second engine, another flow --------------------------------------------------------------------------------


async def test_a_second_engine_on_the_same_folder_does_not_start(rounds: Rounds) -> None:
    async with rounds.stage("plain") as at:
        engine = await at.engine()
        flow = at.folder / "flow.yaml"
        flow.write_text(at.text, encoding="utf-8")
        environment = {"URL": at.wire.url, "KEY": KEY, "TIMEOUT": "5s"}
        second = await asyncio.to_thread(run, "run", flow, "--port", "0", "--data", at.folder, env=environment)
        assert second.returncode == 2
        assert f"is in use by another flowrunner (process {engine.pid})" in second.stderr
        await engine.ask("wish", times=3)
        assert await at.closed(engine) == []
        assert at.posted == 1


@both
async def test_a_second_engine_that_starts_in_the_instant_when_the_first_one_dies(
    rounds: Rounds, character: Character
) -> None:
    points = (
        "after the intent's commit", "before the commit of sending", "after the first bytes", "the body is sent",
        "after the commit of accepted",
    )  # fmt: skip

    def round_of(point: str) -> Round:
        async def play(at: Stage) -> None:
            first = await at.engine(at=point)
            second = await at.bring_up(wait_for_folder=True)
            await second.hear("refused")
            await at.dies(first)
            assert (first.died_at, first.killed_by) == (point, signal.SIGKILL)
            await second.hear("started")
            await second.ask("wish", times=3)
            assert await at.closed(second) == []

        return play

    await rounds.play(character, {point: round_of(point) for point in points})


@both
async def test_an_order_taken_up_by_another_file(rounds: Rounds, character: Character) -> None:
    """The same market in a file with another name, started on the same data folder in the same slot: what one flow
    has left behind is the other's to clear up."""

    def round_of(point: str) -> Round:
        async def play(at: Stage) -> None:
            await at.doomed(at=point)
            at.name = "other"
            assert await at.recovered() == []

        return play

    points = [point for point in POINTS if point.startswith(("after", "before the", "the body"))]
    await rounds.play(character, {point: round_of(point) for point in points})


@both
async def test_what_another_file_has_left_unknown_blocks_its_market(rounds: Rounds, character: Character) -> None:
    async with rounds.stage(character) as at:
        await at.dies_by_the_wire(await at.engine(), after_the_body_and_it_is_lost)
        at.name = "other"
        at.later(5)
        engine = await at.engine()
        await engine.ask("until", states=("unknown",))
        await engine.ask("wish", soc=80.0)
        (blocked,) = (await engine.ask("left", port="guard.blocked")).left["guard.blocked"]
        assert blocked["reason"] == "market-blocked"
        assert await at.closed(engine) == []
        assert at.posted == 1


# ---- the first time -----------------------------------------------------------------------------------------------


async def test_the_first_live_start_sends_nothing_until_a_person_says_so(rounds: Rounds) -> None:
    async with rounds.stage("plain", new=True) as at:
        engine = await at.engine()
        await engine.ask("wish", times=3)
        (blocked,) = (await engine.ask("left", port="guard.blocked")).left["guard.blocked"]
        assert blocked["reason"] == "trading-stopped"
        await at.stopped(engine)
        assert (at.folder / STOP_FILE).exists()
        engine = await at.engine()  # no restart lets it go on
        await engine.ask("wish", times=3)
        await engine.ask("rest")
        assert at.posted == 0
        resumed = await asyncio.to_thread(run, "resume-trading", "--data", at.folder, "--by", "test")
        assert resumed.returncode == 0, resumed.stderr
        await engine.ask("wish", times=3)
        assert await at.closed(engine) == []
        assert at.posted == 1
