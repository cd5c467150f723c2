"""What every node type promises, whatever it does. A new type adds its options to SAMPLES and has passed it all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flowrunner.clock import LiveClock
from flowrunner.engine import Engine
from flowrunner.errors import NotConnected, Reject
from flowrunner.graph import Checked, check_flows
from flowrunner.message import FieldInfo
from flowrunner.node import Node
from flowrunner.registry import Envelope, Registry
from flowrunner.schema.types import decode
from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from tests.peers.mosquitto import Mosquitto

CLOSED = 1
"""A port of this machine where nobody listens."""
SAMPLES: dict[str, dict[str, Any]] = {
    "alarm-out": {"severity": "critical", "text": "{x} is too much"},
    "compute": {"fields": {"total": "x + y", "high": "x > 3", "minutes": "age(x) / 60"}},
    "exchange-out": {"send": "telemetry", "url": f"http://127.0.0.1:{CLOSED}", "timeout": "1s"},
    "filter": {"when": "x > 1 and y != 3"},
    "http-in": {"route": "POST /x", "body": {"x": {"min": -100}, "s": {"type": "text"}}},
    "http-out": {"url": f"http://127.0.0.1:{CLOSED}/{{key}}", "timeout": "1s"},
    "http-poll": {"url": f"http://127.0.0.1:{CLOSED}/now", "fields": {"x": {"path": "data.0.x", "unit": "MW"}}},
    "http-response": {"status": 201, "headers": {"x-value": "{x}"}, "body": "{x}"},
    "inject": {"every": "1s", "payload": {"x": 1}},
    "log": {"text": "{x} {payload}"},
    "manual-in": {"fields": {"x": {"min": -100, "max": 100, "unit": "MW"}}, "expires_after": "2h"},
    "merge": {"stale_after": "90s"},
    "modbus-in": {"host": "127.0.0.1", "port": CLOSED, "registers": {"x": {"address": 0, "type": "float32"}}},
    "mqtt-in": {"broker": f"mqtt://127.0.0.1:{CLOSED}", "topics": {"a/+": {"field": "x", "unit": "MW"}}},
    "mqtt-out": {"broker": f"mqtt://127.0.0.1:{CLOSED}", "topic": "out/{key}"},
    "on-error": {"codes": ["bad", "x"]},
    "on-status": {"nodes": ["a"], "states": ["disconnected", "restarting"]},
    "price-in": {"source": "csv", "file": "prices.csv"},
    "risk-guard": {"max_age": {"a": "90s"}, "max_orders": {"per_day": 48}, "price": {"min": -500, "max": 4000}},
    "rule": {
        "when": ["x > 0", "y != 3"],
        "then": {"side": "BUY", "quantity_mwh": "x / 10", "limit_price_eur_mwh": 5},
        "cooldown": "1s",
    },
    "scale": {"fields": {"x": {"factor": 2, "min": -100, "max": 100, "round": 3}}},
    "select": {"fields": {"new": "x"}},
    "store-out": {"keep": "90d"},
    "switch": {"cases": {"high": "x > 3", "odd": "y in [1, 3]"}, "first": False},
    "threshold": {"field": "x", "above": 5, "clear_below": 3, "clear_after": "5s"},
}
PEERS = {"exchange-out", "http-out", "http-poll", "modbus-in", "mqtt-in", "mqtt-out"}
"""Types with sockets: there are none in virtual time."""
ORDINARY: dict[str, Any] = {"x": 1, "y": 2}
FEED: dict[str, dict[str, Any]] = {
    "exchange-out": {**ORDINARY, "soc_percent": 50, "active_power_mw": 0, "temperature_c": 20},
    "risk-guard": {**ORDINARY, "side": "BUY", "quantity_mwh": 1, "limit_price_eur_mwh": 5},
}
"""What comes in where two ordinary fields are not enough."""
REGISTRY = Registry()
TYPES = REGISTRY.names
HERE = [name for name in TYPES if name not in PEERS]
FED = SAMPLES | {"http-in": {"route": "GET /x", "reply_with": "a"}}
"""Options of types that only take messages when they are told to."""
TAKING = [name for name in HERE if hasattr(REGISTRY.get(name).cls, "process")]

every_type = pytest.mark.parametrize("name", TYPES)


def flow(name: str, options: dict[str, Any]) -> str:
    """``it`` is the node in question, each option on a line of its own; ``a`` feeds it, ``bad`` has its errors."""
    lines = [
        "flow: t",
        "market: {name: m, slot: 15min, gate_closure: 5min}",
        "nodes:",
        f"  a: {{type: inject, every: 1000d, payload: {json.dumps(FEED.get(name, ORDINARY))}}}",
        "  bad: {type: merge, from: it.error}",
        "  it:",
        f"    type: {name}",
    ]
    if REGISTRY.get(name).cls.inputs != "none":
        lines.append("    from: a")
    return "\n".join([*lines, *(f"    {key}: {json.dumps(value)}" for key, value in options.items())]) + "\n"


async def hear(rig: Rig, name: str, payload: Any, **more: Any) -> None:
    """``it`` gets this from ``a``: a message, or, where it only listens, something told of ``a``."""
    port = REGISTRY.get(name).cls.listens
    if not port:
        await rig.emit("a", payload, **more)
        return
    worker = rig.worker("a")
    message = worker.ctx.message(payload, position=f"told:{rig.now}", **more)
    worker.out.tell(port, worker.out.stamp_unkeyed(message, message.root, None))
    await rig.settle()


def check(name: str, options: dict[str, Any]) -> Checked:
    return check_flows({"flow.yaml": flow(name, options)}, {}, REGISTRY)


def node_of(name: str) -> Node:
    checked = check(name, SAMPLES[name])
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    return checked.graph.nodes["t/it"].node


@every_type
def test_it_has_a_sample_here_and_words_for_people(name: str) -> None:
    assert name in SAMPLES, f"add the options of an ordinary {name} to SAMPLES"
    kind = REGISTRY.get(name)
    assert kind.summary.endswith("."), "the first line of its docstring is a sentence"
    form = kind.schema()
    own = {field.encode_name for field in msgspec.structs.fields(kind.cls.Options)}
    missing = [option for option in own if not form["properties"][option].get("description")]
    assert not missing, "every option has a description"


# ---- options ------------------------------------------------------------------------------------------------------


@every_type
def test_options_survive_the_way_through_the_schema(name: str) -> None:
    kind = REGISTRY.get(name)
    for editor in (False, True):
        schema = kind.schema(editor=editor)
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate({"type": name, **SAMPLES[name]})
    options = node_of(name).options
    envelope = {field.encode_name for field in msgspec.structs.fields(Envelope)}
    checked = check(name, SAMPLES[name])
    assert checked.graph is not None
    shown = {key: one for key, one in checked.graph.nodes["t/it"].shown.items() if key not in envelope}
    assert decode(shown, kind.cls.Options) == options
    again = node_of(name)
    assert again.options == options
    assert list(again.claims()) == list(node_of(name).claims())  # pure


NONSENSE: list[Any] = [
    None, True, -1, 0, 1e308, 10**30, "", " ", "\u0000", "${", "${NOBODY}", "{", "}{", "1 +", "x" * 300, "5 apples",
    [], [[]], [None], {}, {"": {}}, {"no such": 1}, {"x": {"factor": {}}}, {"x": None}, "a.b.c", "a", "it", "-1s", "0x",
]  # fmt: skip
VALUES = st.one_of(st.sampled_from(NONSENSE), st.text(max_size=5), st.integers(), st.floats(allow_nan=False))


def places(data: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The ways to every option and what is inside of it."""
    for key, value in data.items():
        yield (*at, key)
        if isinstance(value, dict):
            yield from places(value, (*at, key))


