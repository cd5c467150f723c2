"""The dashboard in a real browser: what the server wrote and what scripts say is the same; chart, stories, alarms."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import PHONE, Looking, figure, tile
from tests.browser.rig import Station
from tests.browser.rig import station as run_station

FLOW = """
flow: bess
title: {en: Battery North, de: Speicher Nord}
timezone: Europe/Vienna
nodes:
  rest:
    type: http-in
    route: POST /api/bess/telemetry
    body:
      soc_percent: {min: 0, max: 100, unit: "%"}
      active_power_mw: {min: -20, max: 20, unit: MW}
      temperature_c: {min: -40, max: 120, unit: °C}
  manual: {type: manual-in, fields: {soc_percent: {min: 0, max: 100, unit: "%"}}, expires_after: 2h}
  telemetry: {type: merge, from: [rest, manual], stale_after: 90s}
  hot: {type: threshold, from: telemetry, field: temperature_c, above: 40}
  history: {type: store-out, from: telemetry, keep: 90d}
  alarms: {type: alarm-out, from: hot.above, text: it is hot}
dashboard:
  tiles:
    - {tile: value, from: telemetry, field: soc_percent, marks: [30, 70]}
    - {tile: power, from: telemetry, field: active_power_mw, limit: 5}
    - {tile: value, from: telemetry, field: temperature_c}
    - tile: chart
      series: [{from: telemetry, field: soc_percent}, {from: telemetry, field: active_power_mw}]
    - {tile: why, from: hot}
    - {tile: button, from: manual, title: {en: Half full, de: Halb voll}, values: {soc_percent: 50}}
    - {tile: table, from: telemetry, fields: [soc_percent, temperature_c]}
    - {tile: events}
