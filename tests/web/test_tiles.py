"""Tiles as pages get them: names, units, limits from the flow; and, where the file has none, tiles made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowrunner.graph import Graph, Output, check_flows
from flowrunner.registry import Registry
from flowrunner.web.dashboard.carried import Ways
from flowrunner.web.dashboard.once import OncePerGraph
from flowrunner.web.dashboard.tiles import Boards, Tile, resolved, watches
from flowrunner.web.live import Watch
from tests.web.site import Site, site

BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"
REGISTRY = Registry()
MODBUS = {"BESS_MODBUS_ENABLED": "true"}


def graph_of(text: str, **environment: str) -> Graph:
    checked = check_flows({"f.yaml": text}, environment, REGISTRY)
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    return checked.graph


@pytest.fixture(scope="module")
def bess() -> Graph:
    return graph_of(BESS.read_text("utf-8"), **MODBUS)


@pytest.fixture(scope="module")
def plain() -> Graph:
    """The same without its dashboard."""
    return graph_of(BESS.read_text("utf-8").partition("\ndashboard:")[0], **MODBUS)


def of_kind(graph: Graph, kind: str, flow: str = "bess") -> list[Tile]:
    return [one for one in resolved(graph, flow)["tiles"] if one["tile"] == kind]


def of(tile: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    return [tile[name] for name in names]


# ---- as the file says it ------------------------------------------------------------------------------------------


def test_what_the_flow_says_is_put_in(bess: Graph) -> None:
    shown = resolved(bess, "bess")
    assert (shown["timezone"], shown["made"]) == ("Europe/Vienna", False)
    assert [one["id"] for one in shown["tiles"]] == list(range(9))
    soc, temperature, price = of_kind(bess, "value")
    (power,) = of_kind(bess, "power")
    known = ("node", "port", "field", "unit", "min", "max", "limit", "marks")
    assert of(soc, known) == ["bess/telemetry", "out", "soc_percent", "%", 0, 100, None, [30, 70]]
    assert of(power, known[3:]) == ["MW", -20, 20, 5, []]
    assert of(temperature, known[3:]) == ["°C", -40, 120, 40, []]
    assert of(price, known[3:]) == ["EUR/MWh", None, None, None, []]
    assert soc["title"] == {"en": "State of charge", "de": "Ladezustand"}


def test_a_chart_says_how_its_lines_are_drawn(bess: Graph) -> None:
    (chart,) = of_kind(bess, "chart")
    assert chart["span"] == 86_400 * 10**9
    drawn = [(one["field"], one["kind"], one["ahead"], one["unit"]) for one in chart["series"]]
    assert drawn == [
        ("price_eur_mwh", "step", True, "EUR/MWh"),
        ("active_power_mw", "bars", False, "MW"),
        ("soc_percent", "line", False, "%"),
    ]


def test_nothing_is_ahead_where_the_value_may_be_another_one() -> None:
    """What a person types of the price is nowhere published."""
    graph = graph_of("""flow: f
market: {name: epex_at}
nodes:
  price: {type: price-in, source: energy-charts, zone: AT}
  hand: {type: manual-in, fields: {price_eur_mwh: {unit: EUR/MWh}}}
  both: {type: merge, from: [price, hand]}
  only: {type: merge, from: price}
  seen: {type: log, from: [both, only]}
""")
    ways = Ways(graph)
    assert list(ways.announcers(Output("f/both", "out"), "price_eur_mwh")) == []
    assert list(ways.announcers(Output("f/only", "out"), "price_eur_mwh")) == ["f/price"]
    assert list(ways.announcers(Output("f/hand", "out"), "price_eur_mwh")) == []


def test_a_form_has_its_fields_with_their_ranges(bess: Graph) -> None:
    (form,) = of_kind(bess, "form")
    assert form["node"] == "bess/manual"
    assert form["expires_after_s"] == 7200
    assert form["overrides"] is False
    (form,) = of_kind(
        graph_of(BESS.read_text("utf-8").replace("stale_after: 90s", "stale_after: 90s\n    manual: override")), "form"
    )
    assert form["overrides"] is True
    assert form["fields"]["temperature_c"] == {
        "title": {"en": "Temperature", "de": "Temperatur"}, "unit": "°C", "min": -40, "max": 120,
    }  # fmt: skip


def test_a_limit_comes_from_the_threshold_that_judges_the_value(bess: Graph) -> None:
    bare = BESS.read_text("utf-8").replace(", limit: 5}", "}")
    without = graph_of(bare)
    assert [one["limit"] for one in (*of_kind(without, "power"), *of_kind(without, "value"))] == [5, None, 40, None]
    other = bare.replace("field: temperature_c\n    above: 40", "field: soc_percent\n    above: 90")
    judged = of_kind(graph_of(other.replace("clear_below: 38", "clear_below: 85")), "value")
    assert [one["limit"] for one in judged] == [90, None, None]


def test_other_tiles() -> None:
    graph = graph_of("""flow: f