def changed(data: dict[str, Any], at: tuple[str, ...], value: Any) -> dict[str, Any]:
    inner = changed(data.get(at[0]) or {}, at[1:], value) if at[1:] else value
    return {**data, at[0]: inner}


@every_type
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_nonsense_options_give_located_problems(name: str, data: st.DataObject) -> None:
    """Whatever somebody writes, the check ends with a graph or with problems that name this node and its line."""
    known = [field.encode_name for field in msgspec.structs.fields(REGISTRY.get(name).cls.Options)]
    options = SAMPLES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        ways = [*places(options), *((one,) for one in known), ("no_such_option",)]
        options = changed(options, data.draw(st.sampled_from(ways)), data.draw(VALUES))
    checked = check(name, options)
    text = flow(name, options).splitlines()
    first = text.index("  it:") + 1
    for problem in checked.problems:
        assert problem.file == "flow.yaml"
        assert problem.line >= first or problem.path.startswith("bad"), str(problem)
        assert 1 <= problem.line <= len(text)
        assert 1 <= problem.column <= len(text[problem.line - 1]) + 1
        assert problem.message
    if checked.graph is None:
        assert any(problem.severity == "error" for problem in checked.problems)


@every_type
def test_each_option_of_the_wrong_type_is_told_at_its_line(name: str) -> None:
    kind = REGISTRY.get(name)
    for field in msgspec.structs.fields(kind.cls.Options):
        option = field.encode_name
        wrong: Any = {"no such": {"thing": []}}
        if Draft202012Validator(kind.schema()["properties"][option]).is_valid(wrong):
            continue  # it takes anything
        options = {**SAMPLES[name], option: wrong}
        line = flow(name, options).splitlines().index(f"    {option}: {json.dumps(wrong)}") + 1
        found = [one for one in check(name, options).problems if one.line == line]
        assert found, f"{option}: no problem at its line"
        assert all(option in one.path for one in found)


