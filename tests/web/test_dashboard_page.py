"""``/`` as HTML from a real server: what a browser shows before, and without, any script."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import httpx2
import pytest

from flowrunner.engine import Engine
from flowrunner.graph import check_flows
from flowrunner.registry import Registry
from flowrunner.store import Alarms, Store
from flowrunner.store.alarms import Raised
from flowrunner.web import Server, listen
from flowrunner.web.pages import formats
from tests.end_to_end.living import Living, living
from tests.web.eventful import QUIET
from tests.web.site import Site, site

pytestmark = pytest.mark.anyio
EVIL = "<script>alert(1)</script>\"'><!--"
FLOW = f"""
flow: site
title: {{en: Site <b>, de: Anlage <b>}}
timezone: Europe/Vienna
nodes:
  rest:
    type: http-in
    route: POST /values
    body:
      soc_percent: {{min: 0, max: 100, unit: "%"}}
      power_mw: {{min: -20, max: 20, unit: MW}}
      name: {{type: text}}
      count: {{type: integer}}
  hand: {{type: manual-in, fields: {{soc_percent: {{min: 0, max: 100, unit: "%"}}}}, expires_after: 1h}}
  record: {{type: merge, from: [rest, hand], stale_after: 90s}}
dashboard:
  tiles:
    - {{tile: value, from: record, field: soc_percent, marks: [30, 70]}}
    - {{tile: power, from: record, field: power_mw, limit: 5}}
    - {{tile: value, from: record, field: name, title: {json.dumps(EVIL)}}}
    - {{tile: value, from: record, field: count, unit: {json.dumps(EVIL)}}}
    - {{tile: chart, title: {json.dumps(EVIL)}, series: [{{from: record, field: soc_percent}}]}}
    - {{tile: table, from: record, fields: [soc_percent, power_mw]}}
    - {{tile: form, from: hand}}
    - {{tile: button, from: hand, title: {{en: Half, de: Halb}}, values: {{soc_percent: 50}}}}
    - {{tile: alarms}}
    - {{tile: events}}
    - {{tile: text, text: {json.dumps(EVIL)}}}
