"""What holds for every page: readable, by keyboard, on a phone, on paper, light, and from this server only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.looking import PHONE, WIDE, Looking, axe_in_both_themes, no_sideways, walk, weight
from tests.browser.rig import NAMES, Station
from tests.browser.rig import station as run_station

PAGES = ("/", "/flows/bess", "/flows/bess#node=buy", "/events", "/events?kind=order", "/orders/{order}", "/system")
MESSAGES = ("/login", "/nothing/here")
BUDGET = 80 * 1024
"""Bytes, gzip, without fonts."""
MOST_QUERIES = {"/": 4, "/flows/bess": 1, "/events": 4, "/system": 2, "/orders/{order}": 3}
"""Statements that the store gets for one page, however much it holds: all kinds of events are read by one."""
REFUSED = "Failed to load resource"


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """With something of everything: an order, an alarm that is open, an entry, a refused reload."""
    with run_station(tmp_path_factory.mktemp("pages"), people=True) as running:
        running.order = running.trade()
        running.measured(soc=82.0, power=5.4)  # above the limit: an alarm
        assert running.get("/api/v1/me", "operator").json()["name"] == NAMES["operator"]
        good = running.file.read_text("utf-8")
        assert running.reload(good.replace("type: threshold", "type: treshold", 1)).result == "refused"
        running.file.write_text(good, "utf-8")
        yield running


def shown(looking: Looking, path: str, width: int = WIDE) -> Page:
    """Any of the pages, as who may see all."""
    if path in MESSAGES:
        looking.allow(REFUSED)
    person = "" if path == "/login" else "editor"
    page = looking.visit(path.format(order=looking.station.order), width, person=person)
    expect(page.locator("main")).to_be_visible()
    expect(page.locator("h1").first).to_be_attached()
    return page


@pytest.mark.parametrize("path", PAGES + MESSAGES)
def test_everybody_can_read_and_walk_it(looking: Looking, path: str) -> None:
    """No serious finding of axe in either theme. By Tab every stop can be seen, is in view and has a name; the first
    leads past the navigation; nothing holds one fast."""
    page = shown(looking, path)
    walked = walk(page)
    assert len(walked) >= 2, walked
    if path != "/login":
        assert "Skip to content" in walked[0]
    axe_in_both_themes(page)


@pytest.mark.parametrize("path", PAGES + MESSAGES)
def test_a_phone_needs_no_sideways_scrolling(looking: Looking, path: str) -> None:
    page = shown(looking, path, PHONE)
    for lang in ("en", "de"):
        if lang == "de":
            page.context.add_cookies([{"name": "lang", "value": lang, "url": looking.station.url}])
            page.reload()
        expect(page.locator("html")).to_have_attribute("lang", lang)
        expect(page.locator("main")).to_be_visible()
        no_sideways(page)


@pytest.mark.parametrize("path", ["/", "/flows/bess"])
def test_a_page_weighs_no_more_than_it_may(looking: Looking, path: str) -> None:
    sizes = weight(looking, path, person="editor")
    assert sum(sizes.values()) <= BUDGET, sizes
    assert len(sizes) > 3, "stylesheets and scripts are counted"


@pytest.mark.parametrize("path", MOST_QUERIES)
def test_a_page_asks_the_store_little(station: Station, path: str) -> None:
    station.queries.clear()
    answer = station.get(path.format(order=station.order), "editor")
    assert answer.status_code == 200
    asked = [one for one in station.queries if "data_version" not in one and "inbox" not in one]
    assert len(asked) <= MOST_QUERIES[path], asked


@pytest.mark.parametrize("path", ["/", "/flows/bess", "/events"])
def test_print_and_little_motion_break_nothing(looking: Looking, path: str) -> None:
    page = looking.visit(path, person="editor", motion="no-preference")
    expect(page.locator("h1").first).to_be_attached()
    page.emulate_media(reduced_motion="reduce")
    moving = page.evaluate("document.getAnimations().filter((one) => one.playState === 'running').length")
    assert moving == 0
    page.emulate_media(media="print", reduced_motion="reduce")
    expect(page.locator("main")).to_be_visible()
    cut = page.evaluate(CUT)
    assert cut == [], "on paper nothing scrolls"
    no_sideways(page)


CUT = """() => ["html", "body", ".app", ".page", "main"].filter((name) => {
  const one = document.querySelector(name);
  return getComputedStyle(one).overflowY !== "visible" && one.scrollHeight > one.clientHeight + 1;
})"""