"""
PARTS = """() => Object.fromEntries([...document.querySelectorAll("article.tile, tr.line")].map((one) => [
  one.id || one.dataset.line,
  [one.className.replace(/ +/g, " ").trim(), ...[...one.querySelectorAll("[data-part]")]
    .filter((part) => !["age", "bar", "spark"].includes(part.dataset.part))
    .map((part) => `${part.dataset.part}: ${part.textContent.replace(/\\s+/g, " ").trim()}`),
   ...[...one.querySelectorAll(".fill")].map((fill) => [fill.getAttribute("class").trim(),
     ...["x", "width"].map((name) => Math.round(fill.getAttribute(name)))].join(" "))]]))"""


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with run_station(tmp_path_factory.mktemp("station"), text=FLOW) as running:
        for soc in (60.0, 62.5, 64.2):
            running.measured(soc=soc, power=2.5)
            running.advance("30s")
        running.measured(soc=64.4, power=-2.5)
        yield running


def live(page: Page) -> None:
    """The stream is there."""
    expect(page.locator(".chip#live.ok")).to_be_visible()


def chart(page: Page) -> Page:
    expect(page.locator("svg.chart")).to_be_visible()
    return page


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize("state", ["fresh", "stale", "none"])
def test_server_and_script_say_the_same(station: Station, looking: Looking, lang: str, state: str) -> None:
    """One of them is Python and one JavaScript; a person must not see which one made the page."""
    if state != "none":
        station.measured(soc=64.4, power=-6.5, temperature=28.3)
    if state == "stale":
        station.advance("20min")  # whole minutes, so that the words stay for a while
    if state == "none":
        station.reload(FLOW.replace("telemetry: {", "other: {").replace("from: telemetry", "from: other"))
    try:
        plain = looking.visit("/", lang=lang, java_script_enabled=False).evaluate(PARTS)
        page = looking.visit("/", lang=lang)
        live(page)
        expect(page.locator("[data-part=source]").first).to_have_attribute("data-said", re.compile("."))
        assert page.evaluate(PARTS) == plain
    finally:
        if state == "none":
            station.reload(FLOW)
            station.measured()


def test_an_open_page_has_the_tiles_of_the_newest_file(station: Station, visit: Visit) -> None:
    page = visit("/")
    live(page)
    expect(tile(page, "temperature_c")).to_contain_text("40")
    try:
        station.reload(FLOW.replace("above: 40", "above: 35"))
        expect(tile(page, "temperature_c")).to_contain_text("35")
    finally:
        station.reload(FLOW)
        station.measured()
    expect(tile(page, "temperature_c")).to_contain_text("40")


def test_a_chart_has_its_lanes_its_now_and_a_table(station: Station, visit: Visit) -> None:
    page = chart(visit("/?span=day"))
    said = page.locator("svg.chart .lane").all_text_contents()
    assert said == ["Power MW", "State of charge %"]
    expect(page.locator("svg.chart .now")).to_have_count(1)
    expect(page.locator("svg.chart .lim")).to_have_count(2)  # the marks of the tile that shows the same value
    expect(page.locator("svg.chart rect.bc").first).to_be_attached()
    page.locator("details.values summary").click()
    expect(page.locator("details.values thead th")).to_have_text(["Time", "State of charge %", "Power MW"])


def test_a_gap_is_hatched_and_says_how_long_it_was(station: Station, visit: Visit) -> None:
    for _ in range(4):
        station.measured(soc=50.0)
        station.advance("30s")
    station.advance("36min")
    for _ in range(4):
        station.measured(soc=55.0)
        station.advance("30s")
    page = chart(visit("/?span=24h"))
    expect(page.locator("svg.chart .gap-text", has_text=re.compile(r"Gap 3\d min"))).to_have_count(1)
    expect(page.locator("svg.chart .gap-line").first).to_be_attached()


def test_another_period_is_another_address(station: Station, visit: Visit) -> None:
    page = chart(visit("/"))
    expect(page.locator("[data-span='24h']")).to_have_attribute("aria-current", "true")  # the tile's own
    with page.expect_response(lambda answer: "span=7d" in answer.url and "tile=" in answer.url):
        page.get_by_role("link", name="7 days").click()
    expect(page.locator("[data-span='7d']")).to_have_attribute("aria-current", "true")
    assert "span=7d" in page.url
    expect(page.locator("svg.chart .now")).to_have_count(0)  # it ends there
    page.reload()
    expect(page.locator("[data-span='7d']")).to_have_attribute("aria-current", "true")


def test_the_chart_is_read_by_pointer_and_by_keys(station: Station, visit: Visit) -> None:
    station.measured(soc=64.4, power=2.5)
    page = chart(visit("/?span=day"))
    live(page)
    plot = page.locator(".plot")
    plot.focus()
    page.keyboard.press("ArrowLeft")
    tip = page.locator(".tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("State of charge")
    page.keyboard.press("Home")
    expect(tip).to_contain_text("00:00")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    expect(tip).to_be_visible()


def test_an_alarm_is_acknowledged_where_it_is_said(station: Station, visit: Visit) -> None:
    page = visit("/")
    live(page)
    station.measured(temperature=44.5)
    banner = page.locator("#standing .banner", has_text="it is hot")
    expect(banner).to_be_visible()
    expect(page.locator("section", has_text="Events").locator(".ev")).to_contain_text("it is hot")
    expect(page.locator(".why")).to_contain_text("above the limit")
    banner.get_by_role("button", name="Acknowledge").click()
    expect(banner).to_have_count(0)
    (alarm,) = station.http.get(f"{station.url}/api/v1/alarms").json()
    assert alarm["acknowledged_at"] is not None
    station.measured()


def test_a_button_asks_and_enters(station: Station, visit: Visit) -> None:
    station.measured()
    station.advance("3min")
    page = visit("/")
    live(page)
    page.get_by_role("button", name="Half full").click()
    expect(page.locator("dialog[open]")).to_contain_text("State of charge: 50.0 %")
    page.locator("dialog[open] [type=submit]").click()
    expect(figure(page, "soc_percent")).to_have_text("50.0")
    expect(tile(page, "soc_percent")).to_have_class(re.compile(r"\bman\b"))
    line = page.locator("tr.line").first
    expect(line.locator("[data-part=figure]")).to_have_text("50.0")
    expect(line.locator("[data-part=source]")).to_contain_text("Manual entry")
    station.http.post(
        f"{station.url}/api/v1/flows/bess/nodes/manual/values", json={"values": {"soc_percent": None}, "reason": "test"}
    )
    station.measured()


def test_a_banner_can_be_put_away_and_comes_again(station: Station, visit: Visit) -> None:
    station.measured()
    page = visit("/")
    live(page)
    banners = page.locator("#banners .banner")
    expect(banners).to_have_count(0)
    station.advance("3min")
    expect(banners).to_have_count(1)  # one for all values of that source
    expect(banners).to_contain_text("State of charge, Power and Temperature are stale.")
    expect(page.locator("#said")).to_contain_text("are stale.")
    banners.get_by_role("button", name="Hide").click()
    expect(banners).to_have_count(0)
    station.measured()
    expect(tile(page, "soc_percent")).not_to_have_class(re.compile(r"\bstale\b"))
    station.advance("3min")
    expect(banners).to_have_count(1)
    station.measured()


def test_on_a_phone_tiles_stand_two_by_two(station: Station, visit: Visit) -> None:
    page = chart(visit("/", PHONE))
    first, second, third = (page.locator("article.tile").nth(place).bounding_box() for place in range(3))
    assert first
    assert second
    assert third
    assert first["y"] == second["y"]
    assert third["width"] > 2 * first["width"]  # the last of three takes the row
    shown = page.locator("svg.chart").bounding_box()
    assert shown is not None
    assert shown["width"] <= PHONE
    small = page.evaluate("parseFloat(getComputedStyle(document.querySelector('svg.chart text')).fontSize)")
    assert small >= 10, "drawn for this width, not shrunk to it"


@pytest.fixture(scope="module")
def trading(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """The flow of the battery, with an order."""
    with run_station(tmp_path_factory.mktemp("orders")) as running:
        running.order = running.trade()
        yield running


def test_an_order_tells_its_story(browser: Browser, trading: Station) -> None:
    order, looking = trading.order, Looking(browser, trading)
    page = looking.visit("/")
    live(page)
    link = page.locator("a.order")
    expect(link).to_have_attribute("aria-expanded", "false")
    link.click()
    story = page.locator(f"[data-story='{order}']")
    expect(story).to_contain_text(order)
    expect(story).to_contain_text("soc_percent > 70: 82")
    expect(story).to_contain_text("paper")
    expect(link).to_have_attribute("aria-expanded", "true")
    expect(link).to_be_focused()
    expect(page.get_by_role("heading", name="Why sell now?")).to_be_visible()
    link.press("Enter")
    expect(story).to_have_count(0)
    looking.close()


def test_on_a_phone_an_order_is_seen_without_scrolling(browser: Browser, trading: Station) -> None:
    looking = Looking(browser, trading)
    page = looking.visit("/", PHONE, lang="de")
    table = page.locator("table.orders")
    expect(table.locator(".chip")).to_be_visible()
    box, card = table.bounding_box(), page.locator("section", has=table).bounding_box()
    assert box is not None
    assert card is not None
    assert card["x"] <= box["x"] <= box["x"] + box["width"] <= card["x"] + card["width"]
    for cell in table.locator("tbody td:visible").all():
        own = cell.bounding_box()
        assert own is not None
        assert own["x"] + own["width"] <= card["x"] + card["width"]
    unit = "getComputedStyle(document.querySelector('.orders td.price'), '::after').content"
    assert "€/MWh" in page.evaluate(unit)
    assert page.locator("section .scroll", has=table).evaluate("(one) => one.scrollWidth <= one.clientWidth")
    looking.close()


def test_the_switch_says_what_it_would_do(browser: Browser, trading: Station) -> None:
    looking = Looking(browser, trading)
    page = looking.visit("/")
    live(page)
    switch = page.locator("#switch")
    expect(switch.locator("use")).to_have_attribute("href", re.compile("#i-stop$"))
    assert trading.post("/api/v1/trading/stop", {"reason": "a test", "by": "otto"}).status_code == 200
    expect(switch).to_contain_text("Resume trading")
    expect(switch.locator("use")).to_have_attribute("href", re.compile("#i-play$"))
    expect(page.locator("#banners")).to_contain_text(re.compile(r"By otto, \d\d:\d\d: a test"))
    assert trading.post("/api/v1/trading/resume", {"reason": "over", "by": "otto"}).status_code == 200
    expect(switch.locator("use")).to_have_attribute("href", re.compile("#i-stop$"))
    looking.close()


# ---- several sites ---------------------------------------------------------------------------------------------------

SITES = """
flow: sites
timezone: Europe/Vienna
nodes:
  rest:
    type: http-in
    key: "{site}"
    route: POST /values
    body: {site: {type: text}, soc_percent: {min: 0, max: 100, unit: "%"}}
  telemetry: {type: merge, from: rest, stale_after: 90s}
  history: {type: store-out, from: telemetry, keep: 90d}