# ---- opening and closing --------------------------------------------------------------------------------------------


@every_type
@pytest.mark.anyio
async def test_opened_and_closed_in_any_order(name: str) -> None:
    """Twice open, twice close, close before any open; a peer that is away may say NotConnected, and nothing else."""
    async with running(name) as node_and_context:
        node, ctx = node_and_context
        await node.close()
        for step in ("open", "open", "close", "close", "open", "close"):
            await (attempt(node, ctx) if step == "open" else node.close())


class Broken:
    """A context that fails at the ``after``-th thing that is asked of it."""

    def __init__(self, ctx: Any, after: int) -> None:
        self._ctx, self._left = ctx, after

    def __getattr__(self, name: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise OSError("out of luck")
        return getattr(self._ctx, name)


@every_type
@pytest.mark.anyio
async def test_closed_after_an_open_that_failed_anywhere(name: str) -> None:
    async with running(name) as node_and_context:
        node, ctx = node_and_context
        for after in range(20):
            broken = Broken(ctx, after)
            try:
                await attempt(node, broken)
            except OSError:
                await node.close()
                await node.close()
            else:
                await node.close()
                if broken._left > 0:
                    break  # it needs no more than this
        await attempt(node, ctx)
        await node.close()


async def attempt(node: Node, ctx: Any) -> None:
    """Open, without waiting long for a peer that is not there."""
    try:
        async with asyncio.timeout(0.05):
            await node.open(ctx)
    except (NotConnected, TimeoutError):
        assert node.type in PEERS


class running:  # noqa: N801  (used as a function)
    """The node of a type and its real context, in an engine that does not run it."""

    def __init__(self, name: str) -> None:
        checked = check(name, SAMPLES[name])
        self.engine = Engine(checked, store=Store.open(None), clock=LiveClock(), stubs=["t/it", "t/a", "t/bad"])

    async def __aenter__(self) -> tuple[Node, Any]:
        await self.engine.start()
        worker = self.engine.runtime.workers["t/it"]
        return worker.node, worker.ctx

    async def __aexit__(self, *error: object) -> None:
        await self.engine.stop()


# ---- messages -------------------------------------------------------------------------------------------------------

NUMBERS = st.floats() | st.integers(-(10**25), 10**25) | st.sampled_from([0, -0.0, 1e308, -1e308, 4, 6, 0.1, 2**63])
TEXTS = st.text(max_size=8) | st.sampled_from(["", "5", "nan", "\ud800", "\r\nset-cookie: x", "{x}", "ü" * 9])
JSONS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz") | TEXTS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.sampled_from("xxy"), NUMBERS | TEXTS | st.none(), max_size=3)
INSTANTS = st.sampled_from([0, -1, 2**62]) | st.integers(1_737_766_000 * 10**9, 1_737_768_000 * 10**9)
INFOS = st.builds(
    FieldInfo, at=INSTANTS, received_at=INSTANTS, source=TEXTS,
    origin=st.sampled_from(["automatic", "manual", "simulated", "planned"]),
    quality=st.sampled_from(["good", "uncertain", "bad"]), valid_from=st.none() | INSTANTS,
    valid_until=st.none() | INSTANTS, unit=st.none() | TEXTS,
)  # fmt: skip
METAS = st.fixed_dictionaries(
    {},
    optional={"topic": JSONS, "reply": JSONS, "other": JSONS, "overridden": st.dictionaries(TEXTS, JSONS, max_size=2)},
)
EMITTED = st.fixed_dictionaries(
    {"payload": JSONS | RECORDS},
    optional={
        "at": INSTANTS,
        "key": st.sampled_from(["", "n", "s"]) | TEXTS,
        "quality": st.sampled_from(["good", "uncertain", "bad"]),
        "origin": st.sampled_from(["automatic", "manual", "simulated", "planned"]),
        "fields": st.dictionaries(st.sampled_from("xyz") | TEXTS, INFOS, max_size=3),
        "meta": st.none() | METAS,
    },
)


@pytest.mark.parametrize("name", TAKING)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(emitted=st.lists(EMITTED, min_size=1, max_size=12))
def test_any_message_survives(name: str, emitted: list[dict[str, Any]]) -> None:
    """It may be refused, with a code of the type's own; it never becomes an exception, and the node lives on."""

    async def story(rig: Rig) -> None:
        before = rig.worker("it").counters.received  # what was told of the start
        for one in emitted:
            payload, more = one["payload"], {key: value for key, value in one.items() if key != "payload"}
            await hear(rig, name, payload, **more)
            await rig.advance("7s")
        worker = rig.worker("it")
        assert worker.counters.state == "running"
        assert worker.counters.received == before + len(emitted)
        assert not {"exception", "defect", "fatal"} & set(worker.counters.errors), worker.counters.last_error
        await hear(rig, name, {"x": 4, "y": 2})
        assert worker.counters.received == before + len(emitted) + 1
        rig.engine.node("t", "it")  # can be shown
        for port in worker.out.readers:
            for message in rig.out("it", port):
                assert message.path is not None
                assert message.path[-1] == "it"

    run_flow(flow(name, FED[name]), story, registry=REGISTRY, stubs=["a", "bad"])


GOOD = st.fixed_dictionaries(
    {"x": st.integers(-9, 9), "y": st.integers(0, 4)}, optional={"key": st.sampled_from(["n", "s"])}
)
STEPS = st.lists(GOOD | st.sampled_from(["1s", "6s", "100s"]), max_size=8)


@pytest.mark.parametrize("name", TAKING)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=STEPS, after=STEPS)
def test_a_restart_changes_nothing_that_comes_out(name: str, before: list[Any], after: list[Any]) -> None:
    def run(restart: bool) -> list[Any]:
        async def story(rig: Rig) -> list[Any]:
            for step in [*before, None, *after]:
                if isinstance(step, str):
                    await rig.advance(step)
                elif step is not None:
                    await hear(rig, name, {"x": step["x"], "y": step["y"]}, key=step.get("key", ""))
                elif restart:
                    await rig.restart()
            ports = [port for port in rig.worker("it").out.readers if port != "error"]
            return [(port, key, one) for port in ports for key in ("", "n", "s") for one in rig.out("it", port)
                    if one.key == key]  # fmt: skip  # the order of each key; there is none across keys

        return run_flow(flow(name, FED[name]), story, registry=REGISTRY, stubs=["a", "bad"])

    assert run(restart=True) == run(restart=False)


