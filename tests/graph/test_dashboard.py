"""``dashboard:`` in the graph: tiles that are typed and placed, no node that changes by them, a text that hides what is
secret. What is said of mistakes is in ``tests/cases/dashboard-*``."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowrunner.engine import Engine
from flowrunner.flowfile import TILES
from flowrunner.flowfile.dashboard import ChartTile, PowerTile, ValueTile
from flowrunner.graph import Graph, Output, change, check_flows
from flowrunner.logs import MASK
from flowrunner.registry import Registry
from flowrunner.store import Store

BESS = Path(__file__).resolve().parents[2] / "flows" / "bess.yaml"
REGISTRY = Registry()
NODES = """flow: f
nodes:
  panel: {type: manual-in, fields: {x: {unit: MW}, y: {}}}
  seen: {type: log, from: panel}
"""


def graph_of(text: str, **environment: str) -> Graph:
    checked = check_flows({"f.yaml": text}, environment, REGISTRY)
    assert checked.graph is not None, "\n".join(map(str, checked.problems))
    return checked.graph


# ---- tiles --------------------------------------------------------------------------------------------------------


def test_the_dashboard_that_ships_is_that_of_the_format() -> None:
    head = graph_of(BESS.read_text("utf-8")).flows["bess"]
    assert head.dashboard is not None
    assert [one.tile.tile for one in head.dashboard] == [
        "value", "power", "value", "value", "chart", "why", "form", "orders", "events",
    ]  # fmt: skip
    soc, power = head.dashboard[0], head.dashboard[1]
    assert isinstance(soc.tile, ValueTile)
    assert (soc.tile.field, soc.tile.marks, soc.shows) == ("soc_percent", [30, 70], (Output("bess/telemetry", "out"),))
    assert isinstance(power.tile, PowerTile)
    assert power.tile.limit == 5
    for one in head.dashboard:
        assert isinstance(one.tile.title, dict)
        assert set(one.tile.title) == {"en", "de"}
        assert BESS.read_text("utf-8").splitlines()[one.line - 1].lstrip(" -{").startswith(f"tile: {one.tile.tile}")
    assert head.market is not None
    assert head.market.name == "epex_at"


def test_without_a_dashboard_there_is_none() -> None:
    assert graph_of(NODES).flows["f"].dashboard is None


def test_what_is_not_running_is_left_out() -> None:
    text = NODES.replace("y: {}}}", "y: {}}}\n  off: {type: manual-in, fields: {x: {}}, enabled: false}")
    text += """dashboard:
  tiles:
    - {tile: form, from: off}
    - {tile: chart, series: [{from: off, field: x}, {from: panel, field: x}]}
    - {tile: form, from: panel}
