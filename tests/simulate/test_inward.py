"""No flow finds a way out of the simulated world, whatever its file says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowrunner.graph import Graph, check_flows
from flowrunner.registry import Registry
from flowrunner.simulate import Places, turn_inward
from flowrunner.simulate.inward import NOWHERE
from tests.end_to_end.living import BESS

PLACES = Places(modbus_port=5020, exchange_port=9100, mqtt_port=1883, api_key="of-the-simulation")
OWN = '''
from typing import Annotated
import msgspec
from flowrunner.node import Node, NodeOptions
from flowrunner.schema import Secret

class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str
    what: str = ""

class Own(Node):
    """A type that the user wrote."""

    class Options(NodeOptions):
        host: str = ""
        server_url: str = ""
        servers: list[str] = []
        lines: list[Line] = []
        peers: dict[str, Line] = {}
        text: str = ""
        password: Secret = ""

    options: Options
    inputs = "none"

    async def produce(self, ctx):
        yield ctx.message(1)
'''


def graph(nodes: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> Graph:
    head = "flow: f\nmarket: {name: epex_at, slot: 15min, gate_closure: 5min}\ntimezone: Europe/Vienna\nnodes:\n"
    registry = Registry([] if folder is None else [folder])
    checked = check_flows({"f.yaml": head + nodes}, environment or {}, registry, simulated=True)
    assert checked.graph is not None, checked.problems
    return checked.graph


def turned(nodes: str, folder: Path | None = None, places: Places = PLACES, **environment: str) -> tuple[Any, str, Any]:
    """Options of node ``a``, what was said, and what pages show of it."""
    found = graph(nodes, folder, environment)
    said = turn_inward(found, places)
    assert len(said) <= 1
    node = found.nodes["f/a"]
    return node.node.options, "".join(said), node.shown


@pytest.mark.parametrize("host", ["192.168.1.100", "battery.example", "127.0.0.1", "localhost", "::1"])
def test_devices(host: str) -> None:
    text = f'  a: {{type: modbus-in, host: "{host}", port: 1502, registers: {{x: {{address: 0}}}}}}'
    options, said, shown = turned(text)
    assert (options.host, options.port) == ("127.0.0.1", 5020)
    assert (shown["host"], shown["port"]) == ("127.0.0.1", 5020)
    assert said.startswith("f/a: host ") == (host != "127.0.0.1")


LOGIN = 'username: bess, password: "${P:-sesame}", ca_file: /ca.pem'


@pytest.mark.parametrize("broker", ["mqtts://broker.example", "mqtts://localhost:8883", "mqtts://10.0.0.7:1"])
@pytest.mark.parametrize(
    "kind",
    [
        "type: mqtt-in, topics: {a/b: {field: x}}",
        "type: mqtt-out, from: t, topic: a/b, expiry: 1min",
    ],
)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_brokers(broker: str, kind: str, protocol: Any) -> None:
    places = msgspec.structs.replace(PLACES, mqtt_protocol=protocol)
    text = f"  t: {{type: inject, every: 1h, payload: 1}}\n  a: {{{kind}, broker: '{broker}', {LOGIN}}}"
    options, said, shown = turned(text, places=places)
    settings = options.settings()
    assert (str(settings.address), settings.username, settings.password) == ("mqtt://127.0.0.1:1883", None, None)
    assert (settings.ca_file, settings.protocol) == (None, protocol)
    assert "expiry" not in kind or (options.expiry is None) == (protocol == "3.1.1")
    assert broker in said
    assert "sesame" not in said + repr(shown)


@pytest.mark.parametrize("url", ["https://exchange.example/v2?key=sesame", "http://user:sesame@localhost:9100"])
@pytest.mark.parametrize("kind", ["orders", "telemetry"])
def test_exchanges(url: str, kind: str) -> None:
    feeder = {
        "telemetry": "  t: {type: manual-in, fields: {soc_percent: {}, active_power_mw: {}, temperature_c: {}}}\n",
        "orders": "  t: {type: manual-in, fields: {soc_percent: {}, price: {unit: EUR/MWh}}}\n"
        "  r: {type: rule, from: t, when: [soc_percent < 30], then: {side: BUY, quantity_mwh: 1.0,"
        " limit_price_eur_mwh: 5}}\n  g: {type: risk-guard, from: r, manual: allow}\n",
    }[kind]
    text = f"{feeder}  a: {{type: exchange-out, from: {'g' if kind == 'orders' else 't'}, send: {kind},"
    options, said, shown = turned(f"{text} url: '{url}', api_key: real-key}}")
    assert (options.url, options.api_key) == ("http://127.0.0.1:9100", "of-the-simulation")
    assert "real-key" not in said + repr(shown)
    assert "of-the-simulation" not in said + repr(shown)
    assert "sesame" not in said


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ("source: entsoe, zone: AT, token: abc", "exchange"),
        ("source: awattar, zone: AT", "exchange"),
        ("source: energy-charts, zone: AT, every: 1h", "exchange"),
        ("source: energy-charts, zone: AT, url: 'http://localhost:8000'", "exchange"),
        ("source: exchange, url: 'https://exchange.example'", "exchange"),
        ("source: csv, file: 'shipped:DE-LU-2024.csv'", "csv"),
    ],
)
def test_prices(options: str, source: str) -> None:
    found, said, _ = turned(f"  a: {{type: price-in, {options}}}")
    assert (found.source, found.url) == (source, "" if source == "csv" else "http://127.0.0.1:9100")
    assert (found.zone, found.token) == ("", "")
    assert bool(said) == (source != "csv")
    node = graph(f"  a: {{type: price-in, {options}}}").nodes["f/a"].node
    node.options = found
    assert list(node.check()) == []


@pytest.mark.parametrize(
    ("options", "goes"),
    [
        ("url: 'https://weather.example/v1?key=sesame'", f"http://{NOWHERE}:9"),
        ("url: 'http://localhost:9000/livez'", "http://localhost:9000/livez"),
        ("url: 'http://localhost:9000/start', method: POST", f"http://{NOWHERE}:9"),
    ],
)
def test_polls(options: str, goes: str) -> None:
    found, said, _ = turned(f"  a: {{type: http-poll, {options}}}")
    assert found.url == goes
    assert "sesame" not in said
    assert ("goes where nothing is" in said) == (NOWHERE in goes)


@pytest.mark.parametrize(
    "url", ["https://cloud.example/{key}", "http://localhost:9000/v", "http://me:sesame@10.0.0.1/"]
)
def test_what_is_sent_to_web_servers_goes_nowhere(url: str) -> None:
    """Behind an address of this machine, too, there may be a tunnel."""
    source = "  b: {type: manual-in, key: north, fields: {x: {}}}\n"
    found, said, _ = turned(f"{source}  a: {{type: http-out, from: b, url: '{url}', ca_file: /ca.pem}}")
    assert (found.url, found.ca_file) == (f"http://{NOWHERE}:9", "")
    assert "goes where nothing is" in said
    assert "sesame" not in said


@pytest.mark.parametrize(
    ("options", "goes"),
    [
        ("host: 10.0.0.1", {"host": NOWHERE}),
        ("host: 10.0.0.1:502", {"host": f"{NOWHERE}:9"}),
        ("host: 'plant'", {"host": NOWHERE}),
        ("host: '2001:db8::1'", {"host": NOWHERE}),
        ("host: '[2001:db8::1]:502'", {"host": f"{NOWHERE}:9"}),
        ("host: 127.0.0.1", {}),
        ("host: '::1'", {}),
        ("server_url: 'opc.tcp://plc.example:4840/x'", {"server_url": f"opc.tcp://{NOWHERE}:9"}),
        ("server_url: 'https://user:sesame@plc.example'", {"server_url": f"https://{NOWHERE}:9"}),
        ("server_url: 'http://[::1]:80/x'", {}),
        ("servers: [localhost, ntp.example]", {"servers": ["localhost", NOWHERE]}),
        ("text: 'http://plant.example is a page'", {}),
    ],
)
def test_types_of_the_user(tmp_path: Path, options: str, goes: dict[str, Any]) -> None:
    (tmp_path / "own.py").write_text(OWN)
    text = f"  a: {{type: own, {options}, password: sesame}}"
    found, said, shown = turned(text, tmp_path)
    before = graph(text, tmp_path).nodes["f/a"].node.options
    assert msgspec.structs.asdict(found) == msgspec.structs.asdict(before) | goes
    assert bool(said) == bool(goes)
    assert "sesame" not in said + repr(shown.get("password"))


def test_places_that_lie_deep(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    text = "  a: {type: own, lines: [{host: a.example, what: b}], peers: {x: {host: localhost}, y: {host: b.example}}}"
    found, _, _ = turned(text, tmp_path)
    assert [(one.host, one.what) for one in found.lines] == [(NOWHERE, "b")]
    assert {name: one.host for name, one in found.peers.items()} == {"x": "localhost", "y": NOWHERE}


def test_no_type_that_ships_is_forgotten() -> None:
    """A new type with an option that names a peer needs a row above."""
    known = {"modbus-in", "mqtt-in", "mqtt-out", "exchange-out", "price-in", "http-out", "http-poll"}
    named = set()
    for name in Registry().names:
        fields = Registry().get(name).cls.Options.__struct_fields__
        if any(re.fullmatch(r".*(host|url|broker|server|address|endpoint).*", one) for one in fields):
            named.add(name)
    assert named == known


def test_the_battery_flow_as_its_environment_names_the_world_is_left_as_it_is() -> None:
    checked = check_flows({"bess.yaml": BESS.read_text()}, PLACES.environment(), Registry(), simulated=True)
    assert checked.graph is not None
    assert turn_inward(checked.graph, PLACES) == []
    assert {"modbus", "mqtt"}.isdisjoint(checked.graph.disabled)
