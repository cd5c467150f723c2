"""A crash of any node: whatever its methods raise, the others go on, it is restarted by itself, and no message is lost
unsaid. Every shipped type, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flowrunner.registry import Registry
from flowrunner.runtime.supervision import CLOSE_LIMIT_S, OPEN_LIMIT_S
from flowrunner.testing import Rig, run_flow
from flowrunner.units import SECOND
from tests.faults.failing import HANGS, MOODS, PLAN, PREFIX, registry
from tests.nodes.test_every_type import FED, ORDINARY, PEERS, REGISTRY, TAKING, TYPES, flow, hear

TIMED = "on_timer"


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return registry(tmp_path_factory.mktemp("nodes"))


@pytest.fixture(autouse=True)
def no_plan() -> Iterator[None]:
    PLAN.clear()
    yield
    PLAN.clear()


def play(name: str, types: Registry, story: Any) -> None:
    text = flow(name, FED[name]).replace(f"type: {name}\n", f"type: {PREFIX}{name}\n")
    text += "  other: {type: log, from: a}\n"
    run_flow(text, story, registry=types, stubs=["a", "bad"])


async def feed(rig: Rig, name: str) -> None:
    """One message for the node, and one for the other."""
    await hear(rig, name, ORDINARY)
    if REGISTRY.get(name).cls.listens:
        await rig.emit("a", ORDINARY)


def having(method: str) -> list[str]:
    return [name for name in TYPES if hasattr(REGISTRY.get(name).cls, method)]


async def until_it_runs(rig: Rig, name: str) -> None:
    """A type whose peer is away waits for it now: there are no sockets in virtual time, and no file of prices."""
    await rig.advance("10min")
    state = rig.worker("it").counters.state
    away = name in PEERS or name == "price-in"
    assert state in ("running", "finished") or (away and state in ("disconnected", "restarting")), state
    assert rig.failed == ""


@pytest.mark.parametrize("name", TYPES)
def test_open(name: str, types: Registry) -> None:
    PLAN["open"] = [*MOODS, HANGS]

    async def story(rig: Rig) -> None:
        assert not rig.worker("it").opened
        await feed(rig, name)
        assert rig.worker("other").counters.received >= 1, "the others go on"
        await rig.advance(f"{OPEN_LIMIT_S + 300:g}s")
        assert not PLAN["open"]
        assert rig.worker("it").counters.restarts >= len(MOODS) + 1
        await until_it_runs(rig, name)
        if name in TAKING:
            assert rig.worker("it").counters.received >= 1, "what came meanwhile has waited"

    play(name, types, story)


@pytest.mark.parametrize("name", TAKING)
def test_process(name: str, types: Registry) -> None:
    async def story(rig: Rig) -> None:
        await rig.settle()
        before = rig.worker("it").counters.received
        for number, mood in enumerate(MOODS, 1):
            PLAN["process"] = [mood]
            await feed(rig, name)
            assert not PLAN["process"]
            letter = rig.out("it", "error")[-1]
            assert len(rig.out("it", "error")) == number, "every message that failed is told, once"
            assert (letter.payload["code"], letter.payload["message"]) == ("exception", ORDINARY)
        await feed(rig, name)
        assert rig.worker("it").counters.received == before + len(MOODS) + 1
        assert rig.worker("it").counters.state == "running"
        assert rig.worker("other").counters.received >= len(MOODS), "the others go on"

    play(name, types, story)


@pytest.mark.parametrize("name", having("produce"))
def test_produce(name: str, types: Registry) -> None:
    PLAN["produce"] = list(MOODS)

    async def story(rig: Rig) -> None:
        await feed(rig, name)
        assert rig.worker("other").counters.received == 1
        await rig.advance("10min")
        assert not PLAN["produce"]
        assert rig.worker("it").counters.restarts >= len(MOODS)
        await until_it_runs(rig, name)

    play(name, types, story)


@pytest.mark.parametrize("name", having(TIMED))
def test_on_timer(name: str, types: Registry) -> None:
    async def story(rig: Rig) -> None:
        await rig.settle()
        for number, mood in enumerate(MOODS, 1):
            PLAN[TIMED] = [mood]
            await rig.restart()
            await rig.advance("10s")
            assert not PLAN[TIMED]
            assert rig.errors("it").get("exception") == 1, (number, mood)
            await feed(rig, name)
            assert rig.errors("it").get("exception") == 1
        await until_it_runs(rig, name)

    play(name, types, story)


@pytest.mark.parametrize("name", TYPES)
def test_close(name: str, types: Registry) -> None:
    async def story(rig: Rig) -> None:
        for mood in (*MOODS, HANGS):
            await feed(rig, name)
            PLAN["close"] = [mood]
            began = rig.now
            await rig.restart()
            assert not PLAN["close"]
            assert rig.now - began <= 4 * CLOSE_LIMIT_S * SECOND, "a stop is bounded"
        await until_it_runs(rig, name)

    play(name, types, story)