title: {en: North}
nodes:
  hand: {type: manual-in, fields: {x: {min: 1, max: 5, unit: kW}, y: {}}}
  seen: {type: log, from: hand}
dashboard:
  tiles:
    - {tile: table, from: hand}
    - {tile: table, from: hand, fields: [y]}
    - {tile: button, from: hand, title: Go, values: {x: 2}}
    - {tile: text, text: {en: Hello, de: Hallo}}
    - {tile: value, from: hand, field: y, unit: kWh, decimals: 0, min: 2, width: 4}
""")
    shown = resolved(graph, "f")
    assert shown["title"] == {"en": "North", "de": "North"}
    all_, one, button, text, value = shown["tiles"]
    assert [(line["field"], line["unit"]) for line in all_["lines"]] == [("x", "kW"), ("y", None)]
    assert [line["field"] for line in one["lines"]] == ["y"]
    assert (button["values"], button["confirm"], [*button["fields"]]) == ({"x": 2}, True, ["x", "y"])
    assert button["title"] == {"en": "Go", "de": "Go"}
    assert text["text"] == {"en": "Hello", "de": "Hallo"}
    assert (value["unit"], value["decimals"], value["min"], value["max"], value["width"]) == ("kWh", 0, 2, None, 4)
    assert [one["line"] for one in shown["tiles"]] == [8, 9, 10, 11, 12]


def test_every_value_that_is_shown_is_watched_once(bess: Graph, plain: Graph) -> None:
    fields = ("soc_percent", "active_power_mw", "temperature_c")
    values = {Watch("bess/telemetry", "out", field) for field in fields} | {Watch("bess/price", "out", "price_eur_mwh")}
    found = watches(bess)
    assert len(found) == len(set(found))
    assert set(found) == values | {Watch("bess/manual", "out", field) for field in fields}
    assert Watch("bess/price", "out", "price_eur_mwh") in watches(plain)


# ---- made ---------------------------------------------------------------------------------------------------------


def test_without_a_dashboard_one_is_made_from_what_the_flow_emits(plain: Graph) -> None:
    shown = resolved(plain, "bess")
    assert shown["made"]
    values = [(one["node"], one["field"], one["limit"]) for one in shown["tiles"] if one["field"]]
    assert values == [
        ("bess/power-limit", "soc_percent", None),
        ("bess/power-limit", "active_power_mw", 5),
        ("bess/power-limit", "temperature_c", 40),
        ("bess/price", "price_eur_mwh", None),
        ("bess/price", "price_now_eur_mwh", None),
    ]
    assert [one["tile"] for one in shown["tiles"] if not one["field"]] == [
        "chart", "why", "form", "orders", "alarms", "events",
    ]  # fmt: skip
    assert of_kind(plain, "why")[0]["from"] == ["bess/buy", "bess/sell", "bess/guard"]
    assert [one["field"] for one in of_kind(plain, "chart")[0]["series"]] == [
        "soc_percent", "active_power_mw", "temperature_c", "price_eur_mwh",
    ]  # fmt: skip


def test_fields_without_a_well_known_name_are_called_as_they_are() -> None:
    graph = graph_of("""flow: f
nodes:
  one: {type: manual-in, fields: {flow_rate: {unit: l/s}}}
  two: {type: manual-in, fields: {flow_rate: {}}}
  seen: {type: log, from: [one, two]}
""")
    values = of_kind(graph, "value", "f")
    assert [one["title"]["de"] for one in values] == ["flow_rate · one", "flow_rate · two"]
    assert [one["unit"] for one in values] == ["l/s", None]


def test_a_flow_that_says_nothing_of_its_fields_has_events_all_the_same() -> None:
    graph = graph_of(
        "flow: f\nnodes:\n  any: {type: inject, every: 5s, payload: hello}\n  seen: {type: log, from: any}\n"
    )
    assert [one["tile"] for one in resolved(graph, "f")["tiles"]][-1] == "events"


# ---- where a value goes -------------------------------------------------------------------------------------------


def test_a_value_is_followed_as_long_as_it_is_the_same(bess: Graph) -> None:
    found = Ways(bess).carriers(Output("bess/telemetry", "out"), "soc_percent")
    assert found[Output("bess/state", "out")] == ("soc_percent", 3)
    assert Output("bess/price", "out") not in found
    assert Output("bess/guard", "out") not in found  # an order is another record
    (keeper,) = Ways(bess).keepers(Output("bess/telemetry", "out"), "soc_percent")
    assert keeper == ("bess/history", "state.out", "soc_percent", 3)


def test_a_value_that_is_one_of_several_is_not_followed(bess: Graph) -> None:
    """A record of telemetry may hold the meter's value, or the one that a person typed."""
    assert Ways(bess).keepers(Output("bess/modbus-units", "out"), "soc_percent") == []


