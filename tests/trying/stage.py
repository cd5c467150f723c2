"""Tests of flows, played for the tests of the one who plays them."""

from __future__ import annotations

from textwrap import dedent, indent

from flowrunner.registry import Registry
from flowrunner.testing.playing import Outcome, play
from flowrunner.testing.suite import Suite, read_suite

AT = "at: 2025-01-25T02:00:00+01:00"
REGISTRY = Registry()

SOURCES = """\
flow: sources
timezone: Europe/Vienna
nodes:
  plc: {type: modbus-in, host: 127.0.0.1, every: 10s, registers: {soc: {address: 0, type: uint16, na: [65535]}}}
  bus: {type: mqtt-in, broker: "mqtt://localhost", topics: {a/b: {field: level, min: 0, max: 5, unit: m}}}
  hand: {type: manual-in, fields: {level: {min: 0, max: 5, unit: m}}, expires_after: 1h}
  web: {type: http-in, route: POST /x, body: {level: {type: number, min: 0, max: 5, unit: m}}}
  far: {type: http-poll, url: "http://localhost:9/x", every: 1min, fields: {wind: {}}}
  both: {type: merge, from: [plc, bus, hand, web, far], stale_after: 5min}
  out: {type: mqtt-out, from: both, broker: "mqtt://localhost", topic: x}
  trouble: {type: log, from: [out.error, plc.error, bus.error, far.error]}
"""
TRADE = """\
flow: trade
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  rest: {type: http-in, route: POST /soc, body: {soc_percent: {type: number, min: 0, max: 100, unit: "%"}}}
  price: {type: price-in, source: exchange, url: "http://localhost:9100", every: 5min, timeout: 4s}
  state: {type: merge, from: [rest, price], require: [soc_percent, price_eur_mwh], stale_after: 10min}
  buy:
    type: rule
    from: state
    when: [soc_percent < 30, price_eur_mwh <= 60]
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard:
    type: risk-guard
    from: buy
    max_age: {rest: 10min, price: 15min}
    max_orders: {per_slot: 1}
    max_quantity_mwh: 1.0
    price: {min: -500, max: 4000}
    energy: {capacity_mwh: 10, min_soc: 5, max_soc: 95, efficiency: 0.9}
  exchange: {type: exchange-out, from: guard, send: orders, url: "http://localhost:9100", timeout: 5s}
  alarms: {type: alarm-out, from: [guard.blocked, exchange.error]}
"""
SOC = "{emit: rest, value: {soc_percent: 20}}"


def suite(flow: str, tests: str, registry: Registry = REGISTRY) -> Suite:
    """``tests``: the text of the file of tests."""
    return read_suite("flow.yaml", flow, ("flow.test.yaml", tests), {}, registry)


def case(body: str, at: str = AT) -> str:
    """The text of a file with one test, from what stands in it beside name and time."""
    return f"tests:\n  - name: it\n    {at}\n{indent(dedent(body).strip(), '    ')}\n"


def told(flow: str, body: str, *, at: str = AT, patience_s: float = 30.0, registry: Registry = REGISTRY) -> Outcome:
    """What came of one test; it must have no problems."""
    found = suite(flow, case(body, at), registry)
    assert [str(one) for one in found.problems if one.severity == "error"] == []
    (trial,) = found.trials
    return play(trial, registry, patience_s)


def passes(flow: str, body: str, *, at: str = AT, registry: Registry = REGISTRY) -> Outcome:
    outcome = told(flow, body, at=at, registry=registry)
    assert [one.lines for one in outcome.failures] == []
    return outcome


def problems(flow: str, body: str, *, at: str = AT) -> list[str]:
    """What is wrong with one test: place, and what is said."""
    return [f"{one.line}:{one.column} {one.path}: {one.message}" for one in suite(flow, case(body, at)).problems]


def sent(outcome: Outcome, node: str, port: str = "out") -> list[object]:
    """The payloads that left a node by a port."""
    assert outcome.watching is not None
    flow = outcome.trial.flow
    seen = outcome.watching.sent
    return [one.message.payload for one in seen if (one.address, one.port) == (f"{flow}/{node}", port)]