@settings(max_examples=25, deadline=None)
@given(body=st.binary(max_size=30) | JSONS.map(lambda one: json.dumps(one).encode()), media=st.sampled_from(
    ["application/json", "text/plain", "", "application/json; charset=utf-8", "application/json; charset=utf-16"]
))  # fmt: skip
def test_any_request_is_answered_and_never_with_a_500(body: bytes, media: str) -> None:
    async def story(rig: Rig) -> None:
        answer = await rig.request("POST", "/x", body, content_type=media)
        assert answer.status in (200, 400, 415, 422)
        assert len(rig.out("it")) == (answer.status == 200)
        for message in rig.out("it"):
            assert all(not isinstance(one, float) or math.isfinite(one) for one in message.payload.values())
        assert rig.errors("it").get("exception") is None

    run_flow(flow("http-in", SAMPLES["http-in"]), story, registry=REGISTRY, stubs=["a", "bad"])


@settings(max_examples=25, deadline=None)
@given(values=st.dictionaries(st.sampled_from("xy") | TEXTS, JSONS, max_size=3))
def test_any_entry_is_taken_or_refused(values: dict[str, Any]) -> None:
    async def story(rig: Rig) -> None:
        with contextlib.suppress(Reject):
            await rig.enter("it", values)
        taken = len(rig.out("it"))
        assert (taken, rig.errors("it")) in ((1, {}), (0, {"value": 1}))

    run_flow(flow("manual-in", SAMPLES["manual-in"]), story, registry=REGISTRY, stubs=["a", "bad"])