SCALED = """flow: f
nodes:
  raw: {{type: manual-in, fields: {{x: {{unit: kW}}, y: {{}}}}}}
  made: {{type: {made}}}
  history: {{type: store-out, from: made}}
"""


@pytest.mark.parametrize(
    ("made", "kept"),
    [
        ("scale, from: raw, fields: {x: {factor: 0.001, unit: MW}}", {"y": "y"}),
        ("scale, from: raw, fields: {x: {factor: 0.001}}", {"y": "y"}),
        ("scale, from: raw, fields: {x: {factor: 1, min: 0}}", {"x": "x", "y": "y"}),
        ("compute, from: raw, fields: {twice: x * 2}", {"x": "x", "y": "y"}),
        ("select, from: raw, fields: {power: x}", {"x": "power"}),
        ("select, from: raw, fields: [y]", {"y": "y"}),
        ("filter, from: raw, when: x > 1", {"x": "x", "y": "y"}),
        ("threshold, from: raw, field: x, above: 1", {"x": "x", "y": "y"}),
    ],
)
def test_what_a_node_makes_anew_is_another_value(made: str, kept: dict[str, str]) -> None:
    graph = graph_of(SCALED.format(made=made))
    found: dict[str, Any] = {}
    for field in ("x", "y"):
        for keeper in Ways(graph).keepers(Output("f/raw", "out"), field):
            found[field] = keeper.field
    assert found == kept


def test_the_nearest_keeper_comes_first() -> None:
    graph = graph_of("""flow: f
nodes:
  raw: {type: manual-in, fields: {x: {}}}
  far: {type: merge, from: raw}
  late: {type: store-out, from: far}
  near: {type: store-out, from: raw}
""")
    assert [one.address for one in Ways(graph).keepers(Output("f/raw", "out"), "x")] == ["f/near", "f/late"]


# ---- the route ----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_route_gives_the_tiles(web: Site) -> None:
    answer = await web.http.get("/api/v1/flows/site/dashboard")
    assert answer.status_code == 200
    assert answer.json() == resolved(web.engine.graph, "site")
    missing = await web.http.get("/api/v1/flows/nowhere/dashboard")
    assert missing.status_code == 404
    assert missing.json()["detail"] == "there is no flow 'nowhere'"


@pytest.mark.anyio
async def test_a_reload_of_the_tiles_alone_is_seen(tmp_path: Path) -> None:
    text = "flow: site\nnodes:\n  hand: {type: manual-in, fields: {x: {}}}\n  seen: {type: log, from: hand}\n"
    async with site(text, folder=tmp_path) as web:
        before = web.node("hand")
        assert (await web.http.get("/api/v1/flows/site/dashboard")).json()["made"]
        shown = text + "dashboard:\n  tiles: [{tile: text, text: hello}]\n"
        (tmp_path / "site.yaml").write_text(shown, "utf-8")
        assert (await web.http.post("/api/v1/reload")).json()["result"] == "applied"
        tiles = (await web.http.get("/api/v1/flows/site/dashboard")).json()["tiles"]
        assert [one["tile"] for one in tiles] == ["text"]
        assert web.node("hand") is before


def test_a_dashboard_is_made_once_for_each_graph(bess: Graph, plain: Graph) -> None:
    boards = OncePerGraph(Boards)
    first = boards.of(bess).of("bess")
    assert boards.of(bess).of("bess") is first
    assert first == resolved(bess, "bess")
    assert boards.of(plain).of("bess")["made"]  # another graph, as a reload brings it
    assert boards.of(bess).of("bess") is not first


def test_a_per_cent_has_its_bounds_and_no_other_unit_has_any_unless_told() -> None:
    graph = graph_of("""flow: f
nodes:
  hand: {type: manual-in, fields: {a: {unit: "%"}, b: {unit: "%", min: 20}, c: {unit: MW}, d: {unit: "%", max: 150}}}
  seen: {type: log, from: hand}
""")
    found = {one["field"]: (one["min"], one["max"]) for one in of_kind(graph, "value", "f")}
    assert found == {"a": (0, 100), "b": (20, 100), "c": (None, None), "d": (0, 150)}
