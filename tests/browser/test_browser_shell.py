"""What stands around every page, in a real browser: theme, language, menu, keyboard, phone, paper, one stream a tab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import PHONE, Looking, sideways
from tests.browser.rig import Station
from tests.peers.until import until_elsewhere

PLACE = "/events"
PATIENCE_S = 10.0
LIVE = "(await import(document.querySelector('script[src*=\"/shell.js\"]').src.replace('shell.js', 'live.js'))).live"
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def background(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


def live_chip(page: Page) -> None:
    expect(page.locator("#live")).to_have_class(re.compile(r"\bok\b"))


def readers(station: Station) -> int:
    found: int = station.inside(lambda: len(station.server.hub._readers))
    return found


def until(station: Station, count: int) -> None:
    until_elsewhere(lambda: readers(station) == count, lambda: readers(station), PATIENCE_S)


def test_the_theme_is_the_systems_until_one_is_chosen_and_then_stays(visit: Visit) -> None:
    page = visit(PLACE, theme="dark")
    dark = background(page)
    page.emulate_media(color_scheme="light")
    light = background(page)
    assert (light, dark) == ("rgb(244, 246, 248)", "rgb(13, 17, 23)")
    page.get_by_role("button", name="Switch to dark").click()
    assert background(page) == dark
    page.reload(wait_until="commit")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")  # from the server, before any script
    assert background(page) == dark
    page.get_by_role("button", name="Settings and account").click()
    page.get_by_role("button", name="System", exact=True).click()
    assert background(page) == light


def test_the_language_is_chosen_in_the_menu_and_stays(visit: Visit) -> None:
    page = visit(PLACE, lang="en")
    expect(page.get_by_role("heading", level=1)).to_have_text("Events")
    page.get_by_role("button", name="Settings and account").click()
    page.get_by_role("button", name="Deutsch").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ereignisse")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_role("button", name="English").first.click()  # the one in the bar, beside the menu's
    expect(page.get_by_role("heading", level=1)).to_have_text("Events")


def test_it_is_walked_with_the_keyboard(visit: Visit) -> None:
    page = visit(PLACE)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    account = page.get_by_role("button", name="Settings and account")
    account.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#menu")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="System", exact=True)).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "2px"
    page.keyboard.press("Escape")
    expect(page.locator("#menu")).to_be_hidden()
    expect(account).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_the_places_are_below_and_nothing_is_cut(visit: Visit, theme: str) -> None:
    page = visit(PLACE, width=PHONE, theme=theme)
    live_chip(page)
    rail = page.get_by_role("navigation", name="Pages").bounding_box()
    assert rail is not None
    assert rail["width"] == PHONE
    assert rail["y"] + rail["height"] == page.viewport_size["height"] if page.viewport_size else False
    assert sideways(page) == []
    page.get_by_role("button", name="Settings and account").click()
    menu = page.locator("#menu").bounding_box()
    assert menu is not None
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= PHONE
    for link in page.locator(".rail a").all():
        box = link.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44


def test_on_paper_there_is_only_what_is_to_be_read(visit: Visit) -> None:
    page = visit(PLACE, theme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert background(page) == "rgb(244, 246, 248)"
    for gone in (".rail", "#account", "#theme"):
        expect(page.locator(gone)).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("#printed")).to_have_text(re.compile(r"^\d+ \w+ 20\d\d, \d\d:\d\d:\d\d Europe/Vienna$"))


def test_without_script_it_says_so(looking: Looking) -> None:
    page = looking.visit(PLACE, java_script_enabled=False)
    expect(page.locator("noscript .banner")).to_contain_text("Without JavaScript this page shows")
    expect(page.locator("noscript .banner")).to_be_visible()
    expect(page.locator("#live")).to_be_hidden()  # it is not connecting: nothing will come
    expect(page.locator("#theme")).to_be_hidden()


def test_a_tab_that_nobody_sees_has_no_stream_and_gets_a_snapshot_when_seen(station: Station, visit: Visit) -> None:
    until(station, 0)
    page = visit("/")
    live_chip(page)
    until(station, 1)
    page.evaluate(HIDE, True)
    until(station, 0)
    station.measured(soc=71.3)
    seq = page.evaluate(f"async () => {LIVE}.seq")
    page.evaluate(HIDE, False)
    until(station, 1)
    page.wait_for_function(f"async () => {LIVE}.values.get('bess/telemetry|out|soc_percent')?.value === 71.3")
    assert page.evaluate(f"async () => {LIVE}.seq") > seq
    live_chip(page)


def test_a_tap_is_on_the_same_stream_and_no_word_is_said_of_the_change(station: Station, visit: Visit) -> None:
    until(station, 0)
    page = visit(PLACE)
    live_chip(page)
    page.evaluate(
        f"async () => {{ const live = {LIVE}; window.tapped = []; window.states = [];"
        " live.on('tap', (one) => tapped.push(one)); live.on('state', (one) => states.push(one.connected));"
        " live.tap('bess/telemetry'); }"
    )
    until(station, 1)
    page.wait_for_function(f"async () => {LIVE}.state.attempt === 0")
    station.measured(soc=55.5)
    page.wait_for_function("() => tapped.some((one) => one.message?.payload?.soc_percent === 55.5)")
    assert page.evaluate("tapped[0].node") == "bess/telemetry"
    assert page.evaluate("states.includes(false)") is False
    page.evaluate(f"async () => {LIVE}.tap(null)")
    page.wait_for_function(f"async () => {LIVE}.state.attempt === 0")
    until(station, 1)


def test_time_is_the_servers(station: Station, visit: Visit) -> None:
    station.advance("90min")
    page = visit("/")
    live_chip(page)
    off = page.evaluate(f"async () => {LIVE}.now()") - station.inside(station.clock.now) / 1e6
    assert abs(off) < 1000
    assert page.evaluate(f"async () => {LIVE}.now() - Date.now()") > 80 * 60_000


def test_open_alarms_are_counted_at_the_bell(station: Station, visit: Visit) -> None:
    page = visit(PLACE, width=PHONE)
    live_chip(page)
    expect(page.locator("#alarms")).to_be_hidden()
    station.measured(temperature=60.0)
    expect(page.locator("#alarms")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"^Events.*1 open alarm$"))).to_be_visible()


def test_words_for_a_canvas_are_the_themes(visit: Visit) -> None:
    page = visit(PLACE, theme="light")
    shell = "(await import(document.querySelector('script[src*=\"/shell.js\"]').src))"
    assert page.evaluate(f"async () => {shell}.token('--charge')") == "rgb(11, 124, 136)"
    page.get_by_role("button", name="Switch to dark").click()
    assert page.evaluate(f"async () => {shell}.token('--charge')") == "rgb(69, 195, 208)"


def test_the_page_is_small(visit: Visit) -> None:
    page = visit("/login")
    size = page.evaluate(
        "performance.getEntriesByType('resource').filter((one) => !one.name.endsWith('.woff2'))"
        ".reduce((sum, one) => sum + one.encodedBodySize, 0)"
    )
    assert 5_000 < size < 30_000
    assert Path(page.url).name == "login"