@pytest.mark.anyio
async def test_any_message_survives_the_way_to_a_broker(tmp_path: Path) -> None:
    """mqtt-out, with a real one: what cannot be published is refused, the rest arrives, and the node lives on."""
    nasty: list[Any] = [
        None, True, 0, -0.0, 1e308, 10**30, float("nan"), float("inf"), "", "\ud800", "\x00", "text", [], {}, [[[]]],
        {"x": float("nan")}, {"": 1}, {"x": {"y": [1, None]}}, {1: 2}, "x" * 100_000,
    ]  # fmt: skip
    keys = ["", "n", "a/b", "#", "+", "\x00", "\ud800", "ü", "x" * 70_000, "$SYS", " "]
    with Mosquitto(tmp_path) as broker:
        options = {**SAMPLES["mqtt-out"], "broker": broker.url}
        engine = Engine(check("mqtt-out", options), store=Store.open(None), clock=LiveClock(), stubs=["t/a", "t/bad"])
        await engine.start()
        try:
            source, worker = engine.runtime.workers["t/a"], engine.runtime.workers["t/it"]
            sent = [*((one, "n") for one in nasty), *((1, key) for key in keys), (2, "last")]
            async with asyncio.timeout(20):
                for number, (payload, key) in enumerate(sent):
                    await source.ctx.emit(source.ctx.message(payload, position=str(number), key=key))
                await engine.runtime.drained()
            assert worker.counters.received == len(sent)
            assert worker.counters.connected is True
            assert worker.counters.restarts == 0
            assert not {"exception", "defect"} & set(worker.counters.errors), worker.counters.last_error
        finally:
            assert await engine.stop() == []