dashboard:
  tiles:
    - {tile: value, from: telemetry, field: soc_percent}
    - {tile: table, from: telemetry, fields: [soc_percent]}
    - {tile: chart, span: 7d, series: [{from: telemetry, field: soc_percent}]}
    - {tile: chart, span: 24h, series: [{from: telemetry, field: soc_percent}]}
"""


@pytest.fixture(scope="module")
def sites(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with run_station(tmp_path_factory.mktemp("sites"), text=SITES) as running:
        yield running


def tell(sites: Station, site: str, soc: float) -> None:
    answer = sites.post("/values", {"site": site, "soc_percent": soc})
    assert answer.status_code == 200, answer.text


def test_values_of_two_sites_are_never_one_figure(browser: Browser, sites: Station) -> None:
    for _ in range(3):
        tell(sites, "south", 30.5)
        tell(sites, "north", 64.2)
        sites.advance("30s")
    tell(sites, "south", 31.0)
    looking = Looking(browser, sites)
    plain, page = looking.visit("/", java_script_enabled=False), looking.visit("/")
    live(page)
    tell(sites, "north", 65.0)
    tell(sites, "south", 32.0)
    expect(page.locator("article.tile .others")).to_contain_text("32.0 %")
    for one, values in ((plain, ("64.2", "31.0 %")), (page, ("65.0", "32.0 %"))):
        first = one.locator("article.tile")  # the first by name stands large, whoever was heard last
        expect(first.locator("[data-part=key]")).to_have_text("north")
        expect(first.locator("[data-part=figure]")).to_have_text(values[0])
        expect(first.locator(".others li")).to_have_count(1)
        expect(first.locator(".others .key")).to_have_text("south")
        expect(first.locator(".others b")).to_have_text(values[1])
        expect(one.locator("tr.line [data-part=key]")).to_have_text("south")
    first = page.locator(".graph").first
    assert sorted(first.locator(".keys span").all_text_contents()) == ["State of charge north", "State of charge south"]
    expect(first.locator("svg.chart path.soc")).to_have_count(1)
    expect(first.locator("svg.chart path.tone-1")).to_have_count(1)
    looking.close()


def test_one_silent_site_is_said_to_be_stale_while_the_other_is_heard(browser: Browser, sites: Station) -> None:
    looking = Looking(browser, sites)
    page = looking.visit("/")
    live(page)
    one = page.locator("article.tile")
    tell(sites, "north", 65.0)
    tell(sites, "south", 31.0)
    expect(one.locator(".others b")).to_have_text("31.0 %")
    sites.advance("3min")
    tell(sites, "south", 31.5)
    expect(one).to_have_class(re.compile(r"\bstale\b"))
    expect(one.locator(".others li")).not_to_have_class("stale")
    expect(page.locator("#banners")).to_contain_text("State of charge (north) is stale.")
    looking.close()


def test_each_chart_opens_on_its_own_period(browser: Browser, sites: Station) -> None:
    tell(sites, "north", 65.0)
    looking = Looking(browser, sites)
    page = looking.visit("/")
    expect(page.locator("svg.chart")).to_have_count(2)
    expect(page.locator("[data-span][aria-current]")).to_have_count(0)  # they have none in common
    lengths = page.evaluate(
        """() => [...document.querySelectorAll("[data-part=series]")].map((one) => {
          const {from, to} = JSON.parse(one.textContent);
          return (to - from) / 3600e3;
        })"""
    )
    assert lengths == [7 * 24, 24]
    page.locator("[data-span='30d']").click()
    expect(page.locator("[data-span='30d']")).to_have_attribute("aria-current", "true")
    looking.close()


# ---- time, language, no script ---------------------------------------------------------------------------------------


def test_ages_are_of_the_flows_time(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A simulated world may run a hundred times as fast, also between two frames of the stream."""
    with run_station(tmp_path_factory.mktemp("quick"), text=FLOW, speed=100) as running:
        running.measured()
        looking = Looking(browser, running)
        page = looking.visit("/")
        live(page)
        with running.frozen():
            passed = page.evaluate(
                """async () => {
                  const shell = document.querySelector("script[src*='shell.js']").src;
                  const {live} = await import(shell.replace("shell.js", "live.js"));
                  const flow = live.now(), real = performance.now();
                  await new Promise((go) => setTimeout(go, 300));
                  return (live.now() - flow) / (performance.now() - real);
                }"""
            )
        assert passed == pytest.approx(100, rel=0.05)
        looking.close()


def test_without_scripts_a_chart_is_its_table(station: Station, visit: Visit) -> None:
    station.measured()
    page = visit("/", java_script_enabled=False)
    expect(page.locator(".graph noscript")).to_be_visible()
    expect(page.locator(".graph details table")).to_be_visible()
    box = page.locator(".graph .plot").bounding_box()
    assert box is not None
    assert box["height"] < 40, "no empty room where a drawing would be"
