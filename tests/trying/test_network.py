"""A test of a flow reaches nothing outside: no network, no other process's world, no environment but its own."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from flowrunner.registry import Registry
from flowrunner.testing.playing import play
from flowrunner.testing.wall import walled
from tests.trying.stage import case, passes, suite, told

EVERY_TYPE = """\
flow: every
timezone: Europe/Vienna
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  plc: {type: modbus-in, host: device.invalid, registers: {soc_percent: {address: 0, type: uint16}}}
  bus: {type: mqtt-in, broker: "mqtt://broker.invalid", topics: {a: {field: level}}}
  page: {type: http-poll, url: "http://server.invalid/x", every: 10s, fields: {wind: {}}}
  web: {type: http-in, route: POST /x, body: {soc_percent: {type: number}}}
  asked: {type: http-in, route: POST /y}
  answer: {type: http-response, from: asked}
  hand: {type: manual-in, fields: {soc_percent: {min: 0, max: 100}}}
  tick: {type: inject, every: 10s, payload: {soc_percent: 5, level: 1}}
  price: {type: price-in, source: exchange, url: "http://exchange.invalid", every: 1min}
  ahead: {type: price-in, source: awattar, zone: AT}
  filed: {type: price-in, source: csv, file: prices.csv}
  both: {type: merge, from: [plc, bus, page, web, hand, tick, price], require: [soc_percent, price_eur_mwh]}
  round: {type: scale, from: tick, fields: {soc_percent: {factor: 2}}}
  some: {type: filter, from: round, when: soc_percent > 0}
  sum: {type: compute, from: some, fields: {twice: soc_percent * 2}}
  few: {type: select, from: sum, fields: [soc_percent, twice]}
  way: {type: switch, from: few, cases: {low: soc_percent < 5}}
  hot: {type: threshold, from: both, field: soc_percent, above: 90}
  buy:
    type: rule
    from: hot
    when: soc_percent < 30
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard:
    type: risk-guard
    from: buy
    max_age: {tick: 10min, price: 15min}
    max_orders: {per_slot: 1}
    max_quantity_mwh: 1.0
    price: {min: -500, max: 4000}
    energy: {capacity_mwh: 10, min_soc: 5, max_soc: 95, efficiency: 0.9}
  exchange: {type: exchange-out, from: guard, send: orders, mode: MODE, url: "https://exchange.invalid"}
  mirror: {type: exchange-out, from: tell, send: telemetry, url: "https://exchange.invalid"}
  tell: {type: compute, from: web, fields: {active_power_mw: soc_percent * 0, temperature_c: soc_percent + 0}}
  out: {type: mqtt-out, from: few, broker: "mqtt://broker.invalid", topic: x}
  cloud: {type: http-out, from: few, url: "https://cloud.invalid/{soc_percent}"}
  kept: {type: store-out, from: both, keep: 90d}
  alarms: {type: alarm-out, from: [guard.blocked, exchange.error]}
  show: {type: log, from: way.low}
  errors: {type: on-error}
  states: {type: on-status}
"""


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_a_flow_with_every_type_of_node_asks_for_no_address_and_opens_no_socket(mode: str) -> None:
    flow = EVERY_TYPE.replace("MODE", mode)
    outcome = passes(
        flow,
        """
        stub: STUB
        steps:
          - {emit: web, value: {soc_percent: 20}}
          - {emit: price, value: 50}
          - {advance: 30min}
          - restart
          - {advance: 30min}
        expect: [{from: guard, at_least: 1}, {into: out}, {into: show, never: true}, {into: mirror}, {into: exchange}]
        """.replace("STUB", "{exchange: silence}" if mode == "live" else "{}"),
    )
    used = {spec.kind.name for spec in outcome.graphs[0].nodes.values()}
    assert used == set(Registry().names)


SOCKETS = {
    "connects": 'socket.create_connection(("203.0.113.7", 80), timeout=1).close()',
    "asks-for-a-name": 'socket.getaddrinfo("server.invalid", 80)',
    "reaches-this-machine": 'socket.create_connection(("127.0.0.1", 9), timeout=1).close()',
    "listens": 'socket.create_server(("127.0.0.1", 0)).close()',
    "sends-a-datagram": 'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("203.0.113.7", 53))',
}
NODE = '''\
"""talker: says something to somebody."""

import socket

from flowrunner.message import Message
from flowrunner.node import Context, Node, NodeOptions


class Talker(Node):
    """It does not go by the contract."""

    class Options(NodeOptions, kw_only=True):
        """None."""

    options: Options

    def process(self, message: Message, ctx: Context) -> Message:
        TALK
        return message
'''
TALKING = """\
flow: talking
nodes:
  go: {type: http-in, route: POST /x, body: {x: {type: number}}}
  talk: {type: talker, from: go}
  show: {type: log, from: talk}
"""


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of the node, whose socket the wall stops half-way
@pytest.mark.parametrize("how", SOCKETS)
def test_a_node_in_the_middle_that_opens_a_socket_is_stopped_and_the_test_fails(how: str, tmp_path: Path) -> None:
    (tmp_path / "talker.py").write_text(NODE.replace("TALK", SOCKETS[how]), encoding="utf-8")
    body = "steps: [{emit: go, value: {x: 1}}]\nexpect: [{from: go}, {from: talk, never: true}]"
    outcome = told(TALKING, body, registry=Registry([tmp_path]))
    (failure,) = outcome.failures
    assert failure.where == "flow.test.yaml:2:11"
    assert "a node tried to reach" in failure.lines[0]
    assert "stub that node" in failure.lines[0]
    passes(TALKING, f"stub: {{talk: accepts}}\n{body.replace(', never: true', '')}", registry=Registry([tmp_path]))


def test_behind_the_wall_the_network_is_as_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with walled() as tried, pytest.raises(OSError, match="a test touches no network"):
            socket.create_connection(server.getsockname())
        assert list(tried) == ["127.0.0.1"]
        socket.create_connection(server.getsockname()).close()


def test_the_environment_of_the_machine_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = TALKING.replace("talker", "scale").replace("from: go}", 'from: go, fields: {x: {factor: "${FACTOR:-2}"}}}')
    monkeypatch.setenv("FACTOR", "1000")
    found = suite(flow, case("steps: [{emit: go, value: {x: 3}}]\nexpect: [{from: talk, equals: {x: 6}}]"))
    (trial,) = found.trials
    assert play(trial, Registry()).ok


def test_the_wall_is_one_hook_however_many_tests_run() -> None:
    """An audit hook can never be taken away again: each one would slow the interpreter down."""
    added: list[str] = []
    sys.addaudithook(lambda event, _: added.append(event) if event == "sys.addaudithook" else None)
    for _ in range(5):
        with walled():
            pass
    assert len(added) <= 1
