"""Whatever is written into labels, payloads, errors, reasons and names is shown as text, on all pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import Looking
from tests.browser.rig import Station
from tests.browser.rig import station as run_station

IMAGE = "<img src=/x onerror=document.title='hit'>"
SCRIPT = "</script><script>document.title='hit'</script>"
LINK = "javascript:document.title='hit'"
QUOTE = "\"'><svg onload=document.title='hit'>"
ALL = (IMAGE, SCRIPT, LINK, QUOTE, "<!--<script>", "{{7*7}}${7*7}", "\u202egnp.exe")
FLOW = f"""
flow: hostile
title: {{en: {json.dumps(IMAGE + SCRIPT)}, de: {json.dumps(SCRIPT)}}}
nodes:
  rest:
    type: http-in
    note: {json.dumps(SCRIPT + IMAGE + QUOTE)}
    route: POST /values
    body: {{soc_percent: {{min: 0, max: 100, unit: "%"}}, name: {{type: text}}}}
    reply: {{json: {{status: {json.dumps(SCRIPT)}}}}}
  hand: {{type: manual-in, fields: {{soc_percent: {{min: 0, max: 100, unit: "%"}}}}, expires_after: 1h}}
  record: {{type: merge, from: [rest, hand], manual: override, stale_after: 90s}}
  hot: {{type: threshold, from: record, field: soc_percent, above: 50}}
  alarms: {{type: alarm-out, from: [hot.above, rest.error], text: {json.dumps(IMAGE + QUOTE)}}}
  history: {{type: store-out, from: record, keep: 1d}}
# {SCRIPT}{IMAGE}
dashboard:
  tiles:
    - {{tile: value, from: record, field: soc_percent, title: {json.dumps(IMAGE + QUOTE)}}}
    - {{tile: value, from: record, field: name, title: {{en: {json.dumps(SCRIPT)}, de: {json.dumps(LINK)}}}}}
    - {{tile: chart, span: 24h, title: {json.dumps(IMAGE)}, series: [{{from: record, field: soc_percent, title: {json.dumps(SCRIPT)}}}]}}
    - {{tile: form, from: hand, title: {json.dumps(QUOTE)}}}
    - {{tile: text, text: {json.dumps(IMAGE + SCRIPT)}}}
    - {{tile: alarms}}
    - {{tile: events}}
"""  # noqa: E501  (a flow file, as it is)
HIT = """() => [
  document.title.includes("hit") && !document.title.includes("'hit'") ? "a script ran" : "",
  ...[...document.querySelectorAll("img, svg[onload], [onerror], iframe, object, embed, base")].map((one) => one.outerHTML),
  ...[...document.querySelectorAll("a[href], form[action]")].filter((one) =>
    /^\\s*(javascript|data|vbscript):/i.test(one.getAttribute("href") ?? one.getAttribute("action"))).map((one) => one.outerHTML),
].filter(Boolean)"""  # noqa: E501  (JavaScript)


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with run_station(tmp_path_factory.mktemp("hostile"), text=FLOW) as running:
        assert running.post("/values", {"soc_percent": 66.6, "name": IMAGE + SCRIPT}).status_code == 200
        for one in ALL:
            assert running.post("/values", {one: 1}).status_code >= 400
            assert running.post("/values", {"soc_percent": one}).status_code >= 400
            entry = {"values": {"soc_percent": 55}, "reason": one, "by": one}
            answer = running.post("/api/v1/flows/hostile/nodes/hand/values", entry)
            assert answer.status_code == 200, answer.text
            assert running.post("/api/v1/trading/stop", {"reason": one, "by": one}).status_code == 200
        yield running


def unharmed(page: Page) -> None:
    assert page.evaluate(HIT) == []


PAGES = ("/", "/flows/hostile", "/flows/hostile#node=rest", "/events", "/events?kind=entry", "/system")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("lang", ["en", "de"])
def test_pages_show_it_as_text(visit: Visit, path: str, lang: str) -> None:
    page = visit(path, lang=lang)
    expect(page.locator("main")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("Live")  # scripts have run
    unharmed(page)


def test_it_is_there_to_be_read(visit: Visit) -> None:
    """Shown, not left out: a person must see what came."""
    page = visit("/")
    expect(page.get_by_text(IMAGE + QUOTE, exact=True).first).to_be_visible()
    expect(page.get_by_text("onerror=document.title").first).to_be_visible()
    page = visit("/events?kind=entry")
    for one in (IMAGE, SCRIPT, LINK):
        expect(page.get_by_text(one).first).to_be_visible()
    page = visit("/flows/hostile")
    expect(page.get_by_text("onerror=document.title").first).to_be_attached()
    unharmed(page)


@pytest.mark.parametrize("one", [IMAGE + SCRIPT + QUOTE, LINK])
def test_addresses(looking: Looking, one: str) -> None:
    looking.allow("Failed to load resource")  # they name nothing: 404
    said, page = quote(one, safe=""), looking.open()
    for path in (f"/flows/{said}", f"/orders/{said}", f"/?flow={said}", f"/events?text={said}&flow={said}",
                 f"/login?next={said}", f"/{said}", f"/flows/hostile#node={said}"):  # fmt: skip
        page.goto(looking.station.url + path)
        expect(page.locator("main")).to_be_visible()
        unharmed(page)


def test_the_tap_shows_payloads_as_text(station: Station, visit: Visit) -> None:
    page = visit("/flows/hostile#node=rest")
    station.until(lambda: station.engine.runtime.workers["hostile/rest"].tap is not None, "the tap is open")
    for one in ALL:
        station.post("/values", {"soc_percent": 12.5, "name": one})
        expect(page.locator("main")).to_contain_text(one.replace("\u202e", "")[:12])
    unharmed(page)


def test_a_refused_reload_is_shown_as_text(station: Station, visit: Visit) -> None:
    page = visit("/flows/hostile")
    try:
        told = station.reload(FLOW.replace("type: threshold", f"type: {json.dumps(IMAGE)}"))
        assert told.result == "refused"
        expect(page.get_by_text("onerror=document").first).to_be_visible()
        unharmed(page)
    finally:
        station.reload(FLOW)