"""
VOID = frozenset({"meta", "link", "input", "img", "br", "use", "path", "circle", "rect"})


class Read(HTMLParser):
    """A page: of each ``data-part`` its texts in their order, all text, and every tag that was written."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.parts: dict[str, list[str]] = {}
        self.tiles: list[str] = []
        self.tags: list[str] = []
        self.said: list[str] = []
        self.data: Any = None
        self._open: list[tuple[str, str]] = []
        self._json = False
        self._tab = ""
        self.tabs: dict[str, str] = {}
        """Of the flows: title → address."""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        assert not [name for name in given if name.startswith("on")], given
        self._json = tag == "script" and given.get("id") == "data"
        if tag in VOID:
            return
        part = given.get("data-part", "flows" if given.get("class") == "flows" else "")
        self._open.append((tag, part))
        self._tab = given["href"] if tag == "a" and any(one == "flows" for _, one in self._open) else ""
        if part:
            self.parts.setdefault(part, []).append("")
        if "tile" in given.get("class", "").split():
            self.tiles.append(given["class"])

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._json:
            self.data = json.loads(data)
            self._json = False
            return
        if self._open and self._open[-1][0] in ("script", "style"):
            return
        self.said.append(data)
        if self._tab:
            self.tabs[data] = self._tab
            self._tab = ""
        for _, part in self._open:
            if part:
                self.parts[part][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


async def page(http: httpx2.AsyncClient, path: str = "/", lang: str = "en", status: int = 200) -> Read:
    answer = await http.get(path, headers={"accept": "text/html", "accept-language": lang})
    assert answer.status_code == status, answer.text[:300]
    return Read(answer.text)


@pytest.fixture(scope="module")
async def web() -> AsyncIterator[Site]:
    async with site(FLOW) as running:
        answer = await running.post(json.dumps({"soc_percent": 75.5, "power_mw": -2.5, "name": EVIL, "count": 3}))
        assert answer.status_code == 200
        await running.until(lambda: running.record is not None, "the record is there")
        yield running


async def test_the_page_holds_the_newest_values(web: Site) -> None:
    read = await page(web.http)
    assert read.parts["figure"][:2] == ["75.5", "−2.50"]
    assert read.parts["unit"][:2] == ["%", "MW"]
    assert read.parts["source"][0].split() == ["Automatic", "telemetry", "Automatic", "rest"]  # long, and short
    assert re.fullmatch(r"\d[\d.]* s ago", read.parts["age"][0])
    assert read.parts["sub"][1].split() == ["Charging", "50", "%", "of", "5", "MW"]


async def test_it_speaks_german(web: Site) -> None:
    read = await page(web.http, lang="de")
    assert read.parts["figure"][:2] == ["75,5", "−2,50"]
    assert "Automatische Telemetrie" in read.parts["source"][0]
    assert read.parts["age"][0].startswith("vor ")
    assert "Laden" in read.parts["sub"][1]
    assert "Manuelle Eingabe" in read.text


@pytest.mark.parametrize("lang", ["en", "de"])
async def test_hostile_titles_units_and_payloads_are_text(web: Site, lang: str) -> None:
    read = await page(web.http, lang=lang)
    plain = await page(web.http, "/nothing-here", status=404)
    own = 1  # dashboard.js
    assert read.tags.count("script") == plain.tags.count("script") + own
    assert read.parts["figure"][2] == EVIL
    assert read.text.count(EVIL) >= 4  # titles, the value, the text tile
    assert any(tile["title"]["en"] == EVIL for tile in read.data["tiles"])


async def test_what_no_node_has_given_is_a_dash_with_its_cause() -> None:
    async with site(FLOW) as fresh:
        read = await page(fresh.http)
        assert set(read.parts["figure"]) == {"–"}
        assert set(read.parts["unit"][:4]) == {""}
        assert all("none" in one.split() for one in read.tiles)
        assert read.parts["cause"][0] == "record has given no value yet."
        assert not re.search(r"\d\s*(%|MW)(?! of| to)", " ".join(read.parts["figure"] + read.parts["age"]))


async def test_a_value_by_hand_is_marked_and_an_old_one_is_kept_and_said_to_be() -> None:
    async with site(FLOW, speed=1000) as quick:
        entered = {"values": {"soc_percent": 61}, "reason": "meter is away"}
        path = "/api/v1/flows/site/nodes/hand/values"
        assert (await quick.http.post(path, json=entered)).status_code == 200
        await quick.until(lambda: bool(quick.record), "the entry is there")
        read = await page(quick.http)
        assert "man" in read.tiles[0].split()
        assert "Manual entry" in read.parts["source"][0]
        assert re.fullmatch(r"until \d\d:\d\d", read.parts["age"][0])
        fields = quick.engine.runtime.workers["site/record"].counters.last["out"].fields or {}
        until = fields["soc_percent"].valid_until
        assert until is not None
        await quick.until(lambda: quick.engine.clock.now() >= until, "the entry has expired")
        read = await page(quick.http)
        assert "stale" in read.tiles[0].split()
        assert read.parts["figure"][0] == "61.0"
        assert "stale" in read.parts["source"][0]
        assert read.parts["cause"][0].startswith("It was valid until ")


async def test_one_tile_can_be_had_alone_and_what_is_not_there_is_missing(web: Site) -> None:
    read = await page(web.http, "/?tile=0")
    assert read.parts["figure"] == ["75.5"]
    assert "html" not in read.tags
    await page(web.http, "/?tile=99", status=404)
    await page(web.http, "/?story=nothing", status=404)
    await page(web.http, "/?flow=nothing", status=404)
    await page(web.http, "/dashboards/nothing", status=404)
    assert (await page(web.http, "/dashboards/site")).data["flow"] == "site"
    assert (await page(web.http, "/?span=nothing&orders=nothing")).data["span"] is None


async def test_a_disk_that_cannot_be_read_takes_one_tile_and_not_the_page(caplog: pytest.LogCaptureFixture) -> None:
    """Values, and the switch that stops trading, must be there above all when something is broken."""
    kept = FLOW.replace("dashboard:", "  history: {type: store-out, from: record, keep: 1d}\ndashboard:")
    async with site(kept) as broken:
        await broken.post(json.dumps({"soc_percent": 75.5}))
        await broken.until(lambda: broken.record is not None, "the record is there")
        await broken.engine.store.flush()
        await broken.engine.store.submit(lambda sql: sql.execute("ALTER TABLE history RENAME TO gone"))
        read = await page(broken.http)
        assert read.parts["figure"][0] == "75.5"
        assert "What is kept cannot be read now." in read.text
        assert "no such table: history" in caplog.text
        await broken.engine.store.submit(lambda sql: sql.execute("ALTER TABLE gone RENAME TO history"))


@pytest.mark.parametrize("span", ["day", "24h", "7d", "30d"])
async def test_without_a_store_out_a_chart_says_what_to_write(web: Site, span: str) -> None:
    read = await page(web.http, f"/?span={span}")
    assert "Nothing is kept of this yet." in read.text
    assert "type: store-out, from: record" in read.text


async def test_a_flow_without_a_dashboard_has_a_page_too() -> None:
    async with site(QUIET) as quiet:
        read = await page(quiet.http)
        assert "Nothing has happened yet." in read.text
        assert read.data["tiles"][-1]["tile"] == "events"


async def test_what_concerns_all_flows_stands_among_the_events_of_each() -> None:
    async with site(QUIET) as quiet:
        assert (await quiet.http.post("/api/v1/trading/stop", json={"reason": "storm", "by": "otto"})).is_success
        read = await page(quiet.http)
        assert "Nothing has happened yet." not in read.text
        assert read.text.count("storm") == 2  # in the head, and among the events


async def test_several_flows_have_tabs() -> None:
    checked = check_flows({"quiet.yaml": QUIET, "site.yaml": FLOW}, {}, Registry())
    assert checked.graph is not None
    engine = Engine(checked, store=Store.open(None))
    server = Server(engine, listen("127.0.0.1", 0), {}, "127.0.0.1")
    try:
        await engine.start()
        await server.start()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
            for path, flow in (("/", "quiet"), ("/?flow=site", "site"), ("/dashboards/site", "site")):
                read = await page(http, path)
                assert read.data["flow"] == flow
                assert read.tabs == {"quiet": "/?flow=quiet", "Site <b>": "/?flow=site"}
    finally:
        await server.close()
        await engine.stop()


async def test_an_alarm_can_be_acknowledged_by_who_may(web: Site) -> None:
    raised = Raised(flow="site", node="alarms", wire="rest.error", key="", identity="", severity="critical", text=EVIL,
                    at=web.engine.clock.now())  # fmt: skip
    await Alarms(web.engine.store).add([raised])
    read = await page(web.http)
    assert "Acknowledge" in read.text
    assert read.text.count(EVIL) >= 5


async def test_a_viewer_is_told_why_entries_are_locked() -> None:
    async with site(FLOW, users={"vera": "viewer"}) as closed:
        assert (await closed.http.get("/", headers={"accept": "text/html"})).status_code == 303
        await closed.log_in("vera")
        read = await page(closed.http)
        assert read.parts["locked"] == ["Your role is viewer. Entries need the role operator."]
        assert "This needs the role operator." in read.text
        answer = await closed.http.get("/", headers={"accept": "text/html"})
        assert re.search(r"<fieldset[^>]* disabled data-denied", answer.text)
        assert "signed in: vera" in read.text


TRADING = """flow: site
market: {name: epex_at, slot: 15min, gate_closure: 5min}
nodes:
  hand: {type: manual-in, fields: {x: {}}}
  buy: {type: rule, from: hand, when: x > 1, then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: x}}
  guard: {type: risk-guard, from: buy}
  orders: {type: log, from: guard}
"""


async def test_a_viewer_is_told_why_the_switch_is_locked() -> None:
    async with site(TRADING, users={"vera": "viewer", "otto": "operator"}) as closed:
        why = "Only the roles operator and editor may stop or resume trading."
        await closed.log_in("vera")
        assert why in (await page(closed.http)).text  # in words, not only where a pointer rests
        await closed.log_in("otto")
        assert why not in (await page(closed.http)).text


# ---- the battery: flows/bess.yaml --------------------------------------------------------------------------------


@pytest.fixture
async def bess(tmp_path: Any) -> AsyncIterator[Living]:
    async with living(tmp_path) as running:
        await running.until(lambda: bool(running.seen.get("price")), "a price is there")
        yield running


async def test_orders_their_stories_and_why(bess: Living) -> None:
    """The price of the simulated exchange is 90: nothing is traded, and the card says why."""
    await bess.post({"soc_percent": 22.4, "active_power_mw": 1.5, "temperature_c": 25})
    await bess.until(lambda: bool(bess.seen.get("state")), "the record is there")
    read = await page(bess.http, lang="de")
    assert "Warum nicht gehandelt wird" in read.text
    assert "22,4 % < 30" in read.text
    assert "90,00 €/MWh ≤ 60" in read.text
    assert "Noch keine Orders." in read.text
    assert "Handel stoppen" in read.text


async def test_a_stop_is_said_in_the_head(bess: Living) -> None:
    stopped = await bess.http.post("/api/v1/trading/stop", json={"reason": EVIL, "by": "otto"})
    assert stopped.status_code == 200
    read = await page(bess.http)
    stop = bess.engine.trading.switch.stopped
    assert stop is not None
    assert stop.since is not None
    at = formats.clock(stop.since, "Europe/Vienna", "en")
    assert f"Trading is stopped. By otto, {at}: {EVIL}" in read.text
    assert "Resume trading" in read.text
    switch = (await bess.http.get("/", headers={"accept": "text/html"})).text.partition('id="switch"')[2][:400]
    assert "i-play" in switch.partition("</button>")[0]


async def test_exchange_broker_and_device_away_no_number_that_was_not_measured(tmp_path: Any) -> None:
    """The system that this one replaces showed 72.5 % then, and called it a manual entry."""
    nowhere = {"EXCHANGE_URL": "http://127.0.0.1:9", "BESS_MQTT_ENABLED": "true", "BESS_MQTT_PORT": "9",
               "BESS_MODBUS_ENABLED": "true", "BESS_MODBUS_HOST": "127.0.0.1", "BESS_MODBUS_PORT": "9"}  # fmt: skip
    async with living(tmp_path, environment=nowhere) as away:
        price = away.engine.runtime.workers["bess/price"].counters
        await away.until(lambda: price.connected is False, "the exchange is away")
        for lang in ("en", "de"):
            read = await page(away.http, lang=lang)
            assert read.parts["figure"] == ["–"] * 4
            assert set(read.parts["age"]) == {""}
            assert all("none" in one.split() for one in read.tiles)
            assert not re.search("72[.,]5", read.text)
            assert not any("man" in one.split() for one in read.tiles)
            assert "price" in read.parts["cause"][3]
