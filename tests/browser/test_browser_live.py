"""What a person sees while values come, grow old, and the server is away: never a figure that was not measured."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.looking import Looking, figure, tile
from tests.browser.rig import Station
from tests.browser.rig import station as run_station

AWAY = ("net::ERR_", "Failed to load resource")
"""The browser's own words about a server that does not answer."""
TOLD_S = 3.0
"""So soon a person knows that the connection is lost."""


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """An own one: here time goes on and the server goes away."""
    with run_station(tmp_path_factory.mktemp("station")) as running:
        running.measured()
        yield running


@contextmanager
def stopped(station: Station) -> Iterator[None]:
    """The server is away for the block, and there again after it whatever happened."""
    station.stop_server()
    try:
        yield
    finally:
        station.start_server()


def connected(page: Page) -> None:
    expect(page.locator("#live")).to_contain_text("Live")


def test_the_first_page_holds_the_newest_values_without_script(station: Station, looking: Looking) -> None:
    station.measured(soc=64.2, power=4.8)
    page = looking.visit("/", java_script_enabled=False)
    tiles = page.locator("article.tile")
    for said in ("64.2", "4.80", "Discharging"):
        expect(tiles.get_by_text(said, exact=True)).to_be_visible()


def test_values_move_as_they_come(station: Station, visit: Visit) -> None:
    page = visit("/")
    connected(page)
    for soc, power, said in ((64.9, -3.25, "−3.25"), (65.4, 0.0, "0.00"), (66.1, 2.5, "2.50")):
        station.measured(soc=soc, power=power)
        expect(figure(page, "soc_percent")).to_have_text(f"{soc}")
        expect(figure(page, "active_power_mw")).to_have_text(said)
    charge = tile(page, "soc_percent")
    expect(charge.locator("[data-part=unit]")).to_have_text("%")
    expect(charge.locator("[data-part=source]")).to_contain_text("Automatic telemetry")
    expect(charge.locator("[data-part=age]")).to_contain_text(re.compile(r"\d.* s"))


def test_figures_and_words_are_the_readers(station: Station, visit: Visit) -> None:
    page = visit("/", lang="de")
    station.measured(soc=64.2, power=-4.75)
    expect(figure(page, "soc_percent")).to_have_text("64,2")
    expect(figure(page, "active_power_mw")).to_have_text("−4,75")
    power = tile(page, "active_power_mw")
    expect(power.locator("[data-part=sub]")).to_contain_text("Laden")
    expect(power.locator("[data-part=source]")).to_contain_text("Automatische Telemetrie")
    expect(power.locator("[data-part=age]")).to_contain_text("vor ")
    expect(page.locator("html")).to_have_attribute("lang", "de")


def test_an_old_value_stays_and_is_marked(station: Station, visit: Visit) -> None:
    station.measured(soc=61.5)
    page = visit("/")
    soc = tile(page, "soc_percent")
    connected(page)
    expect(soc).not_to_have_class(re.compile(r"\bstale\b"))
    station.advance("5min")
    expect(soc).to_have_class(re.compile(r"\bstale\b"))
    expect(figure(page, "soc_percent")).to_have_text("61.5")
    expect(soc.locator("[data-part=source]")).to_contain_text("stale")
    expect(soc.locator("[data-part=age]")).to_contain_text("5 min")
    expect(soc.locator("[data-part=cause]")).to_contain_text("rest")
    assert "gradient" in soc.evaluate("(one) => getComputedStyle(one).backgroundImage")  # hatched, not colour alone
    expect(page.locator("[data-banner]").filter(has_text="stale").first).to_be_visible()
    station.measured(soc=61.6)
    expect(soc).not_to_have_class(re.compile(r"\bstale\b"))
    expect(figure(page, "soc_percent")).to_have_text("61.6")


def test_a_page_opened_later_says_stale_at_once(station: Station, looking: Looking) -> None:
    """The server's HTML says it, before any script."""
    station.measured(soc=58.5)
    station.advance("10min")
    page = looking.visit("/", java_script_enabled=False)
    soc = page.locator("article.tile").first
    expect(soc).to_have_class(re.compile(r"\bstale\b"))
    expect(soc).to_contain_text("58.5")
    expect(soc).to_contain_text("10 min")
    station.measured()


def lost(page: Page, since: float, soc: str) -> None:
    """All that must be said of a lost connection, and in time."""
    away = "() => document.body.classList.contains('off')"
    page.wait_for_function(away)  # asks with each frame; a locator does once a second
    assert time.monotonic() - since < TOLD_S + 1  # there may be a busy machine between
    expect(page.locator("#live")).to_contain_text("Disconnected for")
    expect(page.locator("#lost")).to_contain_text(re.compile(r"as of \d\d:\d\d:\d\d"))
    expect(page.locator("#lost")).to_contain_text("locked")
    expect(figure(page, "soc_percent")).to_have_text(soc)  # the last value, greyed, with its time
    expect(tile(page, "soc_percent").locator("[data-part=age]")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    for one in page.locator("fieldset[data-live] :is(input, select, button)").all():
        expect(one).to_be_disabled()
    expect(page.locator("#switch")).to_be_disabled()
    expect(page.locator("#ready")).to_contain_text("State unknown")


def test_a_lost_connection_is_said_and_found_again(station: Station, looking: Looking) -> None:
    looking.allow(*AWAY)
    station.measured(soc=63.1)
    page = looking.visit("/")
    expect(figure(page, "soc_percent")).to_have_text("63.1")
    connected(page)
    with stopped(station):
        lost(page, time.monotonic(), "63.1")
    station.measured(soc=63.9)
    page.get_by_role("button", name="Connect now").click()
    expect(page.locator("body:not(.off)")).to_be_attached(timeout=10_000)
    expect(figure(page, "soc_percent")).to_have_text("63.9")
    expect(page.locator("#switch")).to_be_enabled()
    for one in page.locator("fieldset[data-live] :is(input, select, button)").all():
        expect(one).to_be_enabled()


def test_silence_is_a_lost_connection_too(station: Station, looking: Looking) -> None:
    """The socket is open and nobody speaks: a process that hangs, a cable that was pulled."""
    looking.allow(*AWAY)
    station.measured(soc=62.2)
    page = looking.visit("/")
    expect(figure(page, "soc_percent")).to_have_text("62.2")
    connected(page)
    with station.frozen():
        lost(page, time.monotonic(), "62.2")
    expect(page.locator("body:not(.off)")).to_be_attached(timeout=15_000)


def test_a_page_comes_back_by_itself(station: Station, looking: Looking) -> None:
    looking.allow(*AWAY)
    page = looking.visit("/")
    connected(page)
    with stopped(station):
        expect(page.locator("body.off")).to_be_attached(timeout=TOLD_S * 1000)
    expect(page.locator("body:not(.off)")).to_be_attached(timeout=15_000)
