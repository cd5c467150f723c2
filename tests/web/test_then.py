"""The state of then: each node as it was at a step of the strip, whatever it has become since."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from flowrunner.clock import ScaledClock
from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.logs import MASK
from flowrunner.message import JSON, Message
from flowrunner.registry import Registry
from flowrunner.store import Store
from flowrunner.units import SECOND
from flowrunner.web.live import past
from flowrunner.web.live.past import Past
from tests.web.site import Site, site

pytestmark = pytest.mark.anyio
TEXT = "flow: f\nnodes:\n  in: {type: inject, every: 1h, payload: 1}\n  out: {type: log, from: in}\n"
STEPS = 4


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """Not started: its counters are what a test makes them."""
    checked = check_flows({"f.yaml": TEXT}, {}, Registry())
    assert checked.graph is not None, checked.problems
    one = Engine(checked, store=Store.open(None), clock=ScaledClock(0, 1.0))
    one.runtime.workers = {
        address: one.runtime.make(spec, one.runtime.inbox_of(spec)) for address, spec in one.graph.nodes.items()
    }
    yield one
    await one.store.close()


def sent(engine: Engine, value: JSON, at: int) -> None:
    counters = engine.runtime.workers["f/in"].counters
    message = Message(payload=value, at=at, received_at=at, source="in")
    counters.sent += 1
    counters.last_at, counters.last = at, {"out": message}


async def step(kept: Past, number: int) -> None:
    kept.note(number * 5 * SECOND)
    await kept.close()


async def test_each_step_is_as_it_was(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    for number in range(3):
        sent(engine, {"soc_percent": number * 10}, number * 5 * SECOND)
        await step(kept, number)
    found = kept.then("f", 7 * SECOND)
    assert found is not None
    assert found.at == 5000
    node = found.nodes["in"]
    assert (node.last, node.sent, node.last_at) == ("soc_percent 10", 2, 5000)
    assert (node.sent_per_s, node.received_per_s) == (0.2, 0.0)
    assert found.nodes["out"].last is None
    first = kept.then("f", 0)
    assert first is not None
    assert first.nodes["in"].sent_per_s is None  # nobody knows what was before
    assert kept.then("f", -1) is None
    assert kept.then("g", 7 * SECOND) is None


async def test_it_reaches_back_as_far_as_the_strip_and_no_further(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    for number in range(STEPS + 2):
        await step(kept, number)
    assert kept.then("f", 9 * SECOND) is None
    assert kept.then("f", 10 * SECOND) is not None


async def test_the_time_of_a_step_in_milliseconds_is_that_step(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    kept.note(5 * SECOND + 123_456_789)
    await kept.close()
    found = kept.then("f", 5_123 * 1_000_000)
    assert found is not None
    assert found.at == 5_123


async def test_a_node_that_has_begun_anew_has_no_rate(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    engine.runtime.workers["f/in"].counters.sent = 100
    await step(kept, 0)
    engine.runtime.workers["f/in"].counters.sent = 3
    await step(kept, 1)
    found = kept.then("f", 5 * SECOND)
    assert found is not None
    assert found.nodes["in"].sent_per_s is None


async def test_secrets_are_not_kept(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    engine.runtime.mask = lambda text: text.replace("geheim", MASK)
    sent(engine, {"name": "geheim"}, 0)
    engine.runtime.workers["f/in"].counters.error("bad", "geheim was refused", 0)
    await step(kept, 0)
    found = kept.then("f", 0)
    assert found is not None
    assert found.nodes["in"].last == f"name {MASK}"
    assert found.nodes["in"].last_error == f"bad: {MASK} was refused"


async def test_of_very_large_engines_nothing_is_kept(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    await step(kept, 0)
    one = engine.runtime.workers["f/in"]
    engine.runtime.workers = {f"f/n{number}": one for number in range(past.MOST_NODES + 1)}
    await step(kept, 1)
    assert kept.then("f", 5 * SECOND) is None


async def test_the_api_tells_of_then_and_not_of_now() -> None:
    async with site() as web:
        await web.until(lambda: web.server.hub.then("site", web.engine.clock.now()) is not None, "nothing is kept")
        await web.post('{"soc_percent": 75.5}')
        await web.until(lambda: web.record is not None, "no record")
        answer = await web.http.get(f"/api/v1/flows/site/then?at={web.engine.clock.now() // 1_000_000}")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["nodes"]["record"]["last"] is None
        assert told["nodes"]["record"]["state"] in ("starting", "running")
        assert told["nodes"].keys() == {"rest", "hand", "record", "status"}
        assert told["at"] <= web.engine.clock.now() // 1_000_000


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/flows/site/then", 422, "value"),
        ("/api/v1/flows/site/then?at=", 422, "value"),
        ("/api/v1/flows/site/then?at=-5", 422, "value"),
        ("/api/v1/flows/site/then?at=1e3", 422, "value"),
        ("/api/v1/flows/site/then?at=9999999999999", 422, "value"),
        ("/api/v1/flows/site/then?at=5", 404, "not-kept"),
        ("/api/v1/flows/nobody/then?at=5", 404, "unknown"),
    ],
)
async def test_what_is_not_kept_is_said(web: Site, path: str, status: int, code: str) -> None:
    answer = await web.http.get(path)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


@pytest.mark.slow  # a figure of this machine: the others on it must not decide
async def test_a_look_at_two_thousand_nodes_takes_milliseconds(engine: Engine) -> None:
    kept = Past(engine, STEPS)
    sent(engine, {"soc_percent": 50.5, "active_power_mw": 2.25}, 0)
    one = engine.runtime.workers["f/in"]
    engine.runtime.workers = {f"f/n{number}": one for number in range(past.MOST_NODES)}
    began = time.thread_time()
    kept.note(0)
    assert time.thread_time() - began < 0.02
    await kept.close()