"""
    dashboard = graph_of(text).flows["f"].dashboard
    assert dashboard is not None
    assert [one.shows for one in dashboard] == [(None, Output("f/panel", "out")), (Output("f/panel", "out"),)]
    assert isinstance(dashboard[0].tile, ChartTile)


def test_a_node_of_another_flow_may_be_shown() -> None:
    other = "flow: g\nnodes:\n  out: {type: log, from: f/panel}\ndashboard:\n  tiles:\n"
    other += "    - {tile: value, from: f/panel, field: x}\n"
    checked = check_flows({"f.yaml": NODES, "g.yaml": other}, {}, REGISTRY)
    assert checked.graph is not None
    (tile,) = checked.graph.flows["g"].dashboard or ()
    assert tile.shows == (Output("f/panel", "out"),)


def test_titles_show_no_secret() -> None:
    text = NODES + "dashboard:\n  tiles:\n    - {tile: text, text: 'call ${PHONE}, ${API_KEY}'}\n"
    text = text.replace("{type: log, from: panel}", "{type: http-in, route: GET /x, api_key: '${API_KEY}'}")
    (tile,) = graph_of(text, API_KEY="hidden-key", PHONE="112").flows["f"].dashboard or ()
    assert tile.tile.text == f"call 112, {MASK}"  # type: ignore[union-attr]  # a text tile


@given(st.data())
def test_whatever_a_tile_says_is_refused_or_bound(data: st.DataObject) -> None:
    """Options of any kind in a tile: problems in words, or a tile; never a failure."""
    names = ["tile", "from", "field", "fields", "title", "span", "series", "values", "text", "width", "marks", "unit"]
    words = st.sampled_from([*TILES, "panel", "seen", "x", "y", "z", "24h", "MW", "panel.error", "1"])
    leaves = words | st.integers(-3, 20) | st.none() | st.booleans()
    values = st.recursive(leaves, lambda one: st.lists(one, max_size=2) | st.dictionaries(words, one, max_size=2))
    tile = data.draw(st.dictionaries(st.sampled_from(names), values))
    text = msgspec.json.encode({"tiles": [tile]}).decode()
    checked = check_flows({"f.yaml": f"{NODES}dashboard: {text}\n"}, {}, REGISTRY)
    assert (checked.graph is None) == any(one.severity == "error" for one in checked.problems)
    for one in checked.problems:
        assert one.path.startswith("dashboard")
        assert one.code != "broken-type"


# ---- a change of it -----------------------------------------------------------------------------------------------


def test_a_change_of_the_dashboard_is_no_change_of_a_node() -> None:
    shown = NODES + "dashboard:\n  tiles: [{tile: value, from: panel, field: x}]\n"
    before, after = graph_of(NODES), graph_of(shown)
    assert {one.digest for one in before.nodes.values()} == {one.digest for one in after.nodes.values()}
    assert change(before, after).nothing
    assert before.flows != after.flows


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_reload_publishes_it_and_touches_no_node(anyio_backend: str) -> None:
    engine = Engine(check_flows({"f.yaml": NODES}, {}, REGISTRY), store=Store.open(None))
    await engine.start()
    try:
        nodes = {address: worker.node for address, worker in engine.runtime.workers.items()}
        shown = NODES + "dashboard:\n  tiles: [{tile: value, from: panel, field: x}]\n"
        done = await engine.reload(check_flows({"f.yaml": shown}, {}, REGISTRY))
        assert (done.result, done.generation, done.changed, done.rewired) == ("applied", 2, [], [])
        assert engine.generation == 2
        assert len(engine.graph.flows["f"].dashboard or ()) == 1
        assert all(engine.runtime.workers[address].node is node for address, node in nodes.items())
        refused = await engine.reload(check_flows({"f.yaml": shown.replace("field: x", "field: z")}, {}, REGISTRY))
        assert refused.result == "refused"
        assert len(engine.graph.flows["f"].dashboard or ()) == 1
    finally:
        await engine.stop()


# ---- the text -----------------------------------------------------------------------------------------------------


def shown_text(api_key: str, more: str = "", **environment: str) -> str:
    text = f"""flow: f
nodes:
  # Größe, °C: marks count letters, not bytes
  rest:
    type: http-in
    note: "naïve – ∆"
    route: GET /x
    api_key: {api_key}
{more}"""
    return graph_of(text, **environment).flows["f"].text


@pytest.mark.parametrize(
    ("written", "hidden"),
    [
        ("hunter2-of-the-plant", MASK),
        ("ab", MASK),
        ("'a''b'", MASK),
        ('"a\\"b"', MASK),
        (">-\n      folded\n      twice", MASK),
        ("${KEY:-default-key}", "${KEY:-" + MASK + "}"),
        ("'${KEY:-ab}'", "'${KEY:-" + MASK + "}'"),
        ("x${KEY}y", MASK),
        ("&key abcdef", "&key " + MASK),
    ],
)
def test_a_secret_that_is_written_down_is_masked_where_it_stands(written: str, hidden: str) -> None:
    text = shown_text(written, "    enabled: true\n", KEY="from-outside")
    assert f"    api_key: {hidden}\n" in text
    assert "    enabled: true\n" in text
    assert 'note: "naïve – ∆"' in text
    for part in ("hunter2", "folded", "twice", "default-key", "abcdef"):
        assert part not in text


@pytest.mark.parametrize("written", ["${KEY}", '"${KEY:-}"', "${KEY:?set it}", "'${KEY}'"])
def test_the_name_of_a_secret_is_no_secret(written: str) -> None:
    assert f"    api_key: {written}\n" in shown_text(written, KEY="from-outside")


def test_what_is_secret_is_masked_in_comments_too() -> None:
    assert "was" not in shown_text("was-once-the-key", "    # was-once-the-key\n").replace(MASK, "")
    assert "from-outside" not in shown_text("${KEY}", "    # from-outside\n", KEY="from-outside")


def test_a_text_without_secrets_is_the_file() -> None:
    text = BESS.read_text("utf-8")
    assert graph_of(text).flows["bess"].text == text
