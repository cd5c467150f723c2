"""The list of events in a real browser: acknowledging, what is new, filters without JavaScript, orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from flowrunner.store import Alarms
from tests.browser.looking import PHONE, WIDE, Looking, Theme, axe, no_sideways
from tests.browser.rig import Station
from tests.browser.rig import station as run_station

Visit = Callable[..., Page]
ENTRY = "/api/v1/flows/bess/nodes/manual/values"


@pytest.fixture(scope="module")
def station(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A hot battery with an order and an alarm; people have to log in."""
    with run_station(tmp_path_factory.mktemp("events"), people=True, environment=KEYS) as running:
        running.http.headers["x-api-key"] = KEYS["FLOWRUNNER_API_KEY"]
        running.order = running.trade()
        hot(running)
        yield running


KEYS = {"FLOWRUNNER_API_KEY": "key-of-the-test-0123456789"}


def hot(station: Station) -> None:
    """An alarm of the threshold that stands in the store."""
    station.measured(temperature=45.0)
    store = Alarms(station.engine.store)
    station.until(lambda: any("overheated" in one.wire for one in store.find()), "the alarm is in the store")


def enter(station: Station, value: float, reason: str = "") -> None:
    answer = station.post(ENTRY, {"values": {"soc_percent": value}, "reason": reason})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "path", ["/events?kind=alarm,acknowledgement&severity=warning", "/events?text=nothing+has+this"]
)
def test_with_filters_everybody_can_read_it(looking: Looking, path: str) -> None:
    """No serious finding of axe, and no scrolling sideways on a phone; the plain pages are in test_browser_pages."""
    looks: list[tuple[int, str, Theme]] = [(WIDE, "en", "light"), (PHONE, "de", "dark")]
    for width, lang, theme in looks:
        page = looking.visit(path, width=width, theme=theme, lang=lang, person="operator")
        expect(page.locator("h1")).to_be_visible()
        no_sideways(page)
        axe(page)


def test_an_alarm_is_acknowledged_by_keyboard(visit: Visit, station: Station) -> None:
    """The chip says who, the button goes, the list stays where it is, and after a reload it says the same."""
    page = visit("/events?kind=alarm", person="operator")
    row = page.locator("li[data-kind=alarm]", has_text="overheated")
    expect(row).to_contain_text("open")
    expect(row).to_contain_text("goes on")
    row.get_by_role("button", name="Acknowledge").focus()
    page.keyboard.press("Enter")
    expect(row).to_contain_text("acknowledged by otto")
    expect(row.get_by_role("button")).to_have_count(0)
    page.reload()
    expect(page.locator("li[data-kind=alarm]", has_text="overheated")).to_contain_text("acknowledged by otto")
    page.goto(f"{station.url}/events?kind=acknowledgement")
    expect(page.locator("li").filter(has_text="Alarm acknowledged")).to_contain_text("by otto")


def test_a_viewer_reads_and_no_more(looking: Looking) -> None:
    page = looking.visit("/events?kind=alarm", person="viewer")
    expect(page.locator("li[data-kind=alarm]").first).to_be_visible()
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    expect(page.get_by_role("link", name="Log-ins")).to_have_count(0)
    looking.allow("403")
    page = looking.visit("/events?kind=login,account", person="viewer")
    expect(page.locator("main")).to_contain_text("Log-ins are for operators")


def test_what_is_new_is_said_and_moves_nothing(visit: Visit, station: Station) -> None:
    page = visit("/events", person="editor")
    rows = page.locator("ol.log > li")
    before = rows.count()
    expect(page.locator("#news")).to_be_hidden()
    expect(page.locator("#live")).to_contain_text("Live")
    station.post("/api/v1/trading/stop", {"reason": "maintenance"})
    expect(page.locator("#news")).to_contain_text("1 new event")
    assert rows.count() == before
    page.get_by_role("link", name="Show").click()
    expect(rows.first).to_contain_text("Trading stopped maintenance")
    station.post("/api/v1/trading/resume", {})


def test_filters_without_javascript(visit: Visit, station: Station) -> None:
    enter(station, 50.0, reason="<img src=x onerror=alert(1)>")
    page = visit("/events", person="operator", java_script_enabled=False)
    page.get_by_label("Search").fill("ONERROR")
    page.get_by_role("button", name="Apply").click()
    assert "text=ONERROR" in page.url
    expect(page.locator("ol.log > li").first).to_contain_text("“<img src=x onerror=alert(1)>”")
    expect(page.locator("ol.log img")).to_have_count(0)
    page.get_by_role("link", name="Without Search: ONERROR").click()
    assert page.url.endswith("/events")


def test_an_order_tells_its_story(visit: Visit, station: Station) -> None:
    page = visit("/events?kind=order", person="viewer")
    page.locator("summary").first.click()
    expect(page.locator("ol.track").first).to_contain_text("decided")
    page.get_by_role("link", name="The whole story").first.click()
    expect(page.locator("h1")).to_contain_text("Sell 1 MWh at")
    expect(page.locator("main")).to_contain_text(station.order)
    expect(page.locator("main")).to_contain_text("soc_percent > 70")


def test_a_sheet_comes_as_a_file(visit: Visit, tmp_path: Path) -> None:
    page = visit("/events?kind=order", person="viewer")
    with page.expect_download() as coming:
        page.get_by_role("link", name="CSV").click()
    file = tmp_path / "events.csv"
    coming.value.save_as(file)
    assert coming.value.suggested_filename == "events.csv"
    assert file.read_text("utf-8").startswith("at,kind,severity,title")


def test_while_the_server_is_away_nothing_is_acknowledged(looking: Looking, station: Station) -> None:
    """The button is locked within seconds, and free again when the server is back."""
    looking.allow("net::ERR", "Failed to load")
    station.measured(power=5.5)
    store = Alarms(station.engine.store)
    station.until(lambda: store.find(acknowledged=False), "an alarm that nobody has seen")
    page = looking.visit("/events?kind=alarm", person="operator")
    button = page.get_by_role("button", name="Acknowledge").first
    expect(button).to_be_enabled()
    station.stop_server()
    try:
        expect(button).to_be_disabled(timeout=8000)
    finally:
        station.start_server()
    expect(button).to_be_enabled(timeout=15000)
